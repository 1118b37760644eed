"""Functions and operators whose meaning differs between Databricks and DuckDB, beyond what sqlglot translates."""

from __future__ import annotations

from sqlglot import exp

from blade_sandbox.warehouse.errors import unsupported
from blade_sandbox.warehouse.sql import dates
from blade_sandbox.warehouse.sql.rewriting import Rewrite, as_type, call, wrap

_INTEGER_TYPES = {exp.DType.TINYINT, exp.DType.SMALLINT, exp.DType.INT, exp.DType.BIGINT}
_DATETIMES = {
    exp.DType.DATE: "date",
    exp.DType.TIMESTAMP: "timestamptz",
    exp.DType.TIMESTAMPTZ: "timestamptz",
    exp.DType.TIMESTAMPLTZ: "timestamptz",
    exp.DType.TIMESTAMPNTZ: "timestamp",
}
_OTHER_MEANING = {
    "HASH",
    "XXHASH64",
    "CRC32",
    "FROM_JSON",
    "SCHEMA_OF_JSON",
    "DECODE",
    "STACK",
    "INLINE",
    "VERSION",
}
"""Functions DuckDB has under the same name with another result, or that sqlglot writes wrongly."""


def adapt(tree: exp.Expr, *, ansi: bool) -> exp.Expr:
    """Rewrite a resolved tree in place so that DuckDB computes what Databricks would.

    Args:
        tree: the statement.
        ansi: ANSI_MODE of the session; without it, text that is no value and a division by zero give NULL.

    Raises:
        SqlError: a function that DuckDB has under the same name with another meaning.
    """
    if not ansi:
        _tolerate(tree)
    # Inner nodes first: an outer one is wrapped as it then stands.
    for node in reversed(list(tree.walk(bfs=False))):
        rewrite = _REWRITES.get(type(node))
        if rewrite is not None:
            rewrite(node)
        if isinstance(node.args.get("format"), exp.Literal):
            dates.check_pattern(node)
    return tree


def _tolerate(tree: exp.Expr) -> None:
    """Give NULL where ANSI mode has an error, for text that is no value and for zero as a divisor."""
    for bracket in tree.find_all(exp.Bracket):
        bracket.set("safe", True)
    for node in reversed(list(tree.find_all(exp.Cast, exp.Div, exp.Mod, exp.IntDiv))):
        if not isinstance(node, exp.Cast):
            node.set("expression", call("nullif", node.expression.copy(), exp.Literal.number(0)))
        elif not isinstance(node, exp.TryCast) and not isinstance(node.this, (exp.Parameter, exp.Null)):
            argument, target = node.this, node.args["to"]
            if isinstance(argument, exp.Literal) and not argument.is_string:
                continue
            is_literal = isinstance(argument, exp.Literal)
            text = argument.copy() if is_literal else exp.cast(argument.copy(), "TEXT")
            if target.this in _INTEGER_TYPES:
                text = call("sandbox_legacy_digits", text)
            trying = exp.TryCast(this=text, to=target.copy())
            is_text = exp.EQ(this=call("typeof", argument.copy()), expression=exp.Literal.string("VARCHAR"))
            choice = exp.Case(ifs=[exp.If(this=is_text, true=trying)], default=node.copy())
            node.replace(trying if is_literal else choice)


def _limit(node: exp.Expr) -> None:
    if isinstance(node.expression, exp.Var) and node.expression.name.upper() == "ALL":
        node.pop()


def _division(node: exp.Expr) -> None:
    """Division by zero is an error; DuckDB's ``/`` gives infinity."""
    divisor = node.expression
    if not (isinstance(divisor, exp.Literal) and not divisor.is_string and float(divisor.name) != 0):
        node.set("expression", call("sandbox_divisor", divisor.copy()))


def _cast(node: exp.Expr) -> None:
    kind, trying = node.args["to"].this, isinstance(node, exp.TryCast)
    argument = node.this
    if kind == exp.DType.TIMESTAMP:
        # Only to_timestamp() makes this type of the two; Databricks' TIMESTAMP has a zone.
        node.set("to", exp.DataType.build("TIMESTAMPTZ", dialect="duckdb"))
    if isinstance(argument, (exp.Parameter, exp.Null)):
        return
    if isinstance(argument, exp.Literal) and not argument.is_string:
        if kind in _INTEGER_TYPES and not argument.is_int:
            node.set("this", call("trunc", argument.copy()))
        return
    if kind in _INTEGER_TYPES:
        target = exp.Literal.string(node.args["to"].sql("databricks"))
        node.set("this", call("sandbox_try_integral" if trying else "sandbox_integral", argument.copy(), target))
    elif kind in (exp.DType.TEXT, exp.DType.VARCHAR, exp.DType.CHAR):
        node.set("this", call("sandbox_string", argument.copy()))
    elif kind in (exp.DType.BINARY, exp.DType.VARBINARY):
        node.set("this", call("sandbox_binary", argument.copy()))
    elif kind in _DATETIMES and isinstance(argument, exp.Literal):
        argument.replace(exp.Literal.string(dates.full_text(argument.name, date=kind == exp.DType.DATE)))
    elif kind in _DATETIMES:
        name = f"sandbox_try_{_DATETIMES[kind]}" if trying else f"sandbox_{_DATETIMES[kind]}"
        node.replace(call(name, argument.copy()))


def _like(node: exp.Expr) -> None:
    """A backslash escapes in Databricks' LIKE unless ESCAPE says otherwise; in DuckDB nothing does."""
    if isinstance(node.parent, exp.Escape):
        return
    pattern = node.expression
    if isinstance(pattern, (exp.Any, exp.All, exp.Tuple)) or (
        isinstance(pattern, exp.Literal) and "\\" not in pattern.name
    ):
        return
    wrap(node, lambda inner: exp.Escape(this=inner, expression=exp.Literal.string("\\")))


def _substring(node: exp.Expr) -> None:
    """Position 0 means 1."""
    start = node.args.get("start")
    if isinstance(start, exp.Literal) and start.name == "0":
        node.set("start", exp.Literal.number(1))


def _anonymous(node: exp.Expr) -> None:
    name = node.name.upper()
    if name in _OTHER_MEANING:
        raise unsupported(f"the function {name.lower()}()")
    if name == "WEEKDAY":
        dates.weekday(node)
    elif name in ("BINARY", "DECIMAL") and len(node.expressions) == 1:
        cast = exp.cast(node.expressions[0].copy(), "DECIMAL(10, 0)" if name == "DECIMAL" else name)
        node.replace(cast)
        _cast(cast)


def _refuse(name: str) -> Rewrite:
    def refuse(node: exp.Expr) -> None:
        raise unsupported(name)

    return refuse


def _exists(node: exp.Expr) -> None:
    if not isinstance(node.this, exp.Query):
        raise unsupported("the function exists(array, lambda)")


def _sha2(node: exp.Expr) -> None:
    length = node.args.get("length")
    if length is not None and length.name not in ("0", "256"):
        raise unsupported(f"sha2() with {length.name} bits")


def _format(node: exp.Expr) -> None:
    if not isinstance(node.this, exp.Literal) or node.this.name.replace("%s", "").count("%"):
        raise unsupported("format_string() with anything but %s")


def _typeof(node: exp.Expr) -> None:
    wrap(node, lambda inner: call("sandbox_typeof", inner.this))


def _percentile(name: str) -> Rewrite:
    return lambda node: wrap(node, lambda inner: call(name, inner.this, inner.args["quantile"]))


def _bracket(node: exp.Expr) -> None:
    """``items[0]``, ``by_key[7]`` and ``element_at``: which of them it is shows when DuckDB knows the type."""
    (index, *more) = node.expressions
    if more or isinstance(index, exp.Slice) or (isinstance(index, exp.Literal) and index.is_string):
        return
    if node.args.get("offset") is None:
        name = "sandbox_item_or_null" if node.args.get("safe") else "sandbox_item"
    elif node.args.get("safe"):
        return
    else:
        name = "sandbox_element"
    node.replace(call(name, node.this.copy(), index.copy()))


def _parse_json(node: exp.Expr) -> None:
    """A VARIANT that keeps the digits of its numbers."""
    node.set("this", call("sandbox_exact_numbers", node.this.copy()))
    as_type("VARIANT")(node)


def _json_extract(node: exp.Expr) -> None:
    """``column:name`` of JSON text is text without its quotes."""
    if node.args.get("variant_extract"):
        path = node.expression.sql("duckdb")
        node.replace(call("sandbox_extract", node.this.copy(), exp.Literal.string(path[1:-1].replace("''", "'"))))


def _safe(operator: type[exp.Binary]) -> Rewrite:
    """try_add() and the like: NULL on overflow."""
    return lambda node: wrap(node, lambda inner: call("try", operator(this=inner.this, expression=inner.expression)))


def _rank(node: exp.Expr) -> None:
    if isinstance(node.this, (exp.RowNumber, exp.Rank, exp.DenseRank, exp.Ntile)):
        as_type("INT")(node)


def _table_sample(node: exp.Expr) -> None:
    if node.args.get("bucket_numerator"):
        raise unsupported("TABLESAMPLE (BUCKET ...)")


_INT_RESULT = (exp.Year, exp.Month, exp.Day, exp.DayOfMonth, exp.DayOfYear, exp.Quarter, exp.WeekOfYear, exp.Length,
               exp.ArraySize, exp.StrPosition, exp.DateDiff, exp.Levenshtein, exp.Unicode, exp.Hour, exp.Minute,
               exp.Second)  # fmt: skip
_REWRITES: dict[type[exp.Expr], Rewrite] = {
    **dates.REWRITES,
    exp.Limit: _limit,
    exp.Div: _division,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.IntDiv: as_type("BIGINT"),
    exp.Ceil: as_type("BIGINT"),
    exp.Floor: as_type("BIGINT"),
    exp.Quantile: _percentile("quantile_cont"),
    exp.ApproxQuantile: _percentile("quantile_disc"),
    exp.SafeAdd: _safe(exp.Add),
    exp.SafeSubtract: _safe(exp.Sub),
    exp.SafeMultiply: _safe(exp.Mul),
    exp.Window: _rank,
    exp.AtTimeZone: _refuse("conversion between time zones"),
    exp.ConvertTimezone: _refuse("conversion between time zones"),
    **dict.fromkeys(_INT_RESULT, as_type("INT")),
    exp.Bracket: _bracket,
    exp.ParseJSON: _parse_json,
    exp.JSONFormat: lambda node: wrap(node, lambda inner: call("sandbox_plain_numbers", inner)),
    exp.JSONExtract: _json_extract,
    exp.FromJson: _refuse("the function from_json()"),
    exp.Like: _like,
    exp.ILike: _like,
    exp.Substring: _substring,
    exp.Anonymous: _anonymous,
    exp.Exists: _exists,
    exp.SHA2: _sha2,
    exp.Format: _format,
    exp.TableSample: _table_sample,
    exp.Typeof: _typeof,
}
