"""The engine of this process: it claims jobs and runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack

from blade_server.app.policies import engine_policy
from blade_server.app.state import URGENT_CONNECTIONS, State, seen_folder
from blade_server.core.engine.run import EngineTools
from blade_server.core.engine.runner import Runner
from blade_server.lineage import Lineage
from blade_server.settings import Settings
from blade_server.storage.database import Database
from blade_server.storage.engine.stores import Stores
from blade_server.storage.engine.witness import SeenFile, Witness


class EngineHere:
    """Runs jobs in this process. With `--workers` each job process has one, and the server has none."""

    pids: tuple[int, ...] = ()
    up = 0
    """Job processes of their own that are up."""

    def __init__(self, settings: Settings, state: State, stack: AsyncExitStack) -> None:
        """Nothing runs yet; what it opens is closed with the stack. Raises StorageUnavailable."""
        urgent = Database(state.target, pool_size=URGENT_CONNECTIONS)
        self.pools = {"urgent": urgent}
        """Connections to PostgreSQL besides the state's."""
        stack.callback(urgent.close)
        seen = SeenFile(seen_folder(settings), state.database)
        stack.callback(seen.close)
        stores = Stores.over(state.database, urgent, witness=Witness(seen), clock=state.clock)
        self._policy = engine_policy(settings)
        self._lineage = Lineage.from_environment()
        self._runner = Runner(EngineTools.of(self._policy, stores, state.catalogs, self._lineage))

    async def open(self) -> None:
        """Has nothing to wait for."""

    def start(self) -> None:
        """Begins to claim jobs."""
        self._runner.start()

    def wake(self) -> None:
        """Jobs may wait. Any thread."""
        self._runner.wake()

    def ring(self, job_ids: Collection[str]) -> None:
        """These jobs have changed. Any thread."""
        self._runner.ring(job_ids)

    def read_again(self) -> None:
        """Nothing: what is read again is this process's."""

    async def stop(self) -> None:
        """Hands all jobs back. Harmless if called again."""
        await asyncio.to_thread(self._runner.stop, self._policy.drain_s)
        await asyncio.to_thread(self._lineage.close)
