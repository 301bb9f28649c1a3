"""A real 389 Directory Server as a target and as a source: where it differs from OpenLDAP."""

from dataclasses import replace

import pytest
from passlib.hash import sha512_crypt
from support.ds389 import BEONSS, DirectoryServer
from support.slapd import BASE

from beonss.core.accounts.entries import Password, UserEntry
from beonss.core.targets.delivery import PermanentTargetError, UserState
from beonss.store.crypt import verify
from beonss.targets.directory import DirectorySettings, DirectorySource
from beonss.targets.ldap import LdapSettings, LdapTarget
from beonss.targets.ldapwire import ASSERTION, LdapConnection

PEOPLE = f"ou=people,{BASE}"


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    server = DirectoryServer(tmp_path_factory.mktemp("ds"))
    yield server
    server.stop()


@pytest.fixture
def make(ds, tmp_path):
    made = []

    def build(**options):
        settings = LdapSettings("directory", ds.server(), tmp_path / f"journal{len(made)}", PEOPLE)
        made.append(LdapTarget(replace(settings, **options)))
        return made[-1]

    yield build
    for target in made:
        target.close()


def user(ds, name, secret=""):
    line = f"userPassword: {secret}\n" if secret else ""
    ds.add(
        f"dn: uid={name},{PEOPLE}\nobjectClass: account\nobjectClass: posixAccount\nobjectClass: shadowAccount\n"
        f"uid: {name}\ncn: {name}\nuidNumber: 5000\ngidNumber: 100\nhomeDirectory: /home/{name}\n{line}"
    )


def hashed(password):
    return sha512_crypt.using(rounds=5000).hash(password)


def state(name, secret, *, locked=False, changed=20000):
    return UserState(
        f"id-{name}", name, UserEntry(name, 5000, 100, "", "/", "/bin/sh"), Password(secret, changed), locked
    )


def lets_in(ds, name, password):
    try:
        with LdapConnection(ds.server(), (f"uid={name},{PEOPLE}", password)):
            return True
    except PermanentTargetError:
        return False


def values(ds, name, attribute):
    with LdapConnection(ds.server("manager")) as connection:
        found = connection.search(f"uid={name},{PEOPLE}", "(objectClass=*)", [attribute])
        return found[0].attributes.get(attribute.lower(), ())


@pytest.fixture
def allowed(ds):
    """The server takes ready-made hashes from everybody who may write passwords."""
    ds.modify("cn=config", "replace: nsslapd-allow-hashed-passwords\nnsslapd-allow-hashed-passwords: on")
    yield
    ds.modify("cn=config", "replace: nsslapd-allow-hashed-passwords\nnsslapd-allow-hashed-passwords: off")


def test_a_hash_is_refused_as_delivered_and_the_text_says_what_helps(ds, make):
    user(ds, "sam")
    [outcome] = make().deliver([state("sam", hashed("first"))])
    assert outcome.verdict == "refused"
    assert "passwords with storage scheme are not allowed" in outcome.text
    assert 'mode = "exop"' in outcome.text


def test_hashes_that_are_allowed_let_in_lock_out_and_carry_their_day(ds, make, allowed):
    """It has no assertion control (RFC 4528): a value is replaced by naming it, which suffices."""
    user(ds, "rosie")
    target = make()
    second = hashed("second")
    for secret, word in ((hashed("first"), b"first"), (second, b"second")):
        assert target.deliver([state("rosie", secret)])[0].verdict == "delivered"
        assert lets_in(ds, "rosie", word)
    assert not lets_in(ds, "rosie", b"first")
    assert target.deliver([state("rosie", second, locked=True)])[0].verdict == "delivered"
    assert not lets_in(ds, "rosie", b"second")
    assert target.deliver([state("rosie", second)])[0].verdict == "delivered"
    assert target.deliver([state("rosie", second, changed=0)])[0].verdict == "delivered"
    assert values(ds, "rosie", "shadowLastChange") == (b"0",)
    with LdapConnection(ds.server()) as connection:
        assert not connection.supports(ASSERTION)
    # Theirs is left.
    user(ds, "theirs", "their-own-password")
    assert target.deliver([state("theirs", hashed("ours"))])[0].verdict == "conflict"
    assert lets_in(ds, "theirs", b"their-own-password")


def test_a_password_administrator_may_without_and_a_policy_that_wants_another_one_is_told(ds, make):
    user(ds, "frodo")
    ds.modify("cn=config", f"replace: passwordAdminDN\npasswordAdminDN: {BEONSS}")
    try:
        target = make()
        assert target.deliver([state("frodo", hashed("first"))])[0].verdict == "delivered"
        assert lets_in(ds, "frodo", b"first")
        ds.modify("cn=config", "replace: passwordMustChange\npasswordMustChange: on")
        [outcome] = target.deliver([state("frodo", hashed("second"))])
        assert outcome.verdict == "delivered"
        assert "has to choose another password there" in outcome.text
    finally:
        ds.modify("cn=config", "replace: passwordMustChange\npasswordMustChange: off")
        ds.modify("cn=config", "delete: passwordAdminDN")


@pytest.mark.parametrize("mode", ["exop", "refuse"])
def test_the_users_own_change_wants_a_safe_connection_and_obeys_the_policy(ds, make, mode):
    name = f"own-{mode}"
    user(ds, name, "old-password-1")
    now = state(name, hashed("New-passw0rd-1"))
    clear = make(mode=mode, server=ds.server(uris=(ds.uri,), starttls=False))
    outcome = clear.change_as_user(now, b"old-password-1", b"New-passw0rd-1")
    assert (outcome.verdict, "requires a secure connection" in outcome.text) == ("refused", True)
    target = make(mode=mode)
    ds.modify("cn=config", "replace: passwordCheckSyntax\npasswordCheckSyntax: on")
    try:
        outcome = target.change_as_user(now, b"old-password-1", b"short")
        assert (outcome.verdict, "constraintViolation" in outcome.text) == ("refused", True)
        assert target.change_as_user(now, b"not this one", b"New-passw0rd-1").verdict == "refused"
        assert target.change_as_user(now, b"old-password-1", b"New-passw0rd-1").verdict == "delivered"
    finally:
        ds.modify("cn=config", "replace: passwordCheckSyntax\npasswordCheckSyntax: off")
    assert lets_in(ds, name, b"New-passw0rd-1")


def test_as_a_source_with_pages_changes_and_hashes_of_its_own(ds, tmp_path):
    """Its schema for groups is that of rfc2307bis; its PBKDF2 hashes verify here."""
    user(ds, "merry", "oliphaunt-rhyme")
    ds.add(
        f"dn: cn=hobbits,ou=groups,{BASE}\nobjectClass: posixGroup\nobjectClass: groupOfNames\ncn: hobbits\n"
        f"gidNumber: 2100\nmember: uid=merry,{PEOPLE}\n"
    )
    settings = DirectorySettings(
        "people", ds.server("manager"), tmp_path / "none", PEOPLE, f"ou=groups,{BASE}", "(uid=merry)",
        schema="rfc2307bis", page=1,
    )  # fmt: skip
    source = DirectorySource(settings)
    reading = source.read(full=True)
    [merry] = reading.users
    assert merry.password.hash.startswith("{PBKDF2-SHA512}")
    assert verify(b"oliphaunt-rhyme", merry.password.hash)
    assert not verify(b"other", merry.password.hash)
    assert [(group.entry.name, group.members) for group in reading.groups] == [("hobbits", ("merry",))]
    ds.modify(f"uid=merry,{PEOPLE}", "replace: loginShell\nloginShell: /bin/ksh")
    changed = source.read(full=False)
    assert not changed.full
    assert [one.entry.shell for one in changed.users] == ["/bin/ksh"]
