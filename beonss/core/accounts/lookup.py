"""What NSS may be told: hosts from the numbering, accounts from memory, and what is kept back.

Three answers are kept apart everywhere: the entry; None for "there is no such thing", said only when that is known;
and :class:`~beonss.errors.Unavailable` for "not known now", so that no cache learns a lie.

Kept back, always: accounts below the floors of uids and gids, names and numbers that local files own, and every hash
but in :class:`Shadow`, which only masters serve and which is for uid 0.

Decisions that nobody makes for us:

- The canonical name of a host is the one in the zone (``hostname -f`` wants it); the short one is its first alias.
- ``master`` (``.-1``, ``n-1``) has the addresses of all masters, the nearest first, as over DNS; ``self`` (``.-2``,
  ``n-2``) is this machine; ``.7`` is node 7 (Scyld). Dots and minus signs in front are legal here and not in DNS.
- A netgroup names each node twice, in full and short: sshd and rshd compare the full name alone, others the short.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from beonss.core.accounts.entries import Kind, UserEntry
from beonss.core.accounts.view import AccountView, Group, User
from beonss.errors import Unavailable

Address = IPv4Address | IPv6Address

MASTER = "master"
SELF = "self"
_MASTER_FORMS = frozenset({MASTER, ".-1", "n-1"})
_SELF_FORMS = frozenset({SELF, ".-2", "n-2"})
_NUMBER_FORM = re.compile(r"\.(0|[1-9][0-9]{0,9})", re.ASCII)

#: Below it, by convention of the Linux distributions, accounts belong to the machine (login.defs(5), UID_MIN).
FLOOR = 1000


@dataclass(frozen=True, slots=True)
class Host:
    """One host as hosts(5) has it: canonical name, further names, addresses."""

    name: str
    aliases: tuple[str, ...]
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Ether:
    """One entry of ethers(5); ``address`` has six bytes."""

    name: str
    address: bytes


@dataclass(frozen=True, slots=True)
class Triple:
    """One member of a netgroup (netgroup(5)); an empty part stands for all."""

    host: str
    user: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Shadow:
    """One entry of shadow(5); days, None where the field is empty."""

    name: str
    hash: str = field(repr=False)
    changed: int | None
    minimum: int | None
    maximum: int | None
    warning: int | None
    inactive: int | None
    expires: int | None


@dataclass(frozen=True, slots=True)
class KeptBack:
    """An account of the cluster that this machine does not serve, and why, for an operator."""

    kind: Kind
    name: str
    number: int
    reason: str


class Named(Protocol):
    """A host or node (``beonss.core.names.naming.Named``)."""

    @property
    def name(self) -> str: ...  # noqa: D102 - the canonical short name
    @property
    def aliases(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def addresses(self) -> Sequence[Address]: ...  # noqa: D102
    @property
    def mac(self) -> str | None: ...  # noqa: D102


class Names(Protocol):
    """The part of ``beonss.core.names.naming.Naming`` that lookups need."""

    @property
    def zone(self) -> str: ...  # noqa: D102 - lower case, no final dot

    def find(self, name: str, /) -> Named | None: ...  # noqa: D102
    def find_address(self, address: Address, /) -> Named | None: ...  # noqa: D102
    def find_number(self, number: int, /) -> Named | None: ...  # noqa: D102
    def self_name(self, asker: Address, /) -> Named | None: ...  # noqa: D102
    def master_order(self, asker: Address | None, /) -> Sequence[Named]: ...  # noqa: D102
    def find_mac(self, mac: str, /) -> Named | None: ...  # noqa: D102
    def names(self) -> Iterator[Named]: ...  # noqa: D102 - everything that has a name, computed one by one
    def hosts(self) -> Iterator[Named]: ...  # noqa: D102 - only these have Ethernet addresses
    def netgroups(self) -> Mapping[str, Iterable[str]]: ...  # noqa: D102 - names of hosts, computed one by one


class LocalNames:
    """The accounts that this machine's own files hold: they win, and ours of that name or number is not served.

    An entry of the same name *and* number is the same account: it was imported from there, or delivered there by the
    files target, and PAM has to reach us for it.

    Args:
        users: name and uid of each entry of ``/etc/passwd``.
        groups: name and gid of each entry of ``/etc/group``.
    """

    def __init__(self, users: Iterable[tuple[str, int]] = (), groups: Iterable[tuple[str, int]] = ()) -> None:
        self._users, self._groups = frozenset(users), frozenset(groups)
        self._user_names, self._uids = {name for name, _ in self._users}, {uid for _, uid in self._users}
        self._group_names, self._gids = {name for name, _ in self._groups}, {gid for _, gid in self._groups}

    @property
    def user_count(self) -> int:
        """How many users the local files hold."""
        return len(self._users)

    def meant(
        self, by_name: Callable[[str], User | None], by_uid: Callable[[int], User | None], floor: int
    ) -> set[User]:
        """Return the users that have a name or uid in the local files, or a uid below a floor.

        Args:
            by_name: finds a user.
            by_uid: likewise.
            floor: uids below are meant too.
        """
        found = {by_name(name) for name in self._user_names}
        found.update(by_uid(uid) for uid in {*self._uids, *range(floor)})
        return {user for user in found if user is not None}

    def own_user(self, name: str, uid: int) -> bool:
        """Say whether the local files hold another account of this name or uid."""
        return (name, uid) not in self._users and (name in self._user_names or uid in self._uids)

    def holds_user(self, name: str) -> bool:
        """Say whether the local files have a user of this name."""
        return name in self._user_names

    def holds_number(self, number: int) -> bool:
        """Say whether an entry of the local files has this uid or gid."""
        return number in self._uids or number in self._gids

    def own_group(self, name: str, gid: int) -> bool:
        """Say whether the local files hold another group of this name or gid."""
        return (name, gid) not in self._groups and (name in self._group_names or gid in self._gids)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a machine serves.

    Attributes:
        uid_floor, gid_floor: accounts and groups below are not served.
        shadow: whether shadow entries are served to uid 0 (masters).
    """

    uid_floor: int = FLOOR
    gid_floor: int = FLOOR
    shadow: bool = False


class Lookups:
    """Answers lookups from a compiled description and the accounts in memory.

    Attributes:
        names: the description, None while this machine has none; replaced as a whole when it changes.
        view: the accounts.
        local: what the machine's own files hold; replaced when they change.
        asker: this machine's address in the cluster, for ``self`` and for the order of masters; None if not known.
        rules: what is kept back.

    Args:
        known: says whether the view has ever been filled; while it has not, accounts are unavailable.
    """

    def __init__(
        self,
        names: Names | None,
        view: AccountView,
        *,
        known: Callable[[], bool] = lambda: True,
        asker: Address | None = None,
        local: LocalNames | None = None,
        rules: Rules | None = None,
    ) -> None:
        self.names = names
        self.view = view
        self.asker = asker
        self.local = local or LocalNames()
        self.rules = rules or Rules()
        self._known = known

    @property
    def ready(self) -> bool:
        """Whether accounts are known here at all."""
        return self._known()

    # --- accounts ------------------------------------------------------------------------------------------------

    def user(self, name: str) -> User | None:
        """Return the user of this name, None when there is none to serve.

        Raises:
            Unavailable: this machine has not heard of any accounts yet. So do all lookups of accounts.
        """
        return self._user(self._accounts().user(name))

    def user_by_uid(self, uid: int) -> User | None:
        """Return the user with this uid."""
        return self._user(self._accounts().user_by_uid(uid))

    def users(self) -> Iterator[User]:
        """Return all users, as they are now."""
        return (user for user in self._accounts().users() if self._serves_user(user.entry))

    def group(self, name: str) -> Group | None:
        """Return the group of this name."""
        return self._group(self._accounts().group(name))

    def group_by_gid(self, gid: int) -> Group | None:
        """Return the group with this gid."""
        return self._group(self._accounts().group_by_gid(gid))

    def groups(self) -> Iterator[Group]:
        """Return all groups, as they are now."""
        return (group for group in self._accounts().groups() if self._serves_group(group))

    def groups_of(self, username: str) -> tuple[Group, ...]:
        """Return the groups a user is a member of, besides the primary one; none for a user that is not served."""
        view = self._accounts()
        if self._user(view.user(username)) is None:
            return ()
        return tuple(group for group in view.groups_of(username) if self._serves_group(group))

    def shadow(self, username: str) -> Shadow | None:
        """Return a shadow entry, hash included: for uid 0 alone. Only where the rules serve shadow."""
        user = self.user(username)
        return _shadow(user) if user is not None and self.rules.shadow else None

    def shadows(self) -> Iterator[Shadow]:
        """Return all shadow entries; see :meth:`shadow`."""
        return (_shadow(user) for user in (self.users() if self.rules.shadow else ()))

    # --- hosts ---------------------------------------------------------------------------------------------------

    def host(self, name: str) -> Host | None:
        """Return the host of a name: short, in the zone, an alias, ``master``, ``self`` or one of Scyld's forms.

        Raises:
            Unavailable: this machine has no description of the cluster yet. So do all lookups of hosts.
        """
        names = self._names()
        if not name.isascii():
            # Some letters turn into ASCII ones when lowered (U+212A into k): they are not ours.
            return None
        plain = name.lower()
        if plain.endswith("."):
            # A final dot makes a name absolute (RFC 1034 section 3.1): then only the zone's own names are ours.
            plain = plain[:-1]
            if not plain.endswith("." + names.zone):
                return None
        short = plain.removesuffix("." + names.zone)
        if short in _MASTER_FORMS:
            return self._masters(names)
        if short in _SELF_FORMS:
            if self.asker is None:
                raise Unavailable("this machine's address in the cluster is not known yet")
            mine = names.self_name(self.asker)
            return None if mine is None else _host(names, mine, further=(SELF,))
        number = _NUMBER_FORM.fullmatch(plain)
        found = names.find_number(int(number[1])) if number else names.find(plain)
        return None if found is None else _host(names, found, further=(plain,) if number else ())

    def host_by_address(self, address: Address) -> Host | None:
        """Return the host of an address; an IPv4 address mapped into IPv6 is the IPv4 one."""
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        names = self._names()
        found = names.find_address(mapped or address)
        return None if found is None else _host(names, found, addresses=(address,))

    def hosts(self) -> Iterator[Host]:
        """Return all hosts and nodes, computed one by one."""
        names = self._names()
        return (_host(names, named) for named in names.names())

    def ether(self, name: str) -> Ether | None:
        """Return the Ethernet address of a host."""
        names = self._names()
        found = names.find(name.lower())
        return None if found is None else _ether(found)

    def ether_by_address(self, address: bytes) -> Ether | None:
        """Return the host with an Ethernet address of six bytes."""
        found = self._names().find_mac(address.hex(":"))
        return None if found is None else _ether(found)

    def ethers(self) -> Iterator[Ether]:
        """Return all hosts whose Ethernet address is described."""
        found = (_ether(named) for named in self._names().hosts())
        return (ether for ether in found if ether is not None)

    def netgroup(self, name: str) -> Iterator[Triple] | None:
        """Return the members of a netgroup, computed one by one."""
        names = self._names()
        members = names.netgroups().get(name)
        return None if members is None else _triples(names, members)

    def netgroups(self) -> Iterator[str]:
        """Return the names of all netgroups."""
        return iter(self._names().netgroups())

    # --- what is kept back ---------------------------------------------------------------------------------------

    def kept_back(self) -> Iterator[KeptBack]:
        """Return the accounts and groups of the cluster that are not served here: each is worth a look."""
        rules, local, view = self.rules, self.local, self._accounts()
        # Whoever watches the status asks every few seconds: of 100,000 accounts only those are looked at that can be
        # meant, unless the local files hold as many (a target delivers there).
        users: Iterable[tuple[str, int]] = view.user_names()
        if local.user_count + rules.uid_floor < view.count("user"):
            people = local.meant(view.user, view.user_by_uid, rules.uid_floor)
            users = sorted((user.entry.name, user.entry.uid) for user in people)
        for name, uid in users:
            if uid < rules.uid_floor:
                yield KeptBack("user", name, uid, f"its uid is below {rules.uid_floor}, where accounts are local")
            elif local.own_user(name, uid):
                yield KeptBack("user", name, uid, f"this machine's /etc/passwd holds another {name!r} or uid {uid}")
        for group in view.groups():
            name, gid = group.entry.name, group.entry.gid
            if gid < rules.gid_floor:
                yield KeptBack("group", name, gid, f"its gid is below {rules.gid_floor}, where groups are local")
            elif local.own_group(name, gid):
                yield KeptBack("group", name, gid, f"this machine's /etc/group holds another {name!r} or gid {gid}")

    def _accounts(self) -> AccountView:
        if not self._known():
            raise Unavailable("this machine has not heard of any accounts yet")
        return self.view

    def _names(self) -> Names:
        if self.names is None:
            raise Unavailable("this machine has no description of the cluster yet")
        return self.names

    def _user(self, user: User | None) -> User | None:
        return user if user is not None and self._serves_user(user.entry) else None

    def _group(self, group: Group | None) -> Group | None:
        return group if group is not None and self._serves_group(group) else None

    def _serves_user(self, entry: UserEntry) -> bool:
        return entry.uid >= self.rules.uid_floor and not self.local.own_user(entry.name, entry.uid)

    def _serves_group(self, group: Group) -> bool:
        entry = group.entry
        return entry.gid >= self.rules.gid_floor and not self.local.own_group(entry.name, entry.gid)

    def _masters(self, names: Names) -> Host | None:
        addresses = [address for named in names.master_order(self.asker) for address in named.addresses]
        if not addresses:
            return None
        return Host(f"{MASTER}.{names.zone}", (MASTER,), tuple(dict.fromkeys(addresses)))


def _host(
    names: Names, named: Named, *, further: tuple[str, ...] = (), addresses: tuple[Address, ...] | None = None
) -> Host:
    aliases = dict.fromkeys((named.name, *named.aliases, *further))
    return Host(f"{named.name}.{names.zone}", tuple(aliases), addresses or tuple(named.addresses))


def _ether(named: Named) -> Ether | None:
    if named.mac is None:
        return None
    try:
        address = bytes.fromhex(named.mac.replace(":", "").replace("-", ""))
    except ValueError:
        return None
    return Ether(named.name, address) if len(address) == 6 else None


def _triples(names: Names, members: Iterable[str]) -> Iterator[Triple]:
    for name in members:
        yield Triple(f"{name}.{names.zone}")
        yield Triple(name)


def _shadow(user: User) -> Shadow:
    password, aging = user.password, user.aging
    # "*" is no password that any input matches (shadow(5)); an empty field would let everybody in.
    text = (password.hash if password is not None else "") or "*"
    return Shadow(
        user.entry.name,
        "!" + text if user.locked else text,
        password.changed if password is not None else None,
        aging.minimum,
        aging.maximum,
        aging.warning,
        aging.inactive,
        aging.expires,
    )
