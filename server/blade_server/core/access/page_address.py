"""Where people find the page."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class PageAddress:
    """`url` as an operator says it, without a slash at its end; "": under the host at which the server is called.

    `secure`: its port speaks TLS; `port` 0: it does not listen yet.
    """

    url: str = ""
    secure: bool = False
    port: int = 0
