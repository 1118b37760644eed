"""What the line says that SIGHUP writes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from blade_server.app.reread import Reread
from blade_server.settings import Settings, files_of_secrets

AT_THE_START = {"DATABASE_URL_FILE", "BLADE_LISTEN_DATABASE_URL_FILE"}


def test_what_counts_only_from_the_next_start_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("one")
    for name, variable in files_of_secrets().items():
        monkeypatch.delenv(variable.removesuffix("_FILE"), raising=False)
        monkeypatch.setenv(variable, str(secret))
        assert name in Settings.model_fields
    reread = Reread(Settings())
    secret.write_text("two")

    async def once() -> None:
        reread()
        await asyncio.gather(*reread._tasks)

    caplog.set_level("INFO", "blade_server")
    asyncio.run(once())
    [line] = caplog.messages
    for variable in files_of_secrets().values():
        later = ", which counts from the next start" if variable in AT_THE_START else ""
        assert f"{variable} changed{later};" in f"{line};"
