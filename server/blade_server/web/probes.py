"""What supervisors and load balancers ask: whether this process lives (/livez), and whether it is ready (/readyz).

For everybody, so the answers are names of checks and fixed words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at. `trouble`: what is wrong, empty: nothing. `counts`: without it nobody is ready."""

    name: str
    trouble: str = ""
    counts: bool = True


Checks = Callable[[], Sequence[Check]]
"""As things are now; does not wait."""


def probes(checks: Checks) -> list[Route]:
    """The routes of both, in any application of the loop that is to turn."""

    async def live(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(request: Request) -> Response:
        found = checks()
        in_the_way = [check.name for check in found if check.counts and check.trouble]
        verdict = f"not ready: {', '.join(in_the_way)}" if in_the_way else "ok"
        lines = [*map(_line, found), verdict] if "verbose" in request.query_params else [verdict]
        return PlainTextResponse("\n".join([*lines, ""]), 503 if in_the_way else 200)

    return [Route("/livez", live, methods=["GET"]), Route("/readyz", ready, methods=["GET"])]


def _line(check: Check) -> str:
    mark = "-" if check.trouble else "+"
    return f"[{mark}] {check.name}: {check.trouble or 'ok'}{'' if check.counts else ' (does not count)'}"
