"""``beonss export``: all users and groups as files that every other system reads. Nobody is locked in."""

from pathlib import Path

import click

from beonss.admin.asking import counted, plain
from beonss.admin.offline import opened, refuse_both, stopped_option
from beonss.admin.options import control_option
from beonss.core.accounts.exporting import group_record, user_record
from beonss.core.accounts.records import batch_from_json
from beonss.core.accounts.view import AccountView
from beonss.errors import ConfigurationError
from beonss.store.control import ControlClient
from beonss.store.exports import Export, LdifFile, PasswdFiles
from beonss.store.rows import Packing
from beonss.wire.control import Event


@click.command(name="export")
@click.option(
    "--passwd",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write passwd, shadow, group and gshadow into this directory.",
)
@click.option(
    "--ldif",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write LDIF for a directory with the schema of RFC 2307 or rfc2307bis.",
)
@click.option("--base", metavar="DN", help="With --ldif: users go under ou=people, groups under ou=groups of this.")
@click.option("--people", metavar="DN", help="With --ldif: users go under this.")
@click.option("--groups", metavar="DN", help="With --ldif: groups go under this.")
@click.option(
    "--schema",
    type=click.Choice(["rfc2307", "rfc2307bis"]),
    help="With --ldif: members of groups are login names (default), or distinguished names.",
)
@click.option("--containers", is_flag=True, help="With --ldif: write the entries of these two as well.")
@click.option("--no-hashes", is_flag=True, help="Leave out the passwords.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@stopped_option
@control_option
def command(
    *,
    directory: Path | None,
    file: Path | None,
    base: str | None,
    people: str | None,
    groups: str | None,
    schema: str | None,
    containers: bool,
    no_hashes: bool,
    overwrite: bool,
    state: Path | None,
    control: str | None,
) -> None:
    """Write all users and groups to files, as of one moment. Root of a master only.

    The passwd files are what "beonss accounts import" reads, and what /etc holds; files with hashes have mode 0600.
    They appear whole or not at all.

    Exit codes: 0 all of it is written, 1 something was left out or failed (it is told), 2 usage.
    """
    if (directory is None) == (file is None):
        raise click.UsageError("say where to: either --passwd DIR or --ldif FILE")
    if file is None and (base or people or groups or containers or schema):
        raise click.UsageError("--base, --people, --groups, --schema and --containers go with --ldif")
    refuse_both(state, control)
    if file is not None:
        if base is None and (people is None or groups is None):
            raise click.UsageError("--ldif needs --base DN, or both --people DN and --groups DN")
        export: Export = LdifFile(
            file,
            people=people or f"ou=people,{base}",
            groups=groups or f"ou=groups,{base}",
            containers=containers,
            comment="users and groups, written by beonss export",
            overwrite=overwrite,
            bis=schema == "rfc2307bis",
        )
    else:
        assert directory is not None
        export = PasswdFiles(directory, overwrite=overwrite)
    with export.files:
        conflicts = (
            _ask(export, control, hashes=not no_hashes) if state is None else _read(export, state, not no_hashes)
        )
        if not any(export.counts.values()):
            raise ConfigurationError("there are no accounts to export; nothing was written")
        export.files.finish()
    users, groups = counted(export.counts["user"], "user"), counted(export.counts["group"], "group")
    click.echo(f"{users} and {groups} are in {directory or file}")
    for kind, name, reason in export.left_out:
        click.echo(f"left out: {kind} {plain(name)}: {plain(reason)}", err=True)
    if conflicts:
        click.echo(f"left out: {conflicts} conflicts; not served, not exported; see: beonss conflicts", err=True)
    if export.left_out or conflicts:
        raise SystemExit(1)


def _ask(export: Export, control: str | None, *, hashes: bool) -> int:
    """Take the accounts of the running master; return how many conflicts there are."""

    def take(event: Event) -> None:
        if event.name == "users":
            export.users(batch_from_json(event.data.get("rows"), None).users)
        elif event.name == "groups":
            export.groups(batch_from_json(None, event.data.get("rows")).groups)

    with ControlClient(control) as client:
        end = client.ask("accounts.export", {"hashes": hashes}, take)
    conflicts: int = end.data["conflicts"]
    return conflicts


def _read(export: Export, state: Path, hashes: bool) -> int:
    """Take the accounts of a state directory; return how many conflicts there are."""
    with opened(state) as database:
        view = AccountView()
        view.load(database.packed(Packing()))
    export.users(user_record(user, hashes=hashes) for user in view.users())
    export.groups(group_record(group) for group in view.groups())
    return len(view.conflicts())
