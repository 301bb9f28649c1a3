"""A directory as a target, against a real slapd of its own: its own directory, ports and process."""

import subprocess
from dataclasses import replace

import pytest
from passlib.hash import sha512_crypt
from support.slapd import BASE, ROOT, ROOT_PASSWORD, Slapd

from beonss.core.accounts.entries import Password, UserEntry
from beonss.core.targets.delivery import GroupState, PermanentTargetError, TemporaryTargetError, UserState
from beonss.targets import ldap as ldap_module
from beonss.targets import ldapwire
from beonss.targets.ldap import LdapSettings, LdapTarget
from beonss.targets.ldapmarks import PasswordMarks
from beonss.targets.ldapservers import READ_ONLY, ServerOrder, uri_problem
from beonss.targets.ldapwire import REPLACE, LdapConnection, escaped


@pytest.fixture(scope="module")
def slapd(tmp_path_factory):
    server = Slapd(tmp_path_factory.mktemp("slapd"))
    yield server
    server.stop()


@pytest.fixture
def make(slapd, tmp_path):
    made = []

    def build(**options):
        settings = LdapSettings("directory", slapd.server(), tmp_path / "journal", f"ou=people,{BASE}")
        target = LdapTarget(replace(settings, **options))
        made.append(target)
        return target

    yield build
    for target in made:
        target.close()


names = iter(f"user{number}" for number in range(1000))


@pytest.fixture
def name():
    return next(names)


def hashed(password):
    return sha512_crypt.using(rounds=5000).hash(password)


def state(name, secret, *, locked=False, changed=20000):
    entry = UserEntry(name, 5000, 100, "", "/", "/bin/sh")
    return UserState(f"id-{name}", name, entry, Password(secret, changed), locked)


def deliver(target, *states):
    return [outcome.verdict for outcome in target.deliver(states)]


def test_a_password_is_delivered_and_lets_its_user_in(slapd, make, name):
    slapd.user(name)
    target = make()
    assert deliver(target, state(name, hashed("first"))) == ["delivered"]
    assert slapd.lets_in(name, b"first")
    assert deliver(target, state(name, hashed("second"), changed=20001)) == ["delivered"]
    assert slapd.lets_in(name, b"second")
    assert not slapd.lets_in(name, b"first")
    assert len(slapd.values(name)) == 1
    assert slapd.values(name, "shadowLastChange") == (b"20001",)


def test_what_is_right_already_is_not_written(slapd, make, name):
    secret = hashed("same")
    slapd.user(name, "{CRYPT}" + secret)
    before = slapd.values(name, "entryCSN")
    assert deliver(make(), state(name, secret)) == ["delivered"]
    assert slapd.values(name, "entryCSN") == before


def test_what_somebody_else_wrote_is_left_and_reported_until_reasserted(slapd, make, name):
    slapd.user(name, "{SSHA}somebody")
    target = make()
    outcome = target.deliver([state(name, hashed("ours"))])[0]
    assert outcome.verdict == "conflict"
    assert f"beonss accounts reassert --target directory {name}" in outcome.text
    assert slapd.values(name) == (b"{SSHA}somebody",)
    assert target.conflicts() == [outcome.text]
    target.reassert([name])
    assert deliver(target, state(name, hashed("ours"))) == ["delivered"]
    assert slapd.lets_in(name, b"ours")
    assert target.conflicts() == []


def test_a_change_in_the_directory_behind_our_back_is_not_overwritten(slapd, make, name):
    slapd.user(name)
    target = make()
    deliver(target, state(name, hashed("first")))
    subprocess.run(
        ["ldappasswd", "-Q", "-Y", "EXTERNAL", "-H", slapd.local, "-s", "admin", f"uid={name},ou=people,{BASE}"],
        check=True,
        capture_output=True,
    )
    assert deliver(target, state(name, hashed("second"))) == ["conflict"]
    assert slapd.lets_in(name, b"admin")


def test_takeover_at_the_next_change(slapd, make, name):
    slapd.user(name, "{SSHA}old")
    target = make(takeover="next-change")
    first = state(name, hashed("imported"))
    assert deliver(target, first) == ["conflict"]
    assert deliver(target, first) == ["conflict"]
    assert deliver(target, state(name, hashed("changed"))) == ["delivered"]
    assert slapd.lets_in(name, b"changed")


def test_a_locked_user_is_not_let_in_until_unlocked(slapd, make, name):
    slapd.user(name)
    target = make()
    secret = hashed("word")
    deliver(target, state(name, secret))
    assert deliver(target, state(name, secret, locked=True)) == ["delivered"]
    assert not slapd.lets_in(name, b"word")
    deliver(target, state(name, secret))
    assert slapd.lets_in(name, b"word")


def test_users_that_are_not_there_or_there_twice_do_not_stop_the_others(slapd, make, name):
    slapd.user(name)
    twin = next(names)
    slapd.user(twin)
    slapd.user(twin, where="twice")
    target = make(base=BASE)
    outcomes = target.deliver([state("nobody", "$6$a$b"), state(twin, "$6$a$b"), state(name, hashed("x"))])
    assert [outcome.verdict for outcome in outcomes] == ["refused", "refused", "delivered"]
    assert "no entry for nobody" in outcomes[0].text
    assert "more than one entry" in outcomes[1].text


def test_groups_the_deleted_and_those_without_password_are_none_of_our_business(slapd, make, name):
    slapd.user(name, "{SSHA}theirs")
    entry = UserEntry(name, 5000, 100, "", "/", "/bin/sh")
    target = make(server=slapd.server(uris=("ldap://127.0.0.1:1",), starttls=False))
    states = [GroupState("g", "g", None), UserState("i", name, None), UserState("i", name, entry)]
    assert deliver(target, *states) == ["delivered"] * 3
    assert deliver(make(journal=target.settings.journal.with_name("j2")), *states, state(next(names), "$6$a$b")) == [
        "delivered",
        "delivered",
        "delivered",
        "refused",
    ]


def test_a_name_cannot_widen_the_search(slapd, make, name):
    slapd.user(name)
    assert deliver(make(), state("*", "$6$a$b"), state(f"{name})(uid=*", "$6$a$b")) == ["refused", "refused"]
    assert slapd.values(name) == ()


def test_a_name_in_other_letters_is_another_user_though_the_directory_finds_it(slapd, make, name):
    slapd.user(name)
    target = make()
    outcome = target.deliver([state(name.upper(), hashed("of another"))])[0]
    assert outcome.verdict == "refused"
    assert f"uid={name},ou=people,{BASE} is found for {name.upper()}, but is spelled otherwise" in outcome.text
    assert slapd.values(name) == ()
    slapd.add(f"dn: uid={name},ou=people,{BASE}\nchangetype: modify\nadd: uid\nuid: {name}-too\n")
    assert deliver(target, state(f"{name}-too", hashed("its own"))) == ["delivered"]


def test_a_filter_that_compares_something_else_with_the_name_finds_as_it_says(slapd, make, name):
    slapd.user(name, extra=f"description: {name.upper()}@example.org\n")
    target = make(filter="(&(objectClass=posixAccount)(description={name}@example.org))")
    assert deliver(target, state(name, hashed("first"))) == ["delivered"]


def test_a_value_changed_between_look_and_write_is_not_lost(slapd, make, name, monkeypatch):
    slapd.user(name)
    target = make()
    deliver(target, state(name, hashed("first")))
    real = LdapConnection.search

    def changed_meanwhile(self, *arguments):
        found = real(self, *arguments)
        subprocess.run(
            ["ldappasswd", "-Q", "-Y", "EXTERNAL", "-H", slapd.local, "-s", "racer", f"uid={name},ou=people,{BASE}"],
            check=True,
            capture_output=True,
        )
        return found

    monkeypatch.setattr(LdapConnection, "search", changed_meanwhile)
    outcome = target.deliver([state(name, hashed("second"))])[0]
    monkeypatch.undo()
    assert outcome.verdict == "failed"
    assert "in this moment" in outcome.text
    assert slapd.lets_in(name, b"racer")
    assert deliver(target, state(name, hashed("second"))) == ["conflict"]


def test_a_first_password_set_between_look_and_write_is_not_joined_by_ours(slapd, make, name, monkeypatch):
    """RFC 4528: without the assertion, an entry that had no password would end up with two."""
    slapd.user(name)
    real = LdapConnection.search

    def changed_meanwhile(self, *arguments):
        found = real(self, *arguments)
        subprocess.run(
            ["ldappasswd", "-Q", "-Y", "EXTERNAL", "-H", slapd.local, "-s", "racer", f"uid={name},ou=people,{BASE}"],
            check=True,
            capture_output=True,
        )
        return found

    monkeypatch.setattr(LdapConnection, "search", changed_meanwhile)
    assert deliver(make(), state(name, hashed("ours"))) == ["failed"]
    monkeypatch.undo()
    assert len(slapd.values(name)) == 1


def test_a_crash_between_write_and_note_heals(slapd, make, name, monkeypatch):
    slapd.user(name)
    target = make()
    deliver(target, state(name, hashed("first")))
    monkeypatch.setattr(PasswordMarks, "settle", lambda *_: None)
    deliver(target, state(name, hashed("second")))
    monkeypatch.undo()
    target.close()
    assert deliver(make(), state(name, hashed("third"))) == ["delivered"]
    assert slapd.lets_in(name, b"third")


def test_two_masters_deliver_the_same_without_quarrel(slapd, make, name, tmp_path):
    slapd.user(name)
    one, two = make(), make(journal=tmp_path / "other")
    for word in ("first", "second", "third"):
        now = state(name, hashed(word))
        assert deliver(one, now) == ["delivered"]
        assert deliver(two, now) == ["delivered"]
    assert deliver(two, state(name, hashed("from two"))) == ["delivered"]
    assert slapd.lets_in(name, b"from two")


@pytest.mark.parametrize("way", ["starttls", "ldaps"])
def test_by_name_and_password_over_tls(slapd, make, name, way, tmp_path):
    slapd.user(name)
    secret = tmp_path / "secret"
    secret.write_text(ROOT_PASSWORD + "\n")
    secret.chmod(0o600)
    uri = slapd.plain if way == "starttls" else slapd.tls
    server = slapd.server(uris=(uri,), bind_dn=ROOT, password_file=secret, ca_file=slapd.home / "ca.pem")
    assert deliver(make(server=server), state(name, hashed("tls"))) == ["delivered"]
    assert slapd.lets_in(name, b"tls")
    stranger = make(server=replace(server, ca_file=slapd.home / "otherca.pem"), journal=tmp_path / "j2")
    with pytest.raises(PermanentTargetError, match=r"certificate|CERTIFICATE"):
        stranger.deliver([state(name, hashed("no"))])
    wrong_name = make(server=replace(server, uris=(uri.replace("localhost", "127.0.0.2"),)), journal=tmp_path / "j3")
    with pytest.raises(PermanentTargetError, match=r"certificate|CERTIFICATE"):
        wrong_name.deliver([state(name, hashed("no"))])
    assert slapd.lets_in(name, b"tls")


def test_errors_say_what_to_do(slapd, make, name, tmp_path):
    slapd.user(name)
    away = make(server=slapd.server(uris=("ldap://127.0.0.1:1",), starttls=False, timeout=1.0))
    with pytest.raises(TemporaryTargetError, match="does not answer"):
        away.deliver([state(name, "$6$a$b")])
    secret = tmp_path / "secret"
    secret.write_text("wrong")
    secret.chmod(0o600)
    by_name = slapd.server(uris=(slapd.plain,), starttls=False, bind_dn=ROOT, password_file=secret)
    with pytest.raises(PermanentTargetError, match=r"does not let .* in") as caught:
        make(server=by_name).deliver([state(name, "$6$a$b")])
    assert "wrong" not in str(caught.value)
    secret.write_text("reader\n")
    reader = make(server=replace(by_name, bind_dn=f"cn=reader,{BASE}"))
    outcome = reader.deliver([state(name, "$6$a$secret")])[0]
    assert (outcome.verdict, "insufficientAccessRights" in outcome.text) == ("refused", True)
    assert "$6$" not in outcome.text
    secret.chmod(0o644)
    with pytest.raises(PermanentTargetError, match="chmod 600"):
        reader.deliver([state(name, "$6$a$b")])
    secret.chmod(0o600)
    secret.write_text("")
    with pytest.raises(PermanentTargetError, match="holds no password"):
        reader.deliver([state(name, "$6$a$b")])
    nowhere = make(base="dc=no,dc=where")
    with pytest.raises(PermanentTargetError, match="does not search below"):
        nowhere.deliver([state(name, "$6$a$b")])


def test_the_second_server_is_asked_when_the_first_is_away(slapd, make, name):
    slapd.user(name)
    server = slapd.server(uris=("ldap://127.0.0.1:1", slapd.local), starttls=False)
    assert deliver(make(server=server), state(name, hashed("x"))) == ["delivered"]


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    """A read-only copy with pippin in it, whose provider is away."""
    server = Slapd(
        tmp_path_factory.mktemp("replica"),
        "moduleload syncprov",
        'syncrepl rid=001 provider=ldap://127.0.0.1:1 type=refreshOnly interval=01:00:00:00 searchbase="{base}" '
        'bindmethod=simple retry="3600 +"\nupdateref ldap://provider.aero.org',
        offline=True,
    )
    yield server
    server.stop()


def test_what_a_read_only_copy_does_not_take_the_next_server_does_and_the_first_is_tried_again(
    slapd, replica, make, tmp_path
):
    slapd.user("pippin", "old")
    slapd.user("other")
    # The user's own change (RFC 3062) goes on in the same way: both servers know the old password.
    server = slapd.server(uris=(replica.local, slapd.local))
    own = make(server=server, mode="exop", journal=tmp_path / "own")
    outcome = own.change_as_user(state("pippin", hashed("mine")), b"old", b"mine")
    assert outcome.verdict == "delivered", outcome.text
    assert slapd.lets_in("pippin", b"mine")
    assert own._order.uris() == (slapd.local, replica.local)
    target = make(server=server)
    now = [0.0]
    target._order = ServerOrder(target.settings.server.uris, lambda: now[0])
    target.reassert(["pippin"])
    assert deliver(target, state("pippin", hashed("new")), state("other", hashed("o"))) == ["delivered"] * 2
    assert slapd.lets_in("pippin", b"new")
    assert slapd.lets_in("other", b"o")
    assert target._order.uris() == (slapd.local, replica.local)
    now[0] = READ_ONLY
    assert target._order.uris() == (replica.local, slapd.local)


def test_where_all_are_read_only_it_is_told_once_and_nothing_goes_round(replica, make):
    target = make(server=replica.server(uris=(replica.local, replica.local + "/")))
    target.reassert(["pippin"])
    [outcome] = target.deliver([state("pippin", hashed("x"))])
    assert outcome.verdict == "refused"
    assert "ldap://provider.aero.org" in outcome.text


def test_a_demanded_change_is_shown_there_and_one_demanded_there_is_left(slapd, make, name):
    """shadow(5): day 0. A day 0 that somebody set in the directory itself stays."""
    slapd.user(name)
    target = make()
    secret = hashed("first")
    assert deliver(target, state(name, secret)) == ["delivered"]
    assert deliver(target, state(name, secret, changed=0)) == ["delivered"]
    assert slapd.values(name, "shadowLastChange") == (b"0",)
    assert deliver(target, state(name, secret)) == ["delivered"]
    assert slapd.values(name, "shadowLastChange") == (b"20000",)
    assert deliver(target, state(name, secret, changed=0)) == ["delivered"]
    second = hashed("second")
    assert deliver(target, state(name, second, changed=20001)) == ["delivered"]
    assert slapd.values(name, "shadowLastChange") == (b"20001",)
    with LdapConnection(slapd.server()) as connection:
        result = connection.modify(f"uid={name},ou=people,{BASE}", {"shadowLastChange": [(REPLACE, ["0"])]})
        assert result.code == 0, result
    assert deliver(target, state(name, second, changed=20001)) == ["delivered"]
    assert slapd.values(name, "shadowLastChange") == (b"0",)


def test_the_users_own_change_where_hashes_are_refused(slapd, make, name):
    slapd.user(name, "old")
    target = make(mode="exop", server=slapd.server())
    now = state(name, hashed("new"))
    pending = target.deliver([now])[0]
    assert (pending.verdict, "run cpasswd again" in pending.text) == ("refused", True)
    wrong = target.change_as_user(now, b"not the old one", b"new")
    assert wrong.verdict == "refused"
    assert target.change_as_user(now, b"old", b"new").verdict == "delivered"
    assert slapd.lets_in(name, b"new")
    assert deliver(target, now) == ["delivered"]
    assert target.change_as_user(state("nobody", "$6$a$b"), b"old", b"new").verdict == "refused"


def test_uris_that_would_show_a_password_are_refused():
    assert uri_problem("ldap://directory.aero.org", starttls=True) is None
    assert uri_problem("ldaps://directory.aero.org", starttls=False) is None
    assert uri_problem("ldap://127.0.0.1", starttls=False) is None
    assert uri_problem("ldapi://%2Frun%2Fldapi", starttls=False) is None
    for uri in ("ldap://directory.aero.org", "http://x", "ldap://", "ldap://[", "ldap://a:99999999", "directory"):
        assert uri_problem(uri, starttls=False) is not None
    assert escaped("a*)(\0") == "a\\2a\\29\\28\\00"


def test_ldapi_without_a_path_is_the_usual_socket(slapd, make, name, monkeypatch):
    slapd.user(name)
    monkeypatch.setattr(ldapwire, "_SOCKETS", ("/no/such/socket", str(slapd.home / "ldapi")))
    assert deliver(make(server=slapd.server(uris=("ldapi:///",))), state(name, hashed("x"))) == ["delivered"]
    assert slapd.lets_in(name, b"x")


def test_the_module_names_no_hash_in_a_repr():
    assert "$6$" not in repr(state("a", "$6$secret"))
    assert ldap_module.LdapTarget.shared
