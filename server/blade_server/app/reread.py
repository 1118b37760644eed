"""What SIGHUP reads again while a process runs: log levels, secrets in files, certificates. One line says what."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from blade_server import logs
from blade_server.app.operator import admit
from blade_server.app.state import State
from blade_server.errors import BladeError
from blade_server.settings import SecretFile, Settings
from blade_server.storage.access import AccessStore
from blade_server.tls import Certificates

log = logging.getLogger(__name__)


class Reread:
    """Call it from the event loop; it reads in a thread, one thing after the other."""

    def __init__(self, settings: Settings) -> None:
        """Reads what needs nothing but the settings. Whatever cannot be read is as it was before."""
        self._parts: list[Callable[[], str]] = [logs.read_again]
        self._parts += [_secret(value) for _, value in settings if isinstance(value, SecretFile)]
        self._tell: Callable[[], None] = lambda: None
        self._reading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def serves(self, settings: Settings, state: State, tell_workers: Callable[[], None]) -> None:
        """What a process that serves reads besides."""
        if settings.admin_token_file is not None:
            self._parts.append(lambda: _admit(settings, state))
        if settings.tls_cert_file is not None and settings.tls_key_file is not None:
            self._parts.append(lambda: _certificate(settings))
        self.sends(state)
        self._tell = tell_workers

    def sends(self, state: State) -> None:
        """Clients of catalogs are made anew, with the credentials that are there now."""
        self._parts.append(lambda: _destinations(state))

    def __call__(self) -> None:
        """Begins."""
        task = asyncio.get_running_loop().create_task(self._read())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> None:
        async with self._reading:
            said, wrong = await asyncio.to_thread(self._read_all)
            self._tell()
        log.log(logging.WARNING if wrong else logging.INFO, "read again: %s", "; ".join(said))

    def _read_all(self) -> tuple[list[str], bool]:
        said, wrong = [], False
        for part in self._parts:
            try:
                words = part()
            except (ValueError, OSError, BladeError) as exc:
                words, wrong = f"{exc} (what was before holds)", True
            said.append(words)
        return [words for words in said if words], wrong


def _secret(secret: SecretFile) -> Callable[[], str]:
    def read() -> str:
        changed = secret.read_again()
        if changed and secret.variable.endswith("DATABASE_URL_FILE"):
            return f"{secret.variable} changed, which counts from the next start"
        return f"{secret.variable} {'changed' if changed else 'unchanged'}"

    return read


def _admit(settings: Settings, state: State) -> str:
    assert settings.admin_token_file is not None
    admitted = admit(AccessStore(state.database), settings.admin_token_file)
    return "BLADE_ADMIN_TOKEN_FILE" if admitted else "BLADE_ADMIN_TOKEN_FILE, whose token was revoked"


def _certificate(settings: Settings) -> str:
    """The ports look at their files at each handshake; this tells whether they will like them."""
    assert settings.tls_cert_file is not None
    assert settings.tls_key_file is not None
    Certificates(settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file)
    return f"TLS certificate {settings.tls_cert_file}"


def _destinations(state: State) -> str:
    state.catalogs.renew()
    return "credentials of destinations"
