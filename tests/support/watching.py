"""The rules and dashboards of deploy/, as tests look at them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from tests.support.paths import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))

_NOT_METRICS = re.compile(
    r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\b(?:by|on|ignoring|group_left)\s*\([^)]*\)|\b\w+(?=\s*\()'
    r"|\b(?:and|or|unless|offset|bool|sum|min|max|count|topk)\b|(?<![\w:])\d[\w.]*"
)
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


def known() -> dict[str, set[str]]:
    """The labels of each metric that docs/operations.md lists, by the names that Prometheus has for it."""
    table = (
        (ROOT / "docs" / "operations.md").read_text().partition("| metric | type | labels |")[2].partition("\n\n")[0]
    )
    found: dict[str, set[str]] = {}
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", table, re.MULTILINE):
        endings = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        found |= {name + ending: set(re.findall(r"`(\w+)`", labels)) for ending in endings}
    return found


def rules() -> list[dict[str, Any]]:
    """All rules, those that record as well."""
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """The rules that wake somebody."""
    return [rule for rule in rules() if "alert" in rule]


def dashboard(name: str) -> dict[str, Any]:
    """The document of a file, without its ending."""
    found: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / f"{name}.json").read_text())
    return found


def panels(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str, str]]:
    """(dashboard, title of the panel, expression) of every target there is."""
    for file in DASHBOARDS:
        for panel in panels(json.loads(file.read_text())):
            for target in panel["targets"]:
                yield file.stem, panel["title"], target["expr"]


def expressions() -> list[str]:
    """Of rules and dashboards."""
    return [*(rule["expr"] for rule in rules()), *(expr for _, _, expr in queries())]


def metrics(expression: str) -> set[str]:
    """The names of the metrics that an expression asks for."""
    return set(re.findall(r"[a-zA-Z_:][\w:]*", _NOT_METRICS.sub(" ", expression)))


def selected(expression: str) -> Iterator[tuple[str, set[str]]]:
    """(metric, labels that its selector names) of an expression."""
    for name, selector in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", expression):
        yield name, set(_LABEL.findall(re.sub(r'"[^"]*"', '""', selector)))
