"""Invariant 12 with the real parts: no plaintext password on the disk, in a log, in what peers get, or in argv.

One master's real database, threads, control socket and audit log; ``cpasswd`` and the directory forms around them.
"""

import io
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.logger import FileLogObserver, formatEventAsClassicLogText, globalLogPublisher

from beonss.core.accounts.entries import Password, UserEntry
from beonss.core.accounts.intents import create_user
from beonss.core.passwords.attempts import Source
from beonss.daemon.accounts.state import Accounts
from beonss.daemon.passwords.authority import Passwords
from beonss.daemon.passwords.operations import password_operations
from beonss.daemon.passwords.parts import ChangeRequest
from beonss.daemon.passwords.standards import PasswordSettings
from beonss.errors import Refused
from beonss.net.control import ControlFactory, listen_control
from beonss.store.audit import AuditLog, read_on
from beonss.store.crypt import hash_password, verify
from beonss.store.database import Database
from beonss.store.hashing import HashingThreads
from beonss.store.writer import Writer

OLD, NEW, WRONG, WEAK, LAST = b"mellon-speak-1", b"zz-correct-horse", b"wrong-guess-77", b"weak-7", b"gollum's own ring"
SECRETS = (OLD, NEW, WRONG, LAST)


@contextmanager
def everything_logged():
    """Collect all that is logged, at every level, formatted with tracebacks and with every field."""
    stream = io.StringIO()
    text = FileLogObserver(stream, formatEventAsClassicLogText)

    def observe(event):
        text(event)
        stream.write(repr(event) + "\n")
        if "log_failure" in event:
            stream.write(event["log_failure"].getTraceback(detail="verbose"))

    globalLogPublisher.addObserver(observe)
    try:
        yield stream
    finally:
        globalLogPublisher.removeObserver(observe)


class Machine:
    """A master's accounts, passwords and control socket in a directory."""

    def __init__(self, directory: Path):
        self.state = directory / "state"
        self.state.mkdir()
        self.writer = Writer(Database(self.state / "beonss.db", "c" * 32), fatal=lambda error: None)
        self.accounts = Accounts(
            reactor, self.writer, clock=lambda: int(time.time() * 1000), new_incarnation=lambda: "a" * 32
        )
        self.hashing = HashingThreads()
        self.audit = AuditLog(self.state / "audit.log", time.time, "frodo")
        self.passwords = Passwords(
            reactor,
            accounts=self.accounts,
            masters=SimpleNamespace(peers={}, holds=lambda *_: False, on_acknowledge=lambda _: lambda: None),
            hashing=self.hashing,
            audit=self.audit,
            name="frodo",
            settings=PasswordSettings(cost=5000),
        )
        self.socket = directory / "control"

    async def start(self):
        await self.accounts.start()
        await self.passwords.start()
        self.factory = ControlFactory(
            reactor, password_operations(self.passwords, lambda: self.accounts.view, master=True)
        )
        self.port = listen_control(reactor, self.socket, self.factory)
        password = Password(hash_password(OLD, "sha512crypt", 5000, bytes(16)), 1)
        entry = UserEntry("alice", 1001, 100, "", "/home/alice", "/bin/sh")
        await self.accounts.write(create_user(self.accounts.view, entry, 1, password=password), "test")

    async def stop(self):
        await self.port.stopListening()
        self.factory.close()
        await self.passwords.stop()
        await self.accounts.stop()

    def cpasswd(self, *lines):
        """Run the command; return its exit code, all it printed, and its command line as others saw it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "cpasswd", "--stdin", "--socket", str(self.socket), "alice"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        seen = Path(f"/proc/{process.pid}/cmdline").read_bytes() + Path(f"/proc/{process.pid}/environ").read_bytes()
        out, _ = process.communicate(b"".join(line + b"\n" for line in lines), timeout=30)
        return process.returncode, out, seen

    async def files(self):
        """Return the bytes of every file, the write-ahead log included."""
        return {path.name: path.read_bytes() for path in self.state.iterdir()}


def assert_no_secret(data, where):
    for secret in SECRETS:
        for form in (secret, secret.hex().encode(), repr(secret).encode()[2:-1]):
            assert form not in data, f"a password is in {where}"


@ensureDeferred
async def test_no_plaintext_is_left_anywhere(tmp_path):
    """Logins and changes, refused and made, over the socket and from within; then look at everything there is."""
    machine = Machine(tmp_path)
    with everything_logged() as log:
        await machine.start()
        printed = seen = b""
        try:
            me = Source("local", 1001)
            assert not (await machine.passwords.authenticate("alice", WRONG, me)).ok
            for old, new in ((WRONG, NEW), (OLD, WEAK)):
                with pytest.raises(Refused):
                    await machine.passwords.change(ChangeRequest("alice", new, old, me, "alice@frodo"), lambda _: None)
            outcome = await machine.passwords.change(
                ChangeRequest("alice", NEW, OLD, me, "alice@frodo"), lambda _: None
            )
            assert outcome.code == "ok"
            assert (await machine.passwords.authenticate("alice", NEW, me)).ok
            root = os.getuid() == 0
            lines = [LAST] if root else [NEW, LAST]
            code, printed, seen = await deferToThread(machine.cpasswd, *lines)
            assert code == 0
            hash_ = machine.accounts.view.user("alice").password.hash
            assert verify(LAST, hash_)
            assert not verify(NEW, hash_)
            during = await machine.files()
            page = await machine.accounts.page({})
        finally:
            await machine.stop()
        after = await machine.files()
    assert any(hash_.encode() in data for data in during.values())
    for name, data in [*during.items(), *after.items()]:
        assert_no_secret(data, name)
    assert_no_secret(log.getvalue().encode(), "the log")
    assert_no_secret(printed, "what cpasswd prints")
    assert_no_secret(seen, "the command line or the environment")
    for register in page.rows:
        assert_no_secret(register.value + repr(register).encode(), "what peers get")
    outcomes = [(line["event"], line.get("code", line["outcome"])) for line in read_on(machine.audit.path, None)[0]]
    assert outcomes[:4] == [
        ("authenticate", "wrong-password"),
        ("change-password", "wrong-password"),
        ("change-password", "weak-password"),
        ("change-password", "changed"),
    ]


@ensureDeferred
async def test_a_change_survives_a_restart_of_the_daemon(tmp_path):
    machine = Machine(tmp_path)
    await machine.start()
    try:
        request = ChangeRequest("alice", NEW, OLD, Source("local", 1001), "alice@frodo")
        assert (await machine.passwords.change(request, lambda _: None)).code == "ok"
    finally:
        await machine.stop()
    database = Database(machine.state / "beonss.db", "c" * 32)
    try:
        rows = [row for batch in database.registers() for row in batch if row.key.field == "password"]
    finally:
        database.close()
    assert [row.author for row in rows] == ["alice@frodo"]
    assert OLD not in rows[0].value
