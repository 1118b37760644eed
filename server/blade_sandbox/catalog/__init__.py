"""A catalog to try BLADE against: the HTTP contract on SQLite, and switches that make it slow, broken or picky.

It knows nothing of `blade_server`; the two meet on the wire only.
"""

from blade_sandbox.catalog.server import CatalogServer

__all__ = ["CatalogServer"]
