"""Which server is meant, and the token that it is shown: the first there is of four."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from blade_client import profiles
from blade_client.private_file import checked_token, read_private
from blade_client.profiles import Profile


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token and where it is from, in words. Empty: there is none. `profile`: the one that it is from, if it is."""

    text: str = field(default="", repr=False)
    source: str = ""
    profile: Profile | None = None


NONE = Token()


def given_token(token: str | None, token_file: str | os.PathLike[str] | None) -> Token | None:
    """What the caller himself hands over; an empty `token` is one, too: that he shows none.

    Raises:
        ValueError: Both are there, it is no token, or others may read the file.
        OSError: The file cannot be read.
    """
    if token is not None and token_file is not None:
        raise ValueError("Give token or token_file, not both.")
    if token_file is not None:
        return _from_file(token_file, "")
    if token is None:
        return None
    return Token(text=checked_token(token, "token"), source="token") if token else NONE


def token_around(profile: Profile | None) -> Token:
    """What lies about: BLADE_TOKEN_FILE, BLADE_TOKEN, then the profile's. Raises as given_token."""
    file, text = (os.environ.get(name, "").strip() for name in ("BLADE_TOKEN_FILE", "BLADE_TOKEN"))
    if file:
        return _from_file(file, "BLADE_TOKEN_FILE: ")
    if text:
        return Token(text=checked_token(text, "BLADE_TOKEN"), source="BLADE_TOKEN")
    if profile is None:
        return NONE
    return Token(text=profile.token, source=f"the profile {profile.name!r}", profile=profile)


def named_profile(name: str | None, target: str | None, default_target: str) -> Profile | None:
    """The profile that is named (or that BLADE_PROFILE names), else that of the server called, if any; `""`: none.

    Raises:
        ValueError: There is none of that name, it is of another server than `target`, or others may read it.
        OSError: It cannot be read.
    """
    if name is None:
        name = os.environ.get("BLADE_PROFILE", "").strip() or None
    if name == "":
        return None
    if name is None:
        return profiles.load_for(default_target if target is None else target)
    profile = profiles.load(name)
    if target is not None and not profile.is_for(target):
        raise ValueError(
            f"The profile {name!r} is of {profile.server}, and its token goes nowhere else: not to {target}. "
            f"Leave one of them out (BLADE_SERVER and BLADE_PROFILE count), or `blade login --server {target}`."
        )
    return profile


def _from_file(file: str | os.PathLike[str], said_by: str) -> Token:
    try:
        text = read_private(file)
    except ValueError as wrong:
        raise ValueError(f"{said_by}{wrong}") from None
    return Token(text=checked_token(text, repr(str(file))), source=f"the file {str(file)!r}")
