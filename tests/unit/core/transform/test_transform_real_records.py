"""The transform on the FAA's own records, as exported: all text, padded, with mixed dates and missing ids."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blade_server.core.transform.transform import Transform, Transformed
from blade_server.errors import Reason
from blade_server.model import Classification, RowMapping, Source, SourceConfig

pytestmark = pytest.mark.shared_data


def transformed(table: pa.Table, item_id: str, last_modified: str, batch_rows: int) -> Transformed:
    source = Source(
        name="faa",
        display_name="FAA",
        data_type="maintenance",
        enabled=True,
        config=SourceConfig(catalog="main", schema="blade", table="faa"),
        mapping=RowMapping(
            item_id=item_id, last_modified=last_modified, classification=Classification(value="UNCLASS")
        ),
    )
    transform = Transform(source, table.schema, known_classifications=("UNCLASS",), metadata={})
    return transform.all(table.combine_chunks().to_batches(max_chunksize=batch_rows))


@pytest.fixture(scope="module")
def difficulties(shared_data: Path) -> pa.Table:
    return pq.read_table(shared_data / "maintenance_faa_sdr_b737_ata32_2024_2025.parquet")


@pytest.fixture(scope="module")
def accidents(shared_data: Path) -> pa.Table:
    return pq.read_table(shared_data / "maintenance_faa_aid_1975_2008.parquet")


@pytest.mark.parametrize("batch_rows", [7, 100, 10_000])
def test_the_seven_rows_without_an_id_are_seven_rejections_and_the_rest_484_items(
    difficulties: pa.Table, batch_rows: int
) -> None:
    done = transformed(difficulties, "OperatorControlNumber", "SubmissionDate", batch_rows)
    assert len(done.items) == 484
    assert [(row.error.reason, row.error.field) for row in done.rejected] == [
        (Reason.MISSING_ITEM_ID, "OperatorControlNumber")
    ] * 7
    assert len({row.fingerprint for row in done.rejected}) == 7
    assert done == transformed(difficulties, "OperatorControlNumber", "SubmissionDate", 491)


def test_american_and_iso_dates_of_one_column_are_all_read(difficulties: pa.Table) -> None:
    items = transformed(difficulties, "OperatorControlNumber", "SubmissionDate", 491).items
    modified = {item.item_id: item.last_modified for item in items}
    assert modified["DALA2024012901308"] == "2024-01-29T13:00:35Z"
    given = {row["OperatorControlNumber"]: row["SubmissionDate"] for row in difficulties.to_pylist()}
    iso = next(key for key, text in given.items() if key and "-" in text)
    assert modified[iso] == given[iso].replace(" ", "T") + "Z"
    assert None not in modified.values()


def test_padded_records_with_dates_as_digits_all_become_items(accidents: pa.Table) -> None:
    done = transformed(accidents, "control_number", "date_last_modified", 1000)
    assert done.rejected == []
    assert len({item.item_id for item in done.items}) == 2_763
    assert done.items[0].last_modified == "2012-08-08T00:00:00Z"


def test_every_column_of_every_record_is_kept_in_order_and_unchanged(
    accidents: pa.Table, difficulties: pa.Table
) -> None:
    for table, item_id, modified in (
        (accidents, "control_number", "date_last_modified"),
        (difficulties, "OperatorControlNumber", "SubmissionDate"),
    ):
        rows = {row[item_id]: row for row in table.to_pylist() if row[item_id]}
        for item in transformed(table, item_id, modified, 500).items:
            assert list(json.loads(item.data_json).items()) == list(rows[item.item_id].items())
