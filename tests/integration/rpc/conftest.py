"""A real gRPC server in a thread, over a core made by hand: each test puts in the functions it needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from tests.support.loops import LoopThread

from blade_server.app.policies import principal_limits, rpc_policy
from blade_server.core.access.door import Door
from blade_server.core.audit.refusals import Refusals
from blade_server.core.jobs.redaction import for_caller, may_read
from blade_server.core.jobs.watch import Feed
from blade_server.model import Job
from blade_server.model.policy import AccessPolicy
from blade_server.rpc.server import Core, RpcServer
from blade_server.rpc.threads import Threads
from blade_server.settings import Settings

TIMEOUT_S = 60.0


async def _nothing(job_id: str) -> None: ...


class HandMade(SimpleNamespace):
    """A part of core, function by function; a function that does not ask who calls is not told."""

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if not inspect.isfunction(value) and not inspect.ismethod(value):
            return value
        asks = "by" in inspect.signature(value).parameters

        def call(*args: Any, by: Any = None, **kwargs: Any) -> Any:
            return value(*args, by=by, **kwargs) if asks else value(*args, **kwargs)

        return call


class RpcWorld:
    """The server, its hand-made core, a channel to it, and the jobs that `Feed` reads."""

    def __init__(self, door: Door | None = None, **settings: Any) -> None:
        self.sources = HandMade()
        self.queries = HandMade()
        self.ingest = HandMade()
        refusals = Refusals(SimpleNamespace(note=lambda *_: True))  # type: ignore[arg-type]
        self.audit = SimpleNamespace(refusals=refusals, log=HandMade())
        # GetJob asks `get` then, which a test puts in place.
        show = HandMade(
            get_quickly=_nothing,
            tell_rows=lambda job: False,
            may_read=lambda job, *, by: may_read(job, by, ("UNCLASS",)),
            for_caller=lambda job, *, by: for_caller(job, by, ("UNCLASS",)),
        )
        self.jobs = HandMade(show=show, control=HandMade())
        self.stored: dict[str, Job] = {}
        self.settings = Settings(**({"port": 0} | settings))
        # Nobody signs in here unless a test says so, and nothing is looked up.
        self.door = door or Door(AccessPolicy(required=False), SimpleNamespace())  # type: ignore[arg-type]
        self._loop = LoopThread()
        self.submit, self.run = self._loop.submit, self._loop.run
        try:
            self.run(self._start())
        except BaseException:
            self._loop.close()
            raise
        self.address = f"127.0.0.1:{self.server.port}"
        self.channel = grpc.insecure_channel(self.address)

    async def _start(self) -> None:
        self.feed = Feed(self._read, max_watchers=self.settings.max_watchers, heartbeat_s=0.5)
        self.feed.start()
        parts: Any = {
            "sources": self.sources,
            "queries": self.queries,
            "ingest": self.ingest,
            "jobs": self.jobs,
            "audit": self.audit,
            "rights": SimpleNamespace(),
            "codes": SimpleNamespace(),
            "syncs": SimpleNamespace(),
            "destinations": SimpleNamespace(),
            "notifications": SimpleNamespace(),
        }
        threads = Threads(stored=self.settings.database_pool_size, streams=self.settings.max_direct_queries)
        core = Core(**parts, feed=self.feed)
        self.server = RpcServer(
            rpc_policy(self.settings),
            threads,
            door=self.door,
            core=core,
            limits=principal_limits(self.settings),
            open_contract=False,
        )
        await self.server.start()

    def _read(self, job_ids: Any) -> list[Job]:
        return [self.stored[job_id] for job_id in job_ids if job_id in self.stored]

    def store(self, job: Job) -> None:
        self.stored[job.job_id] = job
        self.feed.ring([job.job_id])

    def stop(self, grace_s: float = 0.0) -> None:
        self.channel.close()
        self.run(self.feed.close())
        self.run(self.server.stop(grace_s))
        self._loop.close()


@pytest.fixture
def make_world() -> Iterator[Callable[..., RpcWorld]]:
    worlds = []

    def make(**settings: Any) -> RpcWorld:
        worlds.append(RpcWorld(**settings))
        return worlds[-1]

    yield make
    for world in worlds:
        world.stop()


@pytest.fixture
def world(make_world: Callable[..., RpcWorld]) -> RpcWorld:
    return make_world()


class Details:
    """The google.rpc details of a failed call."""

    def __init__(self, error: grpc.RpcError) -> None:
        trailers = dict(error.trailing_metadata() or ())
        self.status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])

    def of(self, kind: Any) -> Any:
        for detail in self.status.details:
            message = kind()
            if detail.Unpack(message):
                return message
        return None

    @property
    def info(self) -> error_details_pb2.ErrorInfo:
        return self.of(error_details_pb2.ErrorInfo)


def failure(call: Callable[[], Any]) -> grpc.RpcError:
    """The error that the call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value
