"""The member list's rules: who is believed, and how lists and acceptances merge."""

from dataclasses import replace

import pytest

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.cluster.members import (
    Acceptance,
    Member,
    MemberList,
    Roster,
    admit,
    baked,
    cluster_id,
    founded,
    invited,
    moved,
    removed,
    replaced,
    with_acceptance,
    with_list,
)
from beonss.errors import ConfigurationError, Refused

PUBLIC = b"p" * 32
FRODO, GAMGEE, GOLLUM = b"f" * 32, b"g" * 32, b"o" * 32
AT = (Endpoint("10.5.0.1", 7653),)


def roster(members: MemberList, document: bytes = b"document") -> Roster:
    return Roster(PUBLIC, members, document)


def start() -> Roster:
    return roster(founded(PUBLIC, Member("frodo", FRODO, AT)))


def inviting(base: Roster, name: str = "gamgee", expires: int = 1000) -> Roster:
    return roster(invited(base, name, AT, b"i" * 32, expires), b"document 2")


def answer(base: Roster, key: bytes = GAMGEE, name: str = "gamgee") -> Acceptance:
    entry = base.list.find(name)
    return Acceptance(base.cluster, name, entry.invited if entry else 0, key, b"s" * 64)


def test_a_founded_list_believes_its_first_master_only() -> None:
    first = start()
    assert first.name_of(FRODO) == "frodo"
    assert first.key_of("frodo") == FRODO
    assert first.key_of("gamgee") is None
    assert first.name_of(GAMGEE) is None
    assert first.name_of(b"") is None


def test_an_invited_machine_is_nobody_until_it_is_accepted() -> None:
    second = inviting(start())
    assert second.key_of("gamgee") is None
    assert second.name_of(b"") is None
    assert [member.name for member in second.joined()] == ["frodo"]
    accepted = admit(second, answer(second), now=1000)
    assert accepted.name_of(GAMGEE) == "gamgee"
    assert [member.key for member in accepted.joined()] == [FRODO, GAMGEE]
    assert accepted.digest != second.digest


def code(function, *arguments) -> str:
    with pytest.raises(Refused) as refused:
        function(*arguments)
    return refused.value.code


def test_a_token_is_refused_with_the_reason() -> None:
    second = inviting(start())
    good = answer(second)
    assert code(admit, second, good, 1000.5) == "token-expired"
    assert code(admit, second, replace(good, cluster="0" * 32), 1) == "wrong-cluster"
    assert code(admit, second, replace(good, invited=9), 1) == "unknown-invitation"
    assert code(admit, start(), good, 1) == "unknown-invitation"
    accepted = admit(second, good, 1)
    assert code(admit, accepted, answer(second, GOLLUM), 1) == "token-used"
    assert code(admit, second, answer(second, FRODO), 1) == "key-of-another"


def test_presenting_a_token_again_with_the_same_key_is_no_second_use() -> None:
    """The answer may have been lost; even after the list was signed anew, or the token expired."""
    second = inviting(start())
    accepted = admit(second, answer(second), 1)
    assert admit(accepted, answer(second), 5000) is accepted
    signed = roster(replace(accepted.list, number=3, members=baked(accepted)), b"3")
    assert admit(signed, answer(second), 5000) is signed


def test_the_first_acceptance_seen_stands_and_the_second_is_an_alarm() -> None:
    second = inviting(start())
    accepted, alarm = with_acceptance(second, answer(second))
    assert alarm is None
    same, alarm = with_acceptance(accepted, answer(second, GOLLUM))
    assert same is accepted
    assert alarm is not None
    assert alarm.word == "token-used-twice"
    assert with_acceptance(accepted, answer(second)) == (accepted, None)


def test_expiry_is_looked_at_by_the_accepting_master_only() -> None:
    """A member that hears of an acceptance a year later believes it, whatever its clock says."""
    second = inviting(start(), expires=1)
    assert with_acceptance(second, answer(second))[0].name_of(GAMGEE) == "gamgee"


def test_the_highest_number_wins_and_keeps_acceptances_that_still_answer() -> None:
    second = inviting(start())
    accepted, _ = with_acceptance(second, answer(second))
    third = invited(second, "pippin", AT, b"j" * 32, 1000)
    merged, alarm = with_list(accepted, third, b"document 3")
    assert alarm is None
    assert merged.name_of(GAMGEE) == "gamgee"
    assert with_list(merged, start().list, b"document") == (merged, None)
    without = removed(merged, "gamgee")
    gone, _ = with_list(merged, without, b"document 4")
    assert gone.name_of(GAMGEE) is None
    assert gone.is_former(GAMGEE)


def test_two_lists_of_one_number_end_the_same_everywhere_with_an_alarm() -> None:
    base = start()
    one, two = (inviting(base, name) for name in ("gamgee", "pippin"))
    one, two = replace(one, document=b"one"), replace(two, document=b"two")
    ab, first = with_list(one, two.list, two.document)
    ba, second = with_list(two, one.list, one.document)
    assert ab.document == ba.document
    assert first is not None
    assert second is not None
    assert first.word == "two-lists-one-number"


def test_a_list_of_another_cluster_is_refused() -> None:
    foreign = MemberList(cluster_id(b"x" * 32), 9, ())
    assert code(with_list, start(), foreign, b"d") == "wrong-cluster"


def test_the_next_signing_writes_accepted_keys_into_the_list() -> None:
    second = inviting(start())
    accepted = admit(second, answer(second), 1)
    third = invited(accepted, "pippin", AT, b"j" * 32, 1000)
    entry = third.find("gamgee")
    assert entry is not None
    assert (entry.key, entry.invite_key, entry.expires) == (GAMGEE, b"", 0)


def test_inviting_again_replaces_an_open_invitation_and_refuses_a_member() -> None:
    second = inviting(start())
    again = invited(second, "gamgee", AT, b"k" * 32, 2000)
    assert [member.invite_key for member in again.members] == [b"", b"k" * 32]
    assert with_acceptance(roster(again, b"3"), answer(second))[0].name_of(GAMGEE) is None
    with pytest.raises(ConfigurationError, match="member already"):
        invited(start(), "frodo", AT, b"k" * 32, 1)


def test_removing_keeps_the_last_master_and_names_the_members() -> None:
    with pytest.raises(ConfigurationError, match="last master"):
        removed(start(), "frodo")
    with pytest.raises(ConfigurationError, match="frodo"):
        removed(start(), "bilbo")
    # One that is only invited cannot carry the cluster on.
    with pytest.raises(ConfigurationError, match="last master"):
        removed(inviting(start()), "frodo")


def test_a_removed_key_cannot_come_back_by_a_new_invitation() -> None:
    second = inviting(start())
    accepted = admit(second, answer(second), 1)
    third = roster(removed(accepted, "gamgee"), b"3")
    fourth = roster(invited(third, "gamgee", AT, b"k" * 32, 1000), b"4")
    assert code(admit, fourth, answer(fourth), 1) == "key-of-another"
    assert admit(fourth, answer(fourth, GOLLUM), 1).name_of(GOLLUM) == "gamgee"


def test_a_full_list_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beonss.core.cluster.members.MAXIMUM_MEMBERS", 1)
    with pytest.raises(ConfigurationError, match="full"):
        inviting(start())


def test_a_member_may_move_and_keeps_its_key() -> None:
    second = inviting(start())
    accepted = admit(second, answer(second), 1)
    there = (Endpoint("10.5.0.9", 1),)
    third = moved(accepted, "gamgee", there)
    entry = third.find("gamgee")
    assert entry is not None
    assert (entry.key, entry.endpoints, third.number) == (GAMGEE, there, 3)
    with pytest.raises(ConfigurationError, match="no member"):
        moved(accepted, "bilbo", there)


def test_a_replaced_member_keeps_its_place_and_loses_its_key() -> None:
    base = start()
    base = roster(replace(base.list, members=(*base.list.members, Member("gamgee", GAMGEE, AT))), b"two")
    newer = replaced(base, "frodo", (), b"i" * 32, 1000)
    assert [member.name for member in newer.members] == ["frodo", "gamgee"]
    assert newer.number == base.list.number + 1
    after = roster(newer, b"three")
    assert after.key_of("frodo") is None
    assert after.is_former(FRODO)
    assert newer.members[0].endpoints == AT
    again = answer(after, GOLLUM, "frodo")
    assert admit(after, again, 0).key_of("frodo") == GOLLUM
    with pytest.raises(Refused, match="new identity"):
        admit(after, answer(after, FRODO, "frodo"), 0)


def test_the_last_master_cannot_be_replaced_and_leaves_only_by_force() -> None:
    with pytest.raises(ConfigurationError, match="last master"):
        replaced(start(), "frodo", (), b"i" * 32, 1000)
    with pytest.raises(ConfigurationError, match="last master"):
        replaced(inviting(start()), "frodo", (), b"i" * 32, 1000)
    with pytest.raises(ConfigurationError, match="--force"):
        removed(start(), "frodo")
    assert removed(start(), "frodo", last=True).members == ()
    with pytest.raises(ConfigurationError, match="no member"):
        replaced(start(), "bilbo", (), b"i" * 32, 1000)
