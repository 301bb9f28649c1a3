"""The fixed layouts and bits of DNS messages, shared by reader and writer (RFC 1035 section 4.1, RFC 6891)."""

from struct import Struct
from typing import Final

from beonss.core.zones.records import RecordType

#: Id, flags, and the number of questions, answers, authorities and additionals.
HEADER: Final = Struct("!HHHHHH")
#: Type, class, TTL and data length: what follows a record's owner.
FIXED: Final = Struct("!HHIH")
#: Two 16-bit numbers: type and class of a question; code and length of an EDNS option.
PAIR: Final = Struct("!HH")

# Bits of the second header word (RFC 1035 section 4.1.1).
RESPONSE: Final = 0x8000
OPCODE: Final = 0x7800
AUTHORITATIVE: Final = 0x0400
TRUNCATED: Final = 0x0200
RECURSION_DESIRED: Final = 0x0100
RECURSION_AVAILABLE: Final = 0x0080
AUTHENTIC: Final = 0x0020
CHECKING_DISABLED: Final = 0x0010

#: DO among the flags of an OPT record (RFC 3225).
DNSSEC_OK: Final = 0x8000

# EDNS option codes that mean something to us (RFC 5001, RFC 8914).
OPTION_NSID: Final = 3
OPTION_REASON: Final = 15

#: What a client without EDNS can take over UDP, bytes (RFC 1035 section 4.2.1).
CLASSIC_LIMIT: Final = 512
#: What we send over UDP at most and say that we take, bytes (RFC 9715 section 3.2).
UDP_LIMIT: Final = 1232
#: What a length of two bytes can tell (RFC 1035 section 4.2.2).
TCP_LIMIT: Final = 65535

# An OPT record up to its TTL: the root, type 41, and our UDP payload size in place of a class.
_OPT = Struct("!BHHBBHH")


def opt_record(code: int, options: bytes = b"") -> bytes:
    """Return the OPT record of a reply: version 0 and no flags, whatever the client had set.

    Args:
        code: the RCODE, of which the upper eight bits go here.
        options: EDNS options, ready to send.
    """
    return _OPT.pack(0, RecordType.OPT, UDP_LIMIT, code >> 4, 0, 0, len(options)) + options
