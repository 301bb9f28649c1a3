"""When a DNS process is started again: at once if it worked, ever later if it dies young."""

from beonss.daemon.dns.worker_restarts import DELAYS, FREE, REMEMBERED, STEADY, Restarts


def test_one_that_worked_is_replaced_at_once_however_often():
    restarts = Restarts()
    assert [restarts.delay(now, now - STEADY) for now in (100.0, 200.0, 300.0)] == [0.0, 0.0, 0.0]
    assert restarts.count == 3


def test_one_that_dies_young_waits_ever_longer_but_never_for_ever():
    restarts = Restarts()
    waits = [restarts.delay(1000.0 + number, 1000.0 + number) for number in range(FREE + len(DELAYS) + 4)]
    assert waits == [*[0.0] * FREE, *DELAYS, *[DELAYS[-1]] * 4]
    assert restarts.delay(2000.0, 2000.0 - STEADY) == 0.0
    assert restarts.delay(2001.0, 2001.0) == 0.0


def test_what_is_told_of_it_and_for_how_long():
    restarts = Restarts()
    assert restarts.alarm(0.0) is None
    restarts.delay(10.0, 0.0)
    assert restarts.alarm(10.0) == "ended once in the last 10 minutes"
    restarts.explain("signal 9")
    assert restarts.alarm(10.0) == "ended once in the last 10 minutes (last by signal 9)"
    restarts.delay(20.0, 0.0)
    assert restarts.alarm(20.0) == "ended 2 times in the last 10 minutes"
    assert restarts.alarm(10.0 + REMEMBERED) == "ended once in the last 10 minutes"
    assert restarts.alarm(20.0 + REMEMBERED) is None
    for number in range(200):
        restarts.delay(3000.0 + number / 100, 3000.0)
    assert restarts.alarm(3002.0) == "ended 100 times or more in the last 10 minutes"
