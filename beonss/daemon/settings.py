"""What a daemon was asked to do on its command line, as values."""

from dataclasses import dataclass
from pathlib import Path

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.zones.forwarding import Upstream


@dataclass(frozen=True, slots=True)
class MasterSettings:
    """Command line of a master.

    Attributes:
        description: the cluster description, beonss.toml(5).
        name: name of this master, or None for that of the identity in ``state``.
        state: directory of keys and accounts.
        runtime: directory of the control socket.
        nslcd: path of the nslcd socket, or None for no such socket.
        targets: file that names the delivery targets, or None.
        boot_wait: seconds that logins wait for the boot reconciliation.
        dns: where to answer DNS; None means the default, empty means nowhere.
        sync: where to listen for masters and nodes; empty means the addresses in the member list.
        user: user to become, or None to stay who we are.
        group: group of that user, or None for its own.
        query_log: file for one of ``query_sample`` queries, or None for none.
        query_sample: of how many queries one is taken.
        dns_workers: how many processes answer DNS; 0 for the daemon itself, None for what is usual.
    """

    description: Path
    name: str | None
    state: Path
    runtime: Path
    nslcd: Path | None
    targets: Path | None
    boot_wait: float
    dns: tuple[Endpoint, ...] | None
    sync: tuple[Endpoint, ...]
    user: str | None = None
    group: str | None = None
    query_log: Path | None = None
    query_sample: int = 1000
    dns_workers: int | None = 0


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Command line of a node.

    Attributes:
        cluster_key: file with the cluster's public key.
        name: name of this node, or None to find it from the machine's addresses.
        state: directory of what is memorized.
        runtime: directory of the control socket.
        nslcd: path of the nslcd socket, or None for no such socket.
        dns: where to answer DNS; None means the default, empty means nowhere.
        masters: masters to ask first; empty means discovery.
        user: user to become, or None to stay who we are.
        group: group of that user, or None for its own.
        query_log: file for one of ``query_sample`` queries, or None for none.
        query_sample: of how many queries one is taken.
        forward: who is asked about names that are not the cluster's; empty means the masters.
    """

    cluster_key: Path
    name: str | None
    state: Path
    runtime: Path
    nslcd: Path | None
    dns: tuple[Endpoint, ...] | None
    masters: tuple[Endpoint, ...]
    user: str | None = None
    group: str | None = None
    query_log: Path | None = None
    query_sample: int = 1000
    forward: tuple[Upstream, ...] = ()
