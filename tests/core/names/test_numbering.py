"""Patterns of names and addresses: what they are read as, and why others are refused."""

from contextlib import suppress
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.names.patterns import PatternError, parse_address_pattern, parse_name_pattern
from beonss.core.names.ranges import Block, RangeSet


@pytest.mark.parametrize(
    ("pattern", "values", "name"),
    [
        ("r{rack:02}n{slot:02}", {"rack": 1, "slot": 7}, "r01n07"),
        ("r{rack:02}n{slot:02}", {"rack": 100, "slot": 7}, "r100n07"),
        ("R{Rack:02d}", {"rack": 3}, "r03"),
        ("n{node}", {"node": 0}, "n0"),
        ("x{ a + 10 }", {"a": 5}, "x15"),
        ("x{10+a:04}", {"a": 5}, "x0015"),
        ("x{a-1}-ib", {"a": 5}, "x4-ib"),
        ("frodo", {}, "frodo"),
    ],
)
def test_name_patterns(pattern: str, values: dict[str, int], name: str) -> None:
    assert parse_name_pattern(pattern).format(values) == name


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "cannot be empty"),
        ("r{rack", "without its partner"),
        ("r}rack{", "without its partner"),
        ("r{}", "is no field"),
        ("r{rack:2}", "write {rack:02}"),
        ("r{rack:x}", "write {rack:02}"),
        ("r{rack:099}", "write {rack:02}"),
        ("r{1+rack+1}", "is no field"),
        ("r{rack*2}", "is no field"),
        ("r{a}n{a}", "uses {a} twice"),
        ("r{a}-{node}", "the running number alone"),
        ("r{a}.x", "single labels"),
        ("r_{a}", "only letters"),
        ("-r{a}", "hyphen"),
        ("r{a}-", "hyphen"),
        ("{a}", "inet_aton"),
        ("10{a}", "inet_aton"),
        ("0x{a}", "inet_aton"),
        ("0xfe{a}", "inet_aton"),
        ("r\u212a{a}", "only letters"),
        ("x" * 300, "too long"),
    ],
)
def test_name_patterns_that_are_refused(pattern: str, why: str) -> None:
    with pytest.raises(PatternError, match=why.replace("{", r"\{").replace("}", r"\}")):
        parse_name_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "values", "address"),
    [
        ("10.5.{rack}.{slot}", {"rack": 1, "slot": 7}, "10.5.1.7"),
        ("10.5.0.{100+rack}", {"rack": 1}, "10.5.0.101"),
        ("10.5.0.{rack-1}", {"rack": 1}, "10.5.0.0"),
        ("10.5.0.9", {}, "10.5.0.9"),
        ("10.5.0.0 + 256*{rack} + {slot}", {"rack": 1, "slot": 7}, "10.5.1.7"),
        ("10.5.0.0 + 10 + {slot}", {"slot": 7}, "10.5.0.17"),
        ("10.5.1.250 + {node}", {"node": 10}, "10.5.2.4"),
        ("10.5.1.0 - 10.5.2.255", {"node": 256}, "10.5.2.0"),
        ("fd00:5::{rack}:{slot}", {"rack": 1, "slot": 255}, "fd00:5::1:ff"),
        ("fd00:5::{rack:x}:{slot:x}", {"rack": 1, "slot": 255}, "fd00:5::1:ff"),
        ("{a}::", {"a": 0xFD00}, "fd00::"),
        ("::{a}", {"a": 7}, "::7"),
        ("1:2:3:4:5:6:7:{a}", {"a": 8}, "1:2:3:4:5:6:7:8"),
        ("fd00::1 + {node}", {"node": 15}, "fd00::10"),
        ("fd00::1-fd00::ffff", {"node": 1}, "fd00::2"),
    ],
)
def test_address_patterns(pattern: str, values: dict[str, int], address: str) -> None:
    assert parse_address_pattern(pattern).format(values) == ip_address(address)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "has 1 octets"),
        ("10.5.{rack}", "has 3 octets"),
        ("10.5.{rack}.{slot}.1", "has 5 octets"),
        ("10.5.{rack}.{slot", "without its partner"),
        ("10.5.{rack}.1{slot}", "only partly a field"),
        ("10.5.{rack:02}.1", "has a format"),
        ("10.5.{rack}.256", "is no octet"),
        ("10.5.{rack}.01", "is no octet"),
        ("10.5.{rack}.x", "is no octet"),
        ("10.5.{node}.{slot}", "the running number alone"),
        ("10.5.0.0 + {rack", "without its partner"),
        ("10.5.0.0 + rack", "is no term"),
        ("10.5.0.0 + 0*{rack}", "multiplies by 0"),
        ("10.5.{rack}.0 + {slot}", "is no IPv4 or IPv6 address"),
        ("10.5.0.0 - 10.5.0.9 - 10.5.0.12", "is no range"),
        ("10.5.0.9 - 10.5.0.0", "runs backwards; write 10.5.0.0 - 10.5.0.9"),
        ("10.5.0.9 - fd00::1", "begins in IPv4 and ends in IPv6"),
        ("fd00::{a}::{b}", "more than once"),
        ("fd00:::{a}", "more than once"),
        ("fd00:{a}", "has 2 groups"),
        ("1:2:3:4:5:6:7:8::", "too many groups"),
        ("fd00::{a:02}", "has a format"),
        ("fd00::12345", "is no group"),
        ("fe80::1%eth0 + {a}", "is no IPv4 or IPv6 address"),
        ("1" * 300, "too long"),
    ],
)
def test_address_patterns_that_are_refused(pattern: str, why: str) -> None:
    with pytest.raises(PatternError, match=why.replace("+", r"\+")):
        parse_address_pattern(pattern)


@given(st.text(alphabet="{}:.+-*0123456789abnodex ", max_size=30) | st.text(max_size=10))
def test_any_text_is_a_pattern_or_a_pattern_error(text: str) -> None:
    for parse in (parse_name_pattern, parse_address_pattern):
        with suppress(PatternError):
            parse(text)


def test_a_block_counts_the_last_coordinate_fastest() -> None:
    """Index and coordinates are inverse; the first coordinate is the most significant."""
    block = Block(("rack", "slot"), (RangeSet(((1, 2), (7, 7))), RangeSet.between(1, 3)), 10, 1)
    assert block.size == 9
    assert [tuple(block.values(10 + i).values()) for i in range(9)] == [(r, s) for r in (1, 2, 7) for s in (1, 2, 3)]
    assert [block.index(block.values(10 + i)) for i in range(9)] == list(range(10, 19))
    assert block.index({"rack": 3, "slot": 1}) is None
    assert block.index({"rack": 2, "slot": 0}) is None
