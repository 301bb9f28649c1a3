"""Answers from memory hold what the disk would have answered, or the disk is asked."""

from hypothesis import given, settings
from hypothesis import strategies as st
from support.registers import A, B
from support.simulation import InlineReactor, now

from beonss.core.replication.recent import BYTES, ROWS, RecentCommits
from beonss.core.replication.registers import Change, Key, Register, Stamp
from beonss.daemon.accounts.state import Accounts
from beonss.store.database import Database
from beonss.store.writer import InlineWriter

C = "c" * 32


def register(number, sequence, origin=A, value=b"{}"):
    return Register(Key(f"{number:032x}", "entry"), value, Stamp(sequence, origin, sequence))


def whole():
    recent = RecentCommits()
    recent.whole = True
    return recent


def test_only_what_was_committed_since_the_askers_vector():
    recent = whole()
    rows = [register(number, number) for number in range(1, 5)]
    for number, one in enumerate(rows):
        recent.add({A: number} if number else {}, [one], whole=True)
    assert recent.page({}, {A: 4}, 100).rows == tuple(rows)
    assert recent.page({A: 2}, {A: 4}, 100).rows == tuple(rows[2:])
    assert recent.page({A: 2, B: 9}, {A: 4}, 100).vector == {A: 4}
    assert recent.page({A: 2}, {A: 4}, 1) is None, "more than a page: the disk answers"


def test_the_last_value_of_a_register_is_enough():
    recent = whole()
    old, new = register(1, 1), register(1, 2)
    recent.add({}, [old], whole=True)
    recent.add({A: 1}, [new], whole=True)
    assert recent.page({}, {A: 2}, 100).rows == (new,)


def test_all_who_wait_get_the_same_answer():
    recent, vector = whole(), {A: 1}
    recent.add({}, [register(1, 1)], whole=True)
    assert recent.page({}, vector, 100) is recent.page({B: 7}, vector, 100)


def test_nothing_is_answered_while_a_register_is_not_covered():
    """The first page of an answer is here, its last is not: who has our vector may lack what it brought."""
    recent = whole()
    recent.add({}, [register(1, 1, B)], whole=False)
    recent.add({}, [register(2, 1)], whole=True)
    assert recent.page({}, {A: 1}, 100) is None
    recent.add({A: 1}, [register(2, 2)], whole=True)
    assert recent.page({A: 1}, {A: 2}, 100).rows == (register(2, 2),)
    assert recent.page({}, {A: 2}, 100) is None


def test_memory_is_bounded():
    recent = whole()
    for number in range(1, 3 * ROWS):
        recent.add({A: number - 1}, [register(number, number)], whole=True)
    assert recent.page({A: 1}, {A: 3 * ROWS}, 10**6) is None
    assert recent.page({A: 3 * ROWS - 2}, {A: 3 * ROWS}, 10**6) is not None
    assert len(recent._commits) <= ROWS
    for number in range(3 * ROWS, 3 * ROWS + 5):
        recent.add({A: number}, [register(number, number, value=b"x" * BYTES)], whole=True)
    assert recent._bytes <= 2 * BYTES


STEPS = st.lists(
    st.tuples(st.sampled_from("wpmo"), st.integers(0, 2), st.integers(1, 5), st.integers(0, 2)), min_size=1, max_size=25
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_whoever_takes_an_answer_from_memory_is_holds_all_that_it_says(steps):
    """Three masters write and pull: all of an answer, its first page only, or everything anew."""
    masters = [machine(name) for name in (A, B, C)]
    for kind, who, number, other in steps:
        one, peer = masters[who], masters[other]
        if kind == "w":
            key = Key(f"{number:032x}", "entry")
            now(one.write([change(key, number)], "t"))
            continue
        if one is peer:
            continue
        question = dict(one.vector) if kind != "o" else {}
        page = now(peer.page(question, limit=2))
        now(one.merge(page.rows, page.vector))
        while page.more is not None and kind != "p":
            page = now(peer.page(question, page.more, limit=2))
            now(one.merge(page.rows, page.vector))
        if kind != "p":
            check(one, peer)


def change(key, number):
    return Change(key, b"%d" % number)


def machine(name):
    names = iter([name])
    disk = Database(":memory:", "c", durable=False)
    made = Accounts(InlineReactor(), InlineWriter(disk), clock=lambda: 5, new_incarnation=lambda: next(names))
    made.disk = disk
    now(made.start())
    return made


def check(one, peer):
    for register_ in [r for batch in peer.disk.registers() for r in batch]:
        if peer.vector.get(register_.stamp.origin, 0) < register_.stamp.sequence:
            continue
        mine = one.disk.register(register_.key)
        assert mine is not None
        assert mine == register_ or mine.beats(register_)
