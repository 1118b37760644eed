import json
import math
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from tests.support.nouns import a_source

from blade_server.core.transform.transform import Rejected, Transform, Transformed
from blade_server.errors import Invalid, Precondition, Reason
from blade_server.model import MAX_ROW_JSON_BYTES, Classification, Overrides, RowMapping, Source, SourceConfig, Stage

NO_IDS = pa.array([None] * 4, pa.string())
KNOWN = ("UNCLASS", "CUI", "SECRET")
METADATA = {"source": "maint", "warehouse": "test-01"}


def source(**mapping: Any) -> Source:
    fields = {"item_id": "item_id", "classification": Classification(value="UNCLASS"), **mapping}
    return Source(
        name="maint",
        display_name="maint",
        data_type="maintenance",
        enabled=True,
        config=SourceConfig(catalog="main", schema="blade", table="maint"),
        mapping=RowMapping(**fields),
    )


def compiled(schema: pa.Schema, *, overrides: Overrides | None = None, **mapping: Any) -> Transform:
    return Transform(source(**mapping), schema, known_classifications=KNOWN, metadata=METADATA, overrides=overrides)


def transform(columns: dict[str, Any], **settings: Any) -> Transformed:
    batch = pa.record_batch(columns)
    return compiled(batch.schema, **settings)(batch)


def broken_text(*parts: bytes) -> pa.Array:
    """A string column with exactly these bytes, UTF-8 or not."""
    return pa.array(parts, pa.binary()).view(pa.string())


def reasons(rejected: list[Rejected]) -> list[tuple[Reason, str]]:
    return [(entry.error.reason, entry.error.field) for entry in rejected]


# ------------------------------------------------------------------------------------------------ good rows


def test_the_customers_example_becomes_an_item() -> None:
    row = {"tail_number": "AF-001", "maint_type": "scheduled", "due_date": "2024-01-15", "changed": "2024-01-10"}
    done = transform(
        {name: [value] for name, value in row.items()},
        item_id="MAINT-{tail_number}-{due_date:%Y}",
        last_modified="changed",
    )
    (item,) = done.items
    assert done.rejected == []
    assert item.item_id == "MAINT-AF-001-2024"
    assert item.data_type == "maintenance"
    assert list(json.loads(item.data_json).items()) == list(row.items())
    assert item.classification == "UNCLASS"
    assert item.last_modified == "2024-01-10T00:00:00Z"
    assert item.metadata == METADATA


def test_all_items_share_the_metadata_they_were_given() -> None:
    assert all(item.metadata is METADATA for item in transform({"item_id": ["a", "b"]}).items)


def test_an_empty_batch_has_no_items() -> None:
    done = transform({"item_id": pa.array([], pa.string())})
    assert (list(done.items), done.rejected) == ([], [])


def test_items_of_a_slice_are_those_of_its_rows() -> None:
    batch = pa.record_batch(
        {"item_id": ["a", "b", "c", "d"], "n": [1, None, 3, 4], "tags": [["x"], ["y", "z"], [], None]}
    )
    whole, part = compiled(batch.schema)(batch), compiled(batch.schema)(batch.slice(1, 2))
    assert list(part.items) == list(whole.items)[1:3]


def test_odd_values_of_all_types_reach_the_json_exactly() -> None:
    moment = datetime(2024, 1, 15, 10, tzinfo=UTC)
    columns = {
        "item_id": ["a"],
        "big": pa.array([2**63 - 1], pa.int64()),
        "bigger": pa.array([2**64 - 1], pa.uint64()),
        "amount": pa.array([Decimal("12345678901234567890123456789.012345678")], pa.decimal128(38, 9)),
        "nan": [math.nan],
        "inf": [-math.inf],
        "binary": [b"\x00\xff"],
        "zoned": pa.array([moment], pa.timestamp("us", "Europe/Berlin")),
        "naive": pa.array([moment.replace(tzinfo=None)], pa.timestamp("us")),
        "late": pa.array([2_932_897], pa.int32()).cast(pa.date32()),
        "early": pa.array([-(2**62)], pa.int64()).cast(pa.timestamp("us", "UTC")),
        "tags": [["x", None]],
        "limits": pa.array([[("lo", 1), ("hi", None)]], pa.map_(pa.string(), pa.int64())),
        "part": [{"name": "valve", "serial": 2**60}],
        "void": pa.nulls(1),
        "text": ['q"\\\x00\n\u2028😀'],
    }
    (item,) = transform(columns).items
    assert json.loads(item.data_json) == {
        "item_id": "a",
        "big": 2**63 - 1,
        "bigger": 2**64 - 1,
        "amount": "12345678901234567890123456789.012345678",
        "nan": None,
        "inf": None,
        "binary": "AP8=",
        "zoned": "2024-01-15T10:00:00Z",
        "naive": "2024-01-15T10:00:00",
        "late": "+10000-01-01",
        "early": "-144169-06-28T09:59:32.612096Z",
        "tags": ["x", None],
        "limits": {"lo": 1, "hi": None},
        "part": {"name": "valve", "serial": 2**60},
        "void": None,
        "text": 'q"\\\x00\n\u2028😀',
    }


def test_random_rows_are_what_python_makes_of_them() -> None:
    pick = random.Random(7)

    def column(make: Callable[[], Any]) -> list[Any]:
        return [None if pick.random() < 0.2 else make() for _ in range(500)]

    columns = {
        "item_id": [f"id-{row}" for row in range(500)],
        "text": column(lambda: "".join(pick.choices('ab"\\\n\t\x01é😀 ', k=pick.randrange(12)))),
        "n": column(lambda: pick.randrange(-(2**63), 2**63)),
        "x": column(lambda: pick.uniform(-1, 1) * 10 ** pick.randrange(-300, 300)),
        "ok": column(lambda: pick.random() < 0.5),
        "day": column(lambda: date.fromordinal(pick.randrange(1, date.max.toordinal()))),
        "list": column(lambda: [pick.choice([None, 1, 2**40]) for _ in range(pick.randrange(4))]),
    }
    batch = pa.record_batch(columns)
    items = compiled(batch.schema)(batch).items
    for item, row in zip(items, batch.to_pylist(), strict=True):
        assert json.loads(item.data_json) == row | {"day": row["day"] and row["day"].isoformat()}


def test_a_batch_too_large_for_one_arrow_buffer_is_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"item_id": ["a", None, "c", "d", "e"], "text": ["x" * 100] * 5}
    whole = transform(columns)
    monkeypatch.setattr("blade_server.core.transform.transform._MAX_AT_ONCE_BYTES", 250)
    assert transform(columns) == whole


# -------------------------------------------------------------------------------------------- last modified


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([datetime(2024, 1, 15, 10, tzinfo=UTC)], pa.timestamp("us", "Asia/Tokyo")), "2024-01-15T10:00:00Z"),
        (pa.array([datetime(2024, 1, 15, 10)], pa.timestamp("ns")), "2024-01-15T10:00:00Z"),  # noqa: DTZ001
        (pa.array([date(2024, 1, 15)]), "2024-01-15T00:00:00Z"),
        (pa.array([date(1, 1, 1)], pa.date64()), "0001-01-01T00:00:00Z"),
        (pa.array([" 2024-01-15T12:00:00.5+02:00 "]), "2024-01-15T10:00:00.5Z"),
        (pa.array(["20120808"]), "2012-08-08T00:00:00Z"),
        (pa.array(["1/29/2024 13:00:35"]), "2024-01-29T13:00:35Z"),
        (pa.array(["  "]), None),
        (pa.array([None], pa.string()), None),
        (pa.array([None], pa.timestamp("us")), None),
        (pa.nulls(1), None),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_last_modified_is_rfc3339_in_utc(column: pa.Array, expected: str | None) -> None:
    (item,) = transform({"item_id": ["a"], "changed": column}, last_modified="CHANGED").items
    assert item.last_modified == expected


def test_a_mapping_without_last_modified_leaves_it_out() -> None:
    assert transform({"item_id": ["a"], "last_modified": ["20240101"]}).items[0].last_modified is None


def test_a_last_modified_that_is_no_time_rejects_its_row_with_field_and_value() -> None:
    done = transform({"item_id": ["a", "b", "c"], "changed": ["20240101", "yesterday", None]}, last_modified="changed")
    assert [item.item_id for item in done.items] == ["a", "c"]
    assert reasons(done.rejected) == [(Reason.UNSERIALISABLE_VALUE, "changed")]
    assert "'yesterday'" in done.rejected[0].error.message
    assert done.rejected[0].error.item_id == "b"


def test_a_last_modified_beyond_the_year_9999_rejects_its_row() -> None:
    days = pa.array([0, 2_932_897], pa.int32()).cast(pa.date32())
    done = transform({"item_id": ["a", "b"], "changed": days}, last_modified="changed")
    assert reasons(done.rejected) == [(Reason.UNSERIALISABLE_VALUE, "changed")]
    assert "'+10000-01-01'" in done.rejected[0].error.message


# ------------------------------------------------------------------------------------------- classification


def test_classification_comes_from_its_column_and_is_never_made_up() -> None:
    done = transform(
        {"item_id": list("abcdef"), "marking": ["UNCLASS", " SECRET ", None, " ", "secret", "TOP" * 100]},
        classification=Classification(column="Marking"),
    )
    assert [(item.item_id, item.classification) for item in done.items] == [("a", "UNCLASS"), ("b", "SECRET")]
    assert reasons(done.rejected) == [
        (Reason.MISSING_CLASSIFICATION, "marking"),
        (Reason.MISSING_CLASSIFICATION, "marking"),
        (Reason.UNKNOWN_CLASSIFICATION, "marking"),
        (Reason.UNKNOWN_CLASSIFICATION, "marking"),
    ]
    messages = [entry.error.message for entry in done.rejected]
    assert messages[2] == "classification 'secret' is not one this server knows; known: UNCLASS, CUI, SECRET"
    assert ("TOP" * 100)[:80] + "'" in messages[3]


def test_the_override_takes_the_place_of_column_and_value() -> None:
    columns = {"item_id": ["a"], "marking": ["nonsense"]}
    for classification in (
        Classification(column="marking"),
        Classification(value="UNCLASS"),
        Classification(column="x"),
    ):
        done = transform(columns, overrides=Overrides(classification="SECRET"), classification=classification)
        assert [item.classification for item in done.items] == ["SECRET"]


@pytest.mark.parametrize(
    ("least", "found"),
    [
        ({}, ["UNCLASS", "CUI", "SECRET"]),
        ({"mapping": "UNCLASS"}, ["UNCLASS", "CUI", "SECRET"]),
        ({"mapping": "CUI"}, ["CUI", "CUI", "SECRET"]),
        ({"job": "CUI"}, ["CUI", "CUI", "SECRET"]),
        ({"mapping": "SECRET", "job": "CUI"}, ["SECRET", "SECRET", "SECRET"]),
        ({"mapping": "CUI", "job": "SECRET"}, ["SECRET", "SECRET", "SECRET"]),
    ],
)
def test_the_higher_of_the_rows_classification_and_the_least_one_counts(
    least: dict[str, str], found: list[str]
) -> None:
    columns = {"item_id": list("abcde"), "marking": ["UNCLASS", "CUI", "SECRET", None, "secret"]}
    done = transform(
        columns,
        overrides=Overrides(min_classification=least.get("job", "")),
        classification=Classification(column="marking"),
        min_classification=least.get("mapping", ""),
    )
    assert [item.classification for item in done.items] == found
    assert [entry.error.reason for entry in done.rejected] == [
        Reason.MISSING_CLASSIFICATION,
        Reason.UNKNOWN_CLASSIFICATION,
    ]


def test_no_fixed_classification_is_below_the_least_one() -> None:
    for fixed, own, found in (("UNCLASS", "", "CUI"), ("SECRET", "", "SECRET"), ("SECRET", "UNCLASS", "CUI")):
        done = transform(
            {"item_id": ["a"]},
            overrides=Overrides(classification=own),
            classification=Classification(value=fixed),
            min_classification="CUI",
        )
        assert [item.classification for item in done.items] == [found]


def test_a_least_classification_that_is_no_longer_known_lets_nothing_through() -> None:
    with pytest.raises(Invalid, match=r"mapping.min_classification: 'COSMIC' is not one"):
        transform({"item_id": ["a"]}, min_classification="COSMIC", overrides=Overrides(min_classification="SECRET"))


def test_an_unknown_fixed_classification_rejects_every_row() -> None:
    done = transform({"item_id": ["a", "b"]}, classification=Classification(value="COSMIC"))
    assert list(done.items) == []
    assert reasons(done.rejected) == [(Reason.UNKNOWN_CLASSIFICATION, "mapping.classification")] * 2


# ----------------------------------------------------------------------------------------------------- ids


def test_a_row_without_an_id_part_is_rejected_with_its_column() -> None:
    done = transform({"a": ["x", None, " "], "b": ["1", "2", None]}, item_id="{A}-{B}")
    assert [item.item_id for item in done.items] == ["x-1"]
    assert reasons(done.rejected) == [(Reason.MISSING_ITEM_ID, "a"), (Reason.MISSING_ITEM_ID, "a")]
    error = done.rejected[0].error
    assert (error.item_id, error.stage, error.attempts) == ("", Stage.TRANSFORM, 1)
    assert error.row_json == '{"a":null,"b":"2"}'


def test_ids_may_have_512_characters_and_no_control_characters() -> None:
    done = transform({"item_id": ["é" * 512, "é" * 513, "a\x00b", "a\u0085b", "a\nb", "fine"]})
    assert [item.item_id for item in done.items] == ["é" * 512, "fine"]
    assert reasons(done.rejected) == [(Reason.UNSERIALISABLE_VALUE, "mapping.item_id")] * 4
    assert all(entry.error.item_id == "" and len(entry.error.message) < 400 for entry in done.rejected)


@pytest.mark.parametrize("item_id", ["a\x1fb", "a\x7fb", "a\u0080b", "a\u009fb"])
def test_one_control_character_is_found_in_each_part_of_unicode_that_has_some(item_id: str) -> None:
    assert reasons(transform({"item_id": [item_id]}).rejected) == [(Reason.UNSERIALISABLE_VALUE, "mapping.item_id")]
    assert transform({"item_id": ["\u00a0\u00bf"]}).rejected == []


# --------------------------------------------------------------------------------------------- broken values


def test_text_that_is_not_utf8_rejects_its_row_alone_and_is_shown_readably() -> None:
    done = transform({"item_id": ["a", "b", "c"], "n": [1, 2, 3], "note": broken_text(b"good", b"bad\xff", b"fine")})
    assert [json.loads(item.data_json)["note"] for item in done.items] == ["good", "fine"]
    assert reasons(done.rejected) == [(Reason.UNSERIALISABLE_VALUE, "note")]
    error = done.rejected[0].error
    assert error.item_id == "b"
    assert json.loads(error.row_json) == {"item_id": "b", "n": 2, "note": "<not UTF-8: bad\\xff>"}


def test_text_that_is_not_utf8_inside_a_list_rejects_its_row_alone() -> None:
    lists = pa.ListArray.from_arrays([0, 1, 2], broken_text(b"good", b"\xff"))
    done = transform({"item_id": ["a", "b"], "tags": lists})
    assert [item.item_id for item in done.items] == ["a"]
    assert reasons(done.rejected) == [(Reason.UNSERIALISABLE_VALUE, "tags")]


def test_an_id_that_is_not_utf8_is_rejected_and_not_passed_on() -> None:
    done = transform({"item_id": broken_text(b"a", b"\xff")})
    assert [item.item_id for item in done.items] == ["a"]
    assert reasons(done.rejected) == [(Reason.UNSERIALISABLE_VALUE, "item_id")]
    assert done.rejected[0].error.item_id == ""


def test_a_row_with_several_faults_reports_the_first_of_id_classification_time_values() -> None:
    columns = {
        "id": [None, "b", "c", "d"],
        "cls": ["?", "?", "UNCLASS", "UNCLASS"],
        "changed": ["?", "?", "?", "20240101"],
        "note": broken_text(b"\xff", b"\xff", b"\xff", b"\xff"),
    }
    done = transform(columns, item_id="id", classification=Classification(column="cls"), last_modified="changed")
    assert reasons(done.rejected) == [
        (Reason.MISSING_ITEM_ID, "id"),
        (Reason.UNKNOWN_CLASSIFICATION, "cls"),
        (Reason.UNSERIALISABLE_VALUE, "changed"),
        (Reason.UNSERIALISABLE_VALUE, "note"),
    ]


def test_the_row_kept_with_an_error_is_cut_between_characters() -> None:
    done = transform({"item_id": NO_IDS[:2], "text": ["é" * MAX_ROW_JSON_BYTES, "x" + "é" * MAX_ROW_JSON_BYTES]})
    kept = [entry.error.row_json for entry in done.rejected]
    assert {len(text.encode()) for text in kept} == {MAX_ROW_JSON_BYTES, MAX_ROW_JSON_BYTES - 1}
    assert all(text.endswith("é") for text in kept)


# ---------------------------------------------------------------------------------------------- fingerprints


def fingerprints(columns: dict[str, Any]) -> list[bytes]:
    return [entry.fingerprint for entry in transform(columns).rejected]


def test_fingerprints_are_equal_for_equal_rows_in_any_batch_and_order() -> None:
    first = fingerprints({"item_id": NO_IDS, "n": [1, 2, 1, None], "x": ["a", "b", "a", "c"]})
    assert all(len(fingerprint) == 16 for fingerprint in first)
    assert first[0] == first[2]
    assert len(set(first)) == 3
    assert fingerprints({"x": ["c", "b"], "item_id": NO_IDS[:2], "n": pa.array([None, 2])}) == [first[3], first[1]]


def test_fingerprints_differ_where_the_json_does_not() -> None:
    assert len(set(fingerprints({"item_id": NO_IDS, "x": [math.nan, math.inf, None, 0.0]}))) == 4
    broken = broken_text(b"\xff", b"\xfe", b"", b"a")
    assert len(set(fingerprints({"item_id": NO_IDS, "x": broken}))) == 4
    long = ["x" * 10_000 + str(row) for row in range(4)]
    assert len(set(fingerprints({"item_id": NO_IDS, "x": long}))) == 4


def test_a_fingerprint_does_not_change_with_what_else_is_wrong_in_the_batch() -> None:
    alone = fingerprints({"item_id": [None], "x": ["a"]})
    beside = fingerprints({"item_id": [None, "b"], "x": broken_text(b"a", b"\xff")})
    assert beside[0] == alone[0]


# ------------------------------------------------------------------------------------------------- compiling


@pytest.mark.parametrize(
    "mapping",
    [{"item_id": "{a}-{nowhere}"}, {"last_modified": "nowhere"}, {"classification": Classification(column="nowhere")}],
)
def test_a_column_the_mapping_names_and_the_result_lacks_is_missing(mapping: dict[str, Any]) -> None:
    with pytest.raises(Precondition, match="'nowhere'") as caught:
        transform({"a": ["x"], "item_id": ["y"]}, **mapping)
    assert caught.value.reason is Reason.MISSING_COLUMN


def test_two_columns_of_one_name_are_refused() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array(["x"]), pa.array(["y"])], ["item_id", "item_id"])
    with pytest.raises(Invalid, match="more than one column of the name 'item_id'") as caught:
        compiled(batch.schema)
    assert caught.value.reason is Reason.INVALID_SQL


def test_columns_that_differ_by_case_are_two_columns() -> None:
    (item,) = transform({"item_id": ["x"], "ITEM_ID": ["y"]}).items
    assert json.loads(item.data_json) == {"item_id": "x", "ITEM_ID": "y"}
    assert item.item_id == "x"


def test_a_type_without_a_json_form_is_refused_by_name() -> None:
    union = pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])])
    with pytest.raises(Invalid, match=r"column 'u': dense_union.* has no JSON form; cast it"):
        transform({"item_id": ["x"], "u": union})


@pytest.mark.parametrize(
    ("mapping", "field"),
    [
        ({"item_id": "{x}"}, "mapping.item_id"),
        ({"item_id": "{a:%Q}"}, "mapping.item_id"),
        ({"item_id": "{x"}, "mapping.item_id"),
        ({"last_modified": "x"}, "mapping.last_modified"),
        ({"classification": Classification(column="x")}, "mapping.classification"),
    ],
)
def test_a_mapping_that_does_not_fit_the_types_is_invalid(mapping: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        transform({"item_id": ["a"], "x": [1.5]}, **mapping)
    assert caught.value.violations[0].field.startswith(field)


def test_other_layouts_of_text_work_as_id_classification_and_time() -> None:
    done = transform(
        {
            "item_id": pa.array(["a"], pa.large_string()),
            "cls": pa.array(["UNCLASS"]).dictionary_encode(),
            "changed": pa.array(["20240101"], pa.string_view()),
        },
        classification=Classification(column="cls"),
        last_modified="changed",
    )
    assert [(item.item_id, item.classification, item.last_modified) for item in done.items] == [
        ("a", "UNCLASS", "2024-01-01T00:00:00Z")
    ]


def test_the_data_type_is_the_sources() -> None:
    batch = pa.record_batch({"item_id": ["a"]})
    sortie = replace(source(), data_type="sortie")
    done = Transform(sortie, batch.schema, known_classifications=KNOWN, metadata=METADATA)(batch)
    assert done.items[0].data_type == "sortie"


class TestCeiling:
    @staticmethod
    def classified(*values: str | None) -> pa.RecordBatch:
        return pa.RecordBatch.from_pydict(
            {"id": [str(at) for at in range(len(values))], "c": pa.array(values, pa.string())}
        )

    @staticmethod
    def transform(ceiling: str, least: str = "") -> Transform:
        mapping = RowMapping(item_id="id", classification=Classification(column="c"), min_classification=least)
        source = a_source(mapping=mapping)
        schema = pa.schema([("id", pa.string()), ("c", pa.string())])
        return Transform(source, schema, known_classifications=("U", "C", "S"), metadata={}, ceiling=ceiling)

    @pytest.mark.parametrize(
        ("ceiling", "left"), [("", ["0", "1", "2"]), ("S", ["0", "1", "2"]), ("C", ["0", "1"]), ("U", ["0"])]
    )
    def test_what_is_above_it_is_no_item(self, ceiling, left):
        items, rejected = self.transform(ceiling)(self.classified("U", "C", "S"))
        assert items.item_ids == left
        assert {row.error.reason for row in rejected} <= {Reason.CLASSIFICATION_ABOVE_CEILING}
        assert len(rejected) == 3 - len(left)

    def test_the_raised_classification_counts_and_other_faults_stay_what_they_are(self):
        items, rejected = self.transform("U", least="C")(self.classified("U", None, "?"))
        assert items.item_ids == []
        assert [row.error.reason for row in rejected] == [
            Reason.CLASSIFICATION_ABOVE_CEILING,
            Reason.MISSING_CLASSIFICATION,
            Reason.UNKNOWN_CLASSIFICATION,
        ]

    def test_one_that_is_not_known_stops_everything(self):
        with pytest.raises(Invalid, match=r"destination\.ceiling"):
            self.transform("COSMIC")
