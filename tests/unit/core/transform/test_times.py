from datetime import UTC, date, datetime, time, timedelta

import pyarrow as pa
import pytest

from blade_server.core.transform.times import duration_text, in_calendar, interval_text, iso_text, parse_times

MOMENTS = [
    datetime(2024, 1, 15, 10, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
    datetime(2024, 2, 29, 0, 0, 0, 120_000, tzinfo=UTC),
]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_every_unit_are_written_as_python_writes_them(unit: str) -> None:
    moments = [m for m in MOMENTS if unit != "ns" or 1700 < m.year < 2200]
    column = pa.array([*moments, None], pa.timestamp("us", "UTC")).cast(pa.timestamp(unit, "UTC"), safe=False)
    for text, moment in zip(iso_text(column, zone="Z").to_pylist()[:-1], column.to_pylist(), strict=False):
        assert text.endswith("Z")
        assert datetime.fromisoformat(text) == moment
    assert iso_text(column)[len(moments)].as_py() is None


def test_fractions_end_at_their_last_digit() -> None:
    column = pa.array([0, 1, 120_000, 1_000_000], pa.int64()).cast(pa.timestamp("us"))
    assert [text[19:] for text in iso_text(column).to_pylist()] == ["", ".000001", ".12", ""]


def test_a_timestamp_of_another_zone_is_written_in_utc() -> None:
    column = pa.array([datetime(2024, 7, 1, 12, tzinfo=UTC)], pa.timestamp("us", "America/New_York"))
    assert iso_text(column, zone="Z").to_pylist() == ["2024-07-01T12:00:00Z"]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()])
def test_dates_are_written_as_python_writes_them(kind: pa.DataType) -> None:
    days = [date.min, date(1969, 12, 31), date(2024, 2, 29), date.max, None]
    assert iso_text(pa.array(days, kind)).to_pylist() == [day and day.isoformat() for day in days]


def test_years_outside_four_digits_are_written_with_a_sign() -> None:
    days = pa.array([2_932_897, -719_529, -719_163, 2**31 - 1], pa.int32()).cast(pa.date32())
    assert iso_text(days).to_pylist() == ["+10000-01-01", "-0001-12-31", "0000-12-31", "+5881580-07-11"]
    latest = pa.array([253_402_300_800_000_000, 2**63 - 1, -(2**63)], pa.int64()).cast(pa.timestamp("us", "UTC"))
    assert iso_text(latest, zone="Z").to_pylist() == [
        "+10000-01-01T00:00:00Z",
        "+294247-01-10T04:00:54.775807Z",
        "-290308-12-21T19:59:05.224192Z",
    ]


def test_times_of_day_are_written_without_a_date() -> None:
    assert iso_text(pa.array([time(1, 2, 3), time(1, 2, 3, 400), None])).to_pylist() == [
        "01:02:03",
        "01:02:03.0004",
        None,
    ]


def test_values_outside_the_calendar_become_null() -> None:
    days = pa.array([-719_163, -719_162, 2_932_896, 2_932_897, None], pa.int32()).cast(pa.date32())
    assert in_calendar(days).is_valid().to_pylist() == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2024-01-15", "2024-01-15T00:00:00Z"),
        ("2024-01-15 10:20", "2024-01-15T10:20:00Z"),
        ("2024-01-15T10:20:30", "2024-01-15T10:20:30Z"),
        ("2024-01-15T10:20:30.1234567", "2024-01-15T10:20:30.123456Z"),
        ("2024-01-15T10:20:30Z", "2024-01-15T10:20:30Z"),
        ("2024-01-15 23:20:30-02:00", "2024-01-16T01:20:30Z"),
        ("2024-01-15T10:20:30.5+0530", "2024-01-15T04:50:30.5Z"),
        ("2024-01-15T10:20:30+05", "2024-01-15T05:20:30Z"),
        ("20240115", "2024-01-15T00:00:00Z"),
    ],
)
@pytest.mark.parametrize("lenient", [False, True])
def test_iso_text_is_read_in_both_modes(text: str, meant: str, lenient: bool) -> None:
    assert iso_text(parse_times(pa.array([text]), lenient=lenient), zone="Z").to_pylist() == [meant]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1/29/2024 13:00:35", "2024-01-29T13:00:35Z"),
        ("12/09/2024", "2024-12-09T00:00:00Z"),
        ("01/02/2024 3:04", "2024-01-02T03:04:00Z"),
        ("2024-01-15T10:20+01:00", "2024-01-15T09:20:00Z"),
    ],
)
def test_american_dates_and_zones_behind_minutes_are_read_only_in_lenient_mode(text: str, meant: str) -> None:
    assert iso_text(parse_times(pa.array([text]), lenient=True), zone="Z").to_pylist() == [meant]
    assert parse_times(pa.array([text]), lenient=False).to_pylist() == [None]


NO_TIMES = ["soon", "2024", "2024-1-5", "2024-02-30", "20240230", "13/45/2024", "2024-01-15T24:00:00"]
NO_TIMES += [
    "2024-01-15T10:00:60",
    "2024-01-15T10:00:00+18:01",
    "2024-01-15T10:00:00+02:60",
    "0000-01-01",
    "1705312800",
]
NO_TIMES += ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-01:00", "2024-01-15 10:00:00 PM", "२०२४-01-15"]
NO_TIMES += ["2024-01-15\n"]


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_null_and_leaves_its_neighbours(text: str) -> None:
    parsed = parse_times(pa.array(["2024-01-15", text, None, "2024-01-15"]), lenient=True)
    assert parsed.is_valid().to_pylist() == [True, False, False, True]


def test_a_column_of_nulls_is_read() -> None:
    assert parse_times(pa.array([None, None], pa.string()), lenient=True).null_count == 2


def test_durations_are_iso() -> None:
    spans = [timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=500), timedelta(seconds=-90), None]
    assert duration_text(pa.array(spans, pa.duration("us"))).to_pylist() == ["P1DT2H3M4.5S", "-P0DT0H1M30S", None]


def test_intervals_are_iso_with_a_sign_for_each_part() -> None:
    spans = [pa.MonthDayNano([14, -3, 500_000_000]), pa.MonthDayNano([0, 0, -1]), None]
    assert interval_text(pa.array(spans)).to_pylist() == ["P14M-3DT0.5S", "P0M0DT-0.000000001S", None]
