"""Descriptions and packets drawn by Hypothesis, for holding the compiled DNS core against Python's answers."""

from hypothesis import strategies as st

from beonss.core.names.naming import Naming

# Types that mean something, some that mean nothing, and those that are questions about messages or zones.
TYPES = st.one_of(st.sampled_from([1, 28, 12, 5, 6, 2, 255, 16, 33, 65]), st.integers(0, 65535))
CLASSES = st.sampled_from([1] * 12 + [255, 3, 4, 0])


def described(zone: str, networks: list[str], masters: list[str], body: str, **options: object) -> str:
    """Return the text of a description."""
    more = "".join(f"{name} = {value}\n" for name, value in options.items())
    quoted = [f"networks = {networks!r}\n", f"masters = {masters!r}\n"]
    return f'[cluster]\nname = "X"\nzone = "{zone}"\n{more}{"".join(quoted)}{body}'.replace("'", '"')


@st.composite
def descriptions(draw: st.DrawFn) -> str:
    """Draw a sound description with several rules, families, paddings, offsets, aliases and gaps."""
    zone = draw(st.sampled_from(["fellow.aero.org", "c.example", "x", "a-b.example.net"]))
    text = '[hosts]\nhead = { address = ["10.1.0.1", "fd00::1"], aliases = ["www", "n007x"] }\n'
    text += 'six = "fd00::66"\nhostmaster = "10.1.0.9"\n'
    rack = draw(st.sampled_from(["1", "0-3", "1-2,5,7-9", "8-12", "98-101"]))
    slot = draw(st.sampled_from(["1-4", "0-20", "3,9,27", "05-12", "1-200"]))
    width = draw(st.sampled_from(["", ":02", ":03", ":04"]))
    offset = draw(st.sampled_from(["", "+1", "+100"]))
    address = draw(
        st.sampled_from(
            [
                '"10.2.{rack}.{slot}"',
                '["10.2.{rack}.{slot}", "fd00:2::{rack}:{slot}"]',
                '"10.2.0.0 + 256*{rack} + {slot}"',
                '["fd00:2:: + 65536*{slot} + {rack}", "10.2.{rack}.{slot}"]',
                '"fd00:2:: + 4722366482869645213696*{rack} + 3*{slot} + 7"',
            ]
        )
    )
    name = draw(st.sampled_from(["r{rack%s}n{slot%s}", "n{slot%s}-4r{rack%s}", "7a{rack%s}b99{slot%s}"]))
    alias = draw(st.sampled_from(["", 'aliases = ["n{node}"]\n', 'aliases = ["old-{rack}-{slot}", "n{node:04}"]\n']))
    text += f'[[nodes]]\nname = "{name % ("", offset + width)}"\n{alias}address = {address}\n'
    text += f'ranges = [{{ rack = "{rack}", slot = "{slot}" }}, {{ rack = "40", slot = "1-3" }}]\n'
    text += '[nodes.interfaces.ib]\nsuffix = "-ib"\naddress = "10.3.{rack}.{slot}"\n'
    if draw(st.booleans()):
        text += '[[nodes]]\nname = "c{node}"\naddress = "10.4.0.250 - 10.4.1.5"\n'
    text += '[[derived]]\nname = "sw{rack}"\naddress = "10.5.0.{rack}"\n'
    ttl = draw(st.sampled_from([0, 60, 3600]))
    return described(
        zone, ["10.0.0.0/8", "fd00::/16"], draw(st.sampled_from([["head"], ["six", "head"]])), text, ttl=ttl
    )


def known_names(naming: Naming) -> list[bytes]:
    """Return names worth asking for, in wire form without the root: those that are there, and those nearly there."""
    labels = {b"self", b"master", b"nosuch", b"hostmaster", b"n05", b"n#5", b"n-1", b"", b"a" * 63}
    for number, named in enumerate(naming.names()):
        if number % 7 and number > 40:
            continue
        labels |= {text.encode() for text in (named.name, *named.aliases)}
        labels |= {named.name.replace("0", "00", 1).encode(), named.name.encode() + b"0", b"x" + named.name.encode()}
    zone = naming.zone.encode().split(b".")
    found = [wire(zone), wire(zone[1:]), wire([b"x", *zone, b"org"])]
    for label in labels:
        found += [wire([label, *zone]), wire([label, b"x", *zone]), wire([label])]
    for number, named in enumerate(naming.names()):
        if number % 5 and number > 40:
            continue
        for address in named.addresses:
            for change in (0, 1, -1):
                reverse = (address + change).reverse_pointer.encode().split(b".")
                found += [wire(reverse[cut:]) for cut in range(0, len(reverse) - 1, 1 if len(reverse) < 9 else 7)]
                found += [wire([b"0" + reverse[0], *reverse[1:]]), wire([b"x", *reverse])]
    return [name for name in found if len(name) < 255]


def wire(labels: list[bytes]) -> bytes:
    """Return labels with their lengths; empty ones are left out."""
    return b"".join(bytes([len(label)]) + label for label in labels if label)


@st.composite
def packets(draw: st.DrawFn, names: list[bytes]) -> bytes:
    """Draw a query: mostly well-formed, in any case, with or without EDNS, sometimes broken anywhere."""
    name = bytearray(draw(st.sampled_from(names)))
    if draw(st.booleans()):
        flips = draw(st.sets(st.integers(0, max(len(name) - 1, 0)), max_size=6)) if name else set()
        for at in flips:
            name[at : at + 1] = bytes(name[at : at + 1]).swapcase()
    if draw(st.integers(0, 30)) == 0 and name:
        name[draw(st.integers(0, len(name) - 1))] = draw(st.integers(0, 255))
    flags = draw(st.sampled_from([0x0100, 0, 0x0120, 0x0010, 0x0300, 0x7F & 0x0040, 0x8100, 0x0900, 0x2800]))
    question = bytes(name) + b"\0" + draw(TYPES).to_bytes(2, "big") + draw(CLASSES).to_bytes(2, "big")
    extra = b""
    count = 0
    if draw(st.booleans()):
        count = 1
        options = draw(
            st.sampled_from(
                [b"", b"", b"\0\3\0\0", b"\0\x0a\0\x08abcdefgh", b"\0\3\0\0\0\x0c\0\2xy", b"\0\3", b"\0\3\0\5a"]
            )
        )
        payload = draw(st.sampled_from([0, 100, 512, 600, 1232, 4096, 65535]))
        version = draw(st.sampled_from([0] * 9 + [1]))
        flags4 = bytes([draw(st.sampled_from([0, 7])), version]) + draw(st.sampled_from([b"\0\0", b"\x80\0"]))
        kind = draw(st.sampled_from([41] * 12 + [1])).to_bytes(2, "big")
        extra = b"\0" + kind + payload.to_bytes(2, "big") + flags4 + len(options).to_bytes(2, "big") + options
    counts = [1, 0, 0, count]
    if draw(st.integers(0, 20)) == 0:
        counts[draw(st.integers(0, 3))] += 1
    header = draw(st.binary(min_size=2, max_size=2)) + flags.to_bytes(2, "big")
    packet = header + b"".join(number.to_bytes(2, "big") for number in counts) + question + extra
    match draw(st.integers(0, 40)):
        case 0:
            packet = packet[: draw(st.integers(0, len(packet)))]
        case 1:
            packet += draw(st.binary(min_size=1, max_size=20))
        case 2:
            at = draw(st.integers(0, len(packet) - 1))
            packet = packet[:at] + draw(st.binary(min_size=1, max_size=1)) + packet[at + 1 :]
    return packet
