"""Where profiles and operator's tokens are, as the server and the platforms have it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from blade_client.folders import config_folder, data_folder
from blade_client.operator_token import tokens_folder
from blade_server.storage.embedded.postgres import default_data_dir


@pytest.mark.parametrize("given", [None, "", "/somewhere/else"])
def test_without_blade_data_dir_tokens_are_where_the_server_has_its_data(monkeypatch, given) -> None:
    monkeypatch.delenv("BLADE_DATA_DIR", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if given is not None:
        monkeypatch.setenv("XDG_DATA_HOME", given)
    assert data_folder() / "postgres" == default_data_dir()
    assert tokens_folder() == default_data_dir() / "tokens"
    monkeypatch.setenv("BLADE_DATA_DIR", "/own")
    assert tokens_folder() == Path("/own/tokens")


@pytest.mark.parametrize(
    ("platform", "config", "data"),
    [
        ("linux", ".config/blade", ".local/share/blade"),
        ("darwin", "Library/Application Support/blade", "Library/Application Support/blade"),
        ("win32", "roaming/blade", "local/blade"),
    ],
)
def test_each_platform_has_folders_of_its_own(monkeypatch, tmp_path, platform, config, data) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("APPDATA", str(tmp_path / "roaming"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    monkeypatch.setattr(sys, "platform", platform)
    assert (config_folder(), data_folder()) == (tmp_path / config, tmp_path / data)
