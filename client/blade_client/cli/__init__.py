"""The command `blade`: the main group and nothing else.

Start-up is a promise here: this package imports click alone. gRPC, protobuf and rich are imported inside the commands
that use them, and the commands of the server and the sandbox are loaded when they are called.
"""

from __future__ import annotations

import os

import click

# What gRPC's core has to say about a failed connection is said in our words. Read when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from blade_client.cli.loading import LazyGroup

EPILOG = """\b
Exit codes:
  0    done; for a watched job: COMPLETED with every item in the catalog
  1    the watched job FAILED or was CANCELLED; the audit log is not intact
  2    wrong usage: an unknown option, a missing argument, a file that cannot be read
  3    the server found the request invalid
  4    not found
  5    the state does not allow it: exists already, disabled, test failed, status, changed meanwhile
  6    the server or something it needs does not answer, or the time limit passed
  7    too many of something at once
  8    the watched job COMPLETED, but some items failed; see `blade job errors`
  9    not signed in: there is no token, or it is not good (any more); see `blade login`
  10   signed in, and not allowed; see `blade whoami`. Of `sync plan`, `sync verify` and `apply --plan`: there is
       something to do, or something is different
  11   of `sync plan`: deletes would be withheld
  70   a bug, a version mismatch, or an incomplete result
  71   too little memory or too few threads for this process
  130  interrupted with Ctrl-C; a watched job goes on
"""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="blade", message="blade %(version)s")
def main() -> None:
    """Moves rows from a Databricks SQL warehouse into a catalog.

    Global options may stand before or behind the command.
    """
