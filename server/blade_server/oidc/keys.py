"""What the provider publishes, its keys above all: fetched in a thread of its own, and kept while it is away.

There is one fetch at a time and a pause after each, whoever shows whatever. So a stranger who invents key ids makes
no flood of requests, and a provider that hangs holds up nobody whose key is known.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blade_server.errors import Unauthenticated, Unavailable
from blade_server.oidc.discovery import Discovered, discover
from blade_server.oidc.fetch import FetchError, fetch
from blade_server.oidc.jwks import KeyId, keys_in

log = logging.getLogger(__name__)

COOLDOWN_S = 30.0
"""Between two fetches."""
REFRESH_S = 300.0
"""A key that the provider has withdrawn is believed no longer than this, if the provider answers."""
WAIT_S = 5.0
"""How long a call waits for the fetch that it has caused."""
MAX_WAITING = 8
"""Calls that do; further ones are refused."""
_AWAY = "the identity provider does not answer, so nobody can sign in by it; try again later"


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was found at one moment."""

    discovered: Discovered
    keys: dict[KeyId, Any]


class Keys:
    """Thread-safe."""

    def __init__(self, issuer: str, ca_file: Path | None) -> None:
        """Fetches nothing yet."""
        self._issuer = issuer
        self._ca_file = ca_file
        self._keys: dict[KeyId, Any] = {}
        self._discovered: Discovered | None = None
        self._asked = False
        self._changed = threading.Condition()  # holds all of these
        self._tries = 0
        self._waiting = 0
        self._resting_until_s = 0.0
        self._failing = False
        self._stopped = False

    def start(self) -> None:
        """Fetches the keys, and again whenever it is time."""
        threading.Thread(target=self._run, name="oidc-keys", daemon=True).start()

    def stop(self) -> None:
        """Does not wait for a fetch under way."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def get(self, key_id: str | None, algorithm: str) -> Any:
        """The key, waited for if it may be a new one.

        Args:
            key_id: None means the only one for the algorithm.
            algorithm: one of `jwks.ALGORITHMS`.

        Raises:
            Unauthenticated: the provider has no such key, as far as is known.
            Unavailable: it has not answered yet, ever.
        """
        key = self._known(key_id, algorithm)
        if key is None and not (key_id is None and self._keys):
            self._ask_for((key_id or "", algorithm))
            key = self._known(key_id, algorithm)
        if key is not None:
            return key
        if not self._keys:
            raise Unavailable(_AWAY)
        raise Unauthenticated("this token is signed with a key that the identity provider does not publish")

    def discovered(self) -> Discovered:
        """What the provider says of itself. Raises Unavailable if it has not answered yet, ever."""
        if self._discovered is None:
            self._ask_for(None)
        if self._discovered is None:
            raise Unavailable(_AWAY)
        return self._discovered

    def _known(self, key_id: str | None, algorithm: str) -> Any:
        keys = self._keys
        if key_id is not None:
            return keys.get((key_id, algorithm))
        fitting = [key for (_, its), key in keys.items() if its == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    def _ask_for(self, wanted: KeyId | None) -> None:
        """Has all fetched, and waits for that, unless the next fetch is a while away or others wait already."""
        with self._changed:
            if wanted in self._keys:
                return
            self._asked = True
            self._changed.notify_all()
            if time.monotonic() < self._resting_until_s or self._waiting >= MAX_WAITING:
                return
            self._waiting += 1
            tries = self._tries
            self._changed.wait_for(lambda: self._tries > tries, WAIT_S)
            self._waiting -= 1

    def _run(self) -> None:
        while not self._stopped:
            self._asked = False
            found = self._fetched()
            with self._changed:
                self._learn(found)
                self._changed.wait_for(lambda: self._stopped, COOLDOWN_S)
                if found:
                    self._changed.wait_for(lambda: self._stopped or self._asked, REFRESH_S - COOLDOWN_S)

    def _learn(self, found: Published | None) -> None:
        if found:
            self._keys, self._discovered = found.keys, found.discovered
        self._tries += 1
        self._resting_until_s = time.monotonic() + COOLDOWN_S
        self._changed.notify_all()

    def _fetched(self) -> Published | None:
        """None: there is nothing new to be had."""
        try:
            found = self._from_provider()
        except FetchError as exc:
            if not self._failing:
                kept = f"the {len(self._keys)} keys it had are kept" if self._keys else "nobody can sign in by it"
                log.warning("the identity provider gives no keys (%s); %s", exc, kept)
            self._failing = True
            return None
        if self._failing:
            log.info("the identity provider gives keys again")
        self._failing = False
        return found

    def _from_provider(self) -> Published:
        discovered = discover(self._issuer, self._ca_file)
        found = keys_in(fetch(discovered.url("jwks_uri"), self._ca_file))
        if not found:
            raise FetchError("it publishes no key for RS256, ES256 or EdDSA")
        return Published(discovered=discovered, keys=found)
