"""What ``beonss init``, ``invite``, ``join`` and ``members`` share: options, signing a list, and handing it out."""

import base64
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from beonss.core.cluster.endpoints import SYNC_PORT, Endpoint, parse_endpoint
from beonss.core.cluster.members import MemberList, Roster
from beonss.errors import ConfigurationError, Unavailable
from beonss.store.control import ControlClient
from beonss.store.keys import check_member_name, load_cluster_key, load_roster, save_roster
from beonss.store.statedirectory import CLUSTER_KEY, DirectoryInUse, holding
from beonss.wire.documents import with_documents, write_members

DEFAULT_STATE = "/var/lib/beonss"
F = TypeVar("F", bound=Callable[..., Any])


def state_option(command: F) -> F:
    """Add ``--state``."""
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_STATE,
        show_default=True,
        help="State directory of this master.",
    )(command)


def own_state_option(command: F) -> F:
    """Add ``--state`` to a command of a group that has one of its own, which holds where this is not given."""
    return click.option(
        "--state",
        "own_state",
        type=click.Path(path_type=Path, file_okay=False),
        help="State directory of this master.",
    )(command)


def key_option(command: F) -> F:
    """Add ``--cluster-key``."""
    return click.option(
        "--cluster-key",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="PATH",
        help=f"The cluster's private key. Default: {CLUSTER_KEY} in the state directory.",
    )(command)


def endpoints_of(texts: tuple[str, ...]) -> tuple[Endpoint, ...]:
    """Read addresses that other machines will connect to.

    Raises:
        ConfigurationError: one is none, has no port to connect to, or is the unspecified address.
    """
    endpoints = tuple(parse_endpoint(text, SYNC_PORT) for text in texts)
    for endpoint in endpoints:
        if endpoint.port == 0 or endpoint.host in {"0.0.0.0", "::"}:  # noqa: S104 - refused, not bound
            raise ConfigurationError(f"{endpoint} is nothing that others can connect to; write the machine's address")
    return endpoints


def default_name() -> str:
    """Return this machine's host name, its first label."""
    return check_member_name(socket.gethostname().partition(".")[0])


def sign_and_publish(
    state: Path, cluster_key: Path | None, control: str | None, change: Callable[[Roster], MemberList]
) -> tuple[Roster, str]:
    """Sign the list that ``change`` makes of the one in force, and put it in force.

    Returns:
        the new roster, and in words how it was put in force.

    Raises:
        ConfigurationError: the change, or the cluster key, is not possible.
        StoreError: it cannot be kept.
        Unavailable: the master is running and does not answer on its control socket.
    """
    try:
        with holding(state):
            roster = _changed(state, cluster_key, change)
            save_roster(state, roster)
            return roster, "kept in the state directory; the other masters get it when this one is started"
    except DirectoryInUse:
        pass
    roster = _changed(state, cluster_key, change)
    document = base64.b64encode(roster.document).decode()
    try:
        with ControlClient(control, timeout=30) as client:
            end = client.ask("publish-members", {"members": document})
    except Unavailable as error:
        raise Unavailable(
            f"{state} is in use, so its master is running, but it does not answer ({error}); nothing was changed. "
            f"Name its control socket with --control, or stop it and repeat"
        ) from None
    if not end.data.get("changed") or end.data.get("number") != roster.list.number:
        raise ConfigurationError(
            f"the running master did not take member list {roster.list.number} (it has {end.data.get('number')}): "
            f"somebody signed another at the same time; look at 'beonss members' and repeat"
        )
    return roster, "in force; the running master hands it to the others"


def is_running(state: Path) -> bool:
    """Say whether a master, or another command, holds the state directory.

    Raises:
        BeonssError: it cannot be held by anybody.
    """
    try:
        with holding(state):
            return False
    except DirectoryInUse:
        return True


def _changed(state: Path, cluster_key: Path | None, change: Callable[[Roster], MemberList]) -> Roster:
    roster = load_roster(state)
    key = load_cluster_key(cluster_key or state / CLUSTER_KEY, roster.cluster_key)
    return with_documents(roster, write_members(change(roster), key), ())[0]
