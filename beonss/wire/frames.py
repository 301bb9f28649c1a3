"""Frames: four bytes of length, big-endian, then so many bytes."""

from collections.abc import Iterator

from beonss.errors import MalformedError

#: No frame is longer.
MAXIMUM_FRAME = 4 << 20
#: Until the other side is known it may not send longer ones; the largest member list and all acceptances fit.
MAXIMUM_FIRST_FRAME = 512 << 10
LENGTH_BYTES = 4


def frame(body: bytes) -> bytes:
    """Return ``body`` with its length before it.

    Raises:
        ValueError: it is longer than a frame may be.
    """
    if len(body) > MAXIMUM_FRAME:
        raise ValueError(f"{len(body)} bytes do not fit into a frame of {MAXIMUM_FRAME}")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


class FrameReader:
    """Cut a stream into frames.

    Attributes:
        limit: longest frame allowed, bytes; raised when the other side is known.
    """

    def __init__(self, limit: int = MAXIMUM_FIRST_FRAME) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add bytes and return the frames that are complete, without their length.

        Raises:
            MalformedError: a frame longer than the limit was announced; nothing after it is read.
        """
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= LENGTH_BYTES:
                length = int.from_bytes(self._buffer[start : start + LENGTH_BYTES], "big")
                if length > self.limit:
                    raise MalformedError(f"a frame of {length} bytes was announced, {self.limit} are allowed")
                end = start + LENGTH_BYTES + length
                if len(self._buffer) < end:
                    break
                frame = bytes(self._buffer[start + LENGTH_BYTES : end])
                start = end
                yield frame
        finally:
            del self._buffer[:start]
