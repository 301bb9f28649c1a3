"""Reading queries: what is taken, what is refused and how, and at what cost."""

from struct import pack

import dns.flags
import dns.message
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from beonss.core.zones.records import ReplyCode
from beonss.errors import MalformedError
from beonss.wire import dns_query
from beonss.wire.dns import UnreadableError, read_query

QUESTION = b"\6r01n07\6fellow\4aero\3org\0\0\1\0\1"
OPT = b"\0\0\x29\4\xd0\0\0\0\0\0\0"


def packet(question=QUESTION, *more, flags=0x0100, counts=(1, 0, 0, 0), id_=0x1234):
    return pack("!HHHHHH", id_, flags, *counts) + question + b"".join(more)


def opt(payload=1232, ttl=0, data=b"", name=b"\0"):
    return name + pack("!HHIH", 41, payload, ttl, len(data)) + data


def refused(wire):
    """Return the reply to a query that must be refused, as dnspython reads it."""
    with pytest.raises(UnreadableError) as caught:
        read_query(wire)
    assert caught.value.reply is not None
    reply = dns.message.from_wire(caught.value.reply)
    assert reply.id == 0x1234
    assert reply.flags & dns.flags.QR
    assert not reply.answer
    return reply


def test_a_plain_query():
    query = read_query(packet())
    assert (query.id, query.name, query.type, query.class_) == (0x1234, (b"r01n07", b"fellow", b"aero", b"org"), 1, 1)
    assert query.question == QUESTION
    assert query.edns is None
    assert query.udp_limit == 512
    assert query.recursion_desired
    assert query.text == "r01n07.fellow.aero.org"


@pytest.mark.parametrize(("payload", "limit"), [(0, 512), (600, 600), (65535, 65535)])
def test_a_query_with_opt(payload, limit):
    query = read_query(packet(QUESTION, opt(payload, data=b"\0\3\0\0\0\x0a\0\2xy"), counts=(1, 0, 0, 1)))
    assert query.udp_limit == limit
    assert query.edns.options == {3, 10}
    assert query.edns.version == 0


def test_the_last_option_may_be_empty():
    """A request for NSID is just that."""
    assert read_query(packet(QUESTION, opt(data=b"\0\3\0\0"), counts=(1, 0, 0, 1))).edns.options == {3}


def test_a_later_version_is_not_judged_by_its_options():
    query = read_query(packet(QUESTION, opt(ttl=1 << 16, data=b"\1"), counts=(1, 0, 0, 1)))
    assert query.edns.version == 1


def test_the_longest_name_and_the_root():
    longest = (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"y" * 61 + b"\0"
    assert len(longest) == 255
    assert len(read_query(packet(longest + b"\0\1\0\1")).name) == 4
    assert read_query(packet(b"\0\0\2\0\1")).name == ()
    assert len(read_query(packet(b"\1a" * 127 + b"\0\0\1\0\1")).name) == 127


@pytest.mark.parametrize(
    "wire", [b"", b"x", packet()[:11], packet(flags=0x8000), packet(flags=0x8180), packet(flags=0xFFFF)]
)
def test_no_reply_to_what_is_too_short_or_a_reply(wire):
    with pytest.raises(UnreadableError) as caught:
        read_query(wire)
    assert caught.value.reply is None


@pytest.mark.parametrize("opcode", [1, 2, 3, 4, 5, 6, 15])
def test_another_operation_is_not_implemented(opcode):
    """The question and OPT come back where there are some, and nothing is asked of the rest."""
    zone = QUESTION[:-4] + b"\0\6\0\1"
    reply = refused(packet(zone, opt(), flags=opcode << 11, counts=(1, 0, 0, 1)))
    assert (reply.rcode(), reply.opcode(), len(reply.question), reply.edns) == (ReplyCode.NOTIMP, opcode, 1, 0)
    with pytest.raises(UnreadableError) as caught:
        read_query(packet(b"garbage", flags=opcode << 11, counts=(9, 9, 9, 9)))
    assert caught.value.reply == pack("!HHHHHH", 0x1234, 0x8000 | opcode << 11 | 4, 0, 0, 0, 0)


FAULTS = {
    "no question": packet(b"", counts=(0, 0, 0, 0)),
    "two questions": packet(QUESTION, QUESTION, counts=(2, 0, 0, 0)),
    "65535 questions": packet(counts=(65535, 0, 0, 0)),
    "name of 256 bytes": packet((b"\x3f" + b"x" * 63) * 3 + b"\x3e" + b"y" * 62 + b"\0\0\1\0\1"),
    "128 labels": packet(b"\1a" * 128 + b"\0\0\1\0\1"),
    "label type 01": packet(b"\x41" + b"x" * 65 + b"\0\0\1\0\1"),
    "label type 10": packet(b"\x80" + b"x" * 65 + b"\0\0\1\0\1"),
    "label cut short": packet(b"\6r01"),
    "name cut short": packet(b"\6r01n07"),
    "no name": packet(b""),
    "question cut short": packet(QUESTION[:-1]),
    "pointer to itself": packet(b"\xc0\x0c\0\1\0\1"),
    "pointer forwards": packet(b"\xc0\x0e\0\0\1\0\1"),
    "pointer into the header": packet(b"\xc0\x04\0\1\0\1"),
    "pointer back into the same name": packet(b"\1a\xc0\x0c\0\1\0\1"),
    "pointer cut short": packet(b"\xc0"),
}
FAULTS_AFTER_THE_QUESTION = {
    "trailing byte": packet(QUESTION, b"\0"),
    "an answer": packet(QUESTION, b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4abcd", counts=(1, 1, 0, 0)),
    "an authority": packet(QUESTION, b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4abcd", counts=(1, 0, 1, 0)),
    "many additionals": packet(QUESTION, *[b"\0\0\1\0\1\0\0\0\0\0\0"] * 5, counts=(1, 0, 0, 5)),
    "announced but absent": packet(QUESTION, counts=(1, 0, 0, 1)),
    "record cut short": packet(QUESTION, b"\0\0\1\0\1\0\0", counts=(1, 0, 0, 1)),
    "data cut short": packet(QUESTION, b"\0\0\1\0\1\0\0\0\0\0\4abc", counts=(1, 0, 0, 1)),
    "owner points forwards": packet(QUESTION, b"\xc0\xff\0\1\0\1\0\0\0\0\0\0", counts=(1, 0, 0, 1)),
    "owner points into the header": packet(QUESTION, b"\xc0\0\0\1\0\1\0\0\0\0\0\0", counts=(1, 0, 0, 1)),
}
FAULTS_OF_OPT = {
    "two OPTs": packet(QUESTION, OPT, OPT, counts=(1, 0, 0, 2)),
    "OPT in authority": packet(QUESTION[:-4] + b"\0\xfb\0\1", OPT, counts=(1, 0, 1, 0)),
    "OPT not at the root": packet(QUESTION, opt(name=b"\1x\0"), counts=(1, 0, 0, 1)),
    "OPT of a pointer": packet(QUESTION, opt(name=b"\xc0\x0c"), counts=(1, 0, 0, 1)),
    "option cut short": packet(QUESTION, opt(data=b"\0\3\0"), counts=(1, 0, 0, 1)),
    "option data cut short": packet(QUESTION, opt(data=b"\0\3\0\5abcd"), counts=(1, 0, 0, 1)),
    "OPT data cut short": packet(QUESTION, opt(data=b"\0\3\0\0")[:-1], counts=(1, 0, 0, 1)),
    "bytes after OPT": packet(QUESTION, OPT, b"x", counts=(1, 0, 0, 1)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_question_is_formerr_without_one(fault):
    reply = refused(FAULTS[fault])
    assert (reply.rcode(), len(reply.question), reply.edns) == (ReplyCode.FORMERR, 0, -1)
    assert reply.flags & dns.flags.RD


@pytest.mark.parametrize("fault", FAULTS_AFTER_THE_QUESTION)
def test_what_is_bad_behind_the_question_is_formerr_with_it(fault):
    reply = refused(FAULTS_AFTER_THE_QUESTION[fault])
    assert (reply.rcode(), len(reply.question), reply.edns) == (ReplyCode.FORMERR, 1, -1)


@pytest.mark.parametrize("fault", FAULTS_OF_OPT)
def test_what_is_bad_about_opt_is_formerr_with_opt(fault):
    reply = refused(FAULTS_OF_OPT[fault])
    assert (reply.rcode(), len(reply.question), reply.edns) == (ReplyCode.FORMERR, 1, 0)


def test_ixfr_may_bring_its_soa():
    question = QUESTION[:-4] + b"\0\xfb\0\1"
    soa = b"\xc0\x0c\0\6\0\1\0\0\0\0\0\x16\0\0" + b"\0" * 20
    assert read_query(packet(question, soa, counts=(1, 0, 1, 0))).type == 251


def test_a_signature_that_is_malformed_or_not_last_is_refused():
    """RFC 8945 section 5.1: TSIG is the last record, of class ANY; SIG(0) means nothing to us."""
    tsig = b"\3key\xc0\x13\0\xfa\0\xff\0\0\0\0\0\2ab"
    whole = b"\3key\0\0\xfa\0\xff\0\0\0\0\0\x1d\x0bhmac-sha256\0" + bytes(16)
    assert read_query(packet(QUESTION, whole, counts=(1, 0, 0, 1))).signature is not None
    for wrong in (tsig, whole.replace(b"\0\xff", b"\0\1"), whole[:-1] + b"\1"):
        with pytest.raises(UnreadableError):
            read_query(packet(QUESTION, wrong, counts=(1, 0, 0, 1)))
    with pytest.raises(UnreadableError):
        read_query(packet(QUESTION, whole, OPT, counts=(1, 0, 0, 2)))
    sig = b"\0\0\x18\0\xff\0\0\0\0\0\2ab"
    assert read_query(packet(QUESTION, OPT, sig, counts=(1, 0, 0, 2))).edns is not None


def chained(hops):
    """Records whose owners are a chain of pointers, each to the one before."""
    wire = bytearray(packet())
    target = 12
    chain = bytearray()
    start = len(wire) + 11
    for hop in range(hops):
        chain += pack("!H", 0xC000 | target)
        target = start + 2 * hop
    record = b"\0\0\1\0\1\0\0\0\0" + pack("!H", len(chain)) + chain
    last = pack("!H", 0xC000 | target) + b"\0\1\0\1\0\0\0\0\0\0"
    return packet(QUESTION, record, last, counts=(1, 0, 0, 2))


def test_a_few_pointers_are_followed_and_a_chain_is_not():
    assert read_query(chained(7)).type == 1
    assert refused(chained(8)).rcode() == ReplyCode.FORMERR
    assert refused(chained(2000)).rcode() == ReplyCode.FORMERR


class CountingBytes(bytes):
    """Bytes that count how often they are looked at."""

    looks = 0

    def __getitem__(self, key):
        type(self).looks += 1
        return super().__getitem__(key)


@pytest.mark.parametrize(
    "wire",
    [chained(5000), packet(b"\1a" * 30000, counts=(1, 0, 0, 4)), packet(QUESTION, b"\1a" * 30000, counts=(1, 0, 0, 4))],
)
def test_hostile_packets_cost_no_more_than_long_names(wire):
    CountingBytes.looks = 0
    with pytest.raises(UnreadableError):
        read_query(CountingBytes(wire))
    # Two looks per label, in at most one name of the question and five of records.
    assert CountingBytes.looks < 6 * 2 * (127 + 8)


def mutated(draw):
    wire = bytearray(draw(st.sampled_from([*FAULTS.values(), *FAULTS_OF_OPT.values(), packet(), chained(5)])))
    for _ in range(draw(st.integers(0, 6))):
        if wire:
            place = draw(st.integers(0, len(wire) - 1))
            match draw(st.integers(0, 2)):
                case 0:
                    wire[place] = draw(st.integers(0, 255))
                case 1:
                    del wire[place : place + draw(st.integers(1, 4))]
                case 2:
                    wire[place:place] = draw(st.binary(max_size=4))
    return bytes(wire)


@given(st.one_of(st.binary(max_size=600), st.composite(mutated)()))
@example(b"\0" * 12)
@example(packet(b"\xc0\x0c" * 500))
def test_arbitrary_input_parses_or_raises_this_one_error(wire):
    """And what is refused gets a reply that dnspython reads, with OPT only if one was there."""
    try:
        query = read_query(wire)
    except UnreadableError as caught:
        error = caught
    else:
        assert sum(len(label) + 1 for label in query.name) + 1 <= 255
        assert all(0 < len(label) < 64 for label in query.name)
        assert wire[12 : 12 + len(query.question)] == query.question
        return
    assert isinstance(error, MalformedError)
    if error.reply is None:
        assert len(wire) < 12 or wire[2] & 0x80
        return
    # Of a message of another operation dnspython expects more than we know of it.
    reply = dns.message.from_wire(error.reply) if not wire[2] & 0x78 else None
    if reply is not None:
        assert reply.rcode() == ReplyCode.FORMERR
        assert reply.edns == -1 or b"\0\x29" in wire
    else:
        assert error.reply[3] & 15 == ReplyCode.NOTIMP
    # Nothing to amplify with: an echo at the most.
    assert len(error.reply) <= len(wire)


def test_faults_have_words_for_people():
    with pytest.raises(MalformedError, match="two OPT records"):
        read_query(FAULTS_OF_OPT["two OPTs"])
    assert not hasattr(dns_query, "socket")
