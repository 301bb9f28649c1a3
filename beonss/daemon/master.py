"""A master, put together: names, lookups, accounts, passwords, and the exchange with the other masters.

Three steps. :class:`Master` reads what it is given (files, keys, database) and fails clearly; :meth:`Master.open`
takes every port and socket, so that an occupied one ends the start; :meth:`Master.start` begins to serve. Names and
the exchange are served from the first instant; logins and password changes wait for the boot reconciliation.
"""

import contextlib
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from beonss.core.accounts.lookup import LocalNames, Lookups
from beonss.core.cluster.endpoints import Endpoint
from beonss.core.names.naming import Naming
from beonss.daemon.accounts.administration import account_administration
from beonss.daemon.accounts.state import Accounts
from beonss.daemon.audit_operations import AuditReading
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.dns.first_zones import usual_endpoints
from beonss.daemon.dns.localnames import INTERVAL, LocalFiles
from beonss.daemon.dns.master_dns import MasterDNS
from beonss.daemon.dns.prepared import Prepared
from beonss.daemon.dns.query_log import query_log_operation
from beonss.daemon.in_force import InForce, address_of
from beonss.daemon.local_doors import LocalDoors
from beonss.daemon.passwords.authority import Passwords
from beonss.daemon.passwords.direct_changes import DirectChanges
from beonss.daemon.passwords.operations import password_operations
from beonss.daemon.passwords.pam_backend import MasterPam, standing_requests
from beonss.daemon.passwords.relayed import node_requests
from beonss.daemon.presence import Presence
from beonss.daemon.replication.backup_operation import backup_operation
from beonss.daemon.replication.booting import Booting
from beonss.daemon.replication.description import Described, first_description
from beonss.daemon.replication.description_operations import DescriptionOperations
from beonss.daemon.replication.member_operations import member_operations
from beonss.daemon.replication.membership import Membership
from beonss.daemon.replication.publication import Publication
from beonss.daemon.replication.sync import Sync
from beonss.daemon.replication.upkeep import Upkeep
from beonss.daemon.settings import MasterSettings
from beonss.daemon.status import master_status
from beonss.daemon.targets.deliveries import Deliveries
from beonss.daemon.targets.edits import Edits, edit_operations
from beonss.daemon.targets.sources import Sources
from beonss.daemon.targets.target_list import read_sources, read_targets, refuse_foreign_files
from beonss.errors import ConfigurationError, StoreError
from beonss.net.activation import GivenSocket, sort_sockets
from beonss.net.control import Operation
from beonss.store.audit import AuditLog
from beonss.store.crypt import schemes
from beonss.store.database import Database
from beonss.store.failures import BrokenStoreError
from beonss.store.firststart import check_database, note_database
from beonss.store.hashing import HashingThreads
from beonss.store.kept_core import SERIALS
from beonss.store.keys import load_identity, load_roster, save_roster
from beonss.store.machine import machine_id
from beonss.store.pwquality import installed_quality
from beonss.store.statedirectory import DATABASE, holding
from beonss.store.writer import Writer

AUDIT = "audit.jsonl"


class Master:
    """One master of the cluster.

    Args:
        reactor: the reactor.
        settings: the command line.
        fatal: ends the process; called with the reason.
        given: sockets that were handed over (:mod:`beonss.net.activation`).
        prepared: what was begun for DNS (:mod:`beonss.daemon.dns.prepared`); None where the master itself answers.

    Raises:
        BeonssError: something it was given cannot be used; nothing was changed.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: MasterSettings,
        fatal: Callable[[str], None],
        given: Sequence[GivenSocket] = (),
        prepared: Prepared | None = None,
    ) -> None:
        self._prepared = prepared
        self._reactor = reactor
        self._given = given
        self.presence = Presence()
        self._settings = settings
        self._fatal = fatal
        self._started = time.monotonic()
        self._loaded = False
        self._doors = LocalDoors(reactor)
        self._held = contextlib.ExitStack()
        try:
            self._prepare()
        except BaseException:
            self._held.close()
            raise

    def _prepare(self) -> None:
        """Read keys, open the database, wire the parts; listen nowhere."""
        reactor, settings = self._reactor, self._settings
        self.identity = load_identity(settings.state)
        self.name = self.identity.name
        if settings.name is not None and settings.name.lower() != self.name:
            raise ConfigurationError(
                f"{settings.state} holds the identity of {self.name}, not of {settings.name}; pass --name {self.name}, "
                f"or the --state of {settings.name}"
            )
        self._held.enter_context(holding(settings.state))
        roster = load_roster(settings.state)
        self.membership = Membership(roster, lambda changed: save_roster(settings.state, changed))
        path = settings.state / DATABASE
        alone = all(member.name == self.name for member in roster.joined())
        if check_database(path, alone=alone, traces=(settings.state / AUDIT, settings.state / SERIALS)):
            self.log.warn("{path} is missing: everything is fetched from the other masters", path=str(path))
        database = Database(path, roster.cluster, quick=True)
        try:
            note_database(path)
            first = first_description(database, settings.description)
            self.in_force = in_force = InForce(self.name, first)
            if in_force.spec is None and first.source == "file":
                raise ConfigurationError(
                    f"{settings.description}: {self.name} is not among the masters; add it to 'masters', or is this "
                    f"the description of another cluster?"
                )
            targets = read_targets(settings.targets, settings.state, in_force.settings)
            refuse_foreign_files(targets, settings.targets)
            self._activation = sort_sockets(
                self._given,
                dns=self._usual_dns() if settings.dns is None else settings.dns,
                sync=self._usual_sync(),
                control=settings.runtime / "control",
                nslcd=settings.nslcd,
            )
        except BaseException:
            database.close()
            raise
        writer = Writer(database, self._broken)
        self.accounts = Accounts(
            reactor,
            writer,
            clock=lambda: int(time.time() * 1000),
            new_incarnation=lambda: secrets.token_hex(16),
            machine=machine_id(),
        )
        requests: dict[str, Any] = {}
        member_requests: dict[str, Any] = {}
        self.sync = Sync(
            reactor,
            identity=self.identity,
            membership=self.membership,
            accounts=self.accounts,
            description=lambda: in_force.content(roster.cluster),
            requests=requests,
            member_requests=member_requests,
            node_allowed=in_force.admits_node,
            schemes=_schemes(),
        )
        self.booting = Booting(
            reactor,
            name=self.name,
            pulls=self.sync,
            membership=self.membership,
            accounts=self.accounts,
            patience=settings.boot_wait,
        )
        self.publication = Publication(
            reactor,
            accounts=self.accounts,
            name=self.name,
            first=first,
            path=settings.description,
            check=lambda naming: self.dns.check(naming),  # noqa: PLW0108 - made further down
            take=self._take,
            ready=self.booting.ready,
        )
        self.audit = AuditLog(settings.state / AUDIT, time.time, self.name)
        self._trail = AuditTrail(self.audit, reactor.seconds)
        self.deliveries = Deliveries(reactor, self.accounts, targets, chance=random.random, wall=time.time)
        self.edits = Edits(
            reactor,
            self.accounts,
            targets,
            floors=lambda: in_force.settings,
            machine=self.name,
            ready=self.booting.ready,
            trail=self._trail,
        )
        self.sources = Sources(
            reactor,
            self.accounts,
            read_sources(settings.targets, settings.state, in_force.settings),
            floors=lambda: in_force.settings,
            machine=self.name,
            ready=self.booting.ready,
            trail=self._trail,
        )
        self._upkeep = Upkeep(reactor, self.accounts)
        self._direct = DirectChanges(
            reactor,
            targets,
            view=lambda: self.accounts.view,
            again=self.deliveries.again,
        )
        self.passwords = Passwords(
            reactor,
            accounts=self.accounts,
            masters=self.sync,
            targets=self.deliveries,
            hashing=HashingThreads(),
            audit=self.audit,
            name=self.name,
            settings=in_force.password_settings(settings.boot_wait),
            ready=self.booting.ready,
            as_user=self._direct,
            first=self._direct.first,
            quality=installed_quality(),
            others=lambda: {name: peer.schemes for name, peer in self.sync.peers.items()},
        )
        self._audit_reading = AuditReading(self.audit.path, self.name, self.sync)
        member_requests.update(self._audit_reading.requests())
        requests.update(node_requests(self.passwords, in_force.node_name))
        requests.update(standing_requests(lambda: self.accounts.view, _today))
        here = address_of(in_force.spec)
        self.dns = MasterDNS(
            reactor,
            settings,
            name=self.name,
            naming=in_force.naming,
            text=in_force.text,
            here=here,
            endpoints=self._dns_endpoints(),
            prepared=self._prepared,
        )
        self.lookups = Lookups(
            in_force.naming,
            self.accounts.view,
            known=lambda: self._loaded,
            asker=here,
            rules=in_force.rules(),
        )
        self._local = LocalFiles(self._local_changed)
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    # --- life -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Take every port and socket.

        Raises:
            ConfigurationError: one of them cannot be had; those taken before are let go when the process ends.
        """
        settings = self._settings
        given = self._activation
        self.dns.open(given)
        for endpoint in self._sync_endpoints():
            self.sync.listen(endpoint, given.sync.get(endpoint))
        self.presence.watch("DNS", self.dns.endpoints)
        self.presence.watch("sync", self._sync_endpoints())
        self._doors.open_control(settings.runtime / "control", self._operations(), given.control)
        self._doors.close_too(self.dns.queries.stop)
        pam = MasterPam(self.passwords, self.name, lambda: self.accounts.view, _today)
        self._doors.open_nslcd(settings.nslcd, self.lookups, pam, given.nslcd, root_override=True)

    async def start(self) -> None:
        """Begin to serve; everything that waits for others waits in the background."""
        self._looking.start(INTERVAL)
        await self.accounts.start()
        self.lookups.view = self.accounts.view
        self._loaded = True
        await self.passwords.start()
        self.booting.start()
        await self.publication.start()
        await self.sync.start()
        await self.deliveries.start()
        self._begin_edits()
        self._upkeep.start()
        self.dns.start()
        self.log.info(
            "master {name} of {cluster} serves {nodes} nodes and {users} users",
            name=self.name,
            cluster=self.naming.cluster,
            nodes=self.naming.node_count,
            users=self.accounts.view.count("user"),
        )

    def _begin_edits(self) -> None:
        """Look for edits by hand and at sources, once the others were asked; the start does not wait for that."""
        for part in (self.edits, self.sources):
            Deferred.fromCoroutine(part.start()).addErrback(
                lambda failure: self.log.failure("edits by hand or sources are not looked at", failure)
            )

    async def reload(self) -> None:
        """Look again at the files of this machine: account files, zone files, keys, and the file of the description.

        The description itself is changed by ``beonss apply``; a file that differs from it is an alarm.
        """
        self._local.look()
        self.publication.reread()
        await self.dns.reload()

    def _take(self, described: Described) -> None:
        """Put a description of the cluster in force.

        Raises:
            ConfigurationError: a zone file that it names cannot be used here; the old one stays.
        """
        # First what may refuse it.
        here = address_of(self.in_force.spec_in(described.naming))
        self.dns.take(described.naming, described.published.text, here)
        self.in_force.take(described)
        self.lookups.asker = here
        self.lookups.names = described.naming
        self.lookups.rules = self.in_force.rules()
        self.passwords.settings = self.in_force.password_settings(self._settings.boot_wait)
        self.sync.description_changed()

    async def stop(self) -> None:
        """Stop listening, finish what was begun, close the database."""
        if self._looking.running:
            self._looking.stop()
        await self._doors.close()
        await self.dns.stop()
        self._upkeep.stop()
        self.publication.stop()
        self.booting.stop()
        await self.sync.stop()
        if self._loaded:
            await self.edits.stop()
            await self.sources.stop()
            await self.deliveries.stop()
            await self.passwords.stop()
            self._direct.stop()
        await self.accounts.stop()
        self._held.close()

    @property
    def naming(self) -> Naming:
        """The description in force, compiled."""
        return self.in_force.naming

    def _broken(self, error: BrokenStoreError) -> None:
        # Called in the writer's thread.
        self._reactor.callFromThread(self._fatal, str(error))

    def alarms(self) -> list[str]:
        """Return what an administrator should look at, besides single accounts."""
        alarms = [*self.sync.alarms.values(), *self.membership.alarms.values()]
        alarms += [
            text
            for text in (
                self.accounts.lost,
                self.accounts.full,
                self._upkeep.alarm,
                self.audit.problem,
                self.passwords.problem(),
            )
            if text
        ]
        alarms += [*self.publication.alarms(), *self.dns.alarms(), *self.presence.alarms()]
        if self.in_force.spec is None:
            alarms.append(f"{self.name} is not among the masters of the description: nobody is sent here")
        return alarms + self.edits.problems() + self.sources.problems() + self.deliveries.conflicts(20)

    # --- where to listen ----------------------------------------------------------------------------------------------

    def _dns_endpoints(self) -> tuple[Endpoint, ...]:
        return self._activation.dns_endpoints(self._settings.dns, self._usual_dns())

    def _usual_dns(self) -> tuple[Endpoint, ...]:
        return usual_endpoints(self.naming, self.name)

    def _sync_endpoints(self) -> tuple[Endpoint, ...]:
        return self._activation.sync_endpoints(self._settings.sync or None, self._usual_sync())

    def _usual_sync(self) -> tuple[Endpoint, ...]:
        if self._settings.sync:
            return self._settings.sync
        member = self.membership.roster.list.find(self.name)
        if member is None:
            raise ConfigurationError(f"{self.name} is not in the member list: it was removed from the cluster")
        return member.endpoints

    # --- what the parts ask of the whole ------------------------------------------------------------------------------

    def _look(self) -> None:
        self._local.look()
        self.presence.look()

    def _local_changed(self, names: LocalNames) -> None:
        self.lookups.local = names

    def _operations(self) -> Mapping[str, Operation]:
        async def status(parameters: Mapping[str, Any], peer: Any, report: Any) -> Mapping[str, Any]:  # noqa: ARG001
            return (await master_status(self, time.time(), time.monotonic() - self._started)).document()

        return {
            "status": Operation(status),
            **password_operations(
                self.passwords,
                lambda: self.accounts.view,
                master=True,
                uid_floor=lambda: self.in_force.settings.uid_floor,
            ),
            **account_administration(
                self._reactor,
                accounts=self.accounts,
                deliveries=self.deliveries,
                masters=self.sync,
                members=lambda: [member.name for member in self.membership.roster.list.members],
                ready=self.booting.ready,
                floors=lambda: self.in_force.settings,
                local=lambda: self.lookups.local,
                trail=self._trail,
                machine=self.name,
            ),
            "backup": backup_operation(
                self.accounts,
                self._trail,
                machine=self.name,
                cluster=self.membership.roster.cluster,
                state=self._settings.state,
            ),
            **edit_operations(self.edits, self.sources),
            **DescriptionOperations(
                self._reactor,
                publication=self.publication,
                sync=self.sync,
                membership=self.membership,
                name=self.name,
                settled=self.dns.answering.settled,
                trail=self._trail,
            ).table(),
            **member_operations(self.membership, self._trail, self.name),
            **self._audit_reading.operations(),
            **query_log_operation(self._reactor, self.dns.queries),
        }


def _schemes() -> tuple[str, ...]:
    try:
        return schemes()
    except StoreError:
        # Told as an alarm: no password can be changed here.
        return ()


def _today() -> int:
    return int(time.time() // 86400)
