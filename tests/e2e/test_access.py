"""Giving access and taking it back on the command line, against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.e2e.conftest import Cli


def test_a_token_and_a_grant_let_somebody_in_and_out_again(
    blade: Cli, add_source: Callable[..., str], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    source = add_source("main.blade.blade_maintenance_data")
    name, file = f"reader-of-{source}", tmp_path / "token"
    made = blade("token", "create", name, "--lifetime", "1h", "--output", str(file), "--json").json["token"]
    as_reader = ("--token-file", str(file))
    assert blade("whoami", "--json", *as_reader).json["principal"] == name
    assert "blade whoami" in blade("source", "show", source, *as_reader, code=10).err
    assert blade("access", "check", "GetItem", "--source", source, "--principal", name, code=10).out

    scope = ("--principal", name, "--on", f"source:{source}")
    assert "'NOFORN' is not one of" in blade("grant", "create", "READER", *scope, "--ceiling", "NOFORN", code=3).err
    grant = blade("grant", "create", "READER", *scope, "--ceiling", "SECRET", "--json").json
    assert grant["ceiling"] == "SECRET"
    wait_until(lambda: blade("source", "show", source, *as_reader, code=None).code == 0)
    assert blade("access", "check", "GetItem", "--source", source, "--principal", name).code == 0
    assert json.loads(blade("grant", "list", "--principal", name, "--json").out)["grants"] == [grant]
    assert "needs the role OPERATOR" in blade("job", "start", "--source", source, *as_reader, code=10).err

    blade("grant", "revoke", grant["grantId"])
    wait_until(lambda: blade("source", "show", source, *as_reader, code=None).code == 10)
    blade("token", "revoke", made["tokenId"], "--reason", "the test is over")
    wait_until(lambda: blade("whoami", *as_reader, code=None).code == 9)
    assert "revoked" in blade("token", "list", "--principal", name).out
    assert blade("grant", "revoke", grant["grantId"], code=4).err
