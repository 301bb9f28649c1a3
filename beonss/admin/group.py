"""``beonss group``: list, show, make, change and delete single groups, and who is in them."""

import click

from beonss.admin.asking import CHANGED, SHOWN, AccountNumber, ask
from beonss.admin.listing import list_accounts, show_account
from beonss.admin.options import change_options, control_option, json_option, several_options


@click.group(name="group")
def command() -> None:
    """List, show, make and change groups. Root of a master only; on any master.

    Exit codes: 0 done, 1 refused or failed (it is told why), 2 usage, 3 done but no other master holds it yet.
    """


@command.command(name="list", short_help="List the groups of the cluster by gid.", epilog=SHOWN)
@json_option
@control_option
def list_(as_json: bool, control: str | None) -> None:
    """List the groups of the cluster by gid, in the form of group(5)."""
    list_accounts("group", as_json=as_json, control=control)


@command.command(name="show", short_help="Show all that is known of a group.", epilog=SHOWN)
@click.argument("name")
@json_option
@control_option
def show(name: str, as_json: bool, control: str | None) -> None:
    """Show all that is known of a group: members, who changed what when, how it stands at each target."""
    show_account("group", name, as_json=as_json, control=control)


@command.command(name="add", epilog=CHANGED)
@click.argument("name")
@click.option("--gid", type=AccountNumber(0), help="Default: a free one; masters never choose the same.")
@click.option("--reuse", is_flag=True, help="Take a gid that a deleted group had.")
@click.option("--members", metavar="USER,...", help="Put these users into it.")
@change_options
def add(
    name: str, *, gid: int | None, reuse: bool, members: str | None, control: str | None, as_json: bool, dry_run: bool
) -> None:
    """Make a group."""
    if reuse and gid is None:
        raise click.UsageError("--reuse needs --gid")
    listed = [user for user in (members or "").split(",") if user]
    request = {"name": name, "gid": gid, "reuse": reuse, "members": listed}
    ask("group.add", [request], control=control, as_json=as_json, dry_run=dry_run)


@command.command(name="modify", epilog=CHANGED)
@click.argument("name")
@click.option("--rename", "new_name", metavar="NAME", required=True, help="Another name; its members stay.")
@change_options
def modify(name: str, new_name: str, control: str | None, as_json: bool, dry_run: bool) -> None:
    """Give a group another name. The gid stays: files belong to it."""
    request = {"name": name, "new_name": new_name}
    ask("group.modify", [request], control=control, as_json=as_json, dry_run=dry_run)


@command.command(name="delete", epilog=CHANGED)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--force", is_flag=True, help="Also a group that is somebody's primary group.")
@several_options
def delete(
    names: tuple[str, ...], *, force: bool, control: str | None, as_json: bool, dry_run: bool, keep_going: bool
) -> None:
    """Delete groups for good, on all masters and targets. Their numbers are not reused."""
    requests = [{"name": name, "force": force} for name in dict.fromkeys(names)]
    ask(
        "group.delete",
        requests,
        control=control,
        as_json=as_json,
        dry_run=dry_run,
        several=True,
        keep_going=keep_going,
    )


@command.group(name="member")
def member() -> None:
    """Put users into a group, or take them out.

    Exit codes: those of "beonss group".
    """


def _members(
    group: str, users: tuple[str, ...], control: str | None, as_json: bool, dry_run: bool, *, inside: bool
) -> None:
    request = {"name": group, "users": list(users), "member": inside}
    ask("group.member", [request], control=control, as_json=as_json, dry_run=dry_run)


@member.command(name="add", short_help="Put users into a group.", epilog=CHANGED)
@click.argument("group")
@click.argument("users", nargs=-1, required=True, metavar="USER...")
@change_options
def member_add(group: str, users: tuple[str, ...], control: str | None, as_json: bool, dry_run: bool) -> None:
    """Put users into a group; all of them or, if one does not exist, none."""
    _members(group, users, control, as_json, dry_run, inside=True)


@member.command(name="remove", short_help="Take users out of a group.", epilog=CHANGED)
@click.argument("group")
@click.argument("users", nargs=-1, required=True, metavar="USER...")
@change_options
def member_remove(group: str, users: tuple[str, ...], control: str | None, as_json: bool, dry_run: bool) -> None:
    """Take users out of a group; all of them or, if one does not exist, none."""
    _members(group, users, control, as_json, dry_run, inside=False)
