"""Dates and times to and from text, a whole Arrow column at once.

Arrow's own cast takes nearly a microsecond a timestamp and has neither RFC 3339 nor years of five digits; here each
different day is spelled once, and each second of the day comes from a table.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from blade_server.arrow.arrays import A, AnyArray, as_int64, as_text, join_text, known_as, values

_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAY_S = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_CYCLE_DAYS, _CYCLE_YEARS = 146_097, 400
FIRST_DAY = date.min.toordinal() - _EPOCH_ORDINAL
LAST_DAY = date.max.toordinal() - _EPOCH_ORDINAL

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)
_ISO_PLAIN = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?$"
_BASIC = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)
_US = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?: (\d{1,2}):(\d\d)(?::(\d\d))?)?", re.ASCII)
_TIMESTAMP = pa.timestamp("us", "UTC")
_MAX_OFFSET = timedelta(hours=18)


def is_time(kind: pa.DataType) -> bool:
    """Whether `iso_text` takes columns of this type."""
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind) or pa.types.is_time(kind))


def iso_text(column: AnyArray, *, zone: str = "") -> pa.StringArray:
    """ISO 8601 text of a date, time or timestamp column; null stays null.

    Fractions of a second end at their last digit that is not 0. Years outside 0 to 9999 have a sign: `+10000`, `-0001`.

    Args:
        column: date32/64, time32/64 or timestamp; a timestamp with a zone is written in UTC.
        zone: written behind each timestamp, for example `Z`.
    """
    if pa.types.is_date(column.type):
        return _days_text(_days(column))
    per_second = _UNITS[column.type.unit]
    ticks = as_int64(column.cast(pa.int32()) if column.type.bit_width == 32 else column)
    seconds = _floor_divide(ticks, per_second)
    fraction = pc.subtract(ticks, pc.multiply(seconds, per_second))
    days = _floor_divide(seconds, _DAY_S)
    clock = _clock().take(pc.subtract(seconds, pc.multiply(days, _DAY_S)))
    parts = [clock] if pa.types.is_time(column.type) else [_days_text(days), "T", clock]
    whole = pc.equal(fraction, pa.scalar(0))
    if not pc.all(whole).as_py():
        digits = pc.utf8_lpad(as_text(fraction), len(str(per_second)) - 1, "0")
        digits = pc.utf8_rtrim(digits, "0")
        parts.append(pc.if_else(whole, "", join_text(".", digits)))
    return join_text(*parts, zone)


def in_calendar(column: A) -> A:
    """A date or timestamp column with null in the place of each value whose year is outside 1 to 9999."""
    days = _days(column)
    outside = pc.or_(pc.less(days, pa.scalar(FIRST_DAY)), pc.greater(days, pa.scalar(LAST_DAY)))
    return known_as(type(column), pc.if_else(outside, None, column)) if pc.any(outside).as_py() else column


def parse_times(texts: pa.StringArray, *, lenient: bool) -> pa.TimestampArray[Any, Any]:
    """Read trimmed text as `timestamp[us, UTC]`; null where the text is null or no time in the years 1 to 9999.

    ISO 8601 (with T or a blank, with or without a zone) is read as Databricks' TRY_CAST to TIMESTAMP reads it in a UTC
    session, and so is YYYYMMDD; finer fractions than microseconds are cut off. Times without a zone are UTC.

    Args:
        texts: a string column.
        lenient: also read what Databricks does not: a zone behind minutes, and M/D/YYYY with an optional H:MM[:SS].
    """
    encoded = texts.dictionary_encode()
    unique = known_as(pa.StringArray, encoded.dictionary)
    if pc.all(pc.match_substring_regex(unique, _ISO_PLAIN)).as_py():
        try:
            return _times(as_int64(unique.cast(pa.timestamp("us")))).take(encoded.indices)
        except pa.ArrowInvalid:
            pass  # something like February 30th: find out which
    parsed = pa.array([_parse(text, lenient=lenient) for text in values(unique)], pa.int64())
    return _times(parsed).take(encoded.indices)


def _times(micros: pa.Int64Array) -> pa.TimestampArray[Any, Any]:
    return in_calendar(known_as(pa.TimestampArray, micros.cast(_TIMESTAMP)))


def _parse(text: str, *, lenient: bool) -> int | None:
    """Microseconds since 1970 in UTC."""
    try:
        if match := _ISO.fullmatch(text):
            year, month, day, hour, minute, second, fraction, zone = match.groups()
            if zone and second is None and not lenient:
                return None
            offset = _offset(zone)
        elif match := _BASIC.fullmatch(text):
            (year, month, day), hour, minute, second, fraction, offset = match.groups(), None, None, None, None, UTC
        elif lenient and (match := _US.fullmatch(text)):
            month, day, year, hour, minute, second = match.groups()
            fraction, offset = None, UTC
        else:
            return None
        micros = int(f"{fraction or '':0<6.6}")
        clock = (int(hour or 0), int(minute or 0), int(second or 0), micros)
        return (datetime(int(year), int(month), int(day), *clock, tzinfo=offset) - _EPOCH) // timedelta(microseconds=1)
    except ValueError:
        return None


def _offset(zone: str | None) -> timezone:
    if zone in (None, "Z"):
        return UTC
    assert zone is not None
    minutes = int(zone[-2:]) if len(zone) > 3 else 0
    if minutes > 59:
        raise ValueError(zone)
    offset = timedelta(hours=int(zone[1:3]), minutes=minutes)
    if offset > _MAX_OFFSET:
        raise ValueError(zone)
    return timezone(-offset if zone[0] == "-" else offset)


def duration_text(column: AnyArray) -> pa.StringArray:
    """Durations as ISO 8601, for example `P1DT2H3M4.5S`, with a leading minus if negative."""
    per_second = _UNITS[column.type.unit]
    ticks = as_int64(column).to_pylist()
    return pa.array([None if value is None else _duration(value, per_second) for value in ticks], pa.string())


def interval_text(column: AnyArray) -> pa.StringArray:
    """Intervals of months, days and nanoseconds as ISO 8601, each part with a sign of its own: `P14M-3DT0.5S`."""
    intervals = column.to_pylist()
    return pa.array(
        [None if v is None else f"P{v.months}M{v.days}DT{_decimal(v.nanoseconds, _UNITS['ns'])}S" for v in intervals],
        pa.string(),
    )


def _duration(ticks: int, per_second: int) -> str:
    minutes, rest = divmod(abs(ticks), 60 * per_second)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{'-' if ticks < 0 else ''}P{days}DT{hour}H{minute}M{_decimal(rest, per_second)}S"


def _decimal(ticks: int, per_second: int) -> str:
    whole, fraction = divmod(abs(ticks), per_second)
    digits = str(fraction).zfill(len(str(per_second)) - 1).rstrip("0") if fraction else ""
    return f"{'-' if ticks < 0 else ''}{whole}{'.' if digits else ''}{digits}"


def _days(column: AnyArray) -> pa.Int64Array:
    """Days since 1970 of a date or timestamp column."""
    if pa.types.is_date32(column.type):
        return as_int64(column.cast(pa.int32()))
    unit = "ms" if pa.types.is_date64(column.type) else column.type.unit
    return _floor_divide(as_int64(column), _UNITS[unit] * _DAY_S)


def _floor_divide(numbers: pa.Int64Array, divisor: int) -> pa.Int64Array:
    """Arrow divides towards zero; times before 1970 need the floor."""
    quotient = pc.divide(numbers, divisor)
    below = pc.less(numbers, pc.multiply(quotient, divisor))
    return known_as(pa.Int64Array, pc.if_else(below, pc.subtract(quotient, 1), quotient))


def _days_text(days: pa.Int64Array) -> pa.StringArray:
    encoded = days.dictionary_encode()
    unique = values(known_as(pa.Int64Array, encoded.dictionary))
    return pa.array([_day_text(day) for day in unique], pa.string()).take(encoded.indices)


def _day_text(day: int) -> str:
    if FIRST_DAY <= day <= LAST_DAY:
        return date.fromordinal(day + _EPOCH_ORDINAL).isoformat()
    # Python's calendar ends at the year 9999, but repeats itself every 400 years.
    cycles, rest = divmod(day + _EPOCH_ORDINAL - 1, _CYCLE_DAYS)
    within = date.fromordinal(rest + 1)
    year = within.year + cycles * _CYCLE_YEARS
    return f"{year:{'04' if year == 0 else '+05'}}-{within.month:02}-{within.day:02}"


@cache
def _clock() -> pa.StringArray:
    """`HH:MM:SS` for each second of a day."""
    return as_text(pa.array(range(_DAY_S), pa.int32()).cast(pa.time32("s")))
