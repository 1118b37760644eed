"""One running statement: its state, its thread, its cancel."""

from __future__ import annotations

import logging
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum

from blade_sandbox.warehouse.errors import SqlError
from blade_sandbox.warehouse.lake.duckdb_errors import from_duckdb
from blade_sandbox.warehouse.run.result import Result
from blade_sandbox.warehouse.session.session import Session

log = logging.getLogger(__name__)


class State(Enum):
    """Where a statement is; the last three are final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        """Nothing happens to it any more."""
        return self in (State.FINISHED, State.FAILED, State.CANCELED)


@dataclass(kw_only=True, eq=False)
class Operation:
    """One statement of one session.

    Attributes:
        kind: ``TOperationType`` of the call that started it.
        position: the next row FetchResults hands out.
        timeout_s: it may run so long; None: without end.
        changed_rows: rows a DML statement changed; None for all others.
    """

    session: Session
    kind: int
    guid: bytes = field(default_factory=lambda: uuid.uuid4().bytes)
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    state: State = State.PENDING
    result: Result | None = None
    error: SqlError | None = None
    position: int = 0
    changed_rows: int | None = None
    used: float = field(default_factory=time.monotonic)
    timeout_s: float | None = None
    timed_out: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)
    future: Future[None] | None = None
    _done: threading.Event = field(default_factory=threading.Event)
    _interrupt: Callable[[], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, work: Callable[[Operation], Result]) -> None:
        """Do the work in the calling thread and end in a final state; never raises."""
        with self._lock:
            if self.cancelled.is_set():
                self._end(State.CANCELED)
                return
            self.state = State.RUNNING
        timer = None
        if self.timeout_s is not None:
            timer = threading.Timer(self.timeout_s, self._time_out)
            timer.start()
        try:
            result = work(self)
        except BaseException as exc:
            self._failed(exc)
        else:
            with self._lock:
                if self.cancelled.is_set():
                    result.close()
                    self._stopped()
                else:
                    self.result = result
                    self._end(State.FINISHED)
        finally:
            if timer is not None:
                timer.cancel()

    def _time_out(self) -> None:
        self.timed_out = True
        self.cancel()

    def _stopped(self) -> None:
        """End in the state for a statement that was stopped: by its client, or by its time limit."""
        if not self.timed_out:
            self._end(State.CANCELED)
            return
        self.error = SqlError(
            "QUERY_EXECUTION_TIMEOUT_EXCEEDED",
            "57KD0",
            f"Query has been timed out due to statement timeout: it ran for more than {self.timeout_s:g} seconds.",
        )
        self._end(State.FAILED)

    def _failed(self, exc: BaseException) -> None:
        with self._lock:
            if self.cancelled.is_set():
                self._stopped()
                return
            self.error = from_duckdb(exc)
            if self.error.error_class == "INTERNAL_ERROR":
                log.warning("statement failed", exc_info=exc)
            self._end(State.FAILED)

    def _end(self, state: State) -> None:
        self.state = state
        self._interrupt = None
        self._done.set()

    def interruptible(self, interrupt: Callable[[], None] | None) -> None:
        """Name what stops the work that follows; None: nothing is running."""
        with self._lock:
            self._interrupt = interrupt

    def wait(self, seconds: float) -> State:
        """The state, after waiting so long for a final one."""
        self._done.wait(seconds)
        return self.state

    def cancel(self) -> bool:
        """Stop the statement; False if it had already ended. Returns at once."""
        with self._lock:
            if self.state.is_final:
                return False
            self.cancelled.set()
            if self.future is not None and self.future.cancel():
                self._end(State.CANCELED)
                return True
        threading.Thread(target=self._keep_interrupting, name="warehouse-cancel", daemon=True).start()
        return True

    def _keep_interrupting(self) -> None:
        # DuckDB forgets an interrupt that arrives between two statements, so one call is not enough.
        while not self._done.is_set():
            with self._lock:
                if self._interrupt is not None:
                    self._interrupt()
            self._done.wait(0.01)

    def close(self) -> None:
        """Cancel if still running, and delete the result."""
        self.cancel()
        with self._lock:
            if self.result is not None:
                self.result.close()
