"""Zone-file text to static records (RFC 1035 section 5, RFC 2308 section 4, RFC 3597 section 5).

dnspython splits the text into tokens and reads the data of each record; this is its only importer. The
directives are read here: ``$ORIGIN``, ``$TTL``, and ``$INCLUDE`` through a callable, for nothing here opens
files. All mistakes of a text are reported in one pass, each with its file and line.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.DNAME
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.NS
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.SOA
import dns.rdtypes.ANY.TXT
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.rdtypes.IN.SRV
import dns.tokenizer
import dns.ttl

from beonss.core.names.description import Problem
from beonss.core.zones.overlay import StaticRecord
from beonss.core.zones.records import (
    MAXIMUM_TTL,
    AddressData,
    Data,
    DomainName,
    NameData,
    OpaqueData,
    Record,
    SOAData,
    TextData,
)
from beonss.errors import ConfigurationError

#: Files that include each other are not followed further.
MAX_DEPTH = 8
#: Characters of one text with all that it includes.
MAX_SIZE = 1 << 26
#: Records of one text with all that it includes.
MAX_RECORDS = 250_000
#: Bytes of one record's data: it must fit into a message of a zone transfer, which compression bounds to 16 KB.
MAX_DATA = 15_000
#: After so many mistakes the rest is not read.
MAX_PROBLEMS = 100

Include = Callable[[str, str], tuple[str, str]]

_REFUSED_TYPES: Final = {
    dns.rdatatype.RRSIG: "signatures",
    dns.rdatatype.NSEC: "denials",
    dns.rdatatype.NSEC3: "denials",
    dns.rdatatype.NSEC3PARAM: "denials",
}


def read_zone(
    text: str,
    file: str,
    *,
    origin: DomainName = (),
    ttl: int | None = None,
    first: int = 1,
    option: str = "",
    include: Include | None = None,
) -> tuple[list[StaticRecord], list[Problem]]:
    """Read zone-file text.

    Args:
        text: the whole text.
        file: its name, for problems.
        origin: what relative names are relative to until ``$ORIGIN`` says otherwise.
        ttl: seconds, for records that give none, until ``$TTL`` says otherwise.
        first: the number of its first line in the file.
        option: of a description; empty for a zone file.
        include: called with the name in ``$INCLUDE`` and the name of the file it stands in; returns the text and
            the name of the included file, or raises ConfigurationError. None refuses ``$INCLUDE``.

    Returns:
        The records, and every mistake; never raises for any text.
    """
    reading = _Reading(option, include)
    reading.read(_File(text, file, first, _Defaults(dns.name.Name((*origin, b"")), ttl)))
    return reading.records, reading.problems


@dataclass(slots=True)
class _Defaults:
    """What a line that does not say it itself takes from those before it."""

    origin: dns.name.Name
    ttl: int | None
    owner: dns.name.Name | None = None
    last_ttl: int | None = None


class _File:
    """A text on its way through the tokenizer.

    Attributes:
        line: the number of the line that is being read, or on which the record being read begins.
        depth: how many files include it.
    """

    def __init__(self, text: str, name: str, first: int, defaults: _Defaults, depth: int = 0) -> None:
        self.text = text
        self.name = name
        self.first = self.line = first
        self.defaults = defaults
        self.depth = depth
        self.tok = dns.tokenizer.Tokenizer(text, name)
        self.delimiters = self.tok.delimiters

    def next_token(self) -> dns.tokenizer.Token:
        """Return the first token of the next line."""
        self.line = self.first + self.tok.where()[1] - 1
        return self.tok.get(want_leading=True)

    def skip_line(self) -> None:
        """Go behind the line in which a mistake was found, unless the tokenizer is there already."""
        tok = self.tok
        tok.ungotten_token = None
        tok.quoting, tok.delimiters = False, self.delimiters
        taken = tok.file.tell() - (tok.ungotten_char is not None)
        if taken and self.text[taken - 1] in "\r\n" and not tok.multiline:
            return
        try:
            while not tok.get().is_eol_or_eof():
                pass
        except (dns.exception.DNSException, ValueError):
            if tok.multiline or tok.eof:
                # A parenthesis that nothing closes takes the rest of the file with it.
                raise _Stop from None


class _Mistake(Exception):  # noqa: N818 - it never leaves this module
    """What is wrong with a line."""


class _Stop(Exception):  # noqa: N818 - it never leaves this module
    """Nothing more is read."""


class _Reading:
    """The records and problems of a text and of all that it includes."""

    def __init__(self, option: str, include: Include | None) -> None:
        self.option = option
        self.include = include
        self.records: list[StaticRecord] = []
        self.problems: list[Problem] = []
        self.size = 0

    def read(self, file: _File) -> None:
        with contextlib.suppress(_Stop):
            self._read(file)

    def _read(self, file: _File) -> None:
        self.size += len(file.text)
        if self.size > MAX_SIZE:
            self._problem(file, f"more than {MAX_SIZE >> 20} MiB of text; that is too much")
            raise _Stop
        while True:
            try:
                token = file.next_token()
                if token.is_eof():
                    return
                if token.is_eol():
                    continue
                if token.is_identifier() and token.value.startswith("$"):
                    self._directive(token.value.upper(), file)
                else:
                    self._record(token, file)
            except (dns.exception.DNSException, ValueError, _Mistake) as error:
                self._problem(file, _said(error))
                file.skip_line()

    def _directive(self, word: str, file: _File) -> None:
        tok, defaults = file.tok, file.defaults
        match word:
            case "$ORIGIN":
                origin = tok.get_name(defaults.origin)
                tok.get_eol()
                defaults.origin = origin
            case "$TTL":
                ttl = _ttl(tok.get_string())
                tok.get_eol()
                defaults.ttl = ttl
            case "$INCLUDE":
                name = tok.get_string()
                token = tok.get()
                origin = defaults.origin
                if not token.is_eol_or_eof():
                    origin = tok.as_name(token, defaults.origin)
                    tok.get_eol()
                self._included(name, file, replace(defaults, origin=origin))
            case "$GENERATE":
                raise _Mistake(
                    "$GENERATE is not known here; describe numbered names by a rule: [[nodes]] or [[derived]]"
                )
            case _:
                raise _Mistake(f"{word[:40]} is not known; known are $ORIGIN, $TTL and $INCLUDE")

    def _included(self, name: str, file: _File, defaults: _Defaults) -> None:
        if self.include is None:
            self._problem(
                file, "$INCLUDE works in zone files alone, because a description travels to the nodes as one text"
            )
            return
        if file.depth + 1 >= MAX_DEPTH:
            self._problem(file, f"files include each other more than {MAX_DEPTH} deep; is it a circle?")
            raise _Stop
        try:
            text, path = self.include(name, file.name)
        except ConfigurationError as error:
            self._problem(file, str(error))
            return
        self._read(_File(text, path, 1, defaults, file.depth + 1))

    def _record(self, token: dns.tokenizer.Token, file: _File) -> None:
        tok, defaults = file.tok, file.defaults
        if token.is_whitespace():
            token = tok.get()
            if token.is_eol_or_eof():
                return
            tok.unget(token)
        else:
            defaults.owner = tok.as_name(token, defaults.origin)
        owner = defaults.owner
        if owner is None:
            raise _Mistake("the first record has no name; begin the line with one, or with @")
        ttl, kind = self._ttl_and_type(tok)
        if kind in _REFUSED_TYPES:
            raise _Mistake(
                f"{_type_text(kind)} records are refused: zones are served without the {_REFUSED_TYPES[kind]} of DNSSEC"
            )
        try:
            data = dns.rdata.from_text(dns.rdataclass.IN, kind, tok, defaults.origin, relativize=False)
        except (dns.exception.DNSException, ValueError) as error:
            raise _Mistake(f"the data of this {_type_text(kind)} record cannot be read: {_said(error)}") from None
        if ttl is not None:
            defaults.last_ttl = ttl
        else:
            ttl = defaults.ttl if defaults.ttl is not None else defaults.last_ttl
        if ttl is None and isinstance(data, dns.rdtypes.ANY.SOA.SOA):
            # What TTL meant before RFC 2308 section 4.
            ttl = defaults.last_ttl = min(data.minimum, MAXIMUM_TTL)
        if ttl is None:
            self._problem(file, "no TTL; write $TTL 1h above the first record")
            return
        if len(_wire(data)) > MAX_DATA:
            self._problem(file, f"more than {MAX_DATA} bytes in one record; zone transfers could not carry it")
            return
        if len(self.records) >= MAX_RECORDS:
            self._problem(file, f"more than {MAX_RECORDS} static records; describe nodes by rules")
            raise _Stop
        record = Record(_labels(owner), int(kind), ttl, _data(data))
        self.records.append(StaticRecord(record, file.name, file.line, self.option))

    def _ttl_and_type(self, tok: dns.tokenizer.Tokenizer) -> tuple[int | None, dns.rdatatype.RdataType]:
        """Read ``[TTL] [class] type`` or ``[class] [TTL] type`` (RFC 1035 section 5.1)."""
        ttl: int | None = None
        classed = False
        while True:
            token = tok.get()
            if not token.is_identifier():
                raise _Mistake("a type is missing, such as A or CNAME")
            word = token.value
            if ttl is None and word[:1].isdigit():
                ttl = _ttl(word)
                continue
            if not classed and (found := _class(word)) is not None:
                if found != dns.rdataclass.IN:
                    raise _Mistake(f"class {word}; only IN is served")
                classed = True
                continue
            break
        try:
            kind = dns.rdatatype.from_text(word)
        except (dns.exception.DNSException, ValueError):
            raise _Mistake(
                f"{word[:40]!r} is no record type; write TYPE65280 for one that has no name (RFC 3597)"
            ) from None
        if dns.rdatatype.is_metatype(kind) or kind in (0, 41):
            raise _Mistake(f"{word[:40]} is no type of records")
        return ttl, kind

    def _problem(self, file: _File, text: str) -> None:
        self.problems.append(Problem(file.name, file.line, self.option, text))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop


def _class(word: str) -> dns.rdataclass.RdataClass | None:
    try:
        return dns.rdataclass.from_text(word)
    except (dns.exception.DNSException, ValueError):
        return None


def _ttl(word: str) -> int:
    try:
        ttl = dns.ttl.from_text(word)
    except dns.exception.DNSException:
        raise _Mistake(f"{word[:40]!r} is no TTL; write seconds, or 1h30m") from None
    if ttl > MAXIMUM_TTL:
        raise _Mistake(f"a TTL of {word[:40]} is longer than {MAXIMUM_TTL} seconds (RFC 2181)")
    return ttl


def _type_text(kind: dns.rdatatype.RdataType) -> str:
    return dns.rdatatype.to_text(kind)


def _labels(name: dns.name.Name) -> DomainName:
    return name.labels[:-1]


def _data(data: dns.rdata.Rdata) -> Data:
    match data:
        case dns.rdtypes.IN.A.A():
            return AddressData(IPv4Address(data.address))
        case dns.rdtypes.IN.AAAA.AAAA():
            return AddressData(IPv6Address(data.address))
        case dns.rdtypes.ANY.NS.NS() | dns.rdtypes.ANY.CNAME.CNAME() | dns.rdtypes.ANY.PTR.PTR():
            return NameData(_labels(data.target))
        case dns.rdtypes.ANY.SOA.SOA():
            times = (data.refresh, data.retry, data.expire, data.minimum)
            return SOAData(_labels(data.mname), _labels(data.rname), data.serial, *times)
        case dns.rdtypes.ANY.TXT.TXT():
            return TextData(tuple(data.strings))
        case dns.rdtypes.ANY.MX.MX():
            return OpaqueData(_wire(data), _labels(data.exchange))
        case dns.rdtypes.IN.SRV.SRV() | dns.rdtypes.ANY.DNAME.DNAME():
            return OpaqueData(_wire(data), _labels(data.target))
        case _:
            return OpaqueData(_wire(data))


def _wire(data: dns.rdata.Rdata) -> bytes:
    wire = data.to_wire()
    assert wire is not None
    return wire


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return text or f"it cannot be read ({type(error).__name__})"
