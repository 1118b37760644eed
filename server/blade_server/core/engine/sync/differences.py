"""What differs between an item as the catalog has it and as its row is now, field by field."""

from __future__ import annotations

from blade_server.arrow.content import canonical, parsed
from blade_server.model.sync import FieldChange

MAX_FIELDS = 100
MAX_VALUE_BYTES = 1024


def differences(before: bytes, after: bytes) -> list[FieldChange]:
    """The fields of two files that differ, in the order of their names: `classification`, `data.COLUMN`, ...

    As `same_item` has it. Values are JSON, cut at 1 KiB. None if one of the files is no JSON object.
    """
    old, new = _fields(before), _fields(after)
    if old is None or new is None:
        return []
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return [
        FieldChange(field=name, before=_shown(old.get(name)), after=_shown(new.get(name)))
        for name in names[:MAX_FIELDS]
    ]


def _fields(file: bytes) -> dict[str, bytes | None] | None:
    content = parsed(file)
    if not isinstance(content, dict):
        return None
    fields = {}
    for name, value in content.items():
        if name in {"data", "metadata"} and isinstance(value, dict):
            fields.update({f"{name}.{inner}": canonical(one) for inner, one in value.items()})
        else:
            fields[name] = canonical(value)
    return fields


def _shown(value: bytes | None) -> str:
    return "" if value is None else value[:MAX_VALUE_BYTES].decode("utf-8", "ignore")
