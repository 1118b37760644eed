"""The command as a whole: help, start-up, global options, errors and exit codes."""

from __future__ import annotations

import importlib.metadata
import json
import signal
import subprocess
import sys
import threading
import time

import click
import grpc
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as details
from tests.support.timing import assert_within, seconds

from blade.v1 import config_service_pb2 as config
from blade.v1 import job_service_pb2 as jobs
from blade.v1.notification_pb2 import Notification
from blade.v1.query_service_pb2 import QueryItemsResponse
from blade.v1.sync_pb2 import Sync, SyncSpec
from blade_client import cli

Code = grpc.StatusCode


def test_help_lists_every_command_without_importing_what_they_need() -> None:
    code = (
        "import sys\n"
        "from blade_client.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = ('grpc', 'google', 'rich', 'blade_server', 'blade_sandbox')\n"
        "print('LOADED', [m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    own = ("source", "query", "item", "job", "login", "whoami", "auth", "token", "grant", "access", "audit", "version")
    for command in (*own, "serve", "migrate", "sandbox", "demo"):
        assert f"\n  {command} " in done.stdout
    assert done.stdout.endswith("LOADED []\n")


def test_help_starts_in_under_a_second_even_on_a_busy_machine() -> None:
    command = [sys.executable, "-c", "from blade_client.cli import main; main(['--help'])"]
    assert_within(1.0, lambda: seconds(lambda: subprocess.run(command, capture_output=True, check=True)), attempts=10)


@pytest.mark.parametrize(
    ("code", "reason", "exit_code"),
    [
        (Code.INVALID_ARGUMENT, "INVALID_FIELD", 3),
        (Code.NOT_FOUND, "JOB_NOT_FOUND", 4),
        (Code.FAILED_PRECONDITION, "JOB_STATUS", 5),
        (Code.ALREADY_EXISTS, "SOURCE_EXISTS", 5),
        (Code.ABORTED, "ETAG_MISMATCH", 5),
        (Code.UNAVAILABLE, "WAREHOUSE_UNAVAILABLE", 6),
        (Code.DEADLINE_EXCEEDED, "DEADLINE", 6),
        (Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", 7),
        (Code.UNAUTHENTICATED, "UNAUTHENTICATED", 9),
        (Code.UNAUTHENTICATED, "", 9),
        (Code.PERMISSION_DENIED, "ACCESS_DENIED", 10),
        (Code.PERMISSION_DENIED, "", 10),
        (Code.INTERNAL, "INTERNAL", 70),
        (Code.DATA_LOSS, "RESULT_TRUNCATED", 70),
    ],
)
def test_an_error_is_one_sentence_on_stderr_and_an_exit_code(server, run, code, reason, exit_code) -> None:
    server.on("GetJob", server.fails(code, "job-x is the matter", reason))
    result = run("job", "show", "job-x")
    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert result.stderr.splitlines()[0] == "Error: job-x is the matter"
    assert "Traceback" not in result.stderr


def test_field_violations_are_listed_unless_the_message_says_them(server, run) -> None:
    bad = details.BadRequest()
    bad.field_violations.add(field="sql", description="is no SELECT")
    server.on("StartQueryJob", server.fails(Code.INVALID_ARGUMENT, "2 fields are wrong", "INVALID_FIELD", bad))
    assert "  sql: is no SELECT\n" in run("job", "start", "DROP TABLE x").stderr
    server.on("StartQueryJob", server.fails(Code.INVALID_ARGUMENT, "sql: is no SELECT", "INVALID_FIELD", bad))
    assert run("job", "start", "DROP TABLE x").stderr == "Error: sql: is no SELECT\n"


def test_with_json_an_error_is_an_object_on_stderr(server, run) -> None:
    bad = details.BadRequest()
    bad.field_violations.add(field="sql", description="is no SELECT")
    server.on("StartQueryJob", server.fails(Code.INVALID_ARGUMENT, "no SELECT", "INVALID_SQL", bad, at="7"))
    result = run("job", "start", "DROP TABLE x", "--json")
    assert result.stdout == ""
    assert json.loads(result.stderr) == {
        "error": {
            "message": "no SELECT",
            "reason": "INVALID_SQL",
            "code": "INVALID_ARGUMENT",
            "violations": [{"field": "sql", "description": "is no SELECT"}],
            "metadata": {"at": "7"},
            "exitCode": 3,
        }
    }


def test_a_full_server_says_when_to_come_back(server, run) -> None:
    wait = details.RetryInfo(retry_delay=Duration(seconds=5))
    server.on("GetJob", server.fails(Code.RESOURCE_EXHAUSTED, "too many", "QUOTA_EXCEEDED", wait))
    assert "Try again in 5 s." in run("job", "show", "x").stderr


def test_no_server_ends_soon_with_code_6_and_the_way_out(server, run) -> None:
    server.stop()
    began = time.monotonic()
    result = run("job", "list")
    assert result.exit_code == 6
    assert server.target in result.stderr
    assert "blade serve" in result.stderr
    assert "--server" in result.stderr
    assert time.monotonic() - began < 10


def test_a_server_without_an_answer_ends_at_the_time_limit(server, run) -> None:
    server.on("GetJob", lambda request, context: server.left.wait(30) and jobs.GetJobResponse())
    result = run("job", "show", "x", "--timeout", "0.3")
    server.left.set()
    assert result.exit_code == 6
    assert "--timeout" in result.stderr


def test_global_options_stand_before_or_behind_the_command_and_the_last_one_counts(server) -> None:
    server.on("ListJobs", jobs.ListJobsResponse())
    for arguments in (
        ["--server", server.target, "--json", "job", "list"],
        ["job", "list", "--json", "--server", server.target],
        ["--server", "127.0.0.1:1", "job", "list", "--json", "--server", server.target],
    ):
        result = CliRunner().invoke(cli.main, arguments)
        assert (result.exit_code, json.loads(result.stdout)) == (0, {"jobs": []})


def test_the_server_comes_from_the_environment_too(server) -> None:
    server.on("ListJobs", jobs.ListJobsResponse())
    result = CliRunner().invoke(cli.main, ["job", "list"], env={"BLADE_SERVER": server.target})
    assert result.exit_code == 0
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["job", "list", "--server", "nowhere"],
        ["job", "list", "--server", "http://localhost:1"],
        ["job", "list", "--timeout", "0"],
        ["job", "list", "--tls-ca", "/no/such/file"],
        ["job", "start"],
        ["job", "start", "SELECT 1", "--metadata", "novalue"],
        ["job", "limits", "x", "--max-errors", "1.5"],
        ["query"],
        ["query", "m", "--limit", "99999999999"],
        ["source", "add", "--table", "only.two"],
        ["source", "add", "--classification", "U", "--classification-column", "c"],
        ["nonsense"],
    ],
)
def test_wrong_usage_is_code_2_and_asks_the_server_nothing(server, run, arguments) -> None:
    server.on("GetJob", jobs.GetJobResponse())
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert {name for name, _ in server.requests} <= {"GetJob"}
    assert "Error" in result.stderr


def test_an_argument_that_is_not_utf8_is_wrong_usage(spawn) -> None:
    process = spawn("job", "show", b"job-\xff\xfe")
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 2, stderr
    assert b"UTF-8" in stderr


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_a_machine_that_gives_too_little_is_no_bug(run, monkeypatch, error) -> None:
    def give_up(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr("blade_client.client.BladeClient.get_source", give_up)
    result = run("source", "show", "s")
    assert result.exit_code == 71
    assert "this process may have no more memory" in result.stderr
    assert "Traceback" not in result.stderr
    assert "bug" not in result.stderr


def test_a_bug_is_code_70_with_a_traceback(run, monkeypatch) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("blade_client.client.BladeClient.get_job", broken)
    result = run("job", "show", "x")
    assert result.exit_code == 70
    assert "ZeroDivisionError" in result.stderr
    assert "bug" in result.stderr


def test_control_characters_from_the_server_do_not_reach_the_terminal(server, run) -> None:
    server.on("GetJob", server.fails(Code.NOT_FOUND, "no \x1b[31mjob\x07", "JOB_NOT_FOUND"))
    result = run("job", "show", "x")
    assert "\x1b" not in result.stderr
    assert r"no \x1b[31mjob\x07" in result.stderr


class _Entry:
    def __init__(self, loaded: object) -> None:
        self.loaded = loaded
        self.value = "somewhere:command"

    def load(self) -> object:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def test_a_command_of_another_package_is_loaded_and_gets_its_arguments(run, monkeypatch) -> None:
    @click.command()
    @click.argument("word")
    def serve(word: str) -> None:
        click.echo(f"served {word}")

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group, name: [_Entry(serve)])
    result = run("serve", "tea")
    assert (result.exit_code, result.stdout) == (0, "served tea\n")


@pytest.mark.parametrize(("name", "extra"), [("serve", "server"), ("sandbox", "sandbox"), ("demo", "sandbox")])
def test_a_command_whose_packages_are_missing_names_the_extra(run, monkeypatch, name, extra) -> None:
    missing = ModuleNotFoundError("No module named 'sqlalchemy'", name="sqlalchemy")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group, name: [_Entry(missing)])
    result = run(name)
    assert result.exit_code == 2
    assert "sqlalchemy" in result.stderr
    assert f"pip install 'blade[{extra}]'" in result.stderr


def test_a_command_of_a_blade_that_was_never_installed_says_so(run, monkeypatch) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group, name: [])
    result = run("serve")
    assert result.exit_code == 2
    assert "pip install 'blade[server]'" in result.stderr


def test_every_command_of_the_entry_points_is_listed_in_the_help() -> None:
    names = {entry.name for entry in importlib.metadata.entry_points(group="blade.commands")}
    assert names
    assert names <= set(cli.main.list_commands(click.Context(cli.main)))


def test_completion_offers_commands_without_loading_them() -> None:
    code = "from blade_client.cli import main; main(prog_name='blade')"
    environment = {"_BLADE_COMPLETE": "bash_complete", "COMP_WORDS": "blade s", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, env=environment, check=True
    )
    assert done.stdout.splitlines() == [f"plain,{name}" for name in ("source", "sync", "schema", "serve", "sandbox")]


def test_version_is_the_installed_one(run) -> None:
    assert json.loads(run("version", "--json").stdout)["blade"] == importlib.metadata.version("blade")
    assert run("--version").stdout == f"blade {importlib.metadata.version('blade')}\n"


def test_a_terminal_that_cannot_show_a_character_gets_its_code(server, spawn, monkeypatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    server.on("ListSources", config.ListSourcesResponse(sources=[{"name": "x", "data_type": "é"}]))
    stdout, stderr = spawn("source", "list").communicate(timeout=30)
    assert rb"\xe9" in stdout, stderr
    stdout, stderr = spawn("source", "list", "--json").communicate(timeout=30)
    assert json.loads(stdout)["sources"][0]["dataType"] == "é", stderr


def test_a_listing_cut_off_by_its_reader_is_quiet(server, spawn) -> None:
    chunk = QueryItemsResponse(items=[{"item_id": str(n)} for n in range(100)])
    server.on("QueryItems", [chunk] * 100)
    process = spawn("query", "m", "--format", "ndjson")
    assert process.stdout is not None
    assert process.stdout.read(9) == b'{"itemId"'
    process.stdout.close()
    assert process.stderr is not None
    stderr = process.stderr.read()
    assert (process.wait(30), stderr) == (1, b"")


def test_ctrl_c_ends_any_other_command_with_130(server, spawn) -> None:
    began = threading.Event()
    server.on("GetJob", lambda request, context: began.set() or server.left.wait(30) or jobs.GetJobResponse())
    process = spawn("job", "show", "x")
    assert began.wait(20)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (130, b"Interrupted.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["jb", "list"], "Did you mean 'job'?"),
        (["job", "lst"], "Did you mean 'list'?"),
        (["job", "list", "--statuss", "x"], "Did you mean '--status'?"),
        (["job", "list", "--status", "RUNING"], "Did you mean RUNNING?"),
    ],
)
def test_a_misspelt_word_is_told_with_the_one_that_was_meant(run, arguments, said) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_errors_name_the_options_and_verbs_of_the_command_line(server, run) -> None:
    fields = [("batch_size", "0 is not between 1 and 1,000"), ("source.config.table", "is required")]
    bad = details.BadRequest()
    for field, description in fields:
        bad.field_violations.add(field=field, description=description)
    message = "; ".join(f"{field}: {description}" for field, description in fields)
    server.on("StartQueryJob", server.fails(grpc.StatusCode.INVALID_ARGUMENT, message, "INVALID_FIELD", bad))
    result = run("job", "start", "SELECT 1")
    assert result.stderr == "Error: --batch-size: 0 is not between 1 and 1,000; source.config.table: is required\n"
    server.on("GetJob", server.fails(grpc.StatusCode.NOT_FOUND, "there is no job 'x'", "JOB_NOT_FOUND"))
    assert run("job", "show", "x").stderr.splitlines()[1] == "`blade job list` shows the jobs there are."
    assert (
        json.loads(run("job", "start", "SELECT 1", "--json").stderr)["error"]["violations"][0]["field"] == "batch_size"
    )


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("blade job show job-", ["job-00000000000000000001"]),
        ("blade job retry ", ["job-00000000000000000001"]),
        ("blade source show bl", ["blade-maintenance"]),
        ("blade job list --source ", ["blade-maintenance", "sorties"]),
        ("blade query s", ["sortie"]),
        ("blade item get ", ["maintenance", "sortie"]),
        ("blade job show x", []),
        ("blade sync show ", ["keep"]),
        ("blade sync report keep ", ["job-00000000000000000001"]),
        ("blade job list --sync k", ["keep"]),
        ("blade notify test ", ["on-call"]),
        ("blade sync create new --source s", ["sorties"]),
    ],
)
def test_a_shell_completes_ids_and_names_from_the_server(server, monkeypatch, make_job, words, offered) -> None:
    server.on("ListJobs", jobs.ListJobsResponse(jobs=[make_job(1)]))
    server.add_source("blade-maintenance", data_type="maintenance")
    server.add_source("sorties", data_type="sortie")
    server.client().syncs.create(Sync(name="keep", spec=SyncSpec(source="sorties")))
    server.client().notifications.create(Notification(name="on-call", url="https://h.test"))
    monkeypatch.setenv("BLADE_SERVER", server.target)
    _, *before, incomplete = words.split(" ")
    found = ShellComplete(cli.main, {}, "blade", "_BLADE_COMPLETE").get_completions(before, incomplete)
    assert [one.value for one in found] == offered
    assert [request.sync for request in server.asked("ListJobs")] in ([], ["keep" if "report" in words else ""])
    server.stop()
    assert ShellComplete(cli.main, {}, "blade", "_BLADE_COMPLETE").get_completions(before, incomplete) == []
