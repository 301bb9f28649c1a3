"""The rate limit: guessing gets slow, nobody is locked out by a stranger, memory is bounded."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.passwords.attempts import LOCAL, AttemptLimits, Attempts, Source
from beonss.errors import MalformedError, Refused

HERE = Source(LOCAL, 1000)
NODE = Source("10.5.1.7")


def guess(attempts, now, user="alice", source=HERE, right=False):
    attempts.begin(user, source, now)
    attempts.end(user, source, now, right)


def guesses_within(attempts, seconds, user="alice", source=HERE):
    """Return how many guesses a patient guesser gets in, trying as soon as it is let."""
    now, count = 0.0, 0
    while now < seconds:
        wait = attempts.wait(user, source, now)
        if wait:
            now += wait
            continue
        guess(attempts, now, user, source)
        count += 1
    return count


def test_some_failures_are_free_and_then_each_doubles_the_wait():
    attempts, waits = Attempts(), []
    for _ in range(5):
        guess(attempts, 0)
    for _ in range(5):
        assert attempts.wait("alice", HERE, 0) == 0
        attempts.end("alice", HERE, 0, False)
        waits.append(attempts.wait("alice", HERE, 0))
        attempts._pairs["alice", HERE.key].until = 0
    assert waits == [1, 2, 4, 8, 16]


def test_a_guesser_gets_few_guesses_a_day():
    assert guesses_within(Attempts(), 86400) < 700


def test_while_it_waits_even_the_right_password_is_refused_unheard():
    attempts = Attempts()
    for _ in range(6):
        guess(attempts, 0)
    with pytest.raises(Refused) as caught:
        attempts.begin("alice", HERE, 0.5)
    assert caught.value.code == "rate-limited"
    assert "wait 1 s" in str(caught.value)
    guess(attempts, 1.1, right=True)
    assert attempts.wait("alice", HERE, 1.1) == 0


@pytest.mark.parametrize(
    "other", [Source(LOCAL, 1001), Source("10.5.1.8"), Source(LOCAL, 0, "elsewhere"), Source(LOCAL, 0)]
)
def test_a_stranger_cannot_lock_a_user_out(other):
    attempts = Attempts()
    for now in range(0, 10_000, 10):
        with contextlib.suppress(Refused):
            guess(attempts, now, source=other)
    assert attempts.wait("alice", other, 9_991) > 0
    assert attempts.wait("alice", HERE, 10_000) == 0


def test_a_stranger_at_the_same_console_costs_the_user_seconds_only():
    """su(1) is root's program whoever runs it; nobody can tell the stranger from the user there."""
    attempts, console = Attempts(), Source(LOCAL, 0)
    for now in range(0, 10_000, 10):
        with contextlib.suppress(Refused):
            guess(attempts, now, source=console)
    assert 0 < attempts.wait("alice", console, 9_991) <= 10
    assert [Source(LOCAL, 0, "far").shared, Source(LOCAL, 1000).shared, NODE.shared] == [False, False, True]


def test_a_users_program_cannot_make_up_sources_but_roots_names_the_far_host():
    assert Source(LOCAL, 1000, "a").key == Source(LOCAL, 1000, "b").key
    assert Source(LOCAL, 0, "a").key != Source(LOCAL, 0, "b").key
    assert str(Source(LOCAL, 0, "a")) == "local uid 0 from a"
    assert str(NODE) == "10.5.1.7"


def test_trying_many_names_from_a_node_slows_the_node_but_not_those_it_knows():
    attempts = Attempts()
    guess(attempts, 0, "alice", NODE, right=True)
    for number in range(210):
        with contextlib.suppress(Refused):
            guess(attempts, 1, f"user{number}", NODE)
    assert 0 < attempts.wait("bob", NODE, 1) <= 10
    assert attempts.wait("alice", NODE, 1) == 0
    assert attempts.wait("bob", Source("10.5.1.8"), 1) == 0
    assert attempts.wait("bob", NODE, 20) == 0


def test_guesses_made_at_once_are_held_to_the_free_failures():
    attempts = Attempts()
    for _ in range(5):
        attempts.begin("alice", HERE, 0)
    with pytest.raises(Refused):
        attempts.begin("alice", HERE, 0)
    attempts.end("alice", HERE, 0, None)
    attempts.begin("alice", HERE, 0)


def test_whoever_logged_in_before_may_log_in_many_times_at_once():
    """A job script that opens two hundred sessions at once types the right password each time."""
    attempts = Attempts()
    guess(attempts, 0, right=True)
    for _ in range(200):
        attempts.begin("alice", HERE, 1)
    for _ in range(200):
        attempts.end("alice", HERE, 2, True)
    assert attempts.wait("alice", HERE, 2) == 0


def test_failures_fade():
    attempts = Attempts()
    for _ in range(5):
        guess(attempts, 0)
    guess(attempts, 6000)
    assert attempts.wait("alice", HERE, 6000) == 0


def test_what_could_not_be_verified_counts_as_nothing():
    attempts = Attempts()
    for _ in range(100):
        guess(attempts, 0, right=None)
    assert attempts.wait("alice", HERE, 0) == 0


def test_memory_is_bounded():
    attempts = Attempts(AttemptLimits(entries=10))
    for number in range(100):
        with contextlib.suppress(Refused):
            guess(attempts, number, f"user{number}", Source(f"10.0.0.{number}"))
    assert len(attempts) == 10
    assert len(attempts._places) == 10


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([HERE, NODE]), st.booleans() | st.none()), max_size=30)
)
def test_what_is_dumped_is_taken_over(history):
    attempts = Attempts()
    for now, (user, source, right) in enumerate(history):
        with contextlib.suppress(Refused):
            guess(attempts, now, user, source, right)
    restored = Attempts()
    # The machine started anew: its clock of waits began at 0, the wall clock went on from 1e9.
    restored.load(attempts.dump(1e9), 0.0, 1e9 + len(history))
    for user in "ab":
        pair, again = attempts._pairs.get((user, HERE.key)), restored._pairs.get((user, HERE.key))
        if pair is not None and (pair.failures or pair.known):
            assert again is not None
            assert again.known == pair.known
            assert again.until == pytest.approx(pair.until - len(history), abs=0.01)


@given(
    st.binary(max_size=60)
    | st.sampled_from(
        [b"[1]", b"[[1,2,3,4,5,6]]", b"null", b'[["a","b",1e999,1,1,1]]', b'[["a","b",1,1,NaN,1]]', b"[" * 99999]
    )
)
def test_arbitrary_bytes_load_or_are_malformed(data):
    attempts = Attempts()
    with contextlib.suppress(MalformedError):
        attempts.load(data, 0.0)


def test_a_clock_set_back_makes_nobody_wait_longer_than_the_longest_wait():
    attempts = Attempts()
    for _ in range(8):
        attempts.end("alice", HERE, 1e9, False)
    restored = Attempts()
    restored.load(attempts.dump(), 0)
    assert restored.wait("alice", HERE, 0) <= 300
    assert attempts.wait("alice", HERE, 0) <= 300
