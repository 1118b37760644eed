"""What the log is: one event a line, as text or as JSON, from a level on for each logger; and what an event is about.

What is known of a call or a job stands beside whatever is logged for it, in JSON: see `about`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from blade_server import tracing

OURS = "blade_server"
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
_MAX_FILE_BYTES = 64 * 1024
_LOGGER = re.compile(rf"{OURS}(\.\w+)*", re.ASCII)

_known: ContextVar[dict[str, str]] = ContextVar("known")

log = logging.getLogger(OURS)


# ------------------------------------------------------------------------------------------------- what it is about


@contextmanager
def about(**known: str) -> Iterator[None]:
    """What this thread or task logs inside is about this too."""
    token = _known.set({**_known.get({}), **known})
    try:
        yield
    finally:
        _known.reset(token)


def know(**known: str) -> None:
    """Adds to what is known inside of the nearest `about`, up to its end; nothing outside of any."""
    found = _known.get(None)
    if found is not None:
        found.update(known)


def known(name: str) -> str:
    """What is known; empty if nothing is."""
    return _known.get({}).get(name, "")


# ------------------------------------------------------------------------------------------------- levels


@dataclass(frozen=True, kw_only=True)
class Levels:
    """From which level on loggers speak; `each` by name, of whole rooms or single files."""

    general: str = "info"
    each: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `info,blade_server.catalog=debug`. Raises ValueError with a sentence.

        Loggers of libraries have no level here: some of them log what is secret.
        """
        general, each = cls.general, {}
        for part in (part.strip() for part in text.split(",") if part.strip()):
            name, named, level = part.rpartition("=")
            if level.lower() not in LEVELS:
                raise ValueError(f"{level!r} is no level; it is one of {', '.join(LEVELS)}")
            if not named:
                general = level.lower()
            elif _LOGGER.fullmatch(name):
                each[name] = level.lower()
            else:
                raise ValueError(f"{name!r} is no logger of this server: their names begin with {OURS}")
        return cls(general=general, each=tuple(each.items()))

    @classmethod
    def read(cls, file: Path) -> Self:
        """As `parse`, from a file. Raises ValueError."""
        try:
            with file.open(encoding="utf-8") as opened:
                return cls.parse(opened.read(_MAX_FILE_BYTES))
        except (OSError, UnicodeDecodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is no UTF-8 text"
            raise ValueError(f"BLADE_LOG_LEVEL_FILE is {str(file)!r}, which cannot be read: {why}") from exc
        except ValueError as exc:
            raise ValueError(f"BLADE_LOG_LEVEL_FILE is {str(file)!r}: {exc}") from exc

    def __str__(self) -> str:
        return ",".join([self.general, *(f"{name}={level}" for name, level in self.each)])


class _Log:
    """The log of this process."""

    levels = Levels()
    level_file: Path | None = None
    form = "text"

    def set_levels(self, levels: Levels) -> None:
        for name, _ in self.levels.each:
            logging.getLogger(name).setLevel(logging.NOTSET)
        log.setLevel(levels.general.upper())
        for name, level in levels.each:
            logging.getLogger(name).setLevel(level.upper())
        self.levels = levels


_log = _Log()


def set_up(levels: Levels, *, form: str = "text", level_file: Path | None = None, worker: int = 0) -> None:
    """Everything of this process goes to standard error from here on: ours from its levels, all else from warnings on.

    Args:
        levels: where there is no `level_file`.
        form: one of FORMATS.
        level_file: levels, which `read_again` reads again.
        worker: number of a job process; 0: it is none.

    Raises ValueError for a file that cannot be read or has something else in it.
    """
    who = f"worker {worker}: " if worker else ""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format=f"%(asctime)s %(levelname)s {who}%(name)s: %(message)s"
    )
    if form == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter(worker=worker))
        sys.excepthook = _uncaught
        threading.excepthook = _uncaught_in_thread
    _log.form, _log.level_file = form, level_file
    _log.set_levels(levels if level_file is None else Levels.read(level_file))


def read_again() -> str:
    """Reads the file of levels again, if there is one, and says what holds. Raises ValueError; then nothing changes."""
    if _log.level_file is not None:
        _log.set_levels(Levels.read(_log.level_file))
    return f"log level {_log.levels}"


def environment() -> dict[str, str]:
    """Variables for a process whose log is to be as this one's."""
    found = {"BLADE_LOG_FORMAT": _log.form}
    if _log.level_file is None:
        return found | {"BLADE_LOG_LEVEL": str(_log.levels)}
    return found | {"BLADE_LOG_LEVEL_FILE": str(_log.level_file)}


def in_json() -> bool:
    """Whether all that goes to standard error is to be JSON."""
    return _log.form == "json"


# ------------------------------------------------------------------------------------------------- JSON


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, event and logger; then worker, what it is about, and fields of the event.

    A record has fields of its own as `extra={"fields": {...}}`; `event` among them stands for its words.
    """

    def __init__(self, *, worker: int = 0) -> None:
        super().__init__()
        self._worker = {"worker": worker} if worker else {}

    def format(self, record: logging.LogRecord) -> str:
        """Never more than a line: in JSON no text has a line end."""
        trace_id, span_id = tracing.ids()
        event: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **self._worker,
            **_known.get({}),
            **({"trace_id": trace_id, "span_id": span_id} if trace_id else {}),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)


def _uncaught(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    log.critical("a bug ends this process", exc_info=(kind, error, where))


def _uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
    name = told.thread.name if told.thread else "gone"
    value = told.exc_value or told.exc_type()
    log.error("a bug ends the thread %s", name, exc_info=(told.exc_type, value, told.exc_traceback))
