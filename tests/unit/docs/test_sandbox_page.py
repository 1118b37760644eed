"""docs/sandbox.md draws the rooms of the sandbox warehouse as they are, on the floors that .importlinter checks."""

from __future__ import annotations

import configparser
import re

from tests.support.paths import ROOT

WAREHOUSE = ROOT / "server" / "blade_sandbox" / "warehouse"


def drawn() -> dict[tuple[str, ...], str]:
    """Floor by floor from the top: its rooms, and what is said of them."""
    section = (ROOT / "docs" / "sandbox.md").read_text().partition("### Its rooms\n")[2]
    picture = re.search(r"(?:^    .*\n)+", section, re.MULTILINE)
    assert picture is not None
    lines = re.sub(r"\n {10,}", " ", picture[0]).splitlines()
    found = [(line.strip() + "  ").partition("  ") for line in lines]
    return {tuple(sorted(rooms.split(" | "))): said for rooms, _, said in found}


def test_the_floors_are_those_that_are_checked() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts["importlinter:contract:sandbox-warehouse-rooms"]["layers"].split("\n")[1:]
    assert list(drawn()) == [tuple(sorted(layer.strip().split(" | "))) for layer in layers]


def test_every_file_is_named_in_its_room() -> None:
    said = {room: text for rooms, text in drawn().items() for room in rooms}
    for file in WAREHOUSE.glob("*/*.py"):
        if file.name != "__init__.py":
            assert file.stem in re.findall(r"\w+", said[file.parent.name]), file
