"""Settings that cannot be right are refused at the start, with a word on what would be."""

from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from blade_server.app.misspelt import misspelt
from blade_server.settings import Settings, files_of_secrets


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("BLADE_", "DATABRICKS_", "DATABASE_")):
            monkeypatch.delenv(name)


def test_a_beat_too_slow_for_the_lease_is_refused_with_the_way_out():
    with pytest.raises(ValidationError, match=r"BLADE_LEASE_BEAT_S=4 .* set it to 3\.333"):
        Settings(lease_s=10, lease_beat_s=4)


def test_three_beats_a_lease_are_enough():
    assert Settings(lease_s=9, lease_beat_s=3).lease_beat_s == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("BLADE_HOTS", "did you mean BLADE_HOST?"),
        ("blade_catalog_tokn", "did you mean BLADE_CATALOG_TOKEN?"),
        ("BLADE_CATALOG_TOKEN_FIEL", "did you mean BLADE_CATALOG_TOKEN_FILE?"),
        ("BLADE_QQQQQQQQQ", "docs/settings.md has all"),
    ],
)
def test_a_misspelt_setting_is_told_with_the_one_that_was_meant(name, said):
    [sentence] = misspelt([name, "BLADE_HOST", "PATH"])
    assert sentence.startswith(f"{name} is set and is no setting")
    assert said in sentence


def test_what_others_set_is_not_misspelt():
    others = ["BLADE_SERVER", "BLADE_LOG_LEVEL", "BLADE_SECRET_X", "BLADE_SERVICE_HOST", "BLADE_PORT_50051_TCP_ADDR"]
    assert list(misspelt([*others, "blade_port", "BLADE_CATALOG_TOKEN_FILE", "HOME"])) == []


@pytest.mark.parametrize(("field", "variable"), files_of_secrets().items())
def test_every_secret_can_stand_in_a_file(tmp_path, monkeypatch, field, variable):
    secret = "postgresql://u:p@h/d" if field == "database_url" else "s3cret"
    (tmp_path / "secret").write_text(f"  {secret}\r\n\n")
    monkeypatch.setenv(variable, str(tmp_path / "secret"))
    monkeypatch.setenv(variable.removesuffix("_FILE"), "")
    assert getattr(Settings(), field).get_secret_value() == secret
    monkeypatch.setenv(variable.removesuffix("_FILE"), "another")
    with pytest.raises(ValidationError, match="are both set") as caught:
        Settings()
    assert "another" not in str(caught.value.errors()[0]["ctx"])


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b" \n", "empty"), (b"\xff", "no UTF-8"), (b"x" * 70_000, "64 KiB")]
)
def test_a_file_that_holds_no_secret_is_refused_with_its_name(tmp_path, monkeypatch, content, said):
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("DATABRICKS_TOKEN_FILE", str(file))
    with pytest.raises(ValidationError, match=f"DATABRICKS_TOKEN_FILE is '{file}'.*{said}"):
        Settings()


def test_hosts_of_webhooks_bind_secrets_that_are_none_of_the_warehouses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLADE_ALLOWED_WEBHOOK_HOSTS", "Hooks.example.com=env:BLADE_SECRET_A|file:b, localhost:8000")
    hosts = Settings().webhook_hosts
    assert hosts == {"hooks.example.com": {"env:BLADE_SECRET_A", "file:b"}, "localhost:8000": frozenset()}
    for wrong in ("a=env:DATABRICKS_TOKEN", "a=b", "https://a", "a=", "=env:BLADE_SECRET_A"):
        monkeypatch.setenv("BLADE_ALLOWED_WEBHOOK_HOSTS", wrong)
        with pytest.raises(ValidationError):
            Settings()
