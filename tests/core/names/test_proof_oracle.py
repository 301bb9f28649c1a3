"""The compiled naming and its proof against the oracle that simply enumerates: random small descriptions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beonss.core.names.description import DescriptionError
from beonss.core.names.naming import Naming
from beonss.wire.description import parse

NETWORK = "10.5.0.0/16"


@dataclass
class SmallRule:
    """A rule with few members, in the spelling of the file and as the oracle reads it."""

    kind: str
    name: str
    aliases: list[str]
    address: str
    blocks: list[dict[str, list[int]]]
    further: list[tuple[str, str]] = field(default_factory=list)

    def toml(self) -> str:
        lists = ["{" + ", ".join(f'{c} = "{_listed(v)}"' for c, v in block.items()) + "}" for block in self.blocks]
        text = f'[[{self.kind}]]\nname = "{self.name}"\naliases = {self.aliases}\naddress = "{self.address}"\n'
        text += f"ranges = [{', '.join(lists)}]\n"
        for at, (suffix, address) in enumerate(self.further):
            text += f'[{self.kind}.interfaces.net{at}]\nsuffix = "{suffix}"\naddress = "{address}"\n'
        return text

    def members(self) -> Iterator[dict[str, int]]:
        """Every member's coordinates in the order of the running number: as the name has them, left to right."""
        order = [name for name in re.findall(r"{([a-z]+)", self.name) if name != "node"]
        for block in self.blocks:
            names = [c for c in order if c in block] + [c for c in block if c not in order]
            for values in product(*(sorted(block[name]) for name in names)):
                yield dict(zip(names, values, strict=True))


def _listed(values: list[int]) -> str:
    return ",".join(map(str, values))


def _template(text: str, values: dict[str, int]) -> str:
    """What str.format would make of a pattern (our fields are a subset of its)."""

    def show(match: re.Match[str]) -> str:
        name, offset, width = match[1], int(match[2] or 0), int(match[3] or 0)
        number = values[name] + offset
        return str(number).zfill(width) if number >= 0 else f"negative{number}"

    return re.sub(r"{([a-z]+)([+-][0-9]+)?(?::0([0-9]+))?}", show, text)


def _address(text: str, values: dict[str, int]) -> str:
    base, *terms = (part.strip() for part in text.split(" + "))
    if not terms:
        return _template(text, values)
    total = int(ip_address(base))
    for term in terms:
        factor, _, name = term.rpartition("*")
        total += int(factor or 1) * values[name.strip(" {}")]
    return str(ip_address(total)) if 0 <= total < 2**32 else "outside"


@dataclass
class Enumerated:
    """All names and addresses of a description, one by one."""

    names: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    sound: bool = True

    def add(self, labels: list[str], addresses: list[str]) -> None:
        for label in labels:
            self.sound &= label not in self.names and "negative" not in label and len(label) <= 63
            self.sound &= label not in {"master", "self", "localhost"}
            self.names[label] = labels[0]
        for address in addresses:
            legal = address != "outside" and all(0 <= int(octet) <= 255 for octet in address.split("."))
            self.sound &= legal and address not in self.addresses and ip_address(address) in ip_network(NETWORK)
            self.sound &= address not in {"10.5.0.0", "10.5.255.255"}
            self.addresses[address] = labels[0]


def enumerate_all(hosts: dict[str, str], rules: list[SmallRule], reserved: tuple[int, int]) -> Enumerated:
    """Return what a description says, by brute force."""
    everything = Enumerated()
    number = 0
    for name, address in hosts.items():
        everything.add([name], [address])
    for rule in sorted(rules, key=lambda rule: rule.kind != "nodes"):
        for values in rule.members():
            numbered = values | {"node": number}
            number += rule.kind == "nodes"
            labels = [_template(pattern, numbered) for pattern in (rule.name, *rule.aliases)]
            everything.add(labels, [_address(rule.address, numbered)])
            for suffix, address in rule.further:
                everything.add([label + suffix for label in labels], [_address(address, numbered)])
    low, high = (int(ip_address(f"10.5.{octet}.0")) for octet in reserved)
    for address in everything.addresses:
        if everything.sound and low <= int(ip_address(address)) <= high:
            everything.sound = False
    return everything


NUMBERS = st.lists(st.integers(0, 12) | st.sampled_from([99, 100, 255, 256]), min_size=1, max_size=4, unique=True)
FIELD_A = st.sampled_from(["{a}", "{a:02}", "{a+1}", "{a-1:02}"])
FIELD_B = st.sampled_from(["{b}", "{b:02}", "{b:03}", "{b+9}"])
NAMES = st.one_of(
    st.builds(
        lambda p, a, s, b: f"{p}{a}{s}{b}",
        st.sampled_from(["r", "n", "n1"]),
        FIELD_A,
        st.sampled_from(["n", "", "1", "-"]),
        FIELD_B,
    ),
    st.builds(
        lambda p, b, s, a: f"{p}{b}{s}{a}", st.sampled_from(["r", "n"]), FIELD_B, st.sampled_from(["n", ""]), FIELD_A
    ),
)
ADDRESSES = st.sampled_from(
    [
        "10.5.{a}.{b}",
        "10.5.{b}.{a}",
        "10.5.{a+1}.{b+100}",
        "10.5.0.0 + 256*{a} + {b}",
        "10.5.1.0 + 10*{a} + {b}",
        "10.5.1.7 + 16*{b} + {a}",
        "10.5.2.0 + {a} + 300*{b}",
        "10.5.3.0 + {node}",
        "10.5.1.{a}",
    ]
)


@st.composite
def small_rules(draw: st.DrawFn) -> SmallRule:
    blocks = draw(st.lists(st.fixed_dictionaries({"a": NUMBERS, "b": NUMBERS}), min_size=1, max_size=3))
    aliases = draw(st.lists(st.sampled_from(["n{node}", "z{node:02}", "q{a}x{b}", "w{b}"]), max_size=1))
    further = draw(
        st.lists(st.sampled_from([("-ib", "10.5.100.0 + {node}"), ("x", "10.5.200.0 + 13*{a} + {b}")]), max_size=1)
    )
    return SmallRule("nodes", draw(NAMES), aliases, draw(ADDRESSES), blocks, further)


@st.composite
def derived_rules(draw: st.DrawFn) -> SmallRule:
    name = draw(st.sampled_from(["gimli-r{a:02}", "r{a}n1", "n{a}"]))
    return SmallRule("derived", name, [], draw(st.sampled_from(["10.5.{a}.254", "10.5.{a}.1"])), [{"a": draw(NUMBERS)}])


HOSTS = st.dictionaries(
    st.sampled_from(["frodo", "r1n1", "n3", "n111"]),
    st.sampled_from(["10.5.254.1", "10.5.1.1", "10.5.2.3", "10.4.0.1"]),
    max_size=2,
)


def written(hosts: dict[str, str], rules: list[SmallRule], reserved: tuple[int, int]) -> str:
    lines = [
        "[cluster]",
        'name = "small"',
        'zone = "small.example.org"',
        f'networks = ["{NETWORK}"]',
        'masters = ["m"]',
    ]
    lines += ["[reserved]", f'kept = "10.5.{reserved[0]}.0 - 10.5.{reserved[1]}.0"', "[hosts]", 'm = "10.5.254.254"']
    lines += [f'{name} = "{address}"' for name, address in hosts.items()]
    return "\n".join(lines) + "\n" + "\n".join(rule.toml() for rule in rules)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    hosts=HOSTS,
    rules=st.lists(small_rules(), min_size=1, max_size=2),
    derived=st.lists(derived_rules(), max_size=1),
    reserved=st.sampled_from([(250, 251), (250, 251), (1, 1), (9, 12)]),
)
def test_accepts_exactly_what_enumeration_finds_sound(
    hosts: dict[str, str], rules: list[SmallRule], derived: list[SmallRule], reserved: tuple[int, int]
) -> None:
    """What is accepted maps every name and address both ways; what enumeration finds sound is accepted."""
    expected = enumerate_all({"m": "10.5.254.254"} | hosts, rules + derived, reserved)
    text = written(hosts, rules + derived, reserved)
    try:
        naming = parse(text.encode(), "small.toml")
    except DescriptionError as refusal:
        problems = refusal.problems
        # The one allowed refusal of a sound rule: weights that leave no room, where no clash is shown.
        cautious = all("leave no room" in p.text and "would be both" not in p.text for p in problems)
        assert not expected.sound or cautious, f"{text}\n{problems}"
        return
    assert expected.sound, text
    check_two_way(naming, expected)


@st.composite
def tame_rules(draw: st.DrawFn) -> list[SmallRule]:
    """Rules as people write them: racks of unequal size, clear separators, octets of their own, further networks."""
    racks = draw(st.lists(st.integers(1, 120), min_size=1, max_size=5, unique=True))
    blocks = [
        {"a": [rack], "b": draw(st.lists(st.integers(1, 60), min_size=1, max_size=5, unique=True))} for rack in racks
    ]
    further = draw(st.sampled_from([[], [("-ib", "10.5.{a+121}.{b}")], [("-ib", "10.5.250.0 + {node}")]]))
    rules = [SmallRule("nodes", "r{a:02}n{b:02}", ["n{node}"], "10.5.{a}.{b}", blocks, further)]
    if draw(st.booleans()):
        rules.append(SmallRule("nodes", "fat{b}", [], "10.5.0.0 + {b}", [{"b": draw(NUMBERS)}]))
    if draw(st.booleans()):
        rules.append(SmallRule("derived", "gimli-r{a:02}", [], "10.5.{a}.254", [{"a": racks}]))
    return rules


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tame_rules())
def test_descriptions_as_people_write_them(rules: list[SmallRule]) -> None:
    """Sound ones are accepted, and every name and address maps both ways."""
    expected = enumerate_all({"m": "10.5.254.254"}, rules, (255, 255))
    text = written({}, rules, (255, 255))
    if expected.sound:
        check_two_way(parse(text.encode(), "tame.toml"), expected)
    else:
        with pytest.raises(DescriptionError):
            parse(text.encode(), "tame.toml")


def check_two_way(naming: Naming, expected: Enumerated) -> None:
    """Every enumerated name and address is found, and the naming has no other."""
    for label, canonical in expected.names.items():
        found = naming.find(label)
        assert found is not None
        assert found.name == canonical
        assert label in {found.name, *found.aliases}
    for address, canonical in expected.addresses.items():
        found = naming.find_address(ip_address(address))
        assert found is not None
        assert found.name == canonical
        assert ip_address(address) in found.addresses
        assert naming.occupied(ip_address(address), ip_address(address))
    listed = list(naming.names())
    assert sorted(name for named in listed for name in (named.name, *named.aliases)) == sorted(expected.names)
    assert {str(address) for named in listed for address in named.addresses} == set(expected.addresses)
    for named in listed:
        assert naming.find(named.name) == named
    for number, named in enumerate(naming.nodes()):
        assert named.number == number
        assert naming.find_number(number) == named
    assert naming.find_number(naming.node_count) is None
    # What is near a name or an address and was not enumerated is no name and no address.
    for label in expected.names:
        for near in (label + "0", label.replace("n", "n0"), label[:-1], re.sub(r"([0-9]+)", r"0\1", label, count=1)):
            assert (naming.find(near) is not None) == (near in expected.names)
    for octet in range(0, 256, 3):
        address = ip_address(f"10.5.1.{octet}")
        assert (naming.find_address(address) is not None) == (str(address) in expected.addresses)
        low, high = ip_address(f"10.5.{octet}.0"), ip_address(f"10.5.{octet}.255")
        inside = any(low <= ip_address(each) <= high for each in expected.addresses)
        assert naming.occupied(low, high) == inside
