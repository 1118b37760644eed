"""YAML as plain values that know their lines. Nothing is constructed, and all work is bounded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 100_000
"""Of a file, each alias counted as what it stands for."""
MAX_DEPTH = 40
_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?\d{1,19}", re.ASCII)


class WrongFile(Exception):
    """A file that is wrong; `message` names file, line and field."""

    def __init__(self, where: str, line: int, message: str) -> None:
        super().__init__(f"{where}:{line}: {message}")


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value and the line, from 1, that it begins in.

    `content` is None, a bool, int, float or str; a list of values; or a dict of values, whose lines `key_lines` has.
    `written` is a scalar as it stands in the file.
    """

    content: Any
    line: int
    written: str = ""
    key_lines: dict[str, int] | None = None


def read_yaml(text: str, where: str) -> Iterator[Value]:
    """The documents of a file; empty ones are left out.

    Args:
        text: the file.
        where: its name, for errors.

    Raises:
        WrongFile: It is too large, not YAML, or has a key twice, a tag of its own, or aliases beyond the bounds.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise WrongFile(where, 1, f"the file is larger than {MAX_BYTES >> 20} MiB; split it")
    reader = _Reader(where)
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            value = reader.value(node, 0) if node is not None else None
            if value is not None and value.content is not None:
                yield value
    except yaml.MarkedYAMLError as wrong:
        line = wrong.problem_mark.line + 1 if wrong.problem_mark else 1
        raise WrongFile(where, line, f"this is not YAML: {wrong.problem or wrong.context}") from wrong
    except yaml.YAMLError as wrong:
        raise WrongFile(where, 1, f"this is not YAML: {wrong}") from wrong
    except RecursionError as wrong:
        raise WrongFile(where, 1, f"it is nested deeper than {MAX_DEPTH} levels") from wrong


class _Reader:
    def __init__(self, where: str) -> None:
        self._where = where
        self._nodes = 0

    def value(self, node: yaml.Node, depth: int) -> Value:
        line = node.start_mark.line + 1
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise WrongFile(self._where, line, f"the file has more than {MAX_NODES:,} values, aliases among them")
        if depth > MAX_DEPTH:
            raise WrongFile(self._where, line, f"it is nested deeper than {MAX_DEPTH} levels")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, line, depth)
        if isinstance(node, yaml.SequenceNode):
            return Value(content=[self.value(each, depth + 1) for each in node.value], line=line)
        return Value(content=self._scalar(node, line), line=line, written=node.value)

    def _mapping(self, node: yaml.MappingNode, line: int, depth: int) -> Value:
        content: dict[str, Value] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            at = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise WrongFile(self._where, at, "a key has to be text")
            if key.value in content:
                raise WrongFile(
                    self._where, at, f"{key.value!r} stands here twice; line {lines[key.value]} has it, too"
                )
            content[key.value] = self.value(value, depth + 1)
            lines[key.value] = at
        return Value(content=content, line=line, key_lines=lines)

    def _scalar(self, node: yaml.Node, line: int) -> Any:
        kind, written = node.tag.removeprefix(_TAG), node.value
        if kind == "null":
            return None
        if kind == "bool":
            return written.lower() in {"true", "yes", "on"}
        if kind == "int" and _INT.fullmatch(written):
            return int(written)
        if kind == "float":
            try:
                return float(written)
            except ValueError:
                return written
        if kind in {"str", "int", "timestamp"}:
            return written
        raise WrongFile(self._where, line, f"the tag {node.tag!r} is not allowed; write plain values")
