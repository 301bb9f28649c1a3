"""Sockets that were opened before the daemon and handed to it: systemd's socket activation (sd_listen_fds(3)).

The daemon then needs no privilege for its ports, and between its end and its next start the kernel keeps what comes.
What a socket is for is told by its name, ``FileDescriptorName=`` in systemd.socket(5): ``dns``, ``sync``,
``control`` or ``nslcd``; a socket with another name is known by its address, if that is one that would be opened
otherwise. A socket that is neither is refused, and so is one of the wrong type: a daemon that ignored it would leave
clients waiting for ever.
"""

import contextlib
import os
import socket
from collections.abc import Collection, Iterable, MutableMapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from beonss.core.cluster.endpoints import Endpoint
from beonss.errors import ConfigurationError

#: The first descriptor that is handed over (SD_LISTEN_FDS_START).
FIRST = 3
#: More than any unit has; a number beyond is a mistake, not a daemon with many doors.
MOST = 1024
_VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
NAMES = ("dns", "sync", "control", "nslcd")
_INTERNET = (socket.AF_INET, socket.AF_INET6)


@dataclass(frozen=True, slots=True, eq=False)
class GivenSocket:
    """One socket that was handed over.

    Attributes:
        name: its ``FileDescriptorName``; ``unknown`` where none was told.
        socket: non-blocking, not inherited by programs that the daemon starts.
    """

    name: str
    socket: socket.socket

    @property
    def endpoint(self) -> Endpoint | None:
        """Where it listens, None for one that is no internet socket."""
        if self.socket.family not in _INTERNET:
            return None
        host, port = socket.getnameinfo(self.socket.getsockname(), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
        return Endpoint(host, int(port))

    @property
    def path(self) -> Path | None:
        """Where it listens, None for one that is no UNIX socket with a path."""
        if self.socket.family != socket.AF_UNIX:
            return None
        path = self.socket.getsockname()
        return Path(os.fsdecode(path)) if path and os.fsencode(path)[:1] != b"\0" else None

    @property
    def listens(self) -> bool:
        """Whether it is a stream socket that takes connections."""
        return self.socket.type == socket.SOCK_STREAM and bool(
            self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        )

    def __str__(self) -> str:
        """Name it as an operator finds it in the unit."""
        kind = {socket.SOCK_DGRAM: "datagram", socket.SOCK_STREAM: "stream"}.get(self.socket.type, "other")
        with contextlib.suppress(OSError):
            return f"{kind} socket {self.endpoint or self.path or 'without a path'} ({self.name})"
        return f"{kind} socket ({self.name})"


@dataclass(frozen=True, slots=True)
class Activation:
    """The sockets that were handed over, each with its purpose.

    Attributes:
        dns_udp, dns_tcp: for DNS, by address; both have the same addresses.
        sync: for masters and nodes, by address.
        control, nslcd: the UNIX sockets, None where none was handed over.
    """

    dns_udp: dict[Endpoint, socket.socket] = field(default_factory=dict)
    dns_tcp: dict[Endpoint, socket.socket] = field(default_factory=dict)
    sync: dict[Endpoint, socket.socket] = field(default_factory=dict)
    control: socket.socket | None = None
    nslcd: socket.socket | None = None

    def dns_endpoints(self, asked: Iterable[Endpoint] | None, usual: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """Return where to answer DNS.

        Args:
            asked: what the command line says; None where it says nothing.
            usual: where to answer if nothing was said nor handed over.
        """
        return _all(self.dns_udp, asked, usual)

    def sync_endpoints(self, asked: Iterable[Endpoint] | None, usual: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
        """Return where to serve masters and nodes; arguments as for :meth:`dns_endpoints`."""
        return _all(self.sync, asked, usual)


#: Nothing was handed over.
NOTHING = Activation()


def _all(
    given: Collection[Endpoint], asked: Iterable[Endpoint] | None, usual: Iterable[Endpoint]
) -> tuple[Endpoint, ...]:
    rest = asked if asked is not None else () if given else usual
    return tuple(dict.fromkeys([*given, *rest]))


def inherited_sockets(environment: MutableMapping[str, str], pid: int) -> list[GivenSocket]:
    """Take the sockets that were handed over to this process.

    Args:
        environment: of the process; what speaks of the sockets is taken out, so that no child takes it for its own.
        pid: of the process.

    Raises:
        ConfigurationError: what the environment says makes no sense, or a descriptor is no socket.
    """
    count, owner, names = (environment.pop(name, None) for name in _VARIABLES)
    if count is None or owner is None or owner != str(pid):
        # As sd_listen_fds(3) has it: they are for another process, of which we are a child.
        return []
    if not (count.isascii() and count.isdigit() and len(count) <= 4 and int(count) <= MOST):
        raise ConfigurationError(f"LISTEN_FDS={count!r} is no number of sockets (sd_listen_fds(3))")
    number = int(count)
    words = names.split(":") if names is not None else ["unknown"] * number
    if len(words) != number:
        raise ConfigurationError(f"LISTEN_FDNAMES has {len(words)} names for {number} sockets (sd_listen_fds(3))")
    return [_given(FIRST + place, name) for place, name in enumerate(words)]


def _given(descriptor: int, name: str) -> GivenSocket:
    try:
        os.set_inheritable(descriptor, False)
        given = GivenSocket(name, socket.socket(fileno=descriptor))
    except OSError as error:
        raise ConfigurationError(
            f"descriptor {descriptor} ({name}), which LISTEN_FDS announces, is no open socket: {error.strerror}; "
            "start the daemon from a .socket unit, or unset LISTEN_FDS"
        ) from None
    given.socket.setblocking(False)
    return given


def sort_sockets(
    given: Iterable[GivenSocket],
    *,
    dns: Collection[Endpoint],
    sync: Collection[Endpoint],
    control: Path,
    nslcd: Path | None,
) -> Activation:
    """Find out what each socket is for.

    Args:
        given: the sockets.
        dns: where DNS would be answered without them.
        sync: where masters and nodes would be served without them.
        control: where the control socket would be.
        nslcd: likewise; None where there is to be none.

    Raises:
        ConfigurationError: a socket has no purpose, is of the wrong type, stands for every address, is there twice, or
            lacks its counterpart of the other transport.
    """
    found = _Sorting()
    for each in given:
        purpose = each.name if each.name in NAMES else _purpose(each, dns, sync, control, nslcd)
        if purpose in {"dns", "sync"}:
            found.take_internet(purpose, each)
        elif purpose in {"control", "nslcd"}:
            if purpose == "nslcd" and nslcd is None:
                raise ConfigurationError(f"{each} was handed over, but --nslcd none says that there is to be none")
            found.take_unix(purpose, each)
        else:
            raise ConfigurationError(
                f"{each} was handed over, and nothing here listens there; give it a FileDescriptorName= of "
                f"{', '.join(NAMES)}, or take it out of the .socket unit"
            )
    return found.result()


def _purpose(
    each: GivenSocket, dns: Collection[Endpoint], sync: Collection[Endpoint], control: Path, nslcd: Path | None
) -> str:
    endpoint, path = each.endpoint, each.path
    if endpoint is not None and endpoint in dns:
        return "dns"
    if endpoint is not None and endpoint in sync:
        return "sync"
    if path is not None and path in {control, nslcd}:
        return "control" if path == control else "nslcd"
    return ""


class _Sorting:
    """The sockets that have found their purpose."""

    def __init__(self) -> None:
        # Of types as the system numbers them, of which Python does not know all.
        self.internet: dict[tuple[str, int], dict[Endpoint, socket.socket]] = {
            ("dns", socket.SOCK_DGRAM): {},
            ("dns", socket.SOCK_STREAM): {},
            ("sync", socket.SOCK_STREAM): {},
        }
        self.unix: dict[str, socket.socket] = {}

    def take_internet(self, purpose: str, each: GivenSocket) -> None:
        endpoint = each.endpoint
        taken = self.internet.get((purpose, each.socket.type))
        if endpoint is None or taken is None or (each.socket.type == socket.SOCK_STREAM and not each.listens):
            wanted = "ListenDatagram= and ListenStream=" if purpose == "dns" else "ListenStream="
            raise ConfigurationError(
                f"{each} cannot serve as {purpose}; that needs {wanted} with an IP address and a port, and Accept=no"
            )
        if purpose == "dns" and ip_address(endpoint.host.partition("%")[0]).is_unspecified:
            raise ConfigurationError(
                f"{each} stands for every address: replies would leave from another one than was asked; write a line "
                "for each address of this machine that should answer"
            )
        if endpoint in taken:
            raise ConfigurationError(f"{each} was handed over twice")
        taken[endpoint] = each.socket

    def take_unix(self, purpose: str, each: GivenSocket) -> None:
        if each.path is None or not each.listens:
            raise ConfigurationError(
                f"{each} cannot serve as {purpose}; that needs ListenStream= with a path, and Accept=no"
            )
        if purpose in self.unix:
            raise ConfigurationError(f"{each}: a second socket for {purpose} was handed over; there is only one")
        self.unix[purpose] = each.socket

    def result(self) -> Activation:
        udp, tcp = self.internet["dns", socket.SOCK_DGRAM], self.internet["dns", socket.SOCK_STREAM]
        for endpoint in {*udp, *tcp} - ({*udp} & {*tcp}):
            missing = "ListenStream" if endpoint in udp else "ListenDatagram"
            raise ConfigurationError(
                f"DNS on {endpoint} was handed over for one transport only, and needs both (RFC 7766); "
                f"add {missing}={endpoint} to the .socket unit"
            )
        return Activation(
            udp, tcp, self.internet["sync", socket.SOCK_STREAM], self.unix.get("control"), self.unix.get("nslcd")
        )
