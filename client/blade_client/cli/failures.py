"""What a failed command says and which exit code it ends with."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from blade_client.cli.session import Session

if TYPE_CHECKING:
    from blade_client.errors import BladeClientError

JOB_NOT_COMPLETED = 1
NOT_INTACT = 1
WRONG_USAGE = 2
PRECONDITION = 5
COMPLETED_WITH_ERRORS = 8
NOT_SIGNED_IN = 9
NOT_ALLOWED = 10
SOMETHING_TO_DO = 10
DELETES_WITHHELD = 11
BUG = 70
TOO_LITTLE = 71
INTERRUPTED = 130

_OTHER_SPEECH = {
    "no TLS": "Call it without --tls and --tls-ca.",
    "TLS": "Call it with --tls, or with --tls-ca FILE if its authority is your own.",
    "HTTP": "Name the port for gRPC, 50051 unless the server's BLADE_PORT is another.",
    "untrusted": "Name the file of its authority with --tls-ca FILE.",
    "wrong name": "Call it by a name of its certificate.",
}


_VERBS = {
    "JOB_NOT_FOUND": "`blade job list` shows the jobs there are.",
    "SOURCE_NOT_FOUND": "`blade source list` shows the sources there are.",
    "SOURCE_DISABLED": "`blade source update NAME --enabled` switches it on.",
    "SOURCE_EXISTS": "`blade source update NAME` changes it.",
    "SOURCE_IN_USE": "`blade job list --source NAME` shows its jobs, `blade sync list --source NAME` its syncs.",
    "DESTINATION_NOT_FOUND": "`blade destination list` shows the destinations there are.",
    "DESTINATION_EXISTS": "`blade destination set NAME` changes it.",
    "DESTINATION_IN_USE": "`blade sync list --destination NAME` shows the syncs into it, `blade job list` the jobs.",
    "SYNC_NOT_FOUND": "`blade sync list` shows the syncs there are.",
    "SYNC_EXISTS": "`blade sync update NAME` changes one; `blade sync list` shows them.",
    "SYNC_BUSY": "`blade job watch JOB` follows that job, `blade job cancel JOB` ends it.",
    "PLAN_STALE": "Make a new plan with `blade sync plan NAME`, or run it with `blade sync run NAME`.",
    "NOTIFICATION_NOT_FOUND": "`blade notify list` shows the notifications there are.",
    "NOTIFICATION_EXISTS": "`blade notify set NAME` changes it.",
    "NOTIFICATION_IN_USE": "`blade sync update NAME --clear notifications` takes it from a sync.",
}
"""What helps, by the reason of an error. JOB and NAME stand for what the error is about, where the server says it."""
_OPTIONS = {"say `force_empty`": "say --force-empty", "say `move` KEEP_OLD": "say --keep-old"}
"""The service's words for what is an option here."""


@contextmanager
def guarded(ctx: click.Context) -> Iterator[None]:
    """Turns the errors of a command into words on stderr and an exit code."""
    try:
        yield
    except click.FileError as wrong:
        wrong.show()
        ctx.exit(WRONG_USAGE)
    except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        ctx.exit(INTERRUPTED)
    except UnicodeEncodeError as wrong:
        raise click.UsageError(f"{wrong.object!a} is not valid UTF-8.") from wrong
    except OSError as wrong:
        # A full disk behind the output, for example.
        _drop_output()
        click.echo(f"Error: {wrong.strerror or wrong}", err=True)
        ctx.exit(WRONG_USAGE)
    except Exception as error:
        if lacks_resources(error):
            click.echo(f"Error: {too_little(error)}", err=True)
            ctx.exit(TOO_LITTLE)
        known = sys.modules.get("blade_client.errors")
        if known is None or not isinstance(error, known.BladeClientError):
            traceback.print_exc()
            click.echo("This is a bug in the command `blade`; please report the lines above.", err=True)
            ctx.exit(BUG)
        session = ctx.find_object(Session) or Session()
        _tell(error, session)
        ctx.exit(exit_code(error))


def lacks_resources(error: Exception) -> bool:
    """Whether the machine gave this process too little, and the command is not at fault."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error))


def too_little(error: Exception) -> str:
    """The same in words."""
    what = "memory" if isinstance(error, MemoryError) else "memory or threads"
    return (
        f"this process may have no more {what} ({str(error) or type(error).__name__}). Raise its limits (ulimit -v and "
        "-u, or the container's memory and pids), or run it where there is more."
    )


def _drop_output() -> None:
    """Lets go of output that cannot be written, which would fail once more at the interpreter's end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code(error: BladeClientError) -> int:
    """The exit code for an error; `blade --help` lists them."""
    from blade_client import errors

    table: list[tuple[type[BladeClientError], int]] = [
        (errors.MissingExtra, WRONG_USAGE),
        (errors.Invalid, 3),
        (errors.NotFound, 4),
        (errors.AlreadyExists, PRECONDITION),
        (errors.Conflict, PRECONDITION),
        (errors.Precondition, PRECONDITION),
        (errors.Unavailable, 6),
        (errors.DeadlineExceeded, 6),
        (errors.QuotaExceeded, 7),
        (errors.NotAllowed, NOT_ALLOWED),
        (errors.Denied, NOT_SIGNED_IN),
    ]
    return next((code for kind, code in table if isinstance(error, kind)), BUG)


def error_dict(error: BladeClientError) -> dict[str, Any]:
    """The error as `--json` shows it."""
    from blade_client.cli.output import message_dict
    from blade_client.errors import ConnectionTestFailed

    shown: dict[str, Any] = {
        "message": error.message,
        "reason": error.reason,
        "code": error.code.name if error.code else "",
        "violations": [{"field": each.field, "description": each.description} for each in error.violations],
        "metadata": error.metadata,
        "exitCode": exit_code(error),
    }
    if error.retry_after_s is not None:
        shown["retryAfterSeconds"] = error.retry_after_s
    if isinstance(error, ConnectionTestFailed):
        shown["steps"] = [message_dict(step) for step in error.steps]
    return {"error": shown}


def _tell(error: BladeClientError, session: Session) -> None:
    from blade_client.cli.output import visible

    if session.json:
        click.echo(json.dumps(error_dict(error), ensure_ascii=False), err=True)
        return
    message = error.message
    for each in error.violations:
        message = message.replace(f"{each.field}: ", f"{_own_word(each.field, session)}: ")
    for words, option in _OPTIONS.items():
        message = message.replace(words, option)
    click.echo(f"Error: {visible(message)}", err=True)
    for each in error.violations:
        # A server that says it all in the message need not be heard twice.
        if each.description.removesuffix("…") not in error.message:
            click.echo(f"  {visible(_own_word(each.field, session))}: {visible(each.description)}", err=True)
    way_out = _way_out(error)
    if way_out:
        click.echo(way_out, err=True)


def _own_word(field: str, session: Session) -> str:
    """What the caller wrote: the option or argument of a field."""
    return session.options.get(field.rpartition(".")[2], field)


def _way_out(error: BladeClientError) -> str:
    from blade_client import errors

    if isinstance(error, errors.WrongAddress):
        return _OTHER_SPEECH[error.problem]
    if isinstance(error, errors.Unreachable):
        return "Start a server with `blade serve`, or name another with --server HOST:PORT or BLADE_SERVER."
    if isinstance(error, errors.NotSignedIn):
        return "Sign in with `blade login`, or name a token with --token-file FILE, BLADE_TOKEN_FILE or BLADE_TOKEN."
    if isinstance(error, errors.NotAllowed):
        return "`blade whoami` shows what you may do; an ADMIN can grant more with `blade grant create`."
    if isinstance(error, errors.DeadlineExceeded) and not error.reason and error.code is not None:
        return "Give it more time with --timeout SECONDS."
    if isinstance(error, errors.QuotaExceeded) and error.retry_after_s is not None:
        return f"Try again in {error.retry_after_s:g} s."
    words = _VERBS.get(error.reason, "")
    for word, known in (("JOB", error.metadata.get("job_id")), ("NAME", error.metadata.get("sync"))):
        words = words.replace(word, known) if known else words
    return words
