"""Directories with rules of their own: password policies, read-only copies, several masters that write to one."""

import subprocess

import pytest
from passlib.hash import sha512_crypt
from support.slapd import BASE, PPOLICY, Slapd

from beonss.core.accounts.entries import Password, UserEntry
from beonss.core.targets.delivery import UserState
from beonss.targets.ldap import LdapSettings, LdapTarget
from beonss.targets.ldapwire import REPLACE, LdapConnection

PEOPLE = f"ou=people,{BASE}"


@pytest.fixture(scope="module")
def policed(tmp_path_factory):
    """Return a slapd with the overlay ppolicy: hashes are refused, passwords set by others must be changed."""
    server = Slapd(tmp_path_factory.mktemp("policed"), "moduleload ppolicy", PPOLICY)
    server.add(
        f"dn: cn=policy,{BASE}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: policy\n"
        "pwdAttribute: userPassword\npwdMustChange: TRUE\npwdLockout: TRUE\npwdMaxFailure: 10\npwdMinLength: 6\n"
    )
    yield server
    server.stop()


@pytest.fixture
def service(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mellon\n")
    secret.chmod(0o600)
    return {"starttls": False, "bind_dn": f"cn=beonss,{BASE}", "password_file": secret}


@pytest.fixture
def make(policed, service, tmp_path):
    made = []

    def build(server=None, journal="journal", **options):
        where = (server or policed).server(uris=((server or policed).plain,), **service)
        target = LdapTarget(LdapSettings("directory", where, tmp_path / journal, PEOPLE, **options))
        made.append(target)
        return target

    yield build
    for target in made:
        target.close()


names = iter(f"user{number}" for number in range(1000))


@pytest.fixture
def name(policed):
    made = next(names)
    policed.user(made)
    return made


def hashed(word):
    return sha512_crypt.using(rounds=5000).hash(word)


def state(name, secret, *, changed=20000):
    entry = UserEntry(name, 5000, 100, "", "/", "/bin/sh")
    return UserState(f"id-{name}", name, entry, Password(secret, changed))


def quality(server, level):
    with LdapConnection(server.server()) as connection:
        connection.modify(f"cn=policy,{BASE}", {"pwdCheckQuality": [(REPLACE, [str(level)])]})


def lock(server, name, value):
    with LdapConnection(server.server()) as connection:
        values = [] if value is None else [value]
        connection.modify(f"uid={name},{PEOPLE}", {"pwdAccountLockedTime": [(REPLACE, values)]})


def test_a_delivered_password_need_not_be_changed_again(policed, make, name):
    quality(policed, 0)
    assert make().deliver([state(name, hashed("first"))])[0].verdict == "delivered"
    assert policed.lets_in(name, b"first")
    assert policed.values(name, "pwdReset") in {(), (b"FALSE",)}


def test_one_locked_there_for_good_stays_so_and_the_rest_goes_on(policed, make, name):
    quality(policed, 0)
    other = next(names)
    policed.user(other)
    target = make()
    target.deliver([state(name, hashed("first")), state(other, hashed("first"))])
    lock(policed, name, "000001010000Z")
    outcomes = target.deliver([state(name, hashed("second")), state(other, hashed("second"))])
    assert [outcome.verdict for outcome in outcomes] == ["refused", "delivered"]
    assert "is locked there" in outcomes[0].text
    assert not policed.lets_in(name, b"second")
    assert policed.lets_in(other, b"second")
    lock(policed, name, None)
    assert target.deliver([state(name, hashed("second"))])[0].verdict == "delivered"
    assert policed.lets_in(name, b"second")


def test_a_directory_that_refuses_hashes_says_so_and_takes_the_users_own_change(policed, make, service, name):
    quality(policed, 0)
    make().deliver([state(name, hashed("first word"))])
    quality(policed, 2)
    outcome = make().deliver([state(name, hashed("second word"))])[0]
    assert outcome.verdict == "refused"
    assert 'mode = "exop"' in outcome.text
    target = make(journal="j2", mode="exop")
    now = state(name, hashed("second word"))
    assert target.change_as_user(now, b"first word", b"second word").verdict == "delivered"
    assert policed.lets_in(name, b"second word")
    assert target.deliver([now])[0].verdict == "delivered"
    short = target.change_as_user(state(name, hashed("x")), b"second word", b"x")
    assert short.verdict == "refused"
    assert policed.lets_in(name, b"second word")


def test_after_an_outage_the_users_next_change_reaches_it_again(policed, make, name, monkeypatch):
    """The directory has an older password than the user knows; our own rights there help, only for what we missed."""
    quality(policed, 0)
    policed.user(stranger := next(names), "theirs")
    target = make(mode="exop")
    with LdapConnection(policed.server()) as connection:
        connection.modify_password(f"uid={name},{PEOPLE}", None, b"word one")
    assert target.change_as_user(state(name, hashed("2")), b"word one", b"word two").verdict == "delivered"
    with monkeypatch.context() as patched:
        patched.setattr(policed, "plain", "ldap://127.0.0.1:1")
        away = make(mode="exop")
        away._marks.close()
        away._marks = target._marks
        assert away.change_as_user(state(name, hashed("3")), b"word two", b"word three").verdict == "failed"
    assert target.change_as_user(state(name, hashed("4")), b"word three", b"word four").verdict == "delivered"
    assert policed.lets_in(name, b"word four")
    # What was never ours is nothing to be set right.
    for _ in range(2):
        assert target.change_as_user(state(stranger, hashed("2")), b"ours", b"ours too").verdict == "refused"
    assert policed.lets_in(stranger, b"theirs")
    # Already so: nothing to do.
    assert target.change_as_user(state(name, hashed("4")), b"whatever", b"word four").verdict == "delivered"


def test_a_read_only_copy_is_told_with_the_server_to_name(tmp_path, service, make):
    home = tmp_path / "replica"
    home.mkdir()
    replica = Slapd(
        home,
        "moduleload syncprov",
        'syncrepl rid=001 provider=ldap://127.0.0.1:1 type=refreshOnly interval=01:00:00:00 searchbase="{base}" '
        'bindmethod=simple retry="3600 +"\nupdateref ldap://provider.aero.org',
        offline=True,
    )
    try:
        outcome = make(server=replica, takeover="never").deliver([state("pippin", hashed("x"))])[0]
        assert outcome.verdict == "conflict"
        target = make(server=replica, journal="j2")
        target.reassert(["pippin"])
        outcome = target.deliver([state("pippin", hashed("x"))])[0]
        assert outcome.verdict == "refused"
        assert "read-only copy" in outcome.text
        assert "ldap://provider.aero.org" in outcome.text
    finally:
        replica.stop()


def test_a_late_master_does_not_put_an_older_password_over_a_newer(policed, make, name):
    quality(policed, 0)
    one, two = make(journal="one"), make(journal="two")
    zero = state(name, hashed("zero"))
    assert [one.deliver([zero])[0].verdict, two.deliver([zero])[0].verdict] == ["delivered"] * 2
    older, newer = state(name, hashed("older")), state(name, hashed("newer"), changed=20001)
    assert two.deliver([newer])[0].verdict == "delivered"
    # Parted from the other, it knows only its own.
    assert one.deliver([older])[0].verdict == "conflict"
    assert policed.lets_in(name, b"newer")
    # Together again: both know the winner.
    assert one.deliver([newer])[0].verdict == "delivered"
    assert one.conflicts() == []


def test_a_password_that_a_dead_master_wrote_is_the_clusters_if_it_was_ever_known(policed, make, name):
    quality(policed, 0)
    dead, alive = make(journal="dead"), make(journal="alive")
    zero, middle, last = (state(name, hashed(word)) for word in ("zero", "middle", "last"))
    dead.deliver([zero])
    alive.deliver([zero])
    dead.deliver([middle])
    # The survivor heard of it and never looked; then came the next change.
    alive.remember(middle.object, middle.password)
    alive.remember(last.object, last.password)
    assert alive.deliver([last])[0].verdict == "delivered"
    assert policed.lets_in(name, b"last")
    # Somebody puts an older one back: still ours, so the latest follows; a stranger's is left.
    with LdapConnection(policed.server()) as connection:
        connection.modify(f"uid={name},{PEOPLE}", {"userPassword": [(REPLACE, ["{CRYPT}" + middle.password.hash])]})
    assert alive.deliver([last])[0].verdict == "delivered"
    subprocess.run(
        ["ldappasswd", "-Q", "-Y", "EXTERNAL", "-H", policed.local, "-s", "stranger", f"uid={name},{PEOPLE}"],
        check=True,
        capture_output=True,
    )
    assert alive.deliver([state(name, hashed("next"))])[0].verdict == "conflict"


def test_what_stands_there_becomes_the_clusters_when_asked(policed, make, name):
    quality(policed, 0)
    target = make()
    target.deliver([state(name, hashed("ours"))])
    theirs = hashed("theirs")
    with LdapConnection(policed.server()) as connection:
        connection.modify(f"uid={name},{PEOPLE}", {"userPassword": [(REPLACE, ["{CRYPT}" + theirs])]})
    assert target.deliver([state(name, hashed("next"))])[0].verdict == "conflict"
    assert target.contested() == (name,)
    findings = target.edits([state(name, hashed("next"))], [name])
    assert [edit.password.hash for edit in findings.edits] == [theirs]
    assert target.deliver([state(name, theirs)])[0].verdict == "delivered"
    assert target.conflicts() == []
