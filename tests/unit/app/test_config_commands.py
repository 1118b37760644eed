"""`blade config show` and `check`: what a server would run with, and whether it could."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support.access import ADMIN_TOKEN, ADMIN_TOKEN_FILE

from blade_server.__main__ import main
from blade_server.app.misspelt import OF_THE_LOG
from blade_server.settings import Settings, files_of_secrets

SECRET = "s3cret"


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """What commands add to the environment goes with the test."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("BLADE_", "DATABRICKS_", "DATABASE_")):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def to_file(content: str, mode: int = 0o600) -> str:
        path = tmp_path / "blade.toml"
        path.write_text(content)
        path.chmod(mode)
        return str(path)

    return to_file


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["config", *arguments])


def shown(*arguments: str) -> dict[str, dict[str, object]]:
    result = run("show", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return {each["name"]: each for each in json.loads(result.stdout)["settings"]}


def test_every_setting_is_shown_with_its_value_and_where_it_came_from(write, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    os.environ["BLADE_LEASE_S"] = "12"
    file = write(f"catalog_url = 'http://a.test'\nlease_s = 9\ncatalog_token_file = '{tmp_path / 'token'}'\n")
    found = shown("--config", file)
    assert list(found) == [*Settings.model_fields, *(name.removeprefix("BLADE_").lower() for name in OF_THE_LOG)]
    for name, value, origin, where in (
        ("port", 50051, "default", ""),
        ("http_port", 8080, "default", ""),
        ("admin_port", 9464, "default", ""),
        ("lease_s", 12.0, "environment", "BLADE_LEASE_S"),
        ("catalog_url", "http://a.test", "file", f"{file}:1"),
        ("catalog_token", "***", "secret file", str(tmp_path / "token")),
        ("allowed_hosts", [], "default", ""),
        ("log_level", "info", "default", ""),
    ):
        assert (found[name]["value"], found[name]["origin"], found[name]["where"]) == (value, origin, where)


def test_the_file_is_named_or_that_there_is_none(write) -> None:
    assert run("show").output.startswith("# Configuration file: none; --config or BLADE_CONFIG names one\n")
    assert json.loads(run("show", "--json").output)["config_file"] is None
    file = write("")
    assert run("show", "--config", file).output.startswith(f"# Configuration file: {file}\n")
    assert json.loads(run("show", "--json", "--config", file).output)["config_file"] == file


def test_no_secret_is_shown(write) -> None:
    lines = [f"{name} = '{SECRET}'" for name in files_of_secrets() if name != "database_url"]
    file = write("\n".join([*lines, f"database_url = 'postgresql://u:{SECRET}@h:5432/d?password={SECRET}'"]))
    os.environ["BLADE_CATALOG_URL"] = f"http://u:{SECRET}@a.test/x"
    os.environ["BLADE_PUBLIC_URL"] = f"u:{SECRET}@c.test"
    os.environ["BLADE_OIDC_ISSUER"] = f"https://b.test/x?key={SECRET}"
    for arguments in (["--json"], []):
        output = run("show", "--config", file, *arguments).output
        assert SECRET not in output
        assert "***@h:5432/d" in output
        assert "***@a.test/x" in output


def test_what_is_shown_is_a_file_that_says_the_same(write, tmp_path: Path) -> None:
    os.environ |= {"BLADE_LEASE_S": "12", "BLADE_ADMINS": "group:a,subject:b", "BLADE_OIDC_NAME": 'Gr"öße'}
    first = run("show")
    assert first.exit_code == 0, first.output
    assert tomllib.loads(first.stdout)["admins"] == ["group:a", "subject:b"]
    for name in ("BLADE_LEASE_S", "BLADE_ADMINS", "BLADE_OIDC_NAME"):
        del os.environ[name]
    again = run("show", "--config", write(first.stdout))
    assert tomllib.loads(again.stdout) == tomllib.loads(first.stdout)


def test_settings_that_are_right_are_said_to_be(write) -> None:
    os.environ["BLADE_HOTS"] = "x"
    result = run("check", "--config", write(f"admin_token_file = '{ADMIN_TOKEN_FILE}'\n"))
    assert (result.exit_code, result.stdout) == (0, "The settings are right.\n")


def test_the_file_can_be_named_by_a_variable(write) -> None:
    os.environ["BLADE_CONFIG"] = write("port = 'x'")
    assert "port (" in run("check").output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("prot = 1", "blade.toml:1: 'prot' is no setting; did you mean port?"),
        ("\nport = 70000", "blade.toml:2) is '70000': input should be less than or equal to 65535"),
        ("lease_s = 1\nlease_beat_s = 1", "lease_beat_s ({file}:2)=1 is more than a third of lease_s ({file}:1)=1"),
        ("host = '0.0.0.0'", "others can reach host ({file}:1)=0.0.0.0"),
        ("admins = ['ann']", "admins ({file}:1) has 'ann'"),
        ("database_url = 'mysql://u:s3cret@h/d'", "database_url ({file}:1) is 'mysql://***@h/d'"),
        ("catalog_url = 'http://a..b'", "catalog_url ({file}:1) is 'http://a..b'"),
        ("catalog_ca_file = '/absent'", "catalog_ca_file ({file}:1) is '/absent'"),
        ("warehouse_ca_file = '/absent'", "warehouse_ca_file ({file}:1) is '/absent', which cannot be used: No such"),
        ("warehouse_ca_file = '{file}'", "which cannot be used: no certificate of an authority"),
        ("tls_cert_file = '/absent'", "needs both tls_cert_file ({file}:1) and BLADE_TLS_KEY_FILE"),
        ("tls_cert_file = '/absent'\ntls_key_file = '/absent'", "the TLS certificate /absent"),
        ("admin_token_file = '{file}'", "which does not hold a token as `blade token generate` makes it"),
        ("catalog_token_file = '/absent'", "catalog_token_file ({file}:1) is '/absent', which cannot be read"),
        ("secret_dir = '/absent'", "secret_dir ({file}:1) is '/absent', which is no folder"),
        (
            "allowed_warehouse_hosts = ['a.test=s3cret']",
            "allowed_warehouse_hosts ({file}:1): what is bound to 'a.test'",
        ),
        ("allowed_catalog_hosts = ['a.test=s3cret']", "allowed_catalog_hosts ({file}:1): 'a.test' is no host with"),
        ("allowed_webhook_hosts = 'a.test=env:DATABRICKS_X|s3cret'", "allowed_webhook_hosts ({file}:1): 'a.test'"),
        ("catalog_url = 'u:s3cret@a.test'", "catalog_url ({file}:1) is '***@a.test': it must begin with http://"),
        ("catalog_url = 'https:/u:s3cret@a.test'", "catalog_url ({file}:1) is 'https:/***@a.test'"),
        ("allowed_tables = ['x']", "allowed_tables ({file}:1): 'x' is no full name of tables"),
        ("oidc_issuer = 'https://a.test'", "oidc_issuer ({file}:1)"),
        ("trusted_proxies = ['x']", "trusted_proxies ({file}:1) has 'x'"),
    ],
)
def test_check_says_what_is_wrong_and_where_and_fails(write, tmp_path: Path, content: str, said: str) -> None:
    path = str(tmp_path / "blade.toml")
    result = run("check", "--config", write(content.replace("{file}", path)))
    assert result.exit_code == 1, result.output
    assert said.replace("{file}", path) in result.output
    assert SECRET not in result.output
    assert ADMIN_TOKEN not in result.output
    assert "Traceback" not in result.output


def test_a_server_does_not_start_with_a_wrong_file(write) -> None:
    result = CliRunner().invoke(main, ["serve", "--config", write("prot = 1")])
    assert (result.exit_code, "did you mean port?" in result.output) == (2, True)
