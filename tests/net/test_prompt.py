"""What is pushed is with the kernel at once; what it does not take, errors and endings stay the reactor's."""

import socket
from collections.abc import Iterator

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.testing import MemoryReactor, StringTransport

from beonss.net.prompt import push, write_now


class Watching(MemoryReactor):
    """Knows who waits to write."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: set[object] = set()

    def addWriter(self, writer: object) -> None:
        self.waiting.add(writer)

    def removeWriter(self, writer: object) -> None:
        self.waiting.discard(writer)


class Pipe(FileDescriptor):
    """A transport over a socket that takes so many bytes at once."""

    connected = True

    def __init__(self, reactor: Watching, end: socket.socket) -> None:
        super().__init__(reactor)  # type: ignore[arg-type]
        self.end = end
        self.takes = 1 << 20
        self.broken = False

    def writeSomeData(self, data: bytes) -> int | BaseException:
        return CONNECTION_LOST if self.broken else self.end.send(data[: self.takes])


class Around:
    """What TLS is to a socket's transport."""

    def __init__(self, transport: object) -> None:
        self.transport = transport


@pytest.fixture
def ends() -> Iterator[tuple[Watching, Pipe, socket.socket]]:
    here, there = socket.socketpair()
    there.setblocking(False)
    reactor = Watching()
    with here, there:
        yield reactor, Pipe(reactor, here), there


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_was_written_is_sent_at_once(ends: tuple[Watching, Pipe, socket.socket], wrapped: bool) -> None:
    reactor, pipe, there = ends
    pipe.write(b"page")
    push(Around(pipe) if wrapped else pipe)
    assert there.recv(100) == b"page"
    assert not reactor.waiting


def test_what_the_kernel_does_not_take_waits_for_the_reactor(ends: tuple[Watching, Pipe, socket.socket]) -> None:
    reactor, pipe, there = ends
    pipe.takes = 3
    pipe.write(b"page")
    push(pipe)
    assert there.recv(100) == b"pag"
    assert reactor.waiting == {pipe}
    assert pipe.doWrite() is None
    assert there.recv(100) == b"e"


def test_a_broken_connection_is_left_for_the_reactor_to_find(ends: tuple[Watching, Pipe, socket.socket]) -> None:
    reactor, pipe, _ = ends
    pipe.broken = True
    pipe.write(b"page")
    push(pipe)
    assert reactor.waiting == {pipe}
    assert pipe.doWrite() is CONNECTION_LOST


def test_a_connection_that_closes_is_closed_by_the_reactor(ends: tuple[Watching, Pipe, socket.socket]) -> None:
    """The last write also says that the connection is over; pushed, nobody would hear it."""
    reactor, pipe, there = ends
    pipe.write(b"bye")
    pipe.loseConnection()
    push(pipe)
    assert reactor.waiting == {pipe}
    assert isinstance(pipe.doWrite(), ConnectionDone)
    assert there.recv(100) == b"bye"


def test_other_transports_are_left_alone() -> None:
    transport = StringTransport()
    transport.write(b"page")
    push(transport)
    push(None)
    assert transport.value() == b"page"


def test_an_answer_goes_out_without_the_reactor_hearing_of_it(ends: tuple[Watching, Pipe, socket.socket]) -> None:
    reactor, pipe, there = ends
    heard: list[object] = []
    reactor.addWriter = heard.append  # type: ignore[method-assign]
    write_now(pipe, b"answer")
    assert there.recv(100) == b"answer"
    assert not heard


def test_an_answer_comes_after_what_was_written_before(ends: tuple[Watching, Pipe, socket.socket]) -> None:
    _, pipe, there = ends
    pipe.write(b"event ")
    write_now(pipe, b"answer")
    assert there.recv(100) == b"event answer"
    pipe.takes = 3
    write_now(pipe, b"first ")
    write_now(pipe, b"second")
    while pipe.dataBuffer:
        pipe.doWrite()
    assert there.recv(100) == b"first second"


def test_an_answer_into_a_broken_connection_is_left_for_the_reactor(ends: tuple[Watching, Pipe, socket.socket]) -> None:
    reactor, pipe, _ = ends
    pipe.broken = True
    write_now(pipe, b"answer")
    assert reactor.waiting == {pipe}
    assert pipe.doWrite() is CONNECTION_LOST
    other = StringTransport()
    write_now(other, b"answer")
    assert other.value() == b"answer"
