"""What rules and dashboards ask for is there: each metric, and each label of it."""

from __future__ import annotations

import re

import pytest
from tests.support.watching import expressions, known, metrics, rules, selected

OF_PROMETHEUS = {"up", "ALERTS", *(rule["record"] for rule in rules() if "record" in rule)}
ADDED = {"job", "instance", "namespace", "le"}
"""Labels that a scrape or Prometheus adds."""
NAMES = known()


def is_known(name: str) -> bool:
    return name in NAMES or name in OF_PROMETHEUS or name.startswith("process_")


def test_the_table_is_read() -> None:
    assert {"blade_ready", "rpc_server_call_duration_seconds_bucket"} <= NAMES.keys()
    assert NAMES["blade_job_items_total"] == {"source", "outcome"}


def test_each_metric_is_one_that_a_server_has() -> None:
    asked = {name for expression in expressions() for name in metrics(expression)}
    assert len(asked) > 40
    assert [name for name in sorted(asked) if not is_known(name)] == []


def test_each_metric_of_a_server_is_shown_or_watched() -> None:
    asked = {name for expression in expressions() for name in metrics(expression)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in NAMES} <= families


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_each_label_is_one_that_the_metrics_have(expression: str) -> None:
    for name, labels in selected(expression):
        if name in NAMES:
            assert labels <= NAMES[name] | ADDED, name
    grouped = {label for names in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in names.split(", ")}
    theirs = {label for name in metrics(expression) for label in NAMES.get(name, set())}
    recorded = {"source", "status", "outcome"} if "count30m" in expression else set()
    assert grouped <= theirs | ADDED | recorded
