"""A catalog to try BLADE against: the HTTP contract on SQLite, and switches that make it slow, broken or picky.

    cli -> server (uvicorn in a thread) -> gate (token, figures) -> strikes (faults of whole requests)
                 -> handlers -> intake (uploads) | deletion -> store (SQLite), delete_log
                                  -> uploads (form -> item) -> multipart
    offer, bodies, item_paths, refused: what may be asked for, how much at once, of which item, and the answer if not
    counters, idempotency, fault_switches: what happened, what was answered, what goes wrong

It knows nothing of `blade_server`; the two meet on the wire only.
"""

from blade_sandbox.catalog.server import CatalogServer

__all__ = ["CatalogServer"]
