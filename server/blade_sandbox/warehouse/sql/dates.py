"""Dates, times and intervals: where Databricks' functions and patterns differ from DuckDB's."""

from __future__ import annotations

import re

from sqlglot import exp

from blade_sandbox.warehouse.errors import unsupported
from blade_sandbox.warehouse.sql.rewriting import Rewrite, as_type, call, wrap

_PART = re.compile(r"%-?[A-Za-z%](?:strict)?|'(?:[^']|'')*'|S+|[A-Za-z]+|.", re.DOTALL)
_INT = exp.DataType.build("INT")
_SIGN = r"(?P<sign>-)?"
_TIME = r"(?P<hour>\d+):(?P<minute>\d+)"
_SPANS = {
    "YEAR TO MONTH": _SIGN + r"(?P<year>\d+)-(?P<month>\d+)",
    "DAY TO HOUR": _SIGN + r"(?P<day>\d+) (?P<hour>\d+)",
    "DAY TO MINUTE": _SIGN + r"(?P<day>\d+) " + _TIME,
    "DAY TO SECOND": _SIGN + r"(?P<day>\d+) " + _TIME + r":(?P<second>\d+(?:\.\d+)?)",
    "HOUR TO MINUTE": _SIGN + _TIME,
    "HOUR TO SECOND": _SIGN + _TIME + r":(?P<second>\d+(?:\.\d+)?)",
    "MINUTE TO SECOND": _SIGN + r"(?P<minute>\d+):(?P<second>\d+(?:\.\d+)?)",
}


def check_pattern(node: exp.Expr) -> None:
    """Finish the translation of a function's date pattern in place.

    sqlglot has turned the letters it knows into ``%Y`` and the like; left are fractions of a second and quoted text.

    Raises:
        SqlError: a letter DuckDB has nothing for.
    """
    pattern = node.args["format"]
    finished = "".join(_finish(part) for part in _PART.findall(pattern.name))
    pattern.replace(exp.Literal.string(finished))


def full_text(text: str, *, date: bool) -> str:
    """``2021`` and ``2021-09`` and ``2021-09-30 11``, which Databricks reads, as what DuckDB reads."""
    text = text.strip()
    if date:
        text = re.sub(r"^(\d{4}-\d{1,2}-\d{1,2})[ T].*$", r"\1", text)
    if re.fullmatch(r"\d{4}", text):
        return f"{text}-01-01"
    if re.fullmatch(r"\d{4}-\d{1,2}", text):
        return f"{text}-01"
    if re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}T", text):
        return text[:-1]
    return f"{text}:00" if re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2}[ T]\d{1,2}", text) else text


def _finish(part: str) -> str:
    if part.startswith("%"):
        return part
    if part.startswith("'"):
        return part[1:-1].replace("''", "'") or "'"
    if part in ("SSS", "SSSSSS"):
        return "%g" if part == "SSS" else "%f"
    if part[0].isalpha():
        raise unsupported(f"the letter {part[0]!r} in a date pattern")
    return part


def _date_arithmetic(node: exp.Expr) -> None:
    """``date_add(d, 1)`` and ``DATE'...' + INTERVAL 1 DAY`` are dates; in DuckDB they are timestamps."""
    unit = str(node.args.get("unit") or "DAY").upper()
    if isinstance(node, (exp.TsOrDsAdd, exp.DateAdd, exp.DateSub)) and unit in ("DAY", "DAYS"):
        if isinstance(node, exp.TsOrDsAdd) or _is_date(node.this):
            as_type("DATE")(node)
    elif isinstance(node, (exp.Add, exp.Sub)) and isinstance(node.expression, exp.Interval) and _is_date(node.this):
        interval = str(node.expression.args.get("unit") or "").upper().rstrip("S")
        if interval in ("DAY", "WEEK", "MONTH", "YEAR", "QUARTER"):
            as_type("DATE")(node)


def _is_date(node: exp.Expr) -> bool:
    if isinstance(node, exp.Anonymous):
        return node.name in ("sandbox_date", "sandbox_try_date")
    return isinstance(node, exp.CurrentDate) or (isinstance(node, exp.Cast) and node.args["to"].this == exp.DType.DATE)


def _day_of_week(node: exp.Expr) -> None:
    """Sunday is 1 in Databricks and 0 in DuckDB."""
    wrap(node, lambda inner: exp.Cast(this=exp.Add(this=inner, expression=exp.Literal.number(1)), to=_INT.copy()))


def _extract(node: exp.Expr) -> None:
    if node.name.upper() in ("DAYOFWEEK", "DOW", "DAYOFWEEK_ISO", "DOW_ISO"):
        raise unsupported(f"extract({node.name})")
    as_type("INT")(node)


def _unix_time(node: exp.Expr) -> None:
    if isinstance(node.this, exp.CurrentTimestamp):
        node.replace(exp.Cast(this=call("floor", call("epoch", node.this.copy())), to=exp.DataType.build("BIGINT")))
    else:
        as_type("BIGINT")(node)


def _interval(node: exp.Expr) -> None:
    """``INTERVAL '1-2' YEAR TO MONTH`` in the one unit DuckDB reads."""
    span = node.args.get("unit")
    if not isinstance(span, exp.IntervalSpan):
        return
    numbers = re.fullmatch(_SPANS.get(span.sql().upper(), "(?!)"), node.this.name)
    if numbers is None:
        raise unsupported(f"the interval {node.sql('databricks')}")
    sign = -1 if numbers["sign"] else 1
    parts = {name: float(text or 0) for name, text in numbers.groupdict().items() if name != "sign"}
    if "year" in parts:
        amount, unit = sign * (parts["year"] * 12 + parts["month"]), "MONTH"
    else:
        hours = parts.get("day", 0) * 24 + parts.get("hour", 0)
        amount, unit = sign * ((hours * 60 + parts.get("minute", 0)) * 60 + parts.get("second", 0)), "SECOND"
    node.set("this", exp.Literal.string(f"{amount:g}" if amount % 1 else str(int(amount))))
    node.set("unit", exp.Var(this=unit))


def weekday(node: exp.Expr) -> None:
    """Monday is 0 in Databricks and 1 in DuckDB, where only Sunday is 0."""
    wrap(node, lambda inner: _minus_one(exp.DayOfWeekIso(this=inner.expressions[0])))


def _minus_one(node: exp.Expr) -> exp.Expr:
    return exp.Cast(this=exp.Sub(this=node, expression=exp.Literal.number(1)), to=_INT.copy())


REWRITES: dict[type[exp.Expr], Rewrite] = {
    exp.TsOrDsAdd: _date_arithmetic,
    exp.DateAdd: _date_arithmetic,
    exp.DateSub: _date_arithmetic,
    exp.Add: _date_arithmetic,
    exp.Sub: _date_arithmetic,
    exp.AddMonths: as_type("DATE"),
    exp.DayOfWeek: _day_of_week,
    exp.Extract: _extract,
    exp.Interval: _interval,
    exp.TimestampTrunc: as_type("TIMESTAMPTZ"),
    exp.StrToTime: as_type("TIMESTAMPTZ"),
    exp.DateTrunc: as_type("DATE"),
    exp.StrToUnix: _unix_time,
}
