"""The token that a server on this machine keeps for its operator, in a file that only he can read.

It is sent only to the very server that wrote the file. Whoever takes a port after that server has gone does not know
its key, so the server has to prove that it does, again after a second and after every call that failed. While it lives,
somebody who has that port on another address of loopback could let it answer for him: so its own address is dialled,
and no other.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from blade.v1.access_service_pb2 import ProveServerRequest, ProveServerResponse
from blade.v1.access_service_pb2_grpc import AccessServiceStub
from blade_client.folders import data_folder
from blade_client.private_file import checked_token, read_private

_PROOF_S = 5.0
_PROVEN_S = 1.0
"""So long a proof holds. gRPC connects anew without a word, so somebody else may have the port with the next call."""
_NAME = "localhost"


@dataclass(frozen=True, kw_only=True)
class _Written:
    """What a server wrote down about itself. `address` is loopback as gRPC takes it, else empty."""

    server_id: str
    address: str
    token: str = field(repr=False)
    proof_key: str = field(repr=False)

    def proves(self, nonce: str, answer: ProveServerResponse) -> bool:
        """Whether the answer is this server's."""
        if not hmac.compare_digest(answer.server_id.encode(), self.server_id.encode()):
            return False
        proof = hmac.new(self.proof_key.encode(), nonce.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(answer.proof.encode(), proof.encode())


class OperatorToken:
    """Finds the token for one address. Thread-safe.

    Args:
        target: The address as the caller names it.
        secure: TLS shows that `localhost` is the one that is meant, whichever of its addresses is taken.

    Attributes:
        dialled: Where to connect to; not `localhost` where that is more than one place.
        problem: Why the token in a file for that address was not sent, in words; empty if there is no such file.
    """

    def __init__(self, target: str, *, secure: bool) -> None:
        self.problem = ""
        self.dialled = target
        host, _, port = target.rpartition(":")
        self._address = _address(host, port)
        if host.lower() == _NAME and not secure:
            there = {each.address for each in _all_written()}
            own = (_address("127.0.0.1", port), _address("::1", port))
            self._address = next((each for each in own if each in there), "")
            self.dialled = self._address or target
        self._lock = threading.Lock()
        self._known: str | None = None
        self._known_until_s = 0.0

    def token(self, access: AccessServiceStub, *, timeout_s: float | None) -> str:
        """The token, empty if there is none for the server that is there now. Asks that server, once a second."""
        with self._lock:
            now_s = time.monotonic()
            if self._known is None or (self._known and now_s > self._known_until_s):
                patience_s = _PROOF_S if timeout_s is None else min(timeout_s, _PROOF_S)
                self._known = self._found(access, patience_s)
                self._known_until_s = now_s + _PROVEN_S
            return self._known

    def forget(self) -> None:
        """Looks anew the next time: there may be another server by then."""
        with self._lock:
            self._known = None

    def _found(self, access: AccessServiceStub, timeout_s: float) -> str:
        written = [each for each in _all_written() if each.address == self._address]
        self.problem = ""
        if not self._address or not written:
            return ""
        nonce = secrets.token_hex(32)
        try:
            answer = access.ProveServer(ProveServerRequest(nonce=nonce), timeout=timeout_s)
        except grpc.RpcError:
            answer = ProveServerResponse()
        for each in written:
            if each.proves(nonce, answer):
                return each.token
        self.problem = f"the operator's token in {tokens_folder()} is for a server that is no longer there"
        return ""


def tokens_folder() -> Path:
    """Where servers of this user write them."""
    data_dir = os.environ.get("BLADE_DATA_DIR", "").strip()
    return (Path(data_dir) if data_dir else data_folder() / "postgres") / "tokens"


def _all_written() -> Iterator[_Written]:
    """All that can be used, in the order of their files."""
    for file in sorted(tokens_folder().glob("*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            yield _written(json.loads(read_private(file)))


def _written(content: Any) -> _Written:
    return _Written(
        server_id=str(content["server_id"]),
        address=_address(str(content["host"]), str(content["port"])),
        token=checked_token(str(content["token"]), "the file"),
        proof_key=str(content["proof_key"]),
    )


def _address(host: str, port: str) -> str:
    """An address on loopback in figures; empty for anything else."""
    name = host.strip("[]").lower()
    try:
        address = ipaddress.ip_address("127.0.0.1" if name == _NAME else name)
    except ValueError:
        return ""
    figures = f"[{address}]" if address.version == 6 else str(address)
    return f"{figures}:{port}" if address.is_loopback else ""
