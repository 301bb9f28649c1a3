"""What `beonss explain` says of names that are not the cluster's."""

import pytest
from click.testing import CliRunner

from beonss.admin.main import command
from beonss.core.zones.forwarding_explain import elsewhere
from beonss.wire.description import parse

TEXT = """[cluster]
name = "x"
zone = "c.example"
networks = ["10.1.0.0/16"]
masters = ["m"]
[hosts]
m = "10.1.0.1"
"""
FORWARD = '[dns.forward.zones]\n"corp.example" = ["192.0.2.1", { address = "192.0.2.2", port = 5353 }]\n'


@pytest.mark.parametrize(("name", "said"), [
    ("www.corp.example", "DNS looks it up elsewhere: corp.example by 192.0.2.1:53, 192.0.2.2:5353"),
    ("www.example.org", "DNS refuses it: [dns.forward] has no upstreams for it"),
    ("1.1.168.192.in-addr.arpa", "DNS answers for it here and asks nobody: it is a private or special name"),
    ("x.c.example", None), ("9.9.1.10.in-addr.arpa", None), ("short", None), ("a..b", None), ("ü.example", None),
])  # fmt: skip
def test_what_happens_to_it(name, said):
    assert elsewhere(parse((TEXT + FORWARD).encode(), "f"), name) == said


def test_without_upstreams_there_is_nothing_to_say():
    assert elsewhere(parse(TEXT.encode(), "f"), "www.example.org") is None


def test_the_command_says_it(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(TEXT + FORWARD)
    done = CliRunner().invoke(command, ["explain", str(path), "www.corp.example"])
    assert done.exit_code == 1
    assert "looks it up elsewhere: corp.example by 192.0.2.1:53" in done.output
