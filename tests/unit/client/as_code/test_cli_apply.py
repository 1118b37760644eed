"""`blade apply` and `blade export` against the fake."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from blade_client import errors
from blade_client.cli import main
from blade_client.testing import FakeBlade

ALL = """\
kind: sync
name: keep
spec:
  source: parts
  destination: lake
  schedule: {cron: 30 2 * * *, timeZone: Europe/Berlin}
  deletes: DELETE
  guards: {maxDeletes: 5}
  maxAge: 40d
  notifications: [on-call]
---
kind: source
name: parts
spec:
  dataType: part
  config: {catalog: main, schema: s, table: t}
  mapping: {metadata: {team: ops}}
---
kind: notification
name: on-call
spec: {url: https://h.test/x, secret: env:BLADE_SECRET_H, events: [LATE]}
---
kind: destination
name: lake
spec: {url: http://lake.test, credentials: env:BLADE_SECRET_LAKE, timeout: 2500s}
"""


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with FakeBlade() as fake:

        def run(*words: str, code: int = 0, stdin: str | None = None) -> str:
            result = CliRunner().invoke(main, ["--server", fake.target, *words], input=stdin)
            assert result.exit_code == code, result.output
            return result.output

        run.fake = fake
        yield run


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "all.yaml"
    path.write_text(ALL)
    return path


def test_what_files_say_is_there_afterwards_and_a_second_time_there_is_nothing_to_do(run, file):
    plan = run("apply", "-f", str(file), "--plan", code=10)
    marked = [line for line in plan.splitlines() if line.startswith("  +")]
    assert marked == ["  + notification/on-call", "  + destination/lake", "  + source/parts", "  + sync/keep"]
    assert run.fake.asked("CreateSync") == []
    assert "4 of 4" in run("apply", "-f", str(file))
    assert "Nothing to do" in run("apply", "-f", str(file))
    run("apply", "-f", str(file), "--plan")
    assert json.loads(run("--json", "apply", "-f", str(file), "--plan")) == {"changes": []}


def test_only_what_differs_is_changed_under_its_etag(run, file):
    run("apply", "-f", str(file))
    file.write_text(
        ALL.replace("maxDeletes: 5", "confirmRuns: 2").replace(
            "cron: 30 2 * * *, timeZone: Europe/Berlin", "every: 15m"
        )
    )
    plan = run("apply", "-f", str(file), "--plan", code=10)
    assert "  ~ sync/keep" in plan
    assert "      guards.max_deletes: 5 -> (default)" in plan
    run("apply", "-f", str(file))
    (asked,) = run.fake.asked("UpdateSync")
    fields = ["guards.confirm_runs", "guards.max_deletes", "schedule.cron", "schedule.every", "schedule.time_zone"]
    assert list(asked.update_mask.paths) == [f"spec.{field}" for field in fields]
    assert asked.sync.etag
    assert run.fake.asked("UpdateSource") == []
    run("apply", "-f", str(file), "--plan")


def test_what_somebody_else_changed_meanwhile_is_not_touched(run, file):
    run("apply", "-f", str(file))
    file.write_text(ALL.replace("maxDeletes: 5", "maxDeletes: 6"))
    run.fake.on("UpdateSync", errors.Conflict("changed by somebody else", reason="ETAG_MISMATCH"))
    assert "0 of 1 changes" in run("apply", "-f", str(file), code=5)


def test_what_is_exported_is_what_is_applied(run, file, tmp_path):
    run("apply", "-f", str(file))
    run("export", "--output", str(tmp_path / "out.yaml"))
    text = (tmp_path / "out.yaml").read_text()
    assert [each["kind"] for each in yaml.safe_load_all(text)] == ["notification", "destination", "source", "sync"]
    run("apply", "-f", str(tmp_path / "out.yaml"), "--plan")
    with FakeBlade() as other:
        other_run = CliRunner().invoke(main, ["--server", other.target, "apply", "-f", str(tmp_path / "out.yaml")])
        assert other_run.exit_code == 0, other_run.output
        assert CliRunner().invoke(main, ["--server", other.target, "export"]).output == text


def test_single_things_are_exported(run, file):
    run("apply", "-f", str(file))
    (sync,) = yaml.safe_load_all(run("export", "sync/keep"))
    assert sync["spec"]["guards"] == {"maxDeletes": 5}
    assert sync["spec"]["maxAge"] == "3456000s"
    assert "no sync/kept" in run("export", "sync/kept", code=2)
    assert "KIND" in run("export", "table/x", code=2)
    assert len(json.loads(run("--json", "export", "source", "destination"))["documents"]) == 2


def test_pruning_asks_and_removes_the_last_ones_first(run, file):
    run("apply", "-f", str(file))
    file.write_text(ALL.partition("---\n")[2].partition("---\n")[0])
    assert "Nothing to do" in run("apply", "-f", str(file))
    run("apply", "-f", str(file), "--prune", code=1, stdin="n\n")
    assert run.fake.asked("DeleteSync") == []
    run("apply", "-f", str(file), "--prune", "--yes")
    removed = [rpc for rpc, _ in run.fake.requests if rpc.startswith(("Delete", "Remove"))]
    assert removed == ["DeleteSync", "DeleteDestination", "DeleteNotification"]
    assert run.fake.asked("DeleteSync")[0].etag
    assert "Nothing to do" in run("apply", "-f", str(file), "--prune")


def test_what_is_in_use_stays(run, file):
    run("apply", "-f", str(file))
    run.fake.on("DeleteSync", errors.Precondition("job 'j' writes", reason="SYNC_BUSY"))
    file.write_text(ALL.partition("---\n")[2].partition("---\n")[0])
    out = run("apply", "-f", str(file), "--prune", "--yes", code=5)
    assert "sync/keep is in use and stays" in out
    assert run.fake.asked("DeleteNotification") != []


def test_what_is_not_shown_is_neither_exported_nor_compared(run, file):
    run("apply", "-f", str(file))
    sync = run.fake.client().syncs.get("keep")
    sync.redacted = True
    run.fake.on("ListSyncs", _page(sync))
    assert "READER" in run("export", code=10)
    assert "READER" in run("apply", "-f", str(file), code=10)


def _page(sync):
    from blade.v1.sync_service_pb2 import ListSyncsResponse

    return ListSyncsResponse(syncs=[sync])


def test_a_wrong_file_is_told_before_anything_is_asked(run, file):
    file.write_text(ALL.replace("deletes:", "delets:"))
    assert "all.yaml:7: unknown field spec.delets; did you mean deletes?" in run("apply", "-f", str(file), code=2)
    assert run.fake.requests == []
