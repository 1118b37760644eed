"""How well the item ids tell rows apart: counted in the warehouse, for at most some seconds."""

from __future__ import annotations

import pyarrow as pa

from blade_server.core import sql
from blade_server.core.transform.item_ids import TemplateError
from blade_server.errors import BladeError, Deadline
from blade_server.model import ItemIdCount
from blade_server.warehouse import Warehouse

COUNT_TIMEOUT_S = 10.0


def count_ids(warehouse: Warehouse, statement: str, template: str, schema: pa.Schema) -> ItemIdCount:
    """Count the rows of a query, those without an item id and those that share theirs. Raises nothing of BLADE's.

    Args:
        warehouse: whose last result is read to its end.
        statement: the query, resolved.
        template: of the item ids.
        schema: of the query's result.
    """
    try:
        counts = warehouse.execute(sql.count_ids(statement, template, schema), timeout_s=COUNT_TIMEOUT_S)
        batch = next(iter(counts))
        counts.close()
    except Deadline:
        return ItemIdCount(message=f"the ids could not be counted within {COUNT_TIMEOUT_S:g} s")
    except (BladeError, TemplateError) as exc:
        why = exc.message if isinstance(exc, BladeError) else str(exc)
        return ItemIdCount(message=f"the ids were not counted: {why}")
    except StopIteration:
        return ItemIdCount(message="the ids were not counted: the warehouse sent no row")
    rows, with_id, ids = (int(column[0].as_py()) for column in batch.columns)
    missing, duplicates = rows - with_id, with_id - ids
    return ItemIdCount(rows=rows, missing=missing, duplicates=duplicates, message=_words(rows, missing, duplicates))


def _words(rows: int, missing: int, duplicates: int) -> str:
    parts = []
    if duplicates:
        parts.append(
            f"{duplicates:,} of {rows:,} rows share their id with another, which alone becomes an item: "
            "choose columns that tell rows apart"
        )
    if missing:
        parts.append(f"{missing:,} of {rows:,} rows have no id, because a column of it is null or blank")
    return "; ".join(parts) or (f"{rows:,} rows, each with an id of its own" if rows else "there are no rows")
