"""A configuration file: what it may say, what goes before it, and what is told of its mistakes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from blade_server.app.config_file import Entry, placed, put_into, read
from blade_server.settings import Settings, files_of_secrets, variable


@pytest.fixture
def file(tmp_path: Path):
    def write(content: str | bytes, mode: int = 0o644) -> Path:
        path = tmp_path / "blade.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)
        return path

    return write


def texts(path: Path) -> dict[str, str]:
    return {entry.variable: entry.text for entry in read(path)}


def test_names_are_those_of_the_settings_and_values_are_as_variables_have_them(file) -> None:
    path = file("port = 0\nlease_s = 4.5\nopen_contract = true\nallowed_hosts = ['a.test', 'b.test']\nlog_level='info'")
    assert texts(path) == {
        "BLADE_PORT": "0",
        "BLADE_LEASE_S": "4.5",
        "BLADE_OPEN_CONTRACT": "true",
        "BLADE_ALLOWED_HOSTS": "a.test,b.test",
        "BLADE_LOG_LEVEL": "info",
    }


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_can_stand_in_a_file(file, name: str) -> None:
    assert list(texts(file(f'{name} = "1"', 0o600))) == [variable(name)]


@pytest.mark.parametrize("file_variable", files_of_secrets().values())
def test_every_secret_can_be_named_by_its_file(file, file_variable: str) -> None:
    name = file_variable.lower().removeprefix("blade_")
    assert texts(file(f'{name} = "/run/secrets/one"')) == {file_variable: "/run/secrets/one"}


def test_lines_are_those_of_the_file_also_behind_values_of_several_lines(file) -> None:
    first = ["\ufeff# a comment", "allowed_hosts = [", '"port = 1",', "]", ""]
    path = file("\r\n".join([*first, 'oidc_name = """', "port = 2", '"""', "port = 3"]))
    assert [(entry.name, entry.line) for entry in read(path)] == [("allowed_hosts", 2), ("oidc_name", 6), ("port", 9)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("catalog_ulr = 'x'", "'catalog_ulr' is no setting; did you mean catalog_url?"),
        ("BLADE_PORT = 1", "'BLADE_PORT' is no setting; did you mean port?"),
        ("DATABASE_URL = 'x'", "did you mean database_url?"),
        ("admin_token = 'x'", "did you mean admin_token_file?"),
        ("qqqqqq = 1", "docs/settings.md has all, in lower case and without BLADE_"),
        ("[catalog]\nurl = 'x'", "'catalog' is a table, and settings stand in none"),
        ("catalog.url = 'x'", "'catalog' is a table"),
        ("[[catalog]]", "'catalog' is a table"),
        ("port = [1]", "port is a list, which it cannot be"),
        ("admins = ['a,b']", "admins has something else than texts without commas"),
        ("admins = [1]", "admins has something else than texts"),
        ("port = 2026-01-01", "port is 2026-01-01, which it cannot be"),
        ('host = "a\\u0000"', "host has a NUL character"),
        ("port = ", "this is no TOML"),
        ("port = 1\nport = 2", "this is no TOML"),
        ("catalog_token_file = 'a'\ncatalog_token = 'b'", "catalog_token and catalog_token_file (line 3) are both"),
    ],
)
def test_a_mistake_is_told_with_its_line(file, line: str, said: str) -> None:
    path = file(f"# first\n\n{line}\n", 0o600)
    with pytest.raises(ValueError, match=r"blade.toml:[34]: ") as caught:
        read(path)
    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once(file) -> None:
    with pytest.raises(ValueError, match=r"blade.toml:1: .*HOTS.*; .*blade.toml:3: .*prot"):
        read(file("HOTS = 1\nport = 1\nprot = 2\n"))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff", "no UTF-8"), (b"#" * 70_000, "64 KiB"), (None, "No such file")],
)
def test_a_file_that_cannot_be_read_is_named(file, tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "absent" if content is None else file(content)
    with pytest.raises(ValueError, match=f"the configuration file '{path}' cannot be read: .*{said}"):
        read(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
@pytest.mark.parametrize("name", files_of_secrets())
def test_a_secret_in_a_file_that_others_can_read_is_refused(file, name: str, mode: int) -> None:
    secret = "postgresql://u:s3cret@h/d" if name.endswith("database_url") else "s3cret"
    with pytest.raises(ValueError, match=rf"blade.toml:1: {name} is a secret.*{mode:04o}.*{name}_file") as caught:
        read(file(f'{name} = "{secret}"', mode))
    assert "s3cret" not in str(caught.value)
    assert texts(file(f'{name} = "{secret}"', 0o600)) == {variable(name): secret}


@pytest.mark.parametrize("url", ["postgresql://u:s3cret@h/d", "postgresql://h/d?password=s3cret"])
def test_the_url_of_a_database_is_a_secret_if_it_has_a_password(file, url: str) -> None:
    with pytest.raises(ValueError, match="database_url is a secret"):
        read(file(f"database_url = '{url}'"))
    assert texts(file("database_url = 'postgresql://u@h/d?host=/run'"))


def test_the_environment_goes_before_the_file(file) -> None:
    entries = read(file("port = 1\nhost = '::1'\ncatalog_url = 'http://a.test'", 0o600))
    environment = {"BLADE_PORT": "2", "blade_catalog_url": ""}
    assert list(put_into(environment, entries)) == ["BLADE_HOST"]
    assert environment == {"BLADE_PORT": "2", "blade_catalog_url": "", "BLADE_HOST": "::1"}


@pytest.mark.parametrize(
    ("in_file", "in_environment"),
    [("catalog_token", "BLADE_CATALOG_TOKEN_FILE"), ("catalog_token_file", "BLADE_CATALOG_TOKEN")],
)
def test_a_secret_of_the_environment_goes_before_either_form_in_the_file(file, in_file, in_environment) -> None:
    environment = {in_environment: "x"}
    assert put_into(environment, read(file(f"{in_file} = 'y'", 0o600))) == {}
    assert environment == {in_environment: "x"}


def test_a_sentence_names_the_place_of_what_came_from_the_file() -> None:
    entry = Entry(name="port", variable="BLADE_PORT", text="x", line=3, file=Path("/etc/blade.toml"))
    sentence = "BLADE_PORT is 'x', BLADE_HTTP_PORT is not, and BLADE_PORT_X neither"
    assert placed(sentence, {"BLADE_PORT": entry}) == (
        "port (/etc/blade.toml:3) is 'x', BLADE_HTTP_PORT is not, and BLADE_PORT_X neither"
    )


def test_a_long_list_or_text_is_read_a_few_times_and_not_once_a_line(file, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(f"  'main.schema_{number}.*', # one\n" for number in range(500))
    content = f"# tables\nallowed_tables = [\n{lines}]\n\n# words\noidc_name = '''{'x = 1' * 50}\n'''\nport = 0\n"
    read_characters = 0

    def counted(text: str, _loads=tomllib.loads) -> object:
        nonlocal read_characters
        read_characters += len(text)
        return _loads(text)

    monkeypatch.setattr(tomllib, "loads", counted)
    found = {entry.name: entry.line for entry in read(file(content))}
    assert found == {"allowed_tables": 2, "oidc_name": 506, "port": 508}
    assert read_characters < 4 * len(content)
