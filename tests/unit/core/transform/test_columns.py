import pyarrow as pa
import pytest

from blade_server.core.transform.columns import find_column, require_column, rows_where
from blade_server.errors import Precondition, Reason


def test_an_exact_name_wins_over_one_that_differs_by_case() -> None:
    assert find_column(["ID", "id"], "id") == 1


def test_a_name_is_found_without_regard_to_case() -> None:
    assert find_column(["Tail_Number", "due_date"], "tail_number") == 0


def test_a_name_that_fits_two_columns_only_by_case_is_not_found() -> None:
    assert find_column(["Id", "ID"], "id") is None
    with pytest.raises(Precondition, match=r"ambiguous among .* Id, ID"):
        require_column(["Id", "ID"], "id", "mapping.item_id")


def test_a_missing_column_is_named_with_what_comes_close() -> None:
    with pytest.raises(Precondition, match=r"'tailnumber', which mapping.item_id names, .*tail_number") as caught:
        require_column(["due_date", "tail_number"], "tailnumber", "mapping.item_id")
    assert caught.value.reason is Reason.MISSING_COLUMN
    assert caught.value.metadata == {"column": "tailnumber", "field": "mapping.item_id"}


def test_a_wide_table_is_not_listed_in_full() -> None:
    with pytest.raises(Precondition) as caught:
        require_column([f"column_{i}" for i in range(500)], "zzz", "mapping.item_id")
    assert len(caught.value.message) < 500


def test_rows_where_takes_true_and_leaves_null_and_false() -> None:
    assert rows_where(pa.array([True, None, False, True])) == [0, 3]
    assert rows_where(pa.array([], pa.bool_())) == []
