"""``beonss accounts``: what it prints, what it asks, and its exit codes; against the real operations, in memory."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from support.fake_accounts import FakeAccounts, now

from beonss.admin import account_import, accounts
from beonss.admin.account_import import CHUNK, chunks
from beonss.core.accounts.entries import Password
from beonss.daemon.accounts.operations import AccountOperations
from beonss.daemon.targets.deliveries import Standing
from beonss.errors import Refused, StoreError, Unavailable
from beonss.wire.control import End, Event

PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\nfrodo:x:1001:100:Frodo:/home/frodo:/bin/sh\nsam:x:1002:100:Sam:/home/sam:/bin/sh\n"
)
SHADOW = "frodo:$6$f$secret:19000:0:99999:7:::\nsam:!$6$s$secret:19000::::::\n"
GROUP = "users:x:100:\nhobbits:x:1100:frodo,merry\n"


async def nothing():
    """Wait for nothing."""


class Daemon:
    """The operations of a master, and the client that asks them."""

    def __init__(self):
        self.accounts = FakeAccounts()
        self.reasserted = []
        deliveries = SimpleNamespace(
            targets=lambda: ("local",),
            standing=lambda *_: Standing(None),
            conflicts=list,
            reassert=lambda *arguments, **options: self.reasserted.append((arguments, options)) or 2,
        )
        floors = SimpleNamespace(uid_floor=1000, gid_floor=1000)
        self.table = AccountOperations(self.accounts, deliveries, lambda: floors, "frodo", lambda: 5).table()
        self.asked = []
        self.trouble = {}

    def __call__(self, path=None, timeout=60):
        self.path = path
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Close nothing."""

    def ask(self, operation, parameters=None, on_event=None):
        self.asked.append((operation, json.loads(json.dumps(parameters or {}))))
        error = self.trouble.get((operation, sum(1 for name, _ in self.asked if name == operation)))
        if error is not None:
            raise error
        peer = SimpleNamespace(uid=0, drained=nothing)

        def report(name, **data):
            on_event(Event(name, data))

        data = dict(now(self.table[operation].run(parameters or {}, peer, report)))
        return End("ok", data.pop("message", ""), json.loads(json.dumps(data)))


@pytest.fixture
def daemon(monkeypatch):
    made = Daemon()
    monkeypatch.setattr(accounts, "ControlClient", made)
    monkeypatch.setattr(account_import, "ControlClient", made)
    return made


@pytest.fixture
def run(daemon, tmp_path):
    for name, text in (("passwd", PASSWD), ("shadow", SHADOW), ("group", GROUP)):
        (tmp_path / name).write_text(text)

    def invoke(*arguments, **options):
        words = [str(tmp_path / word[1:]) if word.startswith("@") else word for word in arguments]
        result = CliRunner().invoke(accounts.command, words, **options)
        assert "secret" not in result.output
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


FILES = ("import", "--passwd", "@passwd", "--shadow", "@shadow", "--group", "@group")


def test_an_import_tells_what_it_did(run, daemon):
    result = run(*FILES)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "new: user frodo",
        "new: user sam",
        "new: group hobbits",
        "unknown member: merry of group hobbits: no such user here",
        "users: 2 created, 0 changed, 0 unchanged, 0 left out",
        "groups: 1 created, 0 changed, 0 unchanged, 0 left out",
        "2 accounts of the system itself (below the floor, or nobody) were not looked at",
    ]
    assert daemon.accounts.view.user("sam").locked
    again = run(*FILES)
    assert "users: 0 created, 0 changed, 2 unchanged, 0 left out" in again.output


def test_a_dry_run_writes_nothing(run, daemon):
    result = run(*FILES, "--dry-run")
    assert result.exit_code == 0
    assert "users: 2 would be created" in result.output
    assert "nothing was written" in result.output
    assert "unknown member: frodo" not in result.output
    assert daemon.accounts.rows == {}


def test_what_is_left_out_is_told_and_the_exit_code_says_so(run, tmp_path):
    (tmp_path / "passwd").write_text(PASSWD + "odd line\nother:x:1001:100:::\nevil:x:1500:0:::\n")
    result = run(*FILES)
    assert result.exit_code == 1
    assert f"left out: {tmp_path / 'passwd'}:4: has 1 fields, passwd(5) has 7" in result.output
    assert "other its uid 1001 was used in line 2 already" in result.output
    assert "evil its primary group is 0" in result.output
    (tmp_path / "passwd").write_text("frodo:x:2000:100:::\n")
    result = run(*FILES)
    assert result.exit_code == 1
    assert "left out: user frodo: has uid 1001 here and 2000 in the file" in result.output


def test_nis_maps_from_standard_input_and_a_floor(run, daemon):
    result = run("import", "--passwd", "-", "--uid-floor", "1002", input=PASSWD.replace(":x:", ":$1$a$secret:"))
    assert result.exit_code == 0
    assert [user.entry.name for user in daemon.accounts.view.users()] == ["sam"]
    assert daemon.accounts.view.user("sam").password == Password("$1$a$secret")


def test_what_ypcat_prints_is_read_as_it_comes(run, daemon, tmp_path):
    """In the order of a hash table, DES and MD5 hashes in the second field, netgroup lines, an empty group list."""
    (tmp_path / "nis-passwd").write_text(
        "sam:rOz0Ewn6uiCjA:1002:100:Samwise Gamgee,,,:/home/sam:/bin/tcsh\n"
        "+@admins::::::\n"
        "frodo:$1$Yy5yJ5Nn$kD0KyXoWQ0aZ6iYwVqv.h1:1001:100::/home/frodo:\n"
        "gone:*:1003:100:Left us:/home/gone:/bin/false\n"
        "nobody:*:65534:65534::/:\n"
    )
    (tmp_path / "nis-group").write_text("staff:*:1100:sam,frodo\nempty:*:1101:\nusers:*:100:\n")
    result = run("import", "--passwd", "@nis-passwd", "--group", "@nis-group")
    assert result.exit_code == 0, result.output
    view = daemon.accounts.view
    assert view.user("sam").password == Password("rOz0Ewn6uiCjA")
    assert view.user("frodo").password.hash.startswith("$1$")
    assert view.user("gone").password is None
    assert view.group("staff").members == ("frodo", "sam")
    assert view.group("empty").members == ()


def test_json(run):
    found = json.loads(run(*FILES, "--json").output)
    assert (found["total"], found["done"], found["error"], found["below_floor"]) == (3, 3, None, 2)
    assert found["counts"] == {"user:create": 2, "group:create": 1}
    assert [item["name"] for item in found["items"]] == ["frodo", "sam", "hobbits"]


def test_many_go_in_chunks_and_only_what_matters_is_told(run, daemon, tmp_path):
    (tmp_path / "passwd").write_text("".join(f"u{n}:x:{2000 + n}:100:::\n" for n in range(1200)))
    result = run("import", "--passwd", "@passwd")
    assert [len(parameters["users"]) for name, parameters in daemon.asked if name == "accounts.import"] == [
        250,
        250,
        250,
        250,
        200,
    ]
    assert result.output == "users: 1200 created, 0 changed, 0 unchanged, 0 left out\n"


def test_a_failure_in_the_middle_is_never_called_done(run, daemon, tmp_path):
    (tmp_path / "passwd").write_text("".join(f"u{n}:x:{2000 + n}:100:::\n" for n in range(1200)))
    daemon.trouble["accounts.import", 2] = Refused("failed", "the disk is full")
    result = run("import", "--passwd", "@passwd")
    assert result.exit_code == 1
    assert "users: 250 created" in result.output
    assert "stopped after 250 of 1200 accounts: the disk is full" in result.output
    daemon.trouble["accounts.import", 3] = StoreError("gone")
    found = json.loads(run("import", "--passwd", "@passwd", "--json").stdout)
    assert (found["error"], found["done"]) == ("gone", 0)


def test_an_import_of_nothing_is_refused(run, daemon, tmp_path):
    (tmp_path / "passwd").write_text("")
    with pytest.raises(Exception, match="nothing to import"):
        run("import", "--passwd", "@passwd")
    (tmp_path / "passwd").write_text("odd line\nevil:x:1500:0:::\n")
    with pytest.raises(
        Exception, match=r"(?s)2 skipped.*passwd:1: has 1 fields.*passwd:2: 'evil' its primary group is 0"
    ):
        run("import", "--passwd", "@passwd")
    (tmp_path / "passwd").write_text("odd line\n" * 50)
    with pytest.raises(Exception, match=r"and 40 more"):
        run("import", "--passwd", "@passwd")
    with pytest.raises(Exception, match="cannot be read"):
        run("import", "--passwd", "@missing")
    for words in (
        ("import",),
        ("import", "--shadow", "@shadow", "--group", "@group"),
        ("import", "--passwd", "-", "--group", "-"),
    ):
        assert run(*words).exit_code == 2
    assert daemon.accounts.rows == {}


def test_a_file_without_end_is_refused_and_a_fifo_is_read(run, monkeypatch, tmp_path):
    monkeypatch.setattr(account_import, "_LARGEST", 1 << 16)
    with pytest.raises(Exception, match="/dev/zero: cannot be read: it has more than 64 KiB"):
        run("import", "--passwd", "/dev/zero")
    with pytest.raises(Exception, match="standard input has more"):
        run("import", "--passwd", "-", input="x" * (1 << 17))
    os.mkfifo(tmp_path / "fifo")
    with ThreadPoolExecutor(1) as pool:
        pool.submit((tmp_path / "fifo").write_text, PASSWD)
        assert run("import", "--passwd", "@fifo", "--dry-run").exit_code == 0


def test_no_daemon_is_said(run, monkeypatch):
    def nobody(path=None):
        raise Unavailable("no daemon runs here")

    monkeypatch.setattr(accounts, "ControlClient", nobody)
    with pytest.raises(Unavailable):
        run("reassert", "--target", "local", "--all")


def test_reasserting(run, daemon):
    for words in (("reassert", "--target", "local"), ("reassert", "a", "--all", "--target", "local")):
        assert run(*words).exit_code == 2
    assert "2 accounts are delivered to local again" in run("reassert", "--target", "local", "frodo").output
    run("reassert", "--target", "local", "--all")
    run("reassert", "--target", "local", "--shrink")
    assert daemon.reasserted == [
        (("local", ["frodo"]), {"shrink": False}),
        (("local", None), {"shrink": False}),
        (("local", []), {"shrink": True}),
    ]


def test_chunks_are_bounded_in_number_and_size():
    assert [len(chunk) for chunk in chunks([{"name": "a"}] * (CHUNK + 1))] == [CHUNK, 1]
    heavy = {"name": "g", "members": ["member"] * 1024 * CHUNK}
    assert [len(chunk) for chunk in chunks([{"name": "a"}, heavy, {"name": "b"}])] == [1, 1, 1]
    assert list(chunks([])) == []
