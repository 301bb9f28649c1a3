"""Zone files, keys and serials on disk."""

import hashlib
import os
from pathlib import Path

import pytest
from support.overlaid import write_cluster

from beonss.core.names.description import DescriptionError
from beonss.core.zones.records import domain
from beonss.core.zones.transfer_serials import Served
from beonss.errors import StoreError
from beonss.store import zonefiles
from beonss.store.serials import load_serials, save_serials
from beonss.store.zonefiles import ZoneTexts, load_keys, load_overlay
from beonss.wire import zonefile
from beonss.wire.description import parse

SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ="


def naming(directory, **options):
    path = write_cluster(directory, **options)
    return parse(path.read_bytes(), str(path))


def refusal(load, *arguments):
    with pytest.raises(DescriptionError) as caught:
        load(*arguments)
    return [(problem.file.rpartition("/")[2], problem.line, problem.text) for problem in caught.value.problems]


def test_a_file_that_is_missing_is_named_where_it_is_written(tmp_path):
    described = naming(tmp_path)
    (tmp_path / "static.zone").unlink()
    ((file, line, text),) = refusal(load_overlay, described, tmp_path)
    assert (file, line) == ("cluster.toml", 20)
    assert "static.zone: cannot be read: No such file or directory" in text


@pytest.mark.parametrize("kind", ["fifo", "directory"])
def test_nobody_waits_for_what_is_no_file(tmp_path, kind):
    described = naming(tmp_path)
    path = tmp_path / "static.zone"
    path.unlink()
    os.mkfifo(path) if kind == "fifo" else path.mkdir()
    ((_, _, text),) = refusal(load_overlay, described, tmp_path)
    assert "static.zone: cannot be read: " in text


def test_mistakes_in_files_are_named_with_their_own_lines(tmp_path):
    described = naming(tmp_path)
    (tmp_path / "more.zone").write_text("\nbad A 1.2.3\n")
    (tmp_path / "static.zone").write_text("$TTL 60\nx BLAH\n$INCLUDE more.zone\n$INCLUDE none\n")
    assert [each[:2] for each in refusal(load_overlay, described, tmp_path)] == [
        ("more.zone", 2), ("static.zone", 2), ("static.zone", 4),
    ]  # fmt: skip


def test_clashes_across_description_and_files_are_found(tmp_path):
    described = naming(tmp_path)
    (tmp_path / "static.zone").write_text("r01n01 A 10.0.0.1\nmail CNAME frodo\n")
    found = refusal(load_overlay, described, tmp_path)
    assert ("static.zone", 1) in [each[:2] for each in found]
    assert ("static.zone", 2) in [each[:2] for each in found]


def test_a_file_whose_writer_nobody_waits_for_is_refused(tmp_path):
    described = naming(tmp_path)
    (tmp_path / "static.zone").unlink()
    os.mkfifo(tmp_path / "static.zone")
    assert "static.zone: cannot be read: it is no ordinary file" in refusal(load_overlay, described, tmp_path)[0][2]


def test_a_file_that_is_no_text_is_named(tmp_path):
    described = naming(tmp_path)
    (tmp_path / "static.zone").write_bytes(b"ok A 10.0.0.1\n\xff\xfe\n")
    assert "static.zone:2: is not UTF-8" in refusal(load_overlay, described, tmp_path)[0][2]


def test_all_files_that_were_read_are_told_with_what_was_read(tmp_path, monkeypatch):
    """Included ones too; by paths that hold wherever the program is by then."""
    (tmp_path / "more.zone").write_text("m A 10.0.0.1\n")
    described = naming(tmp_path)
    (tmp_path / "static.zone").write_text("x A 10.0.0.1\n$INCLUDE more.zone\n")
    monkeypatch.chdir(tmp_path)
    digests = {}
    load_overlay(described, Path(), digests)
    assert digests == {
        str(tmp_path / name): hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        for name in ("static.zone", "more.zone")
    }


def test_a_file_that_changes_between_two_looks_is_refused(tmp_path, monkeypatch):
    (tmp_path / "more.zone").write_text("m A 10.0.0.1\n")
    described = naming(tmp_path)
    (tmp_path / "static.zone").write_text("$INCLUDE more.zone\n$INCLUDE more.zone\n")
    load_overlay(described, tmp_path)
    given = iter(["1", "2", "3"])

    class Digest:
        def hexdigest(self):
            return next(given)

    monkeypatch.setattr(zonefiles.hashlib, "sha256", lambda _: Digest())
    assert "more.zone: was changed while it was read" in refusal(load_overlay, described, tmp_path)[0][2]


class TestTexts:
    """What has not changed is not taken apart again."""

    @pytest.fixture
    def reads(self, monkeypatch):
        """Return the paths of zone files that were taken apart."""
        found = []
        read = zonefile.read_zone

        def counted(text, file, **options):
            # Records in the description are read in the same way.
            found.extend([file] if file.endswith(".zone") else [])
            return read(text, file, **options)

        monkeypatch.setattr(zonefile, "read_zone", counted)
        return found

    def test_a_file_is_read_again_when_it_or_one_that_it_includes_has_changed(self, tmp_path, reads):
        described, texts = naming(tmp_path), ZoneTexts()
        (tmp_path / "more.zone").write_text("m A 10.0.0.1\n")
        (tmp_path / "static.zone").write_text("x A 10.0.0.1\n$INCLUDE more.zone\n")

        def load():
            digests, fresh = {}, {}
            overlay = load_overlay(described, tmp_path, digests, texts)
            count = len(reads)
            # The same as without any memory.
            assert overlay.records == load_overlay(described, tmp_path, fresh).records
            assert digests == fresh
            del reads[count:]
            return len(reads)

        assert [load(), load(), load()] == [1, 1, 1]
        (tmp_path / "more.zone").write_text("m A 10.0.0.2\n")
        assert [load(), load()] == [2, 2]
        (tmp_path / "static.zone").write_text("y A 10.0.0.1\n")
        assert [load(), load()] == [3, 3]

    def test_a_file_with_mistakes_is_told_again_and_what_was_good_is_still_known(self, tmp_path, reads):
        described, texts = naming(tmp_path), ZoneTexts()
        good = (tmp_path / "static.zone").read_bytes()
        load_overlay(described, tmp_path, None, texts)
        (tmp_path / "static.zone").write_text("bad A 1.2.3\n")
        for _ in range(2):
            assert refusal(load_overlay, described, tmp_path, None, texts)[0][:2] == ("static.zone", 1)
        (tmp_path / "static.zone").write_bytes(good)
        load_overlay(described, tmp_path, None, texts)
        assert len(reads) == 3

    def test_it_is_not_taken_for_what_it_says_of_another_zone_or_with_another_ttl(self, tmp_path, reads):
        described, texts = naming(tmp_path), ZoneTexts()
        (tmp_path / "static.zone").write_text("x A 10.0.0.1\n")
        load_overlay(described, tmp_path, None, texts)
        text = (tmp_path / "cluster.toml").read_text().replace("[cluster]\n", "[cluster]\nttl = 77\n")
        records = load_overlay(parse(text.encode(), "x"), tmp_path, None, texts).records
        assert 77 in {static.record.ttl for static in records}
        assert len(reads) == 2

    def test_one_that_two_include_and_that_changes_meanwhile_is_refused(self, tmp_path, monkeypatch):
        path = write_cluster(tmp_path)
        path.write_text(path.read_text().replace('["static.zone"]', '["static.zone", "other.zone"]'))
        described = parse(path.read_bytes(), str(path))
        for name in ("static.zone", "other.zone"):
            (tmp_path / name).write_text(f"{name[0]} A 10.0.0.1\n$INCLUDE more.zone\n")
        more = tmp_path / "more.zone"
        more.write_text("m A 10.0.0.1\n")
        read = zonefile.read_zone

        def changing(text, file, **options):
            found = read(text, file, **options)
            more.write_text("m A 10.0.0.2\n")
            return found

        monkeypatch.setattr(zonefile, "read_zone", changing)
        assert any(
            "more.zone: was changed while it was read" in each[2] for each in refusal(load_overlay, described, tmp_path)
        )


KEYED = 'key_files = ["keys"]\nallow = [{ key = "ns1" }]'


def test_keys_are_read_and_those_that_are_used_must_be_there(tmp_path):
    described = naming(tmp_path, transfer=KEYED)
    keys = tmp_path / "keys"
    keys.write_text(f'key "NS1" {{ algorithm hmac-sha256; secret "{SECRET}"; }};')
    keys.chmod(0o640)
    assert list(load_keys(described, tmp_path)) == [(b"ns1",)]
    keys.write_text("")
    assert "the key ns1 is in none of the files" in refusal(load_keys, described, tmp_path)[0][2]


def test_a_key_that_everybody_can_read_is_refused(tmp_path):
    described = naming(tmp_path, transfer=KEYED)
    (tmp_path / "keys").write_text(f'key ns1 {{ algorithm hmac-sha256; secret "{SECRET}"; }};')
    (tmp_path / "keys").chmod(0o644)
    text = refusal(load_keys, described, tmp_path)[0][2]
    assert "everybody can read it: chmod 600" in text
    assert SECRET not in text


def test_serials_are_remembered(tmp_path):
    path = tmp_path / "zones.json"
    assert load_serials(path) == {}
    served = {domain("fellow.aero.org"): Served(7, "ab"), domain("5.10.in-addr.arpa"): Served(2**32 - 1, "cd")}
    save_serials(path, served)
    assert load_serials(path) == served


@pytest.mark.parametrize("text", ["", "x", "[]", '{"a": 1}', '{"a": [1]}', '{"a..b": [1, "x"]}', "[" * 100_000])
def test_a_damaged_file_of_serials_says_what_to_do(tmp_path, text):
    (tmp_path / "zones.json").write_text(text)
    with pytest.raises(StoreError, match="raise the version of the description"):
        load_serials(tmp_path / "zones.json")
