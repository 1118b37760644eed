"""Every example of docs/python.md runs, against the fake that it explains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from blade_client.testing import FakeBlade

PAGE = Path(__file__).parents[3] / "docs" / "python.md"
EXAMPLES = [
    re.sub(r"^    ", "", block, flags=re.MULTILINE)
    for block in re.findall(r"(?:^(?:    .*)?\n)+", PAGE.read_text(), re.M)
]
TESTS = [example for example in EXAMPLES if "def test_" in example]


def test_the_page_has_examples_of_both_kinds() -> None:
    assert len(TESTS) == 2
    assert sum("BladeClient(" in example for example in EXAMPLES) == 1


@pytest.mark.parametrize("example", TESTS, ids=["jobs", "conditions"])
def test_the_tests_on_the_page_pass(example: str) -> None:
    names: dict[str, Any] = {}
    exec(compile(example, str(PAGE), "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_the_calls_on_the_page_work(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = [example for example in EXAMPLES if "BladeClient(" in example]
    with FakeBlade() as fake:
        fake.add_source("blade-maintenance", data_type="maintenance")
        fake.add_items("blade-maintenance", {"MAINT-1": {"priority": "HIGH"}, "MAINT-2": {"priority": "LOW"}})
        fake.refuse("MAINT-2", message="422 unknown tail number")
        exec(compile(example.replace("127.0.0.1:50051", fake.target), str(PAGE), "exec"), {})
    said = capsys.readouterr().out
    assert "MAINT-2 422 unknown tail number\n2\n" in said
    assert "MAINT-1 {'priority': 'HIGH'}" in said
    assert "ITEM_NOT_FOUND" in said
