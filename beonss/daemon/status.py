"""Puts together what a daemon says of itself (:mod:`beonss.core.cluster.status`)."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

from beonss import __version__
from beonss.core.accounts.lookup import Lookups
from beonss.core.accounts.view import AccountView
from beonss.core.cluster.status import MemberStatus, Status, TargetStatus
from beonss.core.names.naming import Naming
from beonss.net.dns.counters import DNSCounters

if TYPE_CHECKING:
    # A daemon of one role does not load the parts of the other.
    from beonss.daemon.accounts.state import Accounts
    from beonss.daemon.dns.master_dns import MasterDNS
    from beonss.daemon.node_link import NodeLink
    from beonss.daemon.passwords.authority import Passwords
    from beonss.daemon.presence import Presence
    from beonss.daemon.replication.booting import Booting
    from beonss.daemon.replication.publication import Publication
    from beonss.daemon.replication.sync import Sync
    from beonss.daemon.targets.deliveries import Deliveries
    from beonss.net.dns.server import DNSServer

#: Conflicts are named up to this many; the rest is counted.
_NAMED = 5


class Daemon(Protocol):
    """What every daemon tells from."""

    name: str
    accounts: "Accounts"
    lookups: Lookups
    presence: "Presence"

    def alarms(self) -> list[str]:
        """Return what an administrator should look at, besides single accounts."""


class MasterParts(Daemon, Protocol):
    """A master, as far as its status looks at it; :class:`beonss.daemon.master.Master` is one."""

    booting: "Booting"
    sync: "Sync"
    deliveries: "Deliveries"
    publication: "Publication"
    passwords: "Passwords"
    dns: "MasterDNS"

    @property
    def naming(self) -> Naming:
        """The description in force."""


class NodeParts(Daemon, Protocol):
    """A node, likewise; :class:`beonss.daemon.node.Node` is one.

    Attributes:
        naming: the description in force; None before there was any.
        proven: wall seconds of the last proof that the memory is fresh; None without one.
    """

    naming: Naming | None
    proven: float | None
    link: "NodeLink"
    dns: "DNSServer"

    @property
    def known(self) -> bool:
        """Whether the memory was ever filled."""


async def master_status(master: MasterParts, wall: float, uptime: float) -> Status:
    """Return how a master stands.

    Args:
        master: which.
        wall: seconds since the epoch.
        uptime: seconds since the process started.
    """
    outcome = master.booting.outcome
    members = [MemberStatus(master.name, this=True, reachable=True, since=wall - uptime, buffered=0, clock_skew_ms=0)]
    for name, peer in sorted(master.sync.peers.items()):
        buffered = await master.accounts.buffered(peer.acknowledged or {})
        digest = peer.description_digest
        members.append(
            MemberStatus(
                name,
                reachable=peer.reachable,
                since=peer.since,
                buffered=buffered.count,
                clock_skew_ms=peer.clock_skew_ms,
                description_differs=bool(digest) and digest != master.naming.digest,
                error=None if peer.reachable else peer.last_error or None,
            )
        )
    targets = [
        TargetStatus(lane.name, lane.backlog, since=lane.since, error=lane.error) for lane in master.deliveries.states()
    ]
    return Status(
        role="master",
        name=master.name,
        cluster=master.naming.cluster,
        software=__version__,
        boot=outcome.state,
        uptime=uptime,
        incarnation=master.accounts.incarnation,
        missing=outcome.missing,
        description={
            **_description(master.naming),
            "source": master.publication.now.source,
            "file_state": master.publication.file_state,
        },
        members=members,
        targets=targets,
        accounts=_accounts(master.accounts.view),
        passwords={"scheme": master.passwords.agreement().scheme, "wants": master.passwords.settings.scheme},
        dns={**_dns(master.dns.answering.counters()), "processes": master.dns.answering.processes()},
        listening=master.presence.listening(),
        alarms=[*master.alarms(), *_conflicts(master.accounts.view), *_kept_back(master.lookups)],
    )


def node_status(node: NodeParts, wall: float, uptime: float) -> Status:
    """Return how a node stands; see :func:`master_status`."""
    link = node.link
    live = link.connected is not None
    known = node.known
    age = None if node.proven is None else max(0.0, wall - node.proven)
    return Status(
        role="node",
        name=node.name or "(not known yet)",
        cluster=node.naming.cluster if node.naming is not None else "(no description yet)",
        software=__version__,
        boot="live" if live and known else "memory" if known else "empty",
        uptime=uptime,
        master=link.connected,
        memory_age=age,
        description={} if node.naming is None else _description(node.naming),
        accounts=_accounts(node.accounts.view),
        dns=_dns(node.dns.counters()),
        listening=node.presence.listening(),
        alarms=[*node.alarms(), *_conflicts(node.accounts.view), *_kept_back(node.lookups)],
    )


def _description(naming: Naming) -> dict[str, Any]:
    return {
        "file": naming.source,
        "version": naming.version,
        "digest": naming.digest,
        "zone": naming.zone,
        "nodes": naming.node_count,
    }


def _accounts(view: AccountView) -> dict[str, int]:
    return {
        "users": view.count("user"),
        "groups": view.count("group"),
        "conflicts": len(view.conflicts()),
    }


def _dns(counters: DNSCounters) -> dict[str, Any]:
    return {**asdict(counters), "codes": dict(counters.codes), "queries": counters.queries}


def _kept_back(lookups: Lookups) -> list[str]:
    if not lookups.ready:
        return []
    texts = [
        f"{kept.kind} {kept.name} ({kept.number}) is not served here: {kept.reason}" for kept in lookups.kept_back()
    ]
    if len(texts) > _NAMED:
        texts[_NAMED:] = [f"{len(texts) - _NAMED} more accounts and groups are not served here for such reasons"]
    return texts


def _conflicts(view: AccountView) -> list[str]:
    conflicts = view.conflicts()
    named = [conflict.reason for conflict in conflicts[:_NAMED]]
    if len(conflicts) > _NAMED:
        named.append(f"{len(conflicts) - _NAMED} more accounts are in conflict: beonss conflicts")
    return named
