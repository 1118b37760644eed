"""The commands of docs/operations.md, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.databases import own_database
from tests.support.paths import ROOT
from tests.upgrade.world import HERE, ROWS, TIMEOUT_S, UpgradeWorld

from blade.v1.job_pb2 import Job
from blade_server.storage.embedded.binaries import installed_binaries

SLOW = 60


def commands(heading: str) -> str:
    """The code under a heading."""
    text = (ROOT / "docs" / "operations.md").read_text()
    section = re.split(r"^#{2,3} ", text.split(f"### {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return "\n".join(line[4:] for line in section.splitlines() if line.startswith("    "))


@pytest.fixture
def run(world: UpgradeWorld, tmp_path: Path) -> Callable[..., str]:
    """`run(script)`: what it prints, on the world's database or another, with the programs of PostgreSQL's version."""

    def run(script: str, *, url: str = world.url) -> str:
        variables = world.variables() | {
            "DATABASE_URL": url.replace("+psycopg2", ""),
            "PATH": os.pathsep.join([str(HERE.parent), str(installed_binaries()), os.environ["PATH"]]),
        }
        command = ["bash", "-e", "-u", "-c", script]
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def another_database(_postgres: str) -> Iterator[str]:
    """URL of an empty one."""
    with own_database(_postgres, "template0") as url:
        yield url


def test_a_job_finishes_after_its_backup_was_put_back(
    world: UpgradeWorld, run: Callable[..., str], another_database: str
) -> None:
    server = world.serve()
    world.add_source(server, "part", "part")
    job = server.client.start_query_job(source="part", items_per_second=SLOW, batch_size=10)
    world.moving(server, job)
    run(commands("Back up"))
    saved = server.client.get_job(job.job_id).success_count
    server.client.update_limits(job.job_id, items_per_second=5 * SLOW)
    world.until(server, job, lambda now: now.success_count > saved + 300)  # beyond what was about to be sent by then
    server.kill()
    sent = len(world.held("part"))

    assert "1 open job" in run(commands("Restore"), url=another_database)
    world.use(another_database)
    again = world.serve()
    assert again.client.get_job(job.job_id).success_count < sent
    again.client.update_limits(job.job_id, items_per_second=0)
    world.completed(again, job)
    world.check_all_once("part")


def test_an_upgrade_from_0_2_and_the_way_back(
    world: UpgradeWorld, old: Path, run: Callable[..., str], another_database: str, tmp_path: Path
) -> None:
    before = world.serve(old)
    world.add_source(before, "part", "part")
    job = before.client.start_query_job(source="part", items_per_second=SLOW, batch_size=10)
    world.moving(before, job)
    run(commands("Upgrade"))
    assert world.revision() > "0002"
    after = world.serve()
    before.stop()
    world.until(after, job, lambda now: world.epoch(now) == 2 and now.success_count > 0)
    assert run(commands("Downgrade")).strip() == "0.2.0"
    after.kill()

    # Further back than that: the backup, with the commands of the version that was there.
    dump = tmp_path / "blade.dump"
    (tmp_path / "before-upgrade.dump").rename(dump)
    put_back = commands("Restore").splitlines()[0]
    run(put_back, url=another_database)
    world.use(another_database)
    assert world.revision() == "0002"
    back = world.serve(old)
    assert back.client.get_job(job.job_id).status == Job.RUNNING
    back.client.update_limits(job.job_id, items_per_second=0)
    world.completed(back, job)
    assert len(world.held("part")) == ROWS, "nothing is lost; what was sent after the backup is there twice"
