"""GetJob's way to PostgreSQL: one connection that the event loop itself drives, and one prepared statement.

A read through the pool costs two switches between threads and the statement's planning, which is more than PostgreSQL
takes for the rows. Nothing is remembered of a job: each answer is a read that began after it was asked for, so a caller
who has seen a change never sees the state before it. Calls that come during a read share the next one.

It is the quick way and not the only one: where it gives nothing (a pooler in transaction mode, no connection yet, one
that broke or is silent, no such job, one so large that it would hold up the loop) the caller asks `JobStore` in a
thread, which waits, tries again, and says what is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from functools import lru_cache
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_WRITE

from blade_server.model import Job
from blade_server.storage import connect
from blade_server.storage.connect import Pooling
from blade_server.storage.database import Database
from blade_server.storage.jobs.documents import job_from_document, shown

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 5.0
_RETRY_S = 1.0
_MAX_CHARS = 64 * 1024
_SETTINGS = (
    # One plan for ever, so it must not be made for tables that are still small: along the indexes.
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    f"PREPARE shown (text[]) AS {shown(job_ids='$1', history='true')}",
)

_decoded = lru_cache(maxsize=128)(job_from_document)
"""The same document is the same job, whenever it was read: what was made of the object need not be made again."""


class LiveJobs:
    """Belongs to one event loop, but for making it."""

    def __init__(self, database: Database) -> None:
        """Nothing is opened yet."""
        self._database = database
        self._link: _Link | None = None
        self._connecting = False
        self._retry_at_s = 0.0
        self._closed = database.target.pooling is Pooling.TRANSACTION  # which keeps no prepared statements

    async def get(self, job_id: str) -> Job | None:
        """The job as last committed, with error summaries and history. None: ask JobStore."""
        link = self._open_link()
        return None if link is None else await link.ask(job_id)

    def close(self) -> None:
        """Lets the connection go; whoever waits gets None."""
        self._closed = True
        if self._link is not None:
            self._link.leave()

    def _open_link(self) -> _Link | None:
        link = self._link
        if link is not None and link.open:
            if link.generation == self._database.generation:
                return link
            link.leave()
        if not (self._connecting or self._closed) and time.monotonic() >= self._retry_at_s:
            self._connecting = True
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._connect, args=(loop,), name="live-jobs-connect", daemon=True).start()
        return None

    def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread, because libpq waits for the resolver of host names."""
        generation, connection = self._database.generation, None
        try:
            connection = _connected(self._database)
        except (psycopg2.Error, OSError) as exc:
            log.debug("no quick way to PostgreSQL: %s", str(exc).strip())
        try:
            loop.call_soon_threadsafe(self._take, connection, generation)
        except RuntimeError:  # the loop is closed
            if connection is not None:
                connection.close()

    def _take(self, connection: Any, generation: int) -> None:
        self._connecting = False
        self._retry_at_s = time.monotonic() + _RETRY_S
        if connection is not None:
            self._link = _Link(connection, generation)
            if self._closed:
                self._link.leave()


class _Link:
    """One connection; its callbacks drive it, and no task has to wake up in between."""

    def __init__(self, connection: Any, generation: int) -> None:
        self.generation = generation
        self.open = True
        self._connection = connection
        self._socket = connection.fileno()  # a connection that breaks does not know it any more
        self._cursor = connection.cursor()
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, list[asyncio.Future[Job | None]]] = {}
        self._asked: dict[str, list[asyncio.Future[Job | None]]] = {}
        self._overdue: asyncio.TimerHandle | None = None
        self._writing = False
        # For its whole life: an idle connection that breaks is noticed, too.
        self._loop.add_reader(self._socket, self._advance)

    async def ask(self, job_id: str) -> Job | None:
        answer: asyncio.Future[Job | None] = self._loop.create_future()
        self._waiting.setdefault(job_id, []).append(answer)
        if not self._asked:
            self._send()
        return await answer

    def _send(self) -> None:
        self._asked, self._waiting = self._waiting, {}
        self._overdue = self._loop.call_later(ANSWER_TIMEOUT_S, self.leave)
        try:
            self._cursor.execute("EXECUTE shown(%s)", (list(self._asked),))
        except psycopg2.Error:
            self.leave()
        else:
            self._advance()

    def _advance(self) -> None:
        try:
            state = self._connection.poll()
            self._write_on(state == POLL_WRITE)
            if state == POLL_OK and self._asked:
                self._hand_out([document for (document,) in self._cursor])
        except psycopg2.Error as exc:
            log.debug("the quick way to PostgreSQL broke: %s", str(exc).strip())
            self.leave()

    def _write_on(self, writing: bool) -> None:
        if writing != self._writing:
            self._writing = writing
            if writing:
                self._loop.add_writer(self._socket, self._advance)
            else:
                self._loop.remove_writer(self._socket)

    def _hand_out(self, documents: list[str]) -> None:
        assert self._overdue is not None
        self._overdue.cancel()
        asked, self._asked = self._asked, {}
        found = {job.job_id: job for job in map(_job, documents) if job is not None}
        for job_id, answers in asked.items():
            _answer(answers, found.get(job_id))
        if self._waiting:
            self._send()

    def leave(self) -> None:
        """Harmless if called again."""
        if self.open:
            self.open = False
            if self._overdue is not None:
                self._overdue.cancel()
            self._loop.remove_reader(self._socket)
            self._write_on(False)
            self._connection.close()
            for answers in (*self._asked.values(), *self._waiting.values()):
                _answer(answers, None)


def _job(document: str) -> Job | None:
    """None: too large, or nothing that this version can read; JobStore says so to its caller and to nobody else."""
    try:
        return _decoded(document) if len(document) <= _MAX_CHARS else None
    except Exception:
        return None


def _answer(answers: list[asyncio.Future[Job | None]], job: Job | None) -> None:
    for answer in answers:
        if not answer.done():  # a caller may have left
            answer.set_result(job)


def _connected(database: Database) -> Any:
    ready = connect.within(ANSWER_TIMEOUT_S)
    connection = connect.asynchronous(database.target, ready)
    try:
        with connection.cursor() as cursor:
            for statement in _SETTINGS:
                cursor.execute(statement)
                connect.finish(connection, ready)
    except BaseException:
        connection.close()
        raise
    return connection
