"""Masters killed with SIGKILL in turn under a stream of changes; one loses its disk, and comes back as new."""

import shutil
import threading
import time

import pytest
from cluster import wait_until
from support.people import PASSWORD, PEOPLE, import_people
from support.stream import Stream

from beonss.errors import Unavailable
from beonss.store.control import ControlClient

KILLS = 4


@pytest.fixture(scope="module")
def running(net):
    import_people(net, net.masters["frodo"], net.directory)
    for name in PEOPLE:
        assert net.change(net.masters["frodo"], name, PASSWORD).returncode == 0
    net.wait_equal()
    yield net
    net.recover()


class Imports:
    """Imports one new user after another on whatever master runs, until it is left."""

    def __init__(self, cluster, directory):
        self.cluster = cluster
        self.directory = directory
        self.held = []
        self.errors = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join()

    def _run(self):
        try:
            machines = list(self.cluster.masters.values())
            for number in range(10_000):
                if self._ending.wait(0.2):
                    return
                name, machine = f"brandybuck{number}", machines[number % len(machines)]
                path = self.directory / "newcomer"
                path.write_text(f"{name}:x:{5000 + number}:2000:A Brandybuck:/home/{name}:/bin/sh\n")
                done = self.cluster.run(
                    "beonss", "accounts", "import", "--control", str(machine.control), "--passwd", str(path),
                    check=False,
                )  # fmt: skip
                assert "Traceback" not in done.stdout + done.stderr
                if done.returncode == 0:
                    self.held.append(name)
        except BaseException as error:
            self.errors.append(error)


def test_no_acknowledged_change_is_lost_by_kills(running):
    """Each master is killed in turn; every change that was acknowledged holds on all, all are equal."""
    machines = list(running.masters.values())
    users = dict.fromkeys(("sam", "rosie", "pippin"), PASSWORD)
    with Stream(machines, users, seed=5) as stream, Imports(running, running.directory) as imports:
        for turn in range(KILLS):
            victim = machines[turn % len(machines)]
            before = stream.acknowledged
            wait_until(lambda before=before: stream.acknowledged >= before + 5, "changes go on", 60)
            victim.kill()
            wait_until(lambda before=before: stream.acknowledged >= before + 8, "changes go on without it", 60)
            victim.start()
            victim.wait_ready(running.zone)
    assert not stream.errors
    assert not imports.errors
    assert set(stream.outcomes) <= {"ok", "held-here-only", "interrupted", "unavailable"}, stream.outcomes
    assert imports.held
    running.wait_equal()
    for user, history in stream.histories.items():
        holding = {password for password in history.possible if machines[0].nslcd.login(user, password)}
        assert len(holding) == 1, f"{user}: {stream.outcomes}"
        for machine in machines:
            assert machine.nslcd.login(user, *holding), f"{user} on {machine.name}"
    for machine in machines:
        for name in imports.held:
            assert machine.nslcd.user(name) is not None, f"{name} is on {machine.name}"
        assert b"Traceback" not in machine.log.read_bytes(), machine.tail()
    assert len(running.digests()) == 1


def test_a_master_killed_while_it_boots_and_again(running):
    """Killed at moments spread over its start: what is on its disk is always enough for the next start."""
    machines = list(running.masters.values())
    victim = machines[1]
    with Stream([machines[0], machines[2]], {"sam": PASSWORD}, seed=7) as stream:
        for delay in (0.05, 0.3, 0.6, 0.9, 1.2):
            victim.kill()
            victim.start()
            time.sleep(delay)  # no condition is waited for: the moment itself is what is tried
        victim.kill()
        victim.start()
        victim.wait_ready(running.zone)
    assert not stream.errors
    running.wait_equal()
    held = stream.histories["sam"].held
    assert all(machine.nslcd.login("sam", held) for machine in machines)


def test_a_reinstalled_master_comes_back_as_new_and_repeats_nothing(running):
    """Its disk is gone: nothing that another holds is; after a new invitation it gets everything, in a new life."""
    frodo, gamgee, fellowship = running.masters.values()
    assert running.change(fellowship, "merry", "Buckland-ferry-12").returncode == 0
    old_life = running.status(fellowship)["incarnation"]
    fellowship.kill()
    shutil.rmtree(fellowship.directory / "state")
    assert running.change(gamgee, "merry", "Buckland-ferry-13").returncode == 0
    key = str(frodo.directory / "state" / "cluster.key")
    running.run(
        "beonss", "members", "--state", str(frodo.directory / "state"), "remove", "fellowship",
        "--cluster-key", key, "--control", str(frodo.control),
    )  # fmt: skip
    running.join(fellowship, frodo)
    running.start(fellowship)
    running.wait_equal()
    assert running.status(fellowship)["incarnation"] != old_life
    for user, password in (("merry", "Buckland-ferry-13"), ("bilbo", PASSWORD)):
        for machine in running.masters.values():
            assert machine.nslcd.login(user, password), f"{user} on {machine.name}"
    # Its writes are taken again, by all: nobody mistakes them for those of its old life.
    assert running.change(fellowship, "merry", "Buckland-ferry-14").returncode == 0
    for machine in running.masters.values():
        assert machine.nslcd.login("merry", "Buckland-ferry-14"), machine.name
    assert running.status(frodo)["alarms"] == []
    assert len(running.digests()) == 1


def test_the_control_socket_says_that_nobody_is_there_while_a_master_is_down(running):
    """A killed master leaves its socket behind; who asks it is told so at once, and that nothing was changed."""
    frodo = running.masters["frodo"]
    frodo.kill()
    try:
        with pytest.raises(Unavailable, match="no daemon runs here"):
            ControlClient(str(frodo.control)).ask("status")
        done = running.change(frodo, "sam", "Cirith-ungol-stair-9")
        assert done.returncode == 4
        assert "othing was changed" in done.stdout + done.stderr
    finally:
        running.start(frodo)
    running.wait_equal()
