"""Three masters on a network that loses packets, silently: one way, both ways, and again and again."""

import pytest
from cluster import wait_until
from support.people import PASSWORD, PEOPLE, import_people
from support.stream import Stream

ZONE = "fellow.aero.org"
#: Seconds after which a silent master is given up (6), and some for a slow machine.
NOTICED = 20.0


@pytest.fixture(scope="module")
def running(net):
    import_people(net, net.masters["frodo"], net.directory)
    for name in PEOPLE:
        assert net.change(net.masters["frodo"], name, PASSWORD).returncode == 0
    net.wait_equal()
    yield net
    net.recover()


@pytest.fixture
def masters(running):
    yield running.masters["frodo"], running.masters["gamgee"], running.masters["fellowship"]
    running.network.heal()
    running.wait_equal()


def test_packets_lost_one_way_are_gone_round_by_the_third(running, masters):
    """frodo hears gamgee and is not heard: its changes come by way of fellowship, and both say what is wrong."""
    frodo, gamgee, _ = masters
    running.network.lose("frodo", "gamgee")
    done = running.change(frodo, "sam", "Cirith-ungol-stair-3")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: gamgee.nslcd.login("sam", "Cirith-ungol-stair-3"), "gamgee has it by way of fellowship", NOTICED)
    wait_until(lambda: not running.reaches(frodo, "gamgee"), "frodo gives gamgee up", NOTICED)
    wait_until(lambda: not running.reaches(gamgee, "frodo"), "gamgee gives frodo up", NOTICED)
    done = running.change(frodo, "sam", "Cirith-ungol-stair-4")
    assert done.returncode == 0, done.stdout + done.stderr
    # What gamgee said last is what counts; it cannot say more now.
    assert any("gamgee" in line and "buffered" in line for line in done.stdout.splitlines()), done.stdout
    for one, other in ((frodo, "gamgee"), (gamgee, "frodo")):
        assert running.member(one, other)["error"], "it says why"
    wait_until(lambda: gamgee.nslcd.login("sam", "Cirith-ungol-stair-4"), "gamgee has it by way of fellowship", NOTICED)
    running.network.heal()
    running.wait_equal()


def test_a_master_alone_goes_on_and_the_later_word_holds_everywhere(running, masters):
    """Both sides take changes while they are parted; nothing is lost, the later of two for one user stays."""
    frodo, gamgee, fellowship = masters
    running.network.part(("frodo",), ("gamgee", "fellowship"))
    done = running.change(frodo, "rosie", "Bag-end-garden-1")
    assert done.returncode == 3, "held here only: " + done.stdout + done.stderr
    assert running.change(frodo, "merry", "Old-forest-path-4").returncode == 3
    done = running.change(gamgee, "rosie", "Bag-end-garden-2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert running.change(fellowship, "pippin", "Barliman-butterbur-9").returncode == 0
    for machine in masters:
        # Nobody who could come in before is kept out, and names are as they were.
        assert machine.nslcd.login("bilbo", PASSWORD)
        assert machine.ask(f"r01n07.{ZONE}").answers == ("A 10.5.1.7",)
    assert frodo.nslcd.login("rosie", "Bag-end-garden-1")
    assert gamgee.nslcd.login("rosie", "Bag-end-garden-2")
    wait_until(lambda: not running.reaches(frodo, "gamgee"), "frodo gives gamgee up", NOTICED)
    assert running.member(gamgee, "frodo")["buffered"] >= 2
    running.network.heal()
    running.wait_equal()
    for machine in masters:
        for user, password in (
            ("rosie", "Bag-end-garden-2"),
            ("merry", "Old-forest-path-4"),
            ("pippin", "Barliman-butterbur-9"),
        ):
            assert machine.nslcd.login(user, password), f"{user} on {machine.name}"
        assert not machine.nslcd.login("rosie", "Bag-end-garden-1")


def test_a_network_that_comes_and_goes_loses_no_change(running, masters):
    """Another pair is parted every second or so, one way or both, under a stream of changes everywhere."""
    names = ["frodo", "gamgee", "fellowship"]
    with Stream(masters, dict.fromkeys(("sam", "rosie", "bilbo"), PASSWORD), seed=11) as stream:
        for turn in range(4):
            before = stream.acknowledged
            one, other = names[turn % 3], names[(turn + 1) % 3]
            if turn % 2:
                running.network.part((one,), (other,))
            else:
                running.network.lose(one, other)
            wait_until(lambda before=before: stream.acknowledged >= before + 4, "changes go on")
            running.network.heal()
    assert not stream.errors
    assert set(stream.outcomes) <= {"ok", "held-here-only"}, stream.outcomes
    running.wait_equal()
    for user, history in stream.histories.items():
        for machine in masters:
            assert machine.nslcd.login(user, history.held), f"{user} on {machine.name}"
    assert len(running.digests()) == 1
