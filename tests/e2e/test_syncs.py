"""Syncs, files and notifications by the command line, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.e2e.conftest import Cli
from tests.support.access import SERVER_ENVIRONMENT
from tests.support.ports import free_port

from blade_sandbox.data import sample_tables
from blade_sandbox.sandbox import TOKEN, Ports, Sandbox

SLACK_PORT = 9  # nothing is there: what is sent does not arrive
DOCUMENTS = """\
kind: sync
name: kept
spec:
  source: kept
  destination: lake
  mode: CHANGED
  schedule: {every: 1d, jitter: 10m}
  deletes: DELETE
  guards: {maxDeletes: 5, grace: 1h}
  maxAge: 40d
  retry: {attempts: 3, base: 2s}
  limits: {maxErrors: 0}
  metadata: {team: ops}
  notifications: [on-call]
---
kind: source
name: kept
spec:
  dataType: kept
  config: {catalog: main, schema: blade, table: blade_maintenance_data}
  mapping:
    itemId: "{item_id}"
    classification: {value: UNCLASS}
    metadata: {office: north}
---
kind: notification
name: on-call
spec: {url: "http://127.0.0.1:9/hook", secret: "env:BLADE_SECRET_HOOK", events: [LATE, RUN_FAILED]}
---
kind: destination
name: lake
spec: {url: URL, credentials: "env:BLADE_SECRET_LAKE", itemsPerSecond: 100000, timeout: 20s, ceiling: SECRET}
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    catalog = free_port()
    world = Sandbox(
        tmp_path_factory.mktemp("syncs"),
        tables=sample_tables(),
        ports=Ports(catalog=catalog),
        settings={
            "BLADE_AUTH": "on",
            "BLADE_ALLOWED_CATALOG_HOSTS": f"127.0.0.1:{catalog}=env:BLADE_SECRET_LAKE",
            "BLADE_SECRET_LAKE": TOKEN,
            "BLADE_ALLOWED_WEBHOOK_HOSTS": f"127.0.0.1:{SLACK_PORT}=env:BLADE_SECRET_HOOK",
            "BLADE_SECRET_HOOK": "whsec_" + "A" * 43 + "=",
            **SERVER_ENVIRONMENT,
        },
    )
    try:
        world.start()
        yield world
    finally:
        world.stop()


@pytest.fixture
def blade(sandbox: Sandbox) -> Cli:
    return Cli(sandbox.target)


@pytest.fixture
def documents(sandbox: Sandbox, tmp_path: Path) -> Path:
    file = tmp_path / "kept.yaml"
    file.write_text(DOCUMENTS.replace("URL", sandbox.catalog.found["url"]))
    return file


def test_files_are_applied_exported_run_changed_and_pruned(blade: Cli, documents: Path, tmp_path: Path) -> None:
    assert "4 to create" in blade("apply", "-f", str(documents), "--plan", code=10).out
    blade("apply", "-f", str(documents))
    assert "Nothing to do" in blade("apply", "-f", str(documents), "--plan").out
    out = tmp_path / "out.yaml"
    blade("export", "--output", str(out))
    assert "Nothing to do" in blade("apply", "-f", str(out)).out

    ran = blade("sync", "run", "kept", "--watch", "--reason", "first", timeout_s=120).out
    assert "created, 0 updated, 0 deleted" in ran
    (line,) = [line for line in blade("sync", "list").out.splitlines() if line.startswith("kept ")]
    assert " ok " in line
    shown = json.loads(blade("--json", "sync", "show", "kept").out)
    assert shown["knownItems"] == shown["lastRun"]["report"]["counts"]["created"] > 0
    (run,) = json.loads(blade("--json", "sync", "runs", "kept").out)["runs"]
    assert blade("job", "show", run["jobId"]).out.splitlines()[1].split() == ["Sync", "kept", "(SYNC)"]
    assert blade("sync", "report", "kept", run["jobId"]).out.startswith("Run")

    documents.write_text(documents.read_text().replace("{every: 1d, jitter: 10m}", '{cron: "0 3 * * *"}'))
    plan = blade("apply", "-f", str(documents), "--plan", code=10).out
    assert "schedule.every: 86400.0 -> (default)" in plan
    blade("apply", "-f", str(documents))
    assert "Nothing to do" in blade("apply", "-f", str(documents)).out

    documents.write_text(documents.read_text().partition("---\n")[2].partition("---\n")[0])
    in_use = blade("source", "remove", "kept", code=5).err
    assert "blade sync list --source" in in_use
    # Other tests may have left things here, which go with them.
    pruned = blade("apply", "-f", str(documents), "--prune", "--yes").out.splitlines()
    removed = ["  - sync/kept", "  - destination/lake", "  - notification/on-call"]
    assert [line for line in pruned if line in removed] == removed
    assert "  - source/kept" not in pruned
    assert json.loads(blade("--json", "sync", "list").out) == {"syncs": []}


def test_a_sync_is_created_steered_and_forgotten_by_options(blade: Cli) -> None:
    blade("source", "add", "--name", "opt", "--data-type", "opt", "--table", "main.blade.blade_maintenance_data")
    blade(
        "sync", "create", "opt", "--source", "opt", "--cron", "0 3 * * *", "--max-deletes", "7", "--deletes", "delete"
    )
    blade("sync", "update", "opt", "--every", "1h", "--clear", "max-deletes", "--max-age", "2d")
    spec = json.loads(blade("--json", "sync", "show", "opt").out)["spec"]
    assert (spec["schedule"]["cron"], spec["schedule"]["every"], spec["maxAge"]) == ("", "3600s", "172800s")
    assert "maxDeletes" not in spec["guards"]
    blade("sync", "clone", "opt", "opt-2", code=5)
    blade("sync", "pause", "opt", "--reason", "window")
    assert "paused" in blade("sync", "show", "opt").out
    assert "due at" in blade("sync", "resume", "opt").out
    blade("sync", "own", "opt")
    assert "no due times" in blade("sync", "fires", "opt").err
    blade("sync", "run", "opt", "--watch", timeout_s=120)
    item = json.loads(blade("--json", "query", "opt", "--limit", "1").out)["items"][0]["itemId"]
    assert "sent" in blade("sync", "item", "opt", item).out
    assert "1 items" in blade("sync", "reset", "opt", item).out
    assert "items stay" in blade("sync", "delete", "opt").out
    blade("source", "remove", "opt")


def test_a_notification_is_stored_and_what_does_not_arrive_is_said(blade: Cli) -> None:
    blade("notify", "add", "away", "--url", "http://127.0.0.1:9/hook", "--secret", "env:BLADE_SECRET_HOOK")
    assert "has not arrived" in blade("notify", "test", "away", code=5).out
    blade("notify", "set", "away", "--event", "late", "--disabled")
    assert "off" in blade("notify", "show", "away").out
    blade("notify", "deliveries", "away")
    blade("notify", "remove", "away")


def test_jobs_are_copied_and_their_errors_written(blade: Cli, tmp_path: Path) -> None:
    blade("source", "add", "--name", "copy", "--data-type", "copy", "--table", "main.blade.blade_maintenance_data")
    started = json.loads(blade("--json", "job", "start", "SELECT * FROM copy LIMIT 5", "--max-errors", "9").out)
    copy = json.loads(blade("--json", "job", "clone", started["jobId"]).out)
    assert copy["jobId"] != started["jobId"]
    assert copy["spec"] == started["spec"]
    blade("job", "watch", copy["jobId"], code=None)
    blade("job", "errors", copy["jobId"], "--format", "csv", "--output", str(tmp_path / "e.csv"))
    assert (tmp_path / "e.csv").read_text().startswith("item_id,")


def items(sandbox: Sandbox, data_source: str) -> list[Any]:
    """What the catalog lists, its first hundred items."""
    listed = requests.get(
        f"{sandbox.catalog.found['url']}/v1/items",
        params={"dataSource": data_source, "limit": "100"},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=20,
    )
    return list(listed.json()["items"])


def test_a_plan_writes_nothing_and_what_it_says_is_applied_and_verified(blade: Cli, sandbox: Sandbox) -> None:
    blade("source", "add", "--name", "plan", "--data-type", "plan", "--table", "main.blade.blade_maintenance_data")
    blade("sync", "create", "plan", "--source", "plan", "--deletes", "DELETE")
    planned = blade("--json", "sync", "plan", "plan", code=10, timeout_s=120).json
    assert planned["job"]["syncReport"]["counts"]["created"] > 0
    assert {change["kind"] for change in planned["changes"]} == {"CREATE"}
    assert items(sandbox, "BLADE:plan") == []
    assert "missing" in blade("sync", "verify", "plan", code=10, timeout_s=120).out
    blade("sync", "apply-plan", "plan", planned["job"]["jobId"], "--watch", timeout_s=120)
    assert len(items(sandbox, "BLADE:plan")) == 100
    assert "0 to create, 0 to update, 0 to delete" in blade("sync", "plan", "plan", timeout_s=120).out
    assert "0 missing, 0 different" in blade("sync", "verify", "plan", timeout_s=120).out
    assert "make a new plan" in blade("sync", "apply-plan", "plan", planned["job"]["jobId"], code=5).err
