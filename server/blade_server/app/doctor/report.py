"""Checks as people read them, and as machines do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blade_server.app.doctor.check import Check, Outcome

_MARKS = {Outcome.PASSED: "ok", Outcome.WARNING: "WARNING", Outcome.FAILED: "FAILED", Outcome.NOT_RUN: "not run"}


def as_text(check: Check) -> str:
    """One line, and a second one with the way out."""
    line = f"{_MARKS[check.outcome]:<9}{check.name:<24}{_plain(check.found)}"
    return f"{line}\n{'':<33}-> {_plain(check.way_out)}" if check.way_out else line


def summary(checks: Sequence[Check]) -> str:
    """The last line."""
    bad = [check for check in checks if check.outcome is Outcome.FAILED]
    warnings = sum(check.outcome is Outcome.WARNING for check in checks)
    if not bad:
        return "Nothing failed." if not warnings else f"Nothing failed; {warnings} to look at."
    return f"{len(bad)} of {len(checks)} failed: {', '.join(check.name for check in bad)}"


def as_document(checks: Sequence[Check]) -> dict[str, Any]:
    """For JSON."""
    return {
        "failed": sum(check.outcome is Outcome.FAILED for check in checks),
        "checks": [
            {"name": check.name, "outcome": check.outcome.value, "found": check.found, "wayOut": check.way_out}
            for check in checks
        ],
    }


def _plain(text: str) -> str:
    """In one line, and without what drives a terminal: others have written parts of it."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))
