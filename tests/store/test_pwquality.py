"""The machine's own password rules: the configuration of libpwquality means what it means to passwd(1)."""

import shutil
import subprocess

import pytest
from support.requires import missing

from beonss.core.passwords.policy import Policy, too_short
from beonss.errors import ConfigurationError
from beonss.store.pwquality import installed_quality

GOOD = "horse-Battery-staple-7"


@pytest.fixture
def judge(tmp_path):
    """Return a function that judges by a configuration of the test's."""

    def judged(text, new, user="sam", old=None):
        path = tmp_path / "pwquality.conf"
        path.write_text(text)
        quality = installed_quality(path)
        if quality is None:
            missing("libpwquality", "apt-get install libpwquality1 cracklib-runtime")
        return quality.judge(new.encode(), user, None if old is None else old.encode())

    return judged


@pytest.mark.parametrize(
    ("text", "new", "says"),
    [
        ("minlen = 30\n", GOOD, "shorter"),
        ("dcredit = -2\n", GOOD, "digits"),
        ("ucredit = -3\n", GOOD, "uppercase"),
        ("minclass = 4\n", "horsebatterystaple", "classes"),
        ("maxrepeat = 2\n", "horse-Baaattery-staple-7", "consecutive"),
        ("maxsequence = 3\n", "horse-12345-Battery", "sequence"),
        ("badwords = mordor shire\n", "one-does-not-walk-into-Mordor-3", "word"),
        ("", "password1", "dictionary"),
    ],
)
def test_each_rule_of_the_configuration_is_honoured(judge, text, new, says):
    [reason] = judge(text, new).reasons
    assert says in reason.message
    assert new not in reason.message


def test_what_our_own_least_length_says_too_is_said_in_the_same_words(judge):
    [reason] = judge("minlen = 10\n", "xK9+w").reasons
    assert [reason.message] == [one.message for one in too_short(Policy(minimum_length=10), b"xK9+w")]


def test_a_good_password_is_good(judge):
    assert judge("minlen = 12\nminclass = 3\n", GOOD).reasons == ()


def test_the_old_password_and_the_user_name_count(judge):
    assert judge("", GOOD, old=GOOD).reasons
    assert judge("difok = 8\n", GOOD + "8", old=GOOD).reasons
    assert judge("", "xx-gamgee-yy-81", user="gamgee").reasons


def test_enforcing_and_enforce_for_root(judge):
    assert judge("enforcing = 0\nminlen = 30\n", GOOD).reasons == ()
    assert not judge("", GOOD).binds_root
    assert judge("enforce_for_root\n", GOOD).binds_root


@pytest.mark.parametrize("text", ["minlen = many\n", "no-such-setting = 1\n"])
def test_a_configuration_with_mistakes_is_told(judge, text):
    with pytest.raises(ConfigurationError, match=r"pwquality\.conf"):
        judge(text, GOOD)


def test_the_machines_configuration_means_the_same_as_to_its_own_tool():
    """pwscore(1) and we agree on every password, whatever this machine's rules are."""
    if shutil.which("pwscore") is None:
        missing("the program pwscore", "apt-get install libpwquality-tools")
    quality = installed_quality()
    if quality is None:
        missing("/etc/security/pwquality.conf", "apt-get install libpwquality-common")
    for new in (
        "a",
        "abcdefgh",
        "password",
        "drowssap",
        GOOD,
        "aaaaaaaaaaaa",
        "Tr0ub4dor&3",
        "12345678901",
        "möhre-und-Ä-7",
    ):
        theirs = subprocess.run(["pwscore", "sam"], input=new + "\n", text=True, capture_output=True, check=False)
        assert bool(quality.judge(new.encode(), "sam").reasons) == bool(theirs.returncode), new
