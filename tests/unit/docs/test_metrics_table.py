"""The table of metrics in docs/operations.md and what a scrape has are the same."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.support.paths import ROOT

from blade_server.app.gauges import FAMILIES
from blade_server.metrics import families
from blade_server.metrics.last_seen import LastSeen

PAGE = (ROOT / "docs" / "operations.md").read_text()
NEVER = {"job", "job_id", "item", "item_id", "principal", "sql", "statement", "user"}


def written() -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """Name -> type and labels."""
    section = PAGE.partition("## Watching it\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", section, re.MULTILINE)
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def recorded() -> Mapping[str, tuple[str, tuple[str, ...]]]:
    found = {name: ("gauge", family.labels) for name, family in FAMILIES.items()}
    for family in vars(families).values():
        if isinstance(family, LastSeen):
            found[family.name] = ("gauge", tuple(family._labels))
        elif hasattr(family, "_labelnames"):
            [described] = family.describe()
            total = "_total" if described.type == "counter" else ""
            found[described.name + total] = (described.type, tuple(family._labelnames))
    return found


def test_the_page_has_every_metric_with_its_type_and_labels_and_no_other() -> None:
    assert written() == recorded()


def test_no_label_has_a_value_for_each_job_item_or_caller() -> None:
    assert not NEVER & {label for _, labels in recorded().values() for label in labels}
