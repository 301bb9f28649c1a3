"""A cache of whole replies: what is believed, for how long, and what goes when room is short."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.zones.caching import (
    LONGEST_DENIAL,
    LONGEST_FAILURE,
    LONGEST_LIFE,
    STALE_FOR,
    STALE_RETRY,
    Entry,
    ReplyCache,
    lifetime,
)


@dataclass(frozen=True)
class Said:
    """A reply as the cache sees it."""

    lifetime: int | None
    denies: bool = False
    size: int = 100

    def __len__(self) -> int:
        return self.size


def found(cache, key=b"k", now=0.0):
    entry = cache.find(key, now)
    assert entry is not None
    return entry


@pytest.mark.parametrize(("reply", "seconds"), [
    (Said(None), 0), (Said(0), 0), (Said(5), 5), (Said(10**6), LONGEST_LIFE),
    (Said(10**6, denies=True), LONGEST_DENIAL),
    (Said(None, denies=True), 0), (Said(7, denies=True), 7),
])  # fmt: skip
def test_how_long_a_reply_may_be_kept(reply, seconds):
    assert lifetime(reply) == seconds


def test_a_reply_is_believed_to_its_end_and_kept_for_a_day():
    cache = ReplyCache(10_000)
    cache.keep(b"k", Said(60), 1000.0)
    assert found(cache, now=1059.9).is_fresh(1059.9)
    assert found(cache, now=1059.9).age(1059.9) == 59
    entry = found(cache, now=1060.0)
    assert (entry.is_fresh(1060.0), entry.reply) == (False, Said(60))
    assert found(cache, now=1059.0 + STALE_FOR).reply == Said(60)
    assert found(cache, now=1060.0 + STALE_FOR).reply is None


def test_what_must_not_be_kept_ends_what_was_known():
    cache = ReplyCache(10_000)
    cache.keep(b"k", Said(60), 0)
    cache.keep(b"k", Said(0), 1)
    assert cache.find(b"k", 1) is None
    assert (len(cache), cache.size) == (0, 0)


def test_failures_are_remembered_for_longer_and_longer():
    cache = ReplyCache(10_000)
    pauses = []
    for _ in range(10):
        cache.fail(b"k", 100.0)
        pauses.append(found(cache).failing - 100.0)
    assert pauses[:5] == [1, 2, 4, 8, 16]
    assert pauses[-1] == LONGEST_FAILURE
    cache.keep(b"k", Said(60), 100.0)
    cache.fail(b"k", 200.0)
    assert found(cache).failing == 200.0 + STALE_RETRY


def test_silence_is_remembered_for_a_second_each_time():
    """When the upstreams are back, nobody should wait for longer than that."""
    cache = ReplyCache(10_000)
    for _ in range(10):
        cache.fail(b"k", 100.0, silent=True)
    assert found(cache).failing == 101.0


def test_what_is_popular_is_renewed_once_in_the_last_tenth():
    entry = Entry(Said(100), 0.0, 100.0, asked=2)
    assert [entry.should_be_renewed(now) for now in (0, 89.9, 90.1, 95)] == [False, False, True, False]
    assert not Entry(Said(100), 0.0, 100.0, asked=1).should_be_renewed(95)
    assert not Entry(Said(9), 0.0, 9.0, asked=9).should_be_renewed(8.5)
    assert not Entry(Said(100), 0.0, 100.0, asked=2, failing=99).should_be_renewed(95)


def test_a_renewed_reply_must_be_asked_for_again_to_stay_popular():
    cache = ReplyCache(10_000)
    cache.keep(b"k", Said(100), 0)
    for _ in range(5):
        found(cache)
    cache.keep(b"k", Said(100), 95)
    assert not found(cache, now=96).renewing
    assert found(cache, now=96).asked == 3
    cache.keep(b"k", Said(100), 190)
    cache.keep(b"k", Said(100), 280)
    assert found(cache, now=281).asked == 1


def test_a_flood_leaves_what_was_asked_for_twice():
    cache = ReplyCache(100_000)
    for number in range(20):
        cache.keep(b"use%d" % number, Said(60), 0)
        found(cache, b"use%d" % number)
    for number in range(10_000):
        cache.keep(b"flood%d" % number, Said(60), 0)
        assert cache.size <= 100_000
    assert all(cache.find(b"use%d" % number, 0) for number in range(20))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["keep", "find", "fail"]),
            st.integers(0, 30),
            st.integers(0, 5000),
            st.sampled_from([None, 0, 3, 100]),
        ),
        max_size=200,
    )
)
def test_it_is_never_larger_than_allowed_and_counts_right(steps):
    limit = 20_000
    cache = ReplyCache(limit)
    truth = {}
    for now, (step, number, size, life) in enumerate(steps):
        key = b"%d" % number
        if step == "keep":
            cache.keep(key, Said(life, size=size), now)
            truth[key] = Said(life, size=size) if life else None
        elif step == "fail":
            cache.fail(key, now)
        elif (entry := cache.find(key, now)) is not None and entry.reply is not None:
            # It may have forgotten, but never says what was not said last.
            assert entry.reply == truth[key]
        assert cache.size <= limit
        assert cache.size == sum(entry.size for part in (cache._once, cache._again) for entry in part.values())
        assert not cache._once.keys() & cache._again.keys()


def test_what_is_in_use_makes_way_for_what_is_used_more():
    """The part for what was asked for twice is bounded as well; what leaves it has another chance in the other."""
    cache = ReplyCache(20_000)
    for number in range(30):
        cache.keep(b"%d" % number, Said(60), 0)
        found(cache, b"%d" % number)
        if number:
            found(cache, b"0")
    assert cache.size <= 20_000
    assert cache._again_size <= 15_000
    assert b"0" in cache._again
    assert cache._once
    assert cache.find(b"1", 0) is None


def test_one_that_is_larger_than_all_is_not_kept():
    cache = ReplyCache(20_000)
    cache.keep(b"k", Said(60, size=30_000), 0)
    assert (cache.find(b"k", 0), cache.size) == (None, 0)
    cache = ReplyCache(20_000)
    cache.keep(b"k", Said(60, size=16_000), 0)
    assert found(cache).reply is not None
    assert found(cache).reply is not None
