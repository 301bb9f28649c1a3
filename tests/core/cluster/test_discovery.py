"""A node finds its masters in what the boot left on the machine."""

from hypothesis import given
from hypothesis import strategies as st

from beonss.core.cluster.discovery import candidates, masters_of_command_line, masters_of_resolver
from beonss.core.cluster.endpoints import Endpoint


def test_kernel_command_line():
    text = "BOOT_IMAGE=/vmlinuz quiet beonss.masters=10.5.0.1,gamgee:7654,[::1:x beonss.masters=[2001:db8::1]:9\n"
    assert masters_of_command_line(text) == [
        Endpoint("10.5.0.1", 7653),
        Endpoint("gamgee", 7654),
        Endpoint("2001:db8::1", 9),
    ]


def test_name_servers_are_candidates_but_not_loopback():
    lines = ["search fellow.aero.org", "nameserver 127.0.0.1", "nameserver 10.5.0.1", "# nameserver 9.9.9.9"]
    text = "\n".join([*lines, "nameserver nonsense", "nameserver fe80::1%eth0", ""])
    assert masters_of_resolver(text) == [Endpoint("10.5.0.1", 7653), Endpoint("fe80::1", 7653)]


def test_each_master_once_best_source_first():
    a, b, c = (Endpoint(name, 7653) for name in "abc")
    assert candidates([b], [a, b], [c]) == (b, a, c)


@given(st.text(), st.text())
def test_no_text_breaks_discovery(cmdline, resolver):
    found = candidates(masters_of_command_line(cmdline), masters_of_resolver(resolver))
    assert len(found) <= 64
