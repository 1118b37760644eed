"""The token of a profile that an identity provider has given: renewed when it ends, by one process at a time.

A refresh token may be good once. So whoever renews holds the profile's lock, and looks first whether somebody else has
done it meanwhile. What comes is written down before it is used. A process that is killed when the provider has answered
and before that is written loses the refresh token, and its user signs in anew: nobody but the provider knows it then.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from blade_client import errors, profiles
from blade_client.device_flow import given_in
from blade_client.jwt_claims import end_of
from blade_client.private_file import checked_token
from blade_client.profiles import Profile
from blade_client.provider import Provider, words_of

_BEFORE_S = 30.0
"""A token is renewed so long before it ends: calls take a while, and clocks differ."""
_NOT_AGAIN_S = 60.0
"""A token that was refused is renewed once in this time: a server that wants another one altogether takes none."""


class ProfileToken:
    """Thread-safe."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._lock = threading.Lock()
        self._refused_at_s = float("-inf")

    @property
    def renews(self) -> bool:
        """Whether there is a way to the next token."""
        renewal = self._profile.renewal
        return renewal is not None and bool(renewal.refresh_token)

    def text(self) -> str:
        """The token, renewed if it is about to end. May block for some seconds.

        Raises NotSignedIn if the provider gives no other; Unavailable if it does not answer and the token has ended.
        """
        with self._lock:
            ends_s = end_of(self._profile.token)
            if ends_s is None or time.time() < ends_s - _BEFORE_S or not self.renews:
                return self._profile.token
            try:
                self._renew(self._profile.token)
            except errors.Unavailable:
                if time.time() >= ends_s:
                    raise
            return self._profile.token

    def renewed(self, shown: str) -> bool:
        """Whether there is another token now in place of one that was refused. Raises as `text`."""
        with self._lock:
            now_s = time.monotonic()
            if shown == self._profile.token and self.renews and now_s > self._refused_at_s + _NOT_AGAIN_S:
                self._refused_at_s = now_s
                self._renew(shown)
            return shown != self._profile.token

    def _renew(self, old: str) -> None:
        try:
            with profiles.changing(self._profile.name):
                stored = profiles.load(self._profile.name)
                if stored.token == old:
                    stored = _with_next_token(stored)
                    profiles.save(stored)
                self._profile = stored
        except (OSError, ValueError) as wrong:  # the file is gone, or cannot be written
            raise errors.NotSignedIn(
                f"The token of the profile {self._profile.name!r} is not renewed: {wrong}"
            ) from wrong


def _with_next_token(profile: Profile) -> Profile:
    renewal = profile.renewal
    if renewal is None or not renewal.refresh_token:
        raise _over(profile, "it has no refresh token")
    form = {
        "grant_type": "refresh_token",
        "refresh_token": renewal.refresh_token,
        "client_id": renewal.client_id,
        "audience": renewal.audience,
    }
    status, answer = Provider(renewal.issuer).post("token_endpoint", form)
    if status != 200:
        raise _over(profile, words_of(answer))
    given = given_in(answer, renewal.audience)
    token = checked_token(given.token, "What the identity provider gave")
    return replace(
        profile, token=token, renewal=replace(renewal, refresh_token=given.refresh_token or renewal.refresh_token)
    )


def _over(profile: Profile, why: str) -> errors.NotSignedIn:
    return errors.NotSignedIn(
        f"What you signed in to {profile.server} with is over, and the identity provider gives nothing new ({why}). "
        f"Sign in again: `blade login --oidc --profile {profile.name}`."
    )
