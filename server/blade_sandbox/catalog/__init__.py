"""A catalog to try BLADE against: the HTTP contract on SQLite, and switches that make it slow, broken or picky.

    cli -> server (uvicorn in a thread) -> gate (token, figures, faults of whole requests)
                 -> handlers -> intake (uploads: bounds, idempotency, answers) -> store (SQLite)
                                  -> uploads (form -> item) -> multipart
    counters, idempotency, fault_switches: what happened, what was answered, what goes wrong

It knows nothing of `blade_server`; the two meet on the wire only.
"""

from blade_sandbox.catalog.server import CatalogServer

__all__ = ["CatalogServer"]
