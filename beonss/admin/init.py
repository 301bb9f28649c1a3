"""``beonss init``: a new cluster, its key and its first master."""

from pathlib import Path

import click

from beonss.admin.signing import default_name, endpoints_of, state_option
from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import Member, Roster, founded
from beonss.core.names.naming import Naming
from beonss.errors import BeonssError, ConfigurationError, StoreError
from beonss.store.keys import (
    check_member_name,
    new_cluster_key,
    new_identity,
    save_cluster_key,
    save_cluster_public,
    save_identity,
    save_roster,
)
from beonss.store.statedirectory import (
    CLUSTER_KEY,
    CLUSTER_PUBLIC,
    MEMBER_CERTIFICATE,
    MEMBER_KEY,
    MEMBERS,
    making,
    refuse_used,
)
from beonss.store.statefile import read_given
from beonss.wire.description import MAX_BYTES, parse
from beonss.wire.documents import public_bytes, write_members


@click.command(name="init")
@state_option
@click.option("--name", metavar="NAME", help="Name of this master. Default: the host name.")
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Where other masters and nodes connect to this one; may be given several times. "
    "Default: what --description says of this master.",
)
@click.option(
    "--description",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The cluster description (beonss.toml(5)): checked, and asked for the title and the addresses.",
)
@click.option(
    "--cluster-key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help=f"Where to write the cluster's private key. Default: {CLUSTER_KEY} in the state directory.",
)
def command(
    state: Path, name: str | None, addresses: tuple[str, ...], description: Path | None, cluster_key: Path | None
) -> None:
    """Make a new cluster: its key, and this machine as its first master.

    Nothing is ever overwritten. Exit codes: 0 made, 1 refused and nothing changed, 2 usage.
    """
    name = default_name() if name is None else check_member_name(name)
    naming = None if description is None else _described(description)
    endpoints = endpoints_of(addresses) or _endpoints(naming, name)
    key_path = cluster_key or state / CLUSTER_KEY
    with making(state):
        refuse_used(state)
        _found(state, name, endpoints, key_path, naming.cluster if naming is not None else "")
    click.echo(f"{name} is the first master of a new cluster, listening for others on {', '.join(map(str, endpoints))}")
    click.echo(f"  cluster's public key: {state / CLUSTER_PUBLIC} - copy it into the nodes' boot image")
    click.echo(
        f"  cluster's PRIVATE key: {key_path} - back it up; it may be kept offline, only changes of members need it"
    )
    click.echo("Next: start it (systemctl start beonss-master, or twistd -n beonss master),")
    click.echo("then invite another with: beonss invite NAME --address HOST")


def _found(state: Path, name: str, endpoints: tuple[Endpoint, ...], key_path: Path, title: str) -> None:
    identity, key = new_identity(name), new_cluster_key()
    public = public_bytes(key)
    members = founded(public, Member(name, identity.public, endpoints))
    roster = Roster(public, members, write_members(members, key))
    new = not key_path.exists()
    try:
        save_cluster_key(key_path, key)
        save_identity(state, identity)
        save_cluster_public(state, public, title)
        save_roster(state, roster)
    except BeonssError:
        # Half a cluster would only be in the way of the next try; the directory was empty before.
        for made in (MEMBERS, CLUSTER_PUBLIC, MEMBER_KEY, MEMBER_CERTIFICATE):
            (state / made).unlink(missing_ok=True)
        if new:
            key_path.unlink(missing_ok=True)
        raise


def _described(path: Path) -> Naming:
    try:
        data = read_given(path, MAX_BYTES)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from None
    return parse(data, str(path))


def _endpoints(naming: Naming | None, name: str) -> tuple[Endpoint, ...]:
    if naming is None:
        raise ConfigurationError(
            "say where the others connect to this master: --address HOST[:PORT], or --description FILE"
        )
    for master in naming.masters:
        if master.name == name:
            return tuple(Endpoint(str(address), master.port) for address in master.addresses)
    known = ", ".join(master.name for master in naming.masters)
    raise ConfigurationError(f"{name} is no master in the description (they are: {known}); pass --name or --address")
