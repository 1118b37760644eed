"""What a server must know to run a job as it is meant; see storage/engine/leases.py."""

from __future__ import annotations

from blade_server.model import JobSpec, Source


def level(spec: JobSpec, source: Source) -> int:
    """1 for jobs with an item id or a time of last change of their own, which older servers would pass over."""
    return int(bool(spec.item_id) or spec.last_modified is not None)
