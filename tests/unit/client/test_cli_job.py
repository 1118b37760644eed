from __future__ import annotations

import csv
import json
import os
import pty
import re
import select
import signal
import termios
import time

import grpc
import pytest

from blade.v1 import job_service_pb2 as jobs
from blade.v1.item_pb2 import ItemRejection
from blade.v1.job_pb2 import ErrorSummary, ItemError, Job, JobEvent, JobSpec

ID = "job-00000000000000000001"


def test_starting_sends_the_options_and_says_how_to_follow(server, run, make_job) -> None:
    server.on("StartQueryJob", jobs.StartQueryJobResponse(job=make_job(0, "PENDING")))
    result = run(
        *["job", "start", "SELECT 1", "--source", "s", "--batch-size", "7", "--workers", "3", "--max-errors", "0"],
        *["--items-per-second", "2.5", "--max-error-share", "0.1", "--metadata", "k=v", "--classification", "CUI"],
        *["--skip-existing", "--request-id", "r1"],
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == f"Started {ID}.\nFollow it with: blade job watch {ID}\n"
    (request,) = server.asked("StartQueryJob")
    assert request == jobs.StartQueryJobRequest(
        sql="SELECT 1",
        source="s",
        batch_size=7,
        workers=3,
        items_per_second=2.5,
        max_errors=0,
        max_error_share=0.1,
        metadata={"k": "v"},
        classification="CUI",
        skip_existing=True,
        request_id="r1",
    )


@pytest.mark.parametrize("command", ["start", "preview"])
@pytest.mark.parametrize(
    ("arguments", "last_modified"), [([], None), (["--last-modified", "seen"], "seen"), (["--no-last-modified"], "")]
)
def test_a_job_has_ids_and_times_of_its_own(server, run, make_job, command, arguments, last_modified) -> None:
    server.on("StartQueryJob", jobs.StartQueryJobResponse(job=make_job(0, "PENDING")))
    server.on("PreviewItems", jobs.PreviewItemsResponse())
    assert run("job", command, "SELECT 1", "--item-id", "Q-{x}", *arguments).exit_code == 0
    (request,) = server.asked("StartQueryJob" if command == "start" else "PreviewItems")
    assert request.item_id == "Q-{x}"
    assert (request.last_modified if request.HasField("last_modified") else None) == last_modified


def test_ids_and_times_of_its_own_are_shown(server, run, make_job) -> None:
    spec = {"source": "s", "data_type": "m", "item_id": "Q-{x}", "last_modified": ""}
    server.on("GetJob", jobs.GetJobResponse(job=make_job(1, "COMPLETED", spec=spec)))
    lines = [line.split() for line in run("job", "show", ID).stdout.splitlines()]
    assert ["Item", "id", "Q-{x}"] in lines
    assert ["Last", "modified", "none"] in lines


def test_the_sql_comes_from_a_file_or_stdin_or_is_left_out_for_a_source(server, run, make_job, tmp_path) -> None:
    server.on("StartQueryJob", jobs.StartQueryJobResponse(job=make_job(0, "PENDING")))
    file = tmp_path / "q.sql"
    file.write_text("SELECT 'é'", "utf-8")
    for arguments, stdin in (
        (["--file", str(file)], None),
        (["--file", "-"], "SELECT 2"),
        (["--source", "s"], None),
        (["--data-type", "d"], None),
    ):
        assert run("job", "start", *arguments, stdin=stdin).exit_code == 0
    assert [request.sql for request in server.asked("StartQueryJob")] == ["SELECT 'é'", "SELECT 2", "", ""]
    assert run("job", "start", "SELECT 1", "--file", str(file)).exit_code == 2
    file.write_bytes(b"SELECT '\xff'")
    assert run("job", "start", "--file", str(file)).exit_code == 2


@pytest.mark.parametrize(
    ("status", "errors", "exit_code"),
    [("COMPLETED", 0, 0), ("COMPLETED", 7, 8), ("FAILED", 0, 1), ("CANCELLED", 0, 1)],
)
def test_a_watched_job_ends_with_the_code_of_its_end(server, run, snapshot, status, errors, exit_code) -> None:
    error = {"reason": "ERROR_REASON_WAREHOUSE_REFUSED", "message": "no such column x"}
    end = snapshot(9, status, error_count=errors, error=error if status == "FAILED" else None)
    server.on("WatchJob", [snapshot(1), end])
    for arguments in ([], ["--json"]):
        assert run("job", "watch", ID, *arguments).exit_code == exit_code
    result = run("job", "watch", ID)
    assert f"{ID} {status}: 9 items in the catalog" in result.stdout
    if status == "FAILED":
        assert "WAREHOUSE_REFUSED: no such column x" in result.stderr
    if errors:
        assert f"blade job errors {ID}" in result.stderr


def test_starting_with_watch_follows_the_new_job(server, run, make_job, snapshot) -> None:
    server.on("StartQueryJob", jobs.StartQueryJobResponse(job=make_job(0, "PENDING")))
    server.on("WatchJob", [snapshot(9, "COMPLETED", error_count=1)])
    result = run("job", "start", "SELECT 1", "--watch")
    assert result.exit_code == 8
    assert server.asked("WatchJob")[0].job_id == ID
    lines = [json.loads(line) for line in run("job", "start", "SELECT 1", "--watch", "--json").stdout.splitlines()]
    assert [line["status"] for line in lines] == ["PENDING", "COMPLETED"]


def test_off_a_terminal_each_state_is_a_line(server, run, snapshot) -> None:
    server.on(
        "WatchJob",
        [
            snapshot(1, current_operation="Processing batch 1/4", items_per_second=850.4, error_count=2),
            snapshot(2, wait_reason="CATALOG_DOWN", wait_detail="503, next try in 4 s"),
            snapshot(3, "RUNNING", pending_action="PAUSE"),
            snapshot(10, "COMPLETED"),
        ],
    )
    lines = run("job", "watch", ID, "--interval", "0.5").stdout.splitlines()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\dZ  RUNNING  1 / 10 items  850 items/s  2 errors  Processing batch 1/4", lines[0]
    )
    assert "waiting: catalog down (503, next try in 4 s)" in lines[1]
    assert "RUNNING, about to pause" in lines[2]
    assert "COMPLETED  10 / 10 items" in lines[3]
    assert server.asked("WatchJob")[0].min_interval.ToTimedelta().total_seconds() == 0.5


def test_with_json_each_state_is_a_line_of_json(server, run, snapshot) -> None:
    server.on("WatchJob", [snapshot(0), snapshot(10, "COMPLETED")])
    lines = [json.loads(line) for line in run("job", "watch", ID, "--json").stdout.splitlines()]
    assert [(line["status"], line["processedItems"], line["errorCount"]) for line in lines] == [
        ("RUNNING", 0, 0),
        ("COMPLETED", 10, 0),
    ]


def test_a_lost_server_is_told_and_waited_for(server, run, snapshot) -> None:
    lost = server.then_fails([snapshot(1)], server.fails(grpc.StatusCode.UNAVAILABLE, "lost"))
    server.on("WatchJob", lost, [snapshot(2, "COMPLETED")])
    result = run("job", "watch", ID)
    assert result.exit_code == 0
    assert "the server is away; trying again" in result.stdout


def test_a_watch_past_its_time_limit_is_code_6(server, run, snapshot) -> None:
    server.on("WatchJob", server.until_left(snapshot(1)))
    result = run("job", "watch", ID, "--timeout", "0.5")
    assert result.exit_code == 6
    assert "still RUNNING" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(server, spawn, snapshot, arguments) -> None:
    server.on("WatchJob", server.until_left(snapshot(1)))
    process = spawn("job", "watch", ID, *arguments)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 130, stderr
    assert f"blade job watch {ID}" in stderr.decode()
    assert b"Traceback" not in stdout + stderr
    assert server.left.wait(10)
    assert {name for name, _ in server.requests} == {"WatchJob"}, "nothing cancels the job"


def test_on_a_terminal_a_bar_is_drawn_in_place(server, spawn, snapshot) -> None:
    server.on(
        "WatchJob",
        [
            snapshot(5, current_operation="Processing batch 5/10", items_per_second=850, error_count=1),
            snapshot(6, wait_reason="WAREHOUSE_STARTING"),
            snapshot(10, "COMPLETED", error_count=1),
        ],
    )
    main, terminal = pty.openpty()
    process = spawn("job", "watch", ID, stdout=terminal, stderr=terminal)
    os.close(terminal)
    seen = _read_all(main)
    process.wait(20)
    assert process.returncode == 8, seen
    assert "\x1b[" in seen, "it moves the cursor"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    for text in ("RUNNING", "━", "50.0%", "5 / 10 items", "850 items/s", "1 error\r\n", "Processing batch 5/10"):
        assert text in plain
    assert "waiting: warehouse starting" in plain
    assert f"{ID} COMPLETED: 10 items in the catalog, 1 error." in plain


@pytest.mark.parametrize("command", ["show", "watch"])
def test_a_job_that_completed_with_errors_is_amber_on_a_terminal(server, spawn, snapshot, command) -> None:
    end = snapshot(10, "COMPLETED", error_count=3, completed_with_errors=True)
    server.on("WatchJob", [end])
    server.on("GetJob", jobs.GetJobResponse(job=end.job))
    main, terminal = pty.openpty()
    process = spawn("job", command, ID, stdout=terminal, stderr=terminal, env={"TERM": "xterm-256color"})
    os.close(terminal)
    seen = _read_all(main)
    process.wait(20)
    assert "\x1b[38;5;172mCompleted with errors" in seen


def test_off_a_terminal_a_job_that_completed_with_errors_is_called_so_everywhere(server, run, snapshot) -> None:
    end = snapshot(10, "COMPLETED", error_count=3, completed_with_errors=True)
    server.on("WatchJob", [end])
    server.on("GetJob", jobs.GetJobResponse(job=end.job))
    server.on("ListJobs", jobs.ListJobsResponse(jobs=[end.job]))
    assert re.search(r"^Status +Completed with errors$", run("job", "show", ID).stdout, re.MULTILINE)
    watched = run("job", "watch", ID)
    assert (watched.exit_code, watched.stdout.count("Completed with errors")) == (8, 2)
    listed = run("job", "list", "--with-errors")
    assert f"{ID}  Completed with errors" in listed.stdout
    assert server.asked("ListJobs")[0].with_errors
    assert json.loads(run("job", "list", "--json").stdout)["jobs"][0]["completedWithErrors"] is True
    assert not server.asked("ListJobs")[-1].with_errors


def test_the_bar_leaves_room_for_the_words_on_80_columns(server, spawn, snapshot) -> None:
    job = snapshot(5, processed_items=276_776, total_items=336_776, items_per_second=23_365)
    server.on("WatchJob", [job, snapshot(10, "CANCELLED", processed_items=300_000, total_items=336_776)])
    main, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    process = spawn("job", "watch", ID, columns=None, stdout=terminal, stderr=terminal)
    os.close(terminal)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", _read_all(main))
    process.wait(20)
    assert re.search(r"RUNNING  ━+\S*  82.2%  276,776 / 336,776 items  23,365 items/s  0 errors", plain), plain
    assert "…" not in plain


def _read_all(descriptor: int) -> str:
    """What a process wrote to its terminal, until it closed it."""
    seen = b""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ready, _, _ = select.select([descriptor], [], [], 1)
        if not ready:
            continue
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # Linux says EIO when the other side is closed
            break
        if not piece:
            break
        seen += piece
    os.close(descriptor)
    return seen.decode()


def test_jobs_are_listed_newest_first_up_to_the_limit(server, run, make_job) -> None:
    page = jobs.ListJobsResponse(
        jobs=[make_job(1), make_job(2, "FAILED", job_id="job-2", error={"message": "no\x1btable"})], next_page_token="t"
    )
    server.on("ListJobs", page)
    result = run("job", "list", "--status", "running", "--status", "FAILED", "--limit", "3", "--since", "2024-01-10")
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert lines[1].split()[:3] == [ID, "RUNNING", "1"]
    assert r"no\x1btable" in lines[2]
    request = server.asked("ListJobs")[0]
    assert list(request.statuses) == [Job.RUNNING, Job.FAILED]
    assert request.created_after.ToJsonString() == "2024-01-10T00:00:00Z"
    assert len(server.requests) == 2


def test_a_list_says_that_there_are_more_jobs(server, run, make_job) -> None:
    server.on("ListJobs", jobs.ListJobsResponse(jobs=[make_job(n, job_id=f"job-{n}") for n in range(3)]))
    for arguments in ([], ["--json"]):
        cut = run("job", "list", "--limit", "2", *arguments)
        assert cut.stdout.count("job-") == 2
        assert "There are more than these 2" in cut.stderr
        assert run("job", "list", "--limit", "3", *arguments).stderr == ""


def test_a_job_is_shown_with_errors_and_history(server, run, make_job) -> None:
    job = make_job(
        3,
        "FAILED",
        error={"reason": "ERROR_REASON_RESULT_TRUNCATED", "message": "3 of 10 rows came"},
        spec={"sql": "SELECT 1", "source": "s", "data_type": "d", "limits": {"items_per_second": 5, "max_errors": 0}},
        error_summaries=[
            ErrorSummary(reason="ERROR_REASON_MISSING_ITEM_ID", count=1200, samples=[ItemError(message="tail is null")])
        ],
        history=[JobEvent(kind="PAUSE_REQUESTED", actor="anna@desk", reason="lunch")],
        cost={"statements": 3, "warehouse_ms": 4200, "rows_read": 1000, "bytes_read": 52113},
    )
    server.on("GetJob", jobs.GetJobResponse(job=job))
    shown = run("job", "show", ID).stdout
    for text in (
        "Warehouse  4.2 s in 3 statements, 1,000 rows and 52,113 bytes read",
        "RESULT_TRUNCATED: 3 of 10 rows came",
        "at most 5 items/s, fails beyond 0 errors",
        "MISSING_ITEM_ID  1,200  tail is null",
        "pause requested  anna@desk  lunch",
    ):
        assert text in shown
    assert json.loads(run("job", "show", ID, "--json").stdout)["error"]["reason"] == "ERROR_REASON_RESULT_TRUNCATED"


@pytest.mark.parametrize(
    ("command", "rpc", "response", "status", "pending", "said"),
    [
        ("pause", "PauseJob", jobs.PauseJobResponse, "RUNNING", "PAUSE", "RUNNING, about to pause."),
        ("resume", "ResumeJob", jobs.ResumeJobResponse, "RUNNING", None, "RUNNING."),
        ("cancel", "CancelJob", jobs.CancelJobResponse, "CANCELLED", None, "CANCELLED."),
    ],
)
def test_a_job_is_controlled(server, run, make_job, command, rpc, response, status, pending, said) -> None:
    server.on(rpc, response(job=make_job(1, status, pending_action=pending)))
    result = run("job", command, ID, "--reason", "because")
    assert (result.exit_code, result.stdout) == (0, f"{ID} is {said}\n")
    assert (server.asked(rpc)[0].job_id, server.asked(rpc)[0].reason) == (ID, "because")


def test_limits_that_are_not_named_stay_and_none_takes_one_away(server, run, make_job) -> None:
    old = {"items_per_second": 5, "max_errors": 3, "max_error_share": 0.5}
    server.on("GetJob", jobs.GetJobResponse(job=make_job(1, spec={"limits": old})))
    server.on("UpdateJobLimits", jobs.UpdateJobLimitsResponse(job=make_job(1)))
    assert run("job", "limits", ID, "--max-errors", "none").stdout == f"{ID} is RUNNING: no limits.\n"
    (request,) = server.asked("UpdateJobLimits")
    assert (request.limits.items_per_second, request.limits.max_error_share) == (5, 0.5)
    assert not request.limits.HasField("max_errors")


def test_a_limit_on_errors_may_be_beyond_32_bits_and_must_be_a_whole_number(server, run, make_job) -> None:
    server.on("GetJob", jobs.GetJobResponse(job=make_job(1)))
    server.on("UpdateJobLimits", jobs.UpdateJobLimitsResponse(job=make_job(1)))
    server.on("StartQueryJob", jobs.StartQueryJobResponse(job=make_job(0, "PENDING")))
    most = 2**63 - 1
    assert run("job", "limits", ID, "--max-errors", str(most)).exit_code == 0
    assert server.asked("UpdateJobLimits")[0].limits.max_errors == most
    assert run("job", "start", "SELECT 1", "--max-errors", str(most)).exit_code == 0
    assert server.asked("StartQueryJob")[0].max_errors == most
    for wrong in ("1.5", "some", str(most + 1)):
        result = run("job", "limits", ID, "--max-errors", wrong)
        assert (result.exit_code, wrong in result.stderr) == (2, True)


def test_limits_without_options_are_shown_and_not_changed(server, run, make_job) -> None:
    server.on("GetJob", jobs.GetJobResponse(job=make_job(1, spec={"limits": {"max_errors": 3}})))
    assert run("job", "limits", ID).stdout == f"{ID} is RUNNING: fails beyond 3 errors.\n"
    assert server.asked("UpdateJobLimits") == []


def test_errors_are_listed_up_to_the_limit_which_is_told(server, run) -> None:
    page = [ItemError(item_id=f"i{n}", stage="UPLOAD", reason=22, message="too old", attempts=2) for n in range(5)]
    server.on("ListItemErrors", jobs.ListItemErrorsResponse(errors=page))
    result = run("job", "errors", ID, "--limit", "3")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ITEM", "i0", "i1", "i2"]
    assert "CATALOG_REJECTED" in result.stdout
    assert "more than these 3" in result.stderr
    result = run("job", "errors", ID, "--all", "--json")
    assert len(json.loads(result.stdout)["errors"]) == 5
    assert result.stderr == ""


def test_a_reason_newer_than_this_client_is_shown_by_number(server, run) -> None:
    server.on("ListItemErrors", jobs.ListItemErrorsResponse(errors=[ItemError(item_id="i", reason=999)]))
    result = run("job", "errors", ID)
    assert (result.exit_code, "999" in result.stdout) == (0, True)


def test_failed_items_are_retried_by_a_new_job(server, run, make_job) -> None:
    answer = jobs.RetryFailedItemsResponse(job=make_job(0, "PENDING", job_id="job-2", parent_job_id=ID))
    server.on("RetryFailedItems", answer)
    result = run("job", "retry", ID, "--reason", "fixed")
    assert result.stdout.startswith("Started job-2.\n")
    (request,) = server.asked("RetryFailedItems")
    assert (request.job_id, request.reason) == (ID, "fixed")


def test_a_preview_shows_items_and_rejected_rows(server, run) -> None:
    rejected = ItemRejection(item_id="M-2", reason="ERROR_REASON_UNKNOWN_CLASSIFICATION", field="c", message="'X'?")
    server.on("PreviewItems", jobs.PreviewItemsResponse(items=[{"item_id": "M-1"}], rejections=[rejected]))
    result = run("job", "preview", "SELECT 1", "--limit", "2")
    assert "M-1" in result.stdout
    assert "UNKNOWN_CLASSIFICATION" in result.stdout
    assert server.asked("PreviewItems")[0].limit == 2


def test_in_a_log_progress_comes_every_ten_seconds_and_each_change_of_status_at_once(server, run, snapshot) -> None:
    waiting = {"wait_reason": "CATALOG_DOWN", "wait_detail": "asking again"}
    limited = {"wait_reason": "RATE_LIMITED"}
    running = [snapshot(n) for n in range(1, 5)]
    rest = [
        snapshot(5, **limited),
        snapshot(6),
        snapshot(7, **waiting),
        snapshot(8),
        snapshot(9, pending_action="PAUSE"),
    ]
    server.on("WatchJob", [snapshot(0, "PENDING"), *running, *rest, snapshot(10, "COMPLETED")])
    result = run("job", "watch", ID)
    lines = [line.split("  ")[1:3] for line in result.stdout.splitlines() if "items/s" in line]
    assert [count for _, count in lines] == [
        "0 / 10 items",
        "1 / 10 items",
        "7 / 10 items",
        "8 / 10 items",
        "9 / 10 items",
        "10 / 10 items",
    ]
    assert server.asked("WatchJob")[0].min_interval.ToTimedelta().total_seconds() == 10
    server.on("WatchJob", [snapshot(10, "COMPLETED")])
    run("job", "watch", ID, "--interval", "2")
    run("job", "watch", ID, "--json")
    assert [asked.min_interval.seconds for asked in server.asked("WatchJob")[1:]] == [2, 1]


def test_all_errors_go_into_a_csv_that_runs_nothing(server, run, tmp_path) -> None:
    first = jobs.ListItemErrorsResponse(
        errors=[ItemError(item_id="=1+1", stage="UPLOAD", reason=22, message='422, "no"', attempts=2, row_json="{}")],
        next_page_token="more",
    )
    second = jobs.ListItemErrorsResponse(errors=[ItemError(item_id="P-1", field="-x", message="@é\nline")])
    server.on("ListItemErrors", first, second)
    file = tmp_path / "errors.csv"
    result = run("job", "errors", ID, "--format", "csv", "--output", str(file))
    assert result.exit_code == 0, result.output
    rows = list(csv.reader(file.read_text("utf-8").splitlines(keepends=True)))
    assert rows[0] == ["item_id", "stage", "reason", "field", "attempts", "time", "message", "row"]
    assert rows[1] == ["'=1+1", "UPLOAD", "CATALOG_REJECTED", "", "2", "", '422, "no"', "{}"]
    assert rows[2][0] == "P-1"
    assert (rows[2][3], rows[2][6].replace("\r\n", "\n")) == ("'-x", "'@é\nline")
    server.on("ListItemErrors", second)
    result = run("job", "errors", ID, "--format", "csv")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("item_id,stage,")
    assert run("job", "errors", ID, "--output", str(file)).exit_code == 2


def test_a_copy_asks_for_what_the_other_asked_for(server, run, make_job) -> None:
    spec = JobSpec(
        sql="SELECT 1", source="s", data_type="d", batch_size=7, workers=2, metadata={"k": "v"}, last_modified=""
    )
    spec.limits.max_errors = 0
    spec.destination = "lake"
    server.on("GetJob", jobs.GetJobResponse(job=make_job(3, "COMPLETED", spec=spec, kind="QUERY")))
    server.on("StartQueryJob", jobs.StartQueryJobResponse(job=make_job(0, "PENDING")))
    assert run("job", "clone", ID).exit_code == 0
    (request,) = server.asked("StartQueryJob")
    request.ClearField("request_id")
    assert request == jobs.StartQueryJobRequest(
        sql="SELECT 1",
        source="s",
        data_type="d",
        batch_size=7,
        workers=2,
        metadata={"k": "v"},
        last_modified="",
        max_errors=0,
        destination="lake",
    )


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"kind": "SYNC", "sync": "keep"}, 5),
        ({"kind": "QUERY", "redacted": True}, 10),
        ({"kind": "QUERY", "spec": {"min_classification": "CUI"}}, 5),
    ],
)
def test_what_cannot_be_copied_is_refused(server, run, make_job, fields, code) -> None:
    server.on("GetJob", jobs.GetJobResponse(job=make_job(3, "COMPLETED", **fields)))
    assert run("job", "clone", ID).exit_code == code
    assert server.asked("StartQueryJob") == []


def test_jobs_of_a_sync_are_listed(server, run, make_job) -> None:
    server.on("ListJobs", jobs.ListJobsResponse(jobs=[make_job(1)]))
    assert run("job", "list", "--sync", "keep", "--kind", "plan").exit_code == 0
    (request,) = server.asked("ListJobs")
    assert (request.sync, list(request.kinds)) == ("keep", [Job.PLAN])
