"""``beonss members``: list the masters; move, replace or remove one."""

import json
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from beonss.admin.invite import show_token, sign_invitation, valid_option
from beonss.admin.options import control_option, json_option
from beonss.admin.signing import endpoints_of, is_running, key_option, own_state_option, sign_and_publish, state_option
from beonss.admin.terminal import terminal
from beonss.core.cluster.members import MemberList, Roster, moved, removed, replaced
from beonss.errors import ConfigurationError
from beonss.store.keys import load_identity, load_roster
from beonss.store.statedirectory import MEMBER_KEY


@click.group(name="members", invoke_without_command=True)
@state_option
@json_option
@click.pass_context
def command(ctx: click.Context, state: Path, as_json: bool) -> None:
    """List the masters of the cluster as the member list in the state directory has them; move, replace or remove one.

    Exit codes: 0 done, 1 refused and nothing changed, 2 usage.
    """
    ctx.obj = state
    if ctx.invoked_subcommand is not None:
        return
    roster = load_roster(state)
    if as_json:
        click.echo(json.dumps(as_document(roster, time.time()), indent=2))
    else:
        show(roster, terminal(), time.time())


def as_document(roster: Roster, now: float) -> dict[str, object]:
    """Return the list as plain data; ``now`` is seconds since the epoch."""
    return {
        "cluster": roster.cluster,
        "number": roster.list.number,
        "members": [
            {
                "name": member.name,
                "addresses": [str(endpoint) for endpoint in member.endpoints],
                "state": state_of(roster, member.name, now),
                "key": (roster.key_of(member.name) or b"").hex(),
            }
            for member in roster.list.members
        ],
    }


def state_of(roster: Roster, name: str, now: float) -> str:
    """Return ``member``, ``invited`` or ``expired``."""
    entry = roster.list.find(name)
    assert entry is not None
    if roster.key_of(name) is not None:
        return "member"
    return "invited" if now <= entry.expires else "expired"


def show(roster: Roster, console: Console, now: float) -> None:
    """Print the list for people."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("master", "addresses", "state", "key"):
        table.add_column(title)
    for member in roster.list.members:
        key = roster.key_of(member.name)
        addresses = " ".join(str(endpoint) for endpoint in member.endpoints)
        table.add_row(member.name, addresses, state_of(roster, member.name, now), key.hex()[:16] if key else "-")
    console.print(f"cluster {roster.cluster}, member list {roster.list.number}")
    console.print(table)


@command.command(name="move")
@click.argument("name")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    required=True,
    metavar="HOST[:PORT]",
    help="Where the others connect to it from now on; may be given several times.",
)
@own_state_option
@key_option
@control_option
@click.pass_obj
def move(
    state: Path,
    *,
    name: str,
    addresses: tuple[str, ...],
    own_state: Path | None,
    cluster_key: Path | None,
    control: str | None,
) -> None:
    """Change where the master NAME listens. It keeps its key; restart it when the list is in force.

    Exit codes: 0 changed, 1 refused and nothing changed, 2 usage.
    """
    places = endpoints_of(addresses)
    roster, how = sign_and_publish(
        own_state or state, cluster_key, control, lambda roster: moved(roster, name.lower(), places)
    )
    click.echo(f"{name.lower()} listens on {', '.join(map(str, places))}. Member list {roster.list.number} is {how}.")


@command.command(name="remove")
@click.argument("name")
@click.option("--force", is_flag=True, help="Also the last master, or this machine, which takes no changes then.")
@own_state_option
@key_option
@control_option
@click.pass_obj
def remove(
    state: Path, *, name: str, force: bool, own_state: Path | None, cluster_key: Path | None, control: str | None
) -> None:
    """Remove the master NAME: it is refused from now on. What it wrote and others hold stays.

    Exit codes: 0 removed, 1 refused and nothing changed, 2 usage.
    """

    def change(roster: Roster) -> MemberList:
        list_ = removed(roster, name.lower(), last=force)
        if list_.members and not force and name.lower() == load_identity(own_state or state).name:
            raise ConfigurationError(
                f"{name.lower()} is this machine: it would take no changes from then on. Remove it on another master; "
                "or, if that is really meant, with --force"
            )
        return list_

    roster, how = sign_and_publish(own_state or state, cluster_key, control, change)
    click.echo(f"{name.lower()} is removed. Member list {roster.list.number} is {how}.")


@command.command(name="replace", short_help="Give the master NAME another key.")
@click.argument("name")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Where the others connect to it from now on; may be given several times. Default: as before.",
)
@valid_option
@click.option("--force", is_flag=True, help="Also this machine, which takes no changes until it has rejoined.")
@own_state_option
@key_option
@control_option
@click.pass_obj
def replace(
    state: Path,
    *,
    name: str,
    addresses: tuple[str, ...],
    valid: str,
    force: bool,
    own_state: Path | None,
    cluster_key: Path | None,
    control: str | None,
) -> None:
    """Give the master NAME another key: after its disk was lost or its key may be known to others, or now and then.

    Its old key is refused from now on, and a token is printed for it, as by "beonss invite". On a new disk use it with
    "beonss join -"; a master that still has its data keeps them with "beonss join --rejoin -". Run this on
    another master than NAME, running or stopped; where only NAME has the cluster's key, with --force.

    Exit codes: 0 done, 1 refused and nothing changed, 2 usage.
    """
    name, places = name.lower(), endpoints_of(addresses)
    own_state = own_state or state
    if (own_state / MEMBER_KEY).exists() and name == load_identity(own_state).name:
        if not force:
            raise ConfigurationError(
                f"{name} is this machine: it would take no changes until it has rejoined. Run this on another master; "
                "or, if only this one has the cluster's key, with --force"
            )
        if not is_running(own_state):
            raise ConfigurationError(
                f"{name} is this machine, and its master is stopped: no other would hear of the new list; start it "
                "first"
            )

    def change(roster: Roster, public: bytes, expires: int) -> MemberList:
        return replaced(roster, name, places, public, expires)

    roster, how, token = sign_invitation(
        name, valid=valid, state=own_state, cluster_key=cluster_key, control=control, change=change
    )
    click.echo(f"The old key of {name} is refused. Member list {roster.list.number} is {how}.", err=True)
    click.echo(f"Stop {name}, and run there, within {valid}:  beonss join --rejoin -   and paste this token:", err=True)
    show_token(token, name)
