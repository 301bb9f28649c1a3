"""The compiled zones of the last run: read as they were written, or not at all."""

import hashlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.cluster.endpoints import Endpoint
from beonss.errors import MalformedError, StoreError
from beonss.store.kept_core import (
    KEPT_CORE,
    CoreOf,
    FilesRead,
    KeptCore,
    decode_core,
    encode_core,
    load_core,
    save_core,
    serials_digest,
)

OF = CoreOf("d" * 64, 7, "s" * 64)
CORE = KeptCore(OF, (Endpoint("10.5.0.1", 53), Endpoint("fd00::1", 53)), b"image\n\0", b"id\xff", b"networks")
CORES = st.builds(
    KeptCore,
    st.builds(CoreOf, st.text(max_size=8), st.integers(0, 2**32), st.text(max_size=8)),
    st.lists(st.builds(Endpoint, st.text(max_size=8), st.integers(0, 65535)), max_size=3).map(tuple),
    st.binary(max_size=50),
    st.binary(max_size=8),
    st.binary(max_size=8),
    st.builds(FilesRead, st.text(max_size=8), st.lists(st.tuples(st.text(), st.text()), max_size=3).map(tuple)),
)


@given(CORES)
def test_what_is_kept_is_found(core):
    assert decode_core(encode_core(core)) == core


@given(CORES, st.data())
def test_one_changed_byte_is_noticed(core, data):
    """A torn or rotten file must not answer wrongly."""
    content = bytearray(encode_core(core))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MalformedError):
        decode_core(bytes(content))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_core_or_malformed(content):
    with pytest.raises(MalformedError):
        decode_core(b"beonss core 1\n" + content)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_another_form_is_malformed(document):
    body = json.dumps(document).encode() + b"\nimage"
    with pytest.raises(MalformedError):
        decode_core(b"beonss core 1\n" + hashlib.sha256(body).digest() + body)


def test_it_is_kept_removed_and_not_written_twice(tmp_path):
    assert load_core(tmp_path) is None
    save_core(tmp_path, None)
    save_core(tmp_path, CORE)
    assert load_core(tmp_path) == CORE
    path = tmp_path / KEPT_CORE
    inode = path.stat().st_ino
    save_core(tmp_path, CORE)
    assert path.stat().st_ino == inode
    assert path.stat().st_mode & 0o777 == 0o600
    save_core(tmp_path, None)
    assert not path.exists()


def test_what_cannot_be_used_only_costs_time(tmp_path):
    (tmp_path / KEPT_CORE).write_bytes(b"rotten")
    assert load_core(tmp_path) is None
    (tmp_path / KEPT_CORE).unlink()
    (tmp_path / KEPT_CORE).mkdir()
    assert load_core(tmp_path) is None
    with pytest.raises(StoreError):
        save_core(tmp_path, CORE)
    with pytest.raises(StoreError):
        save_core(tmp_path, None)


def test_serials_are_told_apart(tmp_path):
    path = tmp_path / "zones.json"
    none = serials_digest(path)
    path.write_text("{}")
    assert serials_digest(path) != none


def test_zone_files_are_those_that_were_read_or_they_are_not(tmp_path):
    """Changed by one byte, gone, beside another description: in none of these cases; untouched, or put back: yes."""
    paths = [tmp_path / "a.zone", tmp_path / "b.zone"]
    for path in paths:
        path.write_bytes(b"x A 10.0.0.1\n")
    digest = hashlib.sha256(b"x A 10.0.0.1\n").hexdigest()
    read = FilesRead(str(tmp_path), tuple((str(path), digest) for path in paths))
    assert read.would_be_read(tmp_path)
    assert not read.would_be_read(tmp_path.parent)
    paths[1].write_bytes(b"x A 10.0.0.2\n")
    assert not read.would_be_read(tmp_path)
    paths[1].unlink()
    assert not read.would_be_read(tmp_path)
    paths[1].mkdir()
    assert not read.would_be_read(tmp_path)
    paths[1].rmdir()
    os.mkfifo(paths[1])
    assert not read.would_be_read(tmp_path)
    paths[1].unlink()
    paths[1].write_bytes(b"x A 10.0.0.1\n")
    assert read.would_be_read(tmp_path)
    # Without any it does not matter where the description lies.
    assert FilesRead("/nowhere").would_be_read(tmp_path)
