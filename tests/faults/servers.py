"""The BLADE servers of the suite: as many as a scenario asks for, each a process that may be killed at any time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.access import SERVER_ENVIRONMENT
from tests.support.waiting import wait_until

from blade_client import BladeClient
from blade_sandbox.server_process import ServerFailedError, ServerProcess

LEASE_S = 2.0
SETTINGS = {
    "BLADE_LEASE_S": str(LEASE_S),
    "BLADE_LEASE_BEAT_S": "0.4",
    "BLADE_RETRY_BASE_S": "0.05",
    "BLADE_CATALOG_TIMEOUT_S": "2",
    "BLADE_CATALOG_SETTLE_S": "2",
    "BLADE_CATALOG_PATIENCE_S": "5",
    "BLADE_UPLOAD_WORKERS": "4",
    "BLADE_DRAIN_TIMEOUT_S": "5",
    "BLADE_DATABASE_POOL_SIZE": "12",
}
_SERVING = re.compile(r'^\{(?=.*"port": (?P<port>\d+))(?=.*"http_port": (?P<http_port>[1-9]\d*))?.*\}$', re.MULTILINE)


class Replica:
    """One BLADE server. It can be started again, on another port, after it was killed or stopped."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.part = ServerProcess(f"server {name}", log, _SERVING)
        self.settings: Mapping[str, str] | None = None
        self.up = False
        self.frozen = False

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.part.found['port']}"

    def launch(self, environment: Mapping[str, str], settings: Mapping[str, str]) -> None:
        """Starts it; `wait_ready` tells when it serves."""
        # Not the ports it had: while it was away, somebody else may have got them.
        ports = {"BLADE_PORT": "0", "BLADE_HTTP_PORT": "0"}
        self.settings = dict(settings)
        self.part.launch(["serve", "--json"], {**environment, **ports, **settings})

    @property
    def launched(self) -> bool:
        """Whether its process was started and neither stopped nor killed by us."""
        return self.part._process is not None

    @property
    def ended(self) -> bool:
        """Whether its process has ended by itself."""
        return self.part._process is not None and self.part._process.poll() is not None

    def wait_ready(self) -> None:
        """Returns once it serves."""
        self.part.wait_ready()
        self.up = True

    def wait_ended(self, timeout_s: float = 15.0) -> None:
        """Waits for its end after it was told to stop."""
        process = self.part._process
        assert process is not None
        assert process.wait(timeout_s) == 0, self.output()[-3000:]
        self.part.kill()

    def freeze(self) -> None:
        self.frozen = True
        self.part.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.frozen = False
        self.part.send(signal.SIGCONT)

    def stop(self) -> None:
        """Gracefully if it serves."""
        if self.frozen:
            self.thaw()
        if not self.up:
            self.part.kill()  # not serving yet, so that it cannot stop gracefully
            return
        self.up = False
        code = self.part.stop()
        assert code in (0, None), f"server {self.name} ended with {code}:\n{self.output()[-3000:]}"

    def kill(self) -> None:
        self.up = self.frozen = False
        self.part.kill()

    def output(self) -> str:
        return self.part.log.read_text(errors="replace")


class Servers:
    """All of them, on one PostgreSQL; `environment` tells them where everything is."""

    def __init__(self, folder: Path, environment: Callable[[], Mapping[str, str]]) -> None:
        self.replicas: dict[str, Replica] = {}
        self._folder = folder
        self._where = environment

    def close(self) -> None:
        for replica in self.replicas.values():
            replica.stop()

    def serve(self, *names: str, **settings: object) -> list[Replica]:
        """Exactly these servers, running with the suite's settings and those given on top."""
        wanted = {_variable(name): str(value) for name, value in settings.items()}
        for name in names:
            self.replicas.setdefault(name, Replica(name, self._folder / f"server-{name}.log"))
        for replica in self.replicas.values():
            if replica.name not in names or replica.settings != wanted:
                replica.stop()
        chosen = [self.replicas[name] for name in names]
        starting = [replica for replica in chosen if not replica.up]
        for replica in starting:
            if not replica.launched:
                replica.launch(self._environment(), wanted)
        for replica in starting:
            replica.wait_ready()
        return chosen

    def _environment(self) -> dict[str, str]:
        """The environment of a server, without what the caller's own would steer."""
        steering = ("BLADE_", "DATABRICKS_", "PG", "DATABASE_URL")
        passed_on = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
        return {**passed_on, **self._where(), **SETTINGS, **SERVER_ENVIRONMENT}

    def migrate(self, *arguments: str) -> None:
        """`blade migrate`, beside the servers."""
        command = [sys.executable, "-m", "blade_server", "migrate", *arguments]
        subprocess.run(command, env=self._environment(), check=True)

    def restart(self, replica: Replica) -> None:
        """Starts it again; does not wait until it serves."""
        assert replica.settings is not None
        replica.launch(self._environment(), replica.settings)

    def supervise(self) -> None:
        """What a service manager does: starts again what has ended, and knows what serves. Does not wait."""
        for replica in self.replicas.values():
            if not replica.launched or replica.up:
                continue
            if replica.ended:  # PostgreSQL was away when it started, for example
                replica.part.kill()
                self.restart(replica)
            with suppress(ServerFailedError):
                replica.part.wait_ready(timeout_s=0)
                replica.up = True

    def ready(self, replica: Replica) -> None:
        """Returns once this server serves, whatever was done to it before."""
        if replica.frozen:
            replica.thaw()
        if not replica.launched:
            self.restart(replica)

        def is_up() -> bool:
            self.supervise()
            return replica.up

        wait_until(is_up, 60, replica.output)

    def targets(self) -> list[str]:
        """Addresses of the servers that should answer now."""
        return [replica.target for replica in self.replicas.values() if replica.up and not replica.frozen]

    @contextmanager
    def client(self, replica: Replica | None = None) -> Iterator[BladeClient]:
        """A client of this server, or of one that should answer; waits for one if all are being started."""
        if replica is None and not self.targets():
            wait_until(self._some_target, 60)
        with BladeClient(replica.target if replica else self.targets()[0], actor="faults") as client:
            yield client

    def _some_target(self) -> bool:
        self.supervise()
        return bool(self.targets())


def _variable(name: str) -> str:
    return name.upper() if name.startswith("python") else f"BLADE_{name.upper()}"
