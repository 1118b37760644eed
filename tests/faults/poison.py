"""A catalog that answers 500 for ever to whatever contains certain items, and is well otherwise."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import requests


class PoisonousCatalog:
    """Stands before the catalog and passes on what has no poison in it."""

    def __init__(self, catalog_url: str, ids: Sequence[str]) -> None:
        self.ids = set(ids)
        self.struck = 0
        poisons = [f'"{item_id}"'.encode() for item_id in ids]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                upload = self.command == "POST" and not self.path.endswith("lookup")
                if upload and any(poison in body for poison in poisons):
                    outer.struck += 1
                    self._answer(500, b'{"error": "poison"}')
                    return
                headers = {name: value for name, value in self.headers.items() if name != "Host"}
                answer = requests.request(self.command, catalog_url + self.path, data=body, headers=headers, timeout=10)
                self._answer(answer.status_code, answer.content)

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_HEAD = _serve

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="poison", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
