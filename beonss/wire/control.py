r"""The local control protocol: bytes to requests and replies, and back.

``cpasswd`` and the ``beonss`` command speak it to the daemon of their own machine over a UNIX socket
(``/run/beonss/control``). One JSON object per line, UTF-8, ``\n`` at the end, at most :data:`MAX_LINE` bytes.

A request names an operation; its other members are the parameters::

    {"op": "change-password", "user": "alice", "old": "...", "new": "..."}

The answer is any number of events, as each thing becomes known, and exactly one end::

    {"event": "line", "name": "frodo", "state": "changed"}
    {"end": {"code": "ok", "message": "changed everywhere"}}

``code`` is ``ok`` or a stable word that says why not. After the end the client may send its next request on the
same connection. Who asks is never in the message: the daemon takes it from the socket (SO_PEERCRED, unix(7)).

Secrets are byte strings; they travel as JSON text in which bytes that are not UTF-8 are surrogate escapes
(:func:`secret_text`). Requests and replies show none of their contents in a ``repr``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from beonss.errors import MalformedError

#: The longest line, in bytes, either side accepts: a chunk of an import fits, a flood does not.
MAX_LINE = 8 * 1024 * 1024
#: The longest secret in bytes; libcrypt hashes no more than 512 (crypt(3), CRYPT_MAX_PASSPHRASE_SIZE).
MAX_SECRET = 512
#: The longest operation or event name, in characters.
MAX_NAME = 64

OK = "ok"


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for: an operation and its parameters, which may be secrets."""

    operation: str
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that became known while an operation runs."""

    name: str
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class End:
    """The last word about a request.

    Attributes:
        code: ``ok``, or a stable word that says why not.
        message: for people.
        data: results of the operation.
    """

    code: str
    message: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)


class LineBuffer:
    r"""Cuts a stream of bytes into lines; keeps at most one unfinished line of ``limit`` bytes."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._held = bytearray()
        self._searched = 0

    def __len__(self) -> int:
        """Return how many bytes wait for the end of their line."""
        return len(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        r"""Add bytes; return the lines they complete, without their ``\n``.

        Raises:
            MalformedError: a line is longer than the limit. What was held is dropped.
        """
        self._held += data
        lines: list[bytes] = []
        start = 0
        while (end := self._held.find(b"\n", max(start, self._searched))) >= 0:
            if end - start > self._limit:
                self._drop()
            lines.append(bytes(self._held[start:end]))
            start = end + 1
        del self._held[:start]
        self._searched = len(self._held)
        if len(self._held) > self._limit:
            self._drop()
        return lines

    def _drop(self) -> None:
        self._held.clear()
        self._searched = 0
        raise MalformedError(f"a line on the control socket is longer than {self._limit} bytes")


def encode_request(request: Request) -> bytes:
    """Return the line of a request.

    Raises:
        ValueError: a parameter is called ``op``, or is nothing JSON can say.
    """
    if "op" in request.parameters:
        raise ValueError("a parameter may not be called 'op'")
    return _line({"op": request.operation, **request.parameters})


def encode_reply(reply: Event | End) -> bytes:
    """Return the line of an event or an end.

    Raises:
        ValueError: the data uses a name that the protocol needs, or is nothing JSON can say.
    """
    if isinstance(reply, Event):
        if "event" in reply.data or "end" in reply.data:
            raise ValueError("the data of an event may not be called 'event' or 'end'")
        return _line({"event": reply.name, **reply.data})
    if "code" in reply.data or "message" in reply.data:
        raise ValueError("the data of an end may not be called 'code' or 'message'")
    return _line({"end": {"code": reply.code, "message": reply.message, **reply.data}})


def decode_request(line: bytes) -> Request:
    """Read the line of a request.

    Raises:
        MalformedError: it is none. The text quotes nothing of the line, which may hold a secret.
    """
    raw = _object(line)
    return Request(_name(raw.pop("op", None), "op"), raw)


def decode_reply(line: bytes) -> Event | End:
    """Read the line of an event or an end.

    Raises:
        MalformedError: it is neither.
    """
    raw = _object(line)
    if "end" not in raw:
        return Event(_name(raw.pop("event", None), "event"), raw)
    end = raw["end"]
    if len(raw) != 1 or not isinstance(end, dict):
        raise MalformedError("the end of an answer on the control socket is no object, or has company")
    message = end.pop("message", "")
    if not isinstance(message, str):
        raise MalformedError("the message at the end of an answer on the control socket is no text")
    return End(_name(end.pop("code", None), "code"), message, end)


def secret_text(secret: bytes) -> str:
    """Return a secret as the text that stands for it in a message."""
    return secret.decode("utf-8", "surrogateescape")


def secret_parameter(parameters: Mapping[str, Any], name: str) -> bytes | None:
    """Return the secret bytes of a parameter, or None if it is absent or null.

    Raises:
        MalformedError: it is no text, longer than :data:`MAX_SECRET` bytes, or no encoding of bytes.
    """
    value = parameters.get(name)
    if value is None:
        return None
    try:
        # A secret's text is at most one character per byte: do not encode megabytes to find that out.
        secret = (
            value.encode("utf-8", "surrogateescape") if isinstance(value, str) and len(value) <= MAX_SECRET else None
        )
    except UnicodeEncodeError:
        secret = None
    if secret is None or len(secret) > MAX_SECRET:
        # "from None" above all: the exception holds the text it could not encode.
        raise MalformedError(f"parameter {name!r} is no text of at most {MAX_SECRET} bytes") from None
    return secret


def text_parameter(parameters: Mapping[str, Any], name: str, limit: int = 256) -> str:
    """Return a parameter that has to be a non-empty text of at most ``limit`` characters.

    Raises:
        MalformedError: it is not.
    """
    value = parameters.get(name)
    if not isinstance(value, str) or not value or len(value) > limit:
        raise MalformedError(f"parameter {name!r} is missing, or no text of at most {limit} characters")
    return value


def _line(value: Mapping[str, Any]) -> bytes:
    try:
        line = _ENCODER.encode(value).encode("ascii") + b"\n"
    except (TypeError, RecursionError) as error:
        raise ValueError(f"a message for the control socket is nothing JSON can say: {error}") from None
    if len(line) > MAX_LINE:
        raise ValueError(f"a message for the control socket is longer than {MAX_LINE} bytes")
    return line


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = _DECODER.decode(str(line, "utf-8"))
    except (ValueError, RecursionError):
        raise MalformedError("a line on the control socket is no JSON") from None
    if not isinstance(value, dict):
        raise MalformedError("a line on the control socket is no JSON object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and the infinities are not JSON (RFC 8259 section 6)


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _name(value: object, member: str) -> str:
    if not isinstance(value, str) or not value or len(value) > MAX_NAME:
        raise MalformedError(f"member {member!r} of a line on the control socket is missing or no short text")
    return value
