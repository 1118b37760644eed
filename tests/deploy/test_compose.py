"""compose.yaml: the specification of Compose takes it, and a server takes the settings that it makes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.paths import ROOT
from tests.support.programs import package, program

from blade_server.app.exposure import check_exposure
from blade_server.app.misspelt import misspelt
from blade_server.settings import Settings

FILES = ("compose.yaml", "deploy/compose/tls.yaml")


@pytest.fixture
def _own_environment() -> Iterator[None]:
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("BLADE_", "DATABRICKS_", "DATABASE_")):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


def composed(*files: str, tmp_path: Path, **environment: str) -> dict[str, Any]:
    """The services, as `docker-compose config` puts the files together."""
    named = [part for file in files for part in ("--file", str(ROOT / file))]
    done = subprocess.run(
        [program("docker-compose", "docker-compose"), *named, "--profile", "sandbox", "config"],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


@pytest.mark.parametrize("file", FILES)
def test_the_specification_has_nothing_against_it(file: str) -> None:
    package("check_jsonschema", "deploy")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(ROOT / file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.usefixtures("_own_environment")
@pytest.mark.parametrize("files", [FILES[:1], FILES])
def test_a_server_takes_its_settings(tmp_path: Path, files: tuple[str, ...]) -> None:
    blade = composed(*files, tmp_path=tmp_path, BLADE_ALLOWED_HOSTS="blade.test")["blade"]
    os.environ |= blade["environment"] | {"BLADE_HOST": "0.0.0.0"}  # of the image
    settings = Settings()
    check_exposure(settings)
    assert (settings.tls_cert_file is not None, settings.plaintext == "behind-proxy") == (
        len(files) == 2,
        len(files) == 1,
    )
    assert list(misspelt(blade["environment"])) == []


def test_every_container_says_whether_it_is_well(tmp_path: Path) -> None:
    services = composed(*FILES, tmp_path=tmp_path, BLADE_ALLOWED_HOSTS="blade.test")
    assert set(services) == {"postgres", "blade", "warehouse", "catalog"}
    assert all(service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL") for service in services.values())
    assert services["blade"]["healthcheck"]["test"] == ["CMD", "blade", "health"]


def test_only_this_machine_reaches_it_until_told_otherwise(tmp_path: Path) -> None:
    published = [
        port for service in composed(FILES[0], tmp_path=tmp_path).values() for port in service.get("ports", [])
    ]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
