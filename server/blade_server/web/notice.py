"""Small pages that are made here: a sentence, and a way on. They need no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from blade_server.web.transcoder.exchange import Exchange
from blade_server.web.transcoder.problem import Problem

_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>{title} · BLADE</title>
  <link rel="icon" href="/static/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/static/blade.css">{refresh}
</head>
<body>
  <main id="main"><section class="sign-in panel">
    <h1>{title}</h1>
    <p>{sentence}</p>
    <p><a href="{link}">{words}</a></p>
  </section></main>
</body>
</html>
"""
_HEADERS = {"content-type": "text/html; charset=utf-8", "referrer-policy": "no-referrer"}
"""The address of such a page may hold a code; nobody is told it, not even this server's own pages."""


async def go_on(exchange: Exchange, title: str, to: str, cookies: Sequence[str]) -> None:
    """A page that goes on to a place of this server by itself.

    No redirect: what a browser is redirected to from another site gets no cookie that is for this site alone.
    """
    refresh = f'\n  <meta http-equiv="refresh" content="0; url={escape(to)}">'
    await _send(exchange, 200, _page(title, "One moment.", to, "Go on", refresh), {}, cookies)


async def say(exchange: Exchange, problem: Problem, title: str, cookies: Sequence[str]) -> None:
    """A page that says what is wrong, in words that may be of strangers."""
    sentence = f"{problem.message[:1].upper()}{problem.message[1:]}."
    page = _page(title, sentence, "/", "Back to the sign-in", "")
    await _send(exchange, problem.code, page, problem.headers, cookies)


def _page(title: str, sentence: str, link: str, words: str, refresh: str) -> bytes:
    shown = {"title": title, "sentence": sentence, "link": link, "words": words}
    return _PAGE.format(**{name: escape(text) for name, text in shown.items()}, refresh=refresh).encode()


async def _send(exchange: Exchange, code: int, page: bytes, headers: Mapping[str, str], cookies: Sequence[str]) -> None:
    await exchange.start(code, {**_HEADERS, "content-length": str(len(page)), **headers}, cookies)
    await exchange.write(page, more=False)
