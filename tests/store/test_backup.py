"""Backups of a state directory, and what becomes of them."""

import gzip

import pytest
from click.testing import CliRunner
from support.registers import A, user_rows

from beonss.admin.main import command
from beonss.core.accounts.entries import PASSWORD, Password
from beonss.core.accounts.entries import encode as encoded
from beonss.core.replication.registers import Change, Key
from beonss.errors import BeonssError, ConfigurationError, MalformedError, StoreError
from beonss.store import backup
from beonss.store.backup import BackupFile, examine, items, restore, state_files
from beonss.store.database import Database
from beonss.store.keys import load_identity, load_roster
from beonss.wire.backup import Header, Sealing, StateFile, Vector

USERS = 1500


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """Return the state directory of a master with users, one of them with a password, as after its last stop."""
    path = tmp_path_factory.mktemp("master") / "state"
    words = ["init", "--state", str(path), "--name", "frodo", "--address", "127.0.0.1:7653"]
    assert CliRunner().invoke(command, words).exit_code == 0
    database = Database(path / "accounts.db", load_roster(path).cluster)
    rows = [row for n in range(USERS) for row in user_rows(f"u{n}", 1000 + n)]
    database.write([Change(row.key, row.value) for row in rows], 5, "root@frodo", A)
    database.write([Change(Key(rows[0].key.object, PASSWORD), encoded(Password("$6$secret")))], 6, "root@frodo", A)
    database.set_meta("incarnation", A.encode())
    database.set_meta("machine", b"this one")
    database.put("delivery/local", b"a cursor")
    database.close()
    return path


@pytest.fixture
def written(state, tmp_path):
    """Return a backup of it."""
    path = tmp_path / "backup"
    database = Database(state / "accounts.db", load_roster(state).cluster)
    try:
        with BackupFile(path) as made:
            made.add([Header(database.cluster, "frodo", 7, "1")])
            made.add(state_files(state))
            pages = list(database.pages({}))
            for page in pages:
                made.add(page.rows)
            contents = made.finish(pages[-1].vector)
    finally:
        database.close()
    assert (contents.registers, contents.users, contents.groups) == (2 * USERS + 1, USERS, 0)
    return path


def test_a_restored_directory_holds_the_same_and_begins_a_new_life(state, written, tmp_path):
    new = tmp_path / "new"
    steps = []
    contents = restore(written, new, steps.append)
    assert contents.files == ("cluster.pub", "members", "member.crt", "member.key")
    assert steps[-1] == 2 * USERS + 1
    assert load_identity(new).public == load_identity(state).public
    assert load_roster(new) == load_roster(state)
    found = sorted((path.name, oct(path.stat().st_mode & 0o777)) for path in new.iterdir())
    assert found == [
        ("accounts.db", "0o600"),
        ("cluster.pub", "0o644"),
        ("member.crt", "0o644"),
        ("member.key", "0o600"),
        ("members", "0o644"),
    ]
    one, other = (Database(path / "accounts.db", contents.header.cluster) for path in (state, new))
    try:
        assert other.digest() == one.digest()
        assert other.vector() == one.vector() == {A: 2 * USERS + 1}
        assert other.unfinished() == {}
        assert (other.meta("incarnation"), other.meta("machine"), other.notes("")) == (None, None, {})
    finally:
        one.close()
        other.close()


def test_a_backup_is_for_nobody_else_and_never_written_over_another(written, state):
    assert written.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="exists"):
        BackupFile(written)
    before = written.read_bytes()
    with BackupFile(written, overwrite=True) as made:
        made.add([Header("c", "frodo", 7)])
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == ["backup"]


def test_what_reads_back_wrong_does_not_get_the_name(written, monkeypatch):
    def damaged(path):
        raise MalformedError("bits fell over")

    monkeypatch.setattr(backup, "examine", damaged)
    before = written.read_bytes()
    with BackupFile(written, overwrite=True) as made, pytest.raises(StoreError, match="bits fell over"):
        made.finish({})
    assert written.read_bytes() == before


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -9])
def test_a_backup_that_is_cut_off_is_refused_and_nothing_is_made_of_it(written, tmp_path, keep):
    written.write_bytes(written.read_bytes()[:keep])
    with pytest.raises(MalformedError):
        restore(written, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_backup_without_its_end_is_refused(written, tmp_path):
    lines = gzip.decompress(written.read_bytes()).splitlines(keepends=True)
    for text in (b"".join(lines[:-1]), b"".join(lines[:-1]) + lines[-1][:-1], b"".join([*lines, lines[-1]]), b""):
        written.write_bytes(gzip.compress(text))
        with pytest.raises(MalformedError):
            examine(written)


def test_a_line_without_end_costs_no_memory(tmp_path):
    (tmp_path / "bomb").write_bytes(gzip.compress(b"{" * (64 << 20)))
    with pytest.raises(MalformedError, match="too long"):
        examine(tmp_path / "bomb")


def test_what_is_no_backup_is_said(tmp_path):
    with pytest.raises(ConfigurationError, match="does not exist"):
        examine(tmp_path / "nothing")
    with pytest.raises(StoreError, match="cannot be read"):
        examine(tmp_path)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(MalformedError, match="is no backup"):
        examine(tmp_path / "text")


def test_a_used_directory_is_refused(written, state, tmp_path):
    with pytest.raises(ConfigurationError, match="already belongs to a master"):
        restore(written, state)
    restore(written, tmp_path / "new")
    with pytest.raises(ConfigurationError, match="already belongs to a master"):
        restore(written, tmp_path / "new")


def handmade(path, *made):
    sealing = Sealing()
    path.write_bytes(gzip.compress(b"".join(sealing.line(item) for item in made) + sealing.seal()))
    return path


def test_files_of_other_names_are_not_written(written, tmp_path):
    """A backup may come from anywhere: it names no path."""
    found = [item for item in items(written) if item is not None]
    made = [found[0], StateFile("../evil", b"x"), StateFile("audit.jsonl", b"x"), *found[1:-1]]
    restore(handmade(tmp_path / "odd", *made), tmp_path / "new")
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "new" / "audit.jsonl").exists()


def test_an_interrupted_restoration_can_be_repeated(written, tmp_path, monkeypatch):
    new = tmp_path / "new"

    def full(path, data, mode):
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(backup, "write_new", full)
        with pytest.raises(StoreError):
            restore(written, new)
    assert list(new.iterdir()) == []
    # As a kill in the middle leaves it.
    (new / "accounts.restoring").write_bytes(b"half")
    (new / "accounts.restoring-wal").write_bytes(b"half")
    restore(written, new)
    assert load_identity(new).name == "frodo"
    assert not list(new.glob("accounts.restoring*"))


def test_a_backup_that_lacks_the_keys_or_has_others_is_refused(written, tmp_path):
    found = list(items(written))
    few = [item for item in found[:-1] if not (isinstance(item, StateFile) and item.name == "member.key")]
    with pytest.raises(ConfigurationError, match=r"lacks member\.key"):
        restore(handmade(tmp_path / "odd", *few), tmp_path / "new")
    other = [Header(found[0].cluster, "gamgee", 7), *found[1:-1]]
    with pytest.raises(ConfigurationError, match="not those of the master"):
        restore(handmade(tmp_path / "odd", *other), tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    bad = [item if not isinstance(item, StateFile) else StateFile(item.name, b"x") for item in found[:-1]]
    with pytest.raises(BeonssError):
        restore(handmade(tmp_path / "odd", *bad), tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_the_clusters_private_key_only_on_demand(state, tmp_path):
    assert "cluster.key" not in [one.name for one in state_files(state)]
    files = state_files(state, cluster_key=True)
    assert files[0].name == "cluster.key"
    made = handmade(tmp_path / "b", Header(load_roster(state).cluster, "frodo", 7), *files, Vector({}))
    restore(made, tmp_path / "new")
    assert (tmp_path / "new" / "cluster.key").read_bytes() == (state / "cluster.key").read_bytes()
    assert (tmp_path / "new" / "cluster.key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "new" / "cluster.key").unlink()
    with pytest.raises(ConfigurationError, match="where it is kept"):
        state_files(tmp_path / "new", cluster_key=True)
    with pytest.raises(ConfigurationError):
        state_files(tmp_path / "nowhere")
