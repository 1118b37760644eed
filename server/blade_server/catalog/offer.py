"""What a catalog says it can do, remembered for a while."""

from __future__ import annotations

import time

from blade_server.catalog.answers import AnswerParser, Capabilities
from blade_server.catalog.failures import Answer, refusal
from blade_server.catalog.wire.pool import ConnectionPool
from blade_server.errors import CatalogDenied, CatalogRejected, CatalogUnavailable, Precondition, Reason

_REMEMBER_S = 300.0
ABSENT = frozenset({404, 405, 501})
"""What a catalog answers where it has no such function."""
_MOVED = frozenset({301, 308})
"""What a server says that is elsewhere for good, at https:// for example."""


class Offer:
    """Of one catalog; for all threads."""

    def __init__(self, pool: ConnectionPool, parser: AnswerParser) -> None:
        """Asks nothing yet."""
        self._pool = pool
        self._url = pool.url
        self._parser = parser
        self._remembered: tuple[Capabilities, float, int] | None = None

    def capabilities(self) -> Capabilities:
        """Asked anew after five minutes, after a connection was lost, and once a function was gone.

        Raises as `ask`.
        """
        remembered = self._remembered
        if remembered is not None:
            known, until, losses = remembered
            if time.monotonic() < until and losses == self._pool.losses:
                return known
        return self.ask()

    def ask(self) -> Capabilities:
        """Asks now.

        Raises CatalogUnavailable, CatalogDenied, and Precondition for a URL that can never work, or another catalog.
        """
        losses = self._pool.losses
        answer = self._pool.request("GET", "/v1/capabilities")
        if answer.status in ABSENT:
            known = Capabilities()
        elif answer.status == 200:
            known = self._parser.capabilities(answer)
        else:
            self._pool.check_scheme()
            error = refusal(answer, catalog=self._url, stores=False, origin=self._pool.origin)
            if answer.status in _MOVED and not self._pool.answers:  # it would be so for ever
                raise Precondition(error.message, reason=Reason.CATALOG_UNAVAILABLE)
            # A probe has no request that could be at fault: what is rejected here is the catalog's own trouble.
            raise CatalogUnavailable(error.message) if isinstance(error, CatalogRejected) else error
        self._check_is_the_same(known)
        self._pool.answers = True
        self._remembered = (known, time.monotonic() + _REMEMBER_S, losses)
        return known

    def _check_is_the_same(self, known: Capabilities) -> None:
        expected = self._pool.origin.catalog_id
        if expected and known.catalog_id != expected:
            raise Precondition(
                f"the catalog at {self._url} is {known.catalog_id or 'one without a catalogId'} now, and was "
                f"{expected}: if it is meant, update the destination's url, which takes the catalog that is there",
                reason=Reason.DESTINATION_CHANGED,
            )

    def forget(self) -> None:
        """It cannot do what it said: the next one who wants to know asks again."""
        self._remembered = None

    def refusal(
        self, answer: Answer, function: str, *, stores: bool, took_s: float = 0.0
    ) -> CatalogUnavailable | CatalogDenied | CatalogRejected:
        """As `failures.refusal`, for a function the catalog said it has: if it is gone, ask again what there is."""
        if answer.status not in ABSENT:
            return refusal(answer, catalog=self._url, stores=stores, took_s=took_s, origin=self._pool.origin)
        self.forget()
        return CatalogUnavailable(f"the catalog at {self._url} takes no {function} any more ({answer.status})")
