"""What is known of the other masters, fed by hand: no sockets, no clock but a number."""

from beonss.core.cluster.endpoints import Endpoint
from beonss.core.replication.pulling import Acknowledged
from beonss.core.replication.registers import Stamp
from beonss.daemon.replication.peers import DIFFERENCE_GRACE, PeerBook
from beonss.wire.sync import Heartbeat, Hello

AT = (Endpoint("10.5.0.2", 7653),)
LIFE, OTHER = "a" * 32, "b" * 32


class Book(PeerBook):
    def __init__(self) -> None:
        self.now = 1000.0
        self.ours = "d1"
        super().__init__(lambda: self.now, lambda: "f" * 32, lambda: self.ours, lambda: self.now)
        self.add("gamgee", AT, None)

    @property
    def gamgee(self):
        return self.states()["gamgee"]


def hello(incarnation: str = LIFE, wall: int = 1_000_000, description: str = "d1", boot: str = "boot") -> Hello:
    return Hello("member", "c", "gamgee", incarnation, boot, wall, description, "1.0")


def test_who_takes_a_new_incarnation_while_it_runs_still_holds_what_it_acknowledged() -> None:
    """Its two connections greet at two moments; what it said on the first is not said again on the second."""
    book = Book()
    book.met("gamgee", hello(""))
    book.acknowledged("gamgee", {"f" * 32: 1})
    book.met("gamgee", hello(LIFE))
    assert book.gamgee.acknowledged == {"f" * 32: 1}
    assert book.gamgee.incarnation == LIFE
    book.met("gamgee", hello(OTHER, boot="another start"))
    assert book.gamgee.acknowledged is None


def test_a_peer_is_reachable_while_a_connection_stands_in_either_direction() -> None:
    book = Book()
    assert (book.gamgee.reachable, book.gamgee.since) == (False, None)
    book.called("gamgee", False, "refused")
    assert (book.gamgee.since, book.gamgee.last_error) == (None, "refused")
    book.came("gamgee", "in", "boot", 1)
    assert (book.gamgee.reachable, book.gamgee.since, book.gamgee.last_error) == (True, 1000.0, "")
    book.now = 1001
    book.called("gamgee", True)
    book.went("gamgee", "in", "lost")
    assert (book.gamgee.reachable, book.gamgee.since) == (True, 1000.0)
    book.called("gamgee", False, "silent")
    assert (book.gamgee.reachable, book.gamgee.since, book.gamgee.last_error) == (False, 1001, "silent")


def test_the_last_acknowledgement_counts_also_when_it_says_less() -> None:
    book = Book()
    stamp = Stamp(1, LIFE, 5)
    assert not book.holds("gamgee", stamp)
    assert book.acknowledged("gamgee", {LIFE: 5})
    assert book.holds("gamgee", stamp)
    assert not book.acknowledged("gamgee", {LIFE: 5})
    assert book.acknowledged("gamgee", {LIFE: 4})
    assert not book.holds("gamgee", stamp)
    assert not book.acknowledged("nobody", {})
    assert not book.holds("nobody", stamp)


def test_what_an_earlier_life_of_a_machine_acknowledged_is_dropped() -> None:
    """It was reinstalled: its disk is empty. What was kept of the same life stays."""
    book = Book()
    book.add("gamgee", AT, Acknowledged(LIFE, {LIFE: 5}))
    assert book.holds("gamgee", Stamp(1, LIFE, 5))
    book.met("gamgee", hello(LIFE))
    assert book.holds("gamgee", Stamp(1, LIFE, 5))
    book.met("gamgee", hello(OTHER, boot="later"))
    assert not book.holds("gamgee", Stamp(1, LIFE, 5))


def test_our_own_incarnation_on_another_machine_is_noticed() -> None:
    book = Book()
    assert not book.met("gamgee", hello(LIFE))
    assert not book.met("gamgee", hello(""))
    assert book.met("gamgee", hello("f" * 32))


def test_clock_alarms_come_and_go_and_refuse_nothing() -> None:
    book = Book()
    book.called("gamgee", True)
    book.met("gamgee", hello(wall=1_006_000))
    assert "ahead" in book.alarms["clock:gamgee"]
    assert book.gamgee.clock_skew_ms == 6000
    book.beat("gamgee", Heartbeat(990_000, "", "d1"))
    assert "behind" in book.alarms["clock:gamgee"]
    book.beat("gamgee", Heartbeat(1_000_100, "", "d1"))
    assert book.alarms == {}
    assert book.gamgee.reachable


def test_descriptions_that_stay_different_are_an_alarm() -> None:
    """A new one takes a moment to reach everybody; that is no alarm, whoever has it first."""
    book = Book()
    book.met("gamgee", hello(description="d2"))
    assert book.alarms == {}
    book.now += DIFFERENCE_GRACE - 1
    book.ours = "d3"
    book.look_at_all()
    assert book.alarms == {}, "not long enough yet"
    book.now += 1
    book.beat("gamgee", Heartbeat(1_010_000, "", "d2"))
    assert "description:gamgee" in book.alarms
    book.ours = "d2"
    book.look_at_all()
    assert book.alarms == {}
    book.now += 100
    book.beat("gamgee", Heartbeat(1_110_000, "", "d4"))
    assert book.alarms == {}, "the time before it was equal does not count"
    book.now += DIFFERENCE_GRACE
    book.ours = ""
    book.met("gamgee", hello(description="d4", wall=1_120_000))
    assert book.alarms == {}, "we have none"


def test_alarms_of_a_removed_master_go_with_it() -> None:
    book = Book()
    book.met("gamgee", hello(wall=0))
    book.alarm("duplicate", "something else")
    book.remove("gamgee")
    assert set(book.alarms) == {"duplicate"}
    assert "gamgee" not in book
    book.went("gamgee", "in", "lost")
    book.called("gamgee", True)


def test_a_replaced_connection_is_no_twin_but_one_that_speaks_on_is() -> None:
    book = Book()
    book.came("gamgee", "old", "boot 1", 10)
    book.came("gamgee", "again", "boot 1", 11)
    assert book.twin("gamgee", "old", 100, 6) is None
    book.came("gamgee", "new", "boot 2", 20)
    assert book.twin("gamgee", "old", 25, 6) is None
    assert book.twin("gamgee", "new", 30, 6) is None
    assert book.twin("gamgee", "old", 30, 6) == "new"
    assert book.twin("gamgee", "gone", 30, 6) is None
