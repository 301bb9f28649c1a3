"""``beonss user``, ``group``, ``conflicts``, ``export``, ``backup``: what they print and ask, and their exit codes."""

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from support.account_life import LifeBench, nothing
from support.fake_accounts import THERE
from support.registers import user_rows
from twisted.internet.defer import Deferred

from beonss.admin import asking, backup, conflicts, export, listing
from beonss.admin.main import command
from beonss.core.accounts import intents
from beonss.core.accounts.entries import Aging, Password, UserEntry
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Change
from beonss.daemon.accounts.export import export_operation
from beonss.daemon.audit_trail import AuditTrail
from beonss.daemon.replication.backup_operation import backup_operation
from beonss.errors import BeonssError, ConfigurationError, MalformedError, Refused, StoreError
from beonss.store.keys import load_roster
from beonss.wire.control import End, Event


class Daemon(LifeBench):
    """A master's operations, and the client that asks them."""

    def __init__(self, state):
        super().__init__()
        trail = AuditTrail(self.audit, self.clock.seconds)
        self.table["accounts.export"] = export_operation(self.accounts, trail, "frodo")
        cluster = "c" * 32 if not state.exists() else load_roster(state).cluster
        store = SimpleNamespace(page=self.page)
        self.table["backup"] = backup_operation(store, trail, machine="frodo", cluster=cluster, state=state)
        self.asked = []

    async def page(self, question, more=None):
        """Answer as a database does: in pages, the vector with the last."""
        page = await self.accounts.page(question, more)
        return SimpleNamespace(rows=page.rows, more=page.more, vector=None if page.more else self.accounts.vector)

    def __call__(self, path=None, timeout=60):
        self.path = path
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Close nothing."""

    def ask(self, operation, parameters=None, on_event=None):
        parameters = json.loads(json.dumps(parameters or {}))
        self.asked.append((operation, parameters))

        def report(name, **data):
            on_event(Event(name, json.loads(json.dumps(data))))

        peer = SimpleNamespace(uid=0, drained=nothing)
        running = Deferred.fromCoroutine(self.table[operation].run(parameters, peer, report))
        self.clock.advance(10)
        results = []
        running.addBoth(results.append)
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        data = dict(results[0])
        return End("ok", data.pop("message", ""), json.loads(json.dumps(data)))


@pytest.fixture
def daemon(monkeypatch, tmp_path):
    made = Daemon(tmp_path / "state")
    for module in (asking, listing, conflicts, export, backup):
        monkeypatch.setattr(module, "ControlClient", made)
    return made


@pytest.fixture
def run(daemon):
    def invoke(words, code=0):
        result = CliRunner().invoke(command, words.split() if isinstance(words, str) else words)
        if isinstance(result.exception, BeonssError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.output

    return invoke


def view(daemon):
    return daemon.accounts.view


def test_users(run, daemon):
    run("group add staff --gid 1500")
    assert run("user add sam -g staff --gecos Sam --shell /bin/zsh --expires 2027-01-31").splitlines() == [
        "user sam has uid 1000 and no password: cpasswd sam"
    ]
    assert view(daemon).user("sam").aging == Aging(expires=20849)
    assert run("user modify sam --rename samwise") == "user sam (1000) is changed: name\n"
    run("user add merry -U -G staff")
    assert view(daemon).groups_of("merry")[0].entry.name == "staff"
    assert run("user list") == (
        "samwise:no password:1000:1500:Sam:/home/sam:/bin/zsh\nmerry:no password:1001:1001::/home/merry:/bin/sh\n"
    )
    assert [row["name"] for row in json.loads(run("user list --json --control /x"))] == ["samwise", "merry"]
    assert daemon.path == "/x"
    assert run("user lock samwise merry").splitlines() == ["user samwise is locked", "user merry is locked"]
    assert "samwise:locked:" in run("user list")
    assert run("user unlock samwise") == "user samwise is unlocked\n"
    run("user age samwise --maximum 90 --warning 7")
    run("user age samwise --warning never")
    assert view(daemon).user("samwise").aging == Aging(maximum=90, expires=20849)
    run("user expire samwise --never")
    assert view(daemon).user("samwise").aging.expires is None
    run("user expire samwise merry --on 2020-01-01")
    assert view(daemon).user("merry").aging.expires == 18262
    run("user expire merry")
    assert view(daemon).user("merry").aging.expires == asking.today()
    shown = run("user show samwise")
    for text in ("user samwise (1000)", "maximum (days)", "2020-01-01", "changed", "aging by root@frodo", "at local"):
        assert text in shown
    assert json.loads(run("user show merry --json"))["user"]["groups"] == ["staff"]
    assert run("user delete -U merry samwise").splitlines() == [
        "user merry is deleted; uid 1001 is not given away again",
        "user samwise is deleted; uid 1000 is not given away again",
    ]


def test_groups(run, daemon):
    run("user add sam")
    run("user add rosie")
    assert run("group add staff --members sam") == "group staff has gid 1000\n"
    assert run("group member add staff rosie sam") == "rosie, sam are in group staff\n"
    assert run("group member remove staff sam") == "sam is not in group staff\n"
    assert run("group modify staff --rename crew") == "group staff (1000) is changed: name\n"
    assert run("group list") == "crew:*:1000:rosie\n"
    assert "group crew (1000)" in run("group show crew")
    run("user modify sam --group crew")
    assert "primary group of sam" in run("group delete crew", 1)
    assert run("group delete --force crew") == "group crew is deleted; gid 1000 is not given away again\n"


def test_refusals(run, daemon):
    run("user add sam --uid 1004")
    with pytest.raises(Refused, match=r"user sam exists \(uid 1004\)"):
        run("user add sam")
    for words in ("user lock nobody sam", "user lock sam nobody"):
        assert run(words, 1).splitlines() == [
            "beonss: there is no user 'nobody'",
            "beonss: nothing was done (--keep-going does it for the others)",
        ]
    assert not view(daemon).user("sam").locked
    assert [line for line in daemon.audit.lines if line["event"] == "user-lock"] == []
    assert run("user lock nobody sam --keep-going", 1).splitlines() == [
        "beonss: there is no user 'nobody'",
        "user sam is locked",
    ]
    told = json.loads(run("user unlock sam --json"))
    assert told[0]["changed"]
    assert json.loads(CliRunner().invoke(command, ["user", "lock", "no", "sam", "--json"]).stdout)[0] == {
        "refused": "unknown-user",
        "message": "there is no user 'no'",
    }
    with pytest.raises(Refused):
        run("user show nobody")


def test_of_several_that_would_be_deleted_all_are_or_none(run, daemon):
    """Whoever mistypes the third of three names can still think about the first two."""
    run("user add sam")
    run("user add merry -U")
    run("user add pippin --group merry")
    assert "no user 'mery'" in run("user delete sam mery pippin", 1)
    assert "primary group of" in run("group delete merry nosuch", 1)
    assert {user.entry.name for user in view(daemon).users()} == {"sam", "merry", "pippin"}
    assert view(daemon).group("merry") is not None
    run("user delete sam pippin")
    assert [user.entry.name for user in view(daemon).users()] == ["merry"]


def test_what_a_new_account_may_not_be(run, daemon):
    run("user add sam")
    for words, why in {
        "user add root --uid 5000": "each machine's own",
        "user add a*b": "shells and other files read them otherwise",
        "user add \uff11\uff12a": "plain form",
        "user add jose\u0301": "write it as",
        "user add merry --uid 65534": "the number of nobody",
        "user add merry --home home/merry": "no absolute path",
        "user modify sam --shell sh": "no absolute path",
        "user modify sam --rename nobody": "each machine's own",
        "group add nogroup": "each machine's own",
    }.items():
        with pytest.raises(Refused, match=why):
            run(words)
    assert run("user add jos\u00e9").startswith("user jos\u00e9 has uid")
    run("user add machine$")
    assert CliRunner().invoke(command, ["user", "add", "x", "--uid", "\uff11\uff12\uff13\uff14"]).exit_code == 2


def test_dry_runs(run, daemon):
    assert run("user add sam --dry-run") == "would be done: user sam has uid 1000 and no password: cpasswd sam\n"
    assert json.loads(run("user add sam --dry-run --json"))["uid"] == 1000
    assert daemon.accounts.rows == {}
    run("user add sam")
    assert run("user unlock sam --dry-run") == "user sam is unlocked already\n"


def test_who_does_not_hold_it_yet_is_said_and_has_an_exit_code(run, daemon):
    daemon.masters.add("gamgee")
    daemon.masters.add("fellowship", reachable=False)
    output = run("user add sam", 3)
    assert "note: not yet held by fellowship, gamgee (beonss status)" in output
    daemon.masters.holding.add("gamgee")
    assert "note: not yet held by fellowship (" in run("user add merry")
    assert json.loads(run("user add rosie --json"))["held"] == ["frodo", "gamgee"]
    assert run("user unlock sam") == "user sam is unlocked already\n"


def test_notes_are_told(run, daemon):
    assert "note: no group of the cluster has gid 1700" in run("user add sam -g 1700")


@pytest.mark.parametrize(
    "words",
    [
        "user add sam -g staff -U",
        "user add sam --reuse",
        "group add staff --reuse",
        "user add sam --expires tomorrow",
        "user add sam --expires 1960-01-01",
        "user modify sam",
        "user age sam",
        "user age sam --maximum -5",
        "user age sam --maximum 9999999",
        "user expire sam --never --on 2027-01-31",
        "user lock",
        "group modify staff",
        "conflicts renumber 00 0",
        "export",
        "export --passwd /x --ldif /y",
        "export --passwd /x --base dc=x",
        "export --ldif /x",
        "export --ldif /x --people ou=x",
        "export --passwd /x --state /y --control /z",
        "backup /x --state /y --control /z",
    ],
)
def test_what_makes_no_sense_is_a_mistake_of_usage(run, daemon, words):
    run(words, 2)
    assert daemon.asked == []


def test_control_characters_do_not_reach_the_terminal(run, daemon):
    daemon.accounts.user("frodo", 1001)
    entry = UserEntry("frodo", 1001, 100, "\x1b[31m\udce9", "/", "/bin/sh")
    daemon.accounts.put_changes(intents.modify_user(view(daemon), "frodo", entry), author="\x1b]0;x")
    assert "frodo:active:1001:100:?[31m?:" in run("user list")
    assert "\x1b" not in run("user show frodo")


class TestConflicts:
    @pytest.fixture
    def torn(self, daemon):
        """Return a daemon with two frodos, and the id of the one that is not served."""
        daemon.accounts.user("frodo", 1001)
        loser = intents.create_user(AccountView(), UserEntry("frodo", 2000, 100, "", "/", ""), 99)
        daemon.accounts.put_changes(loser, origin=THERE, author="root@gamgee")
        return view(daemon).conflicts()[0].losers[0]

    def test_none(self, run):
        assert run("conflicts") == ""
        assert json.loads(run("conflicts list --json")) == {"accounts": [], "targets": [], "overruled": []}

    def test_they_are_listed(self, run, torn, daemon):
        daemon.foreign = ["local: something"]
        lines = run("conflicts", 1).splitlines()
        assert "the name 'frodo' belongs to user frodo (1001)" in lines[0]
        assert "user frodo (1001), served, made 1970-01-01" in lines[1]
        assert f"{torn[:8]}  user frodo (2000), not served" in lines[2]
        assert "by root@gamgee" in lines[2]
        assert lines[-1] == "local: something"
        assert json.loads(run("conflicts list --json", 1))["accounts"][0]["losers"] == [torn]
        assert "conflict: the name 'frodo'" in run("user show frodo")

    def test_and_settled(self, run, torn, daemon):
        assert "is renamed, now sam (2000)" in run(f"conflicts rename {torn[:8]} sam --dry-run")
        run(f"conflicts keep {torn[:8]}")
        assert view(daemon).user("frodo").entry.uid == 2000
        old = view(daemon).conflicts()[0].losers[0]
        assert "is renumbered, now frodo (1000)" in run(f"conflicts renumber {old}")
        assert "is deleted" in run(f"conflicts delete {old}")
        assert run("conflicts") == ""

    def test_writes_that_lost_are_shown_and_no_failure(self, run, daemon):
        daemon.accounts.user("frodo", 1001)
        entry = UserEntry("frodo", 1001, 100, "", "/", "/bin/csh")
        (lost,) = daemon.accounts.put_changes(intents.modify_user(view(daemon), "frodo", entry), author="root@gamgee")
        daemon.accounts.overruled_rows.append(lost)
        run("user modify frodo --shell /bin/zsh")
        output = run("conflicts")
        assert "user frodo (1001): entry shell=/bin/csh by root@gamgee" in output
        assert "lost against shell=/bin/zsh by root@frodo" in output
        assert "beonss conflicts reassert, dismiss" in output
        identifier = output.splitlines()[0].split()[0]
        run("conflicts dismiss", 2)
        run(f"conflicts dismiss {identifier} --all", 2)
        assert run(f"conflicts dismiss {identifier} --dry-run").startswith("would be done: 1 writes")
        assert run(f"conflicts reassert {identifier}").startswith("user frodo (1001) has again what root@gamgee made")
        assert view(daemon).user("frodo").entry.shell == "/bin/csh"
        assert run("conflicts dismiss --all") == "1 writes that lost are dismissed\n"


class TestExport:
    def test_passwd_files(self, run, daemon, tmp_path):
        daemon.accounts.user("sam", 1001, "$6$secret")
        run("group add staff --gid 1500 --members sam")
        out = tmp_path / "out"
        assert run(f"export --passwd {out}") == f"1 user and 1 group are in {out}\n"
        assert (out / "shadow").read_text() == "sam:$6$secret:::::::\n"
        assert (out / "group").read_text() == "staff:x:1500:sam\n"
        with pytest.raises(ConfigurationError, match="exists"):
            run(f"export --passwd {out}")
        run(f"export --passwd {out} --overwrite --no-hashes")
        assert (out / "shadow").read_text() == "sam:*:::::::\n"
        assert [line["detail"] for line in daemon.audit.lines if line["event"] == "export"] == [
            "1 users, 1 groups, with hashes",
            "1 users, 1 groups, without hashes",
        ]

    def test_ldif(self, run, daemon, tmp_path):
        daemon.accounts.user("sam", 1001, "$6$secret")
        run(f"export --ldif {tmp_path / 'a'} --people ou=p,dc=x --groups ou=g,dc=x --containers")
        text = (tmp_path / "a").read_text()
        assert "dn: uid=sam,ou=p,dc=x\n" in text
        assert "dn: ou=g,dc=x\n" in text
        assert "userPassword: {CRYPT}$6$secret\n" in text

    @pytest.mark.parametrize("base", ["garbage", "dc=x,", "=x", "ou=a;b", "dc=x\\"])
    def test_a_base_that_is_no_name_writes_nothing(self, run, daemon, tmp_path, base):
        daemon.accounts.user("sam", 1001)
        with pytest.raises(BeonssError, match="no distinguished name"):
            CliRunner().invoke(
                command,
                ["export", "--ldif", str(tmp_path / "a"), "--base", base],
                standalone_mode=False,
                catch_exceptions=False,
            )
        assert list(tmp_path.iterdir()) == []

    def test_what_is_left_out_is_told_and_has_an_exit_code(self, run, daemon, tmp_path):
        daemon.accounts.user("sam", 1001)
        for row in user_rows("#odd", 1002, first=50):
            daemon.accounts.put_changes([Change(row.key, row.value)])
        daemon.accounts.put_changes(
            intents.create_user(AccountView(), UserEntry("twin", 1001, 100, "", "/", ""), 99), origin=THERE
        )
        output = run(f"export --passwd {tmp_path / 'out'}", 1)
        assert "left out: user #odd: passwd: the name '#odd' begins with '#'" in output
        assert "left out: 1 conflicts" in output
        assert (tmp_path / "out" / "passwd").read_text().startswith("sam:")

    def test_an_empty_export_replaces_nothing(self, run, daemon, tmp_path):
        (tmp_path / "passwd").write_text("good")
        with pytest.raises(ConfigurationError, match="no accounts"):
            run(f"export --passwd {tmp_path} --overwrite")
        with pytest.raises(ConfigurationError, match="no accounts"):
            run(f"export --passwd {tmp_path}/new/one")
        assert [path.name for path in tmp_path.iterdir()] == ["passwd"]
        assert (tmp_path / "passwd").read_text() == "good"

    def test_many_come_in_parts(self, run, daemon, tmp_path):
        for number in range(1200):
            daemon.accounts.user(f"u{number}", 5000 - number)
        run(f"export --passwd {tmp_path / 'out'}")
        uids = [int(line.split(":")[2]) for line in (tmp_path / "out" / "passwd").read_text().splitlines()]
        assert uids == sorted(uids)
        assert len(uids) == 1200


class TestBackup:
    @pytest.fixture
    def state(self, tmp_path):
        path = tmp_path / "state"
        words = ["init", "--state", str(path), "--name", "frodo", "--address", "127.0.0.1:7653"]
        assert CliRunner().invoke(command, words).exit_code == 0
        return path

    @pytest.fixture
    def daemon(self, state, daemon, monkeypatch):
        made = Daemon(state)
        for module in (asking, backup):
            monkeypatch.setattr(module, "ControlClient", made)
        return made

    def test_of_a_running_master_and_back(self, run, daemon, tmp_path):
        for number in range(7):
            daemon.accounts.user(f"u{number}", 5000 + number, Password("$6$secret").hash)
        file = tmp_path / "backup"
        output = run(f"backup {file}")
        assert "frodo of cluster" in output
        assert "7 users, 0 groups, 21 registers; cluster.pub, members, member.crt, member.key" in output
        assert "private key is not in it" in output
        assert "secret" not in output
        assert daemon.audit.lines[-1]["event"] == "backup"
        assert "private key is not" not in run(f"backup {file} --overwrite --with-cluster-key")
        assert "21 registers; cluster.key," in run(f"restore {file} --check")
        output = run(f"restore {file} --state {tmp_path / 'new'}")
        assert f"restored into {tmp_path / 'new'}" in output
        assert "21 registers" in run(f"backup {tmp_path / 'again'} --state {tmp_path / 'new'}")
        assert "7 users" in run(f"export --passwd {tmp_path / 'out'} --state {tmp_path / 'new'}")
        with pytest.raises(ConfigurationError, match="already belongs"):
            run(f"restore {file} --state {tmp_path / 'new'}")

    def test_a_master_that_was_never_started_has_nothing_to_back_up(self, run, state, tmp_path):
        with pytest.raises(ConfigurationError, match="not been started"):
            run(f"backup {tmp_path / 'b'} --state {state}")
        assert not (tmp_path / "b").exists()

    def test_what_breaks_off_leaves_no_file(self, run, daemon, tmp_path):
        async def broken(question, more=None):
            raise StoreError("the disk is broken")

        daemon.accounts.page = broken
        with pytest.raises(StoreError, match="disk is broken"):
            run(f"backup {tmp_path / 'b'}")
        assert not (tmp_path / "b").exists()
        assert not list(tmp_path.glob(".b*"))

    def test_a_damaged_one_is_refused(self, run, tmp_path):
        (tmp_path / "b").write_bytes(b"\x1f\x8bnonsense")
        with pytest.raises(MalformedError):
            run(f"restore {tmp_path / 'b'} --state {tmp_path / 'new'}")
        assert not (tmp_path / "new").exists()
