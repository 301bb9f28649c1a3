"""The ``beonss`` command: one click group whose subcommands are loaded only when used.

Exit codes, all subcommands: 0 done, 1 refused or found wanting (a message says why), 2 usage.
"""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from beonss import __version__
from beonss.errors import BeonssError

#: command -> (module that defines ``command``, one line for ``beonss --help``).
COMMANDS = {
    "accounts": ("beonss.admin.accounts", "Import users and groups, and deliver them to targets again."),
    "apply": ("beonss.admin.apply", "Publish a cluster description to all masters and nodes."),
    "audit": ("beonss.admin.audit", "Show who tried what on all masters, and follow it."),
    "backup": ("beonss.admin.backup", "Write a backup of this master, while it runs or not."),
    "check": ("beonss.admin.check", "Prove a cluster description two-way and free of overlaps."),
    "conflicts": ("beonss.admin.conflicts", "List accounts in conflict, and settle them."),
    "description": ("beonss.admin.description", "Show the description in force, and one that lost against it."),
    "diff": ("beonss.admin.diff", "Show every name and address that differs between two descriptions."),
    "explain": ("beonss.admin.explain", "Say which rule gives a name or an address, and what each door answers."),
    "export": ("beonss.admin.export", "Write all users and groups as passwd files or LDIF."),
    "group": ("beonss.admin.group", "List, make and change groups, and who is in them."),
    "hosts": ("beonss.admin.hosts", "Write the description as /etc/hosts."),
    "init": ("beonss.admin.init", "Make a new cluster: its key and its first master."),
    "invite": ("beonss.admin.invite", "Make a one-time token that lets a machine join as a master."),
    "join": ("beonss.admin.join", "Join a cluster as a master, with a token."),
    "members": ("beonss.admin.members", "List the masters of the cluster; move, replace or remove one."),
    "querylog": ("beonss.admin.querylog", "Show the DNS queries of this machine as they come."),
    "restore": ("beonss.admin.restore", "Make the state directory of a master from a backup."),
    "status": ("beonss.admin.status", "Show members, buffered changes, targets and the age of memory."),
    "user": ("beonss.admin.user", "List, make and change users."),
}


class LazyGroup(click.Group):
    """A click group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import and return one command, or None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="beonss")
def command() -> None:
    """Describe, check and run a cluster's names and accounts.

    The daemons themselves are started by twistd: "twistd -n beonss master --help", "twistd -n beonss node --help".
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; our own errors are one line on standard error and exit code 1."""
    try:
        command.main(args=None if arguments is None else list(arguments), prog_name="beonss")
    except BeonssError as error:
        click.echo(f"beonss: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        # The reader went away (``beonss hosts | head``): quiet, as other tools are.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        click.echo(f"beonss: the output could not be written: {error.strerror or error}", err=True)
        # What Python still holds for it would fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
