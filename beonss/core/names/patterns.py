"""Patterns of names and of addresses over named coordinates: ``r{rack:02}n{slot:02}``, ``10.5.{rack}.{slot}``.

A pattern is read once; then a name is text with numbers in it and an address is ``base + sum(weight * coordinate)``,
whichever way it was written.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import Literal

from beonss.core.names.radix import MixedRadix
from beonss.core.names.ranges import Block

Address = IPv4Address | IPv6Address

#: The running number of a node over all rules, as a coordinate in patterns.
NODE = "node"
#: RFC 1035 section 2.3.4.
LABEL_LENGTH = 63
#: Patterns longer than this are refused unread.
PATTERN_LENGTH = 256

_COORDINATE = r"[a-z][a-z0-9_]{0,31}"
_FIELD = re.compile(
    rf"(?:(?P<before>[0-9]{{1,9}})\s*\+\s*)?(?P<name>{_COORDINATE})(?:\s*(?P<sign>[+-])\s*(?P<after>[0-9]{{1,9}}))?"
    r"\s*(?::(?P<format>[^{}]*))?",
    re.ASCII,
)
_TERM = re.compile(r"(?:(?P<factor>[0-9]{1,39})\s*\*\s*)?\{\s*(?P<name>" + _COORDINATE + r")\s*\}", re.ASCII)
_BRACES = re.compile(r"(\{[^{}]*\})")
_LITERAL = re.compile(r"[a-z0-9-]*", re.ASCII)
_WIDTH = re.compile(r"0([1-9][0-9]?)d?", re.ASCII)


class PatternError(ValueError):
    """A pattern that cannot be read; the text says why and what to write."""


@dataclass(frozen=True, slots=True)
class Field:
    """A number in a name pattern: ``{rack:02}``, ``{slot+100}``.

    Attributes:
        coordinate: whose value it shows.
        offset: added to the value before it is shown.
        width: zero padded to at least this many digits; 0 and 1 mean no padding.
    """

    coordinate: str
    offset: int = 0
    width: int = 0

    def show(self, value: int) -> str:
        """Return the canonical spelling for this value of the coordinate."""
        return str(value + self.offset).zfill(self.width)


@dataclass(frozen=True)
class NamePattern:
    """A pattern of short names: literal text and fields in turn; one DNS label (RFC 1123 section 2.1)."""

    text: str
    parts: tuple[str | Field, ...]

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields from left to right."""
        return tuple(part for part in self.parts if isinstance(part, Field))

    @cached_property
    def coordinates(self) -> tuple[str, ...]:
        """The coordinates from left to right."""
        return tuple(field.coordinate for field in self.fields)

    @property
    def by_number(self) -> bool:
        """Whether the name is made from the running number rather than from coordinates."""
        return NODE in self.coordinates

    def format(self, values: Mapping[str, int]) -> str:
        """Return the name for these coordinates."""
        return "".join(part if isinstance(part, str) else part.show(values[part.coordinate]) for part in self.parts)

    def suffixed(self, suffix: str) -> "NamePattern":
        """Return the pattern with literal text after it."""
        return NamePattern(self.text + suffix, (*self.parts, suffix))

    def padded(self, widths: Mapping[str, int]) -> "NamePattern":
        """Return the pattern with the padding of the coordinates' lists where it has none of its own."""
        parts = (
            Field(part.coordinate, part.offset, widths.get(part.coordinate, 0))
            if isinstance(part, Field) and not part.width
            else part
            for part in self.parts
        )
        return NamePattern(self.text, tuple(parts))


@dataclass(frozen=True)
class AddressPattern:
    """A pattern of addresses: ``base + sum(weight * coordinate)``.

    Attributes:
        text: as written.
        version: 4 or 6.
        base: the constant part, as an integer.
        terms: coordinate -> weight, all positive.
        limits: (coordinate, offset, greatest value, "octet" or "group") of each field of a template.
        count: how many addresses a pattern of the form ``first - last`` has, else None; such a pattern's
            base is for the first node *of its rule*: see :meth:`anchored`.
    """

    text: str
    version: Literal[4, 6]
    base: int
    terms: Mapping[str, int]
    limits: tuple[tuple[str, int, int, str], ...] = ()
    count: int | None = None

    @property
    def by_number(self) -> bool:
        """Whether the address is made from the running number rather than from coordinates."""
        return NODE in self.terms

    def anchored(self, start: int) -> "AddressPattern":
        """Return a ``first - last`` pattern as a function of the running number, which starts at ``start``."""
        if self.count is None:
            return self
        return AddressPattern(self.text, self.version, self.base - start, {NODE: 1}, self.limits, self.count)

    def number(self, values: Mapping[str, int]) -> int:
        """Return the address for these coordinates, as an integer."""
        return self.base + sum(weight * values[name] for name, weight in self.terms.items())

    def format(self, values: Mapping[str, int]) -> Address:
        """Return the address for these coordinates."""
        number = self.number(values)
        return IPv4Address(number) if self.version == 4 else IPv6Address(number)

    def over(self, block: Block) -> MixedRadix:
        """Return the addresses of a block; its coordinates must include those of the pattern."""
        names = list(self.terms)
        sets = [block.sets[block.coordinates.index(name)] for name in names]
        return MixedRadix(self.base, [self.terms[name] for name in names], sets)


def parse_name_pattern(text: str) -> NamePattern:
    """Read a name pattern.

    Raises:
        PatternError: it is not one.
    """
    if len(text) > PATTERN_LENGTH:
        raise PatternError(f"a pattern of {len(text)} characters is too long for a name of {LABEL_LENGTH}")
    lowered = text.lower() if text.isascii() else text
    parts: list[str | Field] = []
    for piece in _BRACES.split(lowered):
        if piece.startswith("{") and piece.endswith("}"):
            parts.append(_name_field(piece))
        elif "{" in piece or "}" in piece:
            raise PatternError(f"{text!r} has a brace without its partner; write fields as {{rack}} or {{rack:02}}")
        elif "." in piece:
            raise PatternError(f"{text!r} has a dot: names are single labels, the zone is added to each; leave it out")
        elif not _LITERAL.fullmatch(piece):
            raise PatternError(f"{text!r} is no host name: only letters, digits and hyphens may stand outside braces")
        elif piece:
            parts.append(piece)
    pattern = NamePattern(lowered, tuple(parts))
    if not parts:
        raise PatternError("a name cannot be empty")
    shape = "".join(part if isinstance(part, str) else "0" for part in parts)
    if shape[0] == "-" or shape[-1] == "-":
        raise PatternError(f"{text!r} begins or ends with a hyphen; RFC 952 allows hyphens only inside a name")
    if reads_as_address(shape):
        raise PatternError(f"{text!r} could be read as an address by inet_aton(3); add a letter in front")
    for name in pattern.coordinates:
        if pattern.coordinates.count(name) > 1:
            raise PatternError(f"{text!r} uses {{{name}}} twice; use each coordinate once")
    if pattern.by_number and len(pattern.coordinates) > 1:
        raise PatternError(f"{text!r} mixes {{{NODE}}} with other coordinates; the running number alone is enough")
    return pattern


def reads_as_address(name: str) -> bool:
    """Say whether inet_aton(3) would take a single label for an IPv4 address (``10``, ``0x1f``)."""
    return name.isdigit() or re.fullmatch(r"0x[0-9a-f]*", name) is not None


def _name_field(piece: str) -> Field:
    match = _field(piece)
    form = match["format"]
    width = 0
    if form is not None:
        padded = _WIDTH.fullmatch(form)
        if padded is None or int(padded[1]) > LABEL_LENGTH:
            raise PatternError(f"{piece} has a format other than zero padding; write {{{match['name']}:02}}")
        width = int(padded[1])
    return Field(match["name"], _offset(match), width)


def _field(piece: str) -> re.Match[str]:
    match = _FIELD.fullmatch(piece[1:-1].strip())
    if match is None or (match["before"] and match["after"]):
        raise PatternError(f"{piece} is no field; write {{rack}}, {{rack:02}}, {{rack+100}} or {{rack-1}}")
    return match


def _offset(match: re.Match[str]) -> int:
    if match["before"]:
        return int(match["before"])
    return int(match["after"]) * (-1 if match["sign"] == "-" else 1) if match["after"] else 0


def parse_address_pattern(text: str) -> AddressPattern:
    """Read an address pattern in one of its three forms.

    ``10.5.{rack}.{slot}`` or ``fd00:5::{rack}:{slot}`` (each field a whole octet or group),
    ``10.5.0.0 + 256*{rack} + {slot}``, and ``10.5.1.0 - 10.5.8.255`` (one address after the other).

    Raises:
        PatternError: it is none of them.
    """
    if len(text) > PATTERN_LENGTH:
        raise PatternError(f"a pattern of {len(text)} characters is too long for an address")
    outside = _BRACES.sub("", text)
    if "{" in outside or "}" in outside:
        raise PatternError(f"{text!r} has a brace without its partner; write fields as {{rack}}")
    if "+" in outside:
        return _linear(text)
    if "-" in outside:
        return _from_to(text)
    return _template6(text) if ":" in outside else _template4(text)


def _plain(text: str, whole: str) -> Address:
    try:
        if "%" in text:
            raise AddressValueError
        return ip_address(text.strip())
    except ValueError:
        shown = text.strip()[:80]
        raise PatternError(f"{shown!r} in {whole!r} is no IPv4 or IPv6 address; write one such as 10.5.0.1") from None


def _linear(text: str) -> AddressPattern:
    first, *rest = (part.strip() for part in text.split("+")) if "{" not in text else _sum(text)
    base = _plain(first, text)
    terms: dict[str, int] = {}
    number = int(base)
    for part in rest:
        match = _TERM.fullmatch(part)
        if match is not None:
            factor = int(match["factor"] or 1)
            if not factor:
                raise PatternError(f"{part} in {text!r} multiplies by 0; leave it out")
            terms[match["name"]] = terms.get(match["name"], 0) + factor
        elif part.isascii() and part.isdigit() and len(part) <= 39:
            number += int(part)
        else:
            raise PatternError(f"{part!r} in {text!r} is no term; write {{slot}} or 256*{{rack}}")
    _refuse_mixture(text, terms)
    return AddressPattern(text, base.version, number, terms)


def _sum(text: str) -> list[str]:
    """Split at the plus signs that are outside braces."""
    parts = [""]
    for piece in _BRACES.split(text):
        if piece.startswith("{"):
            parts[-1] += piece
        else:
            head, *tail = piece.split("+")
            parts[-1] += head
            parts.extend(tail)
    return [part.strip() for part in parts]


def _from_to(text: str) -> AddressPattern:
    ends = text.split("-")
    if len(ends) != 2 or "{" in text:
        raise PatternError(f"{text!r} is no range of addresses; write the first and the last: 10.5.1.0 - 10.5.8.255")
    first, last = (_plain(end, text) for end in ends)
    if first.version != last.version:
        raise PatternError(f"{text!r} begins in IPv{first.version} and ends in IPv{last.version}")
    if int(last) < int(first):
        raise PatternError(f"{text!r} runs backwards; write {last} - {first}")
    return AddressPattern(text, first.version, int(first), {NODE: 1}, (), int(last) - int(first) + 1)


def _template4(text: str) -> AddressPattern:
    octets = _split_outside(text, ".")
    if len(octets) != 4:
        raise PatternError(
            f"{text!r} has {len(octets)} octets where IPv4 has 4; write one such as 10.5.{{rack}}.{{slot}}"
        )
    return _positions(text, octets, 8, 4)


def _template6(text: str) -> AddressPattern:
    head, *tail = _halves(text)
    groups = _split_outside(head, ":") if head else []
    if tail:
        after = _split_outside(tail[0], ":") if tail[0] else []
        if len(groups) + len(after) > 7:
            raise PatternError(f"{text!r} has too many groups beside ::")
        groups = [*groups, *["0"] * (8 - len(groups) - len(after)), *after]
    if len(groups) != 8:
        raise PatternError(f"{text!r} has {len(groups)} groups where IPv6 has 8; use :: once for the zeros")
    return _positions(text, groups, 16, 6)


def _halves(text: str) -> list[str]:
    """Split at ``::`` outside braces, at most once."""
    masked = _BRACES.sub(lambda match: "x" * len(match[0]), text)
    if masked.count("::") > 1 or ":::" in masked:
        raise PatternError(f"{text!r} has :: more than once")
    at = masked.find("::")
    return [text] if at < 0 else [text[:at], text[at + 2 :]]


def _split_outside(text: str, separator: str) -> list[str]:
    """Split at separators that are outside braces."""
    masked = _BRACES.sub(lambda match: "x" * len(match[0]), text)
    parts: list[str] = []
    at = 0
    for piece in masked.split(separator):
        parts.append(text[at : at + len(piece)].strip())
        at += len(piece) + 1
    return parts


def _positions(text: str, places: Sequence[str], bits: int, version: Literal[4, 6]) -> AddressPattern:
    kind, top = ("octet", 255) if version == 4 else ("group", 0xFFFF)
    literal = re.compile(r"0|[1-9][0-9]{0,2}" if version == 4 else r"[0-9a-fA-F]{1,4}", re.ASCII)
    base = 0
    terms: dict[str, int] = {}
    limits: list[tuple[str, int, int, str]] = []
    for at, place in enumerate(places):
        weight = 1 << (bits * (len(places) - 1 - at))
        if _BRACES.fullmatch(place):
            match = _field(place)
            if match["format"] not in {None, "x" if version == 6 else "d"}:
                raise PatternError(
                    f"{place} in {text!r} has a format; an {kind} is a plain number: {{{match['name']}}}"
                )
            offset = _offset(match)
            limits.append((match["name"], offset, top, kind))
            terms[match["name"]] = terms.get(match["name"], 0) + weight
            base += offset * weight
        elif "{" in place:
            raise PatternError(
                f"{place!r} in {text!r} is only partly a field; a field is a whole {kind}, or write {{rack+100}}"
            )
        elif not literal.fullmatch(place) or int(place, 10 if version == 4 else 16) > top:
            raise PatternError(f"{place!r} in {text!r} is no {kind} of an IPv{version} address")
        else:
            base += int(place, 10 if version == 4 else 16) * weight
    _refuse_mixture(text, terms)
    return AddressPattern(text, version, base, terms, tuple(limits))


def _refuse_mixture(text: str, terms: Mapping[str, int]) -> None:
    if NODE in terms and len(terms) > 1:
        raise PatternError(f"{text!r} mixes {{{NODE}}} with other coordinates; the running number alone is enough")
