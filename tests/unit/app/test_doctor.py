"""Parts of `blade doctor` for which nothing has to run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from zipfile import ZipFile

import pytest

from blade_server.app.doctor.bundle import write_bundle
from blade_server.app.doctor.check import Check, Outcome, failed, in_time, passed, warned
from blade_server.app.doctor.here import of_disk, of_settings
from blade_server.app.doctor.reached import of_server
from blade_server.app.doctor.redaction import Redaction, redaction_of, shown
from blade_server.app.doctor.report import as_text, summary
from blade_server.settings import Settings


def test_what_hangs_is_a_failed_check_and_what_it_found_before_stays() -> None:
    release = threading.Event()

    def look() -> Iterator[Check]:
        yield passed("one", "is well")
        release.wait()
        yield passed("two", "is well")

    found = list(in_time("warehouse", look, longest_s=0.05))
    release.set()
    assert [(check.name, check.outcome) for check in found] == [("one", Outcome.PASSED), ("warehouse", Outcome.FAILED)]


def test_a_bug_in_a_check_is_not_hidden() -> None:
    def look() -> Iterator[Check]:
        raise KeyError("bug")
        yield

    with pytest.raises(KeyError):
        list(in_time("disk", look))


def test_what_others_have_written_drives_no_terminal() -> None:
    text = as_text(failed("catalog", "says \x1b[31mno\nand \u202emore", "ask it"))
    assert text.splitlines() == [f"{'FAILED':<9}{'catalog':<24}says ?[31mno and ?more", f"{'':<33}-> ask it"]


def test_the_last_line_counts() -> None:
    well, bad, odd = passed("a", "x"), failed("b", "x", "y"), warned("c", "x", "y")
    assert summary([well]) == "Nothing failed."
    assert summary([well, odd]) == "Nothing failed; 1 to look at."
    assert summary([well, bad, odd]) == "1 of 3 failed: b"


SECRETS = {
    "DATABASE_URL": "postgresql://blade:p%40ss-w0rd@db/x?password=other-one",
    "DATABRICKS_TOKEN": "dapi-1234-abcd",
    "BLADE_SECRET_PARTNER": 'quo"ted-secret',
    "BLADE_ADMIN_TOKEN_FILE": "/run/secrets/admin",
    "HTTPS_PROXY": "http://me:proxy-pass@proxy:3128",
    "DATABRICKS_HTTP_PATH": "/sql/1.0/warehouses/77",
}


@pytest.fixture
def redaction(monkeypatch: pytest.MonkeyPatch) -> Redaction:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return redaction_of(Settings(), SECRETS)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("at postgresql://blade:p%40ss-w0rd@db/x", "at postgresql://***@db/x"),
        ("password p@ss-w0rd is wrong", "password *** is wrong"),
        ("authorization dapi-1234-abcd refused", "authorization *** refused"),
        ('{"secret": "quo\\"ted-secret"}', '{"secret": "***"}'),
        ("through proxy-pass", "through ***"),
        ("token blade_k3v9x2m4p7q1_abcdefghijklmnopqrstuvwxyz012345", "token blade_***"),
        ("Bearer abcdef.ghijkl", "Bearer ***"),
        ("jwt eyJhbGciOi.eyJzdWIiOi.c2ln", "jwt ***"),
        ("POST /jobs?filter=tail%3D7&password=x HTTP", "POST /jobs?*** HTTP"),
        ("https://anna:pw@host/path", "https://***@host/path"),
        ("warehouse /sql/1.0/warehouses/77 and /run/secrets/admin stay", None),
        ("blade_server.app: job 0198c2f1-7e30 of blade-maintenance", None),
    ],
)
def test_secrets_are_taken_out_and_the_rest_stays(redaction: Redaction, text: str, left: str | None) -> None:
    assert redaction(text) == (text if left is None else left)


def test_of_a_bug_its_place_is_left_and_not_its_words(redaction: Redaction) -> None:
    log = [
        "2026-11-28 23:00:00,000 ERROR blade_server.core: incident 7f3a: job J met a bug",
        "Traceback (most recent call last):",
        '  File "/app/core/run.py", line 7, in run',
        "    value = int(cell)",
        "ValueError: invalid literal: 'PN-7 the row'",
        "DETAIL: PN-8",
        "  PN-9",
        "2026-11-28 23:00:01,000 INFO blade_server.core: goes on",
    ]
    assert redaction.log(log).splitlines() == [*log[:4], "ValueError: ***", "***", "***", log[-1]]


def test_a_log_of_json_is_taken_apart(redaction: Redaction) -> None:
    exception = "Traceback (most recent call last):\n  File 'x'\nKeyError: 'PN-7'"
    line = json.dumps({"event": "incident", "exception": exception})
    (left,) = redaction.log([line]).splitlines()
    assert "PN-7" not in left
    assert "KeyError: ***" in left
    assert redaction.log(['{"cut of']) == "***\n"


def test_of_settings_secrets_are_only_said_to_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BLADE_CATALOG_URL", "https://me:pass-1@catalog.test/base?key=k")
    monkeypatch.setenv("BLADE_PUBLIC_URL", "me:pass-1@page.test")
    found = shown(Settings())
    assert found["public_url"] == "***@page.test"
    assert (found["database_url"], found["databricks_token"], found["catalog_token"]) == ("set", "set", None)
    assert found["catalog_url"] == "https://***@catalog.test/base"
    assert found["lease_s"] == 10.0
    assert found["classifications"][0] == "UNCLASS"


class _Answers(BaseHTTPRequestHandler):
    """An admin port as another release has it, that is not ready."""

    def do_GET(self) -> None:
        ready = self.path == "/readyz?verbose"
        body = "[+] postgres: ok\n[-] clock: is off\n[-] catalog: is away (does not count)\nnot ready: clock\n"
        self.send_response(503 if ready else 200)
        self.end_headers()
        self.wfile.write((body if ready else 'blade_build_info{version="0.0.7"} 1.0\n').encode())

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def admin_port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_server_that_is_not_ready_says_why_and_one_of_another_release_is_told(admin_port: int) -> None:
    ready, release = of_server(Settings(admin_port=admin_port, admin_host="0.0.0.0"))
    assert (ready.outcome, ready.found) == (Outcome.FAILED, "it is not ready: [-] clock: is off")
    assert (release.outcome, release.found.split(",")[0]) == (Outcome.WARNING, "the server is 0.0.7")


def test_the_ready_file_says_where_a_server_is(admin_port: int, tmp_path: Path) -> None:
    (tmp_path / "ready").write_text(json.dumps({"admin_port": admin_port}))
    assert len(list(of_server(Settings(port=0, ready_file=tmp_path / "ready")))) == 2
    assert [check.outcome for check in of_server(Settings(port=0))] == [Outcome.NOT_RUN]


def test_each_part_of_a_bundle_is_looked_through_for_secrets(tmp_path: Path) -> None:
    secret = "a-secret-that-somebody-wrote"
    write_bundle(tmp_path / "b.zip", [passed("catalog", f"it is {secret}")], None, {"BLADE_SECRET_X": secret}, None)
    with ZipFile(tmp_path / "b.zip") as bundle:
        assert "it is ***" in bundle.read("doctor.json").decode()


@pytest.mark.parametrize(
    "named",
    [
        {"tls_cert_file": "/absent"},
        {"admin_token_file": "/absent"},
        {"secret_dir": "/absent"},
        {"oidc_ca_file": "/absent"},
        {"catalog_url": "http://a..b"},
    ],
)
def test_files_with_which_no_server_starts_fail(named: dict[str, str]) -> None:
    [check] = of_settings(Settings(**named), {})
    assert (check.outcome, bool(check.way_out)) == (Outcome.FAILED, True)


@pytest.mark.parametrize("below", ["", "/sub"])
def test_what_is_no_folder_cannot_hold_the_data(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    data, seen = of_disk(Settings(data_dir=f"{tmp_path}/file{below}"))
    assert (data.outcome, data.found) == (
        Outcome.FAILED,
        f"{tmp_path}/file{below} cannot be made: {tmp_path}/file is no folder",
    )
    assert seen.outcome is (Outcome.FAILED if below else Outcome.PASSED)


def test_of_a_log_without_an_end_a_part_is_taken(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b.zip", [], None, {}, Path("/dev/zero"))
    with ZipFile(tmp_path / "b.zip") as bundle:
        assert bundle.getinfo("log.txt").file_size < 2 << 20
