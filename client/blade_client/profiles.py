"""Profiles: servers that somebody has signed in to, with the token for each, one file a profile."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blade_client.file_lock import locked
from blade_client.folders import config_folder
from blade_client.private_file import checked_token, read_private, write_private

LOCK_PATIENCE_S = 45.0
"""Longer than an identity provider takes for an answer."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """How a token of an identity provider is renewed: as which of its clients, and with what.

    `audience`: what a token for the server names. `refresh_token` "": it is not, and ends.
    """

    issuer: str
    client_id: str
    audience: str
    refresh_token: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One server, how it is reached, and what its owner signs in with there; `renewal` None: it is not renewed."""

    name: str
    server: str
    token: str = field(repr=False)
    tls: bool = False
    ca_file: str = ""
    renewal: Renewal | None = None

    def is_for(self, server: str) -> bool:
        """Whether that address is this server's."""
        return self.server.lower() == server.lower()


def load(name: str) -> Profile:
    """A profile by its name. Raises ValueError if there is none, it is damaged, or others may read it; OSError."""
    file = file_of(name)
    try:
        written = json.loads(read_private(file))
    except FileNotFoundError:
        raise ValueError(f"There is no profile {name!r}; `blade login --profile {name}` makes it.") from None
    except json.JSONDecodeError:
        raise _damaged(name) from None
    return _profile(name, written)


def load_for(server: str) -> Profile | None:
    """The profile of a server: the first by name. Raises ValueError and OSError as load does."""
    found = next((profile.name for profile in _readable() if profile.is_for(server)), None)
    return load(found) if found is not None else None


def save(profile: Profile) -> Path:
    """Stores a profile, in place of the one of that name. Returns its file. Raises ValueError, OSError."""
    file = file_of(profile.name)
    content = asdict(profile)
    del content["name"]
    if profile.renewal is None:
        del content["renewal"]
    write_private(file, json.dumps(content, indent=2) + "\n")
    return file


def remove(name: str) -> bool:
    """Removes a profile. False if there was none. Raises ValueError, OSError."""
    file = file_of(name)
    if not file.exists():
        return False
    with changing(name):
        file.unlink(missing_ok=True)
        file.with_suffix(".lock").unlink(missing_ok=True)
    return True


@contextmanager
def changing(name: str) -> Iterator[None]:
    """Nobody else changes the profile meanwhile, who does it in here. Raises ValueError, OSError, TimeoutError."""
    with locked(file_of(name).with_suffix(".lock"), LOCK_PATIENCE_S):
        yield


def name_for(server: str) -> str:
    """The name of a server's profile if nobody gives one."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", server).strip("-._")[:100] or "default"


def file_of(name: str) -> Path:
    """The file of a profile. Raises ValueError if that can be no profile's name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a profile: use letters, digits, dots, hyphens and underscores.")
    return config_folder() / "profiles" / f"{name}.json"


def _readable() -> Iterator[Profile]:
    """All that can be read, whoever else may read them."""
    for file in sorted(file_of("x").parent.glob("*.json")):
        with suppress(OSError, ValueError):
            yield _profile(file.stem, json.loads(file.read_text(encoding="utf-8")))


def _profile(name: str, written: Any) -> Profile:
    try:
        server, token, ca_file = (str(written[key]) for key in ("server", "token", "ca_file"))
        return Profile(
            name=name,
            server=server,
            token=checked_token(token, f"The profile {name!r}"),
            tls=bool(written["tls"]),
            ca_file=ca_file,
            renewal=Renewal(**written["renewal"]) if "renewal" in written else None,
        )
    except (KeyError, TypeError):
        raise _damaged(name) from None


def _damaged(name: str) -> ValueError:
    return ValueError(f"The profile {name!r} ({file_of(name)}) is damaged; `blade login --profile {name}` renews it.")
