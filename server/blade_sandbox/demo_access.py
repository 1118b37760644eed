"""The step of the demo where callers sign in: a reader may look, and may not start a job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from blade.v1.access_pb2 import READER, Grant
from blade_client import BladeClient
from blade_client.errors import NotAllowed, NotSignedIn
from blade_client.private_file import write_private

_DATA_TYPE = "maintenance"
_LET_THROUGH = "he was let through, which is wrong"
_SCOPE = f"data_type:{_DATA_TYPE}"


def show_sign_in(
    target: str, admin_token: Path, show_command: Callable[[str], None], say: Callable[[str], None]
) -> bool:
    """Makes a reader, and lets him try. Whether he could do what he may, and nothing else."""
    at = f"--server {target} --token-file"
    reader_token = admin_token.with_name("reader.token")
    show_command(f"{at} {admin_token} token create reader --role READER --on {_SCOPE} --output {reader_token}")
    with BladeClient(target, token_file=admin_token, profile="") as admin:
        made = admin.access.create_token(
            "reader", lifetime=timedelta(hours=1), grants=[Grant(role=READER, scope=_SCOPE)]
        )
    write_private(reader_token, made.secret)
    say(f"Token {made.token.token_id} signs in reader, for an hour")
    with BladeClient(target, token_file=reader_token, profile="") as reader:
        show_command(f"{at} {reader_token} query {_DATA_TYPE} --limit 1")
        may_look = [item.item_id for item in reader.query(_DATA_TYPE, limit=1)]
        say(f"He may look: {', '.join(may_look)}")
        show_command(f"{at} {reader_token} job start --data-type {_DATA_TYPE}")
        refused = _refusal(lambda: reader.start_query_job(data_type=_DATA_TYPE), NotAllowed)
        say(f"He may not start a job: {refused or _LET_THROUGH}")
    with BladeClient(target, token="", profile="") as nobody:
        unknown = _refusal(lambda: list(nobody.list_sources()), NotSignedIn)
        say(f"Without a token: {unknown or _LET_THROUGH}")
    return bool(may_look and refused and unknown)


def _refusal(call: Callable[[], object], kind: type[NotAllowed | NotSignedIn]) -> str:
    """The words of the refusal; empty if the call was let through."""
    try:
        call()
    except kind as refused:
        return refused.message
    return ""
