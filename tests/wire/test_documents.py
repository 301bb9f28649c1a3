"""Signed lists, acceptances, tokens: believed only when signed for what they are."""

import base64
import contextlib
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import Acceptance, Member, MemberList, Roster, cluster_id, founded, invited
from beonss.errors import ConfigurationError, MalformedError
from beonss.wire.documents import (
    MAXIMUM_DOCUMENT,
    TOKEN_PREFIX,
    Token,
    accept,
    acceptance_from_plain,
    acceptance_to_plain,
    empty_roster,
    invite_key,
    is_signed,
    public_bytes,
    read_members,
    read_public,
    read_roster,
    read_token,
    sign,
    verified,
    with_documents,
    write_members,
    write_public,
    write_roster,
    write_token,
)
from beonss.wire.packing import pack, unpack

CLUSTER = Ed25519PrivateKey.from_private_bytes(b"c" * 32)
PUBLIC = public_bytes(CLUSTER)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
FRODO = public_bytes(Ed25519PrivateKey.from_private_bytes(b"f" * 32))
GAMGEE = public_bytes(Ed25519PrivateKey.from_private_bytes(b"g" * 32))
SECRET = b"s" * 16


def first() -> Roster:
    members = founded(PUBLIC, Member("frodo", FRODO, (Endpoint("10.5.0.1", 7653),)))
    return Roster(PUBLIC, members, write_members(members, CLUSTER))


def open_invitation() -> tuple[Roster, Token]:
    members = invited(first(), "gamgee", [Endpoint("10.5.0.2", 7653)], public_bytes(invite_key(SECRET)), 1000)
    token = Token(PUBLIC, "gamgee", members.number, 1000, SECRET, (Endpoint("10.5.0.1", 7653),))
    return Roster(PUBLIC, members, write_members(members, CLUSTER)), token


def test_a_list_is_read_as_signed() -> None:
    roster, _ = open_invitation()
    assert read_members(roster.document, PUBLIC) == roster.list


def test_every_changed_byte_of_a_list_is_noticed() -> None:
    document = first().document
    for position in range(len(document)):
        changed = bytearray(document)
        changed[position] ^= 1
        with pytest.raises(MalformedError):
            read_members(bytes(changed), PUBLIC)


def test_a_list_of_another_key_or_cluster_is_not_believed() -> None:
    members = first().list
    with pytest.raises(MalformedError, match="not signed"):
        read_members(write_members(members, OTHER), PUBLIC)
    foreign = replace(members, cluster=cluster_id(public_bytes(OTHER)))
    with pytest.raises(MalformedError, match="another cluster"):
        read_members(write_members(foreign, CLUSTER), PUBLIC)


def test_a_signature_holds_for_one_kind_of_document_only() -> None:
    """Otherwise a master's signature under a batch could be shown as one under something else."""
    signature = sign(CLUSTER, "batch", b"payload")
    assert verified(PUBLIC, "batch", b"payload", signature)
    assert not verified(PUBLIC, "description", b"payload", signature)
    assert not verified(PUBLIC, "members", b"payload", signature)
    assert not verified(b"short", "batch", b"payload", signature)


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_signed_garbage_is_malformed(payload: bytes) -> None:
    """Even what the cluster key signed is read strictly: it may come from another version."""
    with pytest.raises(MalformedError):
        read_members(pack([payload, sign(CLUSTER, "members", payload)]), PUBLIC)


@settings(max_examples=200)
@given(st.binary(max_size=300), st.text(max_size=100))
def test_arbitrary_documents_and_texts_are_malformed(data: bytes, text: str) -> None:
    for read in (lambda: read_members(data, PUBLIC), lambda: read_token(text), lambda: read_public(text, "f")):
        with pytest.raises(MalformedError):
            read()
    with contextlib.suppress(MalformedError):
        read_roster(data, PUBLIC)
    with contextlib.suppress(MalformedError):
        acceptance_from_plain(unpack(data))


def test_an_acceptance_is_checked_offline_and_bound_to_its_invitation() -> None:
    roster, token = open_invitation()
    acceptance = accept(token, GAMGEE)
    assert is_signed(acceptance, roster.list)
    assert acceptance_from_plain(acceptance_to_plain(acceptance)) == acceptance
    for wrong in (
        replace(acceptance, key=FRODO),
        replace(acceptance, invited=7),
        replace(acceptance, cluster="0" * 32),
        replace(acceptance, name="frodo"),
        accept(replace(token, secret=b"t" * 16), GAMGEE),
    ):
        assert not is_signed(wrong, roster.list)


def test_documents_of_another_machine_are_merged_or_refused_whole() -> None:
    roster, token = open_invitation()
    acceptance = accept(token, GAMGEE)
    merged, alarms = with_documents(first(), roster.document, [acceptance])
    assert merged.name_of(GAMGEE) == "gamgee"
    assert alarms == []
    forged = accept(replace(token, secret=b"t" * 16), GAMGEE)
    with pytest.raises(MalformedError):
        with_documents(first(), roster.document, [forged])
    # An acceptance that belongs to no open invitation here is left out: the other's list may be older.
    assert with_documents(first(), b"", [forged])[0].name_of(GAMGEE) is None


def test_a_roster_survives_its_file() -> None:
    roster, token = open_invitation()
    roster, _ = with_documents(roster, b"", [accept(token, GAMGEE)])
    assert read_roster(write_roster(roster), PUBLIC) == roster
    assert read_roster(write_roster(empty_roster(PUBLIC)), PUBLIC) == empty_roster(PUBLIC)


def test_a_token_is_read_as_written_and_hides_its_secret() -> None:
    _, token = open_invitation()
    text = write_token(token)
    assert text.split() == [text]
    assert read_token(f"  {text}\n") == token
    assert SECRET.decode() not in repr(token)


@given(st.integers(0, 400), st.integers(0, 63))
def test_a_token_with_a_wrong_letter_is_refused(position: int, shift: int) -> None:
    _, token = open_invitation()
    text = write_token(token)
    position %= len(text)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = text[:position] + alphabet[shift] + text[position + 1 :]
    if changed == text:
        assert read_token(changed) == token
        return
    with pytest.raises(MalformedError) as malformed:
        read_token(changed)
    assert text[10:30] not in str(malformed.value)


def test_the_public_key_is_one_line() -> None:
    text = write_public(PUBLIC, "The\nFellowship")
    assert text.count("\n") == 1
    assert read_public(text, "cluster.pub") == PUBLIC


def test_a_list_that_names_a_member_twice_is_malformed() -> None:
    member = Member("frodo", FRODO, ())
    twice = MemberList(cluster_id(PUBLIC), 1, (member, member))
    with pytest.raises(MalformedError):
        read_members(write_members(twice, CLUSTER), PUBLIC)


def test_an_acceptance_with_wrong_lengths_is_malformed() -> None:
    _, token = open_invitation()
    good = acceptance_to_plain(accept(token, GAMGEE))
    for index, value in ((0, "x"), (1, ""), (2, -1), (3, b"short"), (4, b"short")):
        wrong = [*good]
        wrong[index] = value
        with pytest.raises(MalformedError):
            acceptance_from_plain(wrong)
    assert isinstance(acceptance_from_plain(good), Acceptance)


def good_entry() -> dict[str, Any]:
    return {"name": "frodo", "key": FRODO, "at": [["10.5.0.1", 7653]], "invite": b"", "invited": 0, "expires": 0}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("members", 5),
        ("members", [5]),
        ("members", [{**good_entry(), "key": b"short"}]),
        ("members", [{**good_entry(), "invite": b"short"}]),
        ("members", [{**good_entry(), "at": [["10.5.0.1"]]}]),
        ("members", [{**good_entry(), "at": [["10.5.0.1", 70000]]}]),
        ("members", [{**good_entry(), "at": [["", 1]]}]),
        ("members", [{**good_entry(), "name": "x" * 64}]),
        ("former", [b"short"]),
        ("former", ["text"]),
        ("number", -1),
        ("number", True),
        ("cluster", b"bytes"),
    ],
)
def test_a_signed_list_with_a_wrong_field_is_malformed(field: str, value: Any) -> None:
    fields = {"cluster": cluster_id(PUBLIC), "number": 1, "members": [good_entry()], "former": [], field: value}
    payload = pack(fields)
    with pytest.raises(MalformedError):
        read_members(pack([payload, sign(CLUSTER, "members", payload)]), PUBLIC)


def test_a_list_too_long_is_neither_written_nor_read() -> None:
    many = tuple(Member(f"m{n}", FRODO, tuple(Endpoint("x" * 250, port) for port in range(16))) for n in range(100))
    with pytest.raises(ConfigurationError, match="bytes"):
        write_members(MemberList(cluster_id(PUBLIC), 1, many), CLUSTER)
    with pytest.raises(MalformedError, match="too long"):
        read_members(b"x" * (MAXIMUM_DOCUMENT + 1), PUBLIC)


@pytest.mark.parametrize("items", [[], [1, 2, 3, 4, 5, 6], [PUBLIC, "n", 1, 1, b"short", []], "text"])
def test_a_token_of_another_shape_is_of_another_version(items: Any) -> None:
    payload = pack(items)
    checked = payload + hashlib.sha256(payload).digest()[:4]
    with pytest.raises(MalformedError, match="another version"):
        read_token(TOKEN_PREFIX + base64.urlsafe_b64encode(checked).decode().rstrip("="))


def test_a_roster_of_another_shape_is_malformed() -> None:
    for items in (5, [b""], [b"", 5], ["", []]):
        with pytest.raises(MalformedError):
            read_roster(pack(items), PUBLIC)


def test_an_acceptance_of_one_that_is_no_longer_invited_is_not_signed() -> None:
    _, token = open_invitation()
    assert not is_signed(accept(token, GAMGEE), first().list)
