"""Reads the statements without a query in them and finds the file here that knows each.

sqlglot leaves most of them as raw text, so they are read word by word, from its tokens.
"""

from __future__ import annotations

from collections.abc import Callable

from blade_sandbox.warehouse.commands import (
    catalogs,
    clone,
    describe,
    maintenance,
    restore,
    settings,
    show,
    table_properties,
    volumes,
)
from blade_sandbox.warehouse.errors import unsupported
from blade_sandbox.warehouse.lake.lakehouse import Lakehouse
from blade_sandbox.warehouse.session.session import Session
from blade_sandbox.warehouse.sql.tokens import StatementTokens, TokenReader
from blade_sandbox.warehouse.statements import Statement


def parse(tokens: StatementTokens, session: Session, lakehouse: Lakehouse) -> Statement | None:
    """What to do for a command; None if the statement is none.

    Raises:
        SqlError: a command with wrong syntax, or one the sandbox lacks.
    """
    if tokens.keyword in _UNSUPPORTED:
        raise unsupported(f"the statement {tokens.keyword}")
    for read in _READERS.get(tokens.keyword, ()):
        found = read(tokens.after_keyword(), session, lakehouse)
        if found is not None:
            return found
    return None


_UNSUPPORTED = {"GRANT", "REVOKE", "COPY", "CACHE", "UNCACHE", "CLEAR", "CALL", "LOAD", "MSCK", "REPAIR",
                "DECLARE", "EXECUTE", "BEGIN", "SYNC", "FSCK", "REORG", "UNDROP", "EXPORT", "IMPORT", "ATTACH",
                "DETACH", "PRAGMA", "INSTALL", "CHECKPOINT"}  # fmt: skip

_READERS: dict[str, tuple[Callable[[TokenReader, Session, Lakehouse], Statement | None], ...]] = {
    "ALTER": (table_properties.alter,),
    "ANALYZE": (maintenance.analyze,),
    "CREATE": (catalogs.create, volumes.create, clone.create_table),
    "DESC": (describe.describe,),
    "DESCRIBE": (describe.describe,),
    "DROP": (catalogs.drop, volumes.drop),
    "GET": (volumes.get,),
    "LIST": (volumes.list_files,),
    "OPTIMIZE": (maintenance.optimize,),
    "PUT": (volumes.put,),
    "REMOVE": (volumes.remove,),
    "RESET": (settings.reset,),
    "RESTORE": (restore.restore,),
    "SET": (settings.set_,),
    "SHOW": (show.show,),
    "USE": (settings.use,),
    "VACUUM": (maintenance.vacuum,),
}
"""Those of one word are asked in turn, each with all that follows the word, until one knows the statement."""
