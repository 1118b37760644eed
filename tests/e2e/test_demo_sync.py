"""The demo's step about a sync, on a sandbox of its own: it shows what happened, and notices what should not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from blade_client import BladeClient
from blade_sandbox.data import MAINTENANCE, sample_tables
from blade_sandbox.demo_sync import show_sync
from blade_sandbox.sandbox import TOKEN, Sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    tables = {MAINTENANCE: sample_tables()[MAINTENANCE]}
    with Sandbox(tmp_path_factory.mktemp("demo-sync"), tables=tables) as sandbox:
        yield sandbox


@pytest.fixture
def blade(sandbox: Sandbox) -> Iterator[BladeClient]:
    """A client; afterwards nothing of the demo is left."""
    with BladeClient(sandbox.target, token="", profile="") as client:
        yield client
        client.syncs.delete("parts")
        client.remove_source("blade-parts")
        _catalog(sandbox, "/v1/items?dataSource=BLADE:parts")


def _catalog(sandbox: Sandbox, path: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    requests.delete(f"{sandbox.catalog_url}{path}", headers=headers, timeout=30).raise_for_status()


@pytest.mark.slow
def test_it_sends_what_changed_deletes_what_is_gone_and_asks_before_it_deletes_much(
    sandbox: Sandbox, blade: BladeClient
) -> None:
    commands: list[str] = []
    said: list[str] = []
    assert show_sync(sandbox, blade, commands.append, said.append), said
    assert [line.split()[1] for line in commands if line.startswith("sync")] == [
        "create", "run", "run", "run", "run", "accept-deletes", "verify",
    ]  # fmt: skip
    created, first, nothing, second, changes, few, after_few, _, withheld, why, without_rows, gone, after, verified = (
        said
    )
    assert "COMPLETED: 10,000 created; 10,000 sent" in created
    assert "COMPLETED: 10,000 unchanged; 0 sent" in nothing
    assert changes == "The table changes: 25 rows are updated, 10 inserted, 5 deleted"
    assert "COMPLETED: 10 created, 25 updated, 9,970 unchanged, 5 deleted; 35 sent" in few
    assert "COMPLETED: 8,005 unchanged, 2,000 deletes withheld; 0 sent" in withheld
    assert "2000" in why.replace(",", "")
    assert without_rows.endswith("8,005 rows, 10,005 items: 2,000 without a row")
    assert "COMPLETED: 2,000 deleted" in gone
    assert verified.endswith("COMPLETED: 8,005 equal, 0 missing, 0 different, 0 too many")
    for line, rows in ((first, "10,000"), (second, "10,000"), (after_few, "10,005"), (after, "8,005")):
        assert line == f"Compared without BLADE: {rows} rows, {rows} items: equal"


@pytest.mark.slow
def test_it_fails_when_an_item_goes_behind_its_back(sandbox: Sandbox, blade: BladeClient) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "10,000 unchanged" in line:
            _catalog(sandbox, "/v1/items/BLADE%3Aparts/PART-9000")

    assert not show_sync(sandbox, blade, lambda _: None, say)
    assert "Compared without BLADE: 10,000 rows, 9,999 items: 1 missing" in said
    assert said[-1].endswith("8,004 equal, 1 missing, 0 different, 0 too many")
