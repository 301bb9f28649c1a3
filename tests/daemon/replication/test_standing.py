"""Which description comes first is told alike by the quick look and by the start in earnest."""

from hypothesis import given
from hypothesis import strategies as st

from beonss.core.replication.publication import (
    DESCRIPTION,
    KEPT,
    SERIAL,
    Published,
    Serial,
    encode_published,
    encode_serial,
)
from beonss.core.replication.registers import Register, Stamp
from beonss.daemon.replication.description import first_description
from beonss.daemon.replication.standing import foremost
from beonss.store.database import Database

ORIGIN = "2" * 32


def text_of(host):
    return (
        '[cluster]\nname = "X"\nzone = "x.example.org"\nnetworks = ["10.5.0.0/16"]\nmasters = ["frodo"]\n'
        f'[hosts]\nfrodo = "10.5.0.1"\nswitch = "10.5.0.{host}"\n'
    ).encode()


PUBLISHED = st.builds(
    lambda host, version: Published(text_of(host), version, "x.toml"), st.integers(7, 9), st.integers(1, 9)
)


@given(st.none() | PUBLISHED, st.none() | PUBLISHED, st.none() | st.tuples(st.integers(7, 9), st.integers(1, 20)))
def test_the_quick_look_sees_what_the_start_takes(tmp_path_factory, found, kept, serial):
    database = Database(":memory:", "c" * 32, durable=False)
    rows = []
    if found is not None:
        rows.append(Register(DESCRIPTION, encode_published(found), Stamp(1, ORIGIN, 1)))
    if serial is not None:
        host, version = serial
        digest = Published(text_of(host), 1, "x").digest
        rows.append(Register(SERIAL, encode_serial(Serial(digest, version)), Stamp(2, ORIGIN, 2)))
    database.merge(rows)
    if kept is not None:
        database.put(KEPT, encode_published(kept))
    first = foremost(database.register, database.get(KEPT))
    if found is None and kept is None:
        assert first is None
    else:
        path = tmp_path_factory.getbasetemp() / "none"
        described = first_description(database, path)
        assert (first.text, first.version) == (described.published.text, described.naming.version)
    database.close()
