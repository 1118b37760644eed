"""`blade source cost`: what sources take in the warehouse."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from blade_client.cli.session import BladeCommand, Session, pass_session


@click.command(cls=BladeCommand)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="This day and later ones; UTC.  [default: the first of this month]",
)
@pass_session
def cost(session: Session, since: datetime | None) -> None:
    """Show what sources took in the warehouse, the most time first.

    Jobs count on the day on which they end, those that go on as far as they are; previews and connection tests count,
    direct queries do not.
    """
    from blade_client.cli.job_forms import duration_text
    from blade_client.cli.output import message_dict, print_json, print_table

    with session.client() as blade:
        found = list(blade.list_source_costs(since=since.replace(tzinfo=UTC) if since else None, page_size=1000))
    found.sort(key=lambda each: each.cost.warehouse_ms, reverse=True)
    if session.json:
        print_json({"costs": [message_dict(each) for each in found]})
    elif not found:
        click.echo("No source took anything in that time.", err=True)
    else:
        print_table(
            ["SOURCE", "DATA TYPE", "WAREHOUSE TIME", "STATEMENTS", "ROWS READ", "BYTES READ"],
            [
                [
                    each.source,
                    each.data_type or "(removed)",
                    duration_text(each.cost.warehouse_ms / 1000),
                    f"{each.cost.statements:,}",
                    f"{each.cost.rows_read:,}",
                    f"{each.cost.bytes_read:,}",
                ]
                for each in found
            ],
            right=["WAREHOUSE TIME", "STATEMENTS", "ROWS READ", "BYTES READ"],
        )
