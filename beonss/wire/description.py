"""A cluster description: TOML bytes in, :class:`Naming` out, or every mistake in it at once.

The format is described in beonss.toml(5). Reading goes in steps that each report all they find: the text is
TOML, each part has the right shape, its patterns and addresses can be read, the rules can be built, and
:mod:`beonss.core.names.proof` finds that all names and addresses map one way and back. A part that fails one
step is left out of the next, so that one mistake is reported once and hides no other.
"""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from beonss.core.names.description import (
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
from beonss.core.names.naming import Naming
from beonss.core.names.numbering import Interface
from beonss.core.names.patterns import (
    AddressPattern,
    NamePattern,
    PatternError,
    parse_address_pattern,
    parse_name_pattern,
)
from beonss.core.names.proof import prove
from beonss.core.names.ranges import RangeError, parse_list
from beonss.core.names.rules import build_rules
from beonss.core.zones.overlay import Overlay
from beonss.core.zones.overlay_check import check_overlay
from beonss.core.zones.transfer_access import ZoneSettings
from beonss.wire import description_shape as shape
from beonss.wire.description_dns import Source, check_forwarding, read_dns
from beonss.wire.description_values import read_address, read_label, read_mac, read_network, read_span, read_suffix
from beonss.wire.toml_lines import LineMap, Path, TooDeepError, locate

#: A description is written by people; a larger file is a mistake.
MAX_BYTES = 4 * 1024 * 1024

T = TypeVar("T")
M = TypeVar("M", bound=shape.Shape)


def parse(data: bytes, filename: str, version: int | None = None) -> Naming:
    """Read, compile and prove a description.

    Args:
        data: the file.
        filename: its name, for messages.
        version: as which version it was published, where that is not what it says itself.

    Raises:
        DescriptionError: it cannot be used; ``.problems`` says every reason with its line.
    """
    reading = _Reading(filename)
    document, lines = _document(data, filename)
    reading.lines = lines
    reading.data = data
    description = reading.description(document)
    if version is not None:
        description = replace(description, version=version)
    rules = build_rules(description.rules, reading.at)
    if len(rules) < len(description.rules):
        reading.lost.add("masters")
    naming = Naming(description, rules)
    reading.problems.extend(prove(naming, without=reading.lost))
    if not reading.problems and description.dns.records:
        overlay = Overlay(description.dns.records)
        reading.problems.extend(check_overlay(naming, overlay, complete=not description.dns.zone_files))
    if not reading.problems:
        reading.problems.extend(check_forwarding(naming, Source(filename, reading.place, data)))
    if reading.problems:
        raise DescriptionError(reading.problems)
    return naming


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
    """One pass over a document that collects problems instead of stopping.

    Attributes:
        lost: the parts of the proof that mean nothing, because what they are about could not be read.
    """

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self.lines = LineMap({})
        self.data = b""
        self.problems: list[Problem] = []
        self.lost: set[str] = set()

    def place(self, *path: str | int) -> Place:
        written: Path = ()
        for part in path:
            # One value may stand for a list of one; then its index is not in the file.
            if not isinstance(part, int) or (*written, part) in self.lines:
                written = (*written, part)
        return Place(self.lines.line(written), shape.option(written))

    def at(self, place: Place, text: str) -> None:
        # What is quoted from the file reaches terminals and logs: no control characters.
        self.problems.append(Problem(self.filename, place.line, place.option, shape.printable(text)))

    def shaped(self, model: type[M], value: object, path: Path) -> M | None:
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

    def description(self, document: dict[str, object]) -> Description:
        for name in document:
            if name not in shape.SECTIONS:
                self.at(self.place(name), shape.unknown(name, shape.SECTIONS))
        cluster = self._cluster(document)
        networks = self.several(read_network, cluster.networks, ("cluster", "networks"))
        zone = cluster.zone.lower().removesuffix(".")
        mistake = shape.zone_mistake(zone)
        if mistake:
            self.at(self.place("cluster", "zone"), mistake)
        if not cluster.name.isprintable():
            self.at(self.place("cluster", "name"), "must be printable; it is shown to people")
        reverse = self._reverse(cluster, networks)
        if len(networks) < len(cluster.networks) or len(reverse) < len(cluster.reverse or ()):
            self.lost.add("territory")
        before = len(self.problems)
        hosts = self._hosts(document.get("hosts", {}))
        rules = self._rules(document, "nodes") + self._rules(document, "derived")
        if len(self.problems) > before:
            self.lost.add("masters")
        return Description(
            self.filename,
            cluster.name,
            zone,
            cluster.version,
            cluster.ttl,
            networks,
            reverse,
            self._masters(cluster),
            self._reserved(document.get("reserved", {})),
            hosts,
            rules,
            self._settings(document, networks),
            {option: self.place("cluster", option) for option in ("networks", "reverse") if getattr(cluster, option)},
            ZoneSettings() if mistake else self._dns(document.get("dns", {}), zone, cluster.ttl),
        )

    def _cluster(self, document: dict[str, object]) -> shape.Cluster:
        """Return ``[cluster]``; what is wrong in it is reported and replaced, so that the rest can be read."""
        if "cluster" not in document:
            self.at(Place(0, "cluster"), "there is no [cluster]; add one with name, zone, networks and masters")
            self.lost |= {"territory", "masters"}
            return shape.Cluster.model_validate(shape.STAND_IN)
        value = document["cluster"]
        found, mistakes = shape.read(shape.Cluster, value)
        for where, text in mistakes:
            self.at(self.place("cluster", *where), text)
        if found is not None:
            return found
        bad = {str(where[0]) for where, _ in mistakes if where}
        good = {name: each for name, each in value.items() if name not in bad} if isinstance(value, dict) else {}
        if not good.keys() >= {"networks"} or "reverse" in bad:
            self.lost.add("territory")
        if "masters" not in good:
            self.lost.add("masters")
        return shape.Cluster.model_validate(shape.STAND_IN | good)

    def _dns(self, section: object, zone: str, ttl: int) -> ZoneSettings:
        found = self.shaped(shape.Dns, section, ("dns",))
        if found is None:
            return ZoneSettings()
        settings, problems = read_dns(found, zone, ttl, Source(self.filename, self.place, self.data))
        self.problems.extend(problems)
        return settings

    def _settings(self, document: dict[str, object], networks: tuple[Network, ...]) -> Settings:
        access = self.shaped(shape.Access, document.get("access", {}), ("access",))
        accounts = self.shaped(shape.Accounts, document.get("accounts", {}), ("accounts",))
        if access is not None and access.networks is not None:
            networks = self.several(read_network, access.networks, ("access", "networks"))
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
            zones = self.several(read_network, cluster.reverse, ("cluster", "reverse"))
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
        for at, master in enumerate(cluster.masters):
            result.append(MasterEntry(master.name.lower(), master.port, self.place("cluster", "masters", at)))
        return tuple(result)

    def _hosts(self, section: object) -> tuple[HostEntry, ...]:
        table = self._table(section, "hosts", 'frodo = "10.5.0.1"')
        result = []
        for name, value in table.items():
            path = ("hosts", name)
            plain = {"address": value} if isinstance(value, str | list) else value
            host = self.shaped(shape.Host, plain, path)
            label = self.attempt(read_label, name, path)
            if host is None or label is None:
                continue
            addresses = self.several(read_address, host.address, (*path, "address"))
            aliases = self.several(read_label, host.aliases, (*path, "aliases"))
            mac = self.attempt(read_mac, host.mac, (*path, "mac")) if host.mac is not None else None
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
            if not name.isprintable() or len(name) > 64:
                self.at(self.place("reserved", name), "the name must be short and printable; it is shown in messages")
                continue
            texts, mistakes = shape.read(shape.Reserved, {"ranges": value})
            for where, text in mistakes:
                self.at(self.place("reserved", name, *where[1:]), text)
            if texts is None:
                continue
            for low, high in self.several(read_span, texts.ranges, ("reserved", name)):
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
            self._remains(value, path)
            return None
        place = self.place(*path)
        first = self._interface("", rule.name, rule.aliases, rule.address, path)
        interfaces = [first]
        for label, extra in rule.interfaces.items() if isinstance(rule, shape.Nodes) else ():
            interfaces.append(self._further(first, label, extra, (*path, "interfaces", label)))
        ranges = [self._ranges(each, (*path, "ranges", at)) for at, each in enumerate(rule.ranges or ())]
        if len(self.problems) > before:
            return None
        good = tuple(interface for interface in interfaces if interface is not None)
        count = rule.count if isinstance(rule, shape.Nodes) else None
        return RuleEntry("derived" if derived else "node", good, tuple(ranges), count, place)

    def _remains(self, value: object, path: Path) -> None:
        """Report further mistakes in those parts of a rule that at least have the right type."""
        table = value if isinstance(value, dict) else {}
        if isinstance(name := table.get("name"), str):
            self.attempt(parse_name_pattern, name, (*path, "name"))
        if isinstance(address := table.get("address"), str):
            self.attempt(parse_address_pattern, address, (*path, "address"))
        ranges = table.get("ranges")
        for at, lists in enumerate(ranges if isinstance(ranges, list) else [ranges]):
            for coordinate, text in lists.items() if isinstance(lists, dict) else ():
                if isinstance(text, str):
                    self.attempt(parse_list, text, (*path, "ranges", at, coordinate))

    def _interface(
        self, label: str, name: str, aliases: Sequence[str], address: Sequence[str], path: Path
    ) -> Interface | None:
        pattern = self.attempt(parse_name_pattern, name, (*path, "name"))
        others = self.several(parse_name_pattern, aliases, (*path, "aliases"))
        addresses = self._addresses(address, path)
        if pattern is None:
            return None
        place = self.place(*path)
        return Interface(label, pattern, others, addresses, place.line, place.option, self._option_lines(path))

    def _option_lines(self, path: Path) -> dict[str, int]:
        return {name: self.lines.line((*path, name)) for name in ("name", "suffix", "aliases", "address", "count")}

    def _addresses(self, address: Sequence[str], path: Path) -> tuple[AddressPattern, ...]:
        return self.several(parse_address_pattern, address, (*path, "address"))

    def _further(self, first: Interface | None, label: str, extra: shape.Interface, path: Path) -> Interface | None:
        if self.attempt(read_label, label, path) is None:
            return None
        if (extra.name is None) == (extra.suffix is None):
            self.at(self.place(*path), 'needs either suffix = "-ib" or a name pattern of its own')
            return None
        if extra.name is not None:
            return self._interface(label, extra.name, extra.aliases, extra.address, path)
        assert extra.suffix is not None
        suffix = self.attempt(read_suffix, extra.suffix, (*path, "suffix"))
        own = self.several(parse_name_pattern, extra.aliases, (*path, "aliases"))
        addresses = self._addresses(extra.address, path)
        if suffix is None or first is None:
            return None
        aliases: list[NamePattern] = [alias.suffixed(suffix) for alias in first.aliases]
        place = self.place(*path)
        lines = self._option_lines(path)
        lines["name"] = lines["suffix"]
        return Interface(
            label, first.name.suffixed(suffix), (*aliases, *own), addresses, place.line, place.option, lines
        )

    def _ranges(self, lists: dict[str, str], path: Path) -> RangesEntry:
        made = []
        for name, text in lists.items():
            found = self.attempt(parse_list, text, (*path, name))
            if found is not None:
                made.append((name, *found))
        return RangesEntry(tuple(made), self.place(*path))
