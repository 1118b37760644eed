"""Every command line of docs/cli.md and docs/security.md is one that the command takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from tests.support.paths import ROOT

from blade_client.cli import main
from blade_client.cli.loading import _EXTRAS


def lines(page: str) -> list[str]:
    """What stands behind `blade` in the command lines of a page."""
    text = (ROOT / "docs" / page).read_text("utf-8").replace("\\\n", " ")
    found = (
        re.search(r"(?:^ +|\| |\$\()blade (.*)$", line.partition(") |")[0].partition(" | python3")[0])
        for line in re.findall(r"^    .*\bblade .*$", text, re.MULTILINE)
    )
    return [re.split(r" [|>] | < |   +#", line[1])[0].strip() for line in found if line]


LINES = lines("cli.md")


def parse(context: click.Context, command: click.Command, arguments: list[str]) -> None:
    """As click does before it runs a command. Raises UsageError."""
    with command.make_context(command.name, arguments, parent=context) as inner:
        rest = [*inner._protected_args, *inner.args]
        if isinstance(command, click.Group):
            name, nested, left = command.resolve_command(inner, rest)
            assert name is not None
            assert nested is not None
            parse(inner, nested, left)


def test_the_page_has_lines_of_each_command() -> None:
    own = set(main.list_commands(click.Context(main))) - set(_EXTRAS) - {"version"}
    assert own <= {shlex.split(line)[0] for line in LINES}


@pytest.mark.parametrize(
    "line", [line for line in [*LINES, *lines("security.md")] if shlex.split(line)[0] not in _EXTRAS]
)
def test_a_line_of_the_page_is_taken(monkeypatch, tmp_path: Path, line: str) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = shlex.split(line)
    for word in arguments:
        if re.fullmatch(r"[a-z]+(\.[a-z]+)?", word):  # any of them may be a file
            (tmp_path / word).touch()
    parse(click.Context(main), main, arguments)
