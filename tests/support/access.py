"""Who calls in tests: anybody where core is called by hand, and the token that every server of the tests lets in."""

from __future__ import annotations

import atexit
import inspect
import shutil
import tempfile
from pathlib import Path
from typing import Any

from blade_server.core.access.tokens import new_token
from blade_server.model.access import EVERYTHING_GRANTS, Caller, Grant, Kind, Principal, Role

ADMIN_TOKEN = new_token()[1]
"""Of this run, or of this process of it."""

_folder = Path(tempfile.mkdtemp(prefix="blade-tests-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
ADMIN_TOKEN_FILE = _folder / "admin-token"
ADMIN_TOKEN_FILE.write_text(ADMIN_TOKEN)
ADMIN_TOKEN_FILE.chmod(0o600)

SERVER_ENVIRONMENT = {"BLADE_ADMIN_TOKEN_FILE": str(ADMIN_TOKEN_FILE)}
"""For servers."""
HEADERS = {"authorization": f"Bearer {ADMIN_TOKEN}"}
"""For HTTP."""
METADATA = tuple(HEADERS.items())
"""For stubs of gRPC."""


def called(claims: str = "tester", **changes: Any) -> Caller:
    """A call of somebody who may do everything, where nobody signs in."""
    anybody = Principal(name="anybody", kind=Kind.OFF, grants=EVERYTHING_GRANTS)
    return Caller(**({"principal": anybody, "needs": Role.ADMIN, "claims": claims} | changes))


def called_by(name: str, needs: Role, *grants: tuple[Role, str]) -> Caller:
    """A call of a principal with these grants, of a method that needs this role."""
    his = tuple(Grant(role=role, scope=scope, principal=name) for role, scope in grants)
    return Caller(principal=Principal(name=name, kind=Kind.TOKEN, grants=his), needs=needs)


class AsTester:
    """A part of core whose calls are those of somebody who may do everything, unless they say `by` themselves."""

    def __init__(self, part: Any) -> None:
        self._part = part

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        is_part = callable(value) or type(value).__module__.startswith("blade_server.core.")
        return AsTester(value) if is_part else value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "by" in inspect.signature(self._part).parameters:
            kwargs.setdefault("by", called())
        return self._part(*args, **kwargs)
