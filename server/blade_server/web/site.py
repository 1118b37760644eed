"""The pages and what they are made of, read once from the package. A path is a key of a table, never a file name."""

from __future__ import annotations

import hashlib
from importlib import resources

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_STATIC = resources.files("blade_server.web").joinpath("static")


class Page:
    """ASGI application of one file of the package."""

    def __init__(self, name: str, code: int = 200) -> None:
        content = _STATIC.joinpath(name).read_bytes()
        self._etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        # "no-cache" means: keep it, but ask each time; after an update no page runs with yesterday's script.
        headers = {"etag": self._etag, "cache-control": "no-cache"} if code == 200 else {"www-authenticate": "Bearer"}
        self._whole = Response(content, code, media_type=_TYPES["." + name.rpartition(".")[2]], headers=headers)
        self._unchanged = Response(status_code=304, headers=headers) if code == 200 else self._whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One exchange."""
        known = Headers(scope=scope).get("if-none-match") == self._etag
        await (self._unchanged if known else self._whole)(scope, receive, send)


def files() -> list[Route]:
    """A route for each file that pages are made of, under /static/."""
    names = [entry.name for entry in _STATIC.iterdir() if not entry.name.endswith(".html")]
    return [Route(f"/static/{name}", Page(name), methods=["GET"]) for name in names]
