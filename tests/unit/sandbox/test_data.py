"""The sample tables are what the documentation says they are."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from blade_sandbox.data import DEPLOYMENT, LOGISTICS, MAINTENANCE, SORTIE, maintenance, sample_tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return sample_tables(tmp_path_factory.mktemp("tables"))


def test_all_flights_of_2013_are_there_under_unique_ids(tables: dict[str, Path]) -> None:
    flights = pq.read_table(tables[SORTIE])
    assert flights.num_rows == 336_776
    assert pc.count_distinct(flights["item_id"]).as_py() == 336_776
    assert flights["item_id"].null_count == 0
    # As ../shared/data/SOURCES.md counts them.
    assert flights["dep_time"].null_count == 8_255
    assert flights["tailnum"].null_count == 2_512


def test_maintenance_has_the_customers_columns_and_item_over_real_tails(tables: dict[str, Path]) -> None:
    rows = pq.read_table(tables[MAINTENANCE])
    assert rows.column_names[:5] == ["tail_number", "maint_type", "description", "due_date", "priority"]
    assert "MAINT-123" in rows["item_id"].to_pylist()
    flown = set(pq.read_table(tables[SORTIE], columns=["tailnum"])["tailnum"].to_pylist())
    assert set(rows["tail_number"].to_pylist()) <= flown


@pytest.mark.parametrize("name", [SORTIE, MAINTENANCE, DEPLOYMENT, LOGISTICS])
def test_each_table_suits_the_default_mapping(tables: dict[str, Path], name: str) -> None:
    table = pq.read_table(tables[name], columns=["item_id", "classification", "last_modified"])
    assert pc.count_distinct(table["item_id"]).as_py() == table.num_rows
    assert pc.unique(table["classification"]).to_pylist() == ["UNCLASS"]
    assert table["last_modified"].null_count == 0


def test_the_made_up_rows_are_the_same_every_time(tables: dict[str, Path]) -> None:
    assert maintenance().equals(pq.read_table(tables[MAINTENANCE]))


def test_a_half_written_file_is_never_taken_for_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        sample_tables(tmp_path)
    assert list(tmp_path.iterdir()) == []
