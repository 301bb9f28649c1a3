"""Lines of TOML values, against a document whose every value is its own line number."""

import tomllib
from typing import Any

import pytest

from beonss.wire.toml_lines import MAX_DEPTH, Path, TooDeepError, locate

DOCUMENT = b"""\
top = 1
"quoted \\u0041" = 2
a.b.c = 3
[table]
x = 5
inline = { p = 6, q = { r = 6 } }
list = [
    8,
    { y = 9 },  # a comment
    [10,
     11],
]
[table.sub]
z = 14
[[array]]
n = 16
[array.child]
m = 18
[[array.deep]]
k = 20
[[array.deep]]
k = 22
[[array]]
n = 24
[[array.deep]]
k = 26
"""


def leaves(value: Any, path: Path) -> list[tuple[Path, int]]:
    if isinstance(value, dict):
        return [leaf for key, each in value.items() for leaf in leaves(each, (*path, key))]
    if isinstance(value, list):
        return [leaf for at, each in enumerate(value) for leaf in leaves(each, (*path, at))]
    return [(path, value)]


def test_every_value_is_located() -> None:
    lines = locate(DOCUMENT)
    found = leaves(tomllib.loads(DOCUMENT.decode()), ())
    assert len(found) == 17
    for path, number in found:
        assert path in lines
        assert lines.line(path) == number


def test_what_is_not_there_has_the_line_of_what_is_around_it() -> None:
    lines = locate(DOCUMENT)
    assert lines.line(("table", "nothing", 3)) == 4
    assert lines.line(("array", 1, "nothing")) == 23
    assert lines.line(("nothing",)) == 0


def test_depth_is_bounded() -> None:
    assert locate(b"a = " + b"[" * 5 + b"]" * 5)
    with pytest.raises(TooDeepError) as caught:
        locate(b"\n\na = " + b"[" * 50 * MAX_DEPTH + b"]" * 50 * MAX_DEPTH)
    assert caught.value.line == 3
