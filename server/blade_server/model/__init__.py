"""The nouns of BLADE as plain data: what is stored, computed and shown, without a word on how.

Times are aware and in UTC. Counts are items, sizes bytes, durations seconds.

    error_reason    why a call, a job or an item failed
    source          a table and its mapping
    item            a row as the catalog gets it, and a row that did not get there
    cost            what statements take in the warehouse (imported by its own name)
    job             what was asked for, its status and counters
    destination     a catalog by name (imported by its own name)
    sync            a standing order, what its runs are told and what it knows (imported by its own name)
    sync_report     what a run of a sync found and did (imported by its own name)
    new_job         a job on its way into the table
    query           which rows and columns of a source
    claim           the right of one server to run one job
    record          what a running job writes down
    policy          what an operator has decided (imported by its own name)
"""

from blade_server.model.claim import Claim, Flags, Plan
from blade_server.model.error_reason import Reason
from blade_server.model.item import MAX_ROW_JSON_BYTES, Item, ItemError, Stage
from blade_server.model.job import (
    FINAL,
    MAX_ITEMS,
    TRANSITIONS,
    Action,
    ErrorSummary,
    EventKind,
    Job,
    JobEvent,
    JobKind,
    JobLimits,
    JobSpec,
    Outcome,
    Status,
    WaitReason,
)
from blade_server.model.new_job import NewJob
from blade_server.model.query import RowQuery
from blade_server.model.record import Block, Display, Record
from blade_server.model.source import (
    DESTINATION_STEPS,
    SOURCE_STEPS,
    Classification,
    ItemIdCount,
    Overrides,
    RowMapping,
    Source,
    SourceConfig,
    SourceStats,
    StepKind,
    StepOutcome,
    TestStep,
)

__all__ = [
    "Action",
    "Block",
    "Claim",
    "Classification",
    "Display",
    "ErrorSummary",
    "EventKind",
    "FINAL",
    "Flags",
    "Item",
    "ItemError",
    "ItemIdCount",
    "Job",
    "JobEvent",
    "JobKind",
    "JobLimits",
    "JobSpec",
    "MAX_ITEMS",
    "NewJob",
    "MAX_ROW_JSON_BYTES",
    "Outcome",
    "Overrides",
    "Plan",
    "Reason",
    "Record",
    "RowMapping",
    "RowQuery",
    "Source",
    "SourceConfig",
    "SourceStats",
    "Stage",
    "Status",
    "DESTINATION_STEPS",
    "SOURCE_STEPS",
    "StepKind",
    "StepOutcome",
    "TRANSITIONS",
    "TestStep",
    "WaitReason",
]
