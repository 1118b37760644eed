"""Levels for each logger, and JSON that is one line for each event with what it is about."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import pytest

from blade_server import logs, tracing
from blade_server.logs import JsonFormatter, Levels

CATALOG = logging.getLogger("blade_server.catalog.client")


@pytest.fixture(autouse=True)
def _levels_as_they_were() -> Iterator[None]:
    ours = logging.getLogger("blade_server")
    before = ours.level, logs._log.level_file, logs._log.form
    yield
    logs._log.set_levels(Levels())
    ours.setLevel(before[0])
    logs._log.level_file, logs._log.form = before[1:]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("info", "info"),
        ("WARNING", "warning"),
        (" info , blade_server.catalog=DEBUG,", "info,blade_server.catalog=debug"),
        ("blade_server.core.engine=error", "info,blade_server.core.engine=error"),
    ],
)
def test_levels_are_read_as_they_are_written(text: str, written: str) -> None:
    assert str(Levels.parse(text)) == written
    assert Levels.parse(written) == Levels.parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loud", "'loud' is no level; it is one of debug, info"),
        ("info,blade_server=chatty", "'chatty' is no level"),
        ("databricks.sql=debug", "'databricks.sql' is no logger of this server"),
        ("blade_serverx=debug", "'blade_serverx' is no logger of this server"),
    ],
)
def test_levels_that_cannot_be_right_are_a_sentence(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Levels.parse(text)


def test_a_file_of_levels_is_read_again_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "levels"
    file.write_text("warning,blade_server.catalog=debug\n")
    logs.set_up(Levels(), level_file=file)
    assert CATALOG.isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("blade_server.core").isEnabledFor(logging.INFO)

    file.write_text("info")
    assert logs.read_again() == "log level info"
    assert not CATALOG.isEnabledFor(logging.DEBUG)
    assert CATALOG.isEnabledFor(logging.INFO)

    file.write_text("verbose")
    with pytest.raises(ValueError, match=r"BLADE_LOG_LEVEL_FILE is '.*levels': 'verbose' is no level"):
        logs.read_again()
    file.unlink()
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        logs.read_again()
    assert CATALOG.isEnabledFor(logging.INFO)
    assert logs.environment() == {"BLADE_LOG_FORMAT": "text", "BLADE_LOG_LEVEL_FILE": str(file)}


def test_a_process_beside_this_one_logs_from_the_same_levels_on() -> None:
    logs.set_up(Levels.parse("error,blade_server.web=info"), form="text")
    assert logs.environment() == {"BLADE_LOG_FORMAT": "text", "BLADE_LOG_LEVEL": "error,blade_server.web=info"}


def event(record: logging.LogRecord, worker: int = 0) -> dict[str, object]:
    line = JsonFormatter(worker=worker).format(record)
    assert "\n" not in line
    found: dict[str, object] = json.loads(line)
    return found


def a_record(words: str = "said %s", *given: object, **more: object) -> logging.LogRecord:
    record = logging.LogRecord("blade_server.core", logging.WARNING, __file__, 1, words, given or ("hello",), None)
    record.created = 1_700_000_000.25
    record.__dict__.update(more)
    return record


def test_an_event_is_one_object_with_its_time_in_utc() -> None:
    assert event(a_record()) == {
        "time": "2023-11-14T22:13:20.250000Z",
        "level": "warning",
        "event": "said hello",
        "logger": "blade_server.core",
    }
    assert event(a_record(), worker=2)["worker"] == 2


def test_line_ends_and_what_is_no_text_stay_on_one_line() -> None:
    assert event(a_record("%s", "a\nb\udcff\u2028"))["event"] == "a\nb\udcff\u2028"
    assert event(a_record(fields={"where": Path("/x")}))["where"] == "/x"


def test_an_exception_is_one_field() -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError as exc:
        found = event(a_record(exc_info=(type(exc), exc, exc.__traceback__)))
    assert str(found["exception"]).startswith("Traceback")
    assert str(found["exception"]).endswith("RuntimeError: broken")


def test_an_event_has_what_is_known_of_its_job_its_caller_and_its_trace() -> None:
    trace = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    with logs.about(job_id="job-1"), tracing.called("call", trace):
        with logs.about(source="parts"):
            logs.know(principal="anna")
            found = event(a_record())
        outside = event(a_record())
    assert (found["job_id"], found["source"], found["principal"]) == ("job-1", "parts", "anna")
    assert (found["trace_id"], found["span_id"]) == ("ab" * 16, "cd" * 8)
    assert "principal" not in outside
    assert "source" not in outside
    assert outside["job_id"] == "job-1"
    logs.know(principal="nobody")
    assert "principal" not in event(a_record())


def test_a_thread_that_is_given_the_context_knows_as_much() -> None:
    found: list[str] = []
    with logs.about(job_id="job-2"):
        thread = threading.Thread(target=copy_context().run, args=(lambda: found.append(logs.known("job_id")),))
    thread.start()
    thread.join()
    assert found == ["job-2"]
