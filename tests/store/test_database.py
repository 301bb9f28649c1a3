"""Registers in SQLite: stamping, merging, answering in pages, and what belongs to one machine alone."""

import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.registers import A, B, C, contexts, row

from beonss.core.accounts.entries import is_public
from beonss.core.replication.memorizing import Anew
from beonss.core.replication.pulling import Acknowledged
from beonss.core.replication.registers import (
    ABSENT,
    MAX_TIME,
    MAX_VALUE,
    MAX_WALL,
    Change,
    Key,
    Register,
    Stamp,
    covers,
)
from beonss.errors import MalformedError, Refused, StoreError
from beonss.store.answers import PAGE_BYTES
from beonss.store.database import Database
from beonss.store.failures import DiskFullError, UnusableStoreError
from beonss.store.rows import fingerprint

KEY = Key("f" * 32, "password")
FIELDS = ("entry", "password", "member:x", "lock", "future")


def memory(scope: str = "all") -> Database:
    return Database(":memory:", "c", scope=scope)  # type: ignore[arg-type]


def contents(database: Database) -> dict[Key, Register]:
    return {register.key: register for batch in database.registers() for register in batch}


def write(database: Database, value: bytes, key: Key = KEY, wall: int = 100, incarnation: str = A) -> Register:
    return database.write([Change(key, value)], wall, "root@frodo", incarnation)[0]


# --- writing ---------------------------------------------------------------------------------------------------------


def test_a_write_is_stamped_and_numbered_in_its_transaction() -> None:
    database = memory()
    rows = database.write([Change(KEY, b"1"), Change(Key("e" * 32, "entry"), b"2")], 100, "root@frodo", A)
    assert [r.stamp for r in rows] == [Stamp(100, A, 1), Stamp(100, A, 2)]
    assert database.register(KEY) == rows[0]
    assert database.vector() == {A: 2}
    assert write(database, b"3", wall=200).stamp == Stamp(200, A, 3)


def test_a_write_beats_what_is_there_whatever_the_clock() -> None:
    database = memory()
    first = write(database, b"1", wall=500)
    second = write(database, b"2", wall=100, incarnation=B)
    assert second.stamp == Stamp(501, B, 1)
    assert second.context == {A: 1}
    assert second.saw(first)
    assert write(database, b"3", wall=100).context == {A: 1, B: 1}


def test_a_write_that_expects_another_value_is_refused_and_leaves_no_hole() -> None:
    database = memory()
    first = write(database, b"1")
    for expect in (ABSENT, Stamp(1, B, 1)):
        with pytest.raises(Refused, match="changed the same entry") as refused:
            database.write([Change(Key("e" * 32, "entry"), b"x"), Change(KEY, b"2", expect)], 200, "", A)
        assert refused.value.code == "changed-meanwhile"
    assert contents(database) == {KEY: first}
    assert database.write([Change(KEY, b"2", first.stamp)], 200, "", A)[0].stamp.sequence == 2
    assert database.write([Change(Key("e" * 32, "entry"), b"2", ABSENT)], 200, "", A)[0].stamp.sequence == 3


def test_a_number_is_never_given_twice_even_before_the_vector_covers_it() -> None:
    """Rows of its own that a restored master gets back come before the vector that covers them."""
    database = memory()
    database.merge([row("f" * 32, "entry", b"1", origin=A, sequence=7)])
    assert database.vector() == {}
    assert database.known(A) == 7
    assert write(database, b"1").stamp.sequence == 8


def test_a_clock_beyond_the_year_9999_or_before_1970_is_not_believed() -> None:
    database = memory()
    assert write(database, b"1", wall=1 << 70).stamp.time == MAX_WALL
    assert write(database, b"1", key=Key("e" * 32, "lock"), wall=-5).stamp.time == 0


def test_the_highest_stamp_of_all_is_not_overwritten_by_a_lower_one() -> None:
    database = memory()
    database.merge([row(KEY.object, KEY.field, b"1", time=MAX_TIME, origin=C)])
    with pytest.raises(StoreError, match="highest possible stamp"):
        write(database, b"2")


def test_too_big_a_value_and_a_bad_incarnation_are_refused() -> None:
    database = memory()
    with pytest.raises(Refused) as refused:
        write(database, b"x" * (MAX_VALUE + 1))
    assert refused.value.code == "too-big"
    with pytest.raises(StoreError):
        write(database, b"1", incarnation="")
    assert contents(database) == {}


def test_an_author_that_is_no_text_is_escaped() -> None:
    database = memory()
    (written,) = database.write([Change(KEY, b"1")], 1, "m\udcffller@x", A)
    assert written.author == "m\\udcffller@x"
    assert database.register(KEY) == written


def test_no_changes_are_no_write() -> None:
    database = memory()
    assert database.write([], 1, "", A) == []
    assert database.vector() == {}


# --- merging ---------------------------------------------------------------------------------------------------------

rows = st.builds(
    lambda field, value, time, origin, sequence, context: row("f" * 32, field, value, time, origin, sequence, context),
    st.sampled_from(FIELDS),
    st.sampled_from([b"1", b"2", b"\xff\x00"]),
    st.integers(0, 4),
    st.sampled_from([A, B, C]),
    st.integers(1, 6),
    contexts,
)


@settings(max_examples=60)
@given(st.lists(st.lists(rows, max_size=4), max_size=5), st.randoms(use_true_random=False))
def test_merged_in_any_order_with_repeats_the_state_and_its_digest_are_the_same(batches, shuffle) -> None:
    one, other = memory(), memory()
    one.digest()
    for batch in batches:
        before = contents(one)
        won = one.merge(batch)
        for register in won:
            assert register.key not in before or register.beats(before[register.key])
    everything = [each for batch in batches for each in batch] * 2
    shuffle.shuffle(everything)
    other.merge(everything)
    # Contexts may differ only where a cloned machine made two writes with one stamp and value.
    same = {key: (r.stamp, r.value) for key, r in contents(one).items()}
    assert same == {key: (r.stamp, r.value) for key, r in contents(other).items()}
    for public_only in (False, True):
        kept = one.digest(public_only=public_only)
        assert kept == other.digest(public_only=public_only)
        one.recount()
        assert kept == one.digest(public_only=public_only)


def test_the_vector_moves_once_with_the_last_page() -> None:
    database = memory()
    assert database.merge([row("o", "entry", b"1", origin=B, sequence=1)]) != []
    assert database.vector() == {}
    assert database.unfinished() == {B: 1}
    database.merge([row("o", "lock", b"1", origin=B, sequence=2)], {B: 2, C: 0})
    assert database.vector() == {B: 2}
    assert database.unfinished() == {}


def test_a_vector_is_joined_never_lowered() -> None:
    database = memory()
    database.merge([], {A: 5, B: 1})
    database.merge([], {A: 3, C: 2})
    assert database.vector() == {A: 5, B: 1, C: 2}


def test_a_page_with_one_bad_row_changes_nothing() -> None:
    database = memory()
    good, bad = row("o", "entry", b"1"), row("o", "lock", b"1", sequence=0)
    with pytest.raises(MalformedError):
        database.merge([good, bad], {A: 9})
    with pytest.raises(MalformedError):
        database.merge([good], {"x": 9})
    assert contents(database) == {}
    assert database.vector() == {}


def test_a_row_that_cannot_be_interpreted_is_stored_and_relayed_unread() -> None:
    database = memory()
    strange = row("not-an-account", "field-of-2031", b"\x00\xff", context={B: 3})
    database.merge([strange], {A: 1})
    (page,) = database.pages({})
    assert list(page.rows) == [strange]


def test_a_node_never_takes_a_hash() -> None:
    database = memory(scope="public")
    with pytest.raises(MalformedError, match="only masters"):
        database.merge([row("f" * 32, "password", b"{}")])
    database.merge([row("f" * 32, "entry", b"{}")])


def test_a_write_after_a_merge_goes_on_from_the_vector() -> None:
    database = memory()
    database.merge([], {A: 41})
    assert write(database, b"1").stamp.sequence == 42


# --- answers ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(FIELDS), st.integers(0, 3), st.sampled_from([A, B])), max_size=20),
    st.lists(st.tuples(st.sampled_from(FIELDS), st.integers(0, 3), st.sampled_from([A, B])), max_size=10),
    st.integers(1, 4),
    st.booleans(),
)
def test_an_answer_in_pages_makes_its_vector_true_whatever_is_written_between_the_pages(
    first, between, limit: int, public_only: bool
) -> None:
    """For every write that the vector covers, the asker holds it or one that beats it."""
    sender, asker = memory(), memory("public" if public_only else "all")
    history = []

    def change(step: tuple[str, int, str]) -> None:
        field, number, incarnation = step
        key = Key(f"{number}" * 32, field)
        history.extend(sender.write([Change(key, field.encode())], 5, "", incarnation))

    later = list(between)
    for count, step in enumerate(first):
        change(step)
        if count == len(first) // 2:
            for page in sender.pages({}, public_only=public_only):
                asker.merge(page.rows, page.vector)
    for number, page in enumerate(sender.pages(asker.vector(), public_only=public_only, limit=limit)):
        assert page.number == number
        assert len(page.rows) <= limit
        asker.merge(page.rows, page.vector)
        if later:
            change(later.pop())
    vector = asker.vector()
    for written in history:
        if covers(vector, written.stamp) and (is_public(written.key.field) or not public_only):
            held = asker.register(written.key)
            assert held is not None
            assert held == written or held.beats(written)


def test_an_answer_ends_a_page_when_its_values_are_large() -> None:
    database = memory()
    for number in range(4):
        write(database, b"x" * 700_000, key=Key(f"{number}" * 32, "entry"))
    assert [len(page.rows) for page in database.pages({})] == [2, 2]


@pytest.mark.parametrize("limit", [1, 63, 64, 65, 100, 1000])
def test_long_answers_are_cut_and_merged_as_short_ones_are(limit: int) -> None:
    """Rows are read and looked up many at once; a large one among them still ends its page."""
    sender, whole, single = memory(), memory(), memory()
    for number in range(300):
        size = 900_000 if number % 100 == 70 else 10
        write(sender, b"x" * size, key=Key(f"{number:032d}", "entry"), wall=100 + number % 7)
    for number in range(0, 300, 3):
        # Held already, some of it older and some newer than what comes.
        mine = row(f"{number:032d}", "entry", b"mine", time=99 + number % 9, origin=B, sequence=1 + number)
        for replica in (whole, single):
            replica.merge([mine])
    whole.digest()
    pages = list(sender.pages({}, limit=limit))
    assert [register for page in pages for register in page.rows] == [r for batch in sender.registers() for r in batch]
    for page in pages:
        assert len(page.rows) <= limit
        assert sum(len(register.value) for register in page.rows[:-1]) < PAGE_BYTES
        won = whole.merge([*page.rows, *page.rows], page.vector)
        assert won == [register for each in page.rows for register in single.merge([each])]
        single.merge([], page.vector)
    assert contents(whole) == contents(single)
    assert whole.digest() == single.digest()
    assert whole.recount()
    assert whole.overruled() == single.overruled()
    assert whole.vector() == single.vector()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["count", "recount", "write", "undone", "merge", "other cluster", "anew", "adopt"]),
            st.integers(0, 9),
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_a_count_in_slices_ends_with_what_one_in_one_go_finds(steps: list[tuple[str, int]], public: bool) -> None:
    """Whatever is written, undone, or taken over between two slices."""
    database = memory()
    for number, (what, which) in enumerate(steps, 1):
        key = Key(f"{which:032x}", FIELDS[which % len(FIELDS)])
        if what == "count":
            database.count_on(which % 3 + 1)
        elif what == "recount":
            assert database.recount_on(which % 3 + 1)[1], "nothing was changed behind our back"
        elif what == "write":
            write(database, b"%d" % number, key=key, wall=number)
        elif what == "undone":
            with suppress(Refused), database.transaction():
                write(database, b"%d" % number, key=key, wall=number)
                database.count_on(2)
                database.recount_on(2)
                raise Refused("x", "undone")
        elif what == "merge":
            database.merge([row(*key, b"%d" % number, time=which * 7 % 40, origin=B, sequence=number)])
        elif what == "other cluster":
            database._connection.execute(
                "INSERT OR IGNORE INTO register VALUES (NULL, 'd', ?, 'entry', x'00', 1, 'a', 1, 'x', '{}')", (key[0],)
            )
        elif what == "anew":
            held = list(contents(database).values())[which % 3 :]
            database.conform({r.key: r.stamp for r in held}, [], {B: number})
        else:
            database.adopt([B], C)
    found = [r for r in contents(database).values() if not public or is_public(r.key.field)]
    oracle = sum(fingerprint(register) for register in found) % (1 << 256)
    assert database.digest(public_only=public) == oracle.to_bytes(32, "big")
    assert database.counted
    assert database.recount()
    assert database.recount()


def test_a_row_changed_behind_our_back_is_found_by_a_recount_in_slices() -> None:
    """Also if another one is changed meanwhile as it should be."""
    database = memory()
    for number in range(10):
        write(database, b"x", key=Key(f"{number:032d}", "entry"))
    database.digest()
    database._connection.execute("UPDATE register SET value = x'00' WHERE object = ?", (f"{7:032d}",))
    reached, right = database.recount_on(3)
    while reached is not None:
        assert right
        write(database, b"y", key=Key(f"{reached % 5:032d}", "entry"))
        reached, right = database.recount_on(3)
    assert not right
    assert database.recount(), "from now on it is what is there"


def test_what_is_deleted_between_two_pages_ends_no_answer() -> None:
    """A replica that takes over another's state deletes; an answer that was cut before goes on to its end."""
    sender = memory()
    for number in range(200):
        write(sender, b"x", key=Key(f"{number:032d}", "entry"))
    page = sender.page({}, limit=10)
    sender.conform({}, [], {A: 200})
    numbers = [page.number]
    while page.more is not None:
        page = sender.page({}, page.more, limit=100)
        numbers.append(page.number)
        assert not page.rows
    assert numbers == list(range(len(numbers)))
    assert page.vector == {A: 200}


def test_nothing_new_is_one_empty_page_with_the_vector() -> None:
    database = memory()
    write(database, b"1")
    (page,) = database.pages({A: 1})
    assert page.rows == []
    assert page.vector == {A: 1}
    assert page.last


def test_what_is_buffered_for_an_absent_peer_does_not_grow_with_the_number_of_changes() -> None:
    """A thousand changes of one password are one register to send."""
    database = memory()
    write(database, b"0", key=Key("e" * 32, "entry"))
    away = database.vector()
    for number in range(1000):
        write(database, str(number).encode())
    buffered = database.buffered(away)
    assert buffered.count == 1
    assert buffered.objects == {KEY.object: 1}
    assert database.buffered(away, public_only=True).count == 0
    assert database.buffered({}).count == 2
    assert database.buffered(database.vector()).count == 0


def test_adopted_rows_are_covered_by_a_vector_again() -> None:
    """An interrupted answer of a master that lost its disk is handed on as this machine's own."""
    database = memory()
    orphan = row("o", "entry", b"1", time=9, origin=B, sequence=4)
    database.merge([orphan])
    (adopted,) = database.adopt(database.unfinished(), A)
    assert adopted.value == orphan.value
    assert adopted.author == orphan.author
    assert adopted.stamp == Stamp(10, A, 1)
    assert adopted.saw(orphan)
    assert database.unfinished() == {}
    assert database.adopt(database.unfinished(), A) == []


# --- concurrent writes -----------------------------------------------------------------------------------------------


def test_a_concurrent_write_that_lost_is_shown_until_somebody_who_saw_both_writes() -> None:
    database = memory()
    mine = write(database, b"mine", key=Key("f" * 32, "entry"), wall=100)
    theirs = row("f" * 32, "entry", b"theirs", time=200, origin=B)
    database.merge([theirs])
    assert database.overruled() == [mine]
    settled = write(database, b"both", key=Key("f" * 32, "entry"), wall=300)
    assert settled.saw(mine)
    assert settled.saw(theirs)
    assert database.overruled() == []


def test_a_loser_is_still_known_after_a_start(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", "c")
    mine = write(database, b"mine", key=Key("f" * 32, "entry"), wall=100)
    database.merge([row("f" * 32, "entry", b"theirs", time=200, origin=B)])
    database.close()
    database = Database(tmp_path / "db", "c")
    assert database.overruled() == [mine]
    assert write(database, b"both", key=Key("f" * 32, "entry"), wall=300).saw(mine)
    assert database.overruled() == []
    database.close()


def test_the_loser_goes_on_the_other_masters_too_when_it_is_settled() -> None:
    one, other = memory(), memory()
    mine = write(one, b"mine", key=Key("f" * 32, "entry"), wall=100)
    theirs = row("f" * 32, "entry", b"theirs", time=200, origin=B)
    one.merge([theirs])
    other.merge([theirs])
    other.merge([mine])
    assert other.overruled() == [mine]
    other.merge([write(one, b"both", key=Key("f" * 32, "entry"), wall=300)])
    assert other.overruled() == []


def test_a_hash_that_lost_is_not_kept_and_an_equal_value_is_no_conflict() -> None:
    database = memory()
    write(database, b"hash", wall=100)
    write(database, b"same", key=Key("f" * 32, "entry"), wall=100)
    database.merge(
        [row("f" * 32, "password", b"other", time=200, origin=B), row("f" * 32, "entry", b"same", time=200, origin=B)]
    )
    [lost] = database.overruled()
    assert (lost.key.field, lost.value, lost.author) == ("password", b"", "root@frodo")
    write(database, b"new", wall=300)
    assert database.overruled() == []


# --- this machine's own ---------------------------------------------------------------------------------------------


def test_notes_and_meta_are_kept_and_removed(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", "c")
    database.put("delivery/files", b"\x00\xff")
    database.put("delivery/ldap", b"2")
    database.put("attempts", b"3")
    database.set_meta("incarnation", A.encode())
    database.acknowledge("gamgee", Acknowledged(B, {A: 3}))
    database.acknowledge("sam", Acknowledged(C))
    database.acknowledge("sam", None)
    database.close()
    database = Database(tmp_path / "db", "c")
    assert database.get("delivery/files") == b"\x00\xff"
    assert database.notes("delivery/") == {"delivery/files": b"\x00\xff", "delivery/ldap": b"2"}
    assert database.get("nothing") is None
    database.put("attempts", None)
    assert database.get("attempts") is None
    assert database.meta("incarnation") == A.encode()
    assert database.acknowledged() == {"gamgee": Acknowledged(B, {A: 3})}
    database.close()


def test_everything_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", "c")
    written = [write(database, b"1"), write(database, b"2", key=Key("e" * 32, "lock"))]
    database.merge([row("d" * 32, "entry", b"3", origin=B, sequence=2)])
    vector, digest = database.vector(), database.digest()
    database.close()
    database = Database(tmp_path / "db", "c")
    assert all(database.register(each.key) == each for each in written)
    assert database.vector() == vector
    assert database.digest() == digest
    assert database.unfinished() == {B: 2}
    database.close()


def test_a_file_of_another_cluster_or_kind_is_refused(tmp_path: Path) -> None:
    Database(tmp_path / "db", "ours").close()
    with pytest.raises(UnusableStoreError, match="belongs to cluster 'ours', not to 'theirs'"):
        Database(tmp_path / "db", "theirs")
    with pytest.raises(UnusableStoreError, match="belongs to scope 'all'"):
        Database(tmp_path / "db", "ours", scope="public")


def test_a_backup_is_whole_and_closed_to_others(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", "c")
    written = write(database, b"1")
    database.backup(tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    copy = Database(tmp_path / "copy", "c")
    assert copy.register(KEY) == written
    assert copy.digest() == database.digest()
    copy.close()
    with pytest.raises(StoreError):
        database.backup(tmp_path / "copy")
    database.close()


# --- transactions ----------------------------------------------------------------------------------------------------


def test_an_error_undoes_a_transaction_in_memory_too() -> None:
    database = memory()
    write(database, b"1")
    digest = database.digest()
    with pytest.raises(RuntimeError), database.transaction():  # noqa: PT012
        write(database, b"2")
        with pytest.raises(ValueError), database.transaction():  # noqa: PT012
            write(database, b"3")
            raise ValueError
        assert database.register(KEY).value == b"2"  # type: ignore[union-attr]
        raise RuntimeError
    assert database.register(KEY).value == b"1"  # type: ignore[union-attr]
    assert database.vector() == {A: 1}
    assert database.digest() == digest
    assert write(database, b"4").stamp.sequence == 2


def test_a_full_disk_refuses_the_change_and_loses_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", "c")
    first = write(database, b"1")
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
    database._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFullError, match="disk is full"):
        write(database, b"x" * 200_000, key=Key("e" * 32, "entry"))
    assert contents(database) == {KEY: first}
    assert database.vector() == {A: 1}
    assert write(database, b"2").stamp.sequence == 2, "what needs no room goes on"
    database.close()


def test_old_hashes_do_not_linger_in_the_file(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", "c")
    write(database, b'{"hash":"$6$old-secret"}')
    write(database, b'{"hash":"$6$new"}')
    database.close()
    assert b"old-secret" not in (tmp_path / "db").read_bytes()


def test_an_administrator_can_read_it_with_sqlite3(tmp_path: Path) -> None:
    database = Database(tmp_path / "db", "c")
    write(database, b'{"locked":true}', key=Key("e" * 32, "lock"))
    database.close()
    connection = sqlite3.connect(tmp_path / "db")
    assert connection.execute("SELECT field, CAST(value AS TEXT), author FROM register").fetchall() == [
        ("lock", '{"locked":true}', "root@frodo")
    ]
    connection.close()


def test_a_batch_of_the_start_is_read_without_sorting_all() -> None:
    """A start costs what it reads: each batch begins where the last one ended."""
    database = Database(":memory:", "c")
    steps: list[str] = []
    database._connection.set_trace_callback(steps.append)
    list(database.registers(10))
    database._connection.set_trace_callback(None)
    plan = database._connection.execute(f"EXPLAIN QUERY PLAN {steps[0]}").fetchall()
    assert "TEMP B-TREE" not in str(plan)
    assert "PRIMARY KEY" in str(plan)


# --- taking over what another has, less included ---------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_conforming_to_an_answer_makes_a_replica_equal_whatever_it_held(data: st.DataObject) -> None:
    """Registers, vector and digest; rows that beat the other's, and rows that it never had, are gone."""
    mine, other = memory("public"), memory("public")
    pool = [
        Register(Key(f"{number % 5:032x}", "entry"), b"%d" % number, Stamp(number % 4, origin, number))
        for number in range(1, 12)
        for origin in (A, B)
    ]
    for database in (mine, other):
        for one in data.draw(st.lists(st.sampled_from(pool), max_size=8)):
            database.merge([one], {one.stamp.origin: one.stamp.sequence})
    anew = Anew()
    for page in other.pages({}, limit=2):
        anew.take(page.rows, mine.register)
    mine.conform(anew.stamps, anew.rows, other.vector())
    assert contents(mine) == contents(other)
    assert mine.vector() == other.vector()
    assert mine.digest() == other.digest()
    assert mine.recount()
    assert not mine.unfinished()


def test_what_was_conformed_to_is_there_after_closing(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    database = Database(path, "c", scope="public")
    old, lost = row("f" * 32, "entry", b"9", 9, A, 9), row("1" * 32, "entry", b"3", 3, B, 3)
    database.merge([old, lost], {A: 9, B: 3})
    new = row("f" * 32, "entry", b"1", 1, A, 1)
    database.conform({new.key: new.stamp}, [new], {A: 2})
    with pytest.raises(MalformedError):
        database.conform({}, [], {"no incarnation": 1})
    database.close()
    database = Database(path, "c", scope="public")
    assert (contents(database), database.vector()) == ({new.key: new}, {A: 2})
    database.close()
