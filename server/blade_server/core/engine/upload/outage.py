"""What those who send to a catalog that fails know together."""

from __future__ import annotations

import threading
import time

from blade_server.catalog import Catalog
from blade_server.core.engine.halt import Control
from blade_server.errors import CatalogUnavailable
from blade_server.model import WaitReason

PROBE_S = (1.0, 30.0)
"""A catalog that is down is asked again after 1 s, 2 s, 4 s ... 30 s."""


class Outage:
    """One for a job; its methods may be called from any thread."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._probing = threading.Lock()
        self._delay_s = PROBE_S[0]
        self._ask_at = 0.0
        self._well_since = time.monotonic()
        self._last_good_start = 0.0
        self.settled_at = 0.0
        """Until then a request that got no answer may be at work (monotonic); 0: none was met."""

    def unanswered(self, settled_at: float) -> None:
        """A request may be at work until then, whatever is sent after it."""
        self.settled_at = max(self.settled_at, settled_at)

    def passed(self, began: float) -> None:
        """An upload that began then was answered well."""
        self._last_good_start = max(self._last_good_start, began)
        self._well_since = time.monotonic()
        self._delay_s = PROBE_S[0]

    def convicts(self, suspected_since: float) -> bool:
        """Whether the item, not the catalog, is at fault: others that began later came through, or patience is over."""
        return self._last_good_start > suspected_since or self.out_of_patience

    @property
    def out_of_patience(self) -> bool:
        """Whether no upload has come through for so long, with the catalog well, that items are judged."""
        return time.monotonic() - self._well_since > self._patience_s

    def sit_out(self, catalog: Catalog, control: Control, detail: str) -> bool:
        """Returns once the health check passes: True if it had failed. One thread asks, the others wait for it."""
        waited = False
        while True:
            seconds = self._down_for(catalog)
            if seconds == 0.0:
                if waited:
                    self._well_since = time.monotonic()
                return waited
            waited = True
            control.wait(seconds, WaitReason.CATALOG_DOWN, f"{detail}; asking again in {seconds:.0f} s")

    def _down_for(self, catalog: Catalog) -> float:
        """Seconds to wait before asking again; 0: the catalog is well."""
        if not self._probing.acquire(blocking=False):
            return 0.1
        try:
            left = self._ask_at - time.monotonic()
            if left > 0:  # another thread has asked; each asking anew would make all of them wait the longest time
                return left
            catalog.probe()
        except CatalogUnavailable:
            seconds, self._delay_s = self._delay_s, min(PROBE_S[1], self._delay_s * 2)
            self._ask_at = time.monotonic() + seconds
            return seconds
        else:
            return 0.0
        finally:
            self._probing.release()
