"""What a shell offers when Tab is pressed behind a job's id, a name or a data type: those that the server has.

Whatever goes wrong, nothing is offered: a shell has no place for errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from blade_client.cli.session import Session

if TYPE_CHECKING:
    from blade_client.client import BladeClient

_PATIENCE_S = 2.0
_MOST = 100


def _offered(
    find: Callable[[BladeClient], Iterable[tuple[str, str]]],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found: dict[str, str] = {}
        session = ctx.find_root().ensure_object(Session)
        with suppress(Exception):
            session.timeout_s = _PATIENCE_S
            with session.client() as blade:
                found.update(find(blade))
        return [CompletionItem(name, help=text) for name, text in found.items() if name.startswith(incomplete)]

    return complete


def _jobs(blade: BladeClient) -> Iterable[tuple[str, str]]:
    from itertools import islice

    from blade_client.cli.job_forms import status_text

    jobs = islice(blade.list_jobs(page_size=_MOST), _MOST)
    return [(job.job_id, f"{status_text(job)}, {job.spec.source}") for job in jobs]


job_ids = _offered(_jobs)
"""The newest jobs."""
source_names = _offered(lambda blade: ((each.name, each.data_type) for each in blade.list_sources(page_size=1000)))
destination_names = _offered(lambda blade: ((each.name, each.url) for each in blade.destinations.list(page_size=1000)))
sync_names = _offered(lambda blade: ((each.name, each.spec.source) for each in blade.syncs.list(page_size=1000)))
notification_names = _offered(lambda blade: ((each.name, "") for each in blade.notifications.list(page_size=1000)))
data_types = _offered(lambda blade: ((each.data_type, "") for each in blade.list_sources(page_size=1000)))
