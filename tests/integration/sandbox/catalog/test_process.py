"""The catalog as a process: its command, its end, and what is left on disk."""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from blade_sandbox.catalog import CatalogServer

RUN = [sys.executable, "-c", "from blade_sandbox.catalog.cli import catalog; catalog()"]


@contextlib.contextmanager
def running(directory: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [*RUN, "--port", "0", "--directory", str(directory), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("catalog: http://127.0.0.1:"), line + process.stderr.read()
            yield process, line.split()[1]
        finally:
            process.kill()


def form(item_id: str) -> dict[str, tuple[str | None, str]]:
    return {
        "file": ("blade_item.json", f'{{"itemId": "{item_id}", "data": {{}}}}'),
        "dataSource": (None, "BLADE:m"),
        "classification": (None, "U"),
        "metadata": (None, "{}"),
        "timestamp": (None, "2024-01-10T10:00:00Z"),
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_command_cleanly(tmp_path, number):
    with running(tmp_path) as (process, url):
        assert requests.get(url + "/healthz", timeout=60).text == "ok"
        process.send_signal(number)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""


def test_what_was_answered_is_there_after_the_process_was_killed(tmp_path):
    answered: list[str] = []
    with running(tmp_path, "--append") as (process, url), requests.Session() as session:
        enough = threading.Event()

        def upload() -> None:
            with contextlib.suppress(requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                for number in range(100_000):
                    assert session.post(url + "/v1/items", files=form(str(number)), timeout=60).status_code == 201
                    answered.append(str(number))
                    if number == 200:
                        enough.set()

        uploader = threading.Thread(target=upload)
        uploader.start()
        assert enough.wait(60)
        process.kill()
        uploader.join()
    with CatalogServer(directory=tmp_path, replace=False) as server:
        asked = {"dataSource": "BLADE:m", "itemIds": answered[:1000]}
        found = requests.post(server.url + "/v1/items:lookup", json=asked, timeout=60).json()["found"]
        counts = requests.get(server.url + "/v1/items:count", params={"dataSource": "BLADE:m"}, timeout=60).json()
    assert found == answered[:1000]
    assert counts["items"] == counts["copies"]
    assert len(answered) <= counts["items"] <= len(answered) + 1


def test_the_options_reach_the_catalog(tmp_path):
    options = ["--no-batch", "--no-lookup", "--token", "t0ken"]
    with running(tmp_path, *options) as (_, url), requests.Session() as session:
        assert session.get(url + "/v1/capabilities", timeout=60).status_code == 401
        session.headers["Authorization"] = "Bearer t0ken"
        assert session.get(url + "/v1/capabilities", timeout=60).status_code == 404
        assert session.post(url + "/v1/items", files=form("a"), timeout=60).status_code == 201


def test_a_directory_in_use_and_a_port_in_use_are_said_in_one_line(tmp_path):
    with running(tmp_path / "one") as (_, url):
        port = url.rsplit(":", 1)[1]
        for options in (["--port", "0", "--directory", "one"], ["--port", port, "--directory", "two"]):
            ended = subprocess.run([*RUN, *options], cwd=tmp_path, capture_output=True, text=True, timeout=60)
            assert ended.returncode == 1
            assert ended.stderr.startswith("Error: ")
            assert "Traceback" not in ended.stderr


def test_a_server_can_be_started_again_and_still_has_its_items(tmp_path):
    server = CatalogServer(directory=tmp_path)
    for expected in (201, 200):
        with server:
            assert requests.post(server.url + "/v1/items", files=form("a"), timeout=60).status_code == expected
    server.stop()
