"""From a lookup asked over nslcd to the bytes that answer it: pure, and lazy where an answer is long."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from beonss.core.accounts.lookup import Address, Lookups, Triple
from beonss.core.accounts.view import Group
from beonss.wire import nslcd_reply as reply
from beonss.wire.nslcd import CONFIG_PASSWORD_PROHIBITED, Action, Query

#: Groups of at least so many members are kept encoded: the C library asks for a large one a dozen times over, each
#: time with a buffer of twice the size.
LARGE_GROUP = 500
_KEPT_GROUPS = 16


class Answers:
    """Answers lookups in the nslcd protocol.

    Args:
        lookups: what may be told.
        prohibited: a text for users where passwords may not be changed here; empty where they may.
    """

    def __init__(self, lookups: Lookups, prohibited: str = "") -> None:
        self.lookups = lookups
        self.prohibited = prohibited
        self._encoded: dict[str, tuple[Group, list[bytes]]] = {}

    def to(self, query: Query, uid: int) -> Iterator[bytes]:
        """Return the whole answer in pieces, made while they are taken.

        Accounts are those of this moment, whatever changes before the last piece is taken.

        Args:
            query: what was asked.
            uid: who asks; shadow entries are for 0 alone.

        Raises:
            Unavailable: not known now; raised at once, not while the pieces are taken.
        """
        return chain((reply.header(query.action),), self._results(query, uid), (reply.END,))

    def _results(self, query: Query, uid: int) -> Iterable[bytes]:
        lookups, key = self.lookups, query.key
        match query.action:
            case Action.PASSWD_BYNAME if isinstance(key, str):
                user = lookups.user(key)
                return () if user is None else (reply.encode_passwd(user.entry),)
            case Action.PASSWD_BYUID if isinstance(key, int):
                user = lookups.user_by_uid(key)
                return () if user is None else (reply.encode_passwd(user.entry),)
            case Action.PASSWD_ALL:
                return (reply.encode_passwd(user.entry) for user in lookups.users())
            case Action.GROUP_BYNAME if isinstance(key, str):
                return self._group(lookups.group(key))
            case Action.GROUP_BYGID if isinstance(key, int):
                return self._group(lookups.group_by_gid(key))
            case Action.GROUP_BYMEMBER if isinstance(key, str):
                # The module reads numbers only; members would be sent for nothing.
                groups = lookups.groups_of(key)
                return (reply.encode_group(group.entry.name, group.entry.gid) for group in groups)
            case Action.GROUP_ALL:
                return chain.from_iterable(self._group(group, listed=True) for group in lookups.groups())
            case Action.SHADOW_BYNAME if isinstance(key, str):
                shadow = lookups.shadow(key) if uid == 0 else None
                return () if shadow is None else (reply.encode_shadow(shadow),)
            case Action.SHADOW_ALL:
                return (reply.encode_shadow(shadow) for shadow in (lookups.shadows() if uid == 0 else ()))
            case Action.HOST_BYNAME if isinstance(key, str):
                host = lookups.host(key)
                return () if host is None else (reply.encode_host(host),)
            case Action.HOST_BYADDR if isinstance(key, Address):
                host = lookups.host_by_address(key)
                return () if host is None else (reply.encode_host(host),)
            case Action.HOST_ALL:
                return (reply.encode_host(host) for host in lookups.hosts())
            case Action.ETHER_BYNAME if isinstance(key, str):
                ether = lookups.ether(key)
                return () if ether is None else (reply.encode_ether(ether),)
            case Action.ETHER_BYETHER if isinstance(key, bytes):
                ether = lookups.ether_by_address(key)
                return () if ether is None else (reply.encode_ether(ether),)
            case Action.ETHER_ALL:
                return (reply.encode_ether(ether) for ether in lookups.ethers())
            case Action.NETGROUP_BYNAME if isinstance(key, str):
                triples = lookups.netgroup(key)
                return () if triples is None else _netgroup(key, triples)
            case Action.NETGROUP_ALL:
                names = list(lookups.netgroups())
                return chain.from_iterable(_netgroup(name, lookups.netgroup(name) or ()) for name in names)
            case Action.CONFIG_GET:
                return (reply.encode_option(self.prohibited),) if key == CONFIG_PASSWORD_PROHIBITED else ()
            case _:
                # Aliases, networks, protocols, rpc, services: known to be none of ours.
                return ()

    def _group(self, group: Group | None, *, listed: bool = False) -> Iterable[bytes]:
        if group is None:
            return ()
        name, gid, members = group.entry.name, group.entry.gid, group.members
        if len(members) < LARGE_GROUP:
            return (reply.encode_group(name, gid, members),)
        if listed and len(fitting := reply.fitting_members(members)) < len(members):
            return _large_group(name, gid, fitting)
        kept = self._encoded.get(group.id)
        return kept[1] if kept is not None and kept[0] is group else self._keeping(group)

    def _keeping(self, group: Group) -> Iterator[bytes]:
        pieces = []
        for piece in _large_group(group.entry.name, group.entry.gid, group.members):
            pieces.append(piece)
            yield piece
        if len(self._encoded) >= _KEPT_GROUPS:
            self._encoded.clear()
        self._encoded[group.id] = (group, pieces)


def _large_group(name: str, gid: int, members: Sequence[str]) -> Iterator[bytes]:
    """Encode a group piece by piece: one of 100,000 members costs tens of milliseconds."""
    yield reply.encode_group_head(name, gid, len(members))
    for start in range(0, len(members), LARGE_GROUP):
        yield reply.encode_members(members[start : start + LARGE_GROUP])


def _netgroup(name: str, triples: Iterable[Triple]) -> Iterator[bytes]:
    yield reply.encode_netgroup(name)
    for triple in triples:
        yield reply.encode_triple(triple)
    yield reply.NETGROUP_END
