"""Addresses to listen on or connect to, written as an operator writes them."""

from ipaddress import IPv6Address
from typing import NamedTuple

from beonss.errors import ConfigurationError

#: Port on which masters talk to each other and to nodes (TLS).
SYNC_PORT = 7653
#: RFC 1035 section 4.2.
DNS_PORT = 53


class Endpoint(NamedTuple):
    """A host (name or address) and a port; port 0 lets the system choose one to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as it is read: IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoint(text: str, default_port: int) -> Endpoint:
    """Read ``HOST``, ``HOST:PORT``, ``[IPV6]:PORT`` or a bare IPv6 address.

    Raises:
        ConfigurationError: it is none of these, or the port is not 0..65535.
    """
    text = text.strip()
    host, port_text = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ConfigurationError(f"{text!r} is not an address; write [IPV6]:PORT")
        port_text = rest[1:]
    elif text.count(":") == 1:
        host, _, port_text = text.partition(":")
    if not host or any(character.isspace() or character in "/[]" for character in host):
        raise ConfigurationError(f"{text!r} is not an address; write HOST, HOST:PORT or [IPV6]:PORT")
    if ":" in host:
        try:
            IPv6Address(host)
        except ValueError:
            raise ConfigurationError(f"{text!r} is not an address; write HOST, HOST:PORT or [IPV6]:PORT") from None
    if not port_text:
        return Endpoint(host, default_port)
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5 and int(port_text) <= 65535):
        raise ConfigurationError(f"{text!r} has no valid port; write a number from 0 to 65535")
    return Endpoint(host, int(port_text))
