"""passwd, group, shadow and gshadow files: read without loss, edited in place, never made to say more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.accounts.passwdfile import (
    GROUP,
    GSHADOW,
    PASSWD,
    SHADOW,
    GroupLine,
    GshadowLine,
    PasswdLine,
    ShadowLine,
    UnwritableError,
    name_problem,
    read,
)

FORMATS = (PASSWD, SHADOW, GROUP, GSHADOW)

PASSWD_FILE = (
    b"# the Fellowship\n"
    b"root:x:0:0:root:/root:/bin/sh\n"
    b"\n"
    b"frodo:x:1001:100:Frodo B\xe9utlin,,,:/home/frodo:/bin/tcsh\n"
    b"sam:x:notanumber:100::/home/sam:/bin/sh\n"
    b"gimli:x:1003:100:Gimli:/home/gimli:/bin/sh\n"
    b"+@friends::::::\n"
    b"+::::::"
)

ALICE = PasswdLine("alice", "x", 1010, 100, "", "/home/alice", "/bin/sh")

text = st.text(st.characters(blacklist_characters=":\n\0\r", blacklist_categories=["Cs"]), max_size=12)
names = st.from_regex(r"[a-z_][a-z0-9_-]{0,15}", fullmatch=True)
numbers = st.integers(0, 2**32 - 2)
days = st.none() | st.integers(0, 10**6)
members = st.lists(names, max_size=4).map(tuple)


def test_every_byte_survives_reading():
    assert read(PASSWD, PASSWD_FILE).data == PASSWD_FILE


def test_latin_1_is_kept_as_surrogates():
    entry = read(PASSWD, PASSWD_FILE).find("frodo")
    assert entry is not None
    assert entry.gecos == "Frodo B\udce9utlin,,,"
    assert PASSWD.line(entry) == b"frodo:x:1001:100:Frodo B\xe9utlin,,,:/home/frodo:/bin/tcsh\n"


def test_problems_name_their_line_and_comments_are_none():
    problems = read(PASSWD, PASSWD_FILE).problems()
    assert [(problem.line, problem.text) for problem in problems] == [
        (5, "the uid is not a number from 0 to 4294967294")
    ]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (PASSWD, b"a:b:1\n"),
        (PASSWD, b"a:x:-1:5:::\n"),
        (PASSWD, b"a:x:4294967295:5:::\n"),
        (PASSWD, b" a:x:1:5:::\n"),
        (PASSWD, "a:x:٣:5:::\n".encode()),
        (PASSWD, b"a:x:1:5:\0::\n"),
        (PASSWD, b":x:1:5:::\n"),
        (SHADOW, b"a:b\n"),
        (SHADOW, b"a:b:x::::::\n"),
        (GROUP, b"a:x:1\n"),
        (GSHADOW, b"a:x\n"),
        (GROUP, b"1234:x:1:\n"),
    ],
)
def test_a_line_that_is_no_entry_is_a_problem(kind, line):
    document = read(kind, line)
    assert len(document.problems()) == 1
    assert list(document.entries()) == []
    assert document.data == line


def test_a_new_entry_comes_before_the_nis_lines():
    edited = read(PASSWD, PASSWD_FILE).edited({"alice": ALICE})
    assert edited.lines[6] == b"alice:x:1010:100::/home/alice:/bin/sh\n"
    assert edited.lines[7:] == (b"+@friends::::::\n", b"+::::::")


def test_a_new_entry_comes_before_a_lone_nis_line():
    assert read(PASSWD, b"# nothing\n+::::::\n").edited({"alice": ALICE}).lines[1].startswith(b"alice:")


def test_a_last_line_without_newline_gets_one_before_an_addition():
    data = read(PASSWD, b"root:x:0:0::/:/bin/sh").edited({"alice": ALICE}).data
    assert data == b"root:x:0:0::/:/bin/sh\nalice:x:1010:100::/home/alice:/bin/sh\n"


def test_an_entry_is_replaced_where_it_stands_and_its_double_goes():
    document = read(GROUP, b"a:x:5:\nb:x:6:\na:x:7:\n")
    assert document.count("a") == 2
    assert document.edited({"a": GroupLine("a", "x", 8, ("u", "v"))}).data == b"a:x:8:u,v\nb:x:6:\n"


def test_an_entry_is_taken_out_and_the_rest_stays():
    expected = b"".join(line for line in PASSWD_FILE.splitlines(keepends=True) if not line.startswith(b"gimli"))
    assert read(PASSWD, PASSWD_FILE).edited({"gimli": None, "nobody-such": None}).data == expected


def test_the_names_and_the_first_entry_that_makes_sense():
    document = read(GROUP, b"a:x\na:x:7:\nb:x:y:\n")
    assert list(document.names()) == ["a", "b"]
    assert document.find("a") == GroupLine("a", "x", 7, ())
    assert document.find("b") is None
    assert [line for line, _ in document.entries()] == [2]
    assert "b" in document
    assert "\ud800" not in document


def test_a_carriage_return_does_not_end_a_line():
    data = b"a:x:1:1:g\rh:/:\nb:x:2:2:::\n"
    document = read(PASSWD, data)
    assert len(document.lines) == 2
    assert document.data == data


def test_shadow_days_minus_one_and_an_eight_field_line():
    entry = read(SHADOW, b"a:*:19000:-1:99999:7::\n").find("a")
    assert entry == ShadowLine("a", "*", 19000, None, 99999, 7)


@pytest.mark.parametrize(
    "entry",
    [
        PasswdLine("alice", "x", 1, 1, "x\nroot2::0:0::/:/bin/sh", "/", "/bin/sh"),
        PasswdLine("alice", "x", 1, 1, "a:b", "/", "/bin/sh"),
        PasswdLine("alice", "x", 1, 1, "\0", "/", "/bin/sh"),
        PasswdLine("alice", "x", 1, 1, "\ud800", "/", "/bin/sh"),
        PasswdLine("+", "x", 1, 1, "", "/", "/bin/sh"),
        PasswdLine("", "x", 1, 1, "", "/", "/bin/sh"),
    ],
)
def test_a_value_that_would_add_a_line_or_field_is_refused(entry):
    with pytest.raises(UnwritableError):
        PASSWD.line(entry)


def test_a_member_with_a_comma_is_refused():
    with pytest.raises(UnwritableError):
        GROUP.line(GroupLine("g", "x", 5, ("a,b",)))


def test_names():
    good = ("a", "frodo", "r01-n02", "machine$", "_apt", "Ünal", "a.b")
    assert [name for name in good if name_problem(name)] == []
    bad = ("", "-x", "+x", "#x", "~x", "..", "123", "a:b", "a b", "a,b", "a/b", "a\n", "é\udce9", "x" * 256)
    assert [name for name in bad if not name_problem(name)] == []


def test_no_repr_shows_a_hash():
    for value in (
        ShadowLine("a", "$6$secret"),
        PasswdLine("a", "$6$secret", 1, 1, "", "", ""),
        GroupLine("a", "$6$secret", 1, ()),
        GshadowLine("a", "$6$secret", (), ()),
    ):
        assert "secret" not in repr(value)


@given(st.sampled_from(FORMATS), st.binary(max_size=300))
def test_any_bytes_are_read_and_kept(kind, data):
    document = read(kind, data)
    document.problems()
    assert document.data == data
    for _, entry in document.entries():
        kind.line(entry) if "\r" not in repr(kind.fields(entry)).replace("\\r", "\r") else None


@given(names, numbers, numbers, text, text, text)
def test_passwd_entries_survive_a_round_trip(name, uid, gid, gecos, home, shell):
    entry = PasswdLine(name, "x", uid, gid, gecos, home, shell)
    assert read(PASSWD, PASSWD.line(entry)).find(name) == entry


@given(names, text, days, days, days, days, days, days, text)
def test_shadow_entries_survive_a_round_trip(name, secret, a, b, c, d, e, f, flag):
    entry = ShadowLine(name, secret, a, b, c, d, e, f, flag)
    assert read(SHADOW, SHADOW.line(entry)).find(name) == entry


@given(names, numbers, members, members)
def test_group_entries_survive_a_round_trip(name, gid, some, others):
    group = GroupLine(name, "x", gid, some)
    assert read(GROUP, GROUP.line(group)).find(name) == group
    secret = GshadowLine(name, "!", some, others)
    assert read(GSHADOW, GSHADOW.line(secret)).find(name) == secret


@given(st.binary(max_size=300), names)
def test_an_edit_touches_no_other_line(data, name):
    document = read(PASSWD, data)
    edited = document.edited({name: PasswdLine(name, "x", 5000, 5000, "", "/", "/bin/sh")})
    others = [line.rstrip(b"\n") for line in document.lines if line.partition(b":")[0].rstrip(b"\n") != name.encode()]
    after = [line.rstrip(b"\n") for line in edited.lines if line.partition(b":")[0] != name.encode()]
    assert others == after
    assert edited.count(name) == 1
