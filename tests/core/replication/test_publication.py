"""The description as a register: its bytes, its versions."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.accounts.entries import is_public
from beonss.core.replication.publication import (
    DESCRIPTION,
    HIGHEST_VERSION,
    LONGEST_STEP,
    SERIAL,
    Published,
    Serial,
    decode_published,
    decode_serial,
    encode_published,
    encode_serial,
    next_version,
    version_of,
)
from beonss.core.replication.registers import MAX_VALUE, Register, Stamp, check_register
from beonss.errors import ConfigurationError, MalformedError

TEXTS = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)
VERSIONS = st.integers(1, HIGHEST_VERSION)


@given(TEXTS, VERSIONS)
def test_a_published_description_comes_back_byte_for_byte(text, version):
    published = Published(text, version, "cluster.toml")
    assert decode_published(encode_published(published)) == published


@given(VERSIONS)
def test_a_serial_comes_back(version):
    serial = Serial("d" * 64, version)
    assert decode_serial(encode_serial(serial)) == serial


@given(
    st.binary() | st.recursive(st.integers() | st.text() | st.none(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_any_bytes_parse_or_are_malformed(value):
    for decode in (decode_published, decode_serial):
        with contextlib.suppress(MalformedError):
            decode(value)


@given(st.dictionaries(st.sampled_from(["digest", "text", "version", "file"]), st.integers() | st.text() | st.none()))
def test_any_fields_parse_or_are_malformed(fields):
    for decode in (decode_published, decode_serial):
        with contextlib.suppress(MalformedError):
            decode(json.dumps(fields).encode())


def test_fields_of_a_newer_version_are_ignored():
    published = Published(b"x = 1\n", 3, "f")
    raw = json.loads(encode_published(published))
    assert decode_published(json.dumps({**raw, "approved-by": ["a", "b"]}).encode()) == published


def test_a_text_that_is_not_its_digests_is_refused():
    raw = json.loads(encode_published(Published(b"x = 1\n", 3, "f")))
    with pytest.raises(MalformedError, match="digest"):
        decode_published(json.dumps({**raw, "text": "x = 2\n"}).encode())
    with pytest.raises(MalformedError, match="UTF-8"):
        decode_published(json.dumps({**raw, "text": "\ud800"}).encode())


def test_what_no_register_holds_is_refused_before_it_is_published():
    with pytest.raises(ConfigurationError, match="at most"):
        encode_published(Published(b"#" * MAX_VALUE, 1, "big.toml"))
    with pytest.raises(ConfigurationError, match="UTF-8"):
        encode_published(Published(b"\xff", 1, "latin.toml"))


def test_masters_alone_hold_it_and_the_registers_are_ones():
    for key in (DESCRIPTION, SERIAL):
        assert not is_public(key.field)
        check_register(Register(key, b"{}", Stamp(1, "a" * 32, 1)))


def test_a_version_is_one_more_than_known_or_what_the_file_says():
    assert next_version(0, 1) == 1
    assert next_version(7, 1) == 8
    assert next_version(7, 2026112201) == 2026112201
    with pytest.raises(ConfigurationError, match="32 bits"):
        next_version(HIGHEST_VERSION, 1)
    with pytest.raises(ConfigurationError, match="RFC 1982"):
        next_version(1, LONGEST_STEP + 2)


def test_a_serial_counts_for_its_own_text_and_never_lowers():
    published = Published(b"a", 5, "f")
    assert version_of(published, None) == 5
    assert version_of(published, Serial(published.digest, 9)) == 9
    assert version_of(published, Serial(published.digest, 3)) == 5
    assert version_of(published, Serial("other", 9)) == 5
