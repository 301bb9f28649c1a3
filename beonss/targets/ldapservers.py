"""Where a directory is, and which of its servers is asked: in the order of the configuration, but first those that can.

A server that does not answer costs a timeout each time it is asked, one that takes no changes a refusal. Such a one
comes last for a while; then it is tried in its place again, so that everything goes back to the first when it is well.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

#: Seconds for which a server comes last that did not answer, or was busy.
AWAY: Final = 30.0
#: The same for one that says it is a read-only copy: that changes only when somebody changes it.
READ_ONLY: Final = 600.0


@dataclass(frozen=True, slots=True)
class LdapServer:
    """Where a directory is and who we are there.

    Attributes:
        uris: tried in this order: ``ldaps://host``, ``ldap://host``, ``ldapi://%2Frun%2Fldapi``.
        bind_dn: None with ``ldapi`` means who the process is (SASL EXTERNAL).
        password_file: holds the password of ``bind_dn``, in its first line; not readable for others.
        starttls: begin TLS on ``ldap://``; may be False only towards this machine.
        ca_file: certificates that a server's may be signed by; None means the system's.
        timeout: seconds for connecting and for each answer.
    """

    uris: tuple[str, ...]
    bind_dn: str | None = None
    password_file: Path | None = None
    starttls: bool = True
    ca_file: Path | None = None
    timeout: float = 10.0


def uri_problem(uri: str, *, starttls: bool) -> str | None:
    """Say why a URI cannot be used, or None."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        return f"{uri!r} is no URI"
    if parts.scheme not in {"ldap", "ldaps", "ldapi"}:
        return f"{uri!r} begins neither with ldaps://, ldap:// nor ldapi://"
    if parts.scheme != "ldapi" and not host:
        return f"{uri!r} names no host"
    if parts.scheme == "ldap" and not starttls and not _is_here(host or ""):
        return f"{uri!r} without starttls would send passwords in clear to another machine"
    return None


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class ServerOrder:
    """The order of one configuration's servers; of one thread at a time.

    Args:
        uris: as configured, the preferred first.
        now: a clock that does not jump, in seconds.
    """

    def __init__(self, uris: Sequence[str], now: Callable[[], float] = time.monotonic) -> None:
        self._uris = tuple(uris)
        self._now = now
        self._until: dict[str, float] = {}

    def uris(self) -> tuple[str, ...]:
        """Return all of them, those to be asked first in front."""
        now = self._now()
        # False before True; sorting is stable.
        return tuple(sorted(self._uris, key=lambda uri: now < self._until.get(uri, now)))

    def put_last(self, uri: str, seconds: float) -> None:
        """Ask a server only after the others for a while."""
        self._until[uri] = self._now() + seconds
