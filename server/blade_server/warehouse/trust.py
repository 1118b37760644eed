"""The certificates that the driver trusts, read once and not for each session.

It makes a TLS context or two for every session, also where it speaks plain HTTP, and each time reads all certificates
of the system: 26 ms of processor time, a quarter of what a job of ten rows costs. Nothing of a context belongs to a
session, so those that trust the same are one.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from databricks.sql import types
from databricks.sql.common import unified_http_client

_opening = threading.local()


@contextmanager
def shared(ca_file: str) -> Iterator[None]:
    """Within it, on this thread, the driver's contexts are those of earlier sessions with this file (or none)."""
    _opening.trusting = ca_file, _changed(ca_file), _changed(ssl.get_default_verify_paths().cafile)
    try:
        yield
    finally:
        _opening.trusting = None


def _changed(file: str | None) -> int:
    """When; for a file that is renewed while the server runs."""
    try:
        return Path(file).stat().st_mtime_ns if file else 0
    except OSError:
        return 0


@lru_cache(maxsize=8)
def _kept(trusting: Any, maker: str, cafile: str | None) -> ssl.SSLContext:
    """The driver adds the same file to the context of each `maker` and changes nothing else."""
    return ssl.create_default_context(cafile=cafile)


def _for(maker: str) -> Any:
    def create_default_context(*args: Any, **options: Any) -> ssl.SSLContext:
        trusting = getattr(_opening, "trusting", None)
        if trusting is None or args or options.keys() - {"cafile"}:  # another form is another driver's
            return ssl.create_default_context(*args, **options)
        return _kept(trusting, maker, options.get("cafile"))

    return create_default_context


unified_http_client.ssl = SimpleNamespace(  # type: ignore[attr-defined, assignment]
    **{**vars(ssl), "create_default_context": _for("client")}
)
types.create_default_context = _for("session")  # type: ignore[attr-defined]
