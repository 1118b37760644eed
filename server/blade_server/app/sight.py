"""What can be seen of a server from outside while it runs: probes, and the metrics of all its processes."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from importlib.metadata import version

from prometheus_client import ProcessCollector
from prometheus_client.exposition import choose_encoder

from blade_server.app.engine_here import EngineHere
from blade_server.app.gauges import Gauges, LoopLag, Values, pools, standing
from blade_server.app.readiness import Readiness
from blade_server.app.state import State
from blade_server.app.worker_processes import Workers
from blade_server.metrics.families import CATALOG_UP, REGISTRY, WAREHOUSE_UP
from blade_server.metrics.sums import Sums, Together
from blade_server.settings import Settings
from blade_server.storage.clock import Clock
from blade_server.storage.pulse import Pulse
from blade_server.storage.standing import StandingReader
from blade_server.web.admin import Admin


class Sight:
    """Belongs to the event loop it is opened in."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is to be seen yet."""
        self.readiness = Readiness()
        self.of_workers = Sums([CATALOG_UP, WAREHOUSE_UP])
        """What the job processes of this server have recorded."""
        self.admin_port = 0
        """0: there is none."""
        self._host, self._port = settings.admin_host, settings.listens_for_admin_on
        self._gauges, self._lag = Gauges(), LoopLag()
        self._all = Together([REGISTRY, self._gauges, ProcessCollector(registry=None)], self.of_workers)

    async def open(self, stack: AsyncExitStack) -> None:
        """Listens, first of all and to the end. Raises OSError naming the address if the port is taken."""
        if self._port is not None:
            admin = Admin(self._host, self._port, self.readiness.checks, self._scrape)
            stack.push_async_callback(admin.stop)
            self.admin_port = await admin.start()
        stack.callback(self._lag.stop)
        self._lag.start()

    def follow(self, state: State, jobs: EngineHere | Workers, stack: AsyncExitStack) -> Pulse:
        """Shows how these stand. The pulse is for whoever stops the server to stop."""
        pulse = Pulse(state.target, state.clock, self.readiness.look)
        stack.callback(pulse.stop)
        reader = StandingReader(state.target)
        stack.callback(reader.close)
        self.readiness.follow(pulse, state.clock)
        self._gauges.read(partial(self._of_this_server, jobs, state.clock))
        self._gauges.read(partial(pools, {"main": state.database, **jobs.pools}))
        self._gauges.read(partial(standing, reader))
        pulse.start()
        return pulse

    def _of_this_server(self, jobs: EngineHere | Workers, clock: Clock) -> dict[str, Values]:
        return {
            "blade_ready": {(): self.readiness.ready},
            "blade_build_info": {(version("blade"),): 1},
            "blade_worker_processes": {(): jobs.up},
            "blade_event_loop_lag_seconds": {(): self._lag.take()},
            "blade_postgres_up": {(): self.readiness.postgres_up},
            "blade_clock_offset_seconds": {(): clock.offset_s},
        }

    def _scrape(self, accept: str) -> tuple[bytes, str]:
        encode, kind = choose_encoder(accept)
        return encode(self._all), kind
