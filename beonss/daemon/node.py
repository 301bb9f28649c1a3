"""A node's resolver, put together: names computed, accounts memorized, logins and changes asked of a master.

The same three steps as a master's (:mod:`beonss.daemon.master`). It is configured by nothing but the cluster's public
key; which masters there are and which node this is, it finds out, and goes on finding out.
"""

import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from beonss.core.accounts.lookup import LocalNames, Lookups, Rules
from beonss.core.cluster.discovery import candidates, masters_of_command_line, masters_of_resolver
from beonss.core.cluster.endpoints import DNS_PORT, Endpoint
from beonss.core.names.naming import Address, Named, Naming
from beonss.core.zones.forwarding import Upstream
from beonss.core.zones.forwarding_plan import Plan, node_plan
from beonss.core.zones.overlay_zone import described_zones
from beonss.core.zones.zone import UnknownZones
from beonss.daemon.accounts.state import Accounts
from beonss.daemon.dns.localnames import INTERVAL, LocalFiles
from beonss.daemon.dns.query_log import query_log_operation
from beonss.daemon.dns.query_log_file import query_logs
from beonss.daemon.local_doors import LocalDoors
from beonss.daemon.node_link import NodeLink
from beonss.daemon.node_memory import PROVEN, NodeMemory
from beonss.daemon.passwords.operations import password_operations
from beonss.daemon.passwords.pam_backend import NodePam
from beonss.daemon.passwords.relayed import RelayedPasswords
from beonss.daemon.presence import Presence
from beonss.daemon.replication.membership import Membership
from beonss.daemon.settings import NodeSettings
from beonss.daemon.status import node_status
from beonss.errors import ConfigurationError, StoreError
from beonss.net.activation import GivenSocket, sort_sockets
from beonss.net.control import Operation
from beonss.net.dns.forward import Forwarder
from beonss.net.dns.listen import listen_dns
from beonss.net.dns.server import DNSServer
from beonss.store.addresses import source_addresses
from beonss.store.failures import BrokenStoreError
from beonss.store.keys import load_cluster_public
from beonss.store.statedirectory import holding, make_state_directory
from beonss.store.writer import Writer
from beonss.wire.feed import DescriptionContent

#: Seconds between two notes on disk that the memory is fresh; each costs a commit.
PROVEN_INTERVAL = 60.0
KERNEL_COMMAND_LINE = Path("/proc/cmdline")
RESOLVER = Path("/etc/resolv.conf")

#: What an administrator is told whose command only a master can carry out.
_NOT_HERE = ": this machine is a node of the cluster; run the command on one of its masters"


class Node:
    """One node of the cluster.

    Args:
        reactor: the reactor.
        settings: the command line.
        fatal: ends the process; called with the reason.
        given: sockets that were handed over (:mod:`beonss.net.activation`).

    Raises:
        BeonssError: something it was given cannot be used.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: NodeSettings,
        fatal: Callable[[str], None],
        given: Sequence[GivenSocket] = (),
    ) -> None:
        self._reactor = reactor
        self._given = given
        self.presence = Presence()
        self._settings = settings
        self._fatal = fatal
        self._started = time.monotonic()
        self._doors = LocalDoors(reactor)
        self._refused_description = ""
        self._noted = 0.0
        self.name = (settings.name or "").lower()
        self.naming: Naming | None = None
        #: Wall seconds of the last proof that the memory is fresh, in this run or an earlier one; None without one.
        self.proven: float | None = None
        self._held = contextlib.ExitStack()
        try:
            self._prepare()
        except BaseException:
            self._held.close()
            raise

    def _prepare(self) -> None:
        reactor, settings = self._reactor, self._settings
        if not settings.cluster_key.exists():
            raise ConfigurationError(
                f"{settings.cluster_key} does not exist; copy the cluster's public key there (cluster.pub in the state "
                "directory of any master), or name it with --cluster-key"
            )
        cluster_key = load_cluster_public(settings.cluster_key)
        make_state_directory(settings.state)
        self._held.enter_context(holding(settings.state))
        self._memory = NodeMemory(settings.state, cluster_key)
        roster = self._memory.roster()
        self.membership = Membership(roster, self._memory.keep_roster)
        naming = self._memory.description()
        self.accounts = Accounts(
            reactor,
            Writer(self._memory.database(roster.cluster), self._broken),
            clock=lambda: int(time.time() * 1000),
            new_incarnation=lambda: "",
        )
        self.link = NodeLink(
            reactor,
            membership=self.membership,
            accounts=self.accounts,
            candidates=self._candidates,
            description=self._described,
            digest=lambda: "" if self.naming is None else self.naming.digest,
            name=self.name,
        )
        self.passwords = RelayedPasswords(self.link, self.name)
        self.dns = DNSServer(UnknownZones())
        self._queries, self._query_file = query_logs(reactor, self.dns, settings.query_log, settings.query_sample)
        self.forwarder: Forwarder | None = None
        self._plan: Plan | None = None
        self._chance = random.getrandbits(16)
        self.lookups = Lookups(None, self.accounts.view, known=lambda: self.known)
        self._local = LocalFiles(self._local_changed)
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        if naming is not None:
            self._take(naming)

    # --- life -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take every port and socket.

        Raises:
            ConfigurationError: one of them cannot be had; those taken before are let go when the process ends.
        """
        settings = self._settings
        if self._query_file is not None:
            self._query_file.open()
        control = settings.runtime / "control"
        usual = (Endpoint("127.0.0.1", DNS_PORT),)
        given = sort_sockets(
            self._given,
            dns=usual if settings.dns is None else settings.dns,
            sync=(),
            control=control,
            nslcd=settings.nslcd,
        )
        endpoints = given.dns_endpoints(settings.dns, usual)
        self._doors.close_too(listen_dns(self._reactor, self.dns, endpoints, given=given).stopListening)
        self.presence.watch("DNS", endpoints)
        self._doors.open_control(control, self._operations(), given.control, hint=_NOT_HERE)
        self._doors.close_too(self._queries.stop)
        pam = NodePam(self.passwords, self.name, self.link)
        self._doors.open_nslcd(settings.nslcd, self.lookups, pam, given.nslcd)

    async def start(self) -> None:
        """Serve from memory, and look for a master."""
        if self._query_file is not None:
            self._query_file.start()
        self._looking.start(INTERVAL)
        try:
            await self.accounts.start()
        except BrokenStoreError as error:
            # This process ends; nobody repairs a node, so the next one has to begin without.
            self._memory.drop_database(str(error))
            raise
        self.lookups.view = self.accounts.view
        noted = await self.accounts.get(PROVEN)
        if noted is not None:
            with contextlib.suppress(ValueError):
                self.proven = float(noted)
        self.link.on_fresh(self._fresh)
        self.link.start()
        self.log.info(
            "node {name} starts with {users} users in memory",
            name=self.name or "(name not known yet)",
            users=self.accounts.view.count("user"),
        )

    async def reload(self) -> None:
        """Look again at what the machine says: its addresses, its files, its resolver."""
        self._look()
        self.link.wake()

    async def stop(self) -> None:
        """Stop listening, keep what is memorized."""
        if self._looking.running:
            self._looking.stop()
        if self._query_file is not None:
            await self._query_file.stop()
        await self._doors.close()
        if self.forwarder is not None:
            self.forwarder.stop()
        await self.link.stop()
        await self.accounts.stop()
        self._held.close()

    def _broken(self, error: BrokenStoreError) -> None:
        # Called in the writer's thread.
        self._reactor.callFromThread(self._fatal, str(error))

    # --- what is known ------------------------------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        """Whether the memory was ever filled: until then nothing is said of accounts."""
        return self.proven is not None

    def alarms(self) -> list[str]:
        """Return what an administrator should look at."""
        alarms = [*self.membership.alarms.values(), *self.presence.alarms()]
        if self._query_file is not None and self._query_file.alarm:
            alarms.append(self._query_file.alarm)
        if self.link.problem:
            alarms.append(self.link.problem)
        if self._refused_description:
            alarms.append(self._refused_description)
        if self.forwarder is not None and self.forwarder.counters()["down"]:
            alarms.append("a master does not answer DNS, so others are asked in its place, if there are any")
        if self.naming is not None and self.lookups.asker is None:
            alarms.append(
                f"this machine is none of the cluster's nodes ({self.naming.zone}): 'self' has no answer here"
            )
        return alarms

    def _fresh(self) -> None:
        # Another one where everything was taken over anew.
        self.lookups.view = self.accounts.view
        first = self.proven is None
        self.proven = self.link.proven
        assert self.proven is not None
        if first or self.proven - self._noted >= PROVEN_INTERVAL:
            self._noted = self.proven
            noting = Deferred.fromCoroutine(self.accounts.put(PROVEN, f"{self.proven:.0f}".encode()))
            noting.addErrback(lambda failure: self.log.failure("noting that the memory is fresh failed", failure))

    def _described(self, content: DescriptionContent) -> None:
        if self.naming is not None and content.version < self.naming.version:
            # A master that was away has not caught up yet. Versions only rise, so this is an older one.
            self.log.info("version {version} of the description is older than ours", version=content.version)
            return
        try:
            naming = self._memory.compile(content)
        except ConfigurationError as error:
            self._refused_description = (
                f"the description that {self.link.connected} serves is refused, the old one stays: {error}"
            )
            self.log.error("{text}", text=self._refused_description)
            return
        self._refused_description = ""
        self._take(naming)
        self.log.info("description version {version} is in force", version=naming.version)
        try:
            self._memory.keep_description(content)
        except StoreError as error:
            # A full disk is no reason to compute wrong names: it is in force all the same, until a restart.
            self.log.error("the new description cannot be kept: {error}", error=str(error))

    def _take(self, naming: Naming) -> None:
        self.naming = naming
        settings = naming.settings
        self.lookups.names = naming
        self.lookups.rules = Rules(settings.uid_floor, settings.gid_floor)
        self.dns.replace(described_zones(naming))
        self._find_self()
        self._forward()

    def _find_self(self) -> None:
        """Find which node this is: by the name given, or by the machine's addresses."""
        naming = self.naming
        if naming is None:
            return
        found: Named | None
        address: Address | None = None
        if self._settings.name:
            found = naming.find(self._settings.name)
            address = found.addresses[0] if found is not None and found.addresses else None
        else:
            # Where the cluster's networks begin, and the masters: one of these routes is ours.
            places = [network.network_address + 1 for network in naming.reverse_networks]
            places += [address for spec in naming.masters for address in spec.addresses]
            found = None
            for source in source_addresses(places):
                found = naming.self_name(source)
                if found is not None:
                    address = source
                    break
        self.lookups.asker = self.dns.here = address
        if found is not None and found.name != self.name:
            self.log.info("this is {name}, {address}", name=found.name, address=str(address))
            self.name = self.link.name = self.passwords.name = found.name

    def _forward(self) -> None:
        """Have the masters asked about names that are not ours, if they could say anything."""
        naming = self.naming
        if naming is None:
            return
        here = self.dns.here
        masters = self._settings.forward or [
            Upstream(address, DNS_PORT)
            for named in self._spread(naming.master_order(here))
            for address in named.addresses
            if address != here
        ]
        plan = node_plan(naming, [] if here is None else [here], masters)
        if plan == self._plan:
            return
        self._plan = plan
        self.forwarder = None if plan is None else Forwarder(self._reactor, plan)
        self.dns.fall_back_on(self.forwarder)

    def _look(self) -> None:
        self._local.look()
        self.presence.look()
        self._find_self()
        self._forward()

    def _local_changed(self, names: LocalNames) -> None:
        self.lookups.local = names

    # --- which masters ------------------------------------------------------------------------------------------------

    def _candidates(self) -> Sequence[Endpoint]:
        memorized: list[Endpoint] = []
        members = {member.name: member.endpoints for member in self.membership.roster.joined()}
        if self.naming is not None:
            for named in self._spread(self.naming.master_order(self.lookups.asker)):
                memorized += members.pop(named.name, ())
        for endpoints in members.values():
            memorized += endpoints
        if self._settings.masters:
            return candidates(self._settings.masters, memorized)
        return candidates(
            masters_of_command_line(_text(KERNEL_COMMAND_LINE)), memorized, masters_of_resolver(_text(RESOLVER))
        )

    def _spread(self, masters: Sequence[Named]) -> Sequence[Named]:
        """Begin at another master on each node, or the first one would have all of them."""
        if not masters or self.naming is None:
            return masters
        mine = self.naming.find(self.name) if self.name else None
        number = mine.number if mine is not None and mine.number is not None else self._chance
        first = number % len(masters)
        return [*masters[first:], *masters[:first]]

    # --- what is asked here -------------------------------------------------------------------------------------------

    def _operations(self) -> Mapping[str, Operation]:
        async def status(parameters: Mapping[str, Any], peer: Any, report: Any) -> Mapping[str, Any]:  # noqa: ARG001
            return node_status(self, time.time(), time.monotonic() - self._started).document()

        def uid_floor() -> int:
            return Rules().uid_floor if self.naming is None else self.naming.settings.uid_floor

        return {
            "status": Operation(status),
            **query_log_operation(self._reactor, self._queries),
            **password_operations(self.passwords, lambda: self.accounts.view, master=False, uid_floor=uid_floor),
        }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
