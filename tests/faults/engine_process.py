"""The engine alone in a process of its own, forked from one that has imported it: it can be killed at any moment, and
another is there at once.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["blade_server.core.engine.runner", "blade_server.app.policies"])


@dataclass(frozen=True)
class Moment:
    """When a process kills itself: before or after the `nth` call of `owner.method` (`blade_server...:Class`)."""

    owner: str
    method: str
    after: bool = False
    nth: int = 1

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.owner.partition(':')[2]}.{self.method} {self.nth}"


class EngineProcess:
    """A running engine."""

    def __init__(self, settings: Mapping[str, Any], url: str, moment: Moment | None = None) -> None:
        self._process = _FORKS.Process(target=_run, args=(dict(settings), url, moment), daemon=True)
        self._process.start()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.join()


def _run(settings: dict[str, Any], url: str, moment: Moment | None) -> None:
    from blade_server.app.policies import engine_policy
    from blade_server.catalog import Catalog
    from blade_server.core.destinations.catalogs import Catalogs
    from blade_server.core.engine.run import EngineTools
    from blade_server.core.engine.runner import Runner
    from blade_server.settings import Settings
    from blade_server.storage.database import Database
    from blade_server.storage.engine.stores import Stores

    made = Settings(**settings)
    if moment is not None:
        _arm(moment)
    client = Catalog(made.catalog_url, timeout_s=made.catalog_timeout_s, settle_s=made.catalog_settle_s)
    stores = Stores.over(Database(url, pool_size=8), Database(url, pool_size=4))
    Runner(EngineTools.of(engine_policy(made), stores, Catalogs(client))).start()
    while True:
        signal.pause()


def _arm(moment: Moment) -> None:
    module, _, name = moment.owner.partition(":")
    owner = getattr(importlib.import_module(module), name)
    method: Callable[..., Any] = getattr(owner, moment.method)
    calls = 0

    def armed(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        mine = calls
        if mine == moment.nth and not moment.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*args, **kwargs)
        if mine == moment.nth and moment.after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, moment.method, armed)
