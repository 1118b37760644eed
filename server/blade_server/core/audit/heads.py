"""Tells others where the log ends: a chain by itself does not show that its end was cut off."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

from blade_server.model.audit import Head
from blade_server.storage.audit import AuditStore

log = logging.getLogger(__name__)


class Heads:
    """Writes the head to the server's log, and to a file that may be on another machine."""

    def __init__(self, store: AuditStore, file: Path | None) -> None:
        """`file`: lines `NUMBER HASH TIME` are added to it."""
        self._store = store
        self._file = file
        self._told = Head()

    def check(self) -> None:
        """Raises ValueError if the file cannot be written."""
        try:
            self._append("")
        except OSError as exc:
            raise ValueError(
                f"BLADE_AUDIT_ANCHOR_FILE is {str(self._file)!r}, which cannot be written: {exc.strerror}"
            ) from exc

    def tell(self) -> None:
        """Writes the head if it has moved. Raises StorageUnavailable."""
        head = self._store.head()
        if head == self._told:
            return
        log.info("the audit log ends with %s", head)
        try:
            self._append(f"{head} {datetime.now(UTC).isoformat(timespec='seconds')}\n")
        except OSError as exc:
            log.error("the end of the audit log could not be added to %s: %s", self._file, exc.strerror)
            return
        self._told = head

    def _append(self, line: str) -> None:
        if self._file is None:
            return
        with self._file.open("a") as opened:
            opened.write(line)
            opened.flush()
            os.fsync(opened.fileno())
