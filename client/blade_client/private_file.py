"""Files that hold a secret: read only if nobody else can read them, written so that nobody else can."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from pathlib import Path

_MAX_BYTES = 64 * 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_private(file: str | os.PathLike[str]) -> str:
    """The text of a file of the caller's own, without blanks and line ends around it. A pipe is one as well.

    Raises:
        OSError: It cannot be read.
        ValueError: It belongs to somebody else, others may read or change it, or it is no text of at most 64 KiB.
    """
    with Path(file).open("rb") as opened:
        found = os.fstat(opened.fileno())
        if hasattr(os, "getuid"):  # rights of files elsewhere are not of this kind
            if found.st_uid != os.getuid():
                raise ValueError(f"{str(file)!r} belongs to another user, so what it holds is not used; make a copy.")
            if found.st_mode & _OTHERS:
                mode = f"{stat.S_IMODE(found.st_mode):04o}"
                raise ValueError(f"Others may open {str(file)!r} (mode {mode}), which holds a secret: chmod 600 it.")
        content = opened.read(_MAX_BYTES + 1)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = ""
    if not text.strip() or len(content) > _MAX_BYTES:
        raise ValueError(f"{str(file)!r} holds no text of at most 64 KiB.")
    return text.strip()


def write_private(file: Path, text: str) -> None:
    """Writes a file for its owner alone (0600), whole or not at all, in a folder that is made for him alone."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
        Path(partial).replace(file)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def checked_token(token: str, source: str) -> str:
    """The token. Raises ValueError, which says where it is from and nothing of it, if a header cannot carry it."""
    if not re.fullmatch(r"[\x21-\x7e]+", token, re.ASCII):
        raise ValueError(f"{source} holds no token: it is empty, or has blanks, line ends or other characters in it.")
    return token
