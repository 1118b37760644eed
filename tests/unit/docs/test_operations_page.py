"""docs/operations.md promises nothing that no test shows."""

from __future__ import annotations

import re

import pytest
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()
PROMISES = PAGE.partition("## What is guaranteed")[2].partition("\n## ")[0]
ROWS = [line for line in PROMISES.splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize("row", ROWS)
def test_a_promise_names_tests_that_there_are(row: str) -> None:
    named = re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", row.split("|")[3])
    assert named
    for file, test in named:
        assert f"def {test}" in (ROOT / file).read_text()
