"""Who a daemon becomes, and what has to belong to it; that root is really gone is shown in tests/real."""

import os
import pwd
import stat
import sys
from pathlib import Path

import pytest
from support.requires import missing

from beonss.errors import ConfigurationError
from beonss.store import privileges
from beonss.store.privileges import (
    NotGivenUpError,
    RunAs,
    check_state,
    find_user,
    give_up,
    provide_directory,
    remaining_powers,
    step_down,
)

MYSELF = RunAs(pwd.getpwuid(os.geteuid()).pw_name, os.geteuid(), os.getegid(), (os.getegid(),))
STRANGER = RunAs("stranger", 54321, 54321, (54321,))


def as_root():
    if os.geteuid() != 0:
        missing("root", "run as root")


def test_a_user_and_its_groups():
    as_root()
    entry = pwd.getpwnam("nobody")
    found = find_user("nobody")
    assert (found.name, found.uid, found.gid) == ("nobody", entry.pw_uid, entry.pw_gid)
    assert found.gid in found.groups
    assert find_user("nobody", "daemon").gid != found.gid


@pytest.mark.parametrize("name", ["no such user", "", "x\0y", "65534"])
def test_a_user_that_does_not_exist(name):
    with pytest.raises(ConfigurationError, match="there is no such user; useradd --system"):
        find_user(name)


def test_a_group_that_does_not_exist():
    with pytest.raises(ConfigurationError, match="there is no such group"):
        find_user("nobody", "no such group")


def test_root_is_no_user_to_become():
    with pytest.raises(ConfigurationError, match="leave --user away"):
        find_user("root")


def test_only_root_becomes_somebody_else(monkeypatch):
    monkeypatch.setattr(privileges.os, "geteuid", lambda: 54321)
    with pytest.raises(ConfigurationError, match="start the daemon as root"):
        find_user("nobody")


def test_who_is_that_user_already_needs_nothing(monkeypatch):
    nobody = pwd.getpwnam("nobody")
    monkeypatch.setattr(privileges.os, "geteuid", lambda: nobody.pw_uid)
    monkeypatch.setattr(privileges.os, "getegid", lambda: nobody.pw_gid)
    step_down(find_user("nobody"))
    monkeypatch.setattr(privileges.os, "getegid", lambda: nobody.pw_gid + 1)
    with pytest.raises(ConfigurationError, match="only root can change the group"):
        find_user("nobody")


def test_other_systems_have_other_ways(monkeypatch):
    monkeypatch.setattr(privileges.sys, "platform", "freebsd14")
    with pytest.raises(ConfigurationError, match="Linux only"):
        find_user("nobody")


class TestState:
    """The state directory and all in it."""

    def test_all_of_it_belongs_to_the_user(self, tmp_path):
        (tmp_path / "targets").mkdir()
        (tmp_path / "targets" / "files.json").touch()
        check_state(MYSELF, tmp_path)

    def test_one_that_is_not_there_is_left_to_those_who_read_it(self, tmp_path):
        check_state(STRANGER, tmp_path / "nothing")

    def test_whatever_belongs_to_another_is_told(self, tmp_path):
        (tmp_path / "member.key").touch()
        with pytest.raises(ConfigurationError) as refused:
            check_state(STRANGER, tmp_path)
        assert str(refused.value) == (
            f"{tmp_path} and 1 more: belongs to {MYSELF.name}, not to stranger, as whom this daemon is to run; "
            f"chown -R stranger: {tmp_path}"
        )

    def test_a_file_of_somebody_without_a_name(self, tmp_path):
        as_root()
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "file").touch()
        os.chown(tmp_path / "deep" / "file", 54321, 0)
        with pytest.raises(ConfigurationError, match=r"deep/file: belongs to uid 54321"):
            check_state(MYSELF, tmp_path)

    def test_links_are_not_followed(self, tmp_path):
        """A link of ours is ours, wherever it leads; and one in a circle is no circle."""
        (tmp_path / "link").symlink_to(tmp_path)
        (tmp_path / "etc").symlink_to("/etc")
        check_state(MYSELF, tmp_path)

    def test_the_directory_itself_may_be_a_link(self, tmp_path):
        as_root()
        (tmp_path / "real").mkdir()
        os.chown(tmp_path / "real", 54321, 54321)
        (tmp_path / "link").symlink_to("real")
        check_state(STRANGER, tmp_path / "link")
        with pytest.raises(ConfigurationError, match=f"chown -R root: {tmp_path}/real"):
            check_state(RunAs("root", 0, 0, ()), tmp_path / "link")

    def test_a_file_that_goes_meanwhile_is_nobodys(self, tmp_path, monkeypatch):
        (tmp_path / "file").touch()
        found = list(Path.rglob(tmp_path, "*"))
        (tmp_path / "file").unlink()
        monkeypatch.setattr(Path, "rglob", lambda *_: found)
        check_state(MYSELF, tmp_path)

    def test_what_is_no_state_directory(self, tmp_path, monkeypatch):
        monkeypatch.setattr(privileges, "MOST_ENTRIES", 3)
        for number in range(4):
            (tmp_path / str(number)).touch()
        with pytest.raises(ConfigurationError, match="this is no state directory"):
            check_state(MYSELF, tmp_path)


class TestDirectories:
    """Where sockets are made."""

    def test_one_is_made_for_the_user(self, tmp_path):
        as_root()
        provide_directory(STRANGER, tmp_path / "run")
        found = (tmp_path / "run").stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (54321, 54321, 0o755)

    def test_what_was_put_in_its_place_is_not_given_away(self, tmp_path, monkeypatch):
        """Whoever may write beside it could exchange it between two of our steps."""
        as_root()
        for number, exchange in enumerate((lambda path: path.symlink_to("/etc"), self.full)):
            path = tmp_path / str(number)
            monkeypatch.setattr(Path, "mkdir", lambda path, exchange=exchange, **_: exchange(path))
            if number:
                provide_directory(STRANGER, path)
                assert path.stat().st_uid == 0
            else:
                with pytest.raises(ConfigurationError, match="cannot be given to stranger"):
                    provide_directory(STRANGER, path)
        assert Path("/etc").stat().st_uid == 0

    def full(self, path):
        os.makedirs(path / "something")  # noqa: PTH103 - mkdir of Path is another one in this test

    def test_one_that_is_there_stays_as_it_is(self, tmp_path):
        tmp_path.chmod(0o700)
        provide_directory(MYSELF, tmp_path)
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700

    @pytest.mark.parametrize(
        ("mode", "group", "fits"), [(0o755, 0, False), (0o775, 0, False), (0o775, 54321, True), (0o777, 0, True)]
    )
    def test_one_of_somebody_else_must_let_it_write(self, tmp_path, mode, group, fits):
        as_root()
        os.chown(tmp_path, 0, group)
        tmp_path.chmod(mode)
        if fits:
            provide_directory(STRANGER, tmp_path)
            return
        with pytest.raises(ConfigurationError, match=rf"may not make its socket there; chown stranger: {tmp_path}"):
            provide_directory(STRANGER, tmp_path)

    def test_one_that_cannot_be_made(self, tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be made: No such file"):
            provide_directory(MYSELF, tmp_path / "no" / "run")


def threads(tmp_path, **sets):
    for number in ("10", "11"):
        (tmp_path / number).mkdir()
        lines = [f"{name}:\t{sets.get(name, 0):016x}" for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")]
        (tmp_path / number / "status").write_text("\n".join(["Name:\tx", *lines, f"CapBnd:\t{1:016x}"]))
    (tmp_path / "12").mkdir()  # a thread that ended meanwhile
    return tmp_path


def test_no_power_is_left(tmp_path):
    """The bounding set is none: it only says what could be had by other means."""
    assert remaining_powers(threads(tmp_path)) == ""


def test_a_power_of_any_thread_counts(tmp_path):
    found = remaining_powers(threads(tmp_path, CapPrm=0x400))
    assert sorted(found.split(", ")) == ["CapPrm 0000000000000400 of thread 10", "CapPrm 0000000000000400 of thread 11"]


def test_a_process_that_keeps_a_power_is_refused(monkeypatch):
    monkeypatch.setattr(privileges.os, "setresuid", lambda *_: None)
    monkeypatch.setattr(privileges, "remaining_powers", lambda: "CapEff 0000000000000400 of thread 10")
    with pytest.raises(NotGivenUpError, match="CapEff 0000000000000400"):
        give_up(MYSELF)
    monkeypatch.setattr(privileges, "remaining_powers", lambda: "")
    with pytest.raises(NotGivenUpError, match="its user ids are"):
        give_up(STRANGER)


def test_a_kernel_that_refuses_is_told(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    class Library:
        def __getattr__(self, name):
            return lambda *_: 0

    monkeypatch.setattr(privileges.ctypes, "CDLL", lambda *_, **__: Library())
    monkeypatch.setattr(privileges.os, "setgroups", refuse)
    with pytest.raises(ConfigurationError, match="--user stranger: cannot become that user: Operation not permitted"):
        step_down(STRANGER)


def test_a_program_that_the_user_cannot_read_is_told(monkeypatch):
    """A Python below /root, for example; found before the first import fails."""

    class Library:
        def __getattr__(self, name):
            return lambda *_: 0

    def hidden(path, *_, **__):
        if str(path).startswith("/root/"):
            raise PermissionError(13, "Permission denied")
        return os.lstat(path)

    monkeypatch.setattr(privileges.ctypes, "CDLL", lambda *_, **__: Library())
    for name in ("setgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(privileges.os, name, lambda *_: None)
    monkeypatch.setattr(privileges.os, "stat", hidden)
    monkeypatch.setattr(sys, "path", ["", str(Path(__file__).parent), "/nonexistent/python.zip", "/root/python/lib"])
    with pytest.raises(ConfigurationError, match=r"may not read /root/python/lib, .* such as /opt/beonss"):
        step_down(STRANGER)
