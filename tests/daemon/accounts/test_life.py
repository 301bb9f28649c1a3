"""Users and groups by command: what is written, refused, waited for and audited."""

import pytest
from support.account_life import LifeBench
from support.fake_accounts import THERE
from twisted.internet.defer import Deferred

from beonss.core.accounts import intents
from beonss.core.accounts.entries import PASSWORD, Aging, Password, UserEntry
from beonss.core.accounts.lookup import LocalNames
from beonss.core.accounts.numbers import OTHERS
from beonss.core.accounts.records import UserRecord, to_json
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Register
from beonss.errors import MalformedError, Refused, StoreError


@pytest.fixture
def bench():
    made = LifeBench()
    yield made
    assert "$6$" not in "".join(made.told) + str(made.audit.lines)


def view(bench):
    return bench.accounts.view


def test_a_user_gets_a_free_number_and_what_was_said(bench):
    answer = bench.ask("user.add", name="frodo")
    assert (answer["uid"], answer["gid"], answer["changed"], answer["held"]) == (1000, 100, True, ["frodo"])
    assert view(bench).user("frodo").entry == UserEntry("frodo", 1000, 100, "", "/home/frodo", "/bin/sh")
    bench.ask("group.add", name="hobbits", gid=1500)
    answer = bench.ask(
        "user.add", name="sam", uid=1600, group="hobbits", gecos="Sam", home="/h/sam", shell="/bin/zsh", expires=20000
    )
    sam = view(bench).user("sam")
    assert sam.entry == UserEntry("sam", 1600, 1500, "Sam", "/h/sam", "/bin/zsh")
    assert (sam.aging, sam.password, sam.id) == (Aging(expires=20000), None, answer["id"])
    assert answer["notes"] == []
    assert bench.ask("user.add", name="merry", group="1700")["notes"] == ["no group of the cluster has gid 1700"]


def test_a_name_that_differs_in_case_only_is_made_and_told(bench):
    bench.ask("user.add", name="kay")
    for notes in (
        bench.ask("user.add", name="Kay")["notes"],
        bench.ask("user.add", name="KAY", dry_run=True)["notes"],
    ):
        assert len(notes) == 1
        assert "kay" in notes[0]
        assert "case only" in notes[0]
    assert bench.ask("user.add", name="kays")["notes"] == []
    assert "user Kay, kay differs" in bench.ask("user.modify", name="kays", new_name="kAy")["notes"][0]
    assert bench.ask("user.modify", name="kAy", gecos="x")["notes"] == []
    bench.ask("user.delete", name="Kay")
    bench.ask("user.delete", name="kAy")
    assert bench.ask("user.modify", name="kay", new_name="Kay")["notes"] == [], "its own old name"
    bench.ask("group.add", name="elves")
    assert "case only" in bench.ask("group.add", name="Elves")["notes"][0]
    assert bench.ask("group.modify", name="Elves", new_name="Elven")["notes"] == []


def test_a_user_can_come_with_groups(bench):
    bench.ask("group.add", name="hobbits")
    answer = bench.ask("user.add", name="sam", user_group=True, groups=["hobbits"])
    # 1000 is the gid of the hobbits, so the pair is given the next number that is free as both.
    assert (answer["uid"], answer["gid"]) == (1001, 1001)
    assert view(bench).group("sam").entry.gid == 1001
    assert view(bench).group("hobbits").members == ("sam",)
    with pytest.raises(Refused, match="no group 'elves'"):
        bench.ask("user.add", name="merry", groups=["hobbits", "elves"])
    assert view(bench).user("merry") is None


def test_two_commands_at_once_get_two_numbers(bench):
    """The second decides only after the first has written."""
    slow = Deferred()
    real = bench.accounts.write

    async def write(changes, author):
        await slow
        return await real(changes, author)

    bench.accounts.write = write
    answers = []
    for name in ("sam", "merry"):
        bench.begin("user.add", name=name).addCallback(answers.append)
    slow.callback(None)
    assert sorted(answer["uid"] for answer in answers) == [1000, 1001]


def test_an_import_and_a_command_at_once_do_not_give_one_number_to_two(bench):
    """The command waits until the chunk is written."""
    slow = Deferred()
    real = bench.accounts.write

    async def write(changes, author):
        await slow
        return await real(changes, author)

    bench.accounts.write = write
    answers = []
    record = to_json(UserRecord(UserEntry("sam", 1000, 100, "", "/", "")))
    bench.begin("accounts.import", users=[record])
    bench.begin("user.add", name="merry").addCallback(answers.append)
    slow.callback(None)
    assert answers[0]["uid"] == 1001
    assert view(bench).conflicts() == []


def test_two_masters_apart_give_different_numbers():
    members = ("frodo", "gamgee", "fellowship")
    benches = [LifeBench(name, members) for name in members]
    numbers = [bench.ask("user.add", name=f"u{n}")["uid"] for bench in benches for n in range(15)]
    assert len(set(numbers)) == 45


def test_a_number_is_never_given_away_again(bench):
    bench.ask("user.add", name="frodo")
    bench.ask("user.delete", names=None, name="frodo")
    assert bench.ask("user.add", name="sam")["uid"] == 1001
    with pytest.raises(Refused, match="uid 1000 was used before"):
        bench.ask("user.add", name="merry", uid=1000)
    assert bench.ask("user.add", name="merry", uid=1000, reuse=True)["uid"] == 1000


def test_numbers_of_this_machine_are_passed_over(bench):
    bench.local = LocalNames([("debian", 1000), ("sam", 1005)], [("debian", 1001)])
    answer = bench.ask("user.add", name="sam")
    assert answer["uid"] == 1002
    assert answer["notes"] == ["frodo's own files have another user of this name or number: it is not served there"]
    bench.floors.uid_floor = OTHERS.start
    assert bench.ask("user.add", name="merry")["uid"] == OTHERS.stop


def test_made_again_after_deletion_it_starts_clean(bench):
    bench.ask("group.add", name="hobbits")
    bench.ask("user.add", name="sam", groups=["hobbits"])
    bench.accounts.put_changes(intents.set_password(view(bench), "sam", Password("$6$secret")))
    bench.ask("user.lock", name="sam", locked=True)
    bench.ask("user.delete", name="sam")
    bench.ask("user.add", name="sam", uid=1000, reuse=True)
    sam = view(bench).user("sam")
    assert (sam.password, sam.locked, view(bench).groups_of("sam")) == (None, False, ())


def test_a_new_password_can_be_demanded(bench):
    bench.ask("user.add", name="sam")
    with pytest.raises(Refused, match="no password"):
        bench.ask("user.expire-password", name="sam", needed=True)
    bench.accounts.put_changes(intents.set_password(view(bench), "sam", Password("$6$secret", 20000)))
    answer = bench.ask("user.expire-password", name="sam", needed=True)
    assert answer["message"] == "user sam must change the password at the next login"
    assert view(bench).user("sam").password.changed == 0
    assert bench.audit.lines[-1]["detail"] == "demanded"
    assert bench.ask("user.expire-password", name="sam", needed=True)["changed"] is False
    bench.ask("user.expire-password", name="sam", needed=False)
    assert view(bench).user("sam").password.changed == 20000
    assert bench.audit.lines[-1]["detail"] == "withdrawn"


def test_modifying_says_what_changed(bench):
    bench.ask("user.add", name="sam")
    answer = bench.ask("user.modify", name="sam", gecos="Samwise", shell="/bin/csh")
    assert answer["message"] == "user sam (1000) is changed: gecos, shell"
    assert bench.ask("user.modify", name="sam", gecos="Samwise")["message"] == "user sam (1000) is so already"
    bench.ask("user.modify", name="sam", new_name="samwise", group="1234")
    assert view(bench).user("sam") is None
    assert view(bench).user("samwise").entry.gid == 1234
    assert bench.audit.lines[-1]["detail"] == "name, gid"


def test_ageing(bench):
    bench.ask("user.add", name="sam")
    bench.ask("user.age", name="sam", maximum=90, warning=7, expires=20000)
    assert view(bench).user("sam").aging == Aging(maximum=90, warning=7, expires=20000)
    answer = bench.ask("user.age", name="sam", warning=None, minimum=1)
    assert answer["message"] == "user sam (1000) is changed: minimum, warning"
    assert view(bench).user("sam").aging == Aging(minimum=1, maximum=90, expires=20000)
    with pytest.raises(Refused, match="could never change"):
        bench.ask("user.age", name="sam", minimum=91)


def test_locking(bench):
    bench.ask("user.add", name="sam")
    assert bench.ask("user.lock", name="sam", locked=False)["message"] == "user sam is unlocked already"
    bench.ask("user.lock", name="sam", locked=True)
    assert view(bench).user("sam").locked
    assert not bench.ask("user.lock", name="sam", locked=True)["changed"]


def test_the_users_own_group_goes_with_it_if_nobody_else_is_in_it(bench):
    bench.ask("user.add", name="sam", user_group=True)
    bench.ask("user.add", name="merry", group="sam")
    assert bench.ask("user.delete", name="sam", user_group=True)["notes"] == [
        "group sam stays: others are in it (merry)"
    ]
    assert view(bench).group("sam") is not None
    bench.ask("user.add", name="rosie", user_group=True)
    bench.ask("user.delete", name="rosie", user_group=True)
    assert view(bench).group("rosie") is None
    bench.ask("group.add", name="pippin")
    bench.ask("user.add", name="pippin")
    assert "not the user's own" in bench.ask("user.delete", name="pippin", user_group=True)["notes"][0]


def test_groups(bench):
    for name in ("sam", "rosie"):
        bench.ask("user.add", name=name)
    assert bench.ask("group.add", name="hobbits", members=["sam"])["gid"] == 1000
    assert bench.ask("group.member", name="hobbits", users=["sam", "rosie"], member=True)["message"] == (
        "sam, rosie are in group hobbits"
    )
    assert view(bench).group("hobbits").members == ("rosie", "sam")
    bench.ask("group.member", name="hobbits", users=["sam"], member=False)
    assert not bench.ask("group.member", name="hobbits", users=["sam"], member=False)["changed"]
    with pytest.raises(Refused, match="no user 'gollum'"):
        bench.ask("group.member", name="hobbits", users=["sam", "gollum"], member=True)
    assert view(bench).group("hobbits").members == ("rosie",)
    bench.ask("group.modify", name="hobbits", new_name="halflings")
    bench.ask("user.modify", name="sam", group="halflings")
    with pytest.raises(Refused, match="primary group of sam"):
        bench.ask("group.delete", name="halflings")
    bench.ask("group.delete", name="halflings", force=True)
    assert view(bench).group("halflings") is None


def test_a_dry_run_decides_and_does_nothing(bench):
    answer = bench.ask("user.add", name="sam", dry_run=True)
    assert (answer["uid"], answer["dry_run"], answer["changed"]) == (1000, True, True)
    with pytest.raises(Refused):
        bench.ask("user.add", name="low", uid=5, dry_run=True)
    assert bench.accounts.rows == {}
    assert bench.audit.lines == []


def test_what_was_tried_is_audited(bench):
    bench.ask("user.add", name="sam", expires=5)
    bench.ask("user.modify", name="sam", gecos="")
    with pytest.raises(Refused):
        bench.ask("user.add", name="sam")
    common = {"user": "sam", "author": "root@frodo", "source": "local uid 0"}
    assert bench.audit.lines == [
        {"event": "user-add", "outcome": "changed", "object": "user sam (1000)", "detail": "created", **common},
        {"event": "user-add", "outcome": "refused", "code": "exists", **common},
    ]

    async def full(changes, author):
        raise StoreError("the disk is full")

    bench.accounts.write = full
    with pytest.raises(StoreError):
        bench.ask("user.add", name="merry")
    assert bench.audit.lines[-1]["code"] == "failed"
    # The next command gets its turn all the same.
    with pytest.raises(StoreError):
        bench.ask("user.add", name="merry")


def test_imports_are_audited_when_they_changed_something(bench):
    record = to_json(UserRecord(UserEntry("sam", 1001, 100, "", "/", ""), Password("$6$secret", 5)))
    for _ in range(2):
        bench.ask("accounts.import", users=[record])
        bench.ask("accounts.set-hash", name="sam", hash="$6$other", changed=5)
    told = [(line["event"], line["user"], line.get("detail")) for line in bench.audit.lines]
    assert told == [("import", "sam", "new"), ("set-hash", "sam", None)]


def test_a_command_waits_for_the_boot(bench):
    """A master that has not heard the others might give away what it gave away before it was restored."""
    boot = Deferred()
    bench.ready = lambda _: boot
    answers = []
    bench.begin("user.add", name="sam").addCallback(answers.append)
    assert answers == []
    assert bench.accounts.rows == {}
    boot.callback(None)
    assert len(answers) == 1


def test_a_command_waits_a_moment_for_the_others(bench):
    bench.masters.add("gamgee")
    bench.masters.add("fellowship", reachable=False)
    answers = []
    bench.begin("user.add", name="sam").addCallback(answers.append)
    assert answers == []
    bench.masters.acknowledge("gamgee")
    assert (answers[0]["held"], answers[0]["waiting"]) == (["frodo", "gamgee"], ["fellowship"])
    assert bench.masters.callbacks == []
    assert bench.clock.getDelayedCalls() == []
    bench.masters.holding.clear()
    bench.begin("user.add", name="merry").addCallback(answers.append)
    bench.clock.advance(10)
    assert (answers[1]["held"], answers[1]["waiting"]) == (["frodo"], ["fellowship", "gamgee"])


def test_a_decision_is_made_again_when_another_master_was_faster(bench):
    bench.ask("user.add", name="sam")
    real, raced = bench.accounts.write, []

    async def race(changes, author):
        if not raced:
            raced.append(True)
            faster = UserEntry("sam", 1000, 100, "", "/home/sam", "/bin/zsh")
            bench.accounts.put_changes(intents.modify_user(view(bench), "sam", faster), origin=THERE)
        return await real(changes, author)

    bench.accounts.write = race
    bench.ask("user.modify", name="sam", gecos="Sam")
    assert view(bench).user("sam").entry == UserEntry("sam", 1000, 100, "Sam", "/home/sam", "/bin/zsh")

    async def always(changes, author):
        raise Refused("changed-meanwhile", "again")

    bench.accounts.write = always
    with pytest.raises(Refused):
        bench.ask("user.modify", name="sam", gecos="Samwise")


@pytest.mark.parametrize(
    ("operation", "parameters", "code"),
    [
        ("user.add", {"name": "low", "uid": 5}, "below-floor"),
        ("group.add", {"name": "low", "gid": 5}, "below-floor"),
        ("user.add", {"name": "rooted", "group": "0"}, "bad-entry"),
        ("user.add", {"name": "big", "group": "99999999999"}, "bad-entry"),
        ("user.add", {"name": "frodo"}, "exists"),
        ("user.add", {"name": "sam", "uid": 1000}, "exists"),
        ("user.add", {"name": "a:b"}, "bad-entry"),
        ("user.add", {"name": "sam", "group": "nobody"}, "unknown-group"),
        ("user.modify", {"name": "nobody", "shell": "/bin/sh"}, "unknown-user"),
        ("user.modify", {"name": "frodo", "group": 0}, "bad-entry"),
        ("user.modify", {"name": "frodo", "new_name": "lonely"}, "exists"),
        ("user.age", {"name": "nobody", "maximum": 5}, "unknown-user"),
        ("user.delete", {"name": "nobody"}, "unknown-user"),
        ("user.lock", {"name": "nobody", "locked": True}, "unknown-user"),
        ("group.add", {"name": "hobbits"}, "exists"),
        ("group.delete", {"name": "nobody"}, "unknown-group"),
        ("group.modify", {"name": "nobody", "new_name": "x"}, "unknown-group"),
        ("group.member", {"name": "nobody", "users": ["frodo"], "member": True}, "unknown-group"),
        ("conflicts.keep", {"id": "00"}, "unknown-conflict"),
        ("user.add", {"name": "lonely"}, "exists"),
    ],
)
def test_what_cannot_be_is_refused(bench, operation, parameters, code):
    bench.ask("user.add", name="frodo")
    bench.ask("group.add", name="hobbits")
    loser = intents.create_user(AccountView(), UserEntry("lonely", 1000, 100, "", "/", ""), 99)
    bench.accounts.put_changes(loser, origin=THERE)
    before = dict(bench.accounts.rows)
    with pytest.raises(Refused) as caught:
        bench.ask(operation, **parameters)
    assert caught.value.code == code
    assert bench.accounts.rows == before


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("user.add", {"name": "x", "uid": "5"}),
        ("user.add", {"name": "x", "uid": 2**32}),
        ("user.add", {"name": "x", "gecos": 5}),
        ("user.add", {"name": "x", "gecos": "x" * 2000}),
        ("user.add", {"name": "x", "group": True}),
        ("user.add", {"name": "x", "group": "y", "user_group": True}),
        ("user.add", {"name": "x", "groups": "y"}),
        ("user.add", {"name": "x", "groups": [3]}),
        ("user.add", {}),
        ("user.add", {"name": "x", "dry_run": "yes"}),
        ("user.age", {"name": "x", "maximum": True}),
        ("user.lock", {"name": "x", "locked": 1}),
        ("group.member", {"name": "x", "users": []}),
        ("group.modify", {"name": "x"}),
        ("conflicts.rename", {"id": "00"}),
        ("conflicts.keep", {"id": "0" * 65}),
    ],
)
def test_what_makes_no_sense_is_malformed(bench, operation, parameters):
    with pytest.raises(MalformedError):
        bench.ask(operation, **parameters)


class TestConflicts:
    """Two masters that were apart used one uid, and one name."""

    @pytest.fixture
    def torn(self, bench):
        bench.ask("user.add", name="frodo")
        for entry in (
            UserEntry("sam", 1000, 100, "", "/", "/bin/sh"),
            UserEntry("frodo", 1700, 100, "", "/", "/bin/sh"),
        ):
            changes = intents.create_user(AccountView(), entry, 99)
            bench.accounts.put_changes(changes, origin=THERE, author="root@gamgee")
        return bench

    def test_they_are_listed(self, torn):
        torn.foreign = ["local: something"]
        found = torn.ask("conflicts.list")
        assert [(one["claim"], one["value"]) for one in found["accounts"]] == [("name", "frodo"), ("number", 1000)]
        first, second = found["accounts"][1]["objects"]
        assert (first["text"], first["served"], first["author"]) == ("user frodo (1000)", True, "root@frodo")
        assert (second["text"], second["served"], second["author"]) == ("user sam (1000)", False, "root@gamgee")
        assert found["targets"] == ["local: something"]

    def test_and_settled(self, torn):
        name, number = (one["losers"][0] for one in torn.ask("conflicts.list")["accounts"])
        answer = torn.ask("conflicts.rename", id=name[:12], name="frodo2")
        assert answer["message"] == "user frodo (1700) is renamed, now frodo2 (1700)"
        assert torn.ask("conflicts.renumber", id=number)["message"] == "user sam (1000) is renumbered, now sam (1001)"
        assert torn.ask("conflicts.list")["accounts"] == []
        assert {user.entry.name for user in view(torn).users()} == {"frodo", "frodo2", "sam"}
        assert [line["event"] for line in torn.audit.lines[-2:]] == ["conflicts-rename", "conflicts-renumber"]

    def test_the_later_one_can_be_kept_and_the_other_deleted(self, torn):
        (loser,) = torn.ask("conflicts.list")["accounts"][1]["losers"]
        assert torn.ask("conflicts.keep", id=loser)["message"] == "user sam (1000) is preferred"
        assert view(torn).user_by_uid(1000).entry.name == "sam"
        old = next(one for one in torn.ask("conflicts.list")["accounts"] if one["claim"] == "number")
        torn.ask("conflicts.delete", id=old["losers"][0])
        assert torn.ask("conflicts.list")["accounts"] == []
        assert view(torn).user("frodo").entry.uid == 1700

    def test_a_number_below_the_floor_is_refused(self, torn):
        (loser,) = torn.ask("conflicts.list")["accounts"][1]["losers"]
        with pytest.raises(Refused, match="floor"):
            torn.ask("conflicts.renumber", id=loser, number=5)

    def test_writes_that_lost_are_told(self, torn):
        torn.ask("group.add", name="hobbits")
        for change in (
            intents.modify_user(view(torn), "frodo", UserEntry("frodo", 1000, 100, "", "/x", "/bin/csh")),
            intents.modify_group(view(torn), "hobbits", type(view(torn).group("hobbits").entry)("halflings", 1000)),
            intents.set_lock(view(torn), "frodo", locked=True),
            intents.add_member(view(torn), "hobbits", "frodo"),
        ):
            (lost,) = torn.accounts.put_changes(change, origin=THERE, author="root@gamgee")
            torn.accounts.overruled_rows.append(lost)
        torn.ask("user.modify", name="frodo", gecos="F")
        found = torn.ask("conflicts.list")["overruled"]
        assert found[0]["account"] == "user frodo (1000)"
        assert found[0]["lost"]["value"] == {"gecos": ""}
        assert found[0]["stands"]["value"] == {"gecos": "F"}
        assert [one["field"] for one in found][:3] == ["entry", "entry", "lock"]
        assert found[-1]["about"] == "membership of user frodo (1000)"
        torn.ask("user.delete", name="frodo")
        assert [one["account"] for one in torn.ask("conflicts.list")["overruled"]] == ["group halflings (1000)"] * 2

    @pytest.fixture
    def lost(self, torn):
        """Return the bench after a shell, a lock and a password of frodo's lost."""
        for change in (
            intents.set_password(view(torn), "frodo", Password("$6$lost", 20000)),
            intents.modify_user(view(torn), "frodo", UserEntry("frodo", 1000, 100, "", "/x", "/bin/csh")),
            intents.set_lock(view(torn), "frodo", locked=True),
        ):
            (row,) = torn.accounts.put_changes(change, origin=THERE, author="root@gamgee")
            if row.key.field == PASSWORD:
                # As the store keeps it.
                row = Register(row.key, b"", row.stamp, row.author, row.context)
            torn.accounts.overruled_rows.append(row)
        torn.ask("user.modify", name="frodo", gecos="F", home="/home/frodo", shell="/bin/sh")
        torn.ask("user.lock", name="frodo", locked=False)
        torn.accounts.put_changes(intents.set_password(view(torn), "frodo", Password("$6$stands", 20001)))
        return torn

    def test_a_write_that_lost_is_brought_back(self, lost):
        rows = [(one["id"], one["field"]) for one in lost.ask("conflicts.list")["overruled"]]
        frodo = rows[0][0]
        assert rows == [(frodo, "password"), (frodo, "entry"), (frodo, "lock")]
        with pytest.raises(Refused, match="say which with --field: password, entry, lock"):
            lost.ask("conflicts.reassert", id=frodo[:8])
        answer = lost.ask("conflicts.reassert", id=frodo[:8], field="entry")
        assert answer["message"] == "user frodo (1000) has again what root@gamgee made of its entry"
        assert (view(lost).user("frodo").entry.shell, view(lost).user("frodo").entry.home) == ("/bin/csh", "/x")
        lost.ask("conflicts.reassert", id=frodo, field="lock")
        assert view(lost).user("frodo").locked
        with pytest.raises(Refused, match="not kept anywhere"):
            lost.ask("conflicts.reassert", id=frodo, field="password")
        with pytest.raises(Refused, match="no account whose id"):
            lost.ask("conflicts.reassert", id="zz")
        told = [
            line["detail"] for line in lost.audit.lines if line["event"] == "conflicts-reassert" and "detail" in line
        ]
        assert told == ["entry brought back", "lock brought back"]

    def test_a_name_that_has_another_owner_now_is_not_brought_back(self, torn):
        (row,) = torn.accounts.put_changes(
            intents.modify_user(view(torn), "frodo", UserEntry("baggins", 1000, 100, "", "/", "")), origin=THERE
        )
        torn.accounts.overruled_rows.append(row)
        torn.ask("user.modify", name="baggins", new_name="bungo")
        torn.ask("user.add", name="baggins", uid=1900)
        with pytest.raises(Refused, match=r"user baggins \(1900\) has its name or number now"):
            torn.ask("conflicts.reassert", id=row.key.object)

    def test_what_stands_is_right_and_the_others_are_dismissed(self, lost):
        """It is written again by somebody who saw both; so the other masters forget the one that lost, too."""
        lost.ask("user.expire-password", name="frodo", needed=True)
        before = view(lost).user("frodo")
        stamps = {row.key: row.stamp for row in view(lost).registers(before.id)}
        assert lost.ask("conflicts.dismiss", all=True, dry_run=True)["message"] == "3 writes that lost are dismissed"
        lost.ask("conflicts.dismiss", id=before.id[:6], field="entry")
        lost.ask("conflicts.dismiss", all=True)
        assert view(lost).user("frodo") == before, "and a demanded change of password stays demanded"
        assert before.password.changed == 0
        again = {row.key for row in view(lost).registers(before.id) if stamps[row.key] != row.stamp}
        assert {key.field for key in again} == {"password", "entry", "lock", "renewal"}
        assert {line["detail"] for line in lost.audit.lines if line["event"] == "conflicts-dismiss"} == {"dismissed"}
        lost.accounts.overruled_rows.clear()
        assert lost.ask("conflicts.dismiss", all=True)["message"] == "there is no write that lost"
