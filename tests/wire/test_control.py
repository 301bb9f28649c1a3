"""The control protocol: what goes over the wire comes back, and arbitrary bytes raise MalformedError at most."""

import collections
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.errors import MalformedError
from beonss.wire.control import (
    End,
    Event,
    LineBuffer,
    Request,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
    secret_parameter,
    secret_text,
    text_parameter,
)

names = st.text(min_size=1, max_size=64)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
parameters = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name not in {"op", "event", "end", "code", "message"}), values, max_size=4
)


def lines_of(data: bytes) -> list[bytes]:
    return LineBuffer().feed(data)


@given(names, parameters)
def test_a_request_survives_the_wire(name, data):
    request = Request(name, data)
    (line,) = lines_of(encode_request(request))
    assert decode_request(line) == request


@given(names, st.text(), parameters)
def test_replies_survive_the_wire(name, message, data):
    for reply in (Event(name, data), End(name, message, data)):
        (line,) = lines_of(encode_reply(reply))
        assert decode_reply(line) == reply


jsonish = values.map(lambda value: json.dumps(value).encode())


@given(st.binary(max_size=200) | jsonish | st.builds(lambda a, b: a[: len(a) // 2] + b, jsonish, st.binary(max_size=9)))
def test_arbitrary_lines_parse_or_raise_malformed(line):
    for decode in (decode_request, decode_reply):
        with contextlib.suppress(MalformedError):
            decode(line)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"op":""}',
        b'{"op":7}',
        b'{"op":"' + b"x" * 65 + b'"}',
        b'{"op":"x","n":NaN}',
        b"[" * 100_000,
        b'{"op":"x","n":' + b"9" * 5000 + b"}",
        b'{"op":"\xff"}',
    ],
)
def test_bad_requests_are_malformed(line):
    with pytest.raises(MalformedError):
        decode_request(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"event":1}',
        b'{"end":[]}',
        b'{"end":{}}',
        b'{"end":{"code":"ok"},"event":"x"}',
        b'{"end":{"code":"ok","message":1}}',
    ],
)
def test_bad_replies_are_malformed(line):
    with pytest.raises(MalformedError):
        decode_reply(line)


def test_reserved_names_are_refused_when_encoding():
    for build in (
        lambda: encode_request(Request("x", {"op": "y"})),
        lambda: encode_reply(Event("x", {"end": 1})),
        lambda: encode_reply(Event("x", {"event": 1})),
        lambda: encode_reply(End("ok", "", {"code": 1})),
        lambda: encode_request(Request("x", {"n": float("nan")})),
        lambda: encode_request(Request("x", {"n": "y" * (8 * 1024 * 1024)})),
    ):
        with pytest.raises(ValueError):
            build()


def test_no_repr_shows_what_is_inside():
    for value in (Request("x", {"new": "s3cret"}), Event("x", {"a": "s3cret"}), End("ok", "", {"a": "s3cret"})):
        assert "s3cret" not in repr(value)


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_come_out_whole_however_the_bytes_are_cut(lines, data):
    stream = b"".join(line + b"\n" for line in lines) + b"rest"
    buffer, found = LineBuffer(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += buffer.feed(stream[:cut])
        stream = stream[cut:]
    assert found == lines
    assert len(buffer) == len(b"rest")


@pytest.mark.parametrize("pieces", [[b"x" * 11], [b"x" * 6, b"y" * 6], [b"x" * 11 + b"\n"], [b"ok\n" + b"x" * 11]])
def test_a_line_over_the_limit_is_refused_and_dropped(pieces):
    buffer = LineBuffer(limit=10)
    with pytest.raises(MalformedError):
        collections.deque(map(buffer.feed, pieces))
    assert len(buffer) == 0


@given(st.binary(max_size=512))
def test_any_bytes_can_be_a_secret(secret):
    request = decode_request(encode_request(Request("x", {"new": secret_text(secret)})).rstrip(b"\n"))
    assert secret_parameter(request.parameters, "new") == secret


@given(values | st.text(alphabet=st.characters(categories=["Cs"]), min_size=1))
def test_arbitrary_secret_parameters_are_bytes_or_malformed(value):
    with contextlib.suppress(MalformedError):
        secret = secret_parameter({"old": value}, "old")
        assert secret is None or isinstance(secret, bytes)


def test_a_secret_that_is_no_bytes_leaves_no_trace_of_itself_in_the_error():
    with pytest.raises(MalformedError) as caught:
        secret_parameter({"old": "s3cret\ud800"}, "old")
    assert caught.value.__context__ is None
    assert "s3cret" not in str(caught.value)


def test_secrets_over_512_bytes_are_malformed():
    for value in ("x" * 513, "é" * 257):
        with pytest.raises(MalformedError):
            secret_parameter({"new": value}, "new")
    assert secret_parameter({}, "new") is None


@pytest.mark.parametrize("value", [None, "", 7, ["alice"], "x" * 257])
def test_a_text_parameter_must_be_a_short_text(value):
    with pytest.raises(MalformedError):
        text_parameter({"user": value}, "user")
    assert text_parameter({"user": "alice"}, "user") == "alice"
