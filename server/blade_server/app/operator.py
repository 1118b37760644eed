"""The token of the server's own operator: one that he has made, or one that the server makes for him."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from pathlib import Path

from blade_server.app.token_file import TokenFile
from blade_server.core.access.server_identity import ServerIdentity
from blade_server.core.access.tokens import hash_of, new_token, token_id_of
from blade_server.errors import BladeError
from blade_server.model.access import Caller, Kind, Principal, Token
from blade_server.storage.access import AccessStore
from blade_server.storage.connect import Target
from blade_server.storage.database import Database
from blade_server.storage.migrate import migrate

log = logging.getLogger(__name__)

ADMIN = "admin"
LIFETIME_S = 300.0
"""So long at most the token of a server is good that was killed."""
RENEWED_S = 60.0
_MAX_BYTES = 1024


def admit(store: AccessStore, file: Path) -> bool:
    """Lets in whoever shows the token in a file, unless it was revoked: a start brings back no token that leaked.

    Returns whether it does.

    Raises ValueError as `token_in`, StorageUnavailable.
    """
    token_id, text = token_in(file)
    token = Token(token_id=token_id, principal=ADMIN, kind=Kind.ADMIN)
    admitted = store.admit(token, hash_of(text), by=_by("BLADE_ADMIN_TOKEN_FILE"))
    if not admitted:
        log.error("BLADE_ADMIN_TOKEN_FILE is %r: its token %s was revoked and lets nobody in", str(file), token_id)
    return admitted


def token_in(file: Path) -> tuple[str, str]:
    """Id and text of the token in a file that BLADE_ADMIN_TOKEN_FILE names.

    Raises ValueError if the file cannot be read or holds no token.
    """
    try:
        with file.open("rb") as opened:
            text = opened.read(_MAX_BYTES).decode("ascii", "replace").strip()
    except OSError as exc:
        raise ValueError(f"BLADE_ADMIN_TOKEN_FILE is {str(file)!r}, which cannot be read: {exc.strerror}") from exc
    token_id = token_id_of(text)
    if token_id is None:
        raise ValueError(
            f"BLADE_ADMIN_TOKEN_FILE is {str(file)!r}, which does not hold a token as `blade token generate` makes it"
        )
    return token_id, text


def create(target: Target | str, lifetime_s: float, operator: str) -> str:
    """A new admin token, admitted in that database without any server, its tables brought up to date.

    `operator`: who says that he makes it, for the audit log.

    Raises NewerTablesError, StorageUnavailable.
    """
    migrate(target)
    database = Database(target, pool_size=2)
    try:
        token_id, text = new_token()
        token = Token(token_id=token_id, principal=ADMIN, kind=Kind.ADMIN, description="made at the database")
        AccessStore(database).admit(
            token, hash_of(text), lifetime_s=lifetime_s, by=_by("blade create-admin-token", operator)
        )
    finally:
        database.close()
    return text


def _by(means: str, claims: str = "") -> Caller:
    """Whoever may set up servers, by these means."""
    return Caller(principal=Principal(name="server", kind=Kind.SERVER), method=means, claims=claims)


class OwnToken:
    """A token for programs of this server's own user on this machine, as long as the server lives.

    It stands in a file that only this user can read. Belongs to one event loop.
    """

    def __init__(self, store: AccessStore, server: ServerIdentity, folder: Path) -> None:
        """Nobody is let in yet."""
        self._store = store
        self._server = server
        self._file = TokenFile(folder, server.server_id)
        self._token_id, self._token = new_token()
        self._renewing: asyncio.Task[None] | None = None

    async def open(self, host: str, port: int, http_port: int) -> None:
        """Lets in whoever shows it, and writes it down. Raises StorageUnavailable.

        A folder that cannot be written is a warning: other tokens let in as well.
        """
        document = {
            "server_id": self._server.server_id,
            "host": host,
            "port": port,
            "http_port": http_port,
            "token": self._token,
            "proof_key": self._server.proof_key,
            "pid": os.getpid(),
        }
        try:
            await asyncio.to_thread(self._file.write, document)
        except OSError as exc:
            log.warning("no token for this machine's operator, because its file cannot be written: %s", exc)
            return
        await asyncio.to_thread(self._admit)
        self._renewing = asyncio.create_task(self._renew(), name="own token")

    async def close(self) -> None:
        """Lets nobody in any more. Harmless if called before `open`, and again."""
        await asyncio.to_thread(self._file.remove)
        renewing, self._renewing = self._renewing, None
        if renewing is None:
            return
        renewing.cancel()
        with suppress(asyncio.CancelledError):
            await renewing
        with suppress(BladeError):  # then it ends by itself
            await asyncio.to_thread(self._store.dismiss, self._token_id)

    def _admit(self) -> None:
        token = Token(
            token_id=self._token_id, principal=ADMIN, kind=Kind.ADMIN, description=f"of server {self._server.server_id}"
        )
        self._store.admit(token, hash_of(self._token), lifetime_s=LIFETIME_S)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEWED_S)
            try:
                if not await asyncio.to_thread(self._store.renew, self._token_id, LIFETIME_S):
                    await asyncio.to_thread(self._admit)  # PostgreSQL was away for long, or was put back to before
            except BladeError as exc:
                log.warning("the token of this machine's operator is not renewed: %s", exc)
