"""A directory's entries as records: whatever a server sends becomes a record or a problem, never an error."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.accounts.entries import Aging, Password
from beonss.core.names.description import DescriptionError
from beonss.targets.directory import DirectorySettings, DirectorySource, normalized
from beonss.targets.ldapservers import LdapServer
from beonss.targets.ldapwire import Found
from beonss.targets.settings import parse, parse_sources

ROOT = Path(__file__).resolve().parents[2]
HASH = "$6$abcdefgh$" + "a" * 86
NAMES = ("uid", "uidnumber", "gidnumber", "cn", "gecos", "homedirectory", "loginshell", "userpassword")
NAMES += ("shadowmin", "shadowmax", "shadowexpire", "memberuid", "member", "uniquemember", "modifytimestamp")

values = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"1000", b"2000", b"0", b"-1", b"sam", b"99999999999", b"20260101000000Z", b"uid=sam,dc=x"]),
    st.sampled_from([b"{CRYPT}" + HASH.encode(), b"{CRYPT}!" + HASH.encode(), b"{SSHA}x", b"{", b"{CRYPT}"]),
)
entries = st.lists(
    st.builds(
        lambda dn, attributes: Found(dn, {name: tuple(found) for name, found in attributes.items()}),
        st.sampled_from(["uid=sam,dc=x", "cn=g,dc=x", "", "=", ","]) | st.text(max_size=10),
        st.dictionaries(st.sampled_from(NAMES), st.lists(values, max_size=3)),
    ),
    max_size=6,
)


class FakeConnection:
    """Answers every question with the same entries."""

    answers = ((), ())

    def __init__(self, _server, order=None):
        self.left = list(self.answers)
        self.asked = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def pages(self, _base, text, _attributes, _size):
        self.asked.append(text)
        return iter(self.left.pop(0))


def source(monkeypatch, users, groups, **options):
    monkeypatch.setattr("beonss.targets.directory.LdapConnection", FakeConnection)
    FakeConnection.answers = (users, groups)
    server = LdapServer(("ldapi:///",))
    return DirectorySource(DirectorySettings("people", server, Path("/nowhere"), "dc=x", "dc=x", **options))


def person(name, uid="2001", **more):
    attributes = {
        "uid": name,
        "uidNumber": uid,
        "gidNumber": "100",
        "cn": name,
        "homeDirectory": f"/home/{name}",
        **more,
    }
    return Found(f"uid={name},dc=x", {key.lower(): (value.encode(),) for key, value in attributes.items()})


@given(entries, entries, st.sampled_from(["rfc2307", "rfc2307bis"]))
def test_any_entries_become_records_or_problems(users, groups, schema):
    with pytest.MonkeyPatch.context() as patch:
        reading = source(patch, users, groups, schema=schema).read(full=True)
    assert len(reading.users) <= len(users)
    assert all(record.entry.uid >= 1000 for record in reading.users)
    assert "$6$" not in repr(reading.users) + " ".join(reading.problems)


def test_words_of_rfc_2307(monkeypatch):
    record = (
        source(
            monkeypatch,
            [person("sam", userPassword="{crypt}" + HASH, shadowLastChange="19000", shadowMax="-1", shadowMin="1")],
            [],
        )
        .read(full=True)
        .users[0]
    )
    assert record.password == Password(HASH, 19000)
    assert record.aging == Aging(minimum=1)
    assert record.locked is False
    locked = source(monkeypatch, [person("sam", userPassword="{CRYPT}!" + HASH)], []).read(full=True).users[0]
    assert (locked.password.hash, locked.locked) == (HASH, True)
    hidden = source(monkeypatch, [person("sam", userPassword="{SASL}sam@X")], []).read(full=True).users[0]
    assert (hidden.password, hidden.locked) == (None, None)
    none = source(monkeypatch, [person("sam", userPassword="{CRYPT}" + HASH)], [], passwords=False).read(full=True)
    assert none.users[0].password is None


def test_the_second_reading_asks_for_what_changed_since(monkeypatch):
    made = source(monkeypatch, [person("sam", modifyTimestamp="20260102030405Z")], [])
    assert made.read(full=False).full
    assert not made.read(full=False).full
    assert made._filter("(a=b)", False) == "(&(a=b)(modifyTimestamp>=20260102030405Z))"


def test_two_spellings_of_a_name_are_one():
    assert normalized("CN=Sam Gamgee, OU=People,dc=x") == normalized("cn=sam gamgee,ou = people,DC=X")
    assert normalized("cn=a\\,b,dc=x") == normalized("cn=a\\2cb,dc=x")


def test_the_manuals_example_is_taken():
    page = (ROOT / "docs/man/beonss.8").read_text().replace("\\-", "-")
    example = next(block for block in re.findall(r"\.nf\n(.*?)\.fi", page, re.DOTALL) if "[[source]]" in block)
    (one,) = parse_sources(example.encode(), "beonss.8", Path("/j"), uid_floor=500)
    assert (one.name, one.uid_floor, one.missing, one.schema) == ("people", 500, "report", "rfc2307")
    assert parse(example.encode(), "beonss.8", Path("/j")) == ()


def test_mistakes_of_a_source_have_their_lines():
    data = b"""
[[target]]
name = "local"
type = "files"
[[source]]
name = "local"
type = "ldap"
uris = ["ldaps://a"]
users = "dc=x"
bind_dn = "cn=x"
schema = "nis"
[[source]]
name = "Two"
type = "ldap"
uris = ["ldap://a"]
starttls = false
users = "dc=x"
user_filter = "uid=*"
"""
    with pytest.raises(DescriptionError) as caught:
        parse_sources(data, "t", Path("/j"))
    told = {(problem.line, problem.option.rpartition(".")[2]) for problem in caught.value.problems}
    assert {line for line, _ in told} >= {11, 18}
    for text in (b"source = 3\n", b'[[source]]\nname = "a"\ntype = "files"\n', b"source = [1]\n"):
        with pytest.raises(DescriptionError):
            parse_sources(text, "t", Path("/j"))
    double = data.replace(b'schema = "nis"\n', b'password_file = "/x"\n').replace(b"Two", b"two")
    with pytest.raises(DescriptionError) as caught:
        parse_sources(double.replace(b'"uid=*"', b'"(uid=*)"'), "t", Path("/j"))
    texts = " ".join(problem.text for problem in caught.value.problems)
    assert "name of another" in texts
    assert "passwords in clear" in texts
