"""The compiled description as a flat run of bytes, from which C computes names and answers.

The layout is that of ``native/names.h``, which says what each record means; this module must be changed together with
it, and :data:`VERSION` whenever a record changes. An image holds nothing per node: it is as long as its description.
Numbers are in the machine's byte order, for an image never leaves the machine it was made on.
"""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from itertools import accumulate
from math import prod
from struct import Struct
from typing import Final

from beonss.core.names.nameindex import NamePiece
from beonss.core.names.naming import AddressSpan, Naming
from beonss.core.names.numbering import Rule
from beonss.core.names.patterns import NODE, Address, AddressPattern, Field, NamePattern
from beonss.core.names.radix import MixedRadix
from beonss.core.names.ranges import Block, RangeSet, SpanIndex
from beonss.core.zones.overlay import WILDCARD
from beonss.core.zones.overlay_zone import OverlaidZones
from beonss.core.zones.records import DomainName, RecordClass, RecordType, SOAData
from beonss.core.zones.zone import Zones

VERSION = 2
_MAGIC = b"BEONAMES"
_ORDER = 0x01020304
_HEADER = Struct("=8sIIQ")
_TABLE = Struct("=II")

# The bounds of native/names.h; a description beyond one of them is served by Python.
_SLOTS = 16
_ADDRESSES = 64
_LARGEST = 10**18
_HASH_START: Final = 2166136261
# Flags of a zone.
_ASK_APEX, _ASK_BELOW = 1, 2
_WORD = 2**64
_WIDE = 2**128
# Whoever asks for a SOA gets the same.
_NOBODY: Final = IPv4Address("192.0.2.1")

# A section per kind of record, in the order of the header.
_SECTIONS = {
    "text": Struct("=B"),
    "spans": Struct("=QQQ"),
    "sets": Struct("=IIQ"),
    "dims": Struct("=IIQ"),
    "blocks": Struct("=IIQ"),
    "rules": Struct("=IIIIQQ"),
    "parts": Struct("=IIIIQ"),
    "patterns": Struct("=II"),
    "terms": Struct("=IIQQ"),
    "forms": Struct("=IIIIQQ"),
    "interfaces": Struct("=IIII"),
    "digits": Struct("=QQQQQQIIQ"),
    "spans4": Struct("=QQQQQQQQIIIIQ"),
    "spans6": Struct("=QQQQQQQQIIIIQ"),
    "shape_buckets": Struct("=I"),
    "shapes": Struct("=IIII"),
    "layouts": Struct("=II"),
    "cuts": Struct("=IIII"),
    "group_buckets": Struct("=I"),
    "groups": Struct("=IIIIII"),
    "fields": Struct("=QQQIIQ"),
    "pieces": Struct("=QQQIIIIQ"),
    "host_buckets": Struct("=I"),
    "host_names": Struct("=IIII"),
    "hosts": Struct("=IIII"),
    "host_addresses": Struct("=IIQQ"),
    "host_spans4": Struct("=QQII"),
    "host_spans6": Struct("=QQII"),
    "apex_buckets": Struct("=I"),
    "apexes": Struct("=IIIIII"),
    "depths": Struct("=I"),
    "asked_buckets": Struct("=I"),
    "asked": Struct("=II"),
    "zone": Struct("=IIIIIIIIIIIIII"),
}


class _UnfitError(Exception):
    """Something in the description lies beyond what an image can hold."""


def name_image(zones: Zones) -> bytes | None:
    """Return the image of what ``zones`` serve.

    None when they are not those of a compiled description, or when something in it lies beyond the bounds of an image
    (a name with more than 64 addresses, say); Python then answers alone.
    """
    if type(zones) not in {Zones, OverlaidZones} or not isinstance(zones.names, Naming):
        return None
    try:
        return _Image(zones.names, zones).finished()
    except _UnfitError:
        return None


def fnv(key: bytes, start: int = _HASH_START) -> int:
    """Return the 32-bit FNV-1a hash that the buckets of an image are found by."""
    for byte in key:
        start = _next_hash(start, byte)
    return start


def _next_hash(value: int, byte: int) -> int:
    return (value ^ byte) * 16777619 & 0xFFFFFFFF


def shape_key(text: str, lengths: Sequence[int]) -> bytes:
    """Return the shape of a label as C looks it up: each run of n digits (``#`` in ``text``) is the byte 128 + n."""
    key = bytearray()
    rest = iter(lengths)
    for byte in text.encode("ascii"):
        key.append(128 + next(rest) if byte == ord("#") else byte)
    return bytes(key)


class _Image:
    """An image being made."""

    def __init__(self, naming: Naming, zones: Zones) -> None:
        self.naming = naming
        self.records: dict[str, list[tuple[int, ...]]] = {name: [] for name in _SECTIONS}
        self.text = bytearray()
        self.texts: dict[bytes, int] = {}
        self.sets: dict[RangeSet, int] = {}
        self.slots: dict[int, dict[str, int]] = {}
        self.interfaces: dict[int, int] = {}
        for rule in naming.rules:
            self.rule(rule)
        self.address_spans(4)
        self.address_spans(6)
        self.shapes()
        self.hosts()
        self.zones(zones)

    def add(self, section: str, *values: int) -> int:
        """Append a record and return its index."""
        records = self.records[section]
        records.append(values)
        return len(records) - 1

    def at(self, text: bytes) -> int:
        """Return where a text stands, once for all that use it."""
        offset = self.texts.get(text)
        if offset is None:
            offset = self.texts[text] = len(self.text)
            self.text += text
        return offset

    def set(self, values: RangeSet) -> int:
        """Return the index of a set of numbers."""
        index = self.sets.get(values)
        if index is None:
            if not values.spans or values.low < 0 or values.high >= _LARGEST:
                raise _UnfitError
            first = len(self.records["spans"])
            before = 0
            for low, high in values.spans:
                self.add("spans", low, high, before)
                before += high - low + 1
            index = self.sets[values] = self.add("sets", first, len(values.spans), values.size)
        return index

    # Rules

    def rule(self, rule: Rule) -> None:
        """Add a rule with its blocks and interfaces."""
        names = sorted({name for block in rule.blocks for name in block.coordinates} - {NODE})
        slots = {name: slot for slot, name in enumerate([NODE, *names])}
        if len(slots) > _SLOTS:
            raise _UnfitError
        self.slots[id(rule)] = slots
        first_block = len(self.records["blocks"])
        for block in rule.blocks:
            first = len(self.records["dims"])
            for name, values, stride in zip(block.coordinates, block.sets, _strides(block), strict=True):
                self.add("dims", self.set(values), slots[name], _within(stride, _WORD))
            self.add("blocks", first, len(block.sets), block.first)
        index = self.add("rules", first_block, len(rule.blocks), int(rule.kind == "node"), 0, rule.size, rule.start)
        for interface in rule.interfaces:
            if len(interface.addresses) > _ADDRESSES:
                raise _UnfitError
            pattern = self.pattern(interface.name, slots)
            first = len(self.records["forms"])
            terms = [self.terms(form, slots) for form in interface.addresses]
            for form, (first_term, count) in zip(interface.addresses, terms, strict=True):
                self.add("forms", form.version, first_term, count, 0, *_wide(form.base))
            self.interfaces[id(interface)] = self.add("interfaces", index, pattern, first, len(interface.addresses))

    def pattern(self, pattern: NamePattern, slots: dict[str, int]) -> int:
        first = len(self.records["parts"])
        for part in pattern.parts:
            if isinstance(part, Field):
                self.add("parts", 1, slots[part.coordinate], part.width, 0, part.offset % _WORD)
            else:
                self.add("parts", 0, self.at(part.encode("ascii")), len(part), 0, 0)
        return self.add("patterns", first, len(pattern.parts))

    def terms(self, form: AddressPattern, slots: dict[str, int]) -> tuple[int, int]:
        first = len(self.records["terms"])
        for name, weight in form.terms.items():
            self.add("terms", slots[name], 0, *_wide(weight))
        return first, len(form.terms)

    # From an address to a member

    def address_spans(self, version: int) -> None:
        """Add the address spans of one family."""
        spans: SpanIndex[AddressSpan] = self.naming.spans[version]
        section = f"spans{version}"
        for (low, high, span), reach in zip(spans, _reach(spans), strict=True):
            strides = dict(zip(span.block.coordinates, _strides(span.block), strict=True))
            terms = list(span.pattern.terms)
            first = len(self.records["digits"])
            numbers = span.numbers
            _within(high - numbers.base, _WIDE)
            for place, least, most in _heaviest_first(numbers):
                self.add(
                    "digits",
                    *_wide(numbers.weights[place]),
                    *_wide(least),
                    *_wide(most),
                    self.set(numbers.digits[place]),
                    0,
                    _within(strides[terms[place]], _WORD),
                )
            ends = (*_wide(low), *_wide(high), *_wide(reach), *_wide(numbers.base))
            interface = self.interfaces[id(span.interface)]
            self.add(section, *ends, interface, first, len(terms), 0, span.block.first)

    # From a name to a member

    def shapes(self) -> None:
        """Add everything that leads from a name to the rule that makes it.

        Two searches by hash: for the shape, then for the literal digits of each of its layouts.
        """
        shapes: list[bytes] = []
        groups: list[int] = []
        for (text, lengths), layouts in self.naming.shapes.items():
            shapes.append(shape_key(text, lengths))
            self.add("shapes", self.at(shapes[-1]), len(shapes[-1]), len(self.records["layouts"]), len(layouts))
            for layout in layouts:
                index = self.add("layouts", len(self.records["cuts"]), len(layout.cuts))
                for start, end, is_field in layout.cuts:
                    self.add("cuts", start, end, int(is_field), 0)
                for literals, pieces in layout.pieces.items():
                    digits = "".join(literals).encode("ascii")
                    groups.append(fnv(digits, _next_hash(_HASH_START, index)))
                    first = self.pieces(pieces)
                    self.add("groups", index, self.at(digits), len(digits), first, len(pieces), 0)
        self.buckets("shape_buckets", [fnv(key) for key in shapes])
        self.buckets("group_buckets", groups)

    def pieces(self, pieces: SpanIndex[NamePiece]) -> int:
        first_piece = len(self.records["pieces"])
        for (low, high, piece), reach in zip(pieces, _reach(pieces), strict=True):
            first_field = len(self.records["fields"])
            strides = dict(zip(piece.block.coordinates, _strides(piece.block), strict=True))
            sets = dict(zip(piece.block.coordinates, piece.block.sets, strict=True))
            for field, shown in zip(piece.pattern.fields, piece.sets, strict=True):
                # What is shown with this many digits is all of the coordinate's values between the two ends.
                ends = (_within(shown.low, _WORD), _within(shown.high, _WORD))
                name = field.coordinate
                self.add("fields", *ends, field.offset % _WORD, self.set(sets[name]), 0, strides[name])
            # Whatever an alias makes is compared with the canonical name.
            canonical = int(piece.pattern is piece.interface.name)
            interface = self.interfaces[id(piece.interface)]
            fields = len(piece.pattern.fields)
            self.add("pieces", low, high, reach, interface, canonical, first_field, fields, piece.block.first)
        return first_piece

    # What is written out

    def hosts(self) -> None:
        """Add the hosts that no rule makes."""
        names: dict[bytes, int] = {}
        owners: dict[Address, int] = {}
        for named in self.naming.hosts():
            if len(named.addresses) > _ADDRESSES:
                raise _UnfitError
            first = len(self.records["host_addresses"])
            for address in named.addresses:
                self.add("host_addresses", address.version, 0, *_wide(int(address)))
            name = named.name.encode("ascii")
            host = self.add("hosts", self.at(name), len(name), first, len(named.addresses))
            for each in (named.name, *named.aliases):
                names.setdefault(each.encode("ascii"), host)
            for address in named.addresses:
                owners.setdefault(address, host)
        for name, host in names.items():
            self.add("host_names", self.at(name), len(name), host, 0)
        self.buckets("host_buckets", [fnv(name) for name in names])
        for address in sorted(owners, key=lambda address: (address.version, int(address))):
            self.add(f"host_spans{address.version}", *_wide(int(address)), owners[address], 0)

    def zones(self, zones: Zones) -> None:
        """Add the apexes, what their SOA says, and which names static records have a part in."""
        top = zones.apexes[0]
        if top[-1] == b"arpa":
            raise _UnfitError
        nodes = zones.overlay.nodes if isinstance(zones, OverlaidZones) else {}
        computed = zones.computed if isinstance(zones, OverlaidZones) else frozenset(zones.apexes)

        def flags(apex: DomainName) -> int:
            own = _ASK_APEX if apex in nodes and nodes[apex].sets else 0
            return own | (_ASK_BELOW if (WILDCARD, *apex) in nodes else 0)

        ttl, data = _soa(zones, top)
        label = data.primary[0] if len(data.primary) > len(top) else b""
        wire = _wire(top)
        primary = (self.at(label), len(label))
        times = (ttl, min(ttl, data.minimum), data.refresh, data.retry, data.expire, data.minimum)
        self.add("zone", self.at(wire), len(wire), len(top), data.serial, flags(top), *primary, *times, 0)
        keys = []
        for name in zones.apexes[1:]:
            keys.append(_wire(name))
            family = 0
            if name in computed:
                family = 4 if name[-2:] == (b"in-addr", b"arpa") else 6
            serial = _soa(zones, name)[1].serial
            self.add("apexes", self.at(keys[-1]), len(keys[-1]), len(name), family, serial, flags(name))
        self.buckets("apex_buckets", [fnv(key) for key in keys])
        for depth in sorted({len(name) for name in zones.apexes[1:]}, reverse=True):
            self.add("depths", depth)
        # Whatever lies below one of these has it as its ancestor, for empty non-terminals are nodes too.
        asked = [_wire(name) for name in nodes if name[1:] in computed]
        for key in asked:
            self.add("asked", self.at(key), len(key))
        self.buckets("asked_buckets", [fnv(key) for key in asked])

    def buckets(self, section: str, hashes: Sequence[int]) -> None:
        """Add a table of hashes, at most half full: each bucket holds 0 or 1 and the index of a record."""
        size = 1 << (2 * len(hashes)).bit_length()
        table = [0] * size
        for index, value in enumerate(hashes):
            at = value & size - 1
            while table[at]:
                at = at + 1 & size - 1
            table[at] = index + 1
        self.records[section] = [(value,) for value in table]

    def finished(self) -> bytes:
        """Return the bytes."""
        self.records["text"] = [(byte,) for byte in self.text]
        start = _HEADER.size + _TABLE.size * len(_SECTIONS)
        body = bytearray()
        tables = bytearray()
        for name, layout in _SECTIONS.items():
            body += bytes(-(start + len(body)) % 8)
            tables += _TABLE.pack(start + len(body), len(self.records[name]))
            for record in self.records[name]:
                body += layout.pack(*record)
        size = start + len(body)
        if size >= 2**32:
            raise _UnfitError
        return _HEADER.pack(_MAGIC, _ORDER, VERSION, size) + tables + body


def _soa(zones: Zones, name: DomainName) -> tuple[int, SOAData]:
    """Return the TTL and the data of the SOA record at an apex."""
    for record in zones.answer(name, RecordType.SOA, RecordClass.IN, _NOBODY).answer:
        if isinstance(record.data, SOAData):
            return record.ttl, record.data
    raise _UnfitError


def _wire(name: DomainName) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in name) + b"\0"


def _strides(block: Block) -> list[int]:
    """Return for each coordinate how many members lie between two of its values."""
    sizes = [each.size for each in block.sets]
    return [prod(sizes[place + 1 :]) for place in range(len(sizes))]


def _heaviest_first(numbers: MixedRadix) -> Iterator[tuple[int, int, int]]:
    """Yield (which digit, least, most that all lighter ones add), as ``MixedRadix.decode`` goes through them."""
    order = sorted(range(len(numbers.weights)), key=lambda i: (-numbers.weights[i], numbers.digits[i].size))
    low = sum(weight * digit.low for weight, digit in zip(numbers.weights, numbers.digits, strict=True))
    high = sum(weight * digit.high for weight, digit in zip(numbers.weights, numbers.digits, strict=True))
    for place in order:
        low -= numbers.weights[place] * numbers.digits[place].low
        high -= numbers.weights[place] * numbers.digits[place].high
        yield place, low, high


def _reach(spans: Iterable[tuple[int, int, object]]) -> Iterator[int]:
    """Yield the greatest end so far."""
    return accumulate((high for _, high, _ in spans), max)


def _within(number: int, limit: int) -> int:
    if not 0 <= number < limit:
        raise _UnfitError
    return number


def _wide(number: int) -> tuple[int, int]:
    """Return the upper and lower half of a number modulo 2**128; a base may be negative."""
    return divmod(number % _WIDE, _WORD)
