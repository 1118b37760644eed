"""Takes out of texts what must not leave this machine: secrets, queries, and words that may quote a row."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from pydantic import SecretStr

from blade_server.addresses import without_user
from blade_server.settings import Settings

_HIDDEN = "***"
_LEAST = 4
"""Characters of a secret that is looked for by its value; a shorter one would tear words apart."""

_PATTERNS = (
    (re.compile(r"\bblade_\w+_[\w-]{16,}"), "blade_***"),
    (re.compile(r"\bdapi[0-9a-f]{16,}[\w-]*"), "dapi***"),
    (re.compile(r"\beyJ[\w-]{4,}\.[\w-]+\.[\w-]*"), _HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic) +[\w.~+/=-]{8,}"), rf"\1 {_HIDDEN}"),
    (re.compile(r"(?i)\b(password|passwd|pwd|secret|token)=[^\s&'\"]+"), rf"\1={_HIDDEN}"),
    (re.compile(r"(\w://)[^\s/@'\"]+@"), rf"\1{_HIDDEN}@"),
    (re.compile(r"(/[^\s?'\"]*)\?[^\s'\"]+"), rf"\1?{_HIDDEN}"),  # the query of a path: a filter, a parameter
)
_OF_SECRETS = re.compile(r"(BLADE_SECRET_|DATABRICKS_)\w+|BLADE_TOKEN|\w*(TOKEN|SECRET|PASSWORD)\w*")
_NO_SECRETS = re.compile(r"DATABRICKS_(SERVER_HOSTNAME|HTTP_PATH|CLIENT_ID)|\w+_(FILE|DIR)")
_EVENT = re.compile(r"\d{4}-\d\d-\d\d[ T]|blade: |BLADE \d")
"""How a line begins that the server wrote as one."""
_BETWEEN = re.compile(r"$|During handling of the above|The above exception was")
_RAISED = re.compile(
    r"([\w.]*[A-Z]\w*(?:Error|Exception|Unavailable|Denied|Refused|Rejected|Invalid|NotFound|Lost)): .*"
)


class Redaction:
    """Of one server. What is no secret stays."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= _LEAST for form in _forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without them."""
        for form in self._forms:
            text = text.replace(form, _HIDDEN)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def log(self, lines: Iterable[str]) -> str:
        """The lines of a log, as text or as JSON; of a bug its place and its kind are left, and not its words."""
        return self("".join(f"{line}\n" for line in _without_words(lines)))


def redaction_of(settings: Settings | None, environment: Mapping[str, str]) -> Redaction:
    """With all secrets that the settings and the environment hold. None: settings that cannot be read."""
    secrets = [
        value for name, value in environment.items() if _OF_SECRETS.fullmatch(name) and not _NO_SECRETS.fullmatch(name)
    ]
    urls = [value for value in environment.values() if "://" in value]
    values = dict(settings).values() if settings else ()
    secrets += [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
    passwords = (_password(url) for url in (*urls, *secrets) if "://" in url)
    return Redaction([*secrets, *filter(None, passwords)])


def shown(settings: Settings) -> dict[str, Any]:
    """Each setting as it may be shown: of a secret only whether it is set, of an address neither user nor query."""
    return {name: _shown(value) for name, value in settings}


def _shown(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "set"
    if isinstance(value, tuple):
        return [_shown(each) for each in value]
    if isinstance(value, str) and ("://" in value or re.search(r":.*@", value)):
        return without_user(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _without_words(lines: Iterable[str]) -> Iterator[str]:
    """Of a traceback the lines of the code and the kind of the error; of what else is below an event nothing."""
    within_code = False
    for line in lines:
        if line.startswith("{"):
            yield _document(line)
        elif line.startswith("Traceback "):
            within_code = True
            yield line
        elif _EVENT.match(line) or _BETWEEN.match(line) or (within_code and line.startswith(" ")):
            yield line
        else:
            within_code = False
            raised = _RAISED.match(line)
            yield f"{raised[1]}: {_HIDDEN}" if raised else _HIDDEN


def _document(line: str) -> str:
    """A line of a log as JSON."""
    try:
        event = json.loads(line)
    except ValueError:
        return _HIDDEN
    long = {name: value for name, value in event.items() if isinstance(value, str) and "\n" in value}
    return json.dumps(event | {name: "\n".join(_without_words(value.split("\n"))) for name, value in long.items()})


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return url  # nobody knows which part of it is one


def _forms(secret: str) -> set[str]:
    """As it is, as URLs have it, and as JSON has it."""
    plain = unquote(secret)
    return {secret, plain, quote(plain, safe=""), json.dumps(secret)[1:-1], json.dumps(plain)[1:-1]}
