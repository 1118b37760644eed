"""All that a server has to do with the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from blade_server.core.audit.heads import Heads
from blade_server.core.audit.log import AuditLog
from blade_server.core.audit.recorder import Recorder
from blade_server.core.audit.refusals import Refusals
from blade_server.storage.audit import AuditStore


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Thread-safe."""

    recorder: Recorder
    refusals: Refusals
    heads: Heads
    log: AuditLog

    @classmethod
    def over(cls, store: AuditStore, anchor_file: Path | None) -> Self:
        """Nothing runs yet."""
        recorder = Recorder(store)
        return cls(recorder=recorder, refusals=Refusals(recorder), heads=Heads(store, anchor_file), log=AuditLog(store))

    def start(self) -> None:
        """Begins to write. Raises ValueError if the anchor file cannot be written."""
        self.heads.check()
        self.recorder.start(self._every_minute)

    def stop(self) -> None:
        """Writes what is left, for a few seconds at most."""
        self.recorder.stop()

    def _every_minute(self) -> None:
        self.refusals.tell_the_rest()
        self.heads.tell()
