"""What any request may say. The checks yield what is wrong, as (field, description)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from blade_server.errors import Invalid, Violation

MAX_REASON_CHARACTERS = 1000


def check_length(name: str, value: str, most: int) -> Iterator[tuple[str, str]]:
    """A text of at most so many characters."""
    if len(value) > most:
        yield name, f"has {len(value)} characters; at most {most} are allowed"


def check_reason(reason: str) -> Iterator[tuple[str, str]]:
    """Why somebody does what he does."""
    return check_length("reason", reason, MAX_REASON_CHARACTERS)


def raise_for(wrong: Iterable[tuple[str, str]]) -> None:
    """Raises Invalid naming all these fields, if there are any."""
    violations = [Violation(field=name, description=text) for name, text in wrong]
    if violations:
        raise Invalid(violations)
