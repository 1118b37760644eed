"""Which sources and jobs a caller may know of, and what of a job: over a real PostgreSQL, and jobs that nobody runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy
from tests.support.access import called, called_by
from tests.support.nouns import a_source

from blade_server.app.policies import job_policy, source_policy
from blade_server.core.audit.recorder import Recorder
from blade_server.core.jobs.jobs import Jobs
from blade_server.core.jobs.redaction import for_caller
from blade_server.core.jobs.start import StartJob
from blade_server.core.sources.sources import Sources, _fingerprint
from blade_server.errors import AccessDenied, Invalid, NotFound, Precondition, QuotaExceeded
from blade_server.model import Job, Source
from blade_server.model.access import Caller, Role
from blade_server.settings import Settings
from blade_server.storage.audit import AuditStore
from blade_server.storage.database import Database
from blade_server.storage.jobs.show import JobStore
from blade_server.storage.sources import SourceStore

ROW = '{"tail": "the row"}'
WORDS = "SELECT 'words of the SQL' AS id, 'UNCLASS' AS classification FROM parts"


class World:
    def __init__(self, url: str, **settings: Any) -> None:
        self.database = Database(url, pool_size=4)
        self.source_store, self.store = SourceStore(self.database), JobStore(self.database)
        made = Settings(**settings)
        recorder = Recorder(AuditStore(self.database))
        self.sources = Sources(source_policy(made), self.source_store, recorder)
        self.jobs = Jobs.over(
            job_policy(made), self.database, self.store, self.sources, recorder=recorder, wake=lambda: None
        )

    def add(self, name: str, data_type: str) -> Source:
        config = replace(a_source().config, table=name)
        new = replace(a_source(), name=name, data_type=data_type, config=config)
        return self.source_store.add(new, by=called())

    def start(self, source: str = "parts", by: Caller | None = None, **fields: Any) -> Job:
        return self.jobs.start(StartJob(source=source, **fields), by=by or called())

    def execute(self, statement: str, **values: Any) -> None:
        with self.database.begin() as connection:
            connection.execute(sqlalchemy.text(statement), values)

    def fail(self, job: Job) -> None:
        """Ends a job as one whose warehouse said something, with one row that failed."""
        self.execute(
            "UPDATE job SET status = 'FAILED', end_time = now(), error_reason = 'WAREHOUSE_REFUSED', error_count = 1,"
            " error_message = 'cannot cast the row', wait_detail = 'the row' WHERE job_id = :id",
            id=job.job_id,
        )
        self.execute(
            "INSERT INTO job_error_count (job_id, reason, items) VALUES (:id, 'ITEM_REJECTED', 1)", id=job.job_id
        )
        self.execute(
            "INSERT INTO job_item_error (job_id, key, item_id, stage, reason, field, message, attempts, row_json,"
            " create_time)"
            " VALUES (:id, '', 'the row', 'UPLOAD', 'ITEM_REJECTED', 'tail', 'the row is bad', 3, :row, now())",
            id=job.job_id,
            row=ROW,
        )
        self.execute(
            "INSERT INTO job_event (job_id, kind, time, detail) VALUES (:id, 'FAILED', now(), 'cannot cast the row')",
            id=job.job_id,
        )


@pytest.fixture
def make(postgres_url: str) -> Iterator[Callable[..., World]]:
    made = []

    def make(**settings: Any) -> World:
        made.append(World(postgres_url, **settings))
        return made[-1]

    yield make
    for world in made:
        world.database.close()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    world = make()
    world.add("parts", "part")
    world.add("salaries", "salary")
    return world


# ---------------------------------------------------------------------------------------------------------- sources


def test_the_one_source_of_a_data_type_is_that_of_those_he_may(world: World) -> None:
    world.add("old-parts", "part")
    ann = called_by("ann", Role.READER, (Role.READER, "source:parts"), (Role.VIEWER, "*"))

    assert world.sources.find("part", by=ann).name == "parts"


def test_several_sources_that_could_be_meant_are_only_those_he_may(world: World) -> None:
    for name in ("hidden", "old", "seen"):
        world.add(f"{name}-parts", "part")
    ann = called_by(
        "ann",
        Role.READER,
        (Role.READER, "source:parts"),
        (Role.READER, "source:old-parts"),
        (Role.VIEWER, "source:seen-parts"),
    )

    with pytest.raises(Invalid) as caught:
        world.sources.find("part", by=ann)
    assert caught.value.message.endswith("name one of old-parts, parts")


def test_a_data_type_of_sources_that_he_may_only_look_at_is_denied(world: World) -> None:
    world.add("old-parts", "part")
    ann = called_by("ann", Role.READER, (Role.VIEWER, "data_type:part"))

    with pytest.raises(AccessDenied, match="'ann' needs the role READER on data type 'part'"):
        world.sources.find("part", by=ann)


def test_a_data_type_that_he_sees_nothing_of_is_an_unknown_one(world: World) -> None:
    ann = called_by("ann", Role.READER, (Role.READER, "source:parts"))

    for data_type in ("salary", "salarx"):
        with pytest.raises(NotFound) as caught:
            world.sources.find(data_type, by=ann)
        assert caught.value.message == f"no source has the data type {data_type!r}"


def test_the_last_job_of_a_source_is_told_to_those_who_may_see_that_job(world: World) -> None:
    job = world.start()
    ann = called_by("ann", Role.EDITOR, (Role.EDITOR, "data_type:part"), (Role.EDITOR, "data_type:thing"))
    ben = called_by("ben", Role.VIEWER, (Role.VIEWER, "data_type:thing"))
    assert world.sources.get("parts", by=ann).stats.last_job_id == job.job_id

    world.execute("UPDATE source SET data_type = 'thing' WHERE name = 'parts'")

    assert world.sources.get("parts", by=ann).stats.last_job_id == job.job_id
    assert world.sources.get("parts", by=ben).stats.last_job_id == ""
    assert [source.stats.last_job_id for source in world.sources.list(by=ben)[0]] == [""]
    with pytest.raises(NotFound):
        world.jobs.show.get(job.job_id, by=ben)


def test_a_repeated_addition_is_no_way_to_a_source_that_one_may_not_see_any_more(world: World) -> None:
    ann = called_by("ann", Role.EDITOR, (Role.EDITOR, "data_type:part"))
    asked = replace(a_source(), name="mine", data_type="part")
    world.source_store.add(asked, by=ann, request_id="once", request_hash=_fingerprint(asked))
    again = world.sources.add(asked, by=ann, request_id="once")
    assert again.source.name == "mine"

    world.execute("UPDATE source SET data_type = 'salary' WHERE name = 'mine'")

    with pytest.raises(NotFound, match="there is no source 'mine'"):
        world.sources.add(asked, by=ann, request_id="once")
    seeing = called_by("ann", Role.EDITOR, (Role.EDITOR, "data_type:part"), (Role.VIEWER, "*"))
    with pytest.raises(AccessDenied, match="EDITOR on source 'mine'"):
        world.sources.add(asked, by=seeing, request_id="once")


@pytest.mark.parametrize(
    "table",
    [
        "main.blade.salaries",
        "main.BLADE.Salaries",
        "main.blade.salaries@v1",
        "system.access.audit",
        "main.information_schema.tables",
    ],
)
def test_a_source_is_no_way_to_a_table_that_one_may_not_read(world: World, table: str) -> None:
    ann = called_by("ann", Role.EDITOR, (Role.EDITOR, "data_type:part"), (Role.VIEWER, "*"))
    names = dict(zip(("catalog", "schema", "table"), table.split("."), strict=True))
    config = replace(a_source().config, **names)

    with pytest.raises(Invalid, match=r"is no table that somebody with the role EDITOR on some sources only may name"):
        world.sources.update(replace(a_source(), name="parts", config=config), {"config"}, by=ann)
    for name in ("mine", "salaries"):
        with pytest.raises(Invalid, match=r"is no table that"):
            world.sources.add(replace(a_source(), name=name, data_type="part", config=config), by=ann)
    assert world.sources.get("parts", by=ann).config.table == "parts"


def test_a_source_over_a_new_table_or_one_that_one_reads_is_for_its_editor(make: Callable[..., World]) -> None:
    world = make()
    world.add("parts", "part")
    ann = called_by("ann", Role.EDITOR, (Role.EDITOR, "data_type:part"))
    root = called_by("root", Role.EDITOR, (Role.EDITOR, "*"))

    for caller, table in ((ann, "parts"), (ann, "new"), (root, "parts")):
        new = replace(a_source(), name="more", data_type="part", config=replace(a_source().config, table=table))
        with pytest.raises(Invalid, match="has no default"):  # no warehouse: the next step
            world.sources.add(new, by=caller)


# ---------------------------------------------------------------------------------------------------------- jobs


@pytest.mark.parametrize(("first", "second"), [("ann", "ben"), ("a", "a/b")])
def test_a_request_id_is_that_of_its_principal(world: World, first: str, second: str) -> None:
    one, other = (called_by(name, Role.OPERATOR, (Role.OPERATOR, "*")) for name in (first, second))

    job = world.start(by=one, request_id="b/once")

    assert world.start(by=one, request_id="b/once").job_id == job.job_id
    assert world.start(by=other, request_id="b/once").job_id != job.job_id
    assert world.start(by=other, request_id="once").job_id != job.job_id
    assert world.start(by=called("ann"), request_id="b/once").job_id != job.job_id


def test_a_request_id_is_everybodys_where_nobody_signs_in(world: World) -> None:
    assert world.start(by=called("ann"), request_id="x").job_id == world.start(by=called("ben"), request_id="x").job_id


def test_a_repeated_start_is_no_way_to_a_job_that_one_may_not_start_any_more(world: World) -> None:
    def ann(role: Role) -> Caller:
        return called_by("ann", Role.OPERATOR, (role, "source:parts"), (Role.OPERATOR, "source:salaries"))

    world.start(by=ann(Role.OPERATOR), request_id="once")

    with pytest.raises(AccessDenied, match="OPERATOR"):
        world.start(by=ann(Role.VIEWER), request_id="once")


def test_a_retry_is_checked_as_the_first_start_was(world: World) -> None:
    ann = called_by("ann", Role.OPERATOR, (Role.OPERATOR, "source:parts"))
    job = world.start(by=ann)
    world.fail(job)
    viewer = called_by("ann", Role.OPERATOR, (Role.VIEWER, "source:parts"), (Role.OPERATOR, "source:salaries"))

    with pytest.raises(AccessDenied, match=f"OPERATOR on job {job.job_id!r}"):
        world.jobs.retry_failed(job.job_id, by=viewer, request_id="once")
    child = world.jobs.retry_failed(job.job_id, by=ann, request_id="once")
    assert child.parent_job_id == job.job_id
    with pytest.raises(AccessDenied):
        world.jobs.retry_failed(job.job_id, by=viewer, request_id="once")


def test_a_job_is_not_retried_over_a_source_that_is_of_another_data_type_now(world: World) -> None:
    job = world.start()
    world.fail(job)
    world.execute("UPDATE source SET data_type = 'thing' WHERE name = 'parts'")

    with pytest.raises(Precondition, match="is of data type 'part', and its source now of 'thing'; start it anew"):
        world.jobs.retry_failed(job.job_id, by=called())


def test_one_principal_has_so_many_jobs_that_are_not_final(make: Callable[..., World]) -> None:
    world = make(principal_jobs=2)
    world.add("parts", "part")
    ann, ben = (called_by(name, Role.OPERATOR, (Role.OPERATOR, "*")) for name in ("ann", "ben"))
    job = world.start(by=ann)
    world.start(by=ann)

    with pytest.raises(QuotaExceeded, match=r"'ann' has 2 jobs that are not final.*BLADE_PRINCIPAL_JOBS") as caught:
        world.start(by=ann)
    assert caught.value.retry_after_s > 0
    world.start(by=ben)
    for _ in range(3):
        world.start(by=called())  # nobody signs in there
    world.jobs.control.cancel(job.job_id, by=ann)
    world.start(by=ann)


# ---------------------------------------------------------------------------------------------------------- redaction


def test_what_may_quote_a_row_is_for_readers(world: World) -> None:
    job = world.start(sql=WORDS)
    world.fail(job)
    viewer, reader = (
        called_by(role.name, Role.VIEWER, (role, "data_type:part")) for role in (Role.VIEWER, Role.READER)
    )

    whole = world.jobs.show.get(job.job_id, by=reader)
    assert for_caller(whole, reader, ()) is whole
    assert "the row" in repr(whole)
    assert whole.spec.sql == WORDS

    shown = for_caller(whole, viewer, ())
    assert shown.redacted
    assert "the row" not in repr(shown)
    assert "words of the SQL" not in repr(shown)
    assert (shown.error_reason, shown.status, shown.error_count) == ("WAREHOUSE_REFUSED", "FAILED", 1)
    [summary] = shown.error_summaries
    [sample] = summary.samples
    assert (summary.count, sample.reason, sample.field, sample.attempts, sample.redacted) == (
        1,
        "ITEM_REJECTED",
        "tail",
        3,
        True,
    )


def test_item_errors_and_lists_are_redacted_for_each_job_as_its_source_is(world: World) -> None:
    jobs = {name: world.start(name) for name in ("parts", "salaries")}
    for job in jobs.values():
        world.fail(job)
    ann = called_by("ann", Role.VIEWER, (Role.VIEWER, "*"), (Role.READER, "source:parts"))

    listed = {job.spec.source: job for job in world.jobs.show.list(by=ann)[0]}
    errors = {name: world.jobs.show.errors(job.job_id, by=ann)[0] for name, job in jobs.items()}

    assert [listed[name].redacted for name in ("parts", "salaries")] == [False, True]
    assert (listed["salaries"].spec.sql, listed["salaries"].error_message) == ("", "")
    assert [(error.row_json, error.item_id, error.redacted) for error in errors["parts"]] == [(ROW, "the row", False)]
    [redacted] = errors["salaries"]
    assert (redacted.row_json, redacted.item_id, redacted.message, redacted.redacted) == ("", "", "", True)
    assert (redacted.reason, redacted.stage) == ("ITEM_REJECTED", "UPLOAD")


def test_item_errors_of_a_job_that_one_may_not_see_are_those_of_none(world: World) -> None:
    job = world.start("salaries")
    world.fail(job)
    ann = called_by("ann", Role.VIEWER, (Role.ADMIN, "source:parts"))

    for job_id in (job.job_id, "job-none"):
        with pytest.raises(NotFound, match=f"there is no job '{job_id}'"):
            world.jobs.show.errors(job_id, by=ann)
