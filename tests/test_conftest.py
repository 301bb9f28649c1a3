"""The suite's own guard: a logged error or a dirty reactor fails the test that caused it."""

import pytest
from support.requires import missing

pytest_plugins = ["pytester"]

INNER = """
from twisted.internet import reactor
from twisted.internet.defer import fail
from twisted.internet.protocol import Factory
from twisted.logger import Logger

def oops():
    try:
        1 / 0
    except ZeroDivisionError:
        Logger().failure("oops")

def test_bad_logged():
    oops()

def test_good_flushed(logged_errors):
    oops()
    assert len(logged_errors.flush(ZeroDivisionError)) == 1

def test_bad_delayed_call():
    reactor.callLater(60, print)

def test_good_next():
    assert not reactor.getDelayedCalls()

def test_good_closing_port():
    reactor.listenTCP(0, Factory(), interface="127.0.0.1").stopListening()

def test_bad_port():
    reactor.listenTCP(0, Factory(), interface="127.0.0.1")

def test_bad_deferred():
    fail(ValueError("nobody took this"))
"""


def test_only_the_test_that_logs_an_error_or_leaves_the_reactor_dirty_fails(pytester, request):
    source = request.config.rootpath / "tests" / "conftest.py"
    pytester.makeconftest(source.read_text())
    pytester.makepyfile(INNER)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-v")
    result.stdout.fnmatch_lines_random(
        [
            "*::test_bad_logged ERROR*",
            "*::test_bad_delayed_call ERROR*",
            "*::test_bad_port ERROR*",
            "*::test_bad_deferred ERROR*",
        ]
    )
    assert result.parseoutcomes() == {"passed": 7, "errors": 4}


def test_missing_skips_by_default_and_fails_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="pamtester"):
        missing("the program pamtester", "apt-get install pamtester")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="pamtester"):
        missing("the program pamtester", "apt-get install pamtester")
