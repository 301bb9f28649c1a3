"""One connection with a clock and a transport in memory: deadlines, signs of life, and bounds."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from beonss.errors import PeerError
from beonss.net.connection import INBOX, PARTING, Connection, Timing
from beonss.wire.frames import MAXIMUM_FIRST_FRAME, FrameReader, frame
from beonss.wire.sync import Heartbeat, Message, Question, Refusal, decode, encode

TIMING = Timing(handshake=10, heartbeat=2, dead=6, node_heartbeat=10, node_dead=30, stalled=60)


class Transport(StringTransport):
    """A TLS transport as far as a connection looks at it."""

    aborted = False

    def getHandle(self) -> Any:
        return self

    def get_peer_certificate(self, as_cryptography: bool = False) -> None:
        return None

    def abortConnection(self) -> None:
        self.aborted = True


class Listener(Connection):
    """Keeps what it is given; works on a message as long as a test wants."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, TIMING)
        self.got: list[Message] = []
        self.beats: list[Heartbeat] = []
        self.was_opened = self.was_ended = False
        self.gate: Deferred[None] | None = None

    def opened(self) -> None:
        self.was_opened = True

    async def received(self, message: Message) -> None:
        if self.gate is not None:
            await self.gate
        self.got.append(message)

    def heartbeat(self) -> Heartbeat:
        return Heartbeat(1, "r", "d")

    def heard(self, beat: Heartbeat) -> None:
        self.beats.append(beat)

    def ended(self) -> None:
        self.was_ended = True


class Scene:
    def __init__(self) -> None:
        self.clock = Clock()
        self.transport = Transport()
        self.connection = Listener(self.clock)
        self.connection.makeConnection(self.transport)
        self.reasons: list[str] = []
        self.connection.closed.addCallback(self.reasons.append)

    def establish(self, **options: Any) -> "Scene":
        self.connection.handshakeCompleted()
        self.connection.establish(**options)
        return self

    def said(self) -> list[Message]:
        """Return and forget what was written."""
        data = self.transport.value()
        self.transport.clear()
        return [decode(body) for body in FrameReader().feed(data)]

    def pass_time(self, seconds: int, say: Message | None = None) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            if say is not None:
                self.connection.dataReceived(encode(say))

    def lose(self) -> None:
        self.connection.connectionLost(Failure(ConnectionDone()))


BEAT = Heartbeat(2, "", "")


def test_who_does_not_greet_in_time_is_cut_off() -> None:
    scene = Scene()
    scene.clock.advance(9.9)
    assert not scene.transport.aborted
    scene.clock.advance(0.2)
    assert scene.transport.aborted
    scene.lose()
    assert scene.reasons == ["no greeting in time"]
    assert not scene.clock.getDelayedCalls()


def test_signs_of_life_are_sent_at_the_pace_of_masters_or_of_nodes() -> None:
    for options, seconds in (({}, 2), ({"node": True}, 10)):
        scene = Scene().establish(**options)
        assert len(scene.said()) == 1
        scene.pass_time(3 * seconds, say=BEAT)
        assert len(scene.said()) == 3
        scene.lose()


def test_silence_ends_the_connection_and_any_word_counts_as_life() -> None:
    scene = Scene().establish()
    scene.pass_time(20, say=BEAT)
    scene.pass_time(6)
    assert not scene.transport.aborted
    scene.pass_time(2)
    assert scene.transport.aborted
    scene.lose()
    assert scene.reasons == ["silent for 6 s"]
    assert scene.connection.was_ended


def test_when_we_were_held_up_ourselves_the_other_side_gets_its_time() -> None:
    """After a suspended machine or a busy reactor, what the peer sent meanwhile is still unread."""
    scene = Scene().establish()
    scene.clock.advance(3600)
    assert not scene.transport.aborted
    scene.pass_time(8)
    assert scene.transport.aborted
    scene.lose()


def test_on_a_machine_that_is_always_late_a_silent_peer_is_given_up_all_the_same() -> None:
    """One silence is excused once: by the next beat, whatever had come was read."""
    scene = Scene().establish()
    for _ in range(3):
        scene.clock.advance(5)
    assert scene.transport.aborted
    scene.lose()
    alive = Scene().establish()
    for _ in range(10):
        alive.clock.advance(60)
        assert not alive.transport.aborted
        alive.connection.dataReceived(encode(BEAT))
    alive.lose()


def test_who_waits_for_an_answer_notices_silence_soon() -> None:
    scene = Scene().establish(node=True)
    scene.connection.expect()
    scene.connection.expect()
    scene.pass_time(5)
    assert not scene.transport.aborted
    scene.pass_time(2)
    assert scene.transport.aborted
    scene.lose()
    answered = Scene().establish(node=True)
    answered.connection.expect()
    answered.clock.advance(1)
    answered.connection.dataReceived(encode(BEAT))
    answered.pass_time(8)
    assert not answered.transport.aborted
    answered.lose()
    assert not answered.clock.getDelayedCalls()


def test_a_peer_that_does_not_read_is_not_written_to_and_given_up_in_the_end() -> None:
    scene = Scene().establish()
    producer = scene.transport.producer
    assert producer is not None
    scene.said()
    producer.pauseProducing()
    waiting = scene.connection.writable()
    scene.pass_time(59, say=BEAT)
    assert scene.said() == []
    assert not waiting.called
    scene.pass_time(4, say=BEAT)
    assert scene.transport.aborted
    scene.lose()
    assert waiting.called
    assert "has not read" in scene.reasons[0]


def test_writing_goes_on_when_the_peer_reads_again() -> None:
    scene = Scene().establish()
    scene.transport.producer.pauseProducing()
    waiting = scene.connection.writable()
    scene.transport.producer.resumeProducing()
    assert waiting.called
    assert scene.connection.writable().called
    scene.lose()


def test_messages_are_worked_on_one_by_one_and_only_some_are_taken_in() -> None:
    scene = Scene().establish()
    connection = scene.connection
    connection.gate = Deferred()
    questions = [Question({}, bool(number % 2)) for number in range(INBOX + 5)]
    connection.dataReceived(b"".join(map(encode, questions)))
    assert connection.got == []
    assert scene.transport.producerState == "paused"
    # While we do not read, the other side's silence is our doing.
    scene.pass_time(30)
    assert not scene.transport.aborted
    gate, connection.gate = connection.gate, None
    gate.callback(None)
    assert connection.got == questions
    assert scene.transport.producerState == "producing"
    scene.lose()


def test_signs_of_life_overtake_messages_and_count_only_when_the_peer_is_known() -> None:
    scene = Scene()
    scene.connection.handshakeCompleted()
    scene.connection.dataReceived(encode(BEAT))
    assert scene.connection.beats == []
    scene.connection.establish()
    scene.connection.gate = Deferred()
    scene.connection.dataReceived(encode(Question({}, True)) + encode(BEAT))
    assert scene.connection.beats == [BEAT]
    assert scene.connection.got == []
    scene.lose()


def test_long_frames_are_for_those_who_are_known() -> None:
    scene = Scene()
    announced = (MAXIMUM_FIRST_FRAME + 1).to_bytes(4, "big")
    scene.connection.dataReceived(announced)
    assert [type(message) for message in scene.said()] == [Refusal]
    assert scene.transport.disconnecting
    known = Scene().establish()
    known.connection.dataReceived(announced)
    assert not known.transport.disconnecting
    scene.lose()
    known.lose()


def test_after_the_end_nothing_is_read_or_written() -> None:
    scene = Scene().establish()
    scene.said()
    scene.connection.refuse("protocol", "why")
    assert scene.said() == [Refusal("protocol", "why")]
    scene.connection.dataReceived(encode(Question({}, True)))
    scene.connection.send(BEAT)
    scene.connection.send_frame(frame(b""))
    scene.connection.close("again")
    assert scene.said() == []
    assert scene.connection.got == []
    scene.clock.advance(PARTING + 0.1)
    assert scene.transport.aborted
    scene.lose()
    assert scene.reasons == ["why"]


def test_a_peer_s_fault_is_told_to_it_and_a_fault_of_ours_is_logged(logged_errors: Any) -> None:
    scene = Scene().establish()

    async def peer() -> None:
        raise PeerError("page 2 came where page 1 was due")

    async def ours() -> None:
        raise RuntimeError("a bug")

    scene.said()
    scene.connection.run(peer())
    assert scene.said() == [Refusal("protocol", "page 2 came where page 1 was due")]
    scene.lose()
    other = Scene().establish()
    other.connection.run(ours())
    assert other.transport.aborted
    assert len(logged_errors.flush(RuntimeError)) == 1
    other.lose()
    assert other.reasons == ["internal error"]


def test_jobs_end_with_the_connection() -> None:
    scene = Scene().establish()
    never: Deferred[None] = Deferred()
    ended: list[str] = []

    async def job() -> None:
        try:
            await never
        finally:
            ended.append("ended")

    scene.connection.run(job())
    scene.lose()
    assert ended == ["ended"]
    assert not scene.clock.getDelayedCalls()


@pytest.mark.parametrize("seconds", [4.0, 6.0])
def test_only_a_connection_that_stood_a_while_was_a_good_one(seconds: float) -> None:
    scene = Scene()
    assert not scene.connection.was_established
    scene.establish()
    scene.clock.advance(seconds)
    assert scene.connection.was_established
    assert scene.connection.was_steady == (seconds > TIMING.steady)
    scene.lose()
