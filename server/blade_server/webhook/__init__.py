"""Sends a message to a webhook: one request, to an address that was looked at, without following anything.

request      connect, ask, read the status
"""

from blade_server.webhook.request import Answer as Answer
from blade_server.webhook.request import NotReached as NotReached
from blade_server.webhook.request import post as post
