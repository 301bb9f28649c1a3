"""``beonss user``: list, show, make, change, lock, age and delete single users."""

from typing import Any, TypedDict, Unpack

import click

from beonss.admin.asking import CHANGED, SHOWN, AccountNumber, Day, Days, ask, today
from beonss.admin.listing import list_accounts, show_account
from beonss.admin.options import change_options, control_option, json_option, several_options


@click.group(name="user")
def command() -> None:
    """List, show, make and change users. Root of a master only; on any master.

    A change is on the disk of this master when the command ends, and the command waits a moment for the others; those
    that are away get it when they come back (beonss status). Passwords are changed by cpasswd(1).

    Exit codes: 0 done, 1 refused or failed (it is told why), 2 usage, 3 done but no other master holds it yet.
    """


@command.command(name="list", short_help="List the users of the cluster by uid.", epilog=SHOWN)
@json_option
@control_option
def list_(as_json: bool, control: str | None) -> None:
    """List the users of the cluster by uid, in the form of passwd(5) with their state in place of the password."""
    list_accounts("user", as_json=as_json, control=control)


@command.command(name="show", short_help="Show all that is known of a user.", epilog=SHOWN)
@click.argument("name")
@json_option
@control_option
def show(name: str, as_json: bool, control: str | None) -> None:
    """Show all that is known of a user: state, groups, who changed what when, how it stands at each target."""
    show_account("user", name, as_json=as_json, control=control)


@command.command(name="add", epilog=CHANGED)
@click.argument("name")
@click.option("--uid", type=AccountNumber(0), help="Default: a free one; masters never choose the same.")
@click.option("--reuse", is_flag=True, help="Take a uid that a deleted user had.")
@click.option("--group", "-g", metavar="GROUP", help="Primary group, by name or number. Default: 100.")
@click.option("--user-group", "-U", is_flag=True, help="Make a group of the same name and number for it.")
@click.option("--groups", "-G", metavar="GROUP,...", help="Also put it into these groups.")
@click.option("--gecos", help="Full name.")
@click.option("--home", metavar="DIRECTORY", help="Default: /home/NAME.")
@click.option("--shell", metavar="PROGRAM", help="Default: /bin/sh.")
@click.option("--expires", type=Day(), metavar="DATE", help="From this day on it cannot be used: 2027-01-31.")
@change_options
def add(name: str, groups: str | None, control: str | None, as_json: bool, dry_run: bool, **words: Any) -> None:
    """Make a user without a password. Home directories are not made."""
    if words["group"] is not None and words["user_group"]:
        raise click.UsageError("either --group or --user-group")
    if words["reuse"] and words["uid"] is None:
        raise click.UsageError("--reuse needs --uid")
    listed = [group for group in (groups or "").split(",") if group]
    ask("user.add", [{"name": name, "groups": listed, **words}], control=control, as_json=as_json, dry_run=dry_run)


@command.command(name="modify", epilog=CHANGED)
@click.argument("name")
@click.option("--rename", "new_name", metavar="NAME", help="Another login name; files and groups are its as before.")
@click.option("--group", "-g", metavar="GROUP", help="Primary group, by name or number.")
@click.option("--gecos", help="Full name.")
@click.option("--home", metavar="DIRECTORY", help="Home directory; nothing is moved.")
@click.option("--shell", metavar="PROGRAM", help="Login shell.")
@change_options
def modify(name: str, control: str | None, as_json: bool, dry_run: bool, **words: Any) -> None:
    """Change a user. The uid stays: files belong to it."""
    if all(word is None for word in words.values()):
        raise click.UsageError("say what to change: --rename, --group, --gecos, --home, --shell")
    ask("user.modify", [{"name": name, **words}], control=control, as_json=as_json, dry_run=dry_run)


class _Asked(TypedDict):
    """The options of all commands that take several names."""

    control: str | None
    as_json: bool
    dry_run: bool
    keep_going: bool


def _each(operation: str, names: tuple[str, ...], options: _Asked, **more: Any) -> None:
    requests = [{"name": name, **more} for name in dict.fromkeys(names)]
    ask(operation, requests, several=True, **options)


@command.command(name="lock", short_help="Lock users: no password lets them in.", epilog=CHANGED)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@several_options
def lock(names: tuple[str, ...], **options: Unpack[_Asked]) -> None:
    """Lock users: no password lets them in until they are unlocked. The passwords are kept."""
    _each("user.lock", names, options, locked=True)


@command.command(name="unlock", epilog=CHANGED)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@several_options
def unlock(names: tuple[str, ...], **options: Unpack[_Asked]) -> None:
    """Unlock users."""
    _each("user.lock", names, options, locked=False)


@command.command(name="expire", short_help="Let users in no more from a day on.", epilog=CHANGED)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--on", "day", type=Day(), metavar="DATE", help="From this day on. Default: today.")
@click.option("--never", is_flag=True, help="Take the date away.")
@several_options
def expire(names: tuple[str, ...], *, day: int | None, never: bool, **options: Unpack[_Asked]) -> None:
    """Let users in no more from a day on, by password or otherwise."""
    if never and day is not None:
        raise click.UsageError("either --on or --never")
    expires = None if never else today() if day is None else day
    _each("user.age", names, options, expires=expires)


@command.command(
    name="expire-password", short_help="Have users change their passwords at the next login.", epilog=CHANGED
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--withdraw", is_flag=True, help="They need not, after all.")
@several_options
def expire_password(names: tuple[str, ...], *, withdraw: bool, **options: Unpack[_Asked]) -> None:
    """Have users change their passwords at the next login by password, as 'passwd -e' does.

    It is said of the password that stands now: any new one, set by its owner or by root, on whatever master, ends it.
    """
    _each("user.expire-password", names, options, needed=not withdraw)


@command.command(name="age", short_help="Change how passwords of users age.", epilog=CHANGED)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--minimum", type=Days(), metavar="DAYS", help="Between two changes by the user.")
@click.option("--maximum", type=Days(), metavar="DAYS", help="Until the password must be changed.")
@click.option("--warning", type=Days(), metavar="DAYS", help="Before that the user is told.")
@click.option("--inactive", type=Days(), metavar="DAYS", help="After that the user may still change it.")
@several_options
def age(
    names: tuple[str, ...],
    *,
    minimum: int | None,
    maximum: int | None,
    warning: int | None,
    inactive: int | None,
    **options: Unpack[_Asked],
) -> None:
    """Change how passwords of users age, as shadow(5) says; 'never' takes a limit away."""
    words = {"minimum": minimum, "maximum": maximum, "warning": warning, "inactive": inactive}
    chosen = {word: None if days == -1 else days for word, days in words.items() if days is not None}
    if not chosen:
        raise click.UsageError("say what to change: --minimum, --maximum, --warning, --inactive")
    _each("user.age", names, options, **chosen)


@command.command(name="delete", epilog=CHANGED)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--user-group", "-U", is_flag=True, help="And the group of the same name and number, if it is empty.")
@several_options
def delete(names: tuple[str, ...], *, user_group: bool, **options: Unpack[_Asked]) -> None:
    """Delete users for good, on all masters and targets. Their files are not touched, their numbers not reused."""
    _each("user.delete", names, options, user_group=user_group)
