"""docs/architecture.md and the code say the same: every file is in its room, every border is as it is drawn."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator

import pytest
from tests.support.paths import ROOT

SERVER = ROOT / "server" / "blade_server"
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def section(name: str) -> list[str]:
    """The drawn lines of a section, with their indentation."""
    body = PAGE.partition(f"## {name}\n")[2].partition("\n## ")[0]
    return [line[4:] for line in body.splitlines() if line.startswith("    ")]


def drawn() -> Iterator[tuple[str, str]]:
    """(room, what is said of it): `core/engine/read`, `reader job_query plan`; the files beside them in room ``."""
    path: list[str] = []
    for line in section("Rooms")[1:]:
        name, _, said = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        if name.endswith("/"):
            path = [*path[:depth], name.rstrip("/")]
            yield "/".join(path), said
        else:
            yield "", name


def rooms() -> dict[str, set[str]]:
    """The files of each room, as they are."""
    found: dict[str, set[str]] = {}
    for file in SERVER.rglob("*.py"):
        room = file.parent.relative_to(SERVER).as_posix()
        if file.name != "__init__.py" and "migrations" not in room:
            found.setdefault("" if room == "." else room, set()).add(file.stem)
    return found


def test_the_page_has_every_room_and_no_other() -> None:
    assert {room for room, _ in drawn()} == set(rooms())


@pytest.mark.parametrize("room", sorted(rooms()))
def test_the_page_has_every_file_of_a_room(room: str) -> None:
    words = {word for named, said in drawn() if named == room for word in re.findall(r"\w+", said)}
    assert rooms()[room] <= words, "a file is in no room of the page"


def borders() -> Iterator[tuple[str, str, list[str]]]:
    """(module, what it gives, parameters)."""
    module = ""
    for line in section("Borders"):
        if line and not line.startswith(" "):
            module = line.split()[0]
        elif call := re.match(r"  ([\w.]+)\(([^)]*)\)", line):
            yield module, call[1], re.findall(r"\w+", call[2])


@pytest.mark.parametrize(("module", "name", "parameters"), list(borders()))
def test_a_border_is_as_it_is_drawn(module: str, name: str, parameters: list[str]) -> None:
    given = importlib.import_module(f"blade_server.{module}")
    for part in name.split("."):
        given = getattr(given, part)
    names = [parameter for parameter in inspect.signature(given).parameters if parameter not in ("self", "cls")]
    assert names == parameters


@pytest.mark.parametrize("package", ["server/blade_server", "server/blade_sandbox", "client/blade_client"])
def test_no_constructor_takes_more_than_seven_arguments(package: str) -> None:
    long = [
        f"{file.relative_to(ROOT)}: {node.name}"
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and _arguments(node) > 7
    ]
    assert long == [], "bundle what belongs together"


def _arguments(node: ast.ClassDef) -> int:
    """Of a constructor that is written down; those of plain data are not."""
    for function in node.body:
        if isinstance(function, ast.FunctionDef) and function.name == "__init__":
            arguments = function.args
            return len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs) - 1
    return 0
