"""The HTTP catalog: what it can do, which items it has, uploads.

    client          Catalog
    forms           items as the bodies of uploads; which form those take shows nowhere else
    answers         what the catalog says when it says yes, checked
    contradictions  what says no in an answer that says yes
    failures        its no, and connections that break: one table says what may be tried again
    wire            one request over a kept connection

Others import the names below from here, and nothing from inside.
"""

from blade_server.catalog.answers import Capabilities, Refusal, Uploaded
from blade_server.catalog.client import Catalog
from blade_server.catalog.forms.multipart import Encoded, encode

__all__ = ["Capabilities", "Catalog", "Encoded", "Refusal", "Uploaded", "encode"]
