"""The dashboards of deploy/grafana, as Grafana 11 takes them."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from tests.support.watching import DASHBOARDS, panels

NAMES = [file.stem for file in DASHBOARDS]


@pytest.fixture(params=DASHBOARDS, ids=NAMES)
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    file: Path = request.param
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_there_are_four() -> None:
    assert NAMES == ["jobs", "overview", "process", "syncs"]
    assert len({json.loads(file.read_text())["uid"] for file in DASHBOARDS}) == 4


def test_it_is_for_grafana_11_and_asks_the_prometheus_that_is_chosen(document: dict[str, Any]) -> None:
    assert document["schemaVersion"] == 39
    assert "id" not in document
    variables = {variable["name"]: variable for variable in document["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    for panel in panels(document):
        for asked in (panel, *panel["targets"]):
            assert asked["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


def test_each_panel_says_what_it_shows_in_which_unit(document: dict[str, Any]) -> None:
    for panel in panels(document):
        assert panel["description"].endswith("."), panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        assert defaults["thresholds"]["steps"][0]["value"] is None, panel["title"]
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])


def test_rates_follow_the_zoom_and_all_is_of_the_installation_that_is_chosen(document: dict[str, Any]) -> None:
    for panel in panels(document):
        for target in panel["targets"]:
            expr = target["expr"]
            assert "ALERTS" in expr or 'job=~"$job"' in expr, panel["title"]
            assert "rate(" not in expr or "[$__rate_interval]" in expr, panel["title"]


def test_panels_have_a_number_each_and_stand_beside_each_other(document: dict[str, Any]) -> None:
    all_panels = document["panels"]
    assert len({panel["id"] for panel in all_panels}) == len(all_panels)
    places = [panel["gridPos"] for panel in all_panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_a_line_is_drawn_where_an_alert_would_fire(document: dict[str, Any]) -> None:
    for panel in panels(document):
        if panel["type"] == "timeseries":
            has_limit = len(panel["fieldConfig"]["defaults"]["thresholds"]["steps"]) > 1
            assert (panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "line") == has_limit
