"""What deploy/ and its page say is so: settings exist, names agree. `make test-deploy` has the rest."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from tests.support.paths import ROOT

from blade_server.app.config_file import read
from blade_server.app.misspelt import misspelt
from blade_server.settings import Settings, files_of_secrets, variable

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "blade"
PAGE = (ROOT / "docs" / "deploy.md").read_text()
EXAMPLE = (DEPLOY / "systemd" / "blade.toml").read_text()


@pytest.fixture
def taken(tmp_path: Path):
    """Names and texts of a configuration file that is in order, and that anybody can read."""

    def names(text: str) -> dict[str, str]:
        file = tmp_path / "blade.toml"
        file.write_text(text)
        return {entry.name: entry.text for entry in read(file)}

    return names


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / "systemd" / "blade.service")
    return parser["Service"]


def unit_lines(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", (DEPLOY / "systemd" / "blade.service").read_text(), re.MULTILINE)


def test_the_example_of_a_configuration_file_is_taken_also_with_all_that_is_commented_out(taken) -> None:
    assert "catalog_url" in taken(EXAMPLE)
    whole = re.sub(r"^host = .*$", "", EXAMPLE, flags=re.MULTILINE)
    assert {"admins", "workers", "tls_key_file"} <= set(taken(re.sub(r"^# (\w+ = )", r"\1", whole, flags=re.MULTILINE)))


def test_the_configuration_file_of_the_page_of_settings_is_taken(taken) -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    [block] = [each for each in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE) if re.match(r" +\w+ = ", each)]
    assert "database_url_file" in taken(re.sub(r"^    ", "", block, flags=re.MULTILINE))


def test_variables_of_the_unit_and_of_the_chart_are_settings() -> None:
    named = [line.partition("=")[0] for line in unit_lines("Environment")]
    named += re.findall(r"name: ([A-Z_]+)$", (CHART / "templates" / "deployment.yaml").read_text(), re.MULTILINE)
    assert "BLADE_CONFIG" in named
    known = {*map(variable, Settings.model_fields), *files_of_secrets().values(), "BLADE_CONFIG"}
    assert set(named) <= known
    assert list(misspelt(named)) == []


def test_the_unit_hands_over_the_secrets_that_it_names() -> None:
    loaded = {line.partition(":")[0] for line in unit_lines("LoadCredential")}
    assert loaded == {line.partition("=%d/")[2] for line in unit_lines("Environment") if "=%d/" in line}


def test_the_unit_waits_for_the_drain_and_stops_the_server_alone() -> None:
    assert float(unit()["TimeoutStopSec"]) > Settings.model_fields["drain_timeout_s"].default + 5
    assert (unit()["KillMode"], unit()["Type"]) == ("mixed", "notify")


def test_the_chart_is_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (release, release)


def test_the_chart_takes_secrets_by_files_alone(taken) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert taken("\n".join(f"{name} = '/x'" for name in values["secrets"]["files"]))
    refused = re.search(r"range \$name := list (.*) }}", (CHART / "templates" / "_helpers.tpl").read_text())
    assert refused
    assert set(re.findall(r'"(\w+)"', refused[1])) >= set(files_of_secrets())


def test_the_settings_of_the_charts_example_exist(taken) -> None:
    text = (CHART / "values.yaml").read_text()
    config = yaml.safe_load(
        re.sub(r"^#( .*)$", r"\1", text.partition("config: {}\n")[2].partition("\n\n")[0], flags=re.M)
    )
    lines = [f"{name} = {str(value).lower() if isinstance(value, bool) else value!r}" for name, value in config.items()]
    assert set(taken("\n".join(lines))) == set(config) >= {"catalog_url", "workers"}


def test_files_that_the_page_names_are_there() -> None:
    named = set(re.findall(r"deploy/[\w./-]+", PAGE))
    assert {"deploy/helm/blade", "deploy/systemd/blade.service"} <= named
    assert [name for name in named if not (ROOT / name.rstrip(".")).exists()] == []
