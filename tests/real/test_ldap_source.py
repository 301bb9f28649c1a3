"""A directory as a source of users and groups, against a real slapd: changes there are changes here, accidents not."""

import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from passlib.hash import sha512_crypt
from support.account_life import LifeBench
from support.fake_accounts import FakeAccounts, now
from support.slapd import BASE, ROOT, Slapd
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock

from beonss.admin import account_import, accounts
from beonss.core.accounts import intents
from beonss.core.accounts.entries import Aging, UserEntry
from beonss.core.targets.delivery import PermanentTargetError, TemporaryTargetError
from beonss.daemon.targets.sources import Followed
from beonss.errors import ConfigurationError
from beonss.targets.directory import DirectorySettings, DirectorySource
from beonss.wire.control import End

HASH = sha512_crypt.using(rounds=5000).hash("second-breakfast-77")
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"


@pytest.fixture
def slapd(tmp_path):
    home = tmp_path / "slapd"
    home.mkdir()
    server = Slapd(home)
    server.add(f"dn: {GROUPS}\nobjectClass: organizationalUnit\nou: groups\n")
    yield server
    server.stop()


class World:
    """A source, the accounts it feeds, and what an administrator of the directory does."""

    def __init__(self, slapd, tmp_path, **options):
        self.slapd = slapd
        self.accounts = FakeAccounts()
        settings = DirectorySettings("people", slapd.server(), tmp_path / "people.source", PEOPLE, GROUPS, page=7)
        self.source = DirectorySource(replace(settings, **options))
        self.followed = Followed(
            Clock(),
            self.accounts,
            self.source,
            floors=lambda: SimpleNamespace(uid_floor=1000, gid_floor=1000),
            author="source people@frodo",
            clock=lambda: 1,
            in_thread=maybeDeferred,
        )

    @property
    def view(self):
        return self.accounts.view

    def look(self, *, full=True, shrink=False):
        return now(self.followed.look(full=full, shrink=shrink))

    def close(self):
        now(self.followed.stop())

    def add_user(self, name, uid, secret=None, **words):
        words = {"loginShell": "/bin/sh", "homeDirectory": f"/home/{name}", "gidNumber": 2000, **words}
        extra = "".join(f"{key}: {value}\n" for key, value in words.items())
        secret = f"userPassword: {secret}\n" if secret else ""
        self.slapd.add(
            f"dn: uid={name},{PEOPLE}\nobjectClass: account\nobjectClass: posixAccount\nobjectClass: shadowAccount\n"
            f"uid: {name}\ncn: {name}\nuidNumber: {uid}\n{extra}{secret}"
        )

    def modify(self, dn, text):
        subprocess.run(
            ["ldapmodify", "-Q", "-Y", "EXTERNAL", "-H", self.slapd.local],
            input=f"dn: {dn}\nchangetype: modify\n{text}\n".encode(),
            check=True,
            capture_output=True,
        )

    def delete(self, *dns):
        subprocess.run(
            ["ldapdelete", "-Q", "-Y", "EXTERNAL", "-H", self.slapd.local, *dns], check=True, capture_output=True
        )


@pytest.fixture
def make(slapd, tmp_path):
    made = []

    def build(**options):
        world = World(slapd, tmp_path, **options)
        made.append(world)
        return world

    yield build
    for world in made:
        world.close()


def test_users_and_groups_come_in_pages_and_those_of_the_system_stay_there(make):
    world = make()
    for number in range(20):
        world.add_user(f"hobbit{number}", 3000 + number)
    world.add_user("sam", 2001, f"{{CRYPT}}{HASH}", gecos="Sam", shadowLastChange=19000, shadowMax=99999, shadowMin=-1)
    world.add_user("rosie", 2002, "{SSHA}pCqvU0bM3mYkVxWsH1OoZ0vxAhpzYWx0")
    world.add_user("daemonic", 105)
    world.slapd.add(
        f"dn: cn=gardeners,{GROUPS}\nobjectClass: posixGroup\ncn: gardeners\ngidNumber: 2100\nmemberUid: sam\n"
        "memberUid: nobody-knows\n"
    )
    world.look()
    assert len(list(world.view.users())) == 22
    sam = world.view.user("sam")
    assert sam.entry == UserEntry("sam", 2001, 2000, "Sam", "/home/sam", "/bin/sh")
    assert (sam.password.hash, sam.password.changed) == (HASH, 19000)
    assert sam.aging == Aging(maximum=99999)
    assert world.view.group("gardeners").members == ("sam",)
    assert world.view.user("daemonic") is None
    assert world.followed.problems() == []


def test_only_what_changed_there_changes_here(make):
    world = make()
    world.add_user("sam", 2001, f"{{CRYPT}}{HASH}")
    world.look()
    # The cluster's own change of another part stands.
    sam = world.view.user("sam").entry
    world.accounts.put_changes(intents.modify_user(world.view, "sam", replace(sam, home="/srv/sam")))
    world.modify(f"uid=sam,{PEOPLE}", "replace: loginShell\nloginShell: /bin/bash\n")
    assert world.look(full=False).changed == ("user sam: shell",)
    assert (world.view.user("sam").entry.home, world.view.user("sam").entry.shell) == ("/srv/sam", "/bin/bash")
    assert world.look(full=False).changed == ()
    other = sha512_crypt.using(rounds=5000).hash("x")
    world.modify(f"uid=sam,{PEOPLE}", f"replace: userPassword\nuserPassword: {{CRYPT}}{other}\n")
    assert world.look(full=False).changed == ("user sam: password",)
    assert world.view.user("sam").password.hash == other
    world.modify(f"uid=sam,{PEOPLE}", f"replace: userPassword\nuserPassword: {{CRYPT}}!{other}\n")
    world.look(full=False)
    assert world.view.user("sam").locked


def test_members_follow_by_name_and_by_distinguished_name_through_groups_in_groups(make):
    world = make(schema="rfc2307bis", group_filter="(&(objectClass=groupOfNames)(gidNumber=*))")
    world.add_user("sam", 2001)
    world.add_user("rosie", 2002)
    for cn, gid, member in (("inner", 2101, f"uid=rosie,{PEOPLE}"), ("outer", 2102, f"CN=inner, {GROUPS}")):
        world.slapd.add(
            f"dn: cn={cn},{GROUPS}\nobjectClass: groupOfNames\nobjectClass: extensibleObject\ncn: {cn}\n"
            f"gidNumber: {gid}\nmember: {member}\n"
        )
    world.modify(f"cn=inner,{GROUPS}", f"add: member\nmember: cn=outer,{GROUPS}\n")
    world.look()
    assert world.view.group("inner").members == ("rosie",)
    assert world.view.group("outer").members == ("rosie",)
    world.modify(f"cn=outer,{GROUPS}", f"add: member\nmember: uid=sam,{PEOPLE}\n")
    world.look()
    assert world.view.group("outer").members == ("rosie", "sam")
    world.modify(f"cn=outer,{GROUPS}", f"delete: member\nmember: uid=sam,{PEOPLE}\n")
    world.look()
    assert world.view.group("outer").members == ("rosie",)


def test_a_shrunken_or_empty_reading_changes_nothing_until_somebody_says_so(make):
    world = make(missing="lock")
    for number in range(20):
        world.add_user(f"hobbit{number}", 3000 + number)
    world.look()
    world.delete(*(f"uid=hobbit{number},{PEOPLE}" for number in range(10)))
    world.add_user("late", 2500)
    world.look()
    assert "10 of 20 users are not there any more" in world.followed.problems()[0]
    assert "beonss accounts adopt --target people --all" in world.followed.problems()[0]
    assert world.view.user("late") is None
    assert not world.view.user("hobbit3").locked
    world.look(shrink=True)
    assert world.view.user("hobbit3").locked
    assert world.view.user("late") is not None
    assert world.followed.problems() == []


@pytest.mark.parametrize(("missing", "told"), [("report", True), ("lock", False), ("delete", False)])
def test_what_becomes_of_one_that_is_not_there_any_more(make, missing, told):
    world = make(missing=missing)
    for number in range(3):
        world.add_user(f"hobbit{number}", 3000 + number)
    world.look()
    world.delete(f"uid=hobbit1,{PEOPLE}")
    world.look()
    user = world.view.user("hobbit1")
    assert (user is None) == (missing == "delete")
    assert bool(user and user.locked) == (missing == "lock")
    assert any("hobbit1" in text for text in world.followed.problems()) == told


def test_what_cannot_be_an_account_is_told_and_the_rest_goes_on(make):
    world = make()
    world.add_user("sam", 2001)
    world.add_user("rooted", 2003, gidNumber=0)
    world.add_user("twin", 2001)
    world.look()
    assert world.view.user("sam")
    told = " ".join(world.followed.problems())
    assert "the group of root" in told
    assert "its uid 2001 belongs to sam there" in told


def test_deleted_here_stays_deleted_and_a_restart_remembers(make, slapd, tmp_path):
    world = make()
    world.add_user("sam", 2001)
    world.add_user("rosie", 2002)
    world.look()
    world.accounts.put_changes(intents.delete_user(world.view, "sam"))
    again = World(slapd, tmp_path)
    again.accounts = again.followed._accounts = world.accounts
    again.look()
    assert again.view.user("sam") is None
    assert "deleted in the cluster" not in " ".join(again.followed.problems())
    again.modify(f"uid=sam,{PEOPLE}", "replace: loginShell\nloginShell: /bin/bash\n")
    again.look()
    assert again.view.user("sam") is None
    assert "deleted in the cluster" in " ".join(again.followed.problems())
    again.close()


def test_one_that_is_away_or_cut_short_changes_nothing(make, slapd, tmp_path):
    world = make()
    for number in range(6):
        world.add_user(f"hobbit{number}", 3000 + number)
    world.look()
    slapd.process.terminate()
    slapd.process.wait(20)
    with pytest.raises(TemporaryTargetError):
        world.look()
    assert len(list(world.view.users())) == 6


def test_the_servers_size_limit_is_no_removal(make, slapd, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("reader\n")
    secret.chmod(0o600)
    reader = slapd.server(uris=(slapd.plain,), starttls=False, bind_dn=f"cn=reader,{BASE}", password_file=secret)
    world = make(server=reader, page=5)
    for number in range(12):
        world.add_user(f"hobbit{number}", 3000 + number)
    world.look()
    assert len(list(world.view.users())) == 12
    assert world.view.user("hobbit3").password is None
    with pytest.raises(PermanentTargetError):
        make(server=replace(reader, bind_dn=f"cn=nobody,{BASE}"), journal=tmp_path / "j2").look()


class Client:
    """Asks the operations of a master that is in memory."""

    def __init__(self, bench):
        self.bench = bench

    def __call__(self, _path=None):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Close nothing."""

    def ask(self, operation, parameters=None):
        return End("ok", "", self.bench.ask(operation, **json.loads(json.dumps(parameters or {}))))


@pytest.fixture
def imported(slapd, monkeypatch):
    """Return a master and what runs ``beonss accounts import --ldap`` against it and the directory."""
    bench = LifeBench()
    monkeypatch.setattr(account_import, "ControlClient", Client(bench))

    def run(*words, code=0):
        command = ["import", "--ldap", slapd.local, "--users", PEOPLE, *words]
        result = CliRunner().invoke(accounts.command, command)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        assert "$6$" not in result.output
        return result.output

    return bench, run


def test_a_directory_is_imported_once_as_files_are(imported, make):
    bench, run = imported
    world = make()
    world.add_user("sam", 2001, f"{{CRYPT}}{HASH}")
    world.add_user("rosie", 2002)
    world.add_user("lowly", 500)
    world.add_user("evil", 2003, gidNumber=0)
    world.slapd.add(f"dn: cn=hobbits,{GROUPS}\nobjectClass: posixGroup\ncn: hobbits\ngidNumber: 2100\nmemberUid: sam\n")
    told = run("--groups", GROUPS, "--dry-run", code=1)
    assert "users: 2 would be created" in told
    assert "evil" in told
    assert "primary group is 0" in told
    assert bench.accounts.rows == {}
    run("--groups", GROUPS, code=1)
    view = bench.accounts.view
    assert view.user("sam").password.hash == HASH
    assert view.group("hobbits").members == ("sam",)
    assert view.user("lowly") is None
    assert "users: 0 created, 0 changed, 2 unchanged" in run("--groups", GROUPS, code=1)
    assert {(line["event"], line["user"]) for line in bench.audit.lines} == {
        ("import", "sam"),
        ("import", "rosie"),
        ("import", "hobbits"),
    }


def test_passwords_can_be_left_there_and_filters_hold(imported, make):
    bench, run = imported
    world = make()
    world.add_user("sam", 2001, f"{{CRYPT}}{HASH}")
    world.add_user("rosie", 2002)
    run("--no-passwords", "--user-filter", "(uid=sam)")
    assert [(user.entry.name, user.password) for user in bench.accounts.view.users()] == [("sam", None)]


def test_what_cannot_be_imported_from_a_directory_is_said(imported, slapd, tmp_path):
    bench, run = imported
    with pytest.raises(ConfigurationError, match="nothing to import"):
        run()
    (tmp_path / "secret").write_text("wrong\n")
    (tmp_path / "secret").chmod(0o600)
    with pytest.raises(PermanentTargetError, match="does not let"):
        run("--bind-dn", ROOT, "--password-file", str(tmp_path / "secret"))
    for words, why in (
        (["--ldap", "ldap://192.0.2.1", "--users", PEOPLE, "--no-starttls"], "in clear"),
        (["--ldap", "http://x", "--users", PEOPLE], "begins neither"),
        (["--ldap", slapd.local, "--users", PEOPLE, "--ca-file", "/dev/zero"], "ordinary"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            CliRunner().invoke(accounts.command, ["import", *words], catch_exceptions=False)
    for words in (
        ["--ldap", "ldapi:///"],
        ["--users", PEOPLE, "--passwd", "x"],
        ["--ldap", "ldapi:///", "--users", PEOPLE, "--passwd", "x"],
        ["--ldap", "ldapi:///", "--users", PEOPLE, "--bind-dn", ROOT],
    ):
        assert CliRunner().invoke(accounts.command, ["import", *words]).exit_code == 2
    assert bench.accounts.rows == {}
