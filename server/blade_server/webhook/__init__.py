"""Sends a message to a webhook: one request, to an address that was looked at, without following anything.

post      connect, ask, read the status
"""

from blade_server.webhook.post import Answer as Answer
from blade_server.webhook.post import NotReached as NotReached
from blade_server.webhook.post import post as post
