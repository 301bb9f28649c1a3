"""The section [dns] of a description."""

from ipaddress import ip_address

import pytest

from beonss.core.names.description import DescriptionError
from beonss.core.zones.records import domain, shown
from beonss.core.zones.transfer_access import may_transfer
from beonss.wire.description import parse

BASE = """[cluster]
name = "x"
zone = "c.example"
ttl = 60
networks = ["10.1.0.0/16"]
masters = ["m"]
[hosts]
m = "10.1.0.1"
"""


def read(text):
    return parse((BASE + text).encode(), "f")


def settings(text):
    return read(text).description.dns


def mistakes(text):
    with pytest.raises(DescriptionError) as caught:
        read(text)
    return [(problem.line - BASE.count("\n"), problem.option, problem.text) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("[dns]\nrecords = '''\na A 10.1.9.1\nb A 10.1.9.2\n'''", [3, 4]),
        ('[dns]\nrecords = """a A 10.1.9.1\nb A 10.1.9.2"""', [2, 3]),
        ('[dns]\nrecords = "a A 10.1.9.1"', [2]),
        ('[dns]\nrecords = [\n"a A 10.1.9.1",\n\n"b A 10.1.9.2"]', [3, 5]),
    ],
)
def test_records_may_be_one_text_or_a_list_and_keep_their_lines(text, lines):
    found = settings(text).records
    assert [record.line - BASE.count("\n") for record in found] == lines
    assert [shown(record.record.name) for record in found] == ["a.c.example", "b.c.example"][: len(lines)]
    assert all(record.record.ttl == 60 for record in found)


def test_mistakes_in_records_are_found_at_their_lines():
    text = "[dns]\nrecords = '''\na A 10.1.9\n\nm A 10.1.9.1\n'''\n"
    assert [each[:2] for each in mistakes(text)] == [(3, "dns.records")]
    assert mistakes(text.replace("a A 10.1.9\n", "\n"))[0][:2] == (5, "dns.records")


def test_an_include_in_a_description_is_refused():
    assert "travels to the nodes" in mistakes("[dns]\nrecords = '$INCLUDE x'")[0][2]


def test_what_may_stand_in_a_zone_file_is_not_missed_in_the_description():
    """A name that does not exist here may stand in a file that masters alone have."""
    text = "[dns]\nrecords = 'a CNAME b'\n"
    assert "does not exist" in mistakes(text)[0][2]
    assert settings(text + 'zone_files = ["z"]').zone_files[0].text == "z"


def test_who_may_have_zones():
    grants = '"192.0.2.0/24", "2001:db8::1", { key = "K.example" }, { network = "10.0.0.1", key = "k2" }'
    found = settings(f"[dns.transfer]\nallow = [{grants}]")
    assert [str(grant.network) for grant in found.grants] == ["192.0.2.0/24", "2001:db8::1/128", "None", "10.0.0.1/32"]

    def may(text, key=None):
        return may_transfer(found.grants, ip_address(text), None if key is None else domain(key))

    assert may("192.0.2.200")
    assert may("::ffff:192.0.2.200")
    assert may("2001:db8::1")
    assert not may("2001:db8::2")
    assert may("2001:db8::2", "k.example")
    assert not may("10.0.0.1")
    assert may("10.0.0.1", "k2")
    assert not may("10.0.0.2", "k2")


def test_who_is_told_of_changes():
    found = settings('[dns.transfer]\nnotify = ["192.0.2.1", { address = "2001:db8::1", port = 5353, key = "k" }]')
    assert [str(target) for target in found.notify] == ["192.0.2.1:53", "[2001:db8::1]:5353"]
    assert found.notify[1].key == domain("k")
    assert found.keys_used[0].text == "k"


@pytest.mark.parametrize(
    ("text", "option", "said"),
    [
        ("[dns]\nrecord = 'x'", "dns.record", "did you mean records?"),
        ("[dns]\nrecords = 5", "dns.records", "must be"),
        ('[dns.transfer]\nallow = ["nobody"]', "dns.transfer.allow[0]", "is no network"),
        ('[dns.transfer]\nallow = ["10.0.0.1/8"]', "dns.transfer.allow[0]", "bits beyond its prefix"),
        ("[dns.transfer]\nallow = [{}]", "dns.transfer.allow[0]", "needs a network, a key or both"),
        ('[dns.transfer]\nallow = [{ key = "a..b" }]', "dns.transfer.allow[0]", "is no domain name"),
        ('[dns.transfer]\nnotify = ["ns1.example"]', "dns.transfer.notify[0]", "is no address"),
        (
            '[dns.transfer]\nnotify = [{ address = "10.0.0.1", port = 0 }]',
            "dns.transfer.notify[0].port",
            "greater than or equal to 1",
        ),
        ('[dns.transfer]\ncatalog = "cat.c.example"', "dns.transfer.catalog", "outside of the zones it lists"),
        ('[dns.transfer]\ncatalog = "a..b"', "dns.transfer.catalog", "is no domain name"),
    ],
)
def test_mistakes_are_named(text, option, said):
    (found,) = mistakes(text)
    assert found[1] == option
    assert said in found[2]


def test_the_digest_tells_descriptions_apart_that_differ_in_records_alone():
    """It is what masters compare, and it does not change for descriptions without this section."""
    plain, one, two = read(""), read("[dns]\nrecords = 'a A 10.1.9.1'"), read("[dns]\nrecords = 'a A 10.1.9.2'")
    assert len({plain.digest, one.digest, two.digest}) == 3
    assert read("[dns]").digest == plain.digest
    assert read("[dns]\n\nrecords = ['''\na   IN A 10.1.9.1''']").digest == one.digest
