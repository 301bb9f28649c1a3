"""Accounts as LDIF: RFC 2849 and RFC 4514 to the letter, and what the schema of RFC 2307 cannot hold."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.accounts.entries import Aging, GroupEntry, Password, UserEntry
from beonss.core.accounts.records import GroupRecord, UserRecord
from beonss.wire.ldif import (
    UnspeakableError,
    check_name,
    container_entry,
    escape_value,
    group_entry,
    group_entry_bis,
    header,
    user_entry,
)

BASE = "ou=people,dc=example,dc=org"
SAM = UserEntry("sam", 1001, 100, "Samwise Gamgee,Bag End", "/home/sam", "/bin/sh")


def parsed(data: bytes) -> list[tuple[str, bytes]]:
    """Return the attributes of one entry, unfolded and decoded; an independent reading of RFC 2849."""
    lines = data.replace(b"\n ", b"").split(b"\n")
    assert lines[-2:] == [b"", b""]
    found = []
    for line in lines[:-2]:
        name, _, value = line.partition(b":")
        found.append((name.decode(), base64.b64decode(value[2:]) if value[:1] == b":" else value[1:]))
    return found


def test_a_user():
    record = UserRecord(SAM, Password("$6$s$h", 19000), False, Aging(0, 90, 7, 5, 20000))
    assert parsed(user_entry(record, BASE)) == [
        ("dn", b"uid=sam,ou=people,dc=example,dc=org"),
        ("objectClass", b"account"),
        ("objectClass", b"posixAccount"),
        ("objectClass", b"shadowAccount"),
        ("uid", b"sam"),
        ("cn", b"Samwise Gamgee"),
        ("uidNumber", b"1001"),
        ("gidNumber", b"100"),
        ("homeDirectory", b"/home/sam"),
        ("loginShell", b"/bin/sh"),
        ("gecos", b"Samwise Gamgee,Bag End"),
        ("userPassword", b"{CRYPT}$6$s$h"),
        ("shadowLastChange", b"19000"),
        ("shadowMin", b"0"),
        ("shadowMax", b"90"),
        ("shadowWarning", b"7"),
        ("shadowInactive", b"5"),
        ("shadowExpire", b"20000"),
    ]


def test_a_locked_user_has_a_hash_that_nothing_matches():
    assert ("userPassword", b"{CRYPT}!$6$s$h") in parsed(user_entry(UserRecord(SAM, Password("$6$s$h"), True), BASE))
    assert ("userPassword", b"{CRYPT}!*") in parsed(user_entry(UserRecord(SAM, None, True), BASE))
    assert "userPassword" not in dict(parsed(user_entry(UserRecord(SAM, None, False), BASE)))


def test_a_name_that_is_not_ascii_stands_where_it_may():
    entry = UserEntry("rene", 1001, 100, "René", "", "")
    found = dict(parsed(user_entry(UserRecord(entry), BASE)))
    assert (found["cn"], found["description"]) == ("René".encode(), "René".encode())
    assert "gecos" not in found
    assert found["homeDirectory"] == b"/"
    assert "loginShell" not in found
    old = dict(parsed(user_entry(UserRecord(UserEntry("rene", 1001, 100, "Ren\udce9", "/", "")), BASE)))
    assert (old["cn"], "description" in old) == (b"rene", False)


def test_a_group_with_members():
    found = parsed(group_entry(GroupRecord(GroupEntry("élèves", 2000), ("sam", "rosie")), "ou=groups,dc=x"))
    assert found[0] == ("dn", "cn=élèves,ou=groups,dc=x".encode())
    assert found[2:] == [
        ("cn", "élèves".encode()),
        ("gidNumber", b"2000"),
        ("memberUid", b"sam"),
        ("memberUid", b"rosie"),
    ]


@pytest.mark.parametrize(
    ("record", "word"),
    [
        (UserRecord(UserEntry("é", 1001, 100, "", "/", "")), "name"),
        (UserRecord(UserEntry("e", 1001, 100, "", "/é", "")), "home"),
        (UserRecord(UserEntry("e", 1001, 100, "", "/", "é")), "shell"),
    ],
)
def test_what_the_schema_cannot_hold_is_refused(record, word):
    with pytest.raises(UnspeakableError, match=word):
        user_entry(record, BASE)


def test_groups_that_the_schema_cannot_hold_are_refused():
    with pytest.raises(UnspeakableError, match="member"):
        group_entry(GroupRecord(GroupEntry("g", 2000), ("é",)), BASE)
    with pytest.raises(UnspeakableError, match="UTF-8"):
        group_entry(GroupRecord(GroupEntry("\udce9", 2000)), BASE)


def test_groups_of_rfc2307bis_hold_names_of_entries():
    record = GroupRecord(GroupEntry("gärtner", 2000), ("sam", "a,b"))
    assert parsed(group_entry_bis(record, "ou=groups,dc=x", BASE)) == [
        ("dn", "cn=gärtner,ou=groups,dc=x".encode()),
        ("objectClass", b"groupOfNames"),
        ("objectClass", b"posixGroup"),
        ("cn", "gärtner".encode()),
        ("gidNumber", b"2000"),
        ("member", f"uid=sam,{BASE}".encode()),
        ("member", f"uid=a\\,b,{BASE}".encode()),
    ]
    empty = parsed(group_entry_bis(GroupRecord(GroupEntry("g", 2000)), "ou=groups,dc=x", BASE))
    assert ("objectClass", b"groupOfMembers") in empty
    for wrong in (GroupRecord(GroupEntry("\udce9", 2000)), GroupRecord(GroupEntry("g", 2000), ("é",))):
        with pytest.raises(UnspeakableError):
            group_entry_bis(wrong, "ou=groups,dc=x", BASE)


def test_containers():
    assert parsed(container_entry("ou=people, dc=x")) == [
        ("dn", b"ou=people, dc=x"),
        ("objectClass", b"organizationalUnit"),
        ("ou", b"people"),
    ]
    for name in ("cn=people,dc=x", "people", "ou= ,dc=x"):
        with pytest.raises(UnspeakableError):
            container_entry(name)
    assert header("a\nb") == b"# a b\n\n"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("sam", "sam"), ("a,b", r"a\,b"), (" a", r"\ a"), ("#a", r"\#a"), ("a ", "a\\ "), ('"+;<>=\\', r"\"\+\;\<\>\=\\")],
)
def test_values_in_distinguished_names(text, escaped):
    """RFC 4514 section 2.4."""
    assert escape_value(text) == escaped


@given(st.text(st.characters(exclude_characters=":\n\r\0", codec="utf-8"), max_size=200))
def test_every_value_comes_back_and_no_line_is_long(gecos):
    data = user_entry(UserRecord(UserEntry("sam", 1001, 100, gecos, "/", "")), BASE)
    assert data.isascii()
    assert max(map(len, data.split(b"\n"))) <= 76
    found = dict(parsed(data))
    if gecos:
        assert found.get("gecos", found.get("description")) == gecos.encode()


@pytest.mark.parametrize(
    "name",
    ["ou=p,dc=x", "dc=x, dc=y", r"ou=a\,b,dc=x", r"ou=\C3\A4", "cn=a+sn=b,o=c", "1.2.3=#04024869", "OU = a b ,DC=x"],
)
def test_names_that_others_may_go_under(name):
    check_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "garbage", "=x", "ou=", "ou=a,,dc=x", "ou=a,", "a b=c", "ou=a;b", "ou=a\\", "ou=#x", "ou=\udcff", "ou=a\0"],
)
def test_what_is_no_distinguished_name_is_told_before_anything_is_written(name):
    with pytest.raises(UnspeakableError, match="distinguished name"):
        check_name(name)


@given(st.text(max_size=40))
def test_any_value_that_is_escaped_makes_a_name(text):
    """And a container is named by what was meant."""
    if text.strip(" ") and "\0" not in text:
        name = f"ou={escape_value(text)},dc=x"
        try:
            check_name(name)
        except UnspeakableError:
            assert any("\ud800" <= letter <= "\udfff" for letter in text)
            return
        assert dict(parsed(container_entry(name)))["ou"].decode() == text


@given(st.text(alphabet='ou=,+;\\#"< 1a', max_size=60))
def test_any_text_is_a_name_or_refused_at_bounded_cost(text):
    with contextlib.suppress(UnspeakableError):
        check_name(text * 50)
