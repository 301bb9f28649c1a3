"""The cpasswd command as its user meets it: prompts, lines, exit codes, and never a password where others can see it.

The command runs as a process of its own, against a scripted daemon or against the real control socket.
"""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from types import SimpleNamespace

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from beonss.core.accounts.entries import Password, UserEntry
from beonss.core.accounts.intents import create_user
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Register, Stamp
from beonss.daemon.passwords.authority import Passwords
from beonss.daemon.passwords.operations import password_operations
from beonss.daemon.passwords.standards import PasswordSettings
from beonss.net.control import ControlFactory, listen_control
from beonss.store.audit import AuditLog
from beonss.store.crypt import hash_password
from beonss.store.hashing import HashingThreads

COMMAND = [sys.executable, "-m", "cpasswd"]
DEADLINE = 20

TERMS = {"end": {"code": "ok", "message": "", "user": "alice", "needs_old": True, "machine": "frodo", "role": "master"}}
ROOT_TERMS = {"end": TERMS["end"] | {"needs_old": False}}


def line(name, state, kind="master", detail="", since=None):
    return {"event": "line", "kind": kind, "name": name, "state": state, "detail": detail, "since": since}


def end(code, message, **data):
    return {"end": {"code": code, "message": message, **data}}


DONE = [
    line("frodo", "changed"),
    line("gamgee", "changed"),
    end("ok", "the password is changed: held by 2 of 2 masters"),
]


class ScriptedDaemon:
    """Answers the n-th request with the n-th list of replies; remembers what was asked. None closes the connection."""

    def __init__(self, path, *answers):
        self.path = str(path)
        self.requests = []
        self._answers = answers
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.path)
        self._socket.listen()
        self._socket.settimeout(DEADLINE)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        with connection, connection.makefile("rwb") as stream:
            connection.settimeout(DEADLINE)
            for answer in self._answers:
                request = stream.readline()
                if not request:
                    return
                self.requests.append(json.loads(request))
                for reply in answer:
                    if reply is None:
                        return
                    stream.write(reply if isinstance(reply, bytes) else json.dumps(reply).encode() + b"\n")
                    stream.flush()
            stream.readline()

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


@pytest.fixture
def daemon(tmp_path):
    daemons = []

    def start(*answers):
        daemons.append(ScriptedDaemon(tmp_path / "control", *answers))
        return daemons[-1]

    yield start
    for one in daemons:
        one.close()


def run(daemon, *arguments, lines=(b"old secret 1", b"new secret 22"), options=("--stdin",)):
    environment = {**os.environ, "BEONSS_CONTROL": daemon if isinstance(daemon, str) else daemon.path}
    return subprocess.run(
        [*COMMAND, *options, *arguments],
        input=b"".join(one + b"\n" for one in lines),
        capture_output=True,
        env=environment,
        timeout=DEADLINE,
        check=False,
        start_new_session=True,
    )


class AtTerminal:
    """The command with a terminal of its own, as a person has one."""

    def __init__(self, daemon, *arguments):
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            os.environ["BEONSS_CONTROL"] = daemon.path
            os.execv(sys.executable, [*COMMAND, *arguments])
        self.seen = b""

    def read_until(self, text):
        limit = time.monotonic() + DEADLINE
        while text.encode() not in self.seen:
            left = limit - time.monotonic()
            assert left > 0, f"no {text!r} in {self.seen!r}"
            if select.select([self._master], [], [], left)[0]:
                try:
                    data = os.read(self._master, 4096)
                except OSError:
                    data = b""
                assert data, f"no {text!r} in {self.seen!r}"
                self.seen += data

    def answer(self, prompt, text):
        self.read_until(prompt)
        _, _, self.seen = self.seen.partition(prompt.encode())
        os.write(self._master, text)

    def send(self, number):
        os.kill(self._pid, number)

    def finish(self):
        """Return the exit code, after reading what is left."""
        rest = b""
        limit = time.monotonic() + DEADLINE
        while time.monotonic() < limit and select.select([self._master], [], [], DEADLINE)[0]:
            try:
                data = os.read(self._master, 4096)
            except OSError:
                break
            if not data:
                break
            rest += data
        self.seen += rest
        os.close(self._master)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


# --- what is asked and told -------------------------------------------------------------------------------------------


def test_a_change_prints_a_line_for_each_place_and_how_it_went(daemon):
    since = time.time() - 100
    server = daemon(
        [TERMS],
        [
            line("frodo", "changed"),
            line("merry", "buffered", since=since),
            line("ldap", "pending", "target", "trying again"),
            end("ok", "done"),
        ],
    )
    result = run(server, "alice")
    assert result.returncode == 0
    assert result.stderr == b""
    moment = time.strftime("%H:%M:%S", time.localtime(since))
    assert result.stdout.decode().splitlines() == [
        "  frodo             changed",
        f"  merry             buffered  away since {moment}",
        "  ldap (target)     pending   trying again",
        "cpasswd: done",
    ]
    assert server.requests == [
        {"op": "password-terms", "user": "alice"},
        {"op": "change-password", "user": "alice", "old": "old secret 1", "new": "new secret 22"},
    ]


def test_without_a_user_the_daemon_says_whose_password_it_is(daemon):
    server = daemon([TERMS], DONE)
    assert run(server).returncode == 0
    assert server.requests[0] == {"op": "password-terms"}
    assert server.requests[1]["user"] == "alice"


def test_root_of_a_master_gives_no_old_password(daemon):
    server = daemon([ROOT_TERMS], DONE)
    assert run(server, "alice", lines=[b"new secret 22"]).returncode == 0
    assert "old" not in server.requests[1]


def test_a_password_of_any_bytes_arrives(daemon):
    server = daemon([TERMS], DONE)
    run(server, lines=[b"\xff\xfe old", "n\u00e4u".encode()])
    assert server.requests[1]["old"].encode("utf-8", "surrogateescape") == b"\xff\xfe old"
    assert server.requests[1]["new"] == "n\u00e4u"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ([end("ok", "changed")], 0),
        ([end("wrong-password", "the password is wrong")], 1),
        ([end("weak-password", "the new password is not taken: it is shorter than 10 characters")], 1),
        ([end("a-word-of-the-future", "no")], 1),
        ([line("frodo", "changed"), end("held-here-only", "so far only frodo holds it")], 3),
        ([end("unavailable", "no master answers")], 4),
        ([line("frodo", "changed"), end("target-refused", "ldap did not take it")], 5),
        ([end("internal", "an error of the daemon's own")], 6),
        ([line("frodo", "changed"), None], 3),
        ([None], 6),
        ([line("frodo", "changed"), end("unknown-outcome", "the master went away")], 3),
        ([end("unknown-outcome", "the master went away")], 6),
        ([b"garbage\n"], 6),
        ([{"event": "line", "kind": 7}], 6),
    ],
)
def test_each_way_it_can_go_has_its_documented_exit_code(daemon, answer, code):
    result = run(daemon([TERMS], answer))
    assert result.returncode == code
    told = (result.stdout + result.stderr).decode()
    assert told.rstrip().splitlines()[-1].startswith("cpasswd: ")
    assert ("Nothing was changed" in told) == (code in {1, 4})
    assert "Traceback" not in told


def test_a_refusal_before_anything_is_typed_ends_it(daemon):
    result = run(daemon([end("below-floor", "'daemon' is a system account")]), "daemon")
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"system account" in result.stderr


def test_without_a_daemon_the_user_is_told_so(tmp_path):
    result = run(str(tmp_path / "nothing"))
    assert result.returncode == 4
    assert b"no daemon runs here" in result.stderr
    (tmp_path / "stale").touch()
    assert run(str(tmp_path / "stale")).returncode == 4


def test_quiet_prints_only_what_went_wrong(daemon):
    result = run(daemon([TERMS], DONE), "-q")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_json_is_one_object_per_line_with_the_exit_code_in_the_last(daemon):
    result = run(daemon([TERMS], DONE), "--json")
    told = [json.loads(one) for one in result.stdout.splitlines()]
    assert [one.get("name") for one in told] == ["frodo", "gamgee", None]
    assert told[-1]["end"]["exit"] == result.returncode == 0
    refused = run("/nonexistent/socket", "--json")
    assert json.loads(refused.stdout)["end"] | {"message": ""} == {"code": "unavailable", "exit": 4, "message": ""}


def test_a_name_that_the_terminal_cannot_show_is_no_reason_to_fail(daemon, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = run(daemon([TERMS], [line("zürich", "changed"), end("ok", "ändert")]))
    assert (result.returncode, result.stdout.split()[0]) == (0, b"z?rich")


def test_text_from_elsewhere_cannot_move_the_cursor(daemon):
    result = run(daemon([TERMS], [line("evil\x1b[2J\n", "changed"), end("ok", "x\x07")]))
    assert b"\x1b" not in result.stdout
    assert b"\x07" not in result.stdout


@pytest.mark.parametrize("lines", [[], [b"one"], [b"a", b"b", b"c"], [b"x" * 5000]])
def test_standing_in_with_too_few_or_many_lines_is_a_usage_error_before_anything_is_sent(daemon, lines):
    server = daemon([TERMS])
    assert run(server, lines=lines).returncode == 2
    assert len(server.requests) == 1


def test_a_password_that_is_too_long_is_never_sent(daemon):
    server = daemon([TERMS])
    assert run(server, lines=[b"x", b"y" * 600]).returncode == 1
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "arguments", [["alice", "s3cret-word"], ["-p", "s3cret-word"], ["--password=s3cret-word"], ["--stdni"]]
)
def test_a_password_on_the_command_line_is_refused_and_not_repeated(arguments):
    result = run("/nonexistent/socket", *arguments, options=())
    assert result.returncode == 2
    assert b"s3cret" not in result.stdout + result.stderr


def test_help_and_version():
    result = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    assert "exit codes:" in result.stdout
    assert subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True).stdout.startswith(
        "cpasswd "
    )


def test_it_starts_without_twisted_and_without_third_parties():
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"  # measuring coverage loads modules of its own
        "import cpasswd.main\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(names & {'twisted', 'click', 'rich', 'pydantic', 'passlib', 'msgpack', 'sqlite3', 'asyncio'}))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"


# --- at a terminal ----------------------------------------------------------------------------------------------------


def test_a_person_is_asked_without_echo_and_sees_the_lines(daemon):
    server = daemon([TERMS], DONE)
    terminal = AtTerminal(server)
    terminal.answer("Old password: ", b"old secret 1\n")
    terminal.answer("New password: ", b"new secret 22\n")
    terminal.answer("New password again: ", b"new secret 22\n")
    assert terminal.finish() == 0
    assert b"held by 2 of 2" in terminal.seen
    assert b"secret" not in terminal.seen
    assert server.requests[1]["new"] == "new secret 22"


def test_a_typing_error_is_asked_again_and_an_empty_password_is_not_taken(daemon):
    server = daemon([ROOT_TERMS], DONE)
    terminal = AtTerminal(server, "alice")
    terminal.answer("New password: ", b"new secret 22\n")
    terminal.answer("New password again: ", b"new secret 23\n")
    terminal.answer("New password: ", b"\n")
    terminal.answer("New password: ", b"new secret 22\n")
    terminal.answer("New password again: ", b"new secret 22\n")
    assert terminal.finish() == 0


def test_a_weak_password_is_asked_again_without_the_old_one(daemon):
    server = daemon([TERMS], [end("weak-password", "the new password is not taken: it is a pattern")], DONE)
    terminal = AtTerminal(server)
    terminal.answer("Old password: ", b"old secret 1\n")
    terminal.answer("New password: ", b"12345678901\n")
    terminal.answer("New password again: ", b"12345678901\n")
    terminal.read_until("it is a pattern.")
    terminal.answer("New password: ", b"new secret 22\n")
    terminal.answer("New password again: ", b"new secret 22\n")
    assert terminal.finish() == 0
    assert [request.get("old") for request in server.requests[1:]] == ["old secret 1"] * 2


def test_root_of_a_node_is_told_why_it_is_asked_for_the_old_password(daemon):
    terminal = AtTerminal(daemon([{"end": TERMS["end"] | {"role": "node"}}], DONE), "alice")
    if os.geteuid() == 0:
        terminal.read_until("its root needs the old password too")
    terminal.answer("Old password: ", b"\x03")
    assert terminal.finish() == 130


def test_three_wrong_repetitions_end_it(daemon):
    server = daemon([ROOT_TERMS])
    terminal = AtTerminal(server)
    for _ in range(3):
        terminal.answer("New password: ", b"new secret 22\n")
        terminal.answer("New password again: ", b"other\n")
    assert terminal.finish() == 1
    assert len(server.requests) == 1


@pytest.mark.parametrize(("keys", "code"), [(b"\x03", 130), (b"\x04", 130)])
def test_control_c_and_control_d_at_a_prompt_change_nothing(daemon, keys, code):
    terminal = AtTerminal(daemon([TERMS]))
    terminal.answer("Old password: ", keys)
    assert terminal.finish() == code
    assert b"nothing was changed" in terminal.seen


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([], "is not known"),
        ([line("frodo", "changed")], "The password is changed, every master will get it"),
    ],
)
def test_control_c_while_waiting_says_what_is_known(daemon, told, words):
    server = daemon([TERMS], told)
    terminal = AtTerminal(server)
    terminal.answer("Old password: ", b"old secret 1\n")
    terminal.answer("New password: ", b"new secret 22\n")
    terminal.answer("New password again: ", b"new secret 22\n")
    if told:
        terminal.read_until("frodo")
    else:
        limit = time.monotonic() + DEADLINE
        while len(server.requests) < 2 and time.monotonic() < limit:
            select.select([], [], [], 0.01)
    terminal.send(signal.SIGINT)
    assert terminal.finish() == 130
    assert words in terminal.seen.decode()
    assert b"Traceback" not in terminal.seen


def test_a_kill_gives_the_terminal_its_echo_back(daemon):
    terminal = AtTerminal(daemon([TERMS]))
    terminal.read_until("Old password: ")
    terminal.send(signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(terminal._pid, 0)[1]) == 143
    assert termios.tcgetattr(terminal._master)[3] & termios.ECHO
    os.close(terminal._master)


def test_without_a_terminal_or_stdin_it_says_so(daemon):
    result = run(daemon([TERMS]), options=())
    assert result.returncode == 2
    assert b"--stdin" in result.stderr


# --- against the real daemon's parts ----------------------------------------------------------------------------------


class Accounts:
    """Accounts in memory with the real view."""

    def __init__(self):
        self.view = AccountView()
        self.sequence = 0

    def now(self, changes):
        rows = []
        for change in changes:
            self.sequence += 1
            rows.append(Register(change.key, change.value, Stamp(self.sequence, "a" * 32, self.sequence)))
        self.view.apply(rows)
        return rows

    async def write(self, changes, author):
        return self.now(changes)

    async def get(self, name):
        return None

    async def put(self, name, value):
        pass


@ensureDeferred
async def test_from_the_command_to_a_hash_with_the_real_parts_between(tmp_path):
    """cpasswd, control socket, operations, rules, libxcrypt: as root without the old password, and with a wrong one."""
    accounts = Accounts()
    password = Password(hash_password(b"mellon-speak", "sha512crypt", 5000, bytes(16)), 1)
    accounts.now(
        create_user(accounts.view, UserEntry("alice", 1001, 100, "", "/home/alice", "/bin/sh"), 1, password=password)
    )
    hashing = HashingThreads()
    passwords = Passwords(
        reactor,
        accounts=accounts,
        masters=SimpleNamespace(peers={}, holds=lambda *_: False, on_acknowledge=lambda _: lambda: None),
        hashing=hashing,
        audit=AuditLog(tmp_path / "audit.log", time.time, "frodo"),
        name="frodo",
        settings=PasswordSettings(cost=5000),
    )
    operations = password_operations(passwords, lambda: accounts.view, master=True)
    path = tmp_path / "control"
    port = listen_control(reactor, path, ControlFactory(reactor, operations))
    try:
        if os.getuid() == 0:
            result = await deferToThread(run, str(path), "alice", lines=[b"correct horse battery"])
            assert (result.returncode, result.stderr) == (0, b"")
            assert b"frodo             changed" in result.stdout
            assert hashing.verify("", b"correct horse battery", accounts.view.user("alice").password.hash).result(
                DEADLINE
            )
        result = await deferToThread(run, str(path), "nobody-here")
        assert result.returncode == 1
        assert b"there is no user 'nobody-here'" in result.stderr
    finally:
        await port.stopListening()
        hashing.close()
