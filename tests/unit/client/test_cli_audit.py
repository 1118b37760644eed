"""The audit log on the command line, and whether an export is whole, computed without a server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from blade.v1 import audit_service_pb2 as audit
from blade_client.audit_chain import check
from blade_client.json_form import to_dict

NAMES = ("principal", "kind", "actor", "address", "method", "object", "reason", "request_digest", "detail", "trace_id")


def entries(count: int, *, first: int = 1, before: bytes = bytes(32), **changes: str) -> list[audit.ExportedEntry]:
    """As a server exports them: in format 1, each bound to the one before. `changes` are of the last."""
    made = []
    for number in range(first, first + count):
        told: dict[str, Any] = dict.fromkeys(NAMES, "") | {
            "v": 1,
            "number": number,
            "time": f"2026-01-31T23:59:{number % 60:02}.000001Z",
            "principal": "anna",
            "outcome": "DONE",
            "reason": "Ünïcode",
        }
        told |= changes if number == first + count - 1 else {}
        content = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
        before = hashlib.sha256(before + content).digest()
        time = Timestamp()
        time.FromJsonString(told["time"])
        fields = {name: told[name] for name in NAMES}
        entry = audit.AuditEntry(number=number, time=time, outcome=told["outcome"], hash=before.hex(), **fields)
        made.append(audit.ExportedEntry(entry=entry, content=content))
    return made


# ----------------------------------------------------------------------------------------------- the chain


def test_a_whole_log_is_intact_and_its_head_is_told() -> None:
    log = entries(5)
    found = check(log, {3: log[2].entry.hash})
    assert (found.intact, found.entry_count, found.problem, found.first_wrong) == (True, 5, "", 0)
    assert (found.head_number, found.head_hash) == (5, log[4].entry.hash)


def test_an_empty_log_is_intact_unless_an_anchor_says_otherwise() -> None:
    assert check([], {}).intact
    assert check([], {4: "0" * 64}).first_wrong == 1


def rehashed(log: list[audit.ExportedEntry], place: int) -> list[audit.ExportedEntry]:
    """The log with one entry's bytes changed, and its hash and what it shows with them."""
    forged = entries(1, first=place + 1, before=bytes.fromhex(log[place - 1].entry.hash), principal="eve")
    return [*log[:place], *forged, *log[place + 1 :]]


def with_changed_bytes(log: list[audit.ExportedEntry]) -> list[audit.ExportedEntry]:
    log[2].content = log[2].content.replace(b"anna", b"otto")
    return log


def with_changed_words(log: list[audit.ExportedEntry]) -> list[audit.ExportedEntry]:
    log[2].entry.principal = "otto"
    return log


def with_another_time(log: list[audit.ExportedEntry]) -> list[audit.ExportedEntry]:
    log[2].entry.time.seconds += 1
    return log


def with_another_outcome(log: list[audit.ExportedEntry]) -> list[audit.ExportedEntry]:
    log[2].entry.outcome = audit.AuditEntry.REFUSED
    return log


def with_another_number(log: list[audit.ExportedEntry]) -> list[audit.ExportedEntry]:
    log[2].entry.number = 9
    return log


FORGERIES: dict[str, tuple[Callable[[list[audit.ExportedEntry]], list[audit.ExportedEntry]], int]] = {
    "changed bytes": (with_changed_bytes, 3),
    "changed words": (with_changed_words, 3),
    "another time": (with_another_time, 3),
    "another outcome": (with_another_outcome, 3),
    "another number": (with_another_number, 9),
    "a forged entry": (lambda log: rehashed(log, 2), 4),
    "one missing": (lambda log: log[:2] + log[3:], 4),
    "two in another order": (lambda log: [*log[:2], log[3], log[2], *log[4:]], 4),
    "one twice": (lambda log: log[:3] + log[2:], 3),
    "another beginning": (lambda log: entries(1, before=b"x" * 32) + log[1:], 1),
}


@pytest.mark.parametrize(("forge", "first_wrong"), FORGERIES.values(), ids=FORGERIES)
def test_what_was_done_to_a_log_is_found_at_its_place(forge, first_wrong) -> None:
    found = check(forge(entries(6)), {})
    assert not found.intact
    assert found.problem
    assert found.first_wrong == first_wrong


def test_a_gap_is_called_one() -> None:
    log = entries(4)
    assert check(log[:1] + log[2:], {}).problem == "entry 3 comes where entry 2 should"


def test_a_log_made_anew_from_the_middle_is_found_by_an_anchor_alone() -> None:
    log = entries(6)
    forged = log[:2] + entries(4, first=3, before=bytes.fromhex(log[1].entry.hash), principal="eve")
    assert check(forged, {}).intact
    found = check(forged, {2: log[1].entry.hash, 6: log[5].entry.hash})
    assert (found.intact, found.first_wrong) == (False, 6)


def test_an_end_that_is_cut_off_is_found_by_an_anchor_alone() -> None:
    log = entries(6)
    assert check(log[:4], {}).intact
    found = check(log[:4], {2: log[1].entry.hash, 6: log[5].entry.hash})
    assert (found.intact, found.first_wrong) == (False, 5)
    assert "there was an entry 6" in found.problem


def test_a_part_of_a_log_is_bound_to_an_anchor_in_front_of_it() -> None:
    log = entries(6)
    assert check(log[2:], {}).intact
    assert check(log[2:], {2: log[1].entry.hash}).intact
    found = check(log[2:], {2: log[0].entry.hash})
    assert (found.intact, found.first_wrong) == (False, 3)


@pytest.mark.parametrize(("detail", "intact"), [("right", True), ("0" * 64, False), ("nonsense", False)])
def test_a_pruned_log_is_bound_to_the_entry_that_tells_of_it(detail, intact) -> None:
    log = entries(6)
    told = {"method": "blade prune-audit", "object": "audit:2"}
    told["detail"] = log[1].entry.hash if detail == "right" else detail
    last = entries(1, first=7, before=bytes.fromhex(log[5].entry.hash), **told)
    assert check(log[2:] + last, {}).intact is intact


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"v":2}'])
def test_bytes_that_are_none_of_an_entry_are_wrong_even_if_their_hash_is_right(content) -> None:
    entry = audit.AuditEntry(number=1, hash=hashlib.sha256(bytes(32) + content).hexdigest())
    assert check([audit.ExportedEntry(entry=entry, content=content)], {}).first_wrong == 1


@pytest.mark.parametrize("number", [0, -3, 7])
@pytest.mark.parametrize("hash_", ["", "zz" * 32, "ab"])
def test_nonsense_is_wrong_and_no_bug(number, hash_) -> None:
    entry = audit.AuditEntry(number=number, hash=hash_)
    assert not check([audit.ExportedEntry(entry=entry, content=b"{}")], {}).intact


# ----------------------------------------------------------------------------------------------- the commands


def test_entries_are_listed_with_filters(server, run) -> None:
    shown = audit.AuditEntry(
        number=7,
        principal="anna",
        actor="otto@host",
        method="blade.v1.JobService/CancelJob",
        object="job:j",
        outcome="REFUSED",
        reason="why\nnot",
        detail="ACCESS_DENIED",
    )
    server.on("ListAuditEntries", audit.ListAuditEntriesResponse(entries=[shown, shown]))
    options = ["--principal", "anna", "--method", "CancelJob", "--object", "job:j", "--outcome", "refused"]
    result = run("audit", "list", *options, "--since", "2026-01-10", "--limit", "1")
    line = result.stdout.splitlines()[1]
    assert line.split()[:6] == ["7", "anna", "(otto@host)", "CancelJob", "job:j", "REFUSED"]
    assert "why not; ACCESS_DENIED" in line
    assert "more than these 1" in result.stderr
    (request,) = server.asked("ListAuditEntries")
    assert (request.principal, request.method, request.object) == ("anna", "CancelJob", "job:j")
    assert list(request.outcomes) == [audit.AuditEntry.REFUSED]
    assert request.after.ToDatetime(tzinfo=UTC) == datetime(2026, 1, 10, tzinfo=UTC)
    assert json.loads(run("audit", "list", "--json").stdout)["entries"][0]["number"] == 7


def exported(server, log: list[audit.ExportedEntry]) -> None:
    server.on(
        "ExportAuditLog",
        [audit.ExportAuditLogResponse(entries=log[:2])] * bool(log[:2])
        + [audit.ExportAuditLogResponse(entries=log[2:])],
    )


def test_an_export_is_checked_without_a_server(server, run, tmp_path) -> None:
    exported(server, entries(5))
    file = tmp_path / "audit.ndjson"
    result = run("audit", "export", "--output", str(file), "--first", "1")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Wrote 5 entries" in result.stderr
    assert run("audit", "export").stdout == file.read_text()
    assert len(file.read_text().splitlines()) == 5
    server.stop()
    result = run("audit", "verify", str(file))
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "The audit log is intact: 5 entries.")
    assert run("audit", "verify", "-", stdin=file.read_bytes()).exit_code == 0


def test_what_was_pruned_is_checked_too_and_an_export_behind_it(run, tmp_path) -> None:
    log = entries(6)
    pruned = b"".join(each.entry.hash.encode() + b" " + each.content + b"\n" for each in log[:4])
    kept = b"".join(json.dumps(to_dict(each)).encode() + b"\n" for each in log[4:])
    assert "intact: 4 entries" in run("audit", "verify", "-", stdin=pruned).stdout
    assert "intact: 6 entries" in run("audit", "verify", "-", stdin=pruned + kept).stdout
    assert run("audit", "verify", "-", stdin=pruned.replace(b"anna", b"otto", 1) + kept).exit_code == 1
    assert run("audit", "verify", "-", stdin=log[0].entry.hash.encode() + b" {}").exit_code == 2


def test_an_export_that_breaks_off_leaves_no_file(server, run, tmp_path) -> None:
    answers = [audit.ExportAuditLogResponse(entries=entries(2))]
    server.on(
        "ExportAuditLog", server.then_fails(answers, server.fails(grpc.StatusCode.UNAVAILABLE, "gone", "DRAINING"))
    )
    assert run("audit", "export", "--output", str(tmp_path / "x")).exit_code == 6
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_changed_ends_with_code_1_and_names_the_entry(run, tmp_path) -> None:
    log = with_changed_words(entries(4))
    file = tmp_path / "audit.ndjson"
    file.write_text("".join(json.dumps(to_dict(each)) + "\n" for each in log))
    result = run("audit", "verify", str(file))
    assert result.exit_code == 1
    assert "NOT intact: entry 3 says something else in principal" in result.stdout
    found = json.loads(run("audit", "verify", str(file), "--json").stdout)
    assert (found["intact"], found["firstWrong"]) == (False, 3)


def test_an_anchor_file_shows_an_end_that_is_cut_off(run, tmp_path) -> None:
    log = entries(4)
    file, anchors = tmp_path / "audit.ndjson", tmp_path / "anchors"
    file.write_text("".join(json.dumps(to_dict(each)) + "\n" for each in log[:3]))
    anchors.write_text("".join(f"{log[at].entry.number} {log[at].entry.hash} 2026-01-31T23:59:59Z\n" for at in (1, 3)))
    assert run("audit", "verify", str(file)).exit_code == 0
    result = run("audit", "verify", str(file), "--anchor", str(anchors))
    assert result.exit_code == 1
    assert "its end is cut off" in result.stdout


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"entry": 7}', '{"unknown": 1}', "\xff"])
def test_a_file_that_is_no_export_is_wrong_usage_and_says_the_line(run, tmp_path, line) -> None:
    file = tmp_path / "x"
    file.write_bytes(json.dumps(to_dict(entries(1)[0])).encode() + b"\n" + line.encode("latin-1"))
    result = run("audit", "verify", str(file))
    assert result.exit_code == 2, result.output
    assert "Line 2" in result.stderr


@pytest.mark.parametrize("line", ["x", "1 ab", "1", f"x {'0' * 64}", f"1 {'0' * 64} a b"])
def test_an_anchor_that_is_none_is_wrong_usage(server, run, tmp_path, line) -> None:
    (tmp_path / "anchors").write_text(line)
    result = run("audit", "verify", "--anchor", str(tmp_path / "anchors"))
    assert result.exit_code == 2
    assert "Line 1" in result.stderr
    assert server.requests == []


def test_the_server_verifies_its_own_log_against_the_last_anchor(server, run, tmp_path) -> None:
    server.on("VerifyAuditLog", audit.VerifyAuditLogResponse(intact=True, entry_count=9, head_number=9, head_hash="ab"))
    assert run("audit", "verify").exit_code == 0
    anchors = tmp_path / "anchors"
    anchors.write_text(f"3 {'3' * 64} x\n8 {'8' * 64} x\n")
    assert "9 entries" in run("audit", "verify", "--anchor", str(anchors)).stdout
    asked = server.asked("VerifyAuditLog")
    assert [(one.anchor_number, one.anchor_hash) for one in asked] == [(0, ""), (8, "8" * 64)]
    wrong = audit.VerifyAuditLogResponse(problem="entry 4 is missing", first_wrong=4)
    server.on("VerifyAuditLog", wrong)
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert "entry 4 is missing" in result.stdout
