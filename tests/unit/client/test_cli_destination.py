"""`blade destination` against the fake."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from blade_client.cli import main
from blade_client.testing import FakeBlade


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with FakeBlade() as fake:

        def run(*words: str, code: int = 0) -> str:
            result = CliRunner().invoke(main, ["--server", fake.target, *words])
            assert result.exit_code == code, result.output
            return result.output

        run.fake = fake
        yield run


def test_a_destination_is_added_shown_changed_and_removed(run):
    added = run("destination", "add", "lake", "--url", "http://lake.test", "--ceiling", "CUI", "--timeout-s", "2.5")
    assert "capabilities" in added
    assert "Destination lake was added." in added
    asked = run.fake.asked("CreateDestination")[0].destination
    assert (asked.url, asked.ceiling, asked.timeout.ToTimedelta().total_seconds()) == ("http://lake.test", "CUI", 2.5)
    assert "default" in run("destination", "list").splitlines()[1]
    assert "2.5 s" in run("destination", "show", "lake")
    run("destination", "set", "lake", "--ceiling", "", "--items-per-second", "5")
    assert list(run.fake.asked("UpdateDestination")[0].update_mask.paths) == ["ceiling", "items_per_second"]
    shown = json.loads(run("--json", "destination", "show", "lake"))
    assert (shown["ceiling"], shown["itemsPerSecond"]) == ("", 5)
    assert "was removed" in run("destination", "remove", "lake")
    assert "no destination" in run("destination", "show", "lake", code=4)


def test_nothing_to_change_is_a_wrong_use(run):
    assert "Nothing to change" in run("destination", "set", "lake", code=2)


def test_what_is_validated_only_is_not_stored(run):
    out = run("destination", "add", "lake", "--url", "http://lake.test", "--validate-only")
    assert "nothing was stored" in out
    assert len(json.loads(run("--json", "destination", "list"))["destinations"]) == 1


def test_jobs_and_items_name_their_destination(run):
    run.fake.add_source("parts")
    run("job", "start", "--source", "parts", "--destination", "lake")
    assert run.fake.asked("StartQueryJob")[0].destination == "lake"
    run("item", "ingest", "parts", "P-1", "--destination", "lake", code=4)
    assert run.fake.asked("IngestItem")[0].destination == "lake"


def test_a_test_tells_what_the_catalog_can_do(run):
    assert "deletes" in run("destination", "test", "default")
