"""The sandbox warehouse with a table large enough for several answers, and targets that lead to it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pydantic import SecretStr
from tests.support.warehouses import lent

from blade_sandbox.warehouse import Warehouse as Sandbox
from blade_server.warehouse import Target, Warehouse

ROWS = 200_000


@pytest.fixture(scope="session")
def table_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("warehouse") / "numbers.parquet"
    duckdb.sql(
        f"""COPY (SELECT i AS id, 'name ' || i AS name, (i / 7)::DECIMAL(18, 3) AS amount,
            TIMESTAMPTZ '2024-01-01 00:00:00+00' + i * INTERVAL 1 SECOND AS at, DATE '2024-01-01' AS day
            FROM range({ROWS}) t(i)) TO '{path}'"""
    )
    return path


@pytest.fixture(scope="session")
def shared_sandbox(table_file: Path) -> Iterator[Sandbox]:
    with Sandbox(tables={"main.blade.numbers": table_file}) as server:
        yield server


@pytest.fixture
def sandbox(shared_sandbox: Sandbox) -> Iterator[Sandbox]:
    with lent(shared_sandbox) as sandbox:
        yield sandbox


@pytest.fixture
def target(sandbox: Sandbox) -> Target:
    return Target(host=sandbox.url, http_path=sandbox.http_path, token=SecretStr(sandbox.token), timeout_s=20)


@pytest.fixture
def warehouse(target: Target) -> Iterator[Warehouse]:
    with Warehouse(target) as opened:
        yield opened


@pytest.fixture
def faults(sandbox: Sandbox) -> Callable[..., Any]:
    """Set fault switches over HTTP, as any user of the sandbox would."""

    def post(**switches: Any) -> Any:
        request = urllib.request.Request(
            f"{sandbox.url}/sandbox/faults",
            data=json.dumps(switches).encode(),
            headers={"Authorization": f"Bearer {sandbox.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    return post


@pytest.fixture
def changed(target: Target) -> Callable[..., Target]:
    return lambda **fields: replace(target, **fields)
