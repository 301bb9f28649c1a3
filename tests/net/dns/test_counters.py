"""What a DNS server tells of itself."""

from beonss.core.zones.records import ReplyCode
from beonss.net.dns.counters import Counts, SparingLog, code_name


def test_a_sparing_log_counts_what_it_keeps_back():
    now = 0.0
    sparing = SparingLog(lambda: now)
    assert [sparing.admits("a"), sparing.admits("a"), sparing.admits("b")] == [True, False, True]
    now = 10.0
    assert sparing.admits("a")
    assert (sparing.held("a"), sparing.held("a")) == (1, 0)


def test_a_copy_of_the_counts_stays_as_it_was():
    counts = Counts()
    counts.udp, counts.codes[ReplyCode.REFUSED] = 2, 1
    before = counts.copy()
    counts.udp += 1
    counts.codes[ReplyCode.REFUSED] += 1
    assert (before.udp, before.codes[ReplyCode.REFUSED]) == (2, 1)


def test_codes_that_we_never_give_have_a_name_too():
    assert (code_name(3), code_name(77)) == ("NXDOMAIN", "RCODE77")
