"""What a caller may know of, as a condition of SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, or_, true

from blade_server.model.access import Scope


def within(scope: Scope, source: ColumnElement[Any], data_type: ColumnElement[Any]) -> ColumnElement[bool]:
    """True for rows whose source, or whose data type, is in the scope."""
    if scope.all:
        return true()
    return or_(source.in_(sorted(scope.sources)), data_type.in_(sorted(scope.data_types)))
