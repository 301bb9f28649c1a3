"""Registers made by hand, and strategies that make them."""

from hypothesis import strategies as st

from beonss.core.accounts.entries import (
    AGING,
    ENTRY,
    GONE,
    LOCK,
    PASSWORD,
    PRESENT,
    RENEWAL,
    Aging,
    Gone,
    GroupEntry,
    Kind,
    Lock,
    Member,
    Password,
    Presence,
    Renewal,
    UserEntry,
    Value,
    encode,
    member_field,
)
from beonss.core.replication.registers import Key, Register, Stamp

A, B, C = ("a" * 32, "b" * 32, "c" * 32)


def row(
    identifier: str,
    field: str,
    value: Value | bytes,
    time: int = 1,
    origin: str = A,
    sequence: int = 1,
    context: dict[str, int] | None = None,
) -> Register:
    data = value if isinstance(value, bytes) else encode(value)
    return Register(Key(identifier, field), data, Stamp(time, origin, sequence), "root@test", context or {})


def user_rows(
    name: str, uid: int, created: int = 1, *, time: int = 1, origin: str = A, first: int = 1, generation: int = 0
) -> list[Register]:
    """The rows of a new user."""
    presence = Presence("user", name, uid, generation, created, present=True)
    entry = UserEntry(name, uid, 100, "", f"/home/{name}", "/bin/sh")
    return [
        row(presence.object, ENTRY, entry, time, origin, first),
        row(presence.object, PRESENT, presence, time, origin, first + 1),
    ]


def group_rows(name: str, gid: int, created: int = 1, *, origin: str = A, first: int = 1) -> list[Register]:
    """The rows of a new group."""
    presence = Presence("group", name, gid, 0, created, present=True)
    return [
        row(presence.object, ENTRY, GroupEntry(name, gid), 1, origin, first),
        row(presence.object, PRESENT, presence, 1, origin, first + 1),
    ]


stamps = st.builds(Stamp, st.integers(0, 6), st.sampled_from([A, B, C]), st.integers(1, 6))
contexts = st.dictionaries(st.sampled_from([A, B, C]), st.integers(0, 6), max_size=3)


def _presence(kind: Kind, name: str, number: int, generation: int, created: int, present: bool) -> Presence:
    return Presence(kind, name, number, generation, created, present)


_user_ids = [Presence("user", name, uid, 0, 0, present=True).object for name in ("u", "v") for uid in (1, 2)]
_group_ids = [Presence("group", name, gid, 0, 0, present=True).object for name in ("g", "h") for gid in (1, 2)]
_names = st.sampled_from(["u", "v", "g", "h", "bad:name"])
_numbers = st.sampled_from([1, 2, 0])
_texts = st.sampled_from(["", "x", "a:b"])


@st.composite
def account_rows(draw: st.DrawFn) -> Register:
    """Any row of a few users and groups that fight for a few names and numbers; some of them damaged."""
    shapes = ["user", "group", "entry", "member", "password", "lock", "aging", "gone", "renewal", "odd"]
    shape = draw(st.sampled_from(shapes))
    identifier = draw(st.sampled_from(_user_ids + _group_ids))
    value: Value | bytes
    if shape in {"user", "group"}:
        value = _presence(
            "user" if shape == "user" else "group",
            draw(st.sampled_from(["u", "v"] if shape == "user" else ["g", "h"])),
            draw(st.sampled_from([1, 2])),
            0,
            draw(st.integers(0, 3)),
            draw(st.sampled_from([True, True, True, False])),
        )
        identifier, field = value.object, PRESENT
    elif shape == "entry":
        field = ENTRY
        user = UserEntry(draw(_names), draw(_numbers), 1, draw(_texts), "/", "/bin/sh")
        value = draw(st.sampled_from([user, user, GroupEntry(draw(_names), draw(_numbers))]))
    elif shape == "member":
        identifier = draw(st.sampled_from(_group_ids))
        field, value = member_field(draw(st.sampled_from(_user_ids))), Member(draw(st.booleans()))
    elif shape == "password":
        field, value = PASSWORD, Password(draw(st.sampled_from(["$6$a", "$6$b", "a:b"])), 1)
    elif shape == "lock":
        field, value = LOCK, Lock(draw(st.booleans()))
    elif shape == "aging":
        field, value = AGING, Aging(maximum=draw(st.integers(1, 2)))
    elif shape == "renewal":
        of = draw(stamps)
        field, value = RENEWAL, Renewal(draw(st.sampled_from([of.time, None])), of.origin, of.sequence)
    elif shape == "gone":
        field, value = GONE, Gone()
    else:
        field = draw(st.sampled_from([PRESENT, ENTRY, LOCK, AGING, PASSWORD, RENEWAL, "future", member_field("x")]))
        value = draw(st.sampled_from([b"", b"{}", b"[]", b'{"locked":1}', b"\xff"]))
    stamp = draw(stamps)
    return row(identifier, field, value, stamp.time, stamp.origin, stamp.sequence)
