"""What the global options say, and the client that follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from blade_client.client import BladeClient


DEFAULT_SERVER = "127.0.0.1:50051"
_FIELDS = {"parameters": "--param"}
"""Fields of the service whose option has another name."""


class Whole(click.ParamType[int]):
    """A whole number that fits its field; whether it makes sense is for the server to say."""

    name = "integer"

    def __init__(self, bits: int) -> None:
        self._end = 1 << (bits - 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Refuses what protobuf could not carry."""
        number = int(click.INT.convert(value, param, ctx))
        if not -self._end <= number < self._end:
            self.fail(f"{number} is too large a number.", param, ctx)
        return number


INT32, INT64 = Whole(32), Whole(64)


@dataclass(kw_only=True)
class Session:
    """The global options of one run, filled in as click finds them."""

    server: str | None = None
    json: bool = False
    tls: bool = False
    tls_ca: str | None = None
    token_file: str | None = None
    profile: str | None = None
    insecure_token: bool = False
    timeout_s: float | None = None
    options: dict[str, str] = field(default_factory=dict)
    """How the command names a field: `batch_size` is `--batch-size`."""

    def client(self, **instead: Any) -> BladeClient:
        """A client for the chosen server, `instead` of the options' with these. Raises UsageError if they are wrong."""
        from blade_client.client import BladeClient

        options: dict[str, Any] = {
            "target": self.server,
            "tls": self.tls,
            "ca_file": self.tls_ca,
            "token_file": None if "token" in instead else self.token_file,
            "profile": self.profile,
            "insecure_token": self.insecure_token,
            "timeout_s": self.timeout_s or 60.0,
        }
        try:
            return BladeClient(**options | instead)
        except (ValueError, OSError) as wrong:
            raise click.UsageError(str(wrong)) from wrong


pass_session = click.make_pass_decorator(Session, ensure=True)


def session_options(*, root: bool) -> list[click.Parameter]:
    """The global options, for the main group or for a command behind it."""

    def keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
        session = ctx.find_root().ensure_object(Session)
        if ctx.obj is None:
            ctx.obj = session
        if value is not None and value is not False:
            assert param.name is not None
            setattr(session, param.name, value)

    return [
        click.Option(
            ["--server"],
            metavar="HOST:PORT",
            envvar="BLADE_SERVER" if root else None,
            expose_value=False,
            callback=keep,
            help=f"Address of the server; or set BLADE_SERVER.  [default: the profile's, else {DEFAULT_SERVER}]",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=keep,
            help="Print JSON for machines; errors become a JSON object on stderr.",
        ),
        click.Option(
            ["--tls"],
            is_flag=True,
            expose_value=False,
            callback=keep,
            help="Encrypt the connection, trusting the well-known authorities.",
        ),
        click.Option(
            ["--tls-ca"],
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False),
            expose_value=False,
            callback=keep,
            help="Encrypt the connection, trusting the authorities in this PEM file.",
        ),
        click.Option(
            ["--token-file"],
            metavar="FILE",
            expose_value=False,
            callback=keep,
            help="Sign in with the token in this file, which only you may read; or set BLADE_TOKEN_FILE.",
        ),
        click.Option(
            ["--profile"],
            metavar="NAME",
            expose_value=False,
            callback=keep,
            help="Server and token that `blade login` keeps under this name; or set BLADE_PROFILE.",
        ),
        click.Option(
            ["--insecure-token"],
            is_flag=True,
            expose_value=False,
            callback=keep,
            help="Send the token without TLS to another machine, too, readable for everybody in between.",
        ),
        click.Option(
            ["--timeout", "timeout_s"],
            metavar="SECONDS",
            type=click.FloatRange(min=0, min_open=True),
            expose_value=False,
            callback=keep,
            help="Longest time to wait.  [default: 60; no limit for queries and watching]",
        ),
    ]


class BladeCommand(click.Command):
    """A command that takes the global options as well, listed apart in its help."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._global = session_options(root=False)
        self.params.extend(self._global)

    def invoke(self, ctx: click.Context) -> Any:
        """Keeps what its options are called, for errors about them."""
        options = [name for param in self.params if isinstance(param, click.Option) for name in param.opts]
        named = {name.lstrip("-").replace("-", "_"): name for name in options}
        ctx.find_root().ensure_object(Session).options = named | _FIELDS
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Own options first, then the global ones."""
        for title, wanted in (("Options", False), ("Global options", True)):
            records = [
                record
                for param in self.get_params(ctx)
                if isinstance(param, click.Option)
                and (param in self._global) is wanted
                and (record := param.get_help_record(ctx)) is not None
            ]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class BladeGroup(click.Group):
    """A group whose commands take the global options."""

    command_class = BladeCommand
