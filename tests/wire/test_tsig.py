"""Transaction signatures against dnspython's, and hostile ones."""

import base64

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.tsig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.wire.dns import UnreadableError, read_query
from beonss.wire.tsig import (
    BADKEY,
    BADSIG,
    BADTIME,
    BADTRUNC,
    Key,
    Signer,
    read_keys,
    unsigned_error,
    verify,
)

SECRET = bytes(range(32))
KEY = Key((b"ns1", b"example"), SECRET)
KEYS = {KEY.name: KEY}
THEIRS = dns.tsig.Key("Ns1.example.", SECRET, dns.tsig.HMAC_SHA256)
NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def now(monkeypatch):
    """Let dnspython's clock stand at NOW, which is the time we are told."""
    monkeypatch.setattr("time.time", lambda: float(NOW))


def signed(name="fellow.aero.org", kind="SOA", key=THEIRS, **options):
    """Return a question signed by dnspython, as message and bytes."""
    message = dns.message.make_query(name, kind, **options)
    message.use_tsig(key)
    return message, message.to_wire()


@pytest.mark.parametrize("options", [{}, {"use_edns": 0}, {"use_edns": 0, "payload": 1232}])
def test_what_dnspython_signed_is_good(options):
    _, packet = signed(**options)
    query = read_query(packet)
    assert query.signature.key == KEY.name
    verdict = verify(packet, query.signature, KEYS, NOW)
    assert (verdict.key, verdict.error) == (KEY, 0)


def test_dnspython_believes_our_reply_of_one_message():
    message, packet = signed()
    reply = dns.message.make_response(message)
    reply.tsig = None
    plain = dns.message.make_response(dns.message.make_query("fellow.aero.org", "SOA", id=message.id)).to_wire()
    wire = Signer(KEY, read_query(packet).signature.mac).sign(plain, NOW)
    assert dns.message.from_wire(wire, keyring=message.keyring, request_mac=message.mac).had_tsig
    with pytest.raises(dns.tsig.BadSignature):
        dns.message.from_wire(wire, keyring=message.keyring, request_mac=bytes(32))


@pytest.mark.parametrize("count", [2, 5])
def test_dnspython_believes_our_reply_of_many_messages(count):
    """RFC 8945 section 5.3.1: from the second on, the MAC before and the times are signed."""
    message, packet = signed()
    plain = dns.message.make_response(dns.message.make_query("fellow.aero.org", "SOA", id=message.id)).to_wire()
    signer = Signer(KEY, read_query(packet).signature.mac)
    context = None
    for at in range(count):
        wire = signer.sign(plain, NOW + at)
        assert len(wire) <= len(plain) + signer.size
        found = dns.message.from_wire(
            wire, keyring=message.keyring, request_mac=message.mac, multi=True, tsig_ctx=context
        )
        context = found.tsig_ctx


def test_dnspython_believes_what_we_ask():
    """A notification is a request of ours."""
    wire = Signer(KEY).sign(dns.message.make_query("fellow.aero.org", "SOA").to_wire(), NOW)
    assert dns.message.from_wire(wire, keyring={THEIRS.name: THEIRS}).had_tsig


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (dns.tsig.Key("other.example.", SECRET, dns.tsig.HMAC_SHA256), BADKEY),
        (dns.tsig.Key("ns1.example.", SECRET, dns.tsig.HMAC_SHA512), BADKEY),
        (dns.tsig.Key("ns1.example.", bytes(32), dns.tsig.HMAC_SHA256), BADSIG),
        (dns.tsig.Key("ns1.example.", SECRET, dns.tsig.HMAC_SHA256_128), BADKEY),
    ],
)
def test_another_key_algorithm_or_secret_is_refused(key, error):
    _, packet = signed(key=key)
    assert verify(packet, read_query(packet).signature, KEYS, NOW).error == error


def test_a_clock_that_differs_is_told_so_with_our_time():
    message, packet = signed()
    signature = read_query(packet).signature
    assert verify(packet, signature, KEYS, NOW + 300).error == 0
    verdict = verify(packet, signature, KEYS, NOW + 301)
    assert (verdict.key, verdict.error) == (KEY, BADTIME)
    plain = dns.message.make_response(dns.message.make_query("fellow.aero.org", "SOA", id=message.id)).to_wire()
    wire = Signer(KEY, signature.mac).sign(plain, NOW + 301, BADTIME)
    with pytest.raises(dns.tsig.PeerBadTime):
        dns.message.from_wire(wire, keyring=message.keyring, request_mac=message.mac)


def test_an_unsigned_error_is_understood():
    message, packet = signed(key=dns.tsig.Key("other.example.", SECRET, dns.tsig.HMAC_SHA256))
    plain = dns.message.make_response(dns.message.make_query("fellow.aero.org", "SOA", id=message.id)).to_wire()
    wire = unsigned_error(plain, read_query(packet).signature, BADKEY)
    with pytest.raises(dns.tsig.PeerBadKey):
        dns.message.from_wire(wire, keyring=message.keyring, request_mac=message.mac)


def test_a_signature_cut_short_is_refused():
    """We take whole MACs alone, which RFC 8945 section 5.2.2.1 lets us."""
    _, packet = signed()
    signature = read_query(packet).signature
    for length, error in ((16, BADTRUNC), (31, BADTRUNC), (15, BADSIG), (0, BADSIG)):
        short = type(signature)(
            signature.start, signature.key, signature.algorithm, signature.time, signature.fudge,
            signature.mac[:length], signature.original_id, signature.error, signature.other,
        )  # fmt: skip
        assert verify(packet, short, KEYS, NOW).error == error


@given(st.data())
def test_no_changed_byte_is_believed(data):
    """Whatever is changed in a signed question, it is unreadable, unsigned, or its signature is refused."""
    _, packet = PACKET
    at = data.draw(st.integers(2, len(packet) - 1))
    wrong = bytearray(packet)
    wrong[at] ^= data.draw(st.integers(1, 255))
    try:
        query = read_query(bytes(wrong))
    except UnreadableError:
        return
    if query.signature is not None:
        verdict = verify(bytes(wrong), query.signature, KEYS, PACKET_TIME)
        # The names of key and algorithm are compared, and signed, without their case.
        same = bytes(wrong).lower() == packet.lower()
        assert verdict.error or same


@given(st.binary(max_size=200))
def test_any_tail_is_read_or_refused(tail):
    packet = b"\0\1\0\0\0\1\0\0\0\0\0\1\0\0\6\0\1\0\0\xfa\0\xff\0\0\0\0" + len(tail).to_bytes(2, "big") + tail
    try:
        query = read_query(packet)
    except UnreadableError:
        return
    assert verify(packet, query.signature, KEYS, NOW).error


def test_the_secret_is_never_shown():
    assert "secret" not in repr(KEY)
    assert SECRET.hex() not in repr(KEY)


def test_key_files_are_read_as_tsig_keygen_writes_them():
    one, two = (base64.b64encode(secret).decode() for secret in (SECRET, bytes(32)))
    text = (
        f'\n# a comment\nkey "ns1.Example" {{\n\talgorithm hmac-sha256;\n\tsecret "{one}";\n}};\n'
        f'// another\nkey second {{ algorithm "hmac-sha256."; secret {two}; }}; /* and\nend */'
    )
    keys, problems = read_keys(text, "f")
    assert problems == []
    assert keys == {KEY.name: KEY, (b"second",): Key((b"second",), bytes(32))}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("nonsense", 1, "here should be"),
        ('\nkey "a" { algorithm hmac-md5; secret "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"; };', 2, "only hmac-sha256"),
        ('key "a" { algorithm hmac-sha256; secret "AAAA"; };', 1, "less than 16 bytes"),
        ('key "a" { algorithm hmac-sha256; secret "AAA"; };', 1, "cannot be read"),
        ('key "a..b" { algorithm hmac-sha256; secret "AAAA"; };', 1, "cannot be read"),
        ('key "a" { algorithm hmac-sha256; };', 1, "here should be"),
    ],
)
def test_mistakes_in_key_files_are_named_without_a_secret(text, line, said):
    keys, problems = read_keys(text, "f")
    assert keys == {}
    assert [problem.line for problem in problems] == [line]
    assert said in problems[0].text
    assert "AAAA" not in problems[0].text


@given(st.text(max_size=300))
def test_any_key_file_is_read_or_refused(text):
    keys, problems = read_keys(text, "f")
    assert keys or problems or not text.strip() or text.lstrip()[0] in "#/"


def _packet():
    message = dns.message.make_query("fellow.aero.org", "SOA", use_edns=0)
    message.use_tsig(THEIRS)
    return message, message.to_wire()


PACKET = _packet()
PACKET_TIME = read_query(PACKET[1]).signature.time
