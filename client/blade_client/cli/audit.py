"""`blade audit ...`: who did what, and whether the log of it is whole."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import click

from blade_client.cli.failures import NOT_INTACT
from blade_client.cli.pairs import OneOf
from blade_client.cli.session import INT64, BladeGroup, Session, pass_session
from blade_client.cli.whole_file import whole_file

if TYPE_CHECKING:
    from blade.v1.audit_service_pb2 import AuditEntry, ExportedEntry, VerifyAuditLogResponse

_OUTCOMES = ["DONE", "BEGUN", "FAILED", "REFUSED"]


@click.group(cls=BladeGroup)
def audit() -> None:
    """Read the audit log. It needs the role AUDITOR."""


@audit.command("list")
@click.option("--principal", default="", metavar="NAME", help="Only what he did.")
@click.option("--method", default="", metavar="NAME", help="Only these calls, for example CancelJob.")
@click.option("--object", "about", default="", metavar="OBJECT", help="job:ID, source:NAME, token:ID or grant:ID.")
@click.option("--outcome", type=OneOf(_OUTCOMES), multiple=True, help="Only what ended so.")
@click.option("--since", type=click.DateTime(), metavar="TIME", help="Written then or later; UTC.")
@click.option("--before", type=click.DateTime(), metavar="TIME", help="Written earlier; UTC.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most entries.")
@pass_session
def list_(
    session: Session,
    *,
    principal: str,
    method: str,
    about: str,
    outcome: tuple[str, ...],
    since: datetime | None,
    before: datetime | None,
    limit: int,
) -> None:
    """List entries, newest first."""
    from blade_client.cli.output import message_dict, print_json

    with session.client() as blade:
        entries = blade.audit.list(
            principal=principal,
            method=method,
            about=about,
            outcomes=outcome,
            after=since.replace(tzinfo=UTC) if since else None,
            before=before.replace(tzinfo=UTC) if before else None,
            page_size=min(limit + 1, 1000),
        )
        found = list(islice(entries, limit + 1))
    if session.json:
        print_json({"entries": [message_dict(each) for each in found[:limit]]})
    elif found:
        _show(found[:limit])
    else:
        click.echo("There are no such entries.", err=True)
    if len(found) > limit:
        click.echo(f"There are more than these {limit:,}: use --limit, or `blade audit export`.", err=True)


@audit.command()
@click.option("--first", type=INT64, default=0, metavar="NUMBER", help="Begin with this entry.  [default: the oldest]")
@click.option("--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write there.  [default: the screen]")
@pass_session
def export(session: Session, first: int, output: str | None) -> None:
    """Write all entries, oldest first, as NDJSON with the bytes that their hashes are made of.

    `blade audit verify FILE` checks what was written, without a server.
    """
    with session.client() as blade:
        entries = blade.audit.export(first=first, timeout_s=session.timeout_s)
        if output is None:
            _write(entries, sys.stdout.buffer)
            return
        with whole_file(output) as file:
            count = _write(entries, file)
    click.echo(f"Wrote {count:,} entries to {output}.", err=True)


@audit.command()
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--anchor", type=click.File(), metavar="FILE", help="Numbers and hashes that a server has written down.")
@pass_session
def verify(session: Session, file: IO[bytes] | None, anchor: IO[str] | None) -> None:
    """Say whether the audit log is whole and unchanged. Ends with code 1 if it is not.

    With FILE, an export or what was pruned, or both one behind the other (`-`: standard input): computed here, without
    a server. Without: by the server, over its whole log. An anchor file (BLADE_AUDIT_ANCHOR_FILE of the server) shows
    as well whether the end was cut off.
    """
    from blade_client.cli.output import print_json

    anchors = _anchors(anchor)
    if file is not None:
        from blade_client.audit_chain import check

        found = check(_exported(file), anchors)
    else:
        number = max(anchors, default=0)
        with session.client() as blade:
            found = blade.audit.verify(anchor_number=number, anchor_hash=anchors.get(number, ""))
    if session.json:
        print_json(found)
    else:
        _tell(found)
    if not found.intact:
        click.get_current_context().exit(NOT_INTACT)


def _show(entries: Iterable[AuditEntry]) -> None:
    from blade.v1.audit_service_pb2 import AuditEntry
    from blade_client.cli.output import moment, print_table

    print_table(
        ["NUMBER", "TIME (UTC)", "WHO", "FROM", "DID", "TO", "OUTCOME", "WHY"],
        [
            [
                str(each.number),
                moment(each.time),
                f"{each.principal} ({each.actor})" if each.actor and each.actor != each.principal else each.principal,
                each.address,
                each.method.rpartition("/")[2],
                each.object,
                AuditEntry.Outcome.Name(each.outcome) if each.outcome in AuditEntry.Outcome.values() else "?",
                "; ".join(filter(None, [each.reason, each.detail])),
            ]
            for each in entries
        ],
        right=["NUMBER"],
    )


def _write(entries: Iterator[ExportedEntry], file: IO[bytes]) -> int:
    from blade_client.json_form import to_dict

    count = 0
    for each in entries:
        file.write(json.dumps(to_dict(each)).encode() + b"\n")
        count += 1
    file.flush()
    return count


def _exported(file: IO[bytes]) -> Iterator[ExportedEntry]:
    for place, line in enumerate(file, 1):
        try:
            yield _entry(line)
        except ValueError as wrong:
            raise click.UsageError(
                f"Line {place} of {_name(file)} is no entry as `blade audit export` or `blade prune-audit` writes it."
            ) from wrong


def _entry(line: bytes) -> ExportedEntry:
    """The entry of a line, of an export or (its hash, a blank, its bytes) of what was pruned. Raises ValueError."""
    from google.protobuf.json_format import ParseDict, ParseError

    from blade.v1.audit_service_pb2 import ExportedEntry
    from blade_client.audit_chain import entry_of

    pruned = re.fullmatch(rb"([0-9a-f]{64}) (.*)\n?", line)
    if pruned is not None:
        return entry_of(pruned[2], pruned[1].decode())
    written = json.loads(line)
    if not isinstance(written, dict):
        raise ValueError("it is no JSON object")
    try:
        return ParseDict(written, ExportedEntry())
    except ParseError as wrong:
        raise ValueError(str(wrong)) from wrong


def _anchors(file: IO[str] | None) -> Mapping[int, str]:
    """Hashes by number. Raises UsageError for a line that is not `NUMBER HASH TIME`."""
    found: dict[int, str] = {}
    for place, line in enumerate(file or (), 1):
        anchor = re.fullmatch(r"(\d{1,18}) ([0-9a-f]{64})( \S+)?\s*", line, re.ASCII)
        if anchor is None:
            raise click.UsageError(f"Line {place} of {_name(file)} is no anchor: NUMBER HASH TIME.")
        found[int(anchor[1])] = anchor[2]
    return found


def _name(file: object) -> str:
    return str(getattr(file, "name", "standard input"))


def _tell(found: VerifyAuditLogResponse) -> None:
    from blade_client.cli.output import print_pairs, visible

    if found.intact:
        click.echo(f"The audit log is intact: {found.entry_count:,} entries.")
    else:
        click.echo(f"The audit log is NOT intact: {visible(found.problem)}.")
    rows: list[tuple[str, Any]] = [
        ("First wrong", str(found.first_wrong or "")),
        ("Last entry", str(found.head_number or "")),
        ("Its hash", found.head_hash),
    ]
    print_pairs(rows)
