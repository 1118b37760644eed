"""A database that was put back to an older state is known as such by whoever has seen more of the work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support.access import called
from tests.support.nouns import a_source, a_spec

from blade_server.errors import LeaseLost
from blade_server.model import Block, Claim, Display, Job, NewJob, Record, Status
from blade_server.storage.database import Database
from blade_server.storage.engine.leases import Leases
from blade_server.storage.engine.ledger import LedgerStore
from blade_server.storage.engine.records import RecordStore
from blade_server.storage.engine.restored import declare_restored
from blade_server.storage.engine.witness import KEPT_S, SeenFile, Witness
from blade_server.storage.jobs.new import NewJobs
from blade_server.storage.jobs.show import JobStore
from blade_server.storage.retention import Retention
from blade_server.storage.sources import SourceStore

SOURCE = a_source()
TABLES = ("job", "server", "job_block", "job_event")


class Backup:
    """The state of the tables at a moment, and the way back to it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self) -> None:
        with self._database.begin() as connection:
            for table in TABLES:
                connection.execute(text(f"DROP TABLE IF EXISTS kept_{table}"))
                connection.execute(text(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}"))

    def restore(self) -> None:
        with self._database.begin() as connection:
            connection.execute(text("DELETE FROM job"))
            connection.execute(text("DELETE FROM server"))
            for table in TABLES:
                query = text(
                    "SELECT string_agg(attname, ',') FROM pg_attribute WHERE attrelid = CAST(:name AS regclass)"
                    " AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
                )
                names = connection.execute(query, {"name": table}).scalar_one()
                connection.execute(text(f"INSERT INTO {table} ({names}) SELECT {names} FROM kept_{table}"))


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    SourceStore(database).add(SOURCE, by=called(), request_id="", request_hash="")
    yield database
    database.close()


@pytest.fixture
def backup(database: Database) -> Backup:
    return Backup(database)


def stored(database: Database, job_id: str = "job-1") -> Job:
    new = NewJob(job_id=job_id, spec=a_spec(), source=SOURCE, statement="SELECT 1")
    return NewJobs(database, max_open=9).add(new, by=called("tester"))


def claimed(leases: Leases, server: str = "a") -> Claim:
    claim = leases.claim_next(server, 10.0)
    assert claim is not None
    return claim


def test_who_has_worked_since_the_backup_knows_and_every_replica_is_told(database, backup, caplog) -> None:
    stored(database)
    leases = Leases(database)
    backup.take()
    assert not claimed(leases).doubtful
    backup.restore()

    assert claimed(leases).doubtful
    assert "older than the work" in JobStore(database).get("job-1").history[-1].detail
    assert "it shows 0 signs of life of server a where 1 were seen" in caplog.text


def test_who_has_only_watched_the_others_knows_too(database, backup) -> None:
    stored(database)
    worker, watcher = Leases(database), Leases(database)
    backup.take()
    claim = claimed(worker)
    worker.beat("a", [claim], 10.0)
    assert watcher.claim_next("b", 10.0) is None
    backup.restore()
    assert claimed(watcher, "b").doubtful


def test_a_beat_finds_out_and_all_claims_are_taken_back(database, backup) -> None:
    stored(database)
    leases = Leases(database)
    claim = claimed(leases)
    backup.take()
    assert leases.beat("a", [claim], 10.0)
    backup.restore()

    assert leases.beat("a", [claim], 10.0) == {}
    again = claimed(leases)
    assert (again.doubtful, again.taken_over, again.epoch) == (True, False, claim.epoch + 1)


def test_others_may_go_on_with_the_older_state_and_still_it_is_found_out(database, backup) -> None:
    """A count of all work together would have grown past what was seen."""
    stored(database)
    leases = Leases(database)
    backup.take()
    claimed(leases)
    backup.restore()
    stranger = Leases(database)
    claim = claimed(stranger, "a stranger")
    for _ in range(5):
        stranger.beat("a stranger", [claim], 10.0)

    assert leases.claim_next("a", 10.0) is not None
    assert stranger.beat("a stranger", [claim], 10.0) == {}


def test_it_is_found_out_once_and_jobs_stored_later_are_as_any(database, backup, caplog) -> None:
    stored(database)
    one, other = Leases(database), Leases(database)
    backup.take()
    one.beat("a", [claimed(one)], 10.0)
    assert other.claim_next("b", 10.0) is None
    backup.restore()
    assert claimed(one).doubtful
    assert other.claim_next("b", 10.0) is None
    stored(database, "job-2")
    assert not claimed(other, "b").doubtful
    assert caplog.text.count("older than the work") == 1


def test_a_backup_from_before_nobody_worked_is_no_news(database, backup, caplog) -> None:
    stored(database)
    leases = Leases(database)
    claim = claimed(leases)
    backup.take()
    backup.restore()
    assert leases.beat("a", [claim], 10.0)
    assert not caplog.text


def test_a_record_that_finds_its_ledger_gone_leaves_the_job_doubtful(database, backup) -> None:
    """What a standby that took over had not heard: less than a beat."""
    stored(database)
    leases, ledgers, records = Leases(database), LedgerStore(database), RecordStore(database)
    claim = claimed(leases)
    backup.take()
    ledgers.intend(claim, [Block(number=1, keys=bytes(16), outcomes=bytes(1))])
    backup.restore()
    done = Record(number=1, success=1, blocks=[Block(number=1, keys=b"", outcomes=b"\1")], display=Display())
    with pytest.raises(LeaseLost):
        records.record(claim, done)
    assert JobStore(database).get("job-1").success_count == 0
    assert claimed(leases).doubtful


def test_a_record_whose_predecessors_are_gone_leaves_the_job_doubtful(database, backup) -> None:
    stored(database)
    leases, records = Leases(database), RecordStore(database)
    claim = claimed(leases)
    backup.take()
    records.record(claim, Record(number=1, success=1, display=Display()))
    backup.restore()
    with pytest.raises(LeaseLost):
        records.record(claim, Record(number=2, success=1, display=Display()))
    assert claimed(leases).doubtful


def test_a_record_whose_answer_was_lost_is_no_reason_for_doubt(database) -> None:
    stored(database)
    leases, records = Leases(database), RecordStore(database)
    claim = claimed(leases)
    record = Record(number=1, success=1, display=Display())
    assert records.record(claim, record) == records.record(claim, record)
    assert leases.beat("a", [claim], 10.0)


def test_servers_that_were_stopped_meanwhile_know_it_from_their_file(database, backup, tmp_path: Path) -> None:
    stored(database)
    backup.take()
    file = SeenFile(tmp_path / "seen", database)
    claimed(Leases(database, Witness(file)))
    file.close()
    backup.restore()

    file = SeenFile(tmp_path / "seen", database)
    assert claimed(Leases(database, Witness(file)), "b").doubtful
    file.close()


def test_a_process_that_has_seen_less_takes_nothing_out_of_the_file(database, tmp_path: Path) -> None:
    one, other = SeenFile(tmp_path, database), SeenFile(tmp_path, database)
    one.keep({"a": (7, 1000.0)})
    one.close()
    other.keep({"a": (3, 900.0), "b": (1, 1000.0)})
    other.close()
    file = SeenFile(tmp_path, database)
    assert file.read() == {"a": (7, 1000.0), "b": (1, 1000.0)}
    file.close()


@pytest.mark.parametrize("kept", ["", "{", '{"a": 7}', "[1]"])
def test_a_file_that_cannot_be_read_is_a_warning(database, tmp_path: Path, caplog, kept: str) -> None:
    file = SeenFile(tmp_path, database)
    file.keep({"a": (7, 1000.0)})
    file.close()
    (path,) = tmp_path.glob("*.json")
    path.write_text(kept)
    file = SeenFile(tmp_path, database)
    assert Witness(file).seen == {}
    file.close()
    assert "blade migrate --restored" in caplog.text


def test_a_folder_that_cannot_be_written_is_a_warning(database, tmp_path: Path, caplog) -> None:
    (tmp_path / "taken").write_text("")
    file = SeenFile(tmp_path / "taken" / "seen", database)
    file.keep({"a": (7, 1000.0)})
    file.close()
    assert "blade migrate --restored" in caplog.text


def test_a_server_that_was_pruned_is_not_missed(database) -> None:
    stored(database)
    leases = Leases(database)
    claimed(leases)
    with database.begin() as connection:
        connection.execute(
            text("UPDATE server SET beat_time = now() - make_interval(secs => :kept + 1)"), {"kept": KEPT_S}
        )
    assert leases.claim_next("b", 10.0) is None
    Retention(database).forget_servers()
    with database.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM server")).scalar_one() == 0
    stored(database, "job-2")
    assert not claimed(leases, "b").doubtful


def test_an_operator_may_say_so(database, postgres_url: str) -> None:
    stored(database, "job-1")
    stored(database, "job-2")
    leases = Leases(database)
    claim = claimed(leases)
    assert declare_restored(postgres_url) == 2
    assert leases.beat("a", [claim], 10.0) == {}
    assert JobStore(database).get(claim.job_id).status is Status.RUNNING
    assert claimed(leases).doubtful
    assert claimed(leases).doubtful
