"""The driver's TLS contexts: one for all sessions that trust the same, and never one for two that do not."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from databricks.sql.common import unified_http_client
from databricks.sql.types import SSLOptions

from blade_server.warehouse import trust


def contexts(ca_file: str = "") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a session gets: that of its HTTP client, and its own."""
    with trust.shared(ca_file):
        return unified_http_client.ssl.create_default_context(), SSLOptions().create_ssl_context()


def test_sessions_that_trust_the_same_share_a_context_and_those_of_the_driver_alone_do_not() -> None:
    assert contexts() == contexts()
    assert unified_http_client.ssl.create_default_context() not in contexts()
    assert SSLOptions().create_ssl_context() not in contexts()


def test_another_file_or_a_renewed_one_is_another_trust(tmp_path: Path) -> None:
    files = [tmp_path / "one.pem", tmp_path / "other.pem"]
    for file in files:
        file.touch()
    before = [*contexts(), *contexts(str(files[0])), *contexts(str(files[1]))]
    os.utime(files[0], (1, 1))
    after = contexts(str(files[0]))
    assert len({id(context) for context in (*before, *after)}) == 8
