"""kill -9 of the server in the middle of a job costs time and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e.conftest import Cli

from blade_sandbox.check import Expected, check
from blade_sandbox.data import SORTIE
from blade_sandbox.sandbox import Sandbox

JANUARY = "SELECT * FROM {} WHERE month = 1"
ROWS = 27_004


@pytest.mark.slow
@pytest.mark.parametrize("catalog", ["replaces by id", "keeps every copy"])
def test_a_killed_and_restarted_server_loses_and_doubles_nothing(
    make_world: Callable[..., Sandbox], wait_until: Callable[..., None], catalog: str
) -> None:
    # A catalog that keeps every copy shows what a replacing one would hide.
    world = make_world(
        catalog_options=["--append"] if catalog == "keeps every copy" else [],
        settings={
            "BLADE_CATALOG_TIMEOUT_S": "5",
            "BLADE_CATALOG_SETTLE_S": "5",
        },  # what it may be sending waits so long
    )
    blade = Cli(world.target)
    blade("source", "add", "--name", "sortie", "--data-type", "sortie", "--table", SORTIE)
    job_id = blade("job", "start", JANUARY.format("sortie"), "--items-per-second", "9000", "--json").json["jobId"]

    def job() -> Any:
        return blade("job", "show", job_id, "--json").json

    with blade.start("job", "watch", job_id) as watcher:
        for share in (0.2, 0.6):
            wait_until(lambda share=share: job()["processedItems"] > share * ROWS, timeout_s=60)
            before = job()
            world.server.kill()
            world.launch_server()
            world.server.wait_ready()
            assert job()["processedItems"] >= before["processedItems"]
        # Whoever watched goes on watching.
        output, _ = watcher.communicate(timeout=60)
    assert watcher.returncode == 0, output
    ended = job()
    assert (ended["status"], ended["successCount"], ended["errorCount"]) == ("COMPLETED", ROWS, 0)
    found = check(world, JANUARY.format(SORTIE) + " ORDER BY item_id", Expected(data_type="sortie"))
    assert found.clean, found
    assert found.items == ROWS
    world.stop()
