"""``beonss backup``: everything of a master that cannot be made again, in one file."""

import time
from pathlib import Path

import click

from beonss import __version__
from beonss.admin.asking import counted, when_text
from beonss.admin.offline import opened, refuse_both, stopped_option
from beonss.admin.options import control_option
from beonss.errors import MalformedError
from beonss.store.backup import BackupFile, Contents, state_files
from beonss.store.control import ControlClient
from beonss.store.keys import load_identity
from beonss.store.statedirectory import CLUSTER_KEY
from beonss.wire.backup import Header, register_from_json
from beonss.wire.control import Event


@click.command(name="backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--with-cluster-key", is_flag=True, help="Put the cluster's private key in as well.")
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
@stopped_option
@control_option
def command(file: Path, *, with_cluster_key: bool, overwrite: bool, state: Path | None, control: str | None) -> None:
    """Write a backup of this master to FILE, mode 0600, while it runs or not.

    In it are all accounts with their hashes, this master's private key and the member list: keep it as you keep the
    machine. It is read back before it gets its name, so an earlier one is only replaced by a good one.

    Exit codes: 0 it is written and was read back, 1 failed and FILE is as it was, 2 usage.
    """
    refuse_both(state, control)
    with BackupFile(file, overwrite=overwrite) as backup:
        contents = _ask(backup, control, with_cluster_key) if state is None else _read(backup, state, with_cluster_key)
    show(contents, file)
    if CLUSTER_KEY not in contents.files:
        click.echo("the cluster's private key is not in it (--with-cluster-key); keep a copy of its own", err=True)


def _ask(backup: BackupFile, control: str | None, with_cluster_key: bool) -> Contents:
    states: list[Path] = []

    def take(event: Event) -> None:
        if event.name == "master":
            states.append(Path(event.data["state"]))
            backup.add([Header(event.data["cluster"], event.data["master"], _now(), __version__)])
            backup.add(state_files(states[0], cluster_key=with_cluster_key))
        elif event.name == "registers":
            backup.add(register_from_json(raw) for raw in event.data["rows"])

    with ControlClient(control) as client:
        vector = client.ask("backup", {}, take).data["vector"]
    if not states:
        raise MalformedError("the daemon did not say which master it is")
    return backup.finish(vector)


def _read(backup: BackupFile, state: Path, with_cluster_key: bool) -> Contents:
    with opened(state) as database:
        backup.add([Header(database.cluster, load_identity(state).name, _now(), __version__)])
        backup.add(state_files(state, cluster_key=with_cluster_key))
        vector = None
        for page in database.pages({}):
            backup.add(page.rows)
            vector = page.vector
    return backup.finish(vector or {})


def _now() -> int:
    return int(time.time() * 1000)


def show(contents: Contents, file: Path) -> None:
    """Say what a backup holds."""
    header = contents.header
    click.echo(
        f"{file}: {header.master} of cluster {header.cluster}, {when_text(header.time)}: "
        f"{counted(contents.users, 'user')}, {counted(contents.groups, 'group')}, "
        f"{counted(contents.registers, 'register')}; {', '.join(contents.files)}"
    )
    if contents.conflicts:
        click.echo(f"{contents.conflicts} accounts in it are in conflict", err=True)
