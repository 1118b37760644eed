"""A direct query: which rows and columns of a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class RowQuery:
    """What is asked of one source, named or known by its data type; see blade.v1.QueryItemsRequest.

    `filter` is SQL, `columns` and `order_by` are names (the latter with ` asc` or ` desc`). `limit` None stands for the
    default of the call.
    """

    data_type: str = ""
    source: str = ""
    filter: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    columns: Sequence[str] = ()
    order_by: Sequence[str] = ()
    limit: int | None = None
    offset: int = 0
