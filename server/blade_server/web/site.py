"""The pages and what they are made of, read once from the package. A path is a key of a table, never a file name."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PAGES = {"/": "index.html", "/docs": "docs.html"}


def routes() -> list[Route]:
    """A route for each page and each file, all under /static/ but the pages."""
    files = {entry.name: entry for entry in resources.files("blade_server.web").joinpath("static").iterdir()}
    paths = {**_PAGES, **{f"/static/{name}": name for name in files if not name.endswith(".html")}}
    return [Route(path, _endpoint(files[name]), methods=["GET"]) for path, name in paths.items()]


def _endpoint(file: Traversable) -> Callable[[Request], Awaitable[Response]]:
    content = file.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    media_type = _TYPES["." + file.name.rpartition(".")[2]]
    # "no-cache" means: keep it, but ask each time; after an update no page runs with yesterday's script.
    headers = {"etag": etag, "cache-control": "no-cache"}

    async def serve(request: Request) -> Response:
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return serve
