"""References to secrets, `env:NAME` and `file:PATH`: what they lead to, for whoever checked that it may go there."""

from __future__ import annotations

import os
import re
from pathlib import Path

MAX_SECRET_BYTES = 64 * 1024


def is_reference(text: str) -> bool:
    """Whether it is written as one."""
    kind, _, name = text.partition(":")
    return kind in ("env", "file") and bool(name)


def led_to(reference: str, *, names: re.Pattern[str], secret_dir: Path | None) -> str:
    """One line of printable ASCII; "" for all that leads to none.

    Args:
        reference: `env:NAME` or `file:PATH`.
        names: the variables that are meant to be referred to.
        secret_dir: the folder that files lie below; None: no file is read.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        value = os.environ.get(name, "").strip() if names.fullmatch(name) else ""
    else:
        value = _in_file(secret_dir, name) if kind == "file" else ""
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


def _in_file(secret_dir: Path | None, name: str) -> str:
    path = file_below(secret_dir, name)
    try:
        if path is None or path.stat().st_size > MAX_SECRET_BYTES:
            return ""
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
