"""docs/settings.md and settings.py say the same."""

from __future__ import annotations

import re

import pytest
from tests.support.paths import ROOT

from blade_server.app.misspelt import OF_THE_LOG
from blade_server.settings import Settings, files_of_secrets

PAGE = (ROOT / "docs" / "settings.md").read_text()
OF_THE_CLIENT = {"BLADE_SERVER", "BLADE_TOKEN", "BLADE_TOKEN_FILE", "BLADE_PROFILE"}
OF_COMMANDS = {"BLADE_CONFIG"}


def variables() -> dict[str, object]:
    prefix = Settings.model_config["env_prefix"]
    return {
        str(field.validation_alias or f"{prefix}{name}".upper()): field.default
        for name, field in Settings.model_fields.items()
    }


def rows() -> dict[str, str]:
    """Variable -> the default that the page gives."""
    found = {}
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            names, default = line.split("|")[1:3]
            found |= {name: default.strip().strip("`") for name in re.findall(r"`([A-Z_]+)`", names)}
    return found


def test_every_setting_is_on_the_page_and_every_one_on_the_page_exists() -> None:
    named = set(re.findall(r"`((?:BLADE|DATABRICKS|DATABASE)_[A-Z_]+)`", PAGE)) - OF_THE_CLIENT - OF_COMMANDS
    assert named == set(variables()) | set(files_of_secrets().values()) | set(OF_THE_LOG)


@pytest.mark.parametrize(("name", "default"), [each for each in variables().items() if each[1] not in (None, "", ())])
def test_the_page_gives_the_default_that_holds(name: str, default: object) -> None:
    written = rows()[name]
    if isinstance(default, tuple):
        assert tuple(written.split(",")) == default
    elif isinstance(default, bool):
        assert written == str(default).lower()
    else:
        assert type(default)(written) == default  # type: ignore[call-arg]
