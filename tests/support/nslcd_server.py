"""Our nslcd socket in a process of its own, over the accounts and hosts of ``support.fakes``.

``python -m support.nslcd_server SOCKET [--node] [--empty] [--users N]`` prints ``ready`` when it listens and ends
with its standard input. It knows one password for everybody, ``sesame`` until it is changed.
"""

import argparse
import sys
from ipaddress import IPv4Address
from pathlib import Path

from twisted.internet import reactor, stdio
from twisted.internet.protocol import Protocol
from twisted.logger import globalLogBeginner, textFileLogObserver

from beonss.core.accounts.aging import account_state
from beonss.core.accounts.entries import Aging
from beonss.core.accounts.lookup import Lookups, Rules
from beonss.core.accounts.view import AccountView
from beonss.errors import Refused, Unavailable
from beonss.net.nslcd import NslcdFactory, listen_nslcd
from beonss.net.pam import PamDoor, PamResult, verdict
from beonss.wire.nslcd import PamCode
from beonss.wire.nslcd_answer import Answers
from support.fakes import FakeNames, fellowship

TODAY = 20500


class OnePassword:
    """Knows each user's password in plain text, and the rules of ageing."""

    def __init__(self, lookups):
        self.lookups = lookups
        self.passwords = {}
        self.changed = {}

    async def authenticate(self, user, password, service, rhost, peer):
        if service == "away":
            raise Unavailable("no master answers")
        good = password == self.passwords.get(user, "sesame")
        return PamResult(PamCode.SUCCESS if good else PamCode.AUTH_ERR, "" if good else "wrong password")

    async def authorise(self, user, service, rhost, peer, by_password):
        found = self.lookups.user(user)
        assert found is not None
        changed = self.changed.get(user, found.password and found.password.changed)
        return verdict(
            account_state(found.aging, locked=found.locked, changed=changed, day=TODAY, by_password=by_password)
        )

    async def note_unknown(self, rhost, peer):
        """Nothing is kept here."""

    async def change_password(self, user, asroot, old, new, peer):
        if not asroot and old != self.passwords.get(user, "sesame"):
            raise Refused("wrong-password", "the old password is wrong")
        if len(new) < 6:
            raise Refused("weak-password", "the new password is too short for this cluster")
        self.passwords[user] = new
        self.changed[user] = TODAY
        return PamResult(PamCode.SUCCESS)


class UntilEnd(Protocol):
    """Ends the process with its standard input, so that none is left behind."""

    def connectionLost(self, reason=None):
        if reactor.running:
            reactor.stop()


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("socket", type=Path)
    options.add_argument("--node", action="store_true")
    options.add_argument("--empty", action="store_true")
    options.add_argument("--users", type=int, default=0)
    chosen = options.parse_args()
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    rows = fellowship()
    rows.user("aged", 5010, hash="*", changed=20000, aging=Aging(maximum=90))
    rows.user("warned", 5011, hash="*", changed=TODAY - 88, aging=Aging(maximum=90, warning=7))
    rows.user("expired", 5012, hash="*", changed=20000, aging=Aging(expires=20100))
    rows.user("lümmel", 5013, gecos="Lümmel von der letzten Bank")
    crowd = [rows.user(f"user{n:06}", 10000 + n) for n in range(chosen.users)]
    if crowd:
        rows.group("crowd", 6000, *crowd)
    view = AccountView(rows.rows)
    lookups = Lookups(
        None if chosen.empty else FakeNames(),
        view,
        known=lambda: not chosen.empty,
        asker=IPv4Address("10.5.1.7"),
        rules=Rules(shadow=not chosen.node),
    )
    pam = PamDoor(lookups, OnePassword(lookups), reactor, root_override=not chosen.node)
    factory = NslcdFactory(reactor, Answers(lookups), pam)
    stdio.StandardIO(UntilEnd())
    listen_nslcd(reactor, chosen.socket, factory)
    reactor.callWhenRunning(lambda: print("ready", flush=True))
    reactor.run(installSignalHandlers=False)


if __name__ == "__main__":
    main()
