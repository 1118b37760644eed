"""What decides which rows a sync reads and what items they become, in short."""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import blake2b

from blade_server.model import Source
from blade_server.model.sync import SyncSpec


def key_hash(spec: SyncSpec, source: Source, statement: str) -> str:
    """Another hash means that what was known says nothing about deletes.

    The statement with its tables resolved (and no versions pinned), where the table is, the mapping and what the sync
    puts in its place. Not in it is what changes how items are sent, or adds the same to all of them: `metadata`,
    limits, batch size, guards, schedule.

    Args:
        spec: of the sync.
        source: as it is now.
        statement: the sync's SQL, or that for all rows that its filter lets through.
    """
    told = {
        "statement": statement,
        "host": source.config.host,
        "mapping": asdict(source.mapping),
        "overrides": asdict(spec.overrides),
    }
    return blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=16).hexdigest()
