"""Takes out of texts what must not leave this machine: secrets, queries, and what a bug's message may quote of a row."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
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
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"), _HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic) +[\w.~+/=-]{8,}"), rf"\1 {_HIDDEN}"),
    (re.compile(r"(?i)\b(password|passwd|pwd|secret|token)=[^\s&'\"]+"), rf"\1={_HIDDEN}"),
    (re.compile(r"(\w://)[^\s/@'\"]+@"), rf"\1{_HIDDEN}@"),
    (re.compile(r"(/[^\s?'\"]*)\?[^\s'\"]+"), rf"\1?{_HIDDEN}"),  # the query of a path: a filter, a parameter
)
_OF_SECRETS = re.compile(r"(BLADE_SECRET_|DATABRICKS_)\w+|BLADE_TOKEN|\w*(TOKEN|SECRET|PASSWORD)\w*")
_NO_SECRETS = frozenset({"DATABRICKS_SERVER_HOSTNAME", "DATABRICKS_HTTP_PATH", "DATABRICKS_CLIENT_ID"})
_EVENT = re.compile(r"\d{4}-\d\d-\d\d[ T]|blade: |Traceback |\s")
"""How a line of the log begins that is not the last one of a traceback."""
_RAISED = re.compile(r"^([\w.]+(?: \(incident \w+\))?):? ?.*")


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
        return self("\n".join(map(_event, lines)) + "\n")


def redaction_of(settings: Settings | None, environment: Mapping[str, str]) -> Redaction:
    """With all secrets that the settings and the environment hold. None: settings that cannot be read."""
    secrets = [
        value for name, value in environment.items() if _OF_SECRETS.fullmatch(name) and name not in _NO_SECRETS
    ]
    urls = [value for value in environment.values() if "://" in value]
    for value in dict(settings).values() if settings else ():
        if isinstance(value, SecretStr):
            secrets.append(value.get_secret_value())
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
    if isinstance(value, str) and "://" in value:
        return without_user(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _event(line: str) -> str:
    if line.startswith("{"):
        try:
            event = json.loads(line)
        except ValueError:
            return _HIDDEN
        texts = {name: _traceback(value) for name, value in event.items() if isinstance(value, str)}
        return json.dumps(event | texts)
    return line if _EVENT.match(line) or not line else _raised(line)


def _traceback(text: str) -> str:
    head, *rest = text.split("\n")
    return "\n".join([head, *(line if line.startswith(" ") or not line else _raised(line) for line in rest)])


def _raised(line: str) -> str:
    """`ValueError: 'PN-7' is no date` -> `ValueError: ***`."""
    return line if line.startswith("Traceback ") else _RAISED.sub(rf"\1: {_HIDDEN}", line)


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return url  # nobody knows which part of it is one


def _forms(secret: str) -> set[str]:
    """As it is, as URLs have it, and as JSON has it."""
    plain = unquote(secret)
    return {secret, plain, quote(plain, safe=""), json.dumps(secret)[1:-1], json.dumps(plain)[1:-1]}
