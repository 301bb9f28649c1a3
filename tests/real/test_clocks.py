"""Wrong clocks: set while a master runs, and years ahead for a while. Only one process sees them (libfaketime)."""

import subprocess
import time

import pytest
from cluster import wait_until
from support.faketime import Clock
from support.people import PASSWORD, import_people

#: Milliseconds of a day.
DAY = 86_400_000
#: Known to no other test: a stamp from the future stays one, and of two changes that are made apart over it the
#: incarnation decides, not the hour.
PEOPLE = {"elanor": 2011, "hamfast": 2012, "daisy": 2013, "goldilocks": 2014}


@pytest.fixture(scope="module")
def running(net):
    """Return three masters, of which gamgee goes by a clock that can be set; its clock is right at first."""
    import_people(net, net.masters["frodo"], net.directory, PEOPLE)
    for name in PEOPLE:
        assert net.change(net.masters["frodo"], name, PASSWORD).returncode == 0
    gamgee = net.masters["gamgee"]
    net.clock = Clock(net.directory / "clock")
    gamgee.stop()
    gamgee.environment = net.clock.environment
    net.start(gamgee)
    net.wait_equal()
    yield net
    net.recover()


@pytest.fixture
def masters(running):
    yield running.masters["frodo"], running.masters["gamgee"], running.masters["fellowship"]
    running.clock.set("+0s")
    running.network.heal()
    running.wait_equal()


def skew(running, machine, other):
    return running.member(machine, other)["clock_skew_ms"] or 0


def connections(machine):
    """Return the connections of a machine to and from the port of the masters (ss(8)), each end with its port."""
    done = subprocess.run(
        [*machine.host.prefix, "ss", "-Htn", "state", "established", "( sport = :7653 or dport = :7653 )"],
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    return {tuple(line.split()[2:4]) for line in done.stdout.splitlines()}


def changed_everywhere(running, masters, machine, user, password):
    """Change a password on one master; it must hold on all, at once."""
    done = running.change(machine, user, password)
    assert done.returncode == 0, done.stdout + done.stderr
    for master in masters:
        wait_until(lambda master=master: master.nslcd.login(user, password), f"{user}'s password on {master.name}", 10)


@pytest.mark.parametrize("days", [-400, 1000])
def test_a_clock_that_is_set_stops_no_timer(running, masters, days):
    """Nobody is given up for it, who really is gone is noticed as fast as ever, and a person is told of the clock."""
    frodo, gamgee, fellowship = masters
    standing = connections(gamgee)
    assert len(standing) == 4
    for seconds in (0, 60, 120):
        # Its signs of life bring the news, and they are sent by a timer.
        running.clock.set(f"{days * 86400 + seconds:+.0f}s")
        wanted = days * DAY + seconds * 1000
        wait_until(lambda wanted=wanted: abs(skew(running, frodo, "gamgee") - wanted) < 20_000, "frodo sees it", 15)
    alarms = " ".join(running.status(frodo)["alarms"])
    assert f"the clock of gamgee is more than 5 s {'ahead of' if days > 0 else 'behind'} ours" in alarms
    assert "alarm clock:gamgee" in frodo.log.read_text()
    # The one whose clock is wrong hears of it as well, and has lost nobody.
    assert "the clock of frodo" in " ".join(running.status(gamgee)["alarms"])
    assert connections(gamgee) == standing
    changed_everywhere(running, masters, frodo, "hamfast", f"Set-by-frodo-{days}")
    # What was seen is beaten, by a slow clock and by a right one.
    changed_everywhere(running, masters, gamgee, "hamfast", f"Set-by-gamgee-{days}")
    changed_everywhere(running, masters, fellowship, "hamfast", f"Set-by-fellowship-{days}")
    # Its timers run: silence is noticed, and it comes back by itself.
    running.network.part(("gamgee",), ("frodo", "fellowship"))
    began = time.monotonic()
    wait_until(lambda: not running.reaches(gamgee, "frodo"), "gamgee notices the silence", 20)
    assert time.monotonic() - began > 1
    running.network.heal()
    wait_until(lambda: running.reaches(gamgee, "frodo"), "gamgee calls again", 20)
    running.clock.set("+0s")
    wait_until(lambda: not running.status(frodo)["alarms"], "the alarm ends when the clock is right", 15)


def test_a_clock_that_was_years_ahead_for_a_while_decides_nothing_later(running, masters):
    """A change made under it is beaten by whoever saw it; accounts that it did not touch keep right stamps."""
    frodo, gamgee, _ = masters
    running.clock.set("+3650d")
    wait_until(lambda: skew(running, frodo, "gamgee") > 3000 * DAY, "gamgee is ten years ahead", 15)
    changed_everywhere(running, masters, gamgee, "elanor", "From-the-future-10")
    running.clock.set("+0s")
    wait_until(lambda: abs(skew(running, frodo, "gamgee")) < 5000, "gamgee's clock is right again", 15)
    # The change looks as if it came from the future; logging in and changing it go on as always.
    for machine in masters:
        assert machine.nslcd.login("elanor", "From-the-future-10")
    for number, machine in enumerate(masters):
        changed_everywhere(running, masters, machine, "elanor", f"Back-in-the-present-{number}")
        changed_everywhere(running, masters, machine, "goldilocks", f"Never-in-the-future-{number}")


def test_guesses_wait_as_long_as_they_must_whatever_the_clock_does(running, masters):
    """Set back by a year, the limit on wrong passwords neither ends nor lasts for a year."""
    _, gamgee, _ = masters

    def guess(password):
        return running.run(
            "cpasswd", "daisy", "--stdin", "--socket", str(gamgee.control), text=f"{password}\n", check=False
        )

    for _ in range(9):
        assert not gamgee.nslcd.login("daisy", "not-this-one")
    assert not gamgee.nslcd.login("daisy", PASSWORD), "limited now"
    running.clock.set("-365d")
    wait_until(lambda: skew(running, masters[0], "gamgee") < -300 * DAY, "gamgee is a year behind", 15)
    wait_until(lambda: gamgee.nslcd.login("daisy", PASSWORD), "the wait is over", 30)
    assert guess("Barliman-butterbur-9").returncode == 0, "root is not held up"
