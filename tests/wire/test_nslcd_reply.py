"""Bytes of nslcd answers, field by field, read back by the rules of nslcd.h."""

import struct
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from beonss.core.accounts.entries import UserEntry
from beonss.core.accounts.lookup import Ether, Host, Shadow, Triple
from beonss.wire import nslcd_reply as reply
from beonss.wire.nslcd import Action


class Answer:
    """Reads an answer as the C modules do."""

    def __init__(self, data):
        self.data = data

    def take(self, size):
        piece, self.data = self.data[:size], self.data[size:]
        assert len(piece) == size
        return piece

    def i(self):
        return struct.unpack(">i", self.take(4))[0]

    def s(self):
        return self.take(self.i())

    def all(self, spec):
        """Read by a specification: i number, s string, l list of strings, m Ethernet address."""
        values = []
        for kind in spec:
            if kind == "l":
                values.append([self.s() for _ in range(self.i())])
            else:
                values.append({"i": self.i, "s": self.s, "m": lambda: self.take(6)}[kind]())
        assert self.data == b""
        return values


def test_the_header_repeats_the_action():
    assert reply.header(Action.PASSWD_ALL) == bytes.fromhex("00000002 00080008")


def test_passwd_has_no_hash():
    user = UserEntry("alice", 2**32 - 2, 5000, "Alice", "/home/alice", "/bin/sh")
    fields = Answer(reply.encode_passwd(user)).all("issiisss")
    assert fields == [1, b"alice", b"*", -2, 5000, b"Alice", b"/home/alice", b"/bin/sh"]


def test_a_field_cannot_forge_an_entry():
    user = UserEntry("eve", 5001, 5000, "x\nroot2::0:0:\0", "/", "/bin/sh")
    assert Answer(reply.encode_passwd(user)).all("issiisss")[5] == b"x root2  0 0  "


@given(st.text(), st.text())
def test_any_text_can_be_answered(gecos, home):
    Answer(reply.encode_passwd(UserEntry("a", 1, 1, gecos, home, ""))).all("issiisss")


def test_half_a_character_is_replaced():
    assert Answer(reply.encode_passwd(UserEntry("a", 1, 1, "x\ud800y", "/", ""))).all("issiisss")[5] == b"x?y"


def test_old_bytes_survive():
    user = UserEntry("a", 1, 1, b"Z\xfcrich".decode("utf-8", "surrogateescape"), "/", "")
    assert Answer(reply.encode_passwd(user)).all("issiisss")[5] == b"Z\xfcrich"


def test_group_and_its_members():
    assert Answer(reply.encode_group("g", 7, ["a", "b"])).all("issil") == [1, b"g", b"*", 7, [b"a", b"b"]]


def test_a_group_too_large_for_an_enumeration_is_cut_to_what_the_module_can_hold():
    members = [f"ü{n:07}" for n in range(200_000)]
    kept = reply.fitting_members(members)
    assert kept == members[: len(kept)]
    size = len(reply.encode_group("g", 7, kept))
    assert reply.MAXIMUM_ENTRY - 2048 < size <= reply.MAXIMUM_ENTRY
    few = members[:1000]
    assert reply.fitting_members(few) is few
    nearly = members[: len(kept)]
    assert reply.fitting_members(nearly) is nearly


def test_shadow_has_minus_one_for_empty_fields():
    entry = Shadow("alice", "$6$x", 20000, None, 99999, 7, None, None)
    fields = Answer(reply.encode_shadow(entry)).all("issiiiiiii")
    assert fields == [1, b"alice", b"$6$x", 20000, -1, 99999, 7, -1, -1, -1]
    assert "$6$x" not in repr(entry)


def test_shadow_clamps_what_the_protocol_cannot_hold():
    entry = Shadow("a", "*", 2**40, -5, None, None, None, None)
    assert Answer(reply.encode_shadow(entry)).all("issiiiiiii")[3:5] == [2**31 - 1, -1]


def test_host_has_both_families():
    host = Host("frodo.fellow", ("frodo",), (IPv4Address("10.5.0.1"), IPv6Address("fd00::1")))
    fields = Answer(reply.encode_host(host)).all("isliiiiiiiiii")
    assert fields[:6] == [1, b"frodo.fellow", [b"frodo"], 2, 2, 4]
    assert fields[7:9] == [10, 16]


def test_ether():
    assert Answer(reply.encode_ether(Ether("s", bytes(range(6))))).all("ism") == [1, b"s", bytes(range(6))]


def test_netgroup():
    data = reply.encode_netgroup("cluster") + reply.encode_triple(Triple("n0")) + reply.NETGROUP_END + reply.END
    assert Answer(data).all("isisssii") == [1, b"cluster", 2, b"n0", b"", b"", 3, 2]


def test_pam_answers():
    data = reply.encode_authentication(0, "alice", 12, "change it") + reply.END
    assert Answer(data).all("iisisi") == [1, 0, b"alice", 12, b"change it", 2]
    assert Answer(reply.encode_verdict(13, "no")).all("iis") == [1, 13, b"no"]
    assert Answer(reply.encode_session("x")).all("is") == [1, b"x"]
    assert Answer(reply.encode_option("")).all("is") == [1, b""]
    assert Answer(reply.encode_refused_change("no")).all("iisi") == [1, 1, b"no", 0]


@given(st.text(min_size=300, max_size=3000))
def test_a_message_fits_the_modules_buffer_and_stays_utf8(text):
    raw = Answer(reply.encode_option(text)).all("is")[1]
    assert len(raw) <= 1023
    raw.decode("utf-8")
