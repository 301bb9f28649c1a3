"""Which queries are taken, and for whom."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.zones.query_log import (
    MOST_EVERY,
    Allowance,
    Gaps,
    QueryRecord,
    Thinning,
    Wanted,
    name_pattern,
    stirred,
)


def record(**changes):
    fields = {
        "time": 1.5, "client": ip_address("10.5.1.7"), "tcp": False, "name": "r01n07.Fellow.aero.org.", "type": "A",
        "class_": "IN", "flags": ("rd",), "payload": 1232, "rcode": "NOERROR", "reply_flags": ("aa",), "size": 62,
        "took": 9,
    }  # fmt: skip
    return QueryRecord(**{**fields, **changes})


class TestGaps:
    """One of so many, at gaps by chance."""

    @given(st.integers(0, 2**40))
    def test_one_of_one_takes_all(self, seed):
        gaps = Gaps(1, seed)
        assert all(gaps.due() for _ in range(50))

    @given(st.integers(2, 50), st.integers(0, 2**32))
    def test_gaps_are_as_long_as_they_may_be(self, every, seed):
        gaps = Gaps(every, seed)
        taken = [place for place in range(every * 200) if gaps.due()]
        found = [after - before for before, after in zip([-1, *taken], taken, strict=False)]
        assert all(1 <= gap <= 2 * every - 1 for gap in found)

    @pytest.mark.parametrize("every", [2, 10, 999])
    def test_on_average_it_is_one_of_so_many(self, every):
        gaps = Gaps(every, 12345)
        taken = sum(gaps.due() for _ in range(every * 2000))
        assert 1850 < taken < 2150

    def test_a_pattern_of_clients_does_not_hide_half_of_it(self):
        """A and AAAA in turn: every second query would always be the same type."""
        gaps = Gaps(2, 7)
        kinds = [place % 2 for place in range(4000) if gaps.due()]
        assert 0.4 < sum(kinds) / len(kinds) < 0.6

    @pytest.mark.parametrize("every", [0, -1, MOST_EVERY + 1])
    def test_a_number_that_makes_no_sense(self, every):
        with pytest.raises(ValueError, match="cannot be taken"):
            Gaps(every, 1)

    def test_the_generator_never_stands_still(self):
        state, seen = 1, set()
        for _ in range(10000):
            state = stirred(state)
            assert 0 < state < 2**32
            seen.add(state)
        assert len(seen) == 10000
        # The first numbers of the generator of 32 bits with the shifts 13, 17 and 5.
        assert (stirred(1), stirred(stirred(1))) == (270369, 67634689)


class TestThinning:
    """Taking out of what was taken."""

    @given(st.integers(1, 100), st.integers(0, 100), st.integers(0, 2**32))
    def test_what_is_rarer_already_is_taken(self, every, more, seed):
        assert Thinning(every, seed).takes(every + more)

    @pytest.mark.parametrize(("every", "of"), [(10, 1), (1000, 7), (3, 2)])
    def test_on_average_it_is_one_of_so_many(self, every, of):
        thinning = Thinning(every, 99)
        taken = sum(thinning.takes(of) for _ in range(2000 * every // of))
        assert 1800 < taken < 2200


class TestWanted:
    """Who wants to hear of which."""

    def test_nothing_said_wants_all(self):
        assert Wanted().matches(record())
        assert Wanted().matches(record(name=None, type="", class_=""))

    @pytest.mark.parametrize(
        ("text", "wanted"),
        [("r01n07.fellow.aero.org", True), ("R01N*.FELLOW.aero.org.", True), ("r0[12]n??.*", True), ("*", True),
         ("r01n07", False), ("*.example", False), ("r01n8*", False), (".", False)],
    )  # fmt: skip
    def test_names(self, text, wanted):
        assert Wanted(name=name_pattern(text)).matches(record()) is wanted

    def test_the_root_and_what_has_no_name(self):
        assert Wanted(name=name_pattern(".")).matches(record(name="."))
        assert not Wanted(name=name_pattern("*")).matches(record(name=None))

    def test_types(self):
        assert Wanted(types=frozenset({"A", "PTR"})).matches(record())
        assert not Wanted(types=frozenset({"AAAA"})).matches(record())

    def test_clients(self):
        networks = [ip_network("10.5.1.0/24"), ip_network("fd00::/8")]
        assert Wanted(networks).matches(record())
        assert Wanted(networks).matches(record(client=ip_address("fd00::1")))
        assert not Wanted(networks).matches(record(client=ip_address("10.5.2.7")))

    @given(st.text(min_size=1), st.text())
    def test_any_pattern_and_any_name(self, pattern, name):
        assert Wanted(name=name_pattern(pattern)).matches(record(name=name)) in {True, False}


def test_an_allowance_is_what_it_says():
    allowance = Allowance(10.0, 5.0, 100.0)
    assert [allowance.take(100.0) for _ in range(6)] == [True] * 5 + [False]
    assert [allowance.take(100.15) for _ in range(2)] == [True, False]
    assert [allowance.take(9999.0) for _ in range(6)] == [True] * 5 + [False]


def test_a_record_in_json():
    assert record(tcp=True, payload=None, took=None).document() == {
        "time": 1.5, "client": "10.5.1.7", "transport": "tcp", "name": "r01n07.Fellow.aero.org.", "type": "A",
        "class": "IN", "flags": ["rd"], "edns": None, "rcode": "NOERROR", "reply_flags": ["aa"], "size": 62,
        "took_us": None,
    }  # fmt: skip
