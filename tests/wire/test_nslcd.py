"""Reading nslcd requests: all actions, in any pieces, and nothing but MalformedError for the rest."""

import contextlib
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.errors import MalformedError
from beonss.wire.nslcd import (
    MAXIMUM_CHANGES,
    MAXIMUM_REQUEST,
    MAXIMUM_STRING,
    Action,
    Authenticate,
    Authorise,
    ChangePassword,
    ChangeUser,
    CloseSession,
    OpenSession,
    PamContext,
    Query,
    RequestReader,
    action_of,
)


def i(*numbers):
    return b"".join(struct.pack(">I", number) for number in numbers)


def s(*texts):
    return b"".join(i(len(raw)) + raw for raw in (t.encode() if isinstance(t, str) else t for t in texts))


CONTEXT = s("alice", "login", "root", "r01n07", "tty1")
PAM = PamContext("alice", "login", "root", "r01n07", "tty1")

#: bytes after the version, and what they mean; the bytes were checked against what the stock modules send (tests/real).
REQUESTS = [
    (i(0x00010001, 1), Query(Action.CONFIG_GET, 1)),
    (i(0x00020001) + s("postmaster"), Query(Action.ALIAS_BYNAME, "postmaster")),
    (i(0x00020008), Query(Action.ALIAS_ALL)),
    (i(0x00030001) + s("switch"), Query(Action.ETHER_BYNAME, "switch")),
    (i(0x00030002) + bytes(range(6)), Query(Action.ETHER_BYETHER, bytes(range(6)))),
    (i(0x00030008), Query(Action.ETHER_ALL)),
    (i(0x00040001) + s("users"), Query(Action.GROUP_BYNAME, "users")),
    (i(0x00040002, 2**32 - 2), Query(Action.GROUP_BYGID, 2**32 - 2)),
    (i(0x00040006) + s("alice"), Query(Action.GROUP_BYMEMBER, "alice")),
    (i(0x00040008), Query(Action.GROUP_ALL)),
    (i(0x00050001) + s("r01n07"), Query(Action.HOST_BYNAME, "r01n07")),
    (i(0x00050002, 2, 4) + bytes([10, 5, 1, 7]), Query(Action.HOST_BYADDR, IPv4Address("10.5.1.7"))),
    (i(0x00050002, 10, 16) + IPv6Address("fd00::1").packed, Query(Action.HOST_BYADDR, IPv6Address("fd00::1"))),
    (i(0x00050008), Query(Action.HOST_ALL)),
    (i(0x00060001) + s("cluster"), Query(Action.NETGROUP_BYNAME, "cluster")),
    (i(0x00060008), Query(Action.NETGROUP_ALL)),
    (i(0x00070001) + s("loopback"), Query(Action.NETWORK_BYNAME, "loopback")),
    (i(0x00070002, 2, 4) + bytes(4), Query(Action.NETWORK_BYADDR, IPv4Address("0.0.0.0"))),
    (i(0x00070008), Query(Action.NETWORK_ALL)),
    (i(0x00080001) + s("alice"), Query(Action.PASSWD_BYNAME, "alice")),
    (i(0x00080001) + s(b"al\xefce"), Query(Action.PASSWD_BYNAME, "al\udcefce")),
    (i(0x00080002, 5001), Query(Action.PASSWD_BYUID, 5001)),
    (i(0x00080008), Query(Action.PASSWD_ALL)),
    (i(0x00090001) + s("tcp"), Query(Action.PROTOCOL_BYNAME, "tcp")),
    (i(0x00090002, 6), Query(Action.PROTOCOL_BYNUMBER, 6)),
    (i(0x00090008), Query(Action.PROTOCOL_ALL)),
    (i(0x000A0001) + s("nfs"), Query(Action.RPC_BYNAME, "nfs")),
    (i(0x000A0002, 100003), Query(Action.RPC_BYNUMBER, 100003)),
    (i(0x000A0008), Query(Action.RPC_ALL)),
    (i(0x000B0001) + s("ssh", "tcp"), Query(Action.SERVICE_BYNAME, "ssh", "tcp")),
    (i(0x000B0002, 22) + s(""), Query(Action.SERVICE_BYNUMBER, 22)),
    (i(0x000B0008), Query(Action.SERVICE_ALL)),
    (i(0x000C0001) + s("alice"), Query(Action.SHADOW_BYNAME, "alice")),
    (i(0x000C0008), Query(Action.SHADOW_ALL)),
    (i(0x000D0001) + CONTEXT + s("secret"), Authenticate(PAM, "secret")),
    (i(0x000D0002) + CONTEXT, Authorise(PAM)),
    (i(0x000D0003) + CONTEXT, OpenSession(PAM)),
    (i(0x000D0004) + CONTEXT + s("id"), CloseSession(PAM, "id")),
    (i(0x000D0005) + CONTEXT + i(0) + s("old", "new"), ChangePassword(PAM, False, "old", "new")),
    (i(0x000D0005) + CONTEXT + i(1) + s("", "new"), ChangePassword(PAM, True, "", "new")),
    (
        i(0x000E0001) + s("alice") + i(0) + s("pw") + i(8) + s("/bin/sh") + i(0),
        ChangeUser("alice", False, "pw", ((8, "/bin/sh"),)),
    ),
]
IDS = [Action(int.from_bytes(raw[:4], "big")).name for raw, _ in REQUESTS]


def read(data, size):
    reader, result = RequestReader(), None
    for start in range(0, len(data), size):
        assert result is None
        result = reader.feed(data[start : start + size])
    return result


@pytest.mark.parametrize(("raw", "wanted"), REQUESTS, ids=IDS)
@pytest.mark.parametrize("size", [1, 3, 32, 4096])
def test_every_request_is_read_in_pieces_of_any_size(raw, wanted, size):
    assert read(i(2) + raw, size) == wanted
    assert action_of(wanted) == int.from_bytes(raw[:4], "big")


def test_every_action_is_covered():
    assert {int.from_bytes(raw[:4], "big") for raw, _ in REQUESTS} == {int(action) for action in Action}


@pytest.mark.parametrize(("raw", "wanted"), REQUESTS, ids=IDS)
def test_a_cut_request_is_waited_for_and_a_longer_one_refused(raw, wanted):
    assert read((i(2) + raw)[:-1], 4096) is None
    with pytest.raises(MalformedError, match="after its end"):
        read(i(2) + raw + b"\0", 4096)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (i(1, 0x00080008), "version 1"),
        (i(2, 0x00080007), "0x00080007"),
        (i(2, 0x00080001, MAXIMUM_STRING + 1), "a string of 4097 bytes"),
        (i(2, 0x00080001, 2**32 - 1), "a string of 4294967295 bytes"),
        (i(2, 0x00080001) + s(b"a\0b"), "NUL"),
        (i(2, 0x00050002, 1, 4), "family 1"),
        (i(2, 0x00050002, 2, 16), "16 bytes"),
        (i(2, 0x000E0001) + s("a") + i(0) + s("p") + (i(8) + s("x")) * (MAXIMUM_CHANGES + 1), "changes"),
    ],
)
def test_what_is_wrong_is_said(data, text):
    with pytest.raises(MalformedError, match=text):
        read(data, 4096)


def test_a_reader_that_refused_once_refuses_for_good():
    reader = RequestReader()
    with pytest.raises(MalformedError):
        reader.feed(i(9))
    with pytest.raises(MalformedError):
        reader.feed(i(2, 0x00080008))


def test_a_finished_reader_takes_no_more():
    reader = RequestReader()
    assert reader.feed(i(2, 0x00080008)) is not None
    with pytest.raises(MalformedError):
        reader.feed(b"x")


def test_an_endless_request_is_cut():
    reader = RequestReader()
    with pytest.raises(MalformedError, match="longer than"):
        reader.feed(bytes(MAXIMUM_REQUEST + 1))


@pytest.mark.parametrize("request_", [wanted for _, wanted in REQUESTS[-7:]])
def test_no_password_shows_in_a_repr(request_):
    for secret in ("secret", "old", "new", "pw"):
        assert f"'{secret}'" not in repr(request_)


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_arbitrary_input_parses_or_is_malformed(pieces):
    reader = RequestReader()
    try:
        for piece in pieces:
            reader.feed(piece)
    except MalformedError:
        pass


@given(
    st.sampled_from([raw for raw, _ in REQUESTS]),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
)
def test_damaged_requests_parse_or_are_malformed(raw, damage):
    data = bytearray(i(2) + raw)
    for position, value in damage:
        data[position % len(data)] = value
    with contextlib.suppress(MalformedError):
        RequestReader().feed(bytes(data))
