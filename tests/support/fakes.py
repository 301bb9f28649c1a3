"""A small cluster for tests: Fellowship's numbering and a few accounts, without parsing or storing anything."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from beonss.core.accounts.entries import (
    AGING,
    ENTRY,
    LOCK,
    PASSWORD,
    PRESENT,
    Aging,
    GroupEntry,
    Lock,
    Member,
    Password,
    Presence,
    UserEntry,
    encode,
    member_field,
    object_id,
)
from beonss.core.replication.registers import Key, Register, Stamp

ORIGIN = "0" * 32


@dataclass(frozen=True, slots=True)
class FakeNamed:
    """A host or node, as the compiled description has it."""

    name: str
    addresses: tuple[IPv4Address | IPv6Address, ...]
    aliases: tuple[str, ...] = ()
    kind: str = "node"
    number: int | None = None
    mac: str | None = None


class FakeNames:
    """Four racks of 20 nodes ``r##n##`` at 10.5.<rack>.<node>, and three masters: the interface of Naming."""

    zone = "fellow.aero.org"
    cluster = "Fellowship"

    def __init__(self, racks: int = 4, nodes: int = 20) -> None:
        self.racks, self.nodes = racks, nodes
        self.machines = {
            "frodo": FakeNamed("frodo", (IPv4Address("10.5.0.1"), IPv6Address("fd00:5::1")), ("www",), "host"),
            "gamgee": FakeNamed("gamgee", (IPv4Address("10.5.0.2"),), (), "host"),
            "switch": FakeNamed("switch", (IPv4Address("10.5.0.9"),), (), "host", None, "02:00:00:00:00:09"),
        }
        self.node_count = racks * nodes

    def node(self, rack: int, position: int) -> FakeNamed:
        number = (rack - 1) * self.nodes + position - 1
        return FakeNamed(f"r{rack:02}n{position:02}", (IPv4Address(f"10.5.{rack}.{position}"),), number=number)

    def all_nodes(self) -> Iterator[FakeNamed]:
        for rack in range(1, self.racks + 1):
            for position in range(1, self.nodes + 1):
                yield self.node(rack, position)

    def hosts(self) -> Iterator[FakeNamed]:
        return iter(self.machines.values())

    def names(self) -> Iterator[FakeNamed]:
        yield from self.hosts()
        yield from self.all_nodes()

    def find(self, name: str) -> FakeNamed | None:
        short = name.lower().removesuffix("." + self.zone)
        for named in self.names():
            if short == named.name or short in named.aliases:
                return named
        return None

    def find_address(self, address: IPv4Address | IPv6Address) -> FakeNamed | None:
        return next((named for named in self.names() if address in named.addresses), None)

    def find_number(self, number: int) -> FakeNamed | None:
        return next((named for named in self.all_nodes() if named.number == number), None)

    def find_mac(self, mac: str) -> FakeNamed | None:
        return next((named for named in self.names() if named.mac == mac), None)

    def self_name(self, asker: IPv4Address | IPv6Address) -> FakeNamed | None:
        return self.find_address(asker)

    def master_order(self, asker: IPv4Address | IPv6Address | None) -> tuple[FakeNamed, ...]:
        return (self.machines["frodo"], self.machines["gamgee"])

    def netgroups(self) -> Mapping[str, Iterator[str]]:
        return {"cluster": (node.name for node in self.all_nodes())}


class Rows:
    """Registers of users and groups, each later than the one before."""

    def __init__(self) -> None:
        self.rows: list[Register] = []

    def _add(self, object_: str, field: str, value: bytes) -> None:
        number = len(self.rows) + 1
        self.rows.append(Register(Key(object_, field), value, Stamp(1000 + number, ORIGIN, number)))

    def user(
        self,
        name: str,
        uid: int,
        *,
        gid: int = 5000,
        gecos: str = "",
        home: str | None = None,
        shell: str = "/bin/sh",
        hash: str | None = None,  # noqa: A002 - the field's word
        changed: int | None = None,
        aging: Aging | None = None,
        locked: bool = False,
    ) -> str:
        """Add a user; return the object's id."""
        found = object_id("user", name, uid)
        entry = UserEntry(name, uid, gid, gecos, home or f"/home/{name}", shell)
        self._add(found, PRESENT, encode(Presence("user", name, uid, 0, 1000, True)))
        self._add(found, ENTRY, encode(entry))
        if hash is not None:
            self._add(found, PASSWORD, encode(Password(hash, changed)))
        if aging is not None:
            self._add(found, AGING, encode(aging))
        if locked:
            self._add(found, LOCK, encode(Lock(True)))
        return found

    def group(self, name: str, gid: int, *members: str) -> str:
        """Add a group with the user objects that belong to it; return its id."""
        found = object_id("group", name, gid)
        self._add(found, PRESENT, encode(Presence("group", name, gid, 0, 1000, True)))
        self._add(found, ENTRY, encode(GroupEntry(name, gid)))
        for member in members:
            self._add(found, member_field(member), encode(Member(True)))
        return found


def fellowship() -> Rows:
    """Return the accounts that most tests use."""
    rows = Rows()
    alice = rows.user("alice", 5001, gecos="Alice Liddell", hash="$6$salt$alicehash", changed=20000)
    bob = rows.user("bob", 5002, hash="$6$salt$bobhash", changed=20000, locked=True)
    rows.user("carol", 5003, gid=5100, shell="/bin/bash")
    rows.user("lowly", 500)
    rows.group("users", 5000)
    rows.group("chemistry", 5100, alice, bob)
    rows.group("wheelish", 10, alice)
    return rows
