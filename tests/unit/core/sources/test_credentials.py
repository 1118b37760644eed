"""Credentials: which warehouse a source leads to, and what keeps secrets where they belong."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from blade_server.app.policies import source_policy, unbound_hosts
from blade_server.core.sources.credentials import no_secret, target, unbound
from blade_server.errors import Invalid
from blade_server.model import SourceConfig
from blade_server.model.policy import WarehousePolicy
from blade_server.settings import Settings

OWN = "dbc-own.cloud.databricks.com"
OTHER = "dbc-other.cloud.databricks.com"


def policy(**changes) -> WarehousePolicy:
    values = {
        "databricks_server_hostname": OWN,
        "databricks_http_path": "/sql/1.0/warehouses/own1",
        "databricks_token": SecretStr("own-token"),
        "allowed_warehouse_hosts": f"{OTHER}=env:BLADE_SECRET_OTHER|env:DATABRICKS_TOKEN|env:BLADE_SECRET_COPY|"
        "env:BLADE_SECRET_ABSENT,http://127.0.0.1:8443",
    }
    return source_policy(Settings(**{**values, **changes})).warehouse


def config(**fields) -> SourceConfig:
    return SourceConfig(**{"catalog": "main", "schema": "blade", "table": "t", **fields})


def refusal(config_: SourceConfig, **changes) -> tuple[str, str]:
    with pytest.raises(Invalid) as caught:
        target(policy(**changes), config_)
    [violation] = caught.value.violations
    return violation.field, violation.description


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("BLADE_SECRET_OTHER", " other-token\n")
    monkeypatch.setenv("DATABRICKS_TOKEN", "own-token")
    monkeypatch.setenv("PATH_TO_SOMETHING", "not-for-sources")
    monkeypatch.delenv("BLADE_SECRET_ABSENT", raising=False)


class TestDefaults:
    def test_everything_comes_from_the_server(self):
        found = target(policy(), config())
        assert (found.host, found.http_path) == (OWN, "/sql/1.0/warehouses/own1")
        assert found.token.get_secret_value() == "own-token"
        assert found.warehouse_id == "own1"

    def test_a_client_id_and_secret_stand_in_for_a_token(self):
        found = target(
            policy(databricks_token=None, databricks_client_id="id", databricks_client_secret="secret"), config()
        )
        assert (found.client_id, found.client_secret.get_secret_value()) == ("id", "secret")
        assert "secret" not in repr(found).replace("client_secret", "")

    def test_a_source_has_its_own_warehouse_and_token(self):
        found = target(policy(), config(warehouse_id="other2", credentials="env:BLADE_SECRET_OTHER"))
        assert found.http_path == "/sql/1.0/warehouses/other2"
        assert found.token.get_secret_value() == "other-token"

    @pytest.mark.parametrize("host", [OWN, f"https://{OWN}/", OWN.upper()])
    def test_the_servers_own_host_needs_no_permission(self, host):
        assert target(policy(), config(host=host)).token.get_secret_value() == "own-token"

    def test_without_any_host_both_ways_out_are_named(self):
        field, text = refusal(config(), databricks_server_hostname="")
        assert field == "source.config.host"
        assert "DATABRICKS_SERVER_HOSTNAME" in text

    def test_without_any_warehouse_the_field_is_named(self):
        assert refusal(config(), databricks_http_path="")[0] == "source.config.warehouse_id"

    @pytest.mark.parametrize("warehouse_id", ["a/b", "../x", "a b", "a?o=1", "ü"])
    def test_a_warehouse_id_cannot_change_the_path(self, warehouse_id):
        assert refusal(config(warehouse_id=warehouse_id))[0] == "source.config.warehouse_id"


class TestOtherHosts:
    def test_an_allowed_host_with_credentials_of_its_own(self):
        found = target(policy(), config(host=OTHER, warehouse_id="w", credentials="env:BLADE_SECRET_OTHER"))
        assert found.host == OTHER
        assert found.token.get_secret_value() == "other-token"
        assert not found.client_id

    def test_an_allowed_host_without_credentials_does_not_get_the_servers(self):
        assert refusal(config(host=OTHER, warehouse_id="w"))[0] == "source.config.credentials"

    @pytest.mark.parametrize("reference", ["env:DATABRICKS_TOKEN", "env:BLADE_SECRET_COPY"])
    def test_the_servers_token_does_not_go_to_another_host_by_a_reference_either(self, monkeypatch, reference):
        monkeypatch.setenv("BLADE_SECRET_COPY", "own-token")
        field, text = refusal(config(host=OTHER, warehouse_id="w", credentials=reference))
        assert field == "source.config.credentials"
        assert "own-token" not in text

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example.com",
            f"{OTHER}.evil.example.com",
            f"{OTHER}@evil.example.com",
            f"{OTHER}/x",
            f"{OTHER}:8443",
            f"http://{OTHER}",
            f"{OTHER}#",
            "127.0.0.1:8443",
            "http://169.254.169.254",
        ],
    )
    def test_what_only_looks_like_an_allowed_host_is_refused(self, host):
        field, _ = refusal(config(host=host, warehouse_id="w", credentials="env:BLADE_SECRET_OTHER"))
        assert field == "source.config.host"

    def test_the_servers_default_path_is_not_for_another_host(self):
        assert refusal(config(host=OTHER, credentials="env:BLADE_SECRET_OTHER"))[0] == "source.config.warehouse_id"


class TestReferences:
    @pytest.mark.parametrize(
        "reference",
        [
            "env:PATH_TO_SOMETHING",
            "env:HOME",
            "env:",
            "env:BLADE_SECRET_",
            "env:BLADE_SECRET_ABSENT",
            "env:blade_secret_other",
            "env:BLADE_SECRET_OTHER ",
            "file:",
            "dapi0123456789abcdef",
            "https://vault/secret",
        ],
    )
    def test_only_what_is_meant_for_it_can_be_referred_to(self, reference):
        field, text = refusal(config(credentials=reference))
        assert field == "source.config.credentials"
        assert "dapi0123456789abcdef" not in text
        assert "not-for-sources" not in text

    def test_a_file_below_the_secret_dir(self, tmp_path: Path):
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "token").write_text("file-token\n")
        for name in ("sub/token", str(tmp_path / "sub" / "token"), "sub/../sub/token"):
            found = target(policy(secret_dir=tmp_path), config(credentials=f"file:{name}"))
            assert found.token.get_secret_value() == "file-token"

    def test_links_inside_are_followed_as_kubernetes_makes_them(self, tmp_path: Path):
        (tmp_path / "..data").mkdir()
        (tmp_path / "..data" / "token").write_text("file-token")
        (tmp_path / "token").symlink_to(tmp_path / "..data" / "token")
        found = target(policy(secret_dir=tmp_path), config(credentials="file:token"))
        assert found.token.get_secret_value() == "file-token"

    def test_nothing_outside_can_be_reached(self, tmp_path: Path):
        root = tmp_path / "secrets"
        root.mkdir()
        outside = tmp_path / "outside"
        outside.write_text("outside-token")
        (root / "link").symlink_to(outside)
        (root / "folder").symlink_to(tmp_path)
        (tmp_path / "secrets-2").mkdir()
        (tmp_path / "secrets-2" / "token").write_text("outside-token")
        for name in ("../outside", str(outside), "link", "folder/outside", "../secrets-2/token", "/etc/passwd"):
            field, text = refusal(config(credentials=f"file:{name}"), secret_dir=root)
            assert field == "source.config.credentials"
            assert text == self.words(OWN, f"file:{name}")

    def test_what_is_no_token_is_refused_without_showing_it(self, tmp_path: Path):
        (tmp_path / "empty").write_text(" \n")
        (tmp_path / "binary").write_bytes(b"\xff\xfe\x00secret")
        (tmp_path / "lines").write_text("secret\nX-Header: 1")
        (tmp_path / "large").write_text("s" * 100_000)
        (tmp_path / "folder").mkdir()
        for name in ("empty", "binary", "lines", "large", "folder", "absent", "a\0b"):
            _, text = refusal(config(credentials=f"file:{name}"), secret_dir=tmp_path)
            assert "X-Header" not in text

    def test_without_a_secret_dir_no_file_can_be_read(self):
        assert refusal(config(credentials="file:token"))[1] == self.words(OWN, "file:token")

    def words(self, host: str, reference: str) -> str:
        return no_secret(host, reference).violations[0].description


class TestBound:
    """What an operator binds to a host goes there, and nothing else does; nobody learns why."""

    def reached(self, host: str, reference: str, bound: str, **changes) -> str:
        found = target(
            policy(allowed_warehouse_hosts=bound, **changes),
            config(host=host, warehouse_id="w", credentials=reference),
        )
        return found.token.get_secret_value()

    @pytest.mark.parametrize("spelt", [OTHER, OTHER.upper(), f"https://{OTHER}/"])
    def test_what_is_bound_goes_there(self, spelt):
        assert self.reached(OTHER, "env:BLADE_SECRET_OTHER", f"{spelt}=env:BLADE_SECRET_OTHER") == "other-token"
        twice = f"{OTHER}=env:BLADE_SECRET_X, {OTHER}=env:BLADE_SECRET_OTHER"
        assert self.reached(spelt, "env:BLADE_SECRET_OTHER", twice) == "other-token"
        own = f"{OWN}=env:BLADE_SECRET_OTHER"
        assert self.reached("", "env:BLADE_SECRET_OTHER", own) == "other-token"

    def test_a_bound_file(self, tmp_path: Path):
        (tmp_path / "t").write_text("file-token")
        bound = f"{OTHER}=env:BLADE_SECRET_X|file:t"
        assert self.reached(OTHER, "file:t", bound, secret_dir=tmp_path) == "file-token"
        for same in ("file:./t", "file:x/../t", f"file:{tmp_path}/t", "env:BLADE_SECRET_OTHER"):
            with pytest.raises(Invalid):
                self.reached(OTHER, same, bound, secret_dir=tmp_path)

    def test_all_that_can_be_wrong_has_the_same_words(self, monkeypatch, tmp_path: Path):
        monkeypatch.setenv("BLADE_SECRET_EMPTY", " ")
        monkeypatch.setenv("BLADE_SECRET_LINES", "a\nb")
        monkeypatch.setenv("BLADE_SECRET_SAME", "own-token")
        (tmp_path / "there").write_text("file-token")
        bound = "|".join(f"env:BLADE_SECRET_{name}" for name in ("ABSENT", "EMPTY", "LINES", "SAME"))
        for reference in (
            "env:BLADE_SECRET_OTHER",  # set, and not bound
            "env:BLADE_SECRET_NEITHER",
            "env:BLADE_SECRET_ABSENT",  # bound, and not set
            "env:BLADE_SECRET_EMPTY",
            "env:BLADE_SECRET_LINES",
            "env:BLADE_SECRET_SAME",
            "env:PATH",
            "file:there",
            "file:absent",
            "file:../outside",
        ):
            with pytest.raises(Invalid) as caught:
                self.reached(OTHER, reference, f"{OTHER}={bound}", secret_dir=tmp_path)
            assert caught.value.message == no_secret(OTHER, reference).message

    def test_only_hosts_to_which_nothing_is_bound_look_at_what_sources_name(self):
        where = policy(allowed_warehouse_hosts=f"a.test,{OTHER}=env:BLADE_SECRET_OTHER")
        named = {"credentials": "env:BLADE_SECRET_OTHER"}
        assert unbound(where, config(host="A.test", **named)) == ("a.test", "env:BLADE_SECRET_OTHER")
        assert unbound(where, config(**named)) == (OWN, "env:BLADE_SECRET_OTHER")
        assert unbound(where, config(host=OTHER, **named)) is None
        assert unbound(where, config(host="a.test")) is None
        assert unbound(where, config(host="b.test", **named)) is None  # which is refused anyway

    @pytest.mark.parametrize(
        "entry", ["=env:BLADE_SECRET_X", "a.test=", "a.test=env:PATH", "a.test=secret", "a.test=env:BLADE_SECRET_X|"]
    )
    def test_what_binds_nothing_ends_the_start(self, entry):
        with pytest.raises(ValueError, match="is no reference") as caught:
            Settings(allowed_warehouse_hosts=entry)
        assert "BLADE_ALLOWED_WAREHOUSE_HOSTS" in str(caught.value) or "allowed_warehouse_hosts" in str(caught.value)

    def test_a_host_alone_is_warned_of(self):
        [sentence] = unbound_hosts(Settings(allowed_warehouse_hosts=f"a.test,{OTHER}=env:BLADE_SECRET_OTHER"))
        assert "names a.test and binds no credentials" in sentence
