"""The composition root: what ``twistd beonss master`` and ``twistd beonss node`` read and build.

The only module that takes the global reactor. Mistakes on the command line end with a usage message, mistakes
in files and occupied ports with one clear line; in each case the exit code is not 0 and nothing was changed.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from twisted.application import service
from twisted.internet import defer, reactor
from twisted.logger import Logger
from twisted.python import usage

from beonss import __version__
from beonss.core.cluster.endpoints import DNS_PORT, SYNC_PORT, Endpoint, parse_endpoint
from beonss.core.zones.forwarding import Upstream
from beonss.core.zones.query_log import MOST_EVERY
from beonss.daemon.settings import MasterSettings, NodeSettings
from beonss.errors import BeonssError, ConfigurationError
from beonss.net.activation import GivenSocket, inherited_sockets
from beonss.net.ownlookups import disable_own_lookups
from beonss.net.readiness import ServiceManager
from beonss.store.garbage import uncollected
from beonss.store.privileges import RunAs, check_state, find_user, give_up, provide_directory, step_down

log = Logger()

#: Exit code of a daemon that stopped because it could not go on (sysexits.h EX_SOFTWARE).
EXIT_FATAL = 70


def _endpoints(texts: list[str], default_port: int) -> tuple[Endpoint, ...]:
    try:
        return tuple(parse_endpoint(text, default_port) for text in texts)
    except ConfigurationError as error:
        raise usage.UsageError(str(error)) from None


def _upstreams(texts: list[str]) -> tuple[Upstream, ...]:
    try:
        return tuple(Upstream(ip_address(host), port) for host, port in _endpoints(texts, DNS_PORT))
    except ValueError as error:
        raise usage.UsageError(f"--forward-to takes addresses, for it is who names are asked of: {error}") from None


class _DaemonOptions(usage.Options):
    """What both daemons share."""

    synopsis: ClassVar[str] = ""

    def getSynopsis(self) -> str:
        """Return the usage line without repeating what stands above it."""
        return f"Usage: twistd [options] beonss {self.synopsis}"

    def __init__(self) -> None:
        super().__init__()
        self.dns_listen: list[str] = []
        self["no-dns"] = 0
        self["user"] = self["group"] = self["query-log"] = None
        self["query-sample"] = 1000

    def opt_dns_listen(self, address: str) -> None:
        """Answer DNS on this HOST[:PORT]; repeatable. Default: a master's own addresses, a node's loopback."""
        self.dns_listen.append(address)

    def opt_no_dns(self) -> None:
        """Do not answer DNS at all."""
        self["no-dns"] = 1

    def opt_user(self, name: str) -> None:
        """Become this user before any file is opened, and give up all powers of root once the ports are open."""
        self["user"] = name

    def opt_group(self, name: str) -> None:
        """Group of --user. Default: the user's own."""
        self["group"] = name

    def opt_query_log(self, path: str) -> None:
        """Append one of --query-sample queries to this file, as lines of JSON. Default: no such log."""
        self["query-log"] = path

    def opt_query_sample(self, number: str) -> None:
        """Of how many queries --query-log takes one. Default: 1000."""
        if not (number.isascii() and number.isdigit() and len(number) < 8 and 1 <= int(number) <= MOST_EVERY):
            raise usage.UsageError(f"--query-sample must be a number from 1 to {MOST_EVERY}")
        self["query-sample"] = int(number)

    def query_log(self) -> dict[str, Any]:
        """Return where queries are logged, and one of how many."""
        path = self["query-log"]
        return {"query_log": None if path is None else Path(path), "query_sample": self["query-sample"]}

    def run_as(self) -> dict[str, Any]:
        """Return user and group to run as.

        Raises:
            twisted.python.usage.UsageError: there is a group and no user.
        """
        if self["group"] is not None and self["user"] is None:
            raise usage.UsageError("--group needs --user")
        return {"user": self["user"], "group": self["group"]}

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        print(f"beonss {__version__}")
        sys.exit(0)

    def listen_dns(self) -> tuple[Endpoint, ...] | None:
        """Return where to answer DNS: None means the default, an empty tuple means nowhere."""
        if self["no-dns"]:
            return ()
        return _endpoints(self.dns_listen, DNS_PORT) if self.dns_listen else None


class MasterOptions(_DaemonOptions):
    """Command line of ``twistd beonss master``."""

    synopsis: ClassVar[str] = "master [options]"
    longdesc = (
        "Run a master: computed DNS, lookups for the C library, accounts kept equal with every other master. "
        "The machine must have been made a member before: beonss init, or beonss join TOKEN."
    )

    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", "/etc/beonss/cluster.toml", "Description of the cluster (beonss.toml(5))."],
        [
            "name",
            "n",
            None,
            "Name of this master, checked against the identity in --state. Default: that identity's name.",
        ],
        ["state", "s", "/var/lib/beonss", "Directory of keys and accounts; on a local disk."],
        ["runtime", "r", "/run/beonss", "Directory of the control socket."],
        ["nslcd", None, "/run/nslcd/socket", "Socket of the nslcd protocol; 'none' for no such socket."],
        ["targets", "t", None, "File that names delivery targets: local files, LDAP, a command."],
        [
            "boot-wait",
            None,
            5.0,
            "Seconds that logins and password changes wait at start for the other masters.",
            float,
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.sync_listen: list[str] = []
        self["dns-workers"] = None

    def opt_dns_workers(self, number: str) -> None:
        """Answer DNS in so many processes; 0: in the daemon itself. Default: auto, one for each processor up to 8."""
        if number != "auto" and not (number.isascii() and number.isdigit() and len(number) < 3 and int(number) <= 64):
            raise usage.UsageError("--dns-workers must be a number from 0 to 64, or auto")
        self["dns-workers"] = None if number == "auto" else int(number)

    def opt_sync_listen(self, address: str) -> None:
        """Listen for masters and nodes on this HOST[:PORT]; repeatable. Default: as in the member list."""
        self.sync_listen.append(address)

    def settings(self) -> MasterSettings:
        """Return what was asked for, checked as far as the words go."""
        if not 0 <= self["boot-wait"] <= 60:
            raise usage.UsageError("--boot-wait must be between 0 and 60 seconds")
        return MasterSettings(
            description=Path(self["config"]),
            name=self["name"],
            state=Path(self["state"]),
            runtime=Path(self["runtime"]),
            nslcd=None if self["nslcd"] == "none" else Path(self["nslcd"]),
            targets=None if self["targets"] is None else Path(self["targets"]),
            boot_wait=self["boot-wait"],
            dns=self.listen_dns(),
            sync=_endpoints(self.sync_listen, SYNC_PORT),
            dns_workers=self["dns-workers"],
            **self.run_as(),
            **self.query_log(),
        )


#: What may be the name of a node; whether it is one the description says.
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?", re.ASCII)


class NodeOptions(_DaemonOptions):
    """Command line of ``twistd beonss node``."""

    synopsis: ClassVar[str] = "node [options]"
    longdesc = (
        "Run a node's resolver: host names computed, accounts memorized. It needs no configuration but the cluster's "
        "public key in the boot image; which masters there are and which node this is, it finds out."
    )

    optParameters: ClassVar[list[list[Any]]] = [
        ["cluster-key", "k", "/etc/beonss/cluster.pub", "The cluster's public key (made by beonss init)."],
        ["name", "n", None, "Name of this node. Default: found from the machine's addresses."],
        ["state", "s", "/var/lib/beonss-node", "Directory of what is memorized; a tmpfs will do."],
        ["runtime", "r", "/run/beonss", "Directory of the control socket."],
        ["nslcd", None, "/run/nslcd/socket", "Socket of the nslcd protocol; 'none' for no such socket."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.masters: list[str] = []
        self.forward: list[str] = []

    def opt_master(self, address: str) -> None:
        """Ask this master, HOST[:PORT]; repeatable. Default: from kernel command line, memory, resolv.conf."""
        self.masters.append(address)

    def opt_forward_to(self, address: str) -> None:
        """Ask this DNS server, ADDRESS[:PORT], about names that are not ours; repeatable. Default: the masters."""
        self.forward.append(address)

    def settings(self) -> NodeSettings:
        """Return what was asked for, checked as far as the words go."""
        if self["name"] is not None and _HOST.fullmatch(self["name"]) is None:
            raise usage.UsageError(
                f"--name {self['name']!r} is no host name: letters, digits, '-', '_' and '.' make one"
            )
        return NodeSettings(
            cluster_key=Path(self["cluster-key"]),
            name=self["name"],
            state=Path(self["state"]),
            runtime=Path(self["runtime"]),
            nslcd=None if self["nslcd"] == "none" else Path(self["nslcd"]),
            dns=self.listen_dns(),
            masters=_endpoints(self.masters, SYNC_PORT),
            forward=_upstreams(self.forward),
            **self.run_as(),
            **self.query_log(),
        )


class Options(usage.Options):
    """Command line of ``twistd beonss``."""

    synopsis = "[options] {master|node} [options]"
    subCommands: ClassVar[list[tuple[str, str | None, type[usage.Options], str]]] = [
        ("master", None, MasterOptions, "Run a master of the cluster."),
        ("node", None, NodeOptions, "Run a node's resolver."),
    ]

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        print(f"beonss {__version__}")
        sys.exit(0)

    def postOptions(self) -> None:
        """Refuse a command line that names neither daemon.

        Raises:
            twisted.python.usage.UsageError: there is no sub-command, or its words make no sense.
        """
        if self.subCommand is None:
            raise usage.UsageError("say which: twistd beonss master, or twistd beonss node")
        self.settings = self.subOptions.settings()


class Daemon(service.Service):
    """A master or a node as a Twisted service.

    Args:
        part: the master or node.
        manager: who started us, and is told how we are.
        run_as: the user that the process has become, and of whose start some power is left until all is open.
    """

    def __init__(self, part: Any, manager: ServiceManager, run_as: RunAs | None = None) -> None:
        self.part = part
        self.manager = manager
        self.run_as = run_as
        self.exit_code = 0
        self._serves = False
        self._asked_again = False

    def take_hangups(self) -> None:
        """Reload at SIGHUP, from now on: one that comes before the start is done is obeyed after it."""
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._hangup)

    def privilegedStartService(self) -> None:
        """Open every port and file; what cannot be opened ends the process with one clear line."""
        try:
            self.part.open()
            if self.run_as is not None:
                give_up(self.run_as)
        except BeonssError as error:
            _refuse(error)
        super().privilegedStartService()

    def startService(self) -> None:
        """Begin to serve."""
        super().startService()
        reactor.callWhenRunning(self._running)

    def _running(self) -> None:
        self._watch(self._start, "start")

    async def _start(self) -> None:
        await self.part.start()
        self._serves = True
        self.manager.ready("serves")
        self.manager.begin_watchdog(reactor)
        if self._asked_again:
            self._reload()

    def _hangup(self, *_: object) -> None:
        # A Python signal function runs between two instructions of anything; only this call is safe there.
        reactor.callFromThread(self._reload)  # type: ignore[attr-defined]

    def _reload(self) -> None:
        if not self._serves:
            self._asked_again = True
            return
        self._watch(self._reload_all, "reload")

    async def _reload_all(self) -> None:
        self.manager.reloading(time.monotonic())
        try:
            await self.part.reload()
        finally:
            self.manager.ready("serves")

    def _watch(self, step: Callable[[], Awaitable[None]], name: str) -> None:
        def failed(failure: Any) -> None:
            if failure.check(BeonssError):
                # Ours say what happened and what to do; where in the program says no more.
                log.error("{step} failed: {error}", step=name, error=failure.getErrorMessage())
            else:
                log.failure("{step} failed", failure, step=name)
            if name == "start":
                self.fatal(f"start failed: {failure.getErrorMessage()}")

        defer.ensureDeferred(step()).addErrback(failed)  # type: ignore[arg-type]

    def fatal(self, reason: str) -> None:
        """End the process because going on could lose something; its exit code says so."""
        if self.exit_code:
            return
        self.exit_code = EXIT_FATAL
        log.critical("beonss stops: {reason}", reason=reason)
        self.manager.stopping(f"ends: {reason}")
        _tell(f"fatal: {reason}")
        reactor.addSystemEventTrigger("after", "shutdown", os._exit, EXIT_FATAL)
        reactor.callLater(0, reactor.stop)

    def stopService(self) -> Any:
        """Answer what was asked, keep what was acknowledged, close."""
        super().stopService()
        self.manager.end_watchdog()
        if not self.exit_code:
            self.manager.stopping()
        return defer.ensureDeferred(self.part.stop())


def wait_by_monotonic_clock(clock: Any) -> None:
    """Make the reactor's timers go by a clock that nobody sets.

    Twisted schedules by the wall clock. One that is set back by an hour (a battery that failed, an NTP server that
    was wrong) would hold every timer still for that hour: no heartbeat, no timeout, no retry; one that is set forward
    would fire all of them at once and call every peer silent. Wall time, where it is meant, is asked for by name.

    Args:
        clock: a reactor; to be called before it runs. Timers it already has keep their remaining time.
    """
    remaining = [(call, call.getTime() - clock.seconds()) for call in clock.getDelayedCalls()]
    clock.seconds = time.monotonic
    for call, seconds in remaining:
        call.seconds = time.monotonic
        call.reset(max(0.0, seconds))


def _tell(text: str) -> None:
    # Not sys.stderr, which twistd has made a part of the log by now.
    if sys.__stderr__ is not None:
        print(f"beonss: {text}", file=sys.__stderr__, flush=True)


def _refuse(error: BeonssError) -> NoReturn:
    """End the start with one clear line and exit code 1."""
    _tell(str(error))
    raise SystemExit(1)


def _become_user(settings: MasterSettings | NodeSettings) -> RunAs | None:
    """Become the user that was asked for, if any, but for what opening ports needs.

    Raises:
        ConfigurationError: it cannot be, or what belongs to the daemon is somebody else's; nothing was changed.
    """
    if settings.user is None:
        return None
    run_as = find_user(settings.user, settings.group)
    check_state(run_as, settings.state)
    provide_directory(run_as, settings.runtime)
    if settings.nslcd is not None:
        provide_directory(run_as, settings.nslcd.parent)
    if isinstance(settings, NodeSettings):
        # A node makes its memory itself; a master's state was made by "beonss init" or "join".
        provide_directory(run_as, settings.state, 0o700)
    step_down(run_as)
    return run_as


def _prepare_dns(
    settings: MasterSettings, run_as: RunAs | None, given: Sequence[GivenSocket], *, detached: bool
) -> Any:
    """Begin with the processes that answer DNS, before threads and secrets are here; None if there are to be none."""
    if settings.dns == () or settings.dns_workers == 0:
        return None
    from beonss.daemon.dns.prepared import prepare  # noqa: PLC0415 - not for nodes

    return prepare(settings, run_as, detached=detached, given=given)


def makeService(options: Options) -> service.IService:
    """Return the service that twistd runs."""
    # The thread that writes and the reactor's hand changes to each other. With Python's 5 ms each may wait that long
    # for the other to let go of the interpreter (docs/explanation/account-speed.md).
    sys.setswitchinterval(0.0005)
    settings = options.settings
    # Before anything could look a name up: where our own module is installed, it would be asked of this very process.
    disable_own_lookups()
    wait_by_monotonic_clock(reactor)
    manager = ServiceManager.of_environment(os.environ, os.getpid())
    # Imported here so that "twistd --help" stays quick.
    try:
        given = inherited_sockets(os.environ, os.getpid())
        run_as = _become_user(settings)
        daemon = Daemon(None, manager, run_as)
        daemon.take_hangups()
        if isinstance(settings, MasterSettings):
            twistd: Any = options.parent or {}
            background = not twistd.get("nodaemon", True)
            if any(twistd.get(option) is not None for option in ("uid", "gid", "chroot")):
                # twistd changes this process later, and knows nothing of others: they would keep what it gives up.
                settings = replace(settings, dns_workers=0)
            prepared = _prepare_dns(settings, run_as, given, detached=background)
            with uncollected():
                from beonss.daemon.master import Master  # noqa: PLC0415

            daemon.part = Master(reactor, settings, fatal=daemon.fatal, given=given, prepared=prepared)
        else:
            from beonss.daemon.node import Node  # noqa: PLC0415

            daemon.part = Node(reactor, settings, fatal=daemon.fatal, given=given)
    except BeonssError as error:
        _refuse(error)
    daemon.setName("beonss")
    return daemon
