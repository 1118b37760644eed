"""An OpenID Connect provider, and all that is asked of it."""

from __future__ import annotations

from blade_server.model.policy import OidcPolicy
from blade_server.oidc.code_flow import CodeFlow
from blade_server.oidc.identity import Identity
from blade_server.oidc.keys import Keys
from blade_server.oidc.tokens import Tokens


class Provider:
    """Thread-safe."""

    def __init__(self, policy: OidcPolicy) -> None:
        """Asks nobody yet."""
        self._keys = Keys(policy.issuer, policy.ca_file)
        self._tokens = Tokens(policy, self._keys)
        self.start, self.stop = self._keys.start, self._keys.stop
        self.code_flow = None if policy.page is None else CodeFlow(policy, policy.page, self._keys, self._tokens)
        """By which browsers sign in; None: they do not."""

    def identify(self, token: str) -> Identity:
        """Whom the provider says it is. May wait for keys, some seconds.

        Raises Unauthenticated, and Unavailable as long as the provider has never answered.
        """
        return self._tokens.bearer(token)
