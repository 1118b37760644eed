"""Where the driver goes: results of a warehouse are fetched from allowed hosts, without redirects, and never from
link-local addresses."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from blade_sandbox.warehouse import Warehouse as Sandbox
from blade_sandbox.warehouse.thrift import replies
from blade_server.errors import Precondition, StatementCancelled, WarehouseUnavailable
from blade_server.model import StepOutcome
from blade_server.warehouse import Target, Warehouse, connect_steps, reach
from blade_server.warehouse.reach import _may_open

from .conftest import ROWS

ALL = "SELECT * FROM main.blade.numbers"
METADATA_ADDRESS = "169.254.169.254"


class Elsewhere:
    """A server that is not the warehouse, and what it was asked for."""

    def __init__(self) -> None:
        asked = self.asked = list[str]()
        self.redirect = ""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:
                asked.append(handler.path)
                handler.send_response(307 if self.redirect else 200)
                if self.redirect:
                    handler.send_header("Location", self.redirect + handler.path)
                handler.send_header("Content-Length", "0")
                handler.end_headers()

            def log_message(handler, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    found = Elsewhere()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def links_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def set_links(base: str) -> None:
        monkeypatch.setattr(replies, "BASE_URL", SimpleNamespace(get=lambda: base))

    return set_links


def test_results_at_the_warehouse_itself_come(target: Target) -> None:
    with Warehouse(target) as warehouse:
        assert sum(batch.num_rows for batch in warehouse.execute(ALL)) == ROWS


def test_results_elsewhere_are_not_fetched(target: Target, elsewhere: Elsewhere, links_to) -> None:
    links_to(elsewhere.url)
    for domains in ((), ("*.example.com",), ("127.0.0.1",)):  # allowed ones speak HTTPS
        with Warehouse(replace(target, result_domains=domains)) as warehouse:
            with pytest.raises(Precondition, match="BLADE_WAREHOUSE_RESULT_DOMAINS") as caught:
                list(warehouse.execute(ALL))
            assert elsewhere.url.removeprefix("http://") in caught.value.message
            assert "results/" not in caught.value.message  # a link is as good as a password
    assert elsewhere.asked == []


def test_redirects_are_not_followed(
    target: Target, sandbox: Sandbox, elsewhere: Elsewhere, links_to, monkeypatch: pytest.MonkeyPatch
) -> None:
    links_to(elsewhere.url)
    elsewhere.redirect = sandbox.url
    monkeypatch.setattr(reach, "_may_open", lambda target, url: True)
    with Warehouse(target) as warehouse, pytest.raises(Precondition, match="redirect"):
        list(warehouse.execute(ALL))
    assert elsewhere.asked


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://dbc.cloud.test/results/1", True),
        ("https://dbc.cloud.test:444/results/1", False),
        ("http://dbc.cloud.test/results/1", False),
        ("https://bucket.s3.eu-west-1.amazonaws.com/x?X-Amz-Signature=a", True),
        ("https://BUCKET.S3.eu-west-1.amazonaws.com:443/x", True),
        ("http://bucket.s3.eu-west-1.amazonaws.com/x", False),
        ("https://bucket.s3.eu-west-1.amazonaws.com:8443/x", False),
        ("https://bucket.s3.eu-west-1.amazonaws.com.evil.test/x", False),
        ("https://evil.test/bucket.s3.eu-west-1.amazonaws.com", False),
        ("https://evil.test?.s3.eu-west-1.amazonaws.com", False),
        ("https://evil.test#.s3.eu-west-1.amazonaws.com", False),
        ("https://bucket.s3.eu-west-1.amazonaws.com@evil.test/x", False),
        ("https://169.254.169.254/latest", False),
        ("https://evil.test:x/", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
def test_which_urls_are_allowed(url: str, allowed: bool) -> None:
    target = Target(host="dbc.cloud.test", http_path="/w", result_domains=("*.s3.*.amazonaws.com", "169.254.*"))
    assert _may_open(target, url) is allowed


@pytest.mark.parametrize(
    "host", [METADATA_ADDRESS, f"http://{METADATA_ADDRESS}", "http://[fe80::1]", "http://[::ffff:169.254.169.254]"]
)
def test_a_warehouse_is_at_no_link_local_address(target: Target, host: str) -> None:
    with Warehouse(replace(target, host=host)) as warehouse, pytest.raises(Precondition, match="link-local"):
        warehouse.execute("SELECT 1")


def test_nor_behind_a_name_that_leads_there(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def poisoned(host: str, *args, **options):
        return real(METADATA_ADDRESS if host == "w.test" else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", poisoned)
    with Warehouse(replace(target, host="w.test")) as warehouse, pytest.raises(Precondition, match=METADATA_ADDRESS):
        warehouse.execute("SELECT 1")


def test_the_address_that_was_reached_counts(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if DNS had answered otherwise at the second question."""
    monkeypatch.setattr(reach, "is_never", lambda address: address == "127.0.0.1")
    with Warehouse(target) as warehouse, pytest.raises((Precondition, WarehouseUnavailable)) as caught:
        warehouse.execute("SELECT 1")
    assert not isinstance(caught.value, StatementCancelled)
    *_, last = connect_steps(target)
    assert last.outcome is StepOutcome.FAILED
    assert "link-local" in last.message
