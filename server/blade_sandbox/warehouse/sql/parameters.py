"""Statement parameters: from the driver's ``TSparkParameter`` to a typed SQL value.

A value is never text of the statement: it is bound by DuckDB, under a CAST to the type the driver named, so ``'; DROP``
is a string like any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from databricks.sql.thrift_api.TCLIService.ttypes import TSparkParameter, TSparkParameterValueArg
from sqlglot import exp

from blade_sandbox.warehouse.errors import SqlError, cast_invalid_input, unbound_parameter

POSITIONAL = "__positional_"
"""Prefix of the names that stand for ``?`` markers."""

_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")
_INTEGER_BITS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "INTEGER": 32, "BIGINT": 64, "LONG": 64}
_NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$")


@dataclass(kw_only=True)
class Bindings:
    """Takes the parameters of one request and hands out their SQL, collecting what DuckDB has to bind."""

    parameters: Sequence[TSparkParameter]
    values: dict[str, Any] = field(default_factory=dict)

    def value(self, name: str) -> exp.Expr:
        """The value for ``:name``, or for the n-th ``?`` under the name ``POSITIONAL`` + n.

        Raises:
            SqlError: no such parameter was sent, or its value does not fit its type.
        """
        parameter = self._find(name)
        return self._value(parameter.type, _text(parameter), parameter.arguments)

    def text(self, name: str) -> str | None:
        """The value as text, where SQL needs a name: IDENTIFIER(:table); None: NULL, or an array or map."""
        return _text(self._find(name))

    def _find(self, name: str) -> TSparkParameter:
        if name.startswith(POSITIONAL):
            number = int(name.removeprefix(POSITIONAL))
            positional = [parameter for parameter in self.parameters if not parameter.name]
            if number > len(positional):
                raise unbound_parameter(f"_{number}")
            return positional[number - 1]
        for parameter in self.parameters:
            if parameter.name and parameter.name.lower() == name.lower():
                return parameter
        raise unbound_parameter(name)

    def _value(self, type_name: str, text: str | None, arguments: Sequence[TSparkParameterValueArg] | None) -> exp.Expr:
        kind = (type_name or "STRING").upper()
        if kind in ("ARRAY", "MAP", "STRUCT"):
            return self._collection(kind, arguments or ())
        if text is None or kind in ("VOID", "NULL"):
            return exp.Null()
        name = f"p{len(self.values)}"
        self.values[name] = _checked(kind, text)
        target = sqlglot.parse_one(f"CAST(x AS {_cast_type(kind)})", read="databricks")
        target.this.replace(exp.Parameter(this=exp.Var(this=name)))
        return target

    def _collection(self, kind: str, arguments: Sequence[TSparkParameterValueArg]) -> exp.Expr:
        items = [self._value(item.type, item.value, item.arguments) for item in arguments]
        if kind == "ARRAY":
            return exp.Array(expressions=items)
        if kind == "MAP":
            return exp.Map(keys=exp.Array(expressions=items[::2]), values=exp.Array(expressions=items[1::2]))
        raise SqlError("DATATYPE_MISMATCH", "42K09", f"A parameter cannot have the type {kind}.")


def _text(parameter: TSparkParameter) -> str | None:
    value = parameter.value
    if value is None:
        return None
    if value.stringValue is not None:
        return str(value.stringValue)
    if value.doubleValue is not None:
        return repr(value.doubleValue)
    return None if value.booleanValue is None else str(value.booleanValue)


def _cast_type(kind: str) -> str:
    if kind.startswith("INTERVAL"):
        return "INTERVAL"
    if kind == "DECIMAL":
        return "DECIMAL(38, 18)"
    match = re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", kind)
    if match and int(match[2]) > int(match[1]):
        return f"DECIMAL({match[2]}, {match[2]})"
    if not re.fullmatch(r"[A-Z_]+(\(\d+(,\s*\d+)?\))?", kind):
        raise SqlError("DATATYPE_MISMATCH", "42K09", f"A parameter cannot have the type {kind!r}.")
    return kind


def _checked(kind: str, text: str) -> Any:
    """The Python value to bind; text that is no value of its type is an error, as under ANSI mode."""
    bad = cast_invalid_input(f"'{text}'", "STRING", kind)
    if kind in _INTEGER_BITS:
        if not re.fullmatch(r"\s*[+-]?\d+\s*", text):
            raise bad
        if not -(1 << _INTEGER_BITS[kind] - 1) <= int(text) < 1 << _INTEGER_BITS[kind] - 1:
            raise bad
        return int(text)
    if kind == "BOOLEAN":
        if text.lower() not in _TRUE + _FALSE:
            raise bad
        return text.lower() in _TRUE
    if kind == "BINARY":
        return text.encode()
    if kind.startswith("DECIMAL") and not _NUMBER.match(text):
        raise bad
    return text
