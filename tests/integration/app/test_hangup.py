"""SIGHUP: files are read again, in every process of a server; on a terminal, which was closed, it stops."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.forks import SERVER, Forked
from tests.support.servers import TIMEOUT_S, Served, environment, run

from blade_server.core.access.tokens import new_token


@pytest.fixture
def serve(postgres_url: str) -> Iterator[Callable[..., Served]]:
    servers: list[Served] = []

    def start(*arguments: str, **changes: str | None) -> Served:
        servers.append(Served("--json", *arguments, own_group=True, DATABASE_URL=postgres_url, **changes))
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        server.process.communicate()


def heard(server: Served, wanted: str) -> dict[str, Any]:
    """The next event of the log with these words."""
    assert server.process.stderr is not None
    for line in server.process.stderr:
        if wanted in line:
            found: dict[str, Any] = json.loads(line)
            return found
    raise AssertionError(f"the log ended without {wanted!r}")


def test_levels_and_tokens_are_read_again_and_said_in_one_line(serve: Callable[..., Served], tmp_path: Path) -> None:
    levels, catalog, admin = tmp_path / "levels", tmp_path / "catalog", tmp_path / "admin"
    tokens = [new_token()[1] for _ in range(2)]
    levels.write_text("info")
    catalog.write_text("first")
    admin.write_text(tokens[0])
    server = serve(
        BLADE_LOG_FORMAT="json",
        BLADE_LOG_LEVEL_FILE=str(levels),
        BLADE_CATALOG_TOKEN_FILE=str(catalog),
        BLADE_ADMIN_TOKEN_FILE=str(admin),
    )
    url = f"http://127.0.0.1:{server.said()['http_port']}/jobs"
    answers = [requests.get(url, headers={"authorization": f"Bearer {token}"}, timeout=TIMEOUT_S) for token in tokens]
    assert [answer.status_code for answer in answers] == [200, 401]

    levels.write_text("info,blade_server.rpc=error")
    catalog.write_text("second")
    admin.write_text(tokens[1])
    server.process.send_signal(signal.SIGHUP)
    said = heard(server, "read again")
    assert said["event"] == (
        "read again: log level info,blade_server.rpc=error; BLADE_CATALOG_TOKEN_FILE changed; BLADE_ADMIN_TOKEN_FILE; "
        "credentials of destinations"
    )
    assert said["level"] == "info"
    assert requests.get(url, headers={"authorization": f"Bearer {tokens[1]}"}, timeout=TIMEOUT_S).ok

    levels.write_text("loud")
    catalog.unlink()
    server.process.send_signal(signal.SIGHUP)
    said = heard(server, "read again")
    assert said["level"] == "warning"
    assert "'loud' is no level" in said["event"]
    assert "which cannot be read: No such file or directory (what was before holds)" in said["event"]
    status, rest = server.stop()
    assert status == 0
    assert '"event": "call"' not in rest
    assert not any(word in rest for word in ("first", "second", *tokens))


@pytest.mark.slow
def test_workers_read_again_too(serve: Callable[..., Served], tmp_path: Path) -> None:
    levels = tmp_path / "levels"
    levels.write_text("info")
    server = serve("--workers=1", BLADE_LOG_FORMAT="json", BLADE_LOG_LEVEL_FILE=str(levels))
    levels.write_text("info,blade_server.web=debug")

    server.process.send_signal(signal.SIGHUP)

    said = [heard(server, "read again") for _ in range(2)]
    assert {event.get("worker") for event in said} == {None, 1}
    assert all("log level info,blade_server.web=debug" in event["event"] for event in said)
    assert server.stop()[0] == 0


def test_a_closed_terminal_stops_it_gracefully_however_often_that_is_said(postgres_url: str) -> None:
    terminal, its_end = os.openpty()
    with os.fdopen(its_end, "wb") as output:
        process = Forked(SERVER, ["serve"], environment(DATABASE_URL=postgres_url), own_group=True, output=output)
    said = b""
    while b"serves gRPC on" not in said:
        said += os.read(terminal, 1000)

    process.send_signal(signal.SIGHUP)
    while b"stopping: " not in said:
        said += os.read(terminal, 1000)
    process.send_signal(signal.SIGHUP)
    while b"stopped" not in said:
        said += os.read(terminal, 1000)
    assert process.wait(TIMEOUT_S) == 0
    os.close(terminal)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"BLADE_LOG_LEVEL": "loud"}, "'loud' is no level"),
        (
            {"BLADE_LOG_LEVEL_FILE": "/nowhere/levels"},
            "BLADE_LOG_LEVEL_FILE is '/nowhere/levels', which cannot be read",
        ),
        ({"BLADE_LOG_LEVEL": "info", "BLADE_LOG_LEVEL_FILE": "/nowhere"}, "are both set; unset one of them"),
    ],
)
def test_a_level_that_cannot_be_right_ends_the_start(changes: dict[str, str], says: str) -> None:
    status, sentence = run("serve", **changes)
    assert status == 2
    assert says in sentence


def test_in_json_a_start_that_fails_says_so_as_an_event() -> None:
    status, sentence = run("serve", BLADE_LOG_FORMAT="json", BLADE_PORT="http")
    assert status == 2
    assert "BLADE_PORT is 'http'" in json.loads(sentence)["event"]
