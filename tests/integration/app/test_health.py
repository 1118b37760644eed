"""`blade health`, which the container's HEALTHCHECK runs: right with TLS and with any port, without being told."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.paths import ROOT
from tests.support.servers import TIMEOUT_S, Served, run

TLS = ROOT / "tests" / "unit" / "client" / "tls"


def test_it_says_whether_a_server_with_tls_and_free_ports_serves(postgres_url: str, tmp_path: Path) -> None:
    file = tmp_path / "ready"
    file.write_text("of a server before")
    known = {"BLADE_READY_FILE": str(file)}
    assert run("health", **known) == (1, f"blade: no server is ready: {file} is not there or holds something else")
    certificate = {"BLADE_TLS_CERT_FILE": str(TLS / "cert.pem"), "BLADE_TLS_KEY_FILE": str(TLS / "key.pem")}

    server = Served("--json", DATABASE_URL=postgres_url, **certificate, **known)
    try:
        assert json.loads(file.read_text()) == server.said()
        assert run("health", **known) == (0, "SERVING")
        assert server.stop()[0] == 0
        assert not file.exists()
        assert run("health", **known)[0] == 1

        server = Served("--json", DATABASE_URL=postgres_url, **known)
        server.process.kill()
        server.process.communicate(timeout=TIMEOUT_S)
        assert run("health", **known) == (1, f"blade: the server of {file} is not to be reached")
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate(timeout=TIMEOUT_S)


def test_a_second_server_leaves_the_file_of_the_first_alone(postgres_url: str, tmp_path: Path) -> None:
    file = tmp_path / "ready"
    known = {"BLADE_READY_FILE": str(file)}
    server = Served("--json", DATABASE_URL=postgres_url, **known)
    try:
        port = server.said()["port"]
        code, said = run("serve", "--port", str(port), "--http-port", "0", DATABASE_URL=postgres_url, **known)
        assert code != 0
        assert str(port) in said
        assert json.loads(file.read_text())["pid"] == server.process.pid
        assert run("health", **known) == (0, "SERVING")
    finally:
        server.stop()
    assert not file.exists()


def test_it_needs_to_know_the_file() -> None:
    assert run("health") == (2, "blade: BLADE_READY_FILE is not set; the server and this command need the same")


def test_the_container_asks_so() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert 'CMD ["blade", "health"]' in dockerfile
    assert "BLADE_READY_FILE=" in dockerfile
    assert "50051'" not in dockerfile, "no port but that of EXPOSE"
