"""What a change of the description touches: options, hosts, static records, and the names that rules make."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beonss.core.names.description import Description
from beonss.core.names.rule_difference import Touched, compare_rules
from beonss.core.zones.records import shown

if TYPE_CHECKING:
    from beonss.core.names.naming import Naming


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs between two descriptions.

    Attributes:
        lines: options, hosts, records, then nodes and derived hosts.
        added: how many names are new.
        removed: how many are gone.
        changed: how many lead to something else than before, or come from something else.
    """

    lines: tuple[Touched, ...]

    @property
    def added(self) -> int:
        """How many names are new."""
        return sum(line.count for line in self.lines if line.mark == "+")

    @property
    def removed(self) -> int:
        """How many names are gone."""
        return sum(line.count for line in self.lines if line.mark == "-")

    @property
    def changed(self) -> int:
        """How many names are there before and after, and not the same."""
        return sum(line.count for line in self.lines if line.mark == "~" and line.kind != "number")

    def document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "lines": [[line.mark, line.kind, line.names, line.text, line.count] for line in self.lines],
            "added": self.added,
            "removed": self.removed,
            "changed": self.changed,
        }


def difference(old: "Naming", new: "Naming") -> Difference:
    """Return what differs between two descriptions, their version and file name apart."""
    lines = [*_options(old.description, new.description), *_hosts(old, new), *_records(old, new)]
    return Difference((*lines, *compare_rules(old.rules, new.rules)))


# -- options, hosts, records


def _options(old: Description, new: Description) -> Iterator[Touched]:
    before, after = _plain(old), _plain(new)
    for option in before:
        if before[option] != after[option]:
            text = f"{before[option] or '(nothing)'} -> {after[option] or '(nothing)'}"
            if option == "cluster.zone":
                text += "; every name gets another domain"
            yield Touched("~", "option", option, text, 0)


def _plain(description: Description) -> dict[str, str]:
    settings, dns = description.settings, description.dns
    return {
        "cluster.name": description.cluster,
        "cluster.zone": description.zone,
        "cluster.ttl": str(description.ttl),
        "cluster.networks": ", ".join(map(str, description.networks)),
        "cluster.reverse": ", ".join(map(str, description.reverse)),
        "cluster.masters": ", ".join(f"{master.name}:{master.port}" for master in description.masters),
        "reserved": ", ".join(sorted(f"{entry.name} {entry.low}-{entry.high}" for entry in description.reserved)),
        "accounts.uid_floor": str(settings.uid_floor),
        "accounts.gid_floor": str(settings.gid_floor),
        "passwords.hash": f"{settings.hash_scheme}, cost {settings.hash_cost}",
        "passwords.min_length": str(settings.min_password_length),
        "node_networks": ", ".join(map(str, settings.node_networks)),
        "dns.zone_files": ", ".join(each.text for each in dns.zone_files),
        "dns.key_files": ", ".join(each.text for each in dns.key_files),
        "dns.transfer": ", ".join(f"{grant.network or 'any'} {shown(grant.key or ())}" for grant in dns.grants),
        "dns.notify": ", ".join(map(str, dns.notify)),
        "dns.catalog": shown(dns.catalog) if dns.catalog else "",
        "dns.forward": "; ".join(sorted(map(str, dns.forwarding.routes))),
        "dns.forward.networks": ", ".join(map(str, dns.forwarding.networks)),
    }


def _hosts(old: "Naming", new: "Naming") -> Iterator[Touched]:
    before = {named.name: _host(named) for named in old.hosts()}
    after = {named.name: _host(named) for named in new.hosts()}
    for name, text in before.items():
        if name not in after:
            yield Touched("-", "host", name, text, 1)
        elif text != after[name]:
            yield Touched("~", "host", name, f"{text} -> {after[name]}", 1)
    for name, text in after.items():
        if name not in before:
            yield Touched("+", "host", name, text, 1)


def _host(named: Any) -> str:
    words = [", ".join(map(str, named.addresses)) or "no address"]
    if named.aliases:
        words.append(f"also {', '.join(named.aliases)}")
    if named.mac:
        words.append(f"mac {named.mac}")
    return "; ".join(words)


def _records(old: "Naming", new: "Naming") -> Iterator[Touched]:
    before, after = _record_set(old), _record_set(new)
    for key in before:
        if key not in after:
            yield Touched("-", "record", key[0], key[1], 1)
    for key in after:
        if key not in before:
            yield Touched("+", "record", key[0], key[1], 1)


def _record_set(naming: "Naming") -> dict[tuple[str, str], None]:
    records = (entry.record for entry in naming.description.dns.records)
    return {(shown(r.name), f"{_type(r.type)} ttl {r.ttl} {r.data!r}"): None for r in records}


def _type(number: int) -> str:
    return getattr(number, "name", None) or f"TYPE{number}"
