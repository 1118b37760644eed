"""The table that changes: its rows are items, and each change is one version of its feed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from blade_sandbox import changing_table

T = "main.default.changing"


def test_each_change_is_a_version_of_the_feed(cursor: Any, rows: Callable[..., list[tuple[Any, ...]]]) -> None:
    changing_table.create(cursor.execute, T)
    start = int(rows(f"DESCRIBE HISTORY {T} LIMIT 1")[0][0])
    changing_table.insert(cursor.execute, T, range(100))
    changing_table.update(cursor.execute, T, range(10, 13))
    changing_table.delete(cursor.execute, T, range(98, 100))
    assert rows(f"SELECT count(*), count(DISTINCT item_id), count(last_modified) FROM {T}") == [(98, 98, 98)]
    assert rows(f"SELECT item_id, status FROM {T} WHERE number IN (9, 10) ORDER BY 1") == [
        ("PART-10", "USED"),
        ("PART-9", "NEW"),
    ]
    changes = rows(f"SELECT _commit_version, _change_type FROM table_changes('{T}', {start})")
    assert Counter(changes) == {
        (start + 1, "insert"): 100,
        (start + 2, "update_preimage"): 3,
        (start + 2, "update_postimage"): 3,
        (start + 3, "delete"): 2,
    }
    rows(f"DROP TABLE {T}")
