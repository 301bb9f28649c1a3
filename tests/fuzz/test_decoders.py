"""Every reader of bytes or text from outside that has no fuzz test beside its own tests: nothing but its refusal."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beonss.core.cluster.discovery import masters_of_command_line, masters_of_resolver
from beonss.core.cluster.endpoints import parse_endpoint
from beonss.core.names.hostlist import expand
from beonss.core.names.patterns import PatternError, parse_address_pattern, parse_name_pattern
from beonss.core.names.ranges import RangeError, parse_list
from beonss.core.passwords.hashes import scheme_of
from beonss.daemon.targets.lane import _read_cursor
from beonss.errors import ConfigurationError, MalformedError, StoreError
from beonss.store.audit import read_on
from beonss.targets.journal import Journal
from beonss.targets.settings import parse as parse_targets
from beonss.wire.documents import acceptance_from_plain, read_roster
from beonss.wire.feed import BatchContent, DescriptionContent
from beonss.wire.frames import FrameReader
from beonss.wire.packing import pack, unpack
from beonss.wire.registers import register_from_plain, registers_from_plain
from beonss.wire.sync import _TYPES, decode

#: Values as MessagePack and JSON can hold them, with what is dangerous about each kind.
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=40)
)
KEYS = (
    "type", "cluster", "since", "answer", "number", "rows", "vector", "version", "digest", "text", "payload", "signer",
    "signature", "wall", "roster", "description", "members", "acceptances", "role", "name", "kind", "params", "wait",
)  # fmt: skip
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=8), inner),
    max_leaves=25,
)
types = st.sampled_from(sorted(_TYPES))


def tries(read: Callable[[], Any], *refusals: type[BaseException]) -> None:
    """Read; only the documented refusals may come out."""
    with contextlib.suppress(*refusals):
        read()


@settings(max_examples=300)
@given(plain)
def test_well_formed_values_of_a_wrong_shape(value: Any) -> None:
    """MessagePack that is sound and means nothing: deeper than random bytes get."""
    data = pack(value)
    for read in (BatchContent.decode, DescriptionContent.decode, decode, lambda d: read_roster(d, bytes(32))):
        tries(lambda read=read: read(data), MalformedError)
    tries(lambda: register_from_plain(value), MalformedError)
    tries(lambda: acceptance_from_plain(value), MalformedError)
    if isinstance(value, list):
        tries(lambda: registers_from_plain(value), MalformedError)


@settings(max_examples=300)
@given(types, st.dictionaries(st.sampled_from(KEYS), plain, max_size=9), plain)
def test_messages_of_a_known_type_with_wrong_fields(kind: str, fields: dict[str, Any], first: Any) -> None:
    tries(lambda: decode(pack([kind, fields])), MalformedError)
    tries(lambda: decode(pack([kind, first, fields])), MalformedError)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_bytes(data: bytes) -> None:
    tries(lambda: unpack(data), MalformedError)
    tries(lambda: list(FrameReader(100).feed(data)), MalformedError)
    for read in (BatchContent.decode, DescriptionContent.decode):
        tries(lambda read=read: read(data), MalformedError)
    tries(lambda: parse_targets(data, "targets.toml", Path("/nowhere")), ConfigurationError)
    # A damaged note means that all is delivered again; it never raises.
    vector, waiting, contested = _read_cursor(data)
    assert isinstance(vector, dict)
    assert isinstance(waiting, list)
    assert isinstance(contested, list)


@given(plain.filter(lambda value: not _holds_bytes(value)))
def test_a_cursor_of_a_wrong_shape_is_none(value: Any) -> None:
    vector, waiting, contested = _read_cursor(json.dumps(value).encode())
    assert all(isinstance(origin, str) and isinstance(number, int) for origin, number in vector.items())
    assert all(isinstance(object_id, str) for object_id in waiting + contested)


def _holds_bytes(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_bytes, value.values()))
    return isinstance(value, bytes) or (isinstance(value, list) and any(map(_holds_bytes, value)))


texts = st.text(max_size=80) | st.text("[]{},-:.0123456789nrx/%= \t\n", max_size=60)


@settings(max_examples=400)
@given(texts)
def test_texts(text: str) -> None:
    """What people write: places, ranges, host lists, patterns, resolv.conf, hashes."""
    tries(lambda: parse_endpoint(text, 53), ConfigurationError)
    tries(lambda: parse_list(text), RangeError)
    tries(lambda: parse_name_pattern(text), PatternError)
    tries(lambda: parse_address_pattern(text), PatternError)

    def first_names() -> None:
        for count, _ in enumerate(expand(text)):
            if count == 100:
                return

    tries(first_names, RangeError)
    masters_of_resolver(text)
    masters_of_resolver(f"nameserver {text}")
    masters_of_command_line(f"beonss.master={text}")
    scheme_of(text)


@pytest.mark.parametrize("seed", range(3))
def test_files_damaged_behind_our_back(tmp_path: Path, seed: int) -> None:
    """The journal of a target and the audit log: what is unreadable in them is passed over."""

    @settings(max_examples=60)
    @given(st.lists(st.binary(max_size=60) | plain.filter(lambda v: not _holds_bytes(v)).map(_line), max_size=5))
    def damaged(lines: list[bytes]) -> None:
        path = tmp_path / f"file{seed}"
        path.write_bytes(b"\n".join(lines))
        tries(lambda: read_on(path, None), StoreError)
        tries(lambda: Journal(path), StoreError)

    damaged()


def _line(value: Any) -> bytes:
    return json.dumps(value).encode()
