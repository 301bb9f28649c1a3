"""What a daemon and its DNS processes say to each other: messages whole, descriptors carried, nonsense refused."""

import os
import resource
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.errors import MalformedError
from beonss.net.dns.worker_channel import LONGEST, Channel, channel_pair, decode, encode

FIELDS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != "is"),
    st.integers() | st.text(max_size=8) | st.booleans(),
    max_size=4,
)


@given(st.text(max_size=20), st.binary(max_size=200), FIELDS)
def test_what_is_said_is_understood(kind, payload, fields):
    assert decode(encode(kind, payload, fields)) == (kind, fields, payload)


@given(st.binary(max_size=300) | st.builds(lambda text: text.encode() + b"\n", st.from_regex(r'[\[{"is:\d,}\]]*')))
def test_any_bytes_are_a_message_or_malformed(data):
    try:
        kind, fields, _ = decode(data)
    except MalformedError:
        return
    assert isinstance(kind, str)
    assert isinstance(fields, dict)


def test_deep_nesting_is_malformed():
    with pytest.raises(MalformedError):
        decode(b'{"is":' + b"[" * 100_000 + b"\n")


def test_messages_keep_their_borders_and_carry_descriptors():
    ours, theirs = channel_pair()
    reader, writer = os.pipe()
    ours.send("one", b"payload\nwith lines", number=1)
    ours.send("two", b"", [writer])
    os.close(writer)
    one, two = theirs.receive(), theirs.receive()
    assert (one.kind, one.payload, one.number("number"), one.descriptors) == ("one", b"payload\nwith lines", 1, [])
    (carried,) = two.take()
    assert not os.get_inheritable(carried)
    os.write(carried, b"through")
    os.close(carried)
    assert os.read(reader, 10) == b"through"
    assert os.read(reader, 10) == b""
    os.close(reader)
    with pytest.raises(BlockingIOError):
        theirs.receive()
    ours.close()
    assert theirs.receive() is None
    theirs.close()


def test_what_nobody_takes_is_closed():
    ours, theirs = channel_pair()
    reader, writer = os.pipe()
    ours.send_bytes(b"no message at all", [writer])
    os.close(writer)
    with pytest.raises(MalformedError):
        theirs.receive()
    assert os.read(reader, 1) == b""
    os.close(reader)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("value", ["1", None, True, -1, 1 << 63, 1.0])
def test_a_number_is_a_number(value):
    ours, theirs = channel_pair()
    ours.send("x", n=value)
    with pytest.raises(MalformedError):
        theirs.receive().number("n")
    ours.close()
    theirs.close()


def test_a_message_that_is_too_long_is_malformed():
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * LONGEST)
    end = Channel(pair[1])
    pair[0].send(encode("x", bytes(LONGEST), {}))
    with pytest.raises(MalformedError, match="too long"):
        end.receive()
    end.close()
    pair[0].close()


def test_the_longest_connection_fits():
    ours, theirs = channel_pair()
    ours.send("connection", bytes(64 << 10))
    assert len(theirs.receive().payload) == 64 << 10
    ours.close()
    theirs.close()


def test_without_room_for_its_descriptors_a_message_comes_alone():
    ours, theirs = channel_pair()
    with open(os.devnull, "rb") as first, open(os.devnull, "rb") as second:  # noqa: PTH123
        ours.send("listen", b"payload", [first.fileno(), second.fileno()])
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # One descriptor is left.
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))
    try:
        message = theirs.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (message.kind, message.payload, message.descriptors) == ("listen", b"payload", [])
    again = os.open(os.devnull, os.O_RDONLY)
    os.close(again)
    assert again == free
    ours.close()
    theirs.close()
