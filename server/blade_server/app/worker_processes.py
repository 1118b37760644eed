"""Job processes beside the one that serves: the same interpreter, started again when they die, gone when it dies.

One process is held by its interpreter's lock, however many jobs it runs. Each worker is `python -m blade_server
worker`, a process in a session of its own that runs jobs and listens on no port. Its standard input is its leash: the
parent's orders come on it, and its end is the parent's end, by kill -9 too, on every POSIX system. Its standard output
is for one line, that it is ready or never will be, and from then on for what it has recorded, a line each second; its
log goes where the parent's goes.

No job depends on what is here. A worker that dies is a server that dies: others take its jobs over by their leases.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

from blade_server import logs
from blade_server.metrics.sums import Sums
from blade_server.settings import Settings
from blade_server.storage.database import Database

log = logging.getLogger(__name__)

READY = b"ready\n"
UNFIT = b"unfit\n"
RUN = b"run\n"
STOP = b"stop\n"
READ_AGAIN = b"read again\n"

_LAST_WORDS_S = 4.5  # above what a worker takes beyond the drain
_MAX_LINE_BYTES = 16 << 20  # of what a worker has recorded while its parent was held up
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
"""A worker that lived so long did not die of its start: its successor is started after the shortest pause."""


class WorkerError(Exception):
    """A worker did not come up. One sentence for people; the worker has said why on standard error."""


class UnfitError(WorkerError):
    """Nor will any that is started later: this release may not run on the tables, which a newer one has changed."""


class Workers:
    """The half of a server that runs jobs, as processes. Belongs to one event loop."""

    pools: Mapping[str, Database] = {}
    """Connections to PostgreSQL besides the state's, in this process: none."""

    def __init__(self, settings: Settings, give_up: Callable[[WorkerError], None], sums: Sums) -> None:
        """Nothing is started yet.

        `give_up` is called when it makes no sense that this server goes on; `sums` gets what the workers record.
        """
        self._give_up = give_up
        self._drain_timeout_s = settings.drain_timeout_s
        self._workers = [_Worker(number, sums) for number in range(1, settings.workers + 1)]
        self._keepers: list[asyncio.Task[None]] = []

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids, in the order of the workers' numbers."""
        return tuple(worker.pid for worker in self._workers)

    @property
    def up(self) -> int:
        """How many are up."""
        return sum(worker.up for worker in self._workers)

    async def open(self) -> None:
        """Returns when all are up. They claim nothing yet. Raises WorkerError."""
        await asyncio.gather(*(worker.launch() for worker in self._workers))

    def start(self) -> None:
        """They begin to claim jobs, and are kept up from here on."""
        for worker in self._workers:
            worker.order(RUN)
            self._keepers.append(asyncio.create_task(self._keep_up(worker), name=f"worker {worker.number}"))

    def wake(self) -> None:
        """Nothing: PostgreSQL rings the workers itself."""

    def ring(self, job_ids: Collection[str]) -> None:
        """Nothing, as `wake`."""

    def read_again(self) -> None:
        """Each reads its files again."""
        for worker in self._workers:
            worker.order(READ_AGAIN)

    async def stop(self) -> None:
        """Each hands its jobs back and ends; all side by side. Harmless if called again, and before they are up."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self._keepers.clear()
        await asyncio.gather(*(worker.stop(self._drain_timeout_s + _LAST_WORDS_S) for worker in self._workers))

    async def _keep_up(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        pause_s, began_s = _FIRST_PAUSE_S, loop.time()
        how = await worker.ended()
        while True:
            if loop.time() - began_s > _STEADY_S:
                pause_s = _FIRST_PAUSE_S
            log.warning("%s; its jobs go on elsewhere, it is started again in %g s", how, pause_s)
            await asyncio.sleep(pause_s)
            pause_s, began_s = min(2 * pause_s, _LONGEST_PAUSE_S), loop.time()
            try:
                await worker.launch()
            except UnfitError as exc:
                log.error("%s; this server stops, newer ones run the jobs", exc)
                self._give_up(exc)
                return
            except WorkerError as exc:
                how = str(exc)
                continue
            worker.order(RUN)
            log.info("%s is up again", worker.name)
            how = await worker.ended()


class _Worker:
    """One of them: the same number, one process after the other."""

    def __init__(self, number: int, sums: Sums) -> None:
        self.number = number
        self._sums = sums
        self._listening: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._ready = False

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def up(self) -> bool:
        return self._ready and self._process is not None and self._process.returncode is None

    @property
    def name(self) -> str:
        return f"worker {self.number} (process {self.pid})"

    async def launch(self) -> None:
        """Starts a process and waits until it is ready. Raises WorkerError if there is none then."""
        self._process, self._ready = None, False
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "blade_server", "worker", str(self.number)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_MAX_LINE_BYTES,
                env=_environment(),
                start_new_session=True,  # Ctrl-C goes to the parent, which stops all in their order
            )
        except OSError as exc:
            raise WorkerError(f"worker {self.number} cannot be started: {exc}") from exc
        assert process.stdout is not None
        said = await process.stdout.readline()
        if said == UNFIT:
            await process.wait()
            raise UnfitError(f"worker {self.number} may not run on the tables of a newer release, nor may this server")
        if said != READY:
            raise WorkerError(f"{await self.ended()} before it was ready")
        self._ready = True
        self._listening = asyncio.create_task(self._listen(process.stdout), name=f"numbers of worker {self.number}")

    async def _listen(self, output: asyncio.StreamReader) -> None:
        """Takes in what it has recorded, until its end."""
        while True:
            try:
                line = await output.readline()
                if not line:
                    break
                self._sums.take(self.number, line)
            except ValueError as exc:  # it was killed within a line, or that is too long
                log.warning("%s: some of what it has recorded is left out of the metrics: %s", self.name, exc)
        self._sums.ended(self.number)

    def order(self, order: bytes) -> None:
        """Tells it what to do; nothing happens if it is dead."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(order)

    async def ended(self) -> str:
        """How it ended, once it has."""
        assert self._process is not None
        status = await self._process.wait()
        return f"{self.name} was ended by {_signal_name(-status)}" if status < 0 else f"{self.name} ended with {status}"

    async def stop(self, patience_s: float) -> None:
        """Makes it end: by an order, or by kill -9 if it takes too long or has nothing to lose yet."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        if self._ready:
            self.order(STOP)
            try:
                await asyncio.wait_for(process.wait(), patience_s)
            except TimeoutError:
                log.warning("%s does not end and is killed; its jobs are taken over", self.name)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _environment() -> dict[str, str]:
    """The parent's own, without what its command line has overruled and what only calls need."""
    return os.environ | logs.environment() | {"BLADE_PORT": "0", "BLADE_HTTP_PORT": "0", "BLADE_WORKERS": "0"}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
