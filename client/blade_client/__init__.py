"""BLADE's client library: sources, queries and jobs of a BLADE server from Python.

Move every row of a source into the catalog and follow the job to its end::

    from blade_client import BladeClient
    from blade.v1.job_pb2 import Job

    with BladeClient("127.0.0.1:50051") as blade:
        job = blade.start_query_job("SELECT * FROM maintenance WHERE priority = 'HIGH'")
        for job in blade.watch_job(job.job_id):
            print(Job.Status.Name(job.status), job.processed_items, job.current_operation)

        for item in blade.query("maintenance", filter="priority = :p", parameters={"p": "HIGH"}, limit=10):
            print(item.item_id, dict(item.data))

        frame = blade.query("maintenance").to_pandas()      # needs the extra: pip install 'blade[pandas]'

The messages that go in and come out are those of `blade.v1`; `to_dict` makes JSON values of them. Every failed call
raises a `blade_client.errors.BladeClientError`. The names below are loaded when first used, which keeps `blade --help`
quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blade_client.client import BladeClient
    from blade_client.errors import BladeClientError
    from blade_client.json_form import to_dict
    from blade_client.query_result import QueryResult

__all__ = ["BladeClient", "BladeClientError", "QueryResult", "to_dict"]

_HOMES = {
    "BladeClient": "client",
    "BladeClientError": "errors",
    "QueryResult": "query_result",
    "to_dict": "json_form",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
