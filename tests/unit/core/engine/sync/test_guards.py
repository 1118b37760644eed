"""What holds deletes back."""

from __future__ import annotations

import pytest

from blade_server.core.engine.sync.guards import Reading, mistrusted, too_many
from blade_server.model.sync import Guards
from blade_server.model.sync_report import Withheld


def reading(**changes):
    return Reading(**{"rows": 10, "announced": 10, "rows_without_id": 0, "spec_changed": False, **changes})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"rows": 9}, Withheld.ROWS_MISSING),
        ({"rows": 11}, Withheld.ROWS_MISSING),
        ({"announced": None}, Withheld.ROWS_MISSING),
        ({"rows": 0, "announced": 0}, Withheld.NO_ROWS),
        ({"rows_without_id": 1}, Withheld.ROWS_WITHOUT_ID),
        ({"above_ceiling": 1}, Withheld.NOT_ALL_ROWS),
        ({"spec_changed": True}, Withheld.SPEC_CHANGED),
    ],
)
def test_a_reading_that_says_nothing_of_what_is_gone(changes, reason):
    objection = mistrusted(reading(**changes))
    assert (objection and objection.reason) == reason


@pytest.mark.parametrize(
    ("guards", "items", "known", "reason"),
    [
        (Guards(), 1, 20, None),
        (Guards(), 2, 20, Withheld.MAX_DELETE_SHARE),
        (Guards(), 19, 19, None),
        (Guards(max_delete_share=1.0), 20, 20, None),
        (Guards(max_delete_share=0.29), 29, 100, None),
        (Guards(max_delete_share=0.29), 30, 100, Withheld.MAX_DELETE_SHARE),
        (Guards(max_deletes=3), 3, 100, None),
        (Guards(max_deletes=3, max_delete_share=1.0), 4, 100, Withheld.MAX_DELETES),
        (Guards(max_deletes=0), 1, 10, Withheld.MAX_DELETES),
        (Guards(max_deletes=0), 0, 10, None),
    ],
)
def test_deletes_that_are_too_many(guards, items, known, reason):
    objection = too_many(guards, items, known)
    assert (objection and objection.reason) == reason
    if objection:
        assert str(items) in objection.words
