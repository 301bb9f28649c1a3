"""MessagePack in, strictly and at bounded cost: plain values of the expected types, or MalformedError."""

from collections.abc import Mapping
from typing import Any

import msgpack

from beonss.errors import MalformedError

#: No array or map in a message has more items.
MAXIMUM_ITEMS = 1 << 17


def pack(value: Any) -> bytes:
    """Return the bytes of plain values (None, bool, int, str, bytes, list, dict); equal values give equal bytes.

    Text that came from bytes that are no UTF-8 survives as surrogate escapes.
    """
    packed = msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape")
    assert isinstance(packed, bytes)
    return packed


def unpack(data: bytes) -> Any:
    """Read one value.

    Raises:
        MalformedError: the bytes are no MessagePack, nest too deep, or go on after the value.
    """
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            unicode_errors="surrogateescape",
            strict_map_key=True,
            max_array_len=MAXIMUM_ITEMS,
            max_map_len=MAXIMUM_ITEMS,
            ext_hook=_no_extension,
        )
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException, RecursionError, MemoryError):
        raise MalformedError("bytes from a peer are no MessagePack value") from None


def _no_extension(_code: int, _data: bytes) -> Any:
    raise ValueError("extension types are not used here")


class Fields:
    """A map from outside, read field by field; a field that is not as it must be is a MalformedError."""

    __slots__ = ("_map", "_what")

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, dict):
            raise MalformedError(f"a {what} from a peer is no map")
        self._map: Mapping[Any, Any] = value
        self._what = what

    def _wrong(self, name: str) -> MalformedError:
        return MalformedError(f"field {name!r} of a {self._what} from a peer is missing, too large or has a wrong type")

    def number(self, name: str) -> int:
        """Return an integer from 0 to 2**63 - 1."""
        value = self._map.get(name)
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise self._wrong(name)
        return value

    def text(self, name: str, limit: int) -> str:
        """Return a text of at most ``limit`` characters."""
        value = self._map.get(name)
        if not isinstance(value, str) or len(value) > limit:
            raise self._wrong(name)
        return value

    def octets(self, name: str, limit: int) -> bytes:
        """Return at most ``limit`` bytes."""
        value = self._map.get(name)
        if not isinstance(value, bytes) or len(value) > limit:
            raise self._wrong(name)
        return value

    def optional_octets(self, name: str, limit: int) -> bytes:
        """Return at most ``limit`` bytes; none where the field is not there: the peer is older than it."""
        return b"" if name not in self._map else self.octets(name, limit)

    def flag(self, name: str) -> bool:
        """Return a truth value."""
        value = self._map.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name)
        return value

    def array(self, name: str, limit: int) -> list[Any]:
        """Return an array of at most ``limit`` items, each still unread."""
        value = self._map.get(name)
        if not isinstance(value, list) or len(value) > limit:
            raise self._wrong(name)
        return value

    def optional_words(self, name: str, count: int, limit: int) -> tuple[str, ...] | None:
        """Return at most ``count`` texts of at most ``limit`` characters; None where the field is not there."""
        if name not in self._map:
            return None
        words = self.array(name, count)
        if not all(isinstance(word, str) and len(word) <= limit for word in words):
            raise self._wrong(name)
        return tuple(words)

    def mapping(self, name: str) -> dict[str, Any]:
        """Return a map with text keys, its values still unread."""
        value = self._map.get(name)
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise self._wrong(name)
        return value

    def vector(self, name: str) -> dict[str, int]:
        """Return a map from incarnations (at most 64 characters) to sequence numbers."""
        return vector(self._map.get(name), self._what)

    def optional_vector(self, name: str) -> dict[str, int] | None:
        """Return a vector, or None where there is none."""
        return None if self._map.get(name) is None else self.vector(name)


def vector(value: Any, what: str) -> dict[str, int]:
    """Return a map from incarnations to sequence numbers.

    Raises:
        MalformedError: it is none.
    """
    if not isinstance(value, dict):
        raise MalformedError(f"a {what} from a peer carries no vector")
    for origin, sequence in value.items():
        if not isinstance(origin, str) or len(origin) > 64 or type(sequence) is not int or not 0 <= sequence < 1 << 63:
            raise MalformedError(f"a {what} from a peer carries a vector with a wrong entry")
    return value
