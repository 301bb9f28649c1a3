"""The section [dns.forward] of a description, and what masters and nodes make of it."""

from ipaddress import ip_address, ip_network

import pytest

from beonss.core.names.description import DescriptionError
from beonss.core.names.difference import difference
from beonss.core.zones.forwarding import NO_FORWARDING, Forwarding, Route, Upstream
from beonss.core.zones.forwarding_plan import Plan, Probe, master_plan, node_plan
from beonss.core.zones.records import domain
from beonss.wire.description import parse

BASE = """[cluster]
name = "x"
zone = "c.example"
networks = ["10.1.0.0/16", "fd00:5::/32"]
masters = ["m", "n"]
[hosts]
m = "10.1.0.1"
n = ["10.1.0.2", "fd00:5::2"]
"""
A, B = Upstream(ip_address("192.0.2.1")), Upstream(ip_address("2001:db8::1"), 5353)


def read(text):
    return parse((BASE + text).encode(), "f")


def forwarding(text):
    return read("[dns.forward]\n" + text).description.dns.forwarding


def mistakes(text):
    with pytest.raises(DescriptionError) as caught:
        read("[dns.forward]\n" + text)
    return [(problem.line - BASE.count("\n") - 1, problem.option, problem.text) for problem in caught.value.problems]


def test_upstreams_zones_and_networks():
    found = forwarding(
        'upstreams = ["192.0.2.1", { address = "2001:db8::1", port = 5353 }]\nnetworks = ["192.168.0.0/16"]\n'
        '[dns.forward.zones]\n"Corp.Example." = "192.0.2.1"\n"168.192.in-addr.arpa" = ["192.0.2.1"]\n'
        'corp = "192.0.2.1"\n'
    )
    assert found == Forwarding(
        (
            Route((), (A, B)),
            Route(domain("corp.example"), (A,)),
            Route(domain("168.192.in-addr.arpa"), (A,)),
            Route(domain("corp"), (A,)),
        ),
        (ip_network("192.168.0.0/16"),),
    )


def test_nothing_is_forwarded_unless_somebody_says_so():
    assert read("").description.dns.forwarding == NO_FORWARDING
    assert forwarding("") == NO_FORWARDING
    assert read("").digest == read("[dns.forward]\n").digest


@pytest.mark.parametrize(("text", "option", "said"), [
    ("upstreams = []", "dns.forward.upstreams", "must not be empty"),
    ('upstreams = ["ns.example"]', "dns.forward.upstreams[0]", "is no address"),
    ('upstreams = ["0.0.0.0"]', "dns.forward.upstreams[0]", "no address of a machine"),
    ('upstreams = ["192.0.2.1", "192.0.2.1"]', "dns.forward.upstreams[1]", "stands there twice"),
    ('upstreams = "127.0.0.1"', "dns.forward.upstreams", "is where masters answer"),
    ('upstreams = ["::1"]', "dns.forward.upstreams[0]", "is where masters answer"),
    ('upstreams = ["192.0.2.1", "10.1.0.1"]', "dns.forward.upstreams[1]", "is the master m"),
    ('upstreams = [{ address = "192.0.2.1", prot = 53 }]', "dns.forward.upstreams[0].prot", "did you mean port"),
    ('upstreams = [{ address = "192.0.2.1", port = 0 }]', "dns.forward.upstreams[0].port", "greater than"),
    ('zones = { "x..y" = "192.0.2.1" }', "dns.forward.zones.x..y", "is no domain name"),
    ('zones = { "sub.c.example" = "192.0.2.1" }', "dns.forward.zones.sub.c.example", "the cluster's own zone"),
    ('zones = { "X.org" = "192.0.2.1", "x.org" = "192.0.2.1" }', "dns.forward.zones.x.org", "stands there twice"),
    ('zones = { "x.org" = "10.1.0.2" }', "dns.forward.zones.x.org", "is the master n"),
    ('networks = ["10.2.0.0/16"]', "dns.forward.networks", "nobody is asked"),
    ('upstreams = "192.0.2.1"\nnetworks = ["10.2.0.1/16"]', "dns.forward.networks[0]", "bits beyond its prefix"),
    ('upstream = "192.0.2.1"', "dns.forward.upstream", "did you mean upstreams"),
])  # fmt: skip
def test_mistakes_are_named(text, option, said):
    found = mistakes(text)
    assert [each[1] for each in found] == [option]
    assert said in found[0][2]
    assert found[0][0] == text.count("\n") + 1


def test_a_resolver_on_a_master_at_another_port_is_fine():
    found = forwarding('upstreams = [{ address = "10.1.0.1", port = 5353 }, { address = "127.0.0.1", port = 5353 }]')
    assert len(found.routes[0].upstreams) == 2


def test_it_counts_for_the_digest_and_shows_in_a_difference():
    texts = [
        "",
        'upstreams = ["192.0.2.1", "192.0.2.2"]',
        'upstreams = ["192.0.2.2", "192.0.2.1"]',
        'upstreams = ["192.0.2.1", "192.0.2.2"]\nnetworks = ["10.2.0.0/16"]',
        'zones = { "x.org" = "192.0.2.1" }',
    ]
    namings = [read("[dns.forward]\n" + text) for text in texts]
    assert len({naming.digest for naming in namings}) == len(texts)
    lines = difference(namings[0], namings[1]).lines
    assert [(line.names, line.text) for line in lines] == [
        ("dns.forward", "(nothing) -> . by 192.0.2.1:53, 192.0.2.2:53")
    ]


LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class TestPlans:
    """What masters and nodes do."""

    def test_a_master_asks_the_upstreams_for_the_cluster(self):
        naming = read('[dns.forward]\nupstreams = "192.0.2.1"\nnetworks = ["10.2.0.0/16"]\n')
        plan = master_plan(naming)
        assert plan is not None
        networks = tuple(ip_network(text) for text in ("10.1.0.0/16", "fd00:5::/32", "10.2.0.0/16"))
        assert plan.networks == LOOPBACK + networks
        assert plan.routes == {(): Route((), (A,))}
        assert plan.upstreams == {A: Probe((), 2)}

    def test_without_upstreams_it_does_nothing(self):
        assert master_plan(read("")) is None
        assert node_plan(read(""), [ip_address("10.1.0.9")]) is None

    def test_a_node_asks_the_masters_for_itself_alone(self):
        naming = read('[dns.forward]\nupstreams = "192.0.2.1"\n[dns.forward.zones]\n"x.org" = "192.0.2.1"\n')
        plan = node_plan(naming, [ip_address("10.1.0.9")])
        masters = tuple(Upstream(ip_address(text)) for text in ("10.1.0.1", "10.1.0.2", "fd00:5::2"))
        assert plan is not None
        assert plan.networks == (*LOOPBACK, ip_network("10.1.0.9/32"))
        assert plan.routes == {zone: Route(zone, masters) for zone in ((), domain("x.org"))}
        assert set(plan.upstreams.values()) == {Probe(domain("c.example"), 6)}

    def test_a_node_on_a_master_does_not_ask_itself(self):
        naming = read('[dns.forward]\nupstreams = "192.0.2.1"\n')
        plan = node_plan(naming, [ip_address("10.1.0.1")])
        assert plan is not None
        assert Upstream(ip_address("10.1.0.1")) not in plan.upstreams

    def test_a_node_asks_for_what_may_stand_in_zone_files(self):
        """Also below our private reverse zones, which otherwise stay here."""
        plan = node_plan(read('[dns]\nzone_files = ["x.zone"]\n'), [], [A])
        assert plan is not None
        assert set(plan.routes) == {
            (),
            domain("c.example"),
            domain("1.10.in-addr.arpa"),
            domain("5.0.0.0.0.0.d.f.ip6.arpa"),
        }
        assert isinstance(plan.way(domain("9.9.1.10.in-addr.arpa"), 12, 1), Route)
        assert not isinstance(plan.way(domain("9.9.2.10.in-addr.arpa"), 12, 1), Route)

    def test_plans_are_equal_when_they_say_the_same(self):
        one = Plan(LOOPBACK, [Route((), (A,))])
        assert one == Plan([*LOOPBACK, LOOPBACK[0]], [Route((), (A,))])
        assert hash(one) == hash(Plan(LOOPBACK, []))
        for other in (
            Plan(LOOPBACK[:1], [Route((), (A,))]),
            Plan(LOOPBACK, [Route((), (B,))]),
            Plan(LOOPBACK, []),
            None,
        ):
            assert one != other
