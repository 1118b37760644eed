from itertools import pairwise

import pyarrow as pa
import pytest

from blade_server.arrow.arrays import contents, fill_null, join_bytes, join_text, known_as, values


def test_an_array_of_another_kind_is_not_taken_for_the_one_that_was_said() -> None:
    with pytest.raises(AssertionError, match="Int64Array is no StringArray"):
        known_as(pa.StringArray, pa.array([1]))
    with pytest.raises(AssertionError, match="StringScalar is no StringArray"):
        join_text("only", "constants")


def test_pieces_are_joined_row_by_row_and_null_where_one_is() -> None:
    texts = pa.array(["a", None, "c"])
    assert join_text("<", texts, "-", texts, ">").to_pylist() == ["<a-a>", None, "<c-c>"]
    assert join_bytes(b"<", pa.array([b"\xff"]), b">").to_pylist() == [b"<\xff>"]


def test_nulls_are_filled_and_the_array_stays_of_its_kind() -> None:
    assert fill_null(pa.array(["a", None]), "b").equals(pa.array(["a", "b"]))
    assert fill_null(pa.array([True, None]), False).equals(pa.array([True, False]))


def test_values_of_an_array_with_a_null_are_not_given() -> None:
    assert values(pa.array(["a", "b"])) == ["a", "b"]
    with pytest.raises(AssertionError):
        values(pa.array(["a", None]))


@pytest.mark.parametrize("texts", [["ab", "", "ü"], [None, "x"], [None], []])
@pytest.mark.parametrize("skipped", [0, 2])
def test_contents_are_those_of_exactly_these_values(texts: list[str | None], skipped: int) -> None:
    array = pa.array(["before"] * skipped + texts + ["after"] * skipped, pa.string()).slice(skipped, len(texts))
    begins, data = contents(array)
    assert [data[a:b].tobytes().decode() for a, b in pairwise(begins)] == [text or "" for text in texts]


def test_contents_are_empty_where_another_writer_left_the_offsets_out() -> None:
    array = pa.Array.from_buffers(pa.string(), 0, [None, pa.py_buffer(b""), pa.py_buffer(b"")])
    begins, data = contents(array)
    assert (begins.tolist(), data.tolist()) == ([0], [])
