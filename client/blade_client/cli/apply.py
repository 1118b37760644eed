"""`blade apply`: a server gets what files say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from blade_client.cli.failures import PRECONDITION, SOMETHING_TO_DO
from blade_client.cli.session import BladeCommand, Session, pass_session

if TYPE_CHECKING:
    from blade_client.as_code.steps import Step
    from blade_client.client import BladeClient

_IN_USE = {"SOURCE_IN_USE", "DESTINATION_IN_USE", "NOTIFICATION_IN_USE", "SYNC_BUSY"}


@click.command(cls=BladeCommand)
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    required=True,
    type=click.Path(exists=True),
    metavar="FILE_OR_DIR",
    help="A file, or a folder with files *.yaml; may be repeated.",
)
@click.option("--prune", is_flag=True, help="Remove what no file says, and is not in use; asks before.")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before --prune removes.")
@click.option("--keep-old", is_flag=True, help="A sync may change its destination; its old items stay in the old one.")
@pass_session
def apply(session: Session, *, files: tuple[str, ...], prune: bool, only_plan: bool, yes: bool, keep_old: bool) -> None:
    """Bring sources, destinations, notifications and syncs to what files say.

    With --plan it ends with code 0 if there is nothing to do, and with 10 if there is something.
    """
    from blade_client.as_code.documents import read_documents
    from blade_client.as_code.steps import steps
    from blade_client.as_code.yaml_nodes import WrongFile
    from blade_client.cli.output import print_json

    try:
        documents = read_documents(files)
    except WrongFile as wrong:
        raise click.UsageError(str(wrong)) from wrong
    with session.client() as blade:
        found = steps(blade, documents, prune=prune)
        if session.json and (only_plan or not found):
            print_json({"changes": [_step_dict(step) for step in found]})
        elif not session.json:
            _show(found, len(documents))
        if only_plan:
            click.get_current_context().exit(SOMETHING_TO_DO if found else 0)
        if found:
            _confirm(found, yes=yes)
            _take(session, blade, found, keep_old=keep_old)


def _confirm(found: list[Step], *, yes: bool) -> None:
    from blade_client.as_code.steps import Action

    removed = sum(step.action is Action.REMOVE for step in found)
    if removed and not yes:
        click.confirm(f"Remove {removed:,} of them?", abort=True, err=True)


def _take(session: Session, blade: BladeClient, found: list[Step], *, keep_old: bool) -> None:
    from blade_client.as_code.steps import Action
    from blade_client.cli.output import print_json, visible
    from blade_client.errors import BladeClientError, Precondition

    done: list[Step] = []
    stay: list[str] = []
    for step in found:
        what = f"{step.kind.name}/{step.name}"
        try:
            step.take(blade, keep_old=keep_old)
        except Precondition as refused:
            if step.action is not Action.REMOVE or refused.reason not in _IN_USE:
                _tell_half(what, done, found)
                raise
            stay.append(what)
            click.echo(visible(f"{what} is in use and stays: {refused.message}"), err=True)
            continue
        except BladeClientError:
            _tell_half(what, done, found)
            raise
        done.append(step)
    if session.json:
        print_json({"changes": [_step_dict(step) for step in done], "inUse": stay})
    else:
        click.echo(f"Done: {len(done):,} of {len(found):,} changes.")
    if stay:
        click.get_current_context().exit(PRECONDITION)


def _tell_half(what: str, done: list[Step], found: list[Step]) -> None:
    click.echo(f"Stopped at {what}: {len(done):,} of {len(found):,} changes were made; apply again goes on.", err=True)


def _show(found: list[Step], documents: int) -> None:
    from blade_client.as_code.steps import Action
    from blade_client.cli.output import visible

    if not found:
        click.echo(f"Nothing to do: the server has what the {documents:,} documents say.")
        return
    marks = {Action.CREATE: "+", Action.UPDATE: "~", Action.REMOVE: "-"}
    for step in found:
        click.echo(f"  {marks[step.action]} {step.kind.name}/{step.name}")
        for path, (before, after) in step.fields.items():
            click.echo(visible(f"      {path}: {_json(before)} -> {_json(after)}"))
    click.echo(f"\n{_counted(found)}.")


def _counted(found: list[Step]) -> str:
    from blade_client.as_code.steps import Action

    parts = [
        f"{sum(step.action is action for step in found):,} {word}"
        for action, word in ((Action.CREATE, "to create"), (Action.UPDATE, "to update"), (Action.REMOVE, "to remove"))
    ]
    return ", ".join(parts)


def _json(value: Any) -> str:
    return "(default)" if value is None else json.dumps(value, ensure_ascii=False)


def _step_dict(step: Step) -> dict[str, Any]:
    return {
        "action": step.action.name,
        "kind": step.kind.name,
        "name": step.name,
        "fields": [{"field": path, "before": before, "after": after} for path, (before, after) in step.fields.items()],
    }
