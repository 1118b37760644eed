"""`blade sandbox` brings everything up together and leaves nothing behind, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import BLADE, Cli

from blade_server.storage.embedded.supervisor import try_lock

FREE_PORTS = ("--port", "0", "--http-port", "0", "--warehouse-port", "0", "--catalog-port", "0")


@contextlib.contextmanager
def sandbox(temp: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`blade sandbox` on free ports, with a temp folder of its own, and what it printed."""
    environment = {**os.environ, "TMPDIR": str(temp)}
    with subprocess.Popen(
        [BLADE, "sandbox", *FREE_PORTS], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        printed = []
        for line in process.stdout:
            printed.append(line)
            if "Ctrl+C" in line:
                break
        try:
            yield process, "".join(printed)
        finally:
            process.kill()


def ports(printed: str) -> set[int]:
    return {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", printed)}


def answers(port: int) -> bool:
    with socket.socket() as knocking:
        knocking.settimeout(1)
        return knocking.connect_ex(("127.0.0.1", port)) == 0


def is_free(lock: Path) -> bool:
    """True if no PostgreSQL runs in that folder."""
    held = try_lock(lock, fcntl.LOCK_EX)
    if held is not None:
        os.close(held)
    return held is not None


def test_its_lines_work_nobody_signs_in_and_ctrl_c_stops_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BLADE_TOKEN")
    with sandbox(tmp_path) as (process, printed):
        server = re.search(r"export BLADE_SERVER=(\S+)", printed).group(1)
        http_url = re.search(r"HTTP (\S+)", printed).group(1)
        assert "BLADE_AUTH=off" in printed
        assert Cli(server)("whoami", "--json").json["kind"] == "off"
        with urllib.request.urlopen(f"{http_url}/configure/blade") as answer:
            assert json.load(answer) == {"sources": [], "nextPageToken": ""}

        lines = re.findall(r"^  \S*blade (source add .*)$", printed, re.MULTILINE)
        assert lines
        for line in lines:
            Cli(server)(*line.split())
        assert Cli(server)("item", "ingest", "maintenance", "MAINT-123").code == 0

        assert_stops(process, printed, tmp_path, signal.SIGINT)


@pytest.mark.slow
def test_sigterm_stops_it_as_ctrl_c_does(tmp_path: Path) -> None:
    with sandbox(tmp_path) as (process, printed):
        assert_stops(process, printed, tmp_path, signal.SIGTERM)


def assert_stops(process: subprocess.Popen[str], printed: str, temp: Path, end: signal.Signals) -> None:
    """It stops everything and cleans up."""
    assert len(ports(printed)) >= 3
    assert all(answers(port) for port in ports(printed))
    process.send_signal(end)
    assert process.wait(60) == 0
    assert not any(answers(port) for port in ports(printed))
    assert list(temp.glob("blade-world-*")) == []


@pytest.mark.slow
def test_a_killed_sandbox_takes_its_servers_with_it_and_the_next_one_removes_its_folder(
    tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    with sandbox(tmp_path) as (process, printed):
        process.kill()
        (left,) = tmp_path.glob("blade-world-*")
        wait_until(lambda: not any(answers(port) for port in ports(printed)), timeout_s=60)
        wait_until(lambda: is_free(left / "postgres" / "supervisor.lock"), timeout_s=60)
    with sandbox(tmp_path):
        assert not left.exists()
