"""A cluster description: TOML bytes in, :class:`Naming` out, or every mistake in it at once.

The format is described in beonss.toml(5). Reading goes in steps that each report all they find: the text is
TOML, each part has the right shape, its patterns and addresses can be read, the rules can be built, and
:mod:`beonss.core.proof` finds that all names and addresses map one way and back. A part that fails one
step is left out of the next, so that one mistake is reported once and hides no other.
"""

import tomllib
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeVar

from beonss.core.description import (
    Description,
    DescriptionError,
    HostEntry,
    MasterEntry,
    Network,
    Place,
    Problem,
    RangesEntry,
    ReservedEntry,
    RuleEntry,
    Settings,
)
from beonss.core.naming import Naming
from beonss.core.numbering import (
    Address,
    AddressPattern,
    Interface,
    NamePattern,
    PatternError,
    parse_address_pattern,
    parse_name_pattern,
)
from beonss.core.proof import prove
from beonss.core.ranges import RangeError, parse_list
from beonss.core.rules import build_rules
from beonss.wire import description_shape as shape
from beonss.wire.toml_lines import LineMap, Path, TooDeepError, locate

#: A description is written by people; a larger file is a mistake.
MAX_BYTES = 4 * 1024 * 1024

T = TypeVar("T")


def parse(data: bytes, filename: str) -> Naming:
    """Read, compile and prove a description.

    Raises:
        DescriptionError: it cannot be used; ``.problems`` says every reason with its line.
    """
    reading = _Reading(filename)
    document, lines = _document(data, filename)
    reading.lines = lines
    description = reading.description(document)
    rules = () if description is None else build_rules(description.rules, reading.at)
    if description is not None:
        naming = Naming(description, rules)
        reading.problems.extend(prove(naming, complete=not reading.problems))
        if not reading.problems:
            return naming
    raise DescriptionError(reading.problems)


def _document(data: bytes, filename: str) -> tuple[dict[str, object], LineMap]:
    """Return the document and its lines."""

    def refuse(line: int, text: str) -> DescriptionError:
        return DescriptionError([Problem(filename, line, "", text)])

    if len(data) > MAX_BYTES:
        raise refuse(
            0, f"{len(data)} bytes; a description has at most {MAX_BYTES}: describe nodes by rules, not one by one"
        )
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refuse(line, f"byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8") from None
    try:
        lines = locate(data)
    except TooDeepError as error:
        raise refuse(error.line, "nested too deeply to be a description") from None
    try:
        return tomllib.loads(text), lines
    except (ValueError, RecursionError, OverflowError) as error:
        message = str(error)
        line = _error_line(message, data)
        what = message.split(" (at ", maxsplit=1)[0][:200]
        raise refuse(line, f"not valid TOML: {what}; correct this line (or the one before)") from None


def _error_line(message: str, data: bytes) -> int:
    if "(at end of document)" in message:
        return data.rstrip().count(b"\n") + 1
    _, _, after = message.partition("(at line ")
    digits = after.partition(",")[0]
    return int(digits) if digits.isdigit() else 0


class _Reading:
    """One pass over a document that collects problems instead of stopping."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.lines = LineMap({})
        self.problems: list[Problem] = []

    def place(self, *path: str | int) -> Place:
        return Place(self.lines.line(path), shape.option(path))

    def at(self, place: Place, text: str) -> None:
        self.problems.append(Problem(self.filename, place.line, place.option, text))

    def shaped(self, model: type[T], value: object, path: Path) -> T | None:
        """Return ``value`` as ``model`` after reporting every way in which it is not one."""
        found, mistakes = shape.read(model, value)
        for where, text in mistakes:
            self.at(self.place(*path, *where), text)
        return found

    def attempt(self, make: Callable[[str], T], text: str, path: Path) -> T | None:
        try:
            return make(text)
        except (PatternError, RangeError, ValueError) as error:
            self.at(self.place(*path), str(error))
            return None

    def several(self, make: Callable[[str], T], texts: Sequence[str], path: Path) -> tuple[T, ...]:
        made = (self.attempt(make, text, (*path, at)) for at, text in enumerate(texts))
        return tuple(each for each in made if each is not None)

    def description(self, document: dict[str, object]) -> Description | None:
        for name in document:
            if name not in shape.SECTIONS:
                self.at(self.place(name), shape.unknown(name, shape.SECTIONS))
        cluster = self.shaped(shape.Cluster, document["cluster"], ("cluster",)) if "cluster" in document else None
        if "cluster" not in document:
            self.at(Place(0, "cluster"), "there is no [cluster]; add one with name, zone, networks and masters")
        networks = self.several(_network, cluster.networks, ("cluster", "networks")) if cluster else ()
        settings = self._settings(document, networks)
        hosts = self._hosts(document.get("hosts", {}))
        reserved = self._reserved(document.get("reserved", {}))
        rules = self._rules(document, "nodes") + self._rules(document, "derived")
        if cluster is None:
            return None
        reverse = self._reverse(cluster, networks)
        masters = self._masters(cluster)
        zone = cluster.zone.lower().removesuffix(".")
        mistake = shape.zone_mistake(zone)
        if mistake:
            self.at(self.place("cluster", "zone"), mistake)
        return Description(
            self.filename,
            cluster.name,
            zone,
            cluster.version,
            cluster.ttl,
            networks,
            reverse,
            masters,
            reserved,
            hosts,
            rules,
            settings,
            self.place("cluster"),
        )

    def _settings(self, document: dict[str, object], networks: tuple[Network, ...]) -> Settings:
        access = self.shaped(shape.Access, document.get("access", {}), ("access",))
        accounts = self.shaped(shape.Accounts, document.get("accounts", {}), ("accounts",))
        if access is not None and access.networks is not None:
            networks = self.several(_network, access.networks, ("access", "networks"))
        if accounts is None:
            return Settings(networks)
        mistake = shape.cost_mistake(accounts)
        if mistake:
            self.at(self.place("accounts", "hash_cost"), mistake)
        return Settings(
            networks,
            accounts.uid_floor,
            accounts.gid_floor,
            accounts.hash,
            accounts.hash_cost or shape.DEFAULT_COSTS[accounts.hash],
            accounts.min_password_length,
        )

    def _reverse(self, cluster: shape.Cluster, networks: tuple[Network, ...]) -> tuple[Network, ...]:
        if cluster.reverse is not None:
            zones = self.several(_network, cluster.reverse, ("cluster", "reverse"))
            for at, zone in enumerate(zones):
                if zone.prefixlen % (8 if zone.version == 4 else 4):
                    boundary = "an octet (/8, /16, /24)" if zone.version == 4 else "a nibble (/48, /52, /56 ...)"
                    self.at(self.place("cluster", "reverse", at), f"{zone} does not end on the boundary of {boundary}")
            return zones
        result: list[Network] = []
        for at, network in enumerate(networks):
            step = 8 if network.version == 4 else 4
            length = max(-(-network.prefixlen // step) * step, step)
            if network.version == 4 and length == 32:
                outer = network.supernet(new_prefix=24)
                self.at(
                    self.place("cluster", "networks", at),
                    f"{network} is smaller than a reverse zone; add reverse = [{str(outer)!r}] "
                    "if this cluster answers for all of that",
                )
                continue
            result.extend(network.subnets(new_prefix=length))
        return tuple(result)

    def _masters(self, cluster: shape.Cluster) -> tuple[MasterEntry, ...]:
        result = []
        for at, value in enumerate(cluster.masters):
            master = shape.Master(name=value) if isinstance(value, str) else value
            result.append(MasterEntry(master.name.lower(), master.port, self.place("cluster", "masters", at)))
        return tuple(result)

    def _hosts(self, section: object) -> tuple[HostEntry, ...]:
        table = self._table(section, "hosts", 'frodo = "10.5.0.1"')
        result = []
        for name, value in table.items():
            path = ("hosts", name)
            plain = {"address": value} if isinstance(value, str | list) else value
            host = self.shaped(shape.Host, plain, path)
            label = self.attempt(_label, name, path)
            if host is None or label is None:
                continue
            written = host.address if isinstance(host.address, list) else [host.address]
            addresses = self.several(_address, written, (*path, "address"))
            aliases = self.several(_label, host.aliases, (*path, "aliases"))
            mac = self.attempt(_mac, host.mac, (*path, "mac")) if host.mac is not None else None
            if not addresses:
                continue
            result.append(HostEntry(label, aliases, addresses, mac, self.place(*path)))
        return tuple(result)

    def _table(self, section: object, name: str, example: str) -> dict[str, object]:
        if isinstance(section, dict):
            return section
        self.at(self.place(name), f"must be a table: write [{name}] and below it lines such as {example}")
        return {}

    def _reserved(self, section: object) -> tuple[ReservedEntry, ...]:
        table = self._table(section, "reserved", 'temporary = "10.5.255.0/24"')
        result = []
        for name, value in table.items():
            texts = self.shaped(shape.Reserved, {"ranges": value if isinstance(value, list) else [value]}, ())
            if texts is None:
                continue
            for low, high in self.several(_span, texts.ranges, ("reserved", name)):
                result.append(ReservedEntry(name, low, high, self.place("reserved", name)))
        return tuple(result)

    def _rules(self, document: dict[str, object], section: str) -> tuple[RuleEntry, ...]:
        entries = document.get(section, [])
        if not isinstance(entries, list):
            self.at(self.place(section), f"must be an array of tables; write [[{section}]]")
            return ()
        made = [self._rule(value, (section, at)) for at, value in enumerate(entries)]
        return tuple(rule for rule in made if rule is not None)

    def _rule(self, value: object, path: Path) -> RuleEntry | None:
        before = len(self.problems)
        derived = path[0] == "derived"
        rule = self.shaped(shape.Derived if derived else shape.Nodes, value, path)
        if rule is None:
            return None
        place = self.place(*path)
        first = self._interface("", rule.name, rule.aliases, rule.address, path)
        interfaces = [first]
        for label, extra in rule.interfaces.items() if isinstance(rule, shape.Nodes) else ():
            interfaces.append(self._further(first, label, extra, (*path, "interfaces", label)))
        written = rule.ranges if isinstance(rule.ranges, list) else [rule.ranges] if rule.ranges else []
        ranges = []
        for at, each in enumerate(written):
            where = (*path, "ranges", at) if isinstance(rule.ranges, list) else (*path, "ranges")
            ranges.append(self._ranges(each, where))
        if len(self.problems) > before:
            return None
        good = tuple(interface for interface in interfaces if interface is not None)
        count = rule.count if isinstance(rule, shape.Nodes) else None
        return RuleEntry("derived" if derived else "node", good, tuple(ranges), count, place)

    def _interface(
        self, label: str, name: str, aliases: Sequence[str], address: str | list[str], path: Path
    ) -> Interface | None:
        pattern = self.attempt(parse_name_pattern, name, (*path, "name"))
        others = self.several(parse_name_pattern, aliases, (*path, "aliases"))
        addresses = self._addresses(address, path)
        if pattern is None:
            return None
        return Interface(label, pattern, others, addresses, self.place(*path).line, shape.option(path))

    def _addresses(self, address: str | list[str], path: Path) -> tuple[AddressPattern, ...]:
        texts = address if isinstance(address, list) else [address]
        return self.several(parse_address_pattern, texts, (*path, "address"))

    def _further(self, first: Interface | None, label: str, extra: shape.Interface, path: Path) -> Interface | None:
        if (extra.name is None) == (extra.suffix is None):
            self.at(self.place(*path), 'needs either suffix = "-ib" or a name pattern of its own')
            return None
        if extra.name is not None:
            return self._interface(label, extra.name, extra.aliases, extra.address, path)
        assert extra.suffix is not None
        suffix = self.attempt(_suffix, extra.suffix, (*path, "suffix"))
        own = self.several(parse_name_pattern, extra.aliases, (*path, "aliases"))
        addresses = self._addresses(extra.address, path)
        if suffix is None or first is None:
            return None
        aliases: list[NamePattern] = [alias.suffixed(suffix) for alias in first.aliases]
        line = self.place(*path).line
        return Interface(label, first.name.suffixed(suffix), (*aliases, *own), addresses, line, shape.option(path))

    def _ranges(self, lists: dict[str, str | int], path: Path) -> RangesEntry:
        made = []
        for name, text in lists.items():
            found = self.attempt(parse_list, str(text), (*path, name))
            if found is not None:
                made.append((name, *found))
        return RangesEntry(tuple(made), self.place(*path))


def _network(text: str) -> Network:
    try:
        if "/" not in text or "%" in text:
            raise ValueError
        network: IPv4Network | IPv6Network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is no network; write one such as 10.5.0.0/16") from None
    if (
        text.partition("/")[0].strip() != str(network.network_address)
        and ip_address(text.partition("/")[0]) != network[0]
    ):
        raise ValueError(f"{text} has bits beyond its prefix; write {network}")
    if network.is_multicast or network.prefixlen == 0:
        raise ValueError(f"{network} is no network of machines")
    return network


def _address(text: str) -> Address:
    try:
        if "%" in text:
            raise ValueError
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is no address; write one such as 10.5.0.1") from None
    if address.is_multicast or address.is_unspecified:
        raise ValueError(f"{address} is no address of a machine")
    return address


def _span(text: str) -> tuple[Address, Address]:
    if "/" in text:
        network = _network(text)
        return network[0], network[-1]
    first, _, last = text.partition("-")
    low = _address(first.strip())
    high = _address(last.strip()) if last else low
    if low.version != high.version or int(high) < int(low):
        raise ValueError(f"{text[:80]!r} is no range; write the first and the last address: 10.5.0.200 - 10.5.0.250")
    return low, high


def _label(text: str) -> str:
    mistake = shape.label_mistake(text)
    if mistake:
        raise ValueError(mistake)
    return text.lower()


def _suffix(text: str) -> str:
    mistake = shape.label_mistake(f"a{text}")
    if mistake or not text:
        raise ValueError(f"{text[:80]!r} is no end of a host name; write one such as -ib")
    return text.lower()


def _mac(text: str) -> str:
    return shape.mac(text)
