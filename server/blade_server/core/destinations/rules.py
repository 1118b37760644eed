"""What a destination may look like, before anybody asks the catalog."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from blade_server.core.checks import check_length, raise_for
from blade_server.core.references import is_reference
from blade_server.model.destination import DEFAULT_DESTINATION, Destination

NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
MAX_DISPLAY_NAME_CHARACTERS = 200
MAX_URL_CHARACTERS = 1000
MAX_REFERENCE_CHARACTERS = 1000
MAX_TIMEOUT_S = 3600.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def with_defaults(destination: Destination) -> Destination:
    """The destination with its defaults."""
    return replace(
        destination,
        display_name=destination.display_name or destination.name,
        url=destination.url.rstrip("/"),
    )


def check(destination: Destination, *, known_classifications: Sequence[str]) -> None:
    """Raises Invalid naming all fields that are not well formed."""
    wrong = (*_texts(destination), *_references(destination), *_limits(destination, known_classifications))
    raise_for((f"destination.{field}", description) for field, description in wrong)


def _texts(destination: Destination) -> Iterator[tuple[str, str]]:
    if not NAME.fullmatch(destination.name):
        shown = repr(destination.name[:80])
        yield "name", f"{shown} is not 1 to 63 lower-case letters, digits and hyphens, beginning with a letter"
    elif destination.name == DEFAULT_DESTINATION:
        yield "name", f"{DEFAULT_DESTINATION!r} is the server's own catalog; take another name"
    if not destination.url:
        yield "url", "is required"
    yield from check_length("url", destination.url, MAX_URL_CHARACTERS)
    yield from check_length("display_name", destination.display_name, MAX_DISPLAY_NAME_CHARACTERS)
    if _CONTROL.search(destination.display_name):
        yield "display_name", "has control characters"


def _references(destination: Destination) -> Iterator[tuple[str, str]]:
    # What is no reference is not shown: whoever did not write one may have pasted the token.
    if destination.credentials and not is_reference(destination.credentials):
        yield "credentials", "must be a reference, `env:BLADE_SECRET_NAME` or `file:PATH`, never the secret itself"
    yield from check_length("credentials", destination.credentials, MAX_REFERENCE_CHARACTERS)
    if destination.ca_file and not (is_reference(destination.ca_file) and destination.ca_file.startswith("file:")):
        yield "ca_file", "must be a reference, `file:PATH`, to certificates below the server's BLADE_SECRET_DIR"
    yield from check_length("ca_file", destination.ca_file, MAX_REFERENCE_CHARACTERS)


def _limits(destination: Destination, known: Sequence[str]) -> Iterator[tuple[str, str]]:
    rate, timeout_s = destination.items_per_second, destination.timeout_s
    if not (math.isfinite(rate) and rate >= 0):
        yield "items_per_second", f"{rate:g} is not a number from 0 (no limit) up"
    if not 0 <= timeout_s <= MAX_TIMEOUT_S:
        yield "timeout", f"{timeout_s:g} s is not above 0 and at most {MAX_TIMEOUT_S:g} s"
    if destination.ceiling and destination.ceiling not in known:
        shown = repr(destination.ceiling[:80])
        yield "ceiling", f"{shown} is not one of this server's BLADE_CLASSIFICATIONS: {', '.join(known)}"
