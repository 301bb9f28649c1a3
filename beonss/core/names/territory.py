"""The addresses of a cluster as spans of integers: where its machines may be and where they must not."""

from collections.abc import Iterator, Sequence

from beonss.core.names.description import Description, Network

#: IP version -> the greatest address.
TOP = {4: 2**32 - 1, 6: 2**128 - 1}


def forbidden(description: Description, version: int) -> Iterator[tuple[int, int, str]]:
    """Yield the spans in which nothing may lie, with the reason, which continues "10.5.255.1 ..."."""
    inside = [(int(n[0]), int(n[-1])) for n in description.networks if n.version == version]
    for low, high in gaps(inside, TOP[version]):
        yield low, high, "is outside cluster.networks; add its network or correct the address"
    if "reverse" in description.places:
        answered = [(int(z[0]), int(z[-1])) for z in description.reverse if z.version == version]
        for low, high in gaps(answered, TOP[version]):
            for start, end in inside:
                if max(low, start) <= min(high, end):
                    text = "is outside cluster.reverse, so it would have no name; add its reverse zone"
                    yield max(low, start), min(high, end), text
    for network in description.networks:
        # RFC 919 and RFC 3021: all zeros and all ones are no machine's, except on a link of two.
        if network.version == version == 4 and network.prefixlen < 31:
            yield int(network[0]), int(network[0]), f"is the address of the network {network} itself"
            yield int(network[-1]), int(network[-1]), f"is the broadcast address of {network}"
    for entry in description.reserved:
        if entry.low.version == version:
            yield int(entry.low), int(entry.high), f"is reserved for {entry.name} (line {entry.place.line})"


def gaps(spans: Sequence[tuple[int, int]], top: int) -> Iterator[tuple[int, int]]:
    """Yield what lies between spans, from 0 to ``top``."""
    following = 0
    for low, high in sorted(spans):
        if low > following:
            yield following, low - 1
        following = max(following, high + 1)
    if following <= top:
        yield following, top


def overlap(one: Network, two: Network) -> bool:
    """Say whether two networks share an address."""
    return one.version == two.version and int(one[0]) <= int(two[-1]) and int(two[0]) <= int(one[-1])
