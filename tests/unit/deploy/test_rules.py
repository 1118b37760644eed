"""The alerts of deploy/prometheus, their sections in docs/runbook.md, and what each of them asks for."""

from __future__ import annotations

import re

import pytest
import yaml
from tests.support.paths import ROOT
from tests.support.watching import PROMETHEUS, alerts, metrics, rules

from blade.v1 import audit_service_pb2, job_service_pb2, query_service_pb2

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
SECTIONS = dict(re.findall(r"^### (Blade\w+)\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
NAMES = [rule["alert"] for rule in alerts()]


def test_each_alert_has_its_section_and_each_section_its_alert_in_the_same_order() -> None:
    assert list(SECTIONS) == NAMES
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("alert", alerts(), ids=NAMES)
def test_an_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on(alert: dict) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    said = alert["annotations"]
    assert said.keys() == {"summary", "description", "runbook_url"}
    assert said["runbook_url"] == f"docs/runbook.md#{alert['alert'].lower()}"
    assert 20 < len(said["summary"]) < 110
    assert len(said["description"]) > 60


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_says_what_it_means_how_to_look_and_what_to_do(name: str) -> None:
    text = SECTIONS[name]
    means, look, do = (text.find(f"**{words}**") for words in ("It means", "Look", "Do"))
    if do < 0:
        look, do = text.find("**Look** and"), text.find("**do**")
    assert 0 <= means < look < do


def test_links_within_the_runbook_lead_somewhere() -> None:
    assert set(re.findall(r"\]\(#(\w+)\)", RUNBOOK)) <= {name.lower() for name in SECTIONS}


@pytest.mark.parametrize("alert", alerts(), ids=NAMES)
def test_what_is_said_names_labels_that_the_expression_leaves(alert: dict) -> None:
    named = {label for text in alert["annotations"].values() for label in re.findall(r"\$labels\.(\w+)", text)}
    grouped = re.search(r"\bby \(([^)]*)\)", alert["expr"])
    assert not grouped or named <= set(re.split(r",\s*", grouped[1]))


def test_what_is_recorded_is_used_and_what_is_used_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert {name for alert in alerts() for name in metrics(alert["expr"]) if ":" in name} == recorded


def test_slow_calls_are_those_that_wait_for_nobody_else() -> None:
    (alert,) = (alert for alert in alerts() if alert["alert"] == "BladeCallsSlow")
    left_out = re.compile(re.search(r'rpc_method!~"([^"]*)"', alert["expr"])[1])  # type: ignore[index]
    files = (job_service_pb2, query_service_pb2, audit_service_pb2)
    methods = [m for file in files for s in file.DESCRIPTOR.services_by_name.values() for m in s.methods]
    streams = [f"{method.containing_service.full_name}/{method.name}" for method in methods if method.server_streaming]
    assert len(streams) == 4
    assert all(map(left_out.fullmatch, [*streams, "blade.v1.ConfigService/TestSource", "grpc.health.v1.Health/Watch"]))
    assert not left_out.fullmatch("blade.v1.JobService/GetJob")


def test_each_alert_is_seen_to_fire_and_to_be_quiet() -> None:
    cases = yaml.safe_load((PROMETHEUS / "rules_test.yml").read_text())["tests"]
    asked = [asked for case in cases for asked in case["promql_expr_test"]]
    fired = {name for each in asked for s in each["exp_samples"] for name in re.findall(r"Blade\w+", s["labels"])}
    assert fired == set(NAMES)
    watched = {name for case in cases for each in case["input_series"] for name in metrics(each["series"])}
    needed = {name for alert in alerts() for name in metrics(alert["expr"]) if ":" not in name}
    assert needed <= watched
