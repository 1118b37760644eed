"""SQL as BLADE lets it through: parsed, checked, written anew in the warehouse's dialect, never spliced as text.

    parse        text -> tree, with limits on size and nesting
    reads_only   what may stand in a query: reading tables, nothing else
    functions    which functions it may call
    scope        which WITH clause a name means
    lineage      whether a column is that of the table
    view         what of a table is there for the caller, in its place
    resolve      names of sources -> names of tables
    parameters   `:name` in filters: all there, all used, read as the right type
    build        statements of BLADE's own: select, look-up, count, preview, pin
    part         a part of a query's rows: by a cursor, a window, or item ids
    feed         the last change of each item id in a table's change data feed
    item_id_sql  item id templates as SQL expressions
    bounded      how long reading may take, and who waits for whom
    apart        the process in which long SQL is read

sqlglot stays in here. All user mistakes are Invalid with
INVALID_SQL, naming the field, what is wrong and where.
"""

from blade_server.core.sql.build import (
    all_rows,
    count,
    count_ids,
    history,
    limit,
    look_up,
    names_of_tables,
    pin,
    select,
    tables,
)
from blade_server.core.sql.feed import Feed, at_version, change_rows, detail, full_name, recent, table_of
from blade_server.core.sql.parse import MAX_FILTER_BYTES, MAX_NESTING, MAX_SQL_BYTES
from blade_server.core.sql.part import since, within
from blade_server.core.sql.resolve import Reach, Resolved, resolve, table_name

__all__ = [
    "MAX_FILTER_BYTES",
    "MAX_NESTING",
    "MAX_SQL_BYTES",
    "Feed",
    "Reach",
    "Resolved",
    "all_rows",
    "at_version",
    "change_rows",
    "count",
    "count_ids",
    "detail",
    "full_name",
    "history",
    "limit",
    "look_up",
    "names_of_tables",
    "pin",
    "recent",
    "resolve",
    "select",
    "since",
    "table_name",
    "table_of",
    "tables",
    "within",
]
