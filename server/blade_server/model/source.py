"""Sources: one table of a warehouse each, and how its rows become items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from blade_server.model.destination import DEFAULT_DESTINATION


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """Where the rows are; empty strings stand for the server's defaults. Secrets by reference only."""

    catalog: str
    schema: str
    table: str
    warehouse_id: str = ""
    host: str = ""
    credentials: str = ""
    items_per_second: float = 0.0
    max_running_jobs: int = 0
    destination: str = DEFAULT_DESTINATION


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Exactly one of a column and a fixed value."""

    column: str = ""
    value: str = ""


@dataclass(frozen=True, kw_only=True)
class RowMapping:
    """How a row becomes an item; see `blade.v1.Mapping`.

    Empty `last_modified`: items have none. None, which no stored source has: the default, which its table decides.
    `min_classification`: of rows whose own is lower; empty: none. `masked_columns` are there for EDITORs only.
    """

    item_id: str
    last_modified: str | None = None
    classification: Classification
    metadata: Mapping[str, str] = field(default_factory=dict)
    min_classification: str = ""
    masked_columns: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What stands in the place of a source's mapping for the rows of one query; empty: the mapping's.

    `last_modified`: None is the mapping's (with an `item_id` none where the result lacks the column), empty is none.
    `min_classification` stands beside the mapping's, and callers do not set it.
    """

    item_id: str = ""
    last_modified: str | None = None
    classification: str = ""
    min_classification: str = ""


@dataclass(frozen=True, kw_only=True)
class SourceStats:
    """What a source has brought into the catalog so far."""

    item_count: int = 0
    last_job_id: str = ""
    last_success_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """One table of a warehouse and its mapping. `etag` changes with every update."""

    name: str
    display_name: str
    data_type: str
    enabled: bool
    config: SourceConfig
    mapping: RowMapping
    stats: SourceStats = field(default_factory=SourceStats)
    create_time: datetime | None = None
    update_time: datetime | None = None
    etag: str = ""

    @property
    def data_source(self) -> str:
        """The catalog's name for it, as in `BLADE:maintenance`."""
        return f"BLADE:{self.data_type}"


@dataclass(frozen=True, kw_only=True)
class ItemIdCount:
    """How well item ids tell rows apart; see `blade.v1.ItemIdCount`. `rows` None: they were not counted."""

    rows: int | None = None
    missing: int = 0
    duplicates: int = 0
    message: str


class StepKind(StrEnum):
    """The steps of connection tests; see SOURCE_STEPS and DESTINATION_STEPS for their order."""

    RESOLVE = "RESOLVE"
    CONNECT = "CONNECT"
    AUTHENTICATE = "AUTHENTICATE"
    WAREHOUSE = "WAREHOUSE"
    TABLE = "TABLE"
    COLUMNS = "COLUMNS"
    FETCH_ONE_ROW = "FETCH_ONE_ROW"
    CAPABILITIES = "CAPABILITIES"


SOURCE_STEPS = tuple(kind for kind in StepKind if kind is not StepKind.CAPABILITIES)
DESTINATION_STEPS = (StepKind.RESOLVE, StepKind.CONNECT, StepKind.AUTHENTICATE, StepKind.CAPABILITIES)


class StepOutcome(StrEnum):
    """How a step ended; NOT_RUN: an earlier one failed."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    NOT_RUN = "NOT_RUN"


@dataclass(frozen=True, kw_only=True)
class TestStep:
    """One step of a connection test, as taken."""

    __test__ = False  # pytest: not a test class

    kind: StepKind
    outcome: StepOutcome
    message: str = ""
    duration_ms: float = 0.0
