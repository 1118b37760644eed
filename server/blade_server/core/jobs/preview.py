"""Look at what a job would upload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from blade_server.core import sql
from blade_server.core.audit.recorder import Recorder
from blade_server.core.checks import raise_for
from blade_server.core.jobs.checks import check_overrides, check_range
from blade_server.core.jobs.statement import classified, resolve
from blade_server.core.sources.credentials import target
from blade_server.core.sources.id_count import count_ids
from blade_server.core.sources.rules import check_pairs
from blade_server.core.sources.sources import Sources
from blade_server.core.transform.provenance import item_metadata
from blade_server.core.transform.transform import Transform, Transformed
from blade_server.model import ItemIdCount, Overrides
from blade_server.model.access import Caller
from blade_server.model.policy import DirectPolicy
from blade_server.warehouse import Warehouse

DEFAULT_PREVIEW_ROWS = 10
MAX_PREVIEW_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a caller asks for; see blade.v1.PreviewItemsRequest. None stands for the default."""

    sql: str = ""
    data_type: str = ""
    source: str = ""
    limit: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    overrides: Overrides = field(default_factory=Overrides)


class PreviewItems:
    """Runs queries as jobs would, and writes nothing. Thread-safe."""

    def __init__(self, policy: DirectPolicy, sources: Sources, recorder: Recorder) -> None:
        self._policy = policy
        self._sources = sources
        self._recorder = recorder

    def __call__(self, request: Preview, *, by: Caller) -> tuple[Transformed, ItemIdCount]:
        """The first `limit` rows of a query as a job would upload them, and how well the ids tell all of them apart.

        Raises:
            Invalid, NotFound, Precondition as the start of a job; WarehouseRefused and the like for the query.
        """
        raise_for(
            [
                *check_range("limit", request.limit, 1, MAX_PREVIEW_ROWS),
                *check_pairs("metadata", request.metadata),
                *check_overrides(request.overrides, self._policy.source.classifications),
            ]
        )
        resolved = resolve(self._sources, request.sql, request.data_type, request.source, by=by)
        where = target(self._policy.source.warehouse, resolved.source.config)
        self._recorder.read(by, f"source:{resolved.source.name}")
        statement = sql.limit(resolved.statement, request.limit or DEFAULT_PREVIEW_ROWS)
        with (
            self._sources.costs.counted(resolved.source.name) as tally,
            Warehouse(where, resolved.source.name, tally=tally) as warehouse,
        ):
            result = warehouse.execute(statement, timeout_s=self._policy.query_timeout_s)
            transform = Transform(
                resolved.source,
                result.schema,
                known_classifications=self._policy.source.classifications,
                metadata=item_metadata(resolved.source, where.warehouse_id, request.metadata),
                overrides=classified(request.overrides, resolved, self._policy.source.classifications, by=by),
            )
            rows = transform.all(result)
            return rows, count_ids(warehouse, resolved.statement, transform.template, result.schema)
