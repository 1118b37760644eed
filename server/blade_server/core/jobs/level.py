"""What a server must know to run a job as it is meant; see storage/engine/leases.py."""

from __future__ import annotations

from blade_server.core.transform.item_ids import Template
from blade_server.model import JobSpec, Source
from blade_server.model.destination import DEFAULT_DESTINATION


def level(spec: JobSpec, source: Source) -> int:
    """What a server must know.

    1: item ids and times of last change as 0.3 has them, 2: the least classification, 3: syncs, other destinations.
    """
    if spec.destination != DEFAULT_DESTINATION:
        return 3
    if spec.min_classification or source.mapping.min_classification:
        return 2
    if spec.item_id or spec.last_modified is not None:
        return 1
    template = Template.parse(source.mapping.item_id)
    return int(template.row_hash or any(brace in column for column in template.columns for brace in "{}"))
