"""A configuration file: settings as TOML, behind the environment and before the defaults.

What it says is put into the environment of this process, but where the environment says something itself. So job
processes have, as long as the server lives, what it read at its start, whatever becomes of the file meanwhile.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

from blade_server.app.misspelt import OF_THE_LOG
from blade_server.settings import Settings, files_of_secrets, variable

_MAX_BYTES = 64 * 1024
_BEGINS = re.compile(r"""[ \t]*\[|(?:"[^"]*"|'[^']*'|[\w. \t-])+=""")
"""A line that can be the first of a statement, and few that are none."""
_PASSWORD = re.compile(r"://[^/?#]*:.*@|\bpassword=", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One setting of a file."""

    name: str
    variable: str
    text: str
    """As the variable would have it: lists with commas, `true` and `false`."""
    line: int
    file: Path

    @property
    def place(self) -> str:
        """FILE:LINE."""
        return f"{self.file}:{self.line}"


def read(file: Path) -> tuple[Entry, ...]:
    """What a file says, in its order.

    Raises ValueError for a file that cannot be read or is no TOML, and with all that is wrong in it: each unknown name,
    what cannot be a setting, and secrets that others can read, with FILE:LINE.
    """
    text, mode = _content(file)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        found = re.search(r"line (\d+)", str(exc))  # none at the end of the file
        raise ValueError(f"{file}:{found[1] if found else text.count(chr(10)) + 1}: this is no TOML: {exc}") from exc
    entries: list[Entry] = []
    wrong: list[str] = []
    for line, name, value in _statements(text):
        try:
            entry = Entry(name=name, variable=_variable(name, value), text=_text(name, value), line=line, file=file)
            _check_secrecy(entry, mode)
            _check_twin(entry, entries)
            entries.append(entry)
        except ValueError as exc:
            wrong.append(f"{file}:{line}: {exc}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return tuple(entries)


def put_into(environment: MutableMapping[str, str], entries: Iterable[Entry]) -> dict[str, Entry]:
    """Adds what the environment does not say itself, and returns that, by variable.

    What has two variables, with and without `_FILE`, counts as said if either is there, and empty variables count.
    """
    said = {name.upper() for name in environment}
    holds = {entry.variable: entry for entry in entries if not {entry.variable, _twin(entry.variable)} & said}
    environment.update({name: entry.text for name, entry in holds.items()})
    return holds


def placed(sentence: str, entries: Mapping[str, Entry]) -> str:
    """The sentence with the variables that it names as the file has them: `port (blade.toml:3)`."""

    def place(found: re.Match[str]) -> str:
        entry = entries.get(found[0])
        return f"{entry.name} ({entry.place})" if entry else found[0]

    return re.sub(r"\b[A-Z]+(_[A-Z]+)+\b", place, sentence)


def _content(file: Path) -> tuple[str, int]:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            content = opened.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                raise ValueError("it is longer than 64 KiB")
            return content.decode("utf-8-sig"), mode
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        why = "it is no UTF-8 text" if isinstance(exc, UnicodeDecodeError) else why
        raise ValueError(f"the configuration file {str(file)!r} cannot be read: {why}") from exc


def _statements(text: str) -> Iterator[tuple[int, str, Any]]:
    """Line, name and value of each, where nothing stands in a table: a statement ends where TOML takes it as whole.

    That is looked at only where another one may begin: at each line of a long list it would take minutes.
    """
    began, statement, lines = 1, "", text.split("\n")
    for number, line in enumerate(lines, 1):
        statement += f"{line}\n"
        if number < len(lines) and not _BEGINS.match(lines[number]):
            continue
        try:
            found = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        yield from ((began, name, value) for name, value in found.items())
        began, statement = number + 1, ""


def _variable(name: str, value: object) -> str:
    """The variable of a name. Raises ValueError with the name that was meant."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value)):
        raise ValueError(f"{name!r} is a table, and settings stand in none: write them one by one, as port = 50051")
    names = {each.lower().removeprefix("blade_"): each for each in _variables()}
    if name in names:
        return names[name]
    like = get_close_matches(name.lower().removeprefix("blade_"), names, n=1, cutoff=0.7)
    meant = f"did you mean {like[0]}?" if like else "docs/settings.md has all, in lower case and without BLADE_"
    raise ValueError(f"{name!r} is no setting; {meant}")


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and _takes_list(name):
        texts = [each for each in value if isinstance(each, str) and "," not in each]
        if len(texts) == len(value):
            return _checked(name, ",".join(texts))
        raise ValueError(f"{name} has something else than texts without commas in its list")
    if isinstance(value, str):
        return _checked(name, value)
    raise ValueError(f"{name} is {'a list' if isinstance(value, list) else value}, which it cannot be")


def _checked(name: str, text: str) -> str:
    if "\0" in text:
        raise ValueError(f"{name} has a NUL character in it")
    return text


def _takes_list(name: str) -> bool:
    field = Settings.model_fields.get(name)
    return field is not None and get_origin(field.annotation) is tuple


def _check_secrecy(entry: Entry, mode: int) -> None:
    """Raises ValueError for a secret that others can read. The URL of a database is one if it has a password."""
    if entry.name not in files_of_secrets() or not mode & 0o077:
        return
    if not entry.variable.endswith("DATABASE_URL") or _PASSWORD.search(entry.text):
        raise ValueError(
            f"{entry.name} is a secret, and others may read this file (its mode is {mode & 0o777:04o}): chmod 600 "
            f"{entry.file}, or put the secret into a file of its own and name that by {entry.name}_file"
        )


def _check_twin(entry: Entry, before: Iterable[Entry]) -> None:
    for other in before:
        if other.variable == _twin(entry.variable):
            raise ValueError(f"{entry.name} and {other.name} (line {other.line}) are both there; take one of them out")


def _twin(name: str) -> str:
    """The variable beside it, of which one at most is set: without `_FILE`, or with it; "" if there is none."""
    other = name.removesuffix("_FILE") if name.endswith("_FILE") else f"{name}_FILE"
    return other if other in _variables() else ""


def _variables() -> set[str]:
    return {*map(variable, Settings.model_fields), *files_of_secrets().values(), *OF_THE_LOG}
