"""Single values of a description: texts that become networks, addresses, spans, labels; ValueError says why not."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from beonss.core.names.description import RESERVED_NAMES, Network
from beonss.core.names.patterns import Address, reads_as_address

#: RFC 1123 section 2.1, in lower case.
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


def read_network(text: str) -> Network:
    """Return a network given with its prefix length."""
    try:
        if "/" not in text or "%" in text:
            raise ValueError
        network: IPv4Network | IPv6Network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is no network; write one such as 10.5.0.0/16") from None
    if ip_address(text.partition("/")[0]) != network[0]:
        raise ValueError(f"{text} has bits beyond its prefix; write {network}")
    if network.is_multicast or network.prefixlen == 0:
        raise ValueError(f"{network} is no network of machines")
    return network


def read_address(text: str) -> Address:
    """Return the address of a machine."""
    try:
        if "%" in text:
            raise ValueError
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is no address; write one such as 10.5.0.1") from None
    if address.is_multicast or address.is_unspecified:
        raise ValueError(f"{address} is no address of a machine")
    return address


def read_span(text: str) -> tuple[Address, Address]:
    """Return the first and the last address of a network, a range ``first - last`` or a single address."""
    if "/" in text:
        network = read_network(text)
        return network[0], network[-1]
    first, _, last = text.partition("-")
    low = read_address(first.strip())
    high = read_address(last.strip()) if last else low
    if low.version != high.version or int(high) < int(low):
        raise ValueError(f"{text[:80]!r} is no range; write the first and the last address: 10.5.0.200 - 10.5.0.250")
    return low, high


def read_label(text: str) -> str:
    """Return a host's name in lower case."""
    mistake = label_mistake(text)
    if mistake:
        raise ValueError(mistake)
    return text.lower()


def read_suffix(text: str) -> str:
    """Return what may end a host's name, in lower case."""
    mistake = label_mistake(f"a{text}")
    if mistake or not text:
        raise ValueError(f"{text[:80]!r} is no end of a host name; write one such as -ib")
    return text.lower()


def read_mac(text: str) -> str:
    """Return a hardware address in lower case with colons."""
    digits = re.sub(r"[:-]", "", text).lower()
    parts = re.split(r"[:-]", text)
    if len(parts) != 6 or not all(re.fullmatch(r"[0-9a-fA-F]{2}", part, re.ASCII) for part in parts):
        raise ValueError(f"{text[:80]!r} is no hardware address; write one such as 00:e0:81:05:00:01")
    if int(digits[:2], 16) & 1:
        raise ValueError(f"{text!r} is a group address and no machine's own")
    return ":".join(part.lower() for part in parts)


def label_mistake(text: str) -> str | None:
    """Return why ``text`` cannot be a host's name (RFC 952, RFC 1123 section 2.1), or None."""
    shown = repr(text[:80])
    lowered = text.lower() if text.isascii() else text
    if "." in text:
        return f"{shown} has a dot: names are single labels, the zone is added to each; leave it out"
    if not LABEL.fullmatch(lowered):
        return f"{shown} is no host name: 1 to 63 letters, digits and hyphens, no hyphen first or last"
    if reads_as_address(lowered):
        return f"{shown} could be read as an address by inet_aton(3); add a letter in front"
    if lowered in RESERVED_NAMES:
        return f"{shown} depends on who asks and cannot be the name of a host; choose another"
    return None
