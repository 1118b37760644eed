"""The part of a server that answers calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

from blade_server.addresses import is_loopback
from blade_server.app.operator import OwnToken, admit
from blade_server.app.policies import (
    access_policy,
    destination_policy,
    direct_policy,
    job_policy,
    notify_policy,
    principal_limits,
    rpc_policy,
    web_policy,
)
from blade_server.app.readiness import Readiness
from blade_server.app.state import State, tokens_folder
from blade_server.core.access.codes import Codes
from blade_server.core.access.door import Door
from blade_server.core.access.page_address import PageAddress
from blade_server.core.access.rights import Rights
from blade_server.core.access.sessions import Sessions
from blade_server.core.audit.audit import Audit
from blade_server.core.destinations.destinations import Destinations
from blade_server.core.direct.ingest import Ingest
from blade_server.core.direct.queries import Queries
from blade_server.core.due.scheduler import Scheduler
from blade_server.core.due.starts import Starts
from blade_server.core.jobs.jobs import Jobs
from blade_server.core.jobs.watch import Feed
from blade_server.core.notify.notifications import Notifications
from blade_server.core.notify.sender import Sender
from blade_server.core.sources.sources import Sources
from blade_server.core.syncs.syncs import Syncs
from blade_server.oidc import Provider
from blade_server.rpc.server import Core, RpcServer
from blade_server.rpc.threads import Threads
from blade_server.settings import Settings
from blade_server.storage.access import AccessStore
from blade_server.storage.audit import AuditStore
from blade_server.storage.destinations import DestinationStore
from blade_server.storage.jobs.show import JobStore
from blade_server.storage.notifications import NotificationStore
from blade_server.storage.outbox import Outbox
from blade_server.storage.rights import RightsStore
from blade_server.storage.sessions import SessionStore
from blade_server.storage.sources import SourceStore
from blade_server.storage.sync.due import DueStore
from blade_server.web.app import Web


class Calls:
    """Answers calls, over gRPC and HTTP. Belongs to the event loop it is made in."""

    def __init__(self, settings: Settings, state: State, jobs_wait: Callable[[], None], readiness: Readiness) -> None:
        """Listens nowhere yet. `jobs_wait` is called whenever a call has stored a job; `readiness` is what health
        says.
        """
        self._settings = settings
        self._readiness = readiness
        self._saying = asyncio.Lock()
        self._job_store, source_store = JobStore(state.database), SourceStore(state.database)
        direct, access = direct_policy(settings), access_policy(settings)
        self._access_store = AccessStore(state.database)
        session_store = SessionStore(state.database)
        self._provider = None if access.oidc is None else Provider(access.oidc)
        self.door = Door(access, self._access_store, self._provider, session_store)
        self._web_policy = web = web_policy(settings)
        self._sessions = Sessions(self.door, session_store, self._provider.code_flow if self._provider else None)
        self._page = PageAddress(url=web.public_url, secure=web.listen.tls_cert_file is not None)
        self._own_token = OwnToken(self._access_store, self.door.server, tokens_folder(settings))
        self._audit = Audit.over(AuditStore(state.database), settings.audit_anchor_file)
        recorder = self._audit.recorder
        sources = Sources(direct.source, source_store, recorder)
        queries = Queries(direct, sources, recorder)
        jobs = Jobs.over(
            job_policy(settings), state.database, self._job_store, sources, recorder=recorder, wake=jobs_wait
        )
        syncs = Syncs.over(
            job_policy(settings),
            state.database,
            jobs.show,
            sources,
            state.catalogs,
            recorder=recorder,
            wake=jobs_wait,
        )
        due = DueStore(state.database, syncs.new_jobs)
        self._scheduler = Scheduler(due, Starts(due, syncs.jobs, sources, self.door))
        notify, outbox = notify_policy(settings), Outbox(state.database)
        self._sender = Sender(notify, outbox)
        self.feed = Feed(self._job_store.get_many, max_watchers=settings.max_watchers)
        self.rpc = RpcServer(
            rpc_policy(settings),
            Threads(stored=settings.database_pool_size, streams=settings.max_direct_queries),
            door=self.door,
            core=Core(
                rights=Rights(RightsStore(state.database), source_store, self.door, settings.classifications),
                codes=Codes(session_store, self._page),
                sources=sources,
                destinations=Destinations(
                    destination_policy(settings),
                    DestinationStore(state.database),
                    state.catalogs.own,
                    recorder,
                ),
                queries=queries,
                ingest=Ingest(direct, sources, state.catalogs, source_store, queries, recorder=recorder),
                jobs=jobs,
                syncs=syncs,
                feed=self.feed,
                audit=self._audit,
                notifications=Notifications(notify, NotificationStore(state.database), outbox, recorder),
            ),
            limits=principal_limits(settings),
            open_contract=access.open_contract,
        )
        self.http_port = 0

    async def listen(self, stack: AsyncExitStack) -> None:
        """Listens for gRPC. Raises ListenError. `stop` is for whoever got this far; the feed closes with the stack."""
        if self._settings.admin_token_file is not None:
            await asyncio.to_thread(admit, self._access_store, self._settings.admin_token_file)
        await asyncio.to_thread(self._audit.start)
        stack.push_async_callback(asyncio.to_thread, self._audit.stop)
        if self._provider is not None:
            stack.callback(self._provider.stop)
            self._provider.start()
        stack.push_async_callback(self._own_token.close)
        stack.callback(self._job_store.live.close)
        self.feed.start()
        stack.push_async_callback(self.feed.close)
        await self.rpc.start(ready=False)
        telling = asyncio.create_task(self._follow_readiness(), name="health")
        stack.callback(telling.cancel)
        self._web = Web(
            self.rpc.local_target,
            self._web_policy,
            self._sessions,
            self._audit.refusals,
            door_key=self.rpc.door_key,
            checks=self._readiness.checks,
        )

    async def listen_for_http(self) -> None:
        """Listens for HTTP, too. Raises ListenError, StorageUnavailable."""
        self.http_port = self._page.port = await self._web.start()
        if self._makes_own_token:
            await self._own_token.open(self.rpc.host, self.rpc.port, self.http_port)

    def start(self) -> None:
        """Begins to start what is due, and to send what is to be told."""
        self._scheduler.start()
        self._sender.start()

    def ring(self, payloads: frozenset[str]) -> None:
        """These jobs have changed, or what stands in the place of one. Any thread."""
        self.feed.ring(payloads)
        self._scheduler.ring(payloads)
        self._sender.ring(payloads)

    def wake(self) -> None:
        """Anything may have changed. Any thread."""
        self.feed.ring_all()
        self._scheduler.wake()
        self._sender.wake()

    @property
    def _makes_own_token(self) -> bool:
        """Whoever can read this user's files on this machine is its operator, unless he says otherwise."""
        settings = self._settings
        return settings.auth == "on" and settings.admin_token_file is None and is_loopback(settings.host)

    async def say_ready(self) -> None:
        """Health says whether the server is ready. Calls are answered all the same."""
        async with self._saying:
            await self.rpc.say_ready(self._readiness.ready)

    async def _follow_readiness(self) -> None:
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(changed.set)

        self._readiness.on_change = tell
        while True:
            await changed.wait()
            changed.clear()
            await self.say_ready()

    async def announce_stop(self) -> None:
        """Load balancers hear of it first, watchers second; other calls still work."""
        self._readiness.stops()
        await self.rpc.announce_stop()
        await self.feed.close()

    async def stop(self) -> None:
        """Lets calls under way end, within the drain limit: those over HTTP, then the others; then tells of them.

        What waits for a PostgreSQL that does not answer waits beside whoever stops the jobs, and not behind him.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._settings.drain_timeout_s
        await self._web.stop(self._settings.drain_timeout_s)
        await self.rpc.stop(max(0.0, deadline_s - loop.time()))
        await asyncio.gather(asyncio.to_thread(self._audit.stop), self._own_token.close())

    async def stop_starting(self) -> None:
        """Starts nothing that is due any more, and sends no more messages; what is under way ends."""
        await asyncio.gather(asyncio.to_thread(self._scheduler.stop), asyncio.to_thread(self._sender.stop))
