"""Versions N and N+1 replicate with each other: one master runs code that says more than this version knows.

The next version is this one with a few functions wrapped before anything else is imported: each of its messages has
fields that we do not know, each sign of life is followed by a message of a type that we do not know, registers on the
wire are longer, values have more fields, and every change writes a register that we do not know.
"""

import contextlib
import json
import os
import sqlite3

import pytest
from cluster import wait_until
from support.people import PASSWORD, import_people

ZONE = "fellow.aero.org"
NEXT = """
import json
import sys

if any("twistd" in word for word in sys.argv[:1]) or "beonss" in sys.argv:
    import beonss
    beonss.__version__ = "99.0"
    from beonss.wire import registers, sync
    from beonss.wire.frames import frame
    from beonss.wire.packing import pack
    plain_row = registers.register_to_plain
    registers.register_to_plain = lambda row: [*plain_row(row), {"signed-by": "somebody"}]
    sync.register_to_plain = registers.register_to_plain

    def encode(message):
        data = frame(pack([message.TYPE, {**message.plain(), "of-the-next": {"x": [1, 2]}}]))
        if message.TYPE == "heartbeat":
            data += frame(pack(["weather", {"wind": 3}]))
        return data

    sync.encode = encode
    from beonss.core.accounts import entries as accounts
    from beonss.core.replication import publication
    plain_value = accounts.encode

    def richer(value):
        return json.dumps({**json.loads(plain_value(value)), "of-the-next": True}, sort_keys=True).encode()

    accounts.encode = richer
    plain_published = publication.encode_published
    publication.encode_published = lambda published: json.dumps(
        {**json.loads(plain_published(published)), "approved": ["root"]}
    ).encode()
    from beonss.core.replication.registers import Change, Key
    from beonss.daemon.accounts.state import Accounts
    write = Accounts.write

    async def writes_more(self, changes, author, wall=None):
        objects = dict.fromkeys(change.key.object for change in changes)
        more = [Change(Key(each, "keys-of-the-next"), b"not even JSON") for each in objects]
        return (await write(self, [*changes, *more], author, wall))[: len(changes)]

    Accounts.write = writes_more
"""


@pytest.fixture(scope="module")
def running(cluster, directory):
    """Return frodo and a node of this version, gamgee of the next."""
    frodo = cluster.add_master("frodo")
    cluster.start(frodo)
    gamgee = cluster.add_master("gamgee")
    patched = directory / "next"
    patched.mkdir()
    (patched / "sitecustomize.py").write_text(NEXT)
    gamgee.environment = {"PYTHONPATH": f"{patched}:{os.environ.get('PYTHONPATH', '')}"}
    node = cluster.add_node("r01n07")
    cluster.start(gamgee, node)
    import_people(cluster, gamgee, directory)
    return cluster


def test_each_sees_the_other_and_nothing_is_an_alarm(running):
    frodo, gamgee = running.masters["frodo"], running.masters["gamgee"]
    assert running.status(gamgee)["software"] == "99.0"
    for machine in (frodo, gamgee):
        wait_until(lambda machine=machine: all(m["reachable"] for m in running.status(machine)["members"]), "both")
        assert running.status(machine)["alarms"] == []


def test_what_either_writes_is_served_by_both_and_by_the_node(running):
    frodo, gamgee, node = running.masters["frodo"], running.masters["gamgee"], running.nodes["r01n07"]
    for machine in (frodo, gamgee, node):
        assert machine.nslcd.login("sam", PASSWORD), machine.name
    for machine, new in ((gamgee, "Cirith-ungol-stair-3"), (frodo, "Shelobs-lair-dark-4")):
        done = running.run("cpasswd", "sam", "--stdin", "--socket", str(machine.control), text=f"{new}\n", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        wait_until(lambda new=new: all(m.nslcd.login("sam", new) for m in (frodo, gamgee, node)), "the same everywhere")


def test_a_description_of_the_next_version_is_followed_and_the_other_way_round(running, description):
    for machine, address in ((running.masters["gamgee"], "10.5.0.50"), (running.masters["frodo"], "10.5.0.60")):
        text = description.read_text().replace("10.5.0.10", address)
        running.run("beonss", "apply", "-", "--yes", "--control", str(machine.control), text=text)
        for other in running.everything():
            wait_until(
                lambda other=other, address=address: other.ask(f"gimli.{ZONE}").answers == (f"A {address}",),
                f"{other.name} follows",
            )


def test_what_this_version_cannot_read_is_stored_and_relayed_to_a_third(running, description):
    """gamgee is away for good: a new master gets its unknown registers from frodo, byte for byte."""
    frodo, gamgee = running.masters["frodo"], running.masters["gamgee"]
    gamgee.stop()
    fellowship = running.add_master("fellowship")
    running.start(fellowship)
    wait_until(lambda: fellowship.nslcd.user("bilbo") is not None, "the new master has the accounts")
    frodo.stop()
    fellowship.stop()
    for machine in (frodo, fellowship):
        with contextlib.closing(sqlite3.connect(machine.directory / "state" / "accounts.db")) as database:
            rows = [(field, bytes(value)) for field, value in database.execute("SELECT field, value FROM register")]
        unknown = [value for field, value in rows if field == "keys-of-the-next"]
        assert len(unknown) >= 5, machine.name
        assert set(unknown) == {b"not even JSON"}
        (sam,) = [json.loads(value) for field, value in rows if field == "entry" and b'"sam"' in value]
        assert sam["of-the-next"] is True
    for machine in running.everything():
        assert "Traceback" not in machine.log.read_text(), machine.name
