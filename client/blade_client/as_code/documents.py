"""Documents: what files say, as messages of the contract, checked as far as that goes without a server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from blade.v1.notification_pb2 import Notification
from blade_client.as_code.fields import is_duration, is_map
from blade_client.as_code.kinds import KINDS, Kind
from blade_client.as_code.yaml_nodes import Value, WrongFile, read_yaml
from blade_client.spans import parse_span

MAX_FILES = 10_000
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_REFERENCE = re.compile(r"(env|file):\S+")
_TOP = ("kind", "name", "spec")
_NUMBERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
}


@dataclass(frozen=True, kw_only=True)
class Document:
    """One thing as a file says it, and where."""

    kind: Kind
    name: str
    spec: Message
    where: str
    line: int


def read_documents(paths: Iterable[str]) -> list[Document]:
    """The documents of files and folders (`*.yaml` and `*.yml`, those of inner folders too), in their order.

    Raises:
        WrongFile: Something in a file is wrong, or two documents say one thing.
        OSError: A file cannot be read.
    """
    found: dict[tuple[str, str], Document] = {}
    for path in paths:
        for file in _files(Path(path)):
            try:
                text = file.read_text("utf-8")
            except UnicodeDecodeError as wrong:
                raise WrongFile(str(file), 1, f"it is not UTF-8: {wrong.reason}") from wrong
            for document in documents_of(text, str(file)):
                key = (document.kind.name, document.name)
                if key in found:
                    other = f"{found[key].where}:{found[key].line}"
                    message = f"the {key[0]} {key[1]!r} stands in two documents; the other is {other}"
                    raise WrongFile(document.where, document.line, message)
                found[key] = document
    return list(found.values())


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.rglob("*") if each.suffix in {".yaml", ".yml"} and each.is_file())
    if not found:
        raise WrongFile(str(path), 1, "the folder has no file *.yaml or *.yml")
    if len(found) > MAX_FILES:
        raise WrongFile(str(path), 1, f"the folder has more than {MAX_FILES:,} files")
    return found


def documents_of(text: str, where: str) -> Iterator[Document]:
    """The documents of one file. Raises WrongFile."""
    for value in read_yaml(text, where):
        yield _Checker(where).document(value)


class _Checker:
    def __init__(self, where: str) -> None:
        self._where = where

    def document(self, value: Value) -> Document:
        top = self._mapping(value, "a document")
        lines = value.key_lines or {}
        for key in top:
            if key not in _TOP:
                raise WrongFile(self._where, lines[key], f"unknown field {key!r}{_meant(key, _TOP)}")
        for key in _TOP:
            if key not in top:
                raise WrongFile(self._where, value.line, f"{key!r} is missing; a document has kind, name and spec")
        kind, name = KINDS.get(str(top["kind"].content)), top["name"].content
        if kind is None:
            given = top["kind"].written
            raise WrongFile(
                self._where,
                top["kind"].line,
                f"kind: {given!r} is none of {', '.join(sorted(KINDS))}{_meant(given.lower(), tuple(KINDS))}",
            )
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            what = "1 to 63 lower-case letters, digits and hyphens, beginning with a letter"
            raise WrongFile(self._where, top["name"].line, f"name: {top['name'].written!r} is no name: {what}")
        spec = kind.spec()
        self._fill(spec, top["spec"], "", kind)
        self._required(spec, top["spec"], kind)
        self._check_slack(spec, top["spec"])
        return Document(kind=kind, name=name, spec=spec, where=self._where, line=value.line)

    def _mapping(self, value: Value, what: str) -> dict[str, Value]:
        if not isinstance(value.content, dict):
            raise WrongFile(self._where, value.line, f"{what} has to be a mapping (`field: value` lines)")
        return value.content

    def _required(self, spec: Message, value: Value, kind: Kind) -> None:
        there = {field.name for field, _ in spec.ListFields()}
        for name in kind.required:
            if name not in there:
                json_name = spec.DESCRIPTOR.fields_by_name[name].json_name
                raise WrongFile(self._where, value.line, f"spec.{json_name} is missing; a {kind.name} needs it")

    def _check_slack(self, spec: Message, value: Value) -> None:
        """The address of such a webhook is itself the secret."""
        if isinstance(spec, Notification) and spec.format == Notification.SLACK and not _REFERENCE.fullmatch(spec.url):
            what = "spec.url of the format SLACK has to be a reference to the address; write env:NAME or file:PATH"
            raise WrongFile(self._where, value.line, what)

    def _fill(self, message: Any, value: Value, prefix: str, kind: Kind) -> None:
        lines = value.key_lines or {}
        seen: dict[str, str] = {}
        for key, inner in self._mapping(value, f"spec.{prefix}".rstrip(".")).items():
            field = _named(message.DESCRIPTOR, key, prefix, kind)
            if field is None:
                known = [each.json_name for each in message.DESCRIPTOR.fields if prefix + each.name not in kind.hidden]
                meant = _meant(key, known)
                raise WrongFile(self._where, lines[key], f"unknown field spec.{_shown(prefix)}{key}{meant}")
            if field.name in seen:
                raise WrongFile(self._where, lines[key], f"spec.{_shown(prefix)}{key} stands here twice, too")
            seen[field.name] = key
            oneof = field.containing_oneof
            other = message.WhichOneof(oneof.name) if oneof is not None and inner.content is not None else None
            if other:
                what = f"spec.{_shown(prefix)}{key} stands beside {other}; one of the two is enough"
                raise WrongFile(self._where, lines[key], what)
            if inner.content is not None:
                self._set(message, field, inner, prefix + field.name, kind)

    def _set(self, message: Any, field: FieldDescriptor, value: Value, path: str, kind: Kind) -> None:
        if is_map(field):
            held = getattr(message, field.name)
            for key, each in self._mapping(value, f"spec.{_shown(path)}").items():
                held[key] = self._text(each, f"{path}.{key}")
        elif is_duration(field):
            self._span(getattr(message, field.name), value, path)
        elif field.message_type is not None:
            getattr(message, field.name).SetInParent()
            self._fill(getattr(message, field.name), value, f"{path}.", kind)
        elif field.is_repeated:
            if not isinstance(value.content, list):
                raise self._wrong(value, path, "has to be a list")
            getattr(message, field.name).extend([self._scalar(field, each, path) for each in value.content])
        else:
            content = self._scalar(field, value, path)
            self._check_secret(message, value, path, kind)
            setattr(message, field.name, content)

    def _scalar(self, field: FieldDescriptor, value: Value, path: str) -> Any:
        if field.enum_type is not None:
            return self._word(field, value, path)
        if field.type == FieldDescriptor.TYPE_STRING:
            return self._text(value, path)
        content = value.content
        if field.type == FieldDescriptor.TYPE_BOOL:
            if not isinstance(content, bool):
                raise self._wrong(value, path, "has to be true or false")
            return content
        if isinstance(content, bool) or not isinstance(content, int | float):
            raise self._wrong(value, path, "has to be a number")
        if field.type == FieldDescriptor.TYPE_DOUBLE:
            return float(content)
        least, most = _NUMBERS[field.type]
        if not isinstance(content, int) or not least <= content <= most:
            raise self._wrong(value, path, "has to be a whole number that is not too large")
        return content

    def _word(self, field: FieldDescriptor, value: Value, path: str) -> int:
        assert field.enum_type is not None
        words = [each.name for each in field.enum_type.values if each.number]
        given = value.written.upper()
        if isinstance(value.content, dict | list) or given not in words:
            raise self._wrong(value, path, f"is none of {', '.join(words)}{_meant(given, words)}")
        return int(field.enum_type.values_by_name[given].number)

    def _text(self, value: Value, path: str) -> str:
        if not isinstance(value.content, str):
            raise self._wrong(value, path, "has to be text; write it in quotes")
        return value.content

    def _span(self, message: Any, value: Value, path: str) -> None:
        try:
            message.FromTimedelta(parse_span(self._text(value, path)))
        except ValueError as wrong:
            raise WrongFile(self._where, value.line, f"spec.{_shown(path)}: {wrong}") from wrong

    def _check_secret(self, message: Any, value: Value, path: str, kind: Kind) -> None:
        """What is refused is not repeated in the words."""
        text = value.written
        if path in kind.references and text and not _REFERENCE.fullmatch(text):
            raise WrongFile(
                self._where,
                value.line,
                f"spec.{_shown(path)} holds something else than a reference to a secret; write env:NAME or file:PATH, "
                "and keep the secret out of files",
            )
        if path == "url" and re.match(r"[a-z]+://[^/]*@", text, re.IGNORECASE):
            raise WrongFile(self._where, value.line, "spec.url holds a user or password; refer to the secret instead")

    def _wrong(self, value: Value, path: str, what: str) -> WrongFile:
        given = f" {value.written[:80]!r}" if value.written else ""
        return WrongFile(self._where, value.line, f"spec.{_shown(path)}:{given} {what}")


def _named(message: Descriptor, key: str, prefix: str, kind: Kind) -> FieldDescriptor | None:
    for field in message.fields:
        if key in (field.name, field.json_name) and prefix + field.name not in kind.hidden:
            return field
    return None


def _shown(path: str) -> str:
    """`guards.max_deletes` as it is written in files: `guards.maxDeletes`."""
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), path)


def _meant(given: str, known: Iterable[str]) -> str:
    like = get_close_matches(given, list(known), n=1, cutoff=0.6)
    return f"; did you mean {like[0]}?" if like else ""
