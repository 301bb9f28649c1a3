-- The state of one master (or the memory of one node), version 1.
--
-- Every table of registers carries the cluster's id: one daemon may come to serve several clusters.
-- Nothing here holds a password; the registers "password" of masters hold hashes, so the file has mode 0600.
-- No STRICT tables and no RETURNING: SQLite 3.34 (RHEL 9) must do.

-- What belongs to this machine alone and is never replicated: "cluster", "scope" ("all" on masters, "public" on
-- nodes), "incarnation", "machine" ...
CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- Notes of other parts, each under a name of its own ("delivery/files/cursor", "attempts" ...). Not replicated.
CREATE TABLE note (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- (origin, n): for every write of that incarnation up to n, the table "register" holds it or one that beats it.
-- An origin of which only part of an answer has come stands here with what was covered before, 0 at first.
CREATE TABLE vector (
    cluster  TEXT    NOT NULL,
    origin   TEXT    NOT NULL,              -- incarnation, 32 hex digits
    sequence INTEGER NOT NULL,
    PRIMARY KEY (cluster, origin)
) WITHOUT ROWID;

-- The registers themselves. A row is overwritten, never deleted: tombstones are rows too.
CREATE TABLE register (
    id       INTEGER PRIMARY KEY,           -- stays when the row is overwritten: the pages of an answer rest on it
    cluster  TEXT    NOT NULL,
    object   TEXT    NOT NULL,              -- 32 hex digits
    field    TEXT    NOT NULL,              -- "entry", "password", "member:<id>" ..., unknown ones too
    value    BLOB    NOT NULL,              -- canonical JSON, not interpreted here
    time     INTEGER NOT NULL,              -- stamp: ms since the epoch on the writer's clock, or one above what it saw
    origin   TEXT    NOT NULL,              -- stamp: the writer's incarnation
    sequence INTEGER NOT NULL,              -- stamp: the writer's sequence number
    author   TEXT    NOT NULL,              -- for people
    context  TEXT    NOT NULL,              -- JSON {origin: sequence}: the writes that this one has overwritten
    UNIQUE (cluster, object, field)
);

-- "What have you that my vector does not cover?" reads only the rows it answers with.
CREATE INDEX register_by_write ON register (cluster, origin, sequence);

-- The last concurrent write that lost, for each public register where there was one: shown until somebody who saw
-- both writes again. Only masters keep it, each for itself.
CREATE TABLE overruled (
    cluster  TEXT    NOT NULL,
    object   TEXT    NOT NULL,
    field    TEXT    NOT NULL,
    value    BLOB    NOT NULL,
    time     INTEGER NOT NULL,
    origin   TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    author   TEXT    NOT NULL,
    context  TEXT    NOT NULL,
    PRIMARY KEY (cluster, object, field)
) WITHOUT ROWID;

-- What each peer last acknowledged, as it said it; it may go down (a peer restored from a backup).
CREATE TABLE acknowledged (
    cluster     TEXT NOT NULL,
    peer        TEXT NOT NULL,              -- the master's name in the member list
    incarnation TEXT NOT NULL,
    vector      TEXT NOT NULL,              -- JSON {origin: sequence}
    PRIMARY KEY (cluster, peer)
) WITHOUT ROWID;
