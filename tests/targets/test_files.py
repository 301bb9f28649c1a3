"""The account files as a target: what is ours follows, everything else stays, accidents stop it."""

import os
import stat
from pathlib import Path

import pytest

from beonss.core.accounts.entries import Aging, GroupEntry, Password, UserEntry
from beonss.core.targets.delivery import GroupState, PermanentTargetError, TemporaryTargetError, UserState
from beonss.targets import files as files_module
from beonss.targets.files import FilesSettings, FilesTarget

PASSWD = (
    "# kept\nroot:x:0:0:root:/root:/bin/sh\nbackup:x:34:34::/var:/bin/false\nzoe:x:1500:1500:Zoe:/home/zoe:/bin/sh\n"
    "+::::::\n"
)
SHADOW = "root:$6$r$r:19000:0:99999:7:::\nbackup:*:19000:::::: \nzoe:$6$z$z:19000:0:99999:7:::9\n".replace(" \n", "\n")
GROUP = "root:x:0:\nbackup:x:34:\nops:x:1700:backup,zoe\n"
GSHADOW = "root:*::\nbackup:*::\nops:$6$g$g:zoe:backup,zoe\n"


@pytest.fixture
def etc(tmp_path):
    directory = tmp_path / "etc"
    directory.mkdir()
    for name, text, mode in (
        ("passwd", PASSWD, 0o644),
        ("shadow", SHADOW, 0o640),
        ("group", GROUP, 0o644),
        ("gshadow", GSHADOW, 0o640),
    ):
        (directory / name).write_text(text)
        (directory / name).chmod(mode)
    return directory


@pytest.fixture
def make(etc, tmp_path):
    made = []

    def build(**options):
        options = {"lock_timeout": 0.3, **options}
        target = FilesTarget(FilesSettings("local", etc.parent, tmp_path / "state" / "local.journal", **options))
        made.append(target)
        return target

    yield build
    for target in made:
        target.close()


def user(name="alice", uid=1010, secret="$6$a$1", *, locked=False, shell="/bin/sh", object_id=None, aging=None):
    entry = UserEntry(name, uid, 100, "", f"/home/{name}", shell)
    password = None if secret is None else Password(secret, 20000)
    return UserState(object_id or f"id-{uid}", name, entry, password, locked, aging or Aging(0, 99999, 7))


def gone(name="alice", uid=1010):
    return UserState(f"id-{uid}", name, None)


def group(name="hobbits", gid=1800, members=()):
    return GroupState(f"gid-{gid}", name, GroupEntry(name, gid), tuple(members))


def verdicts(outcomes):
    return [outcome.verdict for outcome in outcomes]


def test_a_new_user_and_group_are_added_and_all_else_stays(etc, make):
    assert verdicts(make().deliver([user(), group(members=["alice"])])) == ["delivered", "delivered"]
    assert (etc / "passwd").read_text() == PASSWD.replace("+:", "alice:x:1010:100::/home/alice:/bin/sh\n+:")
    assert (etc / "shadow").read_text() == SHADOW + "alice:$6$a$1:20000:0:99999:7:::\n"
    assert (etc / "group").read_text() == GROUP + "hobbits:x:1800:alice\n"
    assert (etc / "gshadow").read_text() == GSHADOW + "hobbits:!::alice\n"
    assert sorted(path.name for path in etc.iterdir()) == [".pwd.lock", "group", "gshadow", "passwd", "shadow"]


def test_owner_mode_and_attributes_stay(etc, make):
    shadow = etc / "shadow"
    if os.geteuid() == 0:
        os.chown(shadow, 0, 42)
    try:
        os.setxattr(shadow, "user.note", b"kept")
        attributes = True
    except OSError:
        attributes = False  # tmpfs of older kernels
    before = shadow.stat()
    make().deliver([user()])
    after = shadow.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (
        before.st_uid,
        before.st_gid,
        stat.S_IMODE(before.st_mode),
    )
    if attributes:
        assert os.getxattr(shadow, "user.note") == b"kept"


def test_a_password_change_touches_one_line_of_one_file(etc, make):
    target = make()
    target.deliver([user()])
    before = {name: (etc / name).stat().st_ino for name in ("passwd", "group", "gshadow")}
    target.deliver([user(secret="$6$a$2")])
    assert "alice:$6$a$2:20000:" in (etc / "shadow").read_text()
    assert {name: (etc / name).stat().st_ino for name in before} == before


def test_delivering_again_writes_nothing(etc, make):
    flushed = []
    target = FilesTarget(FilesSettings("t", etc.parent, etc.parent / "j"), flush=lambda: flushed.append(1))
    target.deliver([user()])
    size = (etc.parent / "j").stat().st_size
    target.deliver([user()])
    target.close()
    assert flushed == [1]
    assert (etc.parent / "j").stat().st_size == size


def test_locked_and_without_password_never_become_an_open_door(etc, make):
    make().deliver([user(locked=True), user("bob", 1011, None), user("eve", 1012, None, locked=True)])
    shadow = (etc / "shadow").read_text()
    assert "\nalice:!$6$a$1:" in shadow
    assert "\nbob:*:" in shadow
    assert "\neve:!*:" in shadow


def test_an_entry_that_is_already_as_wanted_becomes_ours(etc, make):
    zoe = UserState("id-zoe", "zoe", UserEntry("zoe", 1500, 1500, "Zoe", "/home/zoe", "/bin/sh"))
    same = UserState("id-zoe", "zoe", zoe.entry, Password("$6$z$z", 19000), aging=Aging(0, 99999, 7))
    target = make()
    assert verdicts(target.deliver([same])) == ["delivered"]
    assert (etc / "shadow").read_text() == SHADOW
    changed = UserState("id-zoe", "zoe", zoe.entry, Password("$6$z$2", 20001), aging=Aging(0, 99999, 7))
    assert verdicts(target.deliver([changed])) == ["delivered"]
    assert "zoe:$6$z$2:20001:0:99999:7:::9\n" in (etc / "shadow").read_text(), "the reserved field stays"


def test_an_entry_of_somebody_else_is_left_and_reported_until_it_is_reasserted(etc, make):
    target = make()
    outcomes = target.deliver([user("zoe", 1500, "$6$new")])
    assert verdicts(outcomes) == ["conflict"]
    assert "beonss accounts reassert --target local zoe" in outcomes[0].text
    assert (etc / "shadow").read_text() == SHADOW
    assert len(target.conflicts()) == 2
    target.reassert(["zoe"])
    assert verdicts(target.deliver([user("zoe", 1500, "$6$new")])) == ["delivered"]
    assert "zoe:$6$new:" in (etc / "shadow").read_text()
    assert target.conflicts() == []


def test_an_edit_by_hand_is_left_and_other_files_follow(etc, make):
    target = make()
    target.deliver([user()])
    passwd = etc / "passwd"
    passwd.write_text(passwd.read_text().replace("/home/alice:/bin/sh", "/home/alice:/bin/zsh"))
    assert verdicts(target.deliver([user(secret="$6$a$2", shell="/bin/csh")])) == ["conflict"]
    assert "/home/alice:/bin/zsh" in passwd.read_text()
    assert "alice:$6$a$2:" in (etc / "shadow").read_text()
    assert [text for text in target.conflicts() if "passwd: alice" in text]
    passwd.write_text(passwd.read_text().replace("/bin/zsh", "/bin/sh"))
    assert verdicts(target.deliver([user(secret="$6$a$2", shell="/bin/csh")])) == ["delivered"]
    assert target.conflicts() == []


def test_an_edit_is_seen_even_when_another_account_is_delivered(etc, make):
    target = make()
    target.deliver([user()])
    (etc / "passwd").write_text((etc / "passwd").read_text().replace("alice:x:1010:100", "alice:x:1010:101"))
    target.deliver([user("bob", 1011)])
    assert len(target.conflicts()) == 1


def test_one_taken_out_by_hand_does_not_come_back(etc, make):
    target = make()
    target.deliver([user()])
    shadow = etc / "shadow"
    shadow.write_text(SHADOW)
    assert verdicts(target.deliver([user(secret="$6$a$2")])) == ["conflict"]
    assert shadow.read_text() == SHADOW


def test_many_edits_at_once_stop_everything(etc, make):
    target = make()
    users = [user(f"u{number}", 2000 + number) for number in range(10)]
    target.deliver(users)
    (etc / "shadow").write_text(SHADOW)
    with pytest.raises(PermanentTargetError, match="10 of 10 entries are not as they were delivered"):
        target.deliver([user()])
    assert (etc / "shadow").read_text() == SHADOW
    assert "alice" not in (etc / "passwd").read_text()
    target.reassert()
    assert set(verdicts(target.deliver([*users, user()]))) == {"delivered"}
    assert "u9:$6$a$1" in (etc / "shadow").read_text()


def test_a_removed_account_goes_from_all_files(etc, make):
    target = make()
    keep = user("bob", 1011)
    target.deliver([user(), keep, group(members=["alice"])])
    target.deliver([gone(), group(members=[])])
    assert "alice" not in "".join((etc / name).read_text() for name in ("passwd", "shadow", "group", "gshadow"))
    assert "bob" in (etc / "passwd").read_text()


def test_removing_what_was_never_there_is_done(etc, make):
    assert verdicts(make().deliver([gone("nobodyhere")])) == ["delivered"]
    assert (etc / "passwd").read_text() == PASSWD


def test_removing_never_touches_the_machines_own_accounts(etc, make):
    target = make()
    assert verdicts(target.deliver([gone("root", 0), gone("backup", 34)])) == ["delivered", "delivered"]
    assert verdicts(target.deliver([gone("zoe", 1500)])) == ["conflict"]
    assert (etc / "passwd").read_text() == PASSWD


def test_many_removals_at_once_are_refused_and_the_rest_is_done(etc, make):
    target = make()
    target.deliver([user(f"u{number}", 2000 + number) for number in range(20)])
    leaving = [gone(f"u{number}", 2000 + number) for number in range(6)]
    outcomes = target.deliver([*leaving, user()])
    assert verdicts(outcomes) == ["refused"] * 6 + ["delivered"]
    assert "6 of 20 accounts would be taken out" in outcomes[0].text
    target.reassert([], shrink=True)
    assert set(verdicts(target.deliver(leaving))) == {"delivered"}
    assert "u5:" not in (etc / "passwd").read_text()
    assert verdicts(target.deliver([gone(f"u{number}", 2000 + number) for number in range(6, 9)])) == ["delivered"] * 3


def test_not_even_two_accounts_are_emptied_at_once(etc, make):
    target = make()
    target.deliver([user(), user("bob", 1011)])
    assert verdicts(target.deliver([gone(), gone("bob", 1011)])) == ["refused", "refused"]
    assert "alice" in (etc / "passwd").read_text()


def test_a_renamed_account_loses_its_old_name(etc, make):
    target = make()
    target.deliver([user()])
    target.deliver([user("alicia", object_id="id-1010")])
    passwd = (etc / "passwd").read_text()
    assert "alicia:x:1010" in passwd
    assert "alice:" not in passwd
    assert "alice:" not in (etc / "shadow").read_text()


def test_a_name_that_two_accounts_swap_is_delivered(etc, make):
    target = make()
    target.deliver([user("a1", 2001), user("a2", 2002)])
    outcomes = target.deliver([user("a2", 2001, object_id="id-2001"), user("a1", 2002, object_id="id-2002")])
    assert verdicts(outcomes) == ["delivered", "delivered"]
    assert "a1:x:2002:100::/home/a1:/bin/sh\na2:x:2001:100::/home/a2:/bin/sh\n" in (etc / "passwd").read_text()


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (user("low", 999), "refused"),
        (user("root", 5000), "conflict"),
        (user("backup", 5000), "conflict"),
        (user("other", 1500), "conflict"),
        (UserState("x", "zero", UserEntry("zero", 5000, 0, "", "/", "/bin/sh")), "refused"),
        (UserState("x", "inject", UserEntry("inject", 5000, 100, "\nr::0:0::/:/bin/sh", "/", "/bin/sh")), "refused"),
        (user("inject", 5000, "a:b"), "refused"),
        (user("inject", 5000, "a\nr::0::::::"), "refused"),
        (user("+", 5000), "refused"),
        (group("low", 50), "refused"),
        (group("backup", 5000), "conflict"),
        (group("other", 1700), "conflict"),
        (group("g", 5000, ["a,b"]), "refused"),
        (group("g", 5000, ["a:b"]), "refused"),
    ],
)
def test_what_must_not_be_written_is_not_and_others_are(etc, make, state, verdict):
    outcomes = make().deliver([state, user()])
    assert verdicts(outcomes) == [verdict, "delivered"]
    assert (etc / "passwd").read_text() == PASSWD.replace("+:", "alice:x:1010:100::/home/alice:/bin/sh\n+:")
    assert (etc / "group").read_text() == GROUP
    assert (etc / "shadow").read_text().startswith(SHADOW)


def test_members_of_the_machine_itself_stay_in_a_group(etc, make):
    target = make()
    target.reassert(["ops"])
    assert verdicts(target.deliver([user(), group("ops", 1700, ["alice"])])) == ["delivered", "delivered"]
    assert "ops:x:1700:alice,backup\n" in (etc / "group").read_text()
    assert "ops:$6$g$g:zoe:alice,backup\n" in (etc / "gshadow").read_text()


def test_a_machine_without_gshadow(etc, make):
    (etc / "gshadow").unlink()
    assert verdicts(make().deliver([group()])) == ["delivered"]
    assert not (etc / "gshadow").exists()


def test_a_group_that_goes(etc, make):
    target = make()
    target.deliver([group(), user()])
    assert verdicts(target.deliver([GroupState("gid-1800", "hobbits", None)])) == ["delivered"]
    assert (etc / "group").read_text() == GROUP
    assert (etc / "gshadow").read_text() == GSHADOW


@pytest.mark.parametrize("name", ["passwd", "shadow"])
def test_files_without_root_are_not_written_again(etc, make, name):
    (etc / name).write_text("zoe:x:1500:1500:Zoe:/home/zoe:/bin/sh\n")
    with pytest.raises(PermanentTargetError, match="no entry for root"):
        make().deliver([user()])
    assert (etc / name).read_text() == "zoe:x:1500:1500:Zoe:/home/zoe:/bin/sh\n"


@pytest.mark.parametrize("name", ["passwd", "shadow", "group"])
def test_a_missing_file_is_not_made(etc, make, name):
    (etc / name).unlink()
    with pytest.raises(PermanentTargetError, match="does not exist"):
        make().deliver([user()])
    assert not (etc / name).exists()


def test_a_symbolic_link_is_left(etc, make):
    (etc / "shadow").rename(etc / "elsewhere")
    (etc / "shadow").symlink_to("elsewhere")
    with pytest.raises(PermanentTargetError, match="symbolic link"):
        make().deliver([user()])
    assert (etc / "elsewhere").read_text() == SHADOW


def test_a_change_without_a_lock_just_before_the_rename_is_noticed(etc, make, monkeypatch):
    real = files_module.replace_file

    def edit_first(seen, data):
        if seen.path.name == "shadow":
            seen.path.write_text(SHADOW + "sneaky:*:1::::::\n")
        real(seen, data)

    target = make()
    monkeypatch.setattr(files_module, "replace_file", edit_first)
    with pytest.raises(TemporaryTargetError, match="without a lock"):
        target.deliver([user()])
    monkeypatch.undo()
    assert verdicts(target.deliver([user()])) == ["delivered"]
    assert "sneaky" in (etc / "shadow").read_text()
    assert "alice" in (etc / "shadow").read_text()


def test_failure_between_two_renames_heals(etc, make, monkeypatch):
    """The intent was noted, one file was replaced, then the machine died."""
    real = files_module.replace_file

    def die_at_passwd(seen, data):
        if seen.path.name == "passwd":
            raise TemporaryTargetError("died")
        real(seen, data)

    monkeypatch.setattr(files_module, "replace_file", die_at_passwd)
    first = make()
    with pytest.raises(TemporaryTargetError):
        first.deliver([user()])
    monkeypatch.undo()
    again = make()  # a new process: what it knows is the journal
    assert verdicts(again.deliver([user(secret="$6$a$newer")])) == ["delivered"]
    assert "alice:$6$a$newer:" in (etc / "shadow").read_text()
    assert "alice:x:1010" in (etc / "passwd").read_text()
    assert again.conflicts() == []


def test_permission_survives_a_failed_delivery(etc, make):
    target = make()
    target.reassert(["zoe"])
    (etc / "passwd.lock").write_bytes(b"%d\0" % os.getppid())
    with pytest.raises(TemporaryTargetError, match="held by process"):
        target.deliver([user("zoe", 1500, "$6$new")])
    (etc / "passwd.lock").unlink()
    assert verdicts(target.deliver([user("zoe", 1500, "$6$new")])) == ["delivered"]


def test_a_root_entry_with_a_strange_line_elsewhere_is_no_problem(etc, make):
    (etc / "passwd").write_text(PASSWD + "what is this\n")
    assert verdicts(make().deliver([user()])) == ["delivered"]
    assert "what is this\n" in (etc / "passwd").read_text()


def test_a_name_that_stands_twice_is_reported_and_reassertable(etc, make):
    target = make()
    target.deliver([user()])
    (etc / "shadow").write_text((etc / "shadow").read_text() + "alice::1::::::\n")
    outcomes = target.deliver([user(secret="$6$a$2")])
    assert verdicts(outcomes) == ["conflict"]
    assert "more than once" in outcomes[0].text
    target.reassert(["alice"])
    assert verdicts(target.deliver([user(secret="$6$a$2")])) == ["delivered"]
    assert (etc / "shadow").read_text().count("alice:") == 1


def test_no_error_or_outcome_shows_a_hash(etc, make):
    target = make()
    texts = [outcome.text for outcome in target.deliver([user("zoe", 1500, "$6$secret"), user("x", 5, "$6$secret")])]
    assert "$6$" not in "".join([*texts, *target.conflicts()])
    assert "$6$" not in Path(target.settings.journal).read_text()
