"""The admin port: probes and metrics over plain HTTP, for few connections, small heads and no bodies."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import requests
from tests.support.loops import LoopThread

from blade_server import ports
from blade_server.web.admin import Admin
from blade_server.web.listener import ADMIN_CONNECTIONS
from blade_server.web.probes import Check


class World:
    """An admin port over checks and metrics of the test's own."""

    def __init__(self) -> None:
        self.checks = [Check(name="postgres"), Check(name="catalog", trouble="is away", counts=False)]
        self.asked: list[str] = []
        self.held = threading.Event()
        self.held.set()
        self.loop = LoopThread()
        self.admin = Admin("127.0.0.1", 0, lambda: self.checks, self._scrape)
        self.port = self.loop.run(self.admin.start())
        self.url = f"http://127.0.0.1:{self.port}"

    def _scrape(self, accept: str) -> tuple[bytes, str]:
        self.asked.append(accept)
        assert self.held.wait(30)
        return b"up 1\n", "text/plain; version=0.0.4; charset=utf-8"

    def get(self, path: str, **options: object) -> requests.Response:
        return requests.get(self.url + path, timeout=30, **options)  # type: ignore[arg-type]

    def close(self) -> None:
        self.loop.run(self.admin.stop())
        self.loop.close()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.held.set()
    world.close()


def test_whoever_is_live_need_not_be_ready(world: World) -> None:
    assert (world.get("/readyz").status_code, world.get("/readyz").text) == (200, "ok\n")
    assert world.get("/readyz?verbose").text == "[+] postgres: ok\n[-] catalog: is away (does not count)\nok\n"
    world.checks[0] = Check(name="postgres", trouble="does not answer")
    assert (world.get("/readyz").status_code, world.get("/readyz").text) == (503, "not ready: postgres\n")
    assert "[-] postgres: does not answer\n" in world.get("/readyz?verbose").text
    assert (world.get("/livez").status_code, world.get("/livez").text) == (200, "ok\n")


def test_it_has_metrics_by_the_type_that_is_asked_for_and_nothing_else(world: World) -> None:
    found = world.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert (found.text, found.headers["content-type"]) == ("up 1\n", "text/plain; version=0.0.4; charset=utf-8")
    assert world.asked == ["application/openmetrics-text"]
    assert [world.get(path).status_code for path in ("/", "/docs", "/jobs", "/openapi.json")] == [404] * 4
    assert requests.post(f"{world.url}/metrics", timeout=30).status_code == 405


def test_probes_are_answered_while_a_scrape_takes_long(world: World) -> None:
    world.held.clear()
    scrape = threading.Thread(target=world.get, args=("/metrics",))
    scrape.start()
    assert world.get("/livez").status_code == 200
    world.held.set()
    scrape.join(30)


@pytest.mark.parametrize("headers", [{"content-length": "5"}, {"transfer-encoding": "chunked"}])
def test_a_body_is_refused_before_it_is_read(world: World, headers: dict[str, str]) -> None:
    with socket.create_connection(("127.0.0.1", world.port), timeout=30) as connection:
        lines = ["GET /livez HTTP/1.1", "host: x", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        connection.sendall("\r\n".join(lines).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_large_head_is_refused(world: World) -> None:
    assert world.get("/livez", headers={"x": "y" * 10_000}).status_code == 431
    assert world.get("/livez").status_code == 200


def test_more_than_a_few_connections_are_closed_at_once(world: World) -> None:
    with ExitStack() as stack:
        for _ in range(ADMIN_CONNECTIONS):
            stack.enter_context(socket.create_connection(("127.0.0.1", world.port), timeout=30)).sendall(b"GET")
        one_more = stack.enter_context(socket.create_connection(("127.0.0.1", world.port), timeout=30))
        assert one_more.recv(100).startswith(b"HTTP/1.1 503 ")


def test_a_port_that_is_taken_is_told_with_the_way_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "PATIENCE_S", 0)
    second = Admin("127.0.0.1", world.port, tuple, lambda accept: (b"", ""))
    with pytest.raises(OSError, match=rf"^cannot listen on 127\.0\.0\.1:{world.port}: .*") as caught:
        world.loop.run(second.start())
    assert "set BLADE_ADMIN_PORT to a free one (0: none)" in str(caught.value)
