"""The HTTP catalog: what it can do, which items it has, uploads.

    client          Catalog
    offer           what the catalog says it can do, remembered
    deletion        deletes, and the answers to them
    listing         pages of its list
    forms           items as the bodies of uploads, which form those take shows nowhere else; paths, raw JSON
    answers         what the catalog says when it says yes, checked
    bodies          the object in an answer
    contradictions  what says no in an answer that says yes
    failures        its no, and connections that break: one table says what may be tried again
    origin          where its address is set, and what it must be
    probe           the steps of a test
    wire            one request over a kept connection

Others import the names below from here, and nothing from inside.
"""

from blade_server.catalog.answers import Capabilities, Refusal, Uploaded
from blade_server.catalog.client import Catalog
from blade_server.catalog.deletion import Deleted
from blade_server.catalog.forms.multipart import Encoded, encode, files
from blade_server.catalog.listing import Listing
from blade_server.catalog.origin import Origin

__all__ = [
    "Capabilities",
    "Catalog",
    "Deleted",
    "Encoded",
    "Listing",
    "Origin",
    "Refusal",
    "Uploaded",
    "encode",
    "files",
]
