"""The demo's step about signing in, on a sandbox of its own: what it shows is what the servers do."""

from __future__ import annotations

from pathlib import Path

import pytest

from blade.v1.source_pb2 import Source, SourceConfig
from blade_client import BladeClient
from blade_client.cli.token import new_token
from blade_client.private_file import write_private
from blade_sandbox.data import MAINTENANCE, sample_tables
from blade_sandbox.demo_access import show_sign_in
from blade_sandbox.sandbox import Sandbox


@pytest.fixture
def sandbox(tmp_path: Path):
    """As the demo has it by then: with a source of maintenance."""
    catalog, schema, table = MAINTENANCE.split(".")
    source = Source(
        name="parts", data_type="maintenance", config=SourceConfig(catalog=catalog, schema=schema, table=table)
    )
    with Sandbox(tmp_path, tables=sample_tables()) as sandbox:
        with BladeClient(sandbox.target) as blade:
            blade.add_source(source)
        yield sandbox


@pytest.mark.slow
def test_a_reader_may_look_and_not_start_and_each_line_shows_why(sandbox: Sandbox, tmp_path: Path) -> None:
    admin_token = tmp_path / "admin.token"
    write_private(admin_token, new_token())
    target = sandbox.start_guarded_server(admin_token)
    commands: list[str] = []
    said: list[str] = []
    assert show_sign_in(target, admin_token, commands.append, said.append)
    assert len(commands) == 3
    assert all(f"--server {target} --token-file {tmp_path}" in line for line in commands)
    made, may, may_not, nobody = said
    assert "signs in reader" in made
    assert "MAINT-" in may
    assert "'reader' needs the role OPERATOR" in may_not
    assert "sign in first" in nobody
    assert not any("blade_" in line for line in said), "no secret on the screen"
    with BladeClient(target, token_file=tmp_path / "reader.token") as reader:
        me = reader.access.who_am_i()
        assert [(grant.role, grant.scope) for grant in me.grants] == [(2, "data_type:maintenance")]
    assert sandbox.guarded_server.stop() == 0
