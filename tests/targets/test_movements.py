"""Accounts that exchange names and numbers in the account files: whoever can moves, and no number is there twice."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beonss.core.accounts.entries import GroupEntry, Password, UserEntry
from beonss.core.targets.backlog import LOOK_SELDOM, Backlog
from beonss.core.targets.delivery import GroupState, UserState
from beonss.targets.files import FilesSettings, FilesTarget

PASSWD = "root:x:0:0:root:/root:/bin/sh\n"
SHADOW = "root:*:19000:0:99999:7:::\n"
GROUP = "root:x:0:\n"
OBJECTS = ("o0", "o1", "o2", "o3", "o4")
NAMES = ("a", "b", "c", "d", "e", "f")
NUMBERS = (5001, 5002, 5003, 5004, 5005, 5006)


def user(object_id, name, uid, gid=100):
    if uid is None:
        return UserState(object_id, name, None)
    return UserState(object_id, name, UserEntry(name, uid, gid, "", f"/home/{name}", "/bin/sh"), Password("$6$x", 1))


class Files:
    """The files of a machine, what is wanted in them, and what waits."""

    def __init__(self, root, foreign=""):
        self.etc = root / "etc"
        self.etc.mkdir(parents=True)
        self.foreign = foreign
        (self.etc / "passwd").write_text(PASSWD + foreign)
        (self.etc / "shadow").write_text(SHADOW)
        (self.etc / "group").write_text(GROUP)
        self.target = FilesTarget(FilesSettings("local", root, root / "journal"))

    def deliver(self, *states):
        """Deliver; return the verdicts, and see that no number stands there twice."""
        outcomes = self.target.deliver(states)
        numbers = list(self.users().values())
        assert len(numbers) == len(set(numbers)), f"a uid stands there twice: {self.users()}"
        assert self.foreign in (self.etc / "passwd").read_text()
        return outcomes

    def users(self):
        lines = [line.split(":") for line in (self.etc / "passwd").read_text().splitlines()]
        return {line[0]: int(line[2]) for line in lines}

    def edit(self, old, new):
        path = self.etc / "passwd"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture
def files(tmp_path):
    made = Files(tmp_path)
    yield made
    made.target.close()


def verdicts(outcomes):
    return [outcome.verdict for outcome in outcomes]


@pytest.mark.parametrize("length", [2, 3, 5])
def test_a_ring_of_accounts_passes_its_numbers_on(files, length):
    """Uids go round in rings of any length, by one replacement of the file."""
    files.deliver(*(user(OBJECTS[i], NAMES[i], NUMBERS[i]) for i in range(length)))
    turned = [user(OBJECTS[i], NAMES[i], NUMBERS[(i + 1) % length]) for i in range(length)]
    assert set(verdicts(files.deliver(*turned))) == {"delivered"}
    assert files.users() == {"root": 0, **{NAMES[i]: NUMBERS[(i + 1) % length] for i in range(length)}}


def test_names_and_numbers_are_exchanged_at_once(files):
    """Two accounts that take each other's name, and two that take each other's name and number."""
    files.deliver(user("o0", "a", 5001), user("o1", "b", 5002))
    assert verdicts(files.deliver(user("o0", "b", 5001), user("o1", "a", 5002))) == ["delivered"] * 2
    assert files.users() == {"root": 0, "b": 5001, "a": 5002}
    assert verdicts(files.deliver(user("o0", "a", 5002), user("o1", "b", 5001))) == ["delivered"] * 2
    assert files.users() == {"root": 0, "b": 5001, "a": 5002}


def test_groups_exchange_their_numbers(files):
    """What holds for users holds for groups."""
    states = [GroupState("g0", "staff", GroupEntry("staff", 5001)), GroupState("g1", "crew", GroupEntry("crew", 5002))]
    files.deliver(*states)
    states = [GroupState("g0", "staff", GroupEntry("staff", 5002)), GroupState("g1", "crew", GroupEntry("crew", 5001))]
    assert verdicts(files.deliver(*states)) == ["delivered"] * 2
    assert (files.etc / "group").read_text() == GROUP + "staff:x:5002:\ncrew:x:5001:\n"


def test_a_stranger_in_the_way_stops_all_who_wait_for_each_other(tmp_path):
    """A number of an account that is not ours is never freed, and nobody who waits for it moves by halves."""
    files = Files(tmp_path, "stranger:x:5009:100::/:/bin/sh\n")
    files.deliver(user("o0", "a", 5001), user("o1", "b", 5002), user("o2", "c", 5003))
    outcomes = files.deliver(user("o0", "a", 5002), user("o1", "b", 5003), user("o2", "c", 5009))
    assert verdicts(outcomes) == ["conflict"] * 3
    assert "uid 5009 of c is stranger's here" in outcomes[2].text
    assert "uid 5003 of b is c's here, which is not changed either" in outcomes[1].text
    assert [outcome.joint for outcome in outcomes] == [True, True, False]
    assert files.users() == {"root": 0, "stranger": 5009, "a": 5001, "b": 5002, "c": 5003}
    files.target.close()


def test_a_line_edited_by_hand_keeps_its_number(files):
    """Whose line somebody edited does not move, nor does who wants its number; put back, both go together."""
    files.deliver(user("o0", "a", 5001), user("o1", "b", 5002))
    files.edit("b:x:5002:100:", "b:x:5002:100:edited")
    swap = user("o0", "a", 5002), user("o1", "b", 5001)
    assert verdicts(files.deliver(*swap)) == ["conflict"] * 2
    assert files.users() == {"root": 0, "a": 5001, "b": 5002}
    files.edit("edited", "")
    # Either one alone still waits for the other.
    assert [verdicts(files.deliver(state)) for state in swap] == [["conflict"], ["conflict"]]
    assert verdicts(files.deliver(*swap)) == ["delivered"] * 2
    assert files.users() == {"root": 0, "a": 5002, "b": 5001}


def test_who_waits_for_another_goes_along_with_the_next_delivery(files):
    """Accounts that can only move together are tried together, though each waits for a time of its own."""
    files.deliver(user("o0", "a", 5001), user("o1", "b", 5002))
    files.edit("b:x:5002:100:", "b:x:5002:100:edited")
    swap = {"o0": user("o0", "a", 5002), "o1": user("o1", "b", 5001)}
    backlog, now = Backlog(), 0.0

    def attempt(chance):
        taken = backlog.take(now)
        for object_id, outcome in zip(taken, files.deliver(*(swap[one] for one in taken)), strict=True):
            backlog.settle(object_id, outcome, now, chance)

    for object_id, chance in zip(swap, (0.1, 0.9), strict=True):
        backlog.add_object(object_id, now, 0)
        attempt(chance)
    assert len(backlog) == 2
    files.edit("edited", "")
    tries = 0
    while len(backlog):
        now = backlog.next_due()
        assert now < LOOK_SELDOM
        attempt(0.5)
        tries += 1
    assert files.users() == {"root": 0, "a": 5002, "b": 5001}
    assert tries == 1


def test_the_line_of_a_deleted_account_goes_though_its_heir_cannot_be_written(tmp_path):
    """A name that went to another account lets nobody in as the old one, even where the new one has no place."""
    files = Files(tmp_path, "stranger:x:5009:100::/:/bin/sh\n")
    files.deliver(*(user(OBJECTS[i], NAMES[i], NUMBERS[i]) for i in range(3)))
    outcomes = files.deliver(user("new", "a", 5009), user("o1", "b", 5001))
    assert verdicts(outcomes) == ["conflict", "delivered"]
    assert files.users() == {"root": 0, "stranger": 5009, "b": 5001, "c": 5003}
    assert "a:" not in (tmp_path / "etc" / "shadow").read_text()
    files.target.close()


def test_two_of_one_delivery_cannot_have_one_number(files):
    """The accounts of one delivery may have been looked up before and after a change; the second one waits a moment."""
    outcomes = files.deliver(user("o0", "a", 5001), user("o1", "b", 5001))
    assert verdicts(outcomes) == ["delivered", "failed"]
    assert files.users() == {"root": 0, "a": 5001}


people = st.dictionaries(
    st.sampled_from(OBJECTS), st.tuples(st.sampled_from(NAMES), st.sampled_from(NUMBERS)), max_size=5
).filter(lambda wanted: all(len({pair[i] for pair in wanted.values()}) == len(wanted) for i in (0, 1)))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(people, min_size=1, max_size=4),
    st.lists(st.sampled_from(NUMBERS), max_size=2, unique=True),
    st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
)
def test_whoever_can_move_moves(tmp_path_factory, histories, foreign_numbers, edited):
    """After each delivery exactly those are delivered who can be, by an oracle that tries every choice of them."""
    strangers = dict(zip(("s0", "s1"), foreign_numbers, strict=False))
    files = Files(
        tmp_path_factory.mktemp("files"), "".join(f"{name}:x:{uid}:100::/:/bin/sh\n" for name, uid in strangers.items())
    )
    files.target.reassert([], shrink=True)
    held: dict[str, tuple[str, int]] = {}
    for turn, wanted in enumerate(histories):
        if turn == 1:
            for name in edited:
                if any(name == have for have, _ in held.values()):
                    files.edit(f"{name}:x:{files.users()[name]}:100:", f"{name}:x:{files.users()[name]}:100:by hand")
        fixed = {name for name in edited if f":by hand:/home/{name}:" in (files.etc / "passwd").read_text()}
        before = files.users()
        gone = [user(one, held[one][0], None) for one in held if one not in wanted]
        taken = {name for name, _ in wanted.values()}
        states = [state for state in gone if state.name not in taken]
        states += [user(one, *wanted[one]) for one in wanted]
        files.target.reassert([], shrink=True)
        outcomes = dict(zip(states, files.deliver(*states), strict=True)) if states else {}
        moved, after = greatest(before, strangers, held, wanted, set(wanted), fixed)
        assert files.users() == after, (before, wanted, outcomes)
        told = {state.object for state, outcome in outcomes.items() if outcome.verdict == "delivered"}
        # One that left an edited line under its old name behind is written, and yet not done.
        assert told & wanted.keys() <= moved | {one for one in wanted if held.get(one) == wanted[one]}
        passed_on = {wanted[one][0] for one in moved}
        held = {
            one: have
            for one, have in held.items()
            if after.get(have[0]) == have[1] and one not in moved and have[0] not in passed_on
        }
        # Under a new name whose line was edited nothing is written, and the old name goes all the same.
        held |= {one: (wanted[one][0], after[wanted[one][0]]) for one in moved}
    files.target.close()


def greatest(before, strangers, held, wanted, possible, fixed):
    """Return the largest set of accounts whose moving leaves every number in one place."""
    for size in range(len(possible), -1, -1):
        found = [set(chosen) for chosen in itertools.combinations(sorted(possible), size)]
        good = [chosen for chosen in found if possible_for(chosen, before, strangers, held, wanted, fixed)]
        if good:
            assert len(good) == 1, "there is one greatest set"
            return good[0], outcome_of(before, held, wanted, good[0], fixed)
    raise AssertionError("nobody moving is always possible")


def outcome_of(before, held, wanted, chosen, fixed):
    after = dict(before)
    for one, (name, _) in held.items():
        overtaken = any(wanted[other][0] == name for other in wanted if other != one)
        if name not in fixed and (one not in wanted or one in chosen or overtaken):
            after.pop(name, None)
    after.update((wanted[one][0], wanted[one][1]) for one in chosen if wanted[one][0] not in fixed)
    return after


def possible_for(chosen, before, strangers, held, wanted, fixed):
    after = outcome_of(before, held, wanted, chosen, fixed)
    if len(after) != len(set(after.values())) or any(after[name] != uid for name, uid in strangers.items()):
        return False
    # One whose line was edited wants its number as all others do, and waits for it, though it is not written.
    takers = {wanted[one][0]: wanted[one][1] for one in chosen}
    return all(uid not in after.values() or after.get(name) == uid for name, uid in takers.items())
