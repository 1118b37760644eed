"""Secrets by reference: `env:NAME` and `file:PATH`, read when they are needed and kept nowhere."""

from __future__ import annotations

import os
import re
from pathlib import Path

MAX_SECRET_BYTES = 64 * 1024


def kind_of(reference: str) -> str:
    """`env` or `file`; "" for what is no reference, which may be the secret itself: it is not to be shown."""
    kind, _, name = reference.partition(":")
    return kind if kind in ("env", "file") and name else ""


def referred(reference: str, *, env_name: re.Pattern[str], secret_dir: Path | None) -> str:
    """The secret, one line of ASCII; "" where the reference leads to none, whatever the reason.

    `env_name`: variables that may be read. `secret_dir`: files below it may be; None: none.
    """
    kind, _, name = reference.partition(":")
    value = ""
    if kind == "env" and env_name.fullmatch(name):
        value = os.environ.get(name, "").strip()
    elif kind == "file":
        value = _text_of(file_below(secret_dir, name))
    return value if value.isascii() and value.isprintable() else ""


def file_below(folder: Path | None, name: str) -> Path | None:
    """A file in a folder or deeper, with its links followed; None if there is none of that name, or it is elsewhere."""
    if folder is None:
        return None
    try:
        root = folder.resolve(strict=True)
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):
        return None


def _text_of(path: Path | None) -> str:
    try:
        if path is None or path.stat().st_size > MAX_SECRET_BYTES:
            return ""
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
