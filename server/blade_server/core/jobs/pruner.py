"""Takes old jobs and the ledgers of ended ones out of PostgreSQL, in a thread of its own: beats never wait for it."""

from __future__ import annotations

import logging
import threading
import time

from blade_server.errors import BladeError
from blade_server.storage.retention import Retention

log = logging.getLogger(__name__)

EVERY_S = 15.0
AFTER_FAILURE_S = 60.0
QUIET_RUNS_EVERY_S = 300.0


class Pruner:
    """Every replica has one; the storage lets one at a time work."""

    def __init__(self, retention: Retention, *, older_than_s: float) -> None:
        self._retention = retention
        self._older_than_s = older_than_s
        self._quiet_runs_s = float("-inf")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="pruner", daemon=True)

    def start(self) -> None:
        """Begins to prune."""
        self._thread.start()

    def stop(self) -> None:
        """Returns when the deletion under way, of a second at most, is done."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self._round()
                pause_s = EVERY_S
            except BladeError as exc:
                log.warning("pruning goes on in %.0f s: %s", AFTER_FAILURE_S, exc.message)
                pause_s = AFTER_FAILURE_S
            except Exception:
                log.exception("pruning met a bug and goes on in %.0f s", AFTER_FAILURE_S)
                pause_s = AFTER_FAILURE_S
            self._stopping.wait(pause_s)

    def _round(self) -> None:
        self._retention.forget_servers()
        self._retention.forget_sessions()
        while not self._stopping.is_set() and self._retention.drop_ledgers():
            pass
        while not self._stopping.is_set() and self._retention.prune(older_than_s=self._older_than_s):
            pass
        for forget in (self._retention.forget_fires, self._retention.forget_messages):
            while not self._stopping.is_set() and forget():
                pass
        if time.monotonic() >= self._quiet_runs_s + QUIET_RUNS_EVERY_S:
            self._quiet_runs_s = time.monotonic()
            self._retention.forget_costs()
            for prune in (self._retention.prune_quiet_runs, self._retention.thin_messages):
                while not self._stopping.is_set() and prune():
                    pass
