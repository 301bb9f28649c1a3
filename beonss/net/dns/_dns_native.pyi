"""Names and DNS answers, compiled; see native/module.c. Absent where it was not built."""

VERSION: int

class Core:
    """Names and plain DNS answers out of an image (beonss.wire.name_image)."""

    def __new__(cls, image: bytes, identity: bytes = b"", networks: bytes = b"") -> Core:
        """Raise ValueError when the image or the list of client networks is not sound."""

    def answer(self, packet: bytes, tcp: bool = False, recursion: bool = False, /) -> bytes | None:
        """Return the reply to a query, None where Python must answer."""

    def answer_stream(self, data: bytes | bytearray, start: int, recursion: bool = False, /) -> tuple[int, bytes]:
        """Answer complete messages of a TCP stream; return (bytes taken, replies with their lengths)."""

    def drain(self, fd: int, budget: int, /) -> tuple[list[tuple[bytes, tuple[str, int]]], int]:
        """Answer datagrams; return what Python must answer, and the errno of a reply that was not sent."""

    def sample(self, every: int, seed: int = 1, /) -> bool:
        """Take one of ``every`` queries that :meth:`drain` answers, none with 0; return whether this system can."""

    def samples(self) -> tuple[list[tuple[bytes, tuple[str, int], bytes, int, int]], int]:
        """Return (query, peer, beginning of the reply, its size, microseconds) of those taken; how many were not."""

    def counts(self) -> tuple[int, int, int, tuple[int, ...]]:
        """Return (answered over UDP, over TCP, not sent, (replies by RCODE))."""

    def find(self, label: bytes, /) -> tuple[bytes, list[bytes]] | None:
        """Return (canonical name, packed addresses) of a lower-case short name."""

    def find_address(self, packed: bytes, /) -> tuple[bytes, list[bytes]] | None:
        """Return (canonical name, packed addresses) of what has an address."""
