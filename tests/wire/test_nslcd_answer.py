"""From lookups to whole answers: every action, what is refused, and that long answers are lazy."""

import struct

import pytest
from support.fakes import FakeNames, fellowship

from beonss.core.accounts.lookup import Lookups, Rules
from beonss.core.accounts.view import AccountView
from beonss.errors import Unavailable
from beonss.wire import nslcd_reply as reply
from beonss.wire.nslcd import Action, Query
from beonss.wire.nslcd_answer import LARGE_GROUP, Answers


@pytest.fixture
def answers():
    return Answers(Lookups(FakeNames(), AccountView(fellowship().rows), rules=Rules(shadow=True)))


def ask(answers, action, key=None, uid=5001):
    data = b"".join(answers.to(Query(action, key), uid))
    assert data[:8] == struct.pack(">II", 2, action)
    assert data[-4:] == struct.pack(">I", 2)
    return data[8:-4]


@pytest.mark.parametrize(
    ("action", "key", "words", "count"),
    [
        (Action.PASSWD_BYNAME, "alice", [b"alice", b"/home/alice"], 1),
        (Action.PASSWD_BYUID, 5001, [b"alice"], 1),
        (Action.PASSWD_ALL, None, [b"alice", b"bob", b"carol"], 3),
        (Action.GROUP_BYNAME, "chemistry", [b"chemistry", b"alice", b"bob"], 1),
        (Action.GROUP_BYGID, 5000, [b"users"], 1),
        (Action.GROUP_BYMEMBER, "alice", [b"chemistry"], 1),
        (Action.GROUP_ALL, None, [b"users", b"chemistry", b"alice"], 2),
        (Action.HOST_BYNAME, "r01n07", [b"r01n07.fellow.aero.org", bytes([10, 5, 1, 7])], 1),
        (Action.HOST_BYADDR, FakeNames().node(1, 7).addresses[0], [b"r01n07"], 1),
        (Action.HOST_ALL, None, [b"frodo", b"r04n20"], 83),
        (Action.ETHER_BYNAME, "switch", [b"switch", bytes([2, 0, 0, 0, 0, 9])], 1),
        (Action.ETHER_BYETHER, bytes([2, 0, 0, 0, 0, 9]), [b"switch"], 1),
        (Action.ETHER_ALL, None, [b"switch"], 1),
        (Action.NETGROUP_BYNAME, "cluster", [b"r01n01", b"r04n20.fellow.aero.org"], 1),
        (Action.NETGROUP_ALL, None, [b"cluster", b"r01n01"], 1),
        (Action.CONFIG_GET, 1, [], 1),
    ],
)
def test_what_exists_is_answered(answers, action, key, words, count):
    data = ask(answers, action, key)
    assert all(word in data for word in words)
    pieces = list(answers.to(Query(action, key), 5001))[1:-1]
    assert sum(piece.startswith(struct.pack(">I", 1)) for piece in pieces) == count


@pytest.mark.parametrize(
    ("action", "key"),
    [
        (Action.PASSWD_BYNAME, "nobody"),
        (Action.PASSWD_BYUID, 1),
        (Action.GROUP_BYNAME, "nobody"),
        (Action.GROUP_BYGID, 1),
        (Action.GROUP_BYMEMBER, "root"),
        (Action.HOST_BYNAME, "elsewhere"),
        (Action.HOST_BYADDR, FakeNames().node(99, 1).addresses[0]),
        (Action.ETHER_BYNAME, "frodo"),
        (Action.ETHER_BYETHER, bytes(6)),
        (Action.NETGROUP_BYNAME, "nobody"),
        (Action.SHADOW_BYNAME, "nobody"),
        (Action.SERVICE_BYNAME, "ssh"),
        (Action.ALIAS_ALL, None),
        (Action.RPC_BYNUMBER, 5),
        (Action.CONFIG_GET, 77),
    ],
)
def test_what_does_not_exist_is_an_end_alone(answers, action, key):
    assert ask(answers, action, key, uid=0) == b""


@pytest.mark.parametrize(("action", "key"), [(Action.SHADOW_BYNAME, "alice"), (Action.SHADOW_ALL, None)])
def test_hashes_are_for_root_alone(answers, action, key):
    assert b"$6$salt$alicehash" in ask(answers, action, key, uid=0)
    assert ask(answers, action, key, uid=5001) == b""


def test_no_other_answer_holds_a_hash(answers):
    for action in Action:
        if action.name.endswith("_ALL") and action is not Action.SHADOW_ALL:
            assert b"$6$" not in ask(answers, action, uid=0)


def test_the_text_that_forbids_changes_is_told(answers):
    answers.prohibited = "not today"
    assert b"not today" in ask(answers, Action.CONFIG_GET, 1)


KINDS = ("ETHER", "GROUP", "HOST", "NETGROUP", "PASSWD", "SHADOW")


@pytest.mark.parametrize("action", [a for a in Action if a.name in {f"{kind}_ALL" for kind in KINDS}])
def test_what_is_not_known_is_no_answer_and_that_at_once(action):
    answers = Answers(Lookups(None, AccountView(), known=lambda: False, rules=Rules(shadow=True)))
    with pytest.raises(Unavailable):
        answers.to(Query(action), 0)


def crowded(count):
    rows = fellowship()
    crowd = [rows.user(f"user{n:05}", 10000 + n) for n in range(count)]
    rows.group("crowd", 6000, *crowd)
    return rows


def test_a_large_group_comes_in_pieces_and_the_same_each_time():
    rows = crowded(LARGE_GROUP + 20)
    view = AccountView(rows.rows)
    answers = Answers(Lookups(None, view))
    first = list(answers.to(Query(Action.GROUP_BYNAME, "crowd"), 0))
    assert len(first) == 5
    assert b"".join(first) == ask_raw(answers, Action.GROUP_BYGID, 6000, Action.GROUP_BYNAME)
    assert b"user00519" in ask(answers, Action.GROUP_ALL)
    rows.user("late", 50000)
    rows.group("crowd", 6000, rows.rows[-1].key.object)
    view.apply(rows.rows)
    assert b"late" in ask(answers, Action.GROUP_BYNAME, "crowd")


def ask_raw(answers, action, key, instead):
    """Return the answer to one action as if it had been to another."""
    data = b"".join(answers.to(Query(action, key), 0))
    return data[:4] + struct.pack(">I", instead) + data[8:]


def test_the_encoded_groups_that_are_kept_are_few():
    rows = fellowship()
    crowd = [rows.user(f"user{n:05}", 10000 + n) for n in range(LARGE_GROUP)]
    for number in range(20):
        rows.group(f"crowd{number}", 6000 + number, *crowd)
    answers = Answers(Lookups(None, AccountView(rows.rows)))
    for number in range(20):
        assert b"user00499" in ask(answers, Action.GROUP_BYNAME, f"crowd{number}")
    assert len(answers._encoded) < 17


def test_an_enumeration_is_made_while_it_is_taken(answers):
    computed = 0
    original = answers.lookups.names.all_nodes

    def counting():
        nonlocal computed
        for node in original():
            computed += 1
            yield node

    answers.lookups.names.all_nodes = counting
    pieces = answers.to(Query(Action.HOST_ALL), 0)
    for _ in range(6):
        next(pieces)
    assert computed <= 3


def test_an_enumeration_of_accounts_is_that_of_the_moment_it_was_asked_for(answers):
    pieces = answers.to(Query(Action.PASSWD_ALL), 0)
    next(pieces)
    rows = fellowship()
    rows.user("dave", 5004)
    answers.lookups.view.apply(rows.rows)
    assert b"dave" not in b"".join(pieces)
    assert b"dave" in ask(answers, Action.PASSWD_ALL)


def test_in_an_enumeration_a_group_is_cut_and_asked_for_by_name_it_is_whole(monkeypatch):
    monkeypatch.setattr(reply, "MAXIMUM_ENTRY", 6000)
    answers = Answers(Lookups(None, AccountView(crowded(LARGE_GROUP).rows)))
    assert ask(answers, Action.GROUP_ALL).count(b"user00") < LARGE_GROUP
    assert ask(answers, Action.GROUP_BYNAME, "crowd").count(b"user00") == LARGE_GROUP
