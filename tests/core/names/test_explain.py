"""Explanations: what is there, and why the nearest rule does not match."""

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.names.explain import explain
from beonss.wire.description import parse

EXAMPLES = Path(__file__).parents[3] / "examples"
FELLOWSHIP = parse((EXAMPLES / "fellowship.toml").read_bytes(), "fellowship.toml")
SCYLD = parse((EXAMPLES / "scyld.toml").read_bytes(), "scyld.toml")


def test_a_node_has_its_rule_its_lines_and_every_door() -> None:
    explanation = explain(FELLOWSHIP, "R01N07.fellow.aero.org")
    facts = dict(explanation.facts)
    assert facts["rule"] == "r{rack:02}n{slot:02} <-> 10.5.{rack}.{slot} (fellowship.toml:25)"
    assert facts["ranges"] == "rack 1, slot 1-8 (fellowship.toml:29)"
    assert facts["coordinates"] == "rack 1, slot 7"
    answers = {answer.question: (answer.status, answer.answers) for answer in explanation.answers}
    assert answers["r01n07.fellow.aero.org A"] == ("found", ("r01n07.fellow.aero.org 3600 A 10.5.1.7",))
    assert answers["r01n07.fellow.aero.org AAAA"] == ("no data", ())
    assert answers["7.1.5.10.in-addr.arpa PTR"] == ("found", ("7.1.5.10.in-addr.arpa 3600 PTR r01n07.fellow.aero.org",))
    assert answers["getent hosts r01n07"] == ("found", ("10.5.1.7 r01n07.fellow.aero.org r01n07",))
    assert answers["getent netgroup cluster"] == ("found", ("has r01n07",))


def test_an_alias_says_whose_it_is() -> None:
    explanation = explain(FELLOWSHIP, "nis")
    assert explanation.facts[0] == ("alias", "nis is an alias of frodo")
    assert any(answer.door == "ethers" for answer in explanation.answers)
    assert "nis.fellow.aero.org 3600 CNAME frodo.fellow.aero.org" in explanation.answers[0].answers


def test_another_network_of_a_node_points_to_the_node() -> None:
    facts = dict(explain(SCYLD, "10.54.101.5").facts)
    assert facts["name"] == "n5-ib.beowulf.example.org (node 5, network ib)"
    assert facts["also"] == "n5 10.54.1.5"


def test_master_and_self_depend_on_the_asker() -> None:
    asker = ip_address("10.5.0.2")
    assert (
        "asked from 10.5.0.2: gamgee (10.5.0.2), frodo" in dict(explain(FELLOWSHIP, "master", asker).facts)["meaning"]
    )
    assert "asked by a stranger: frodo" in dict(explain(FELLOWSHIP, "master").facts)["meaning"]
    assert dict(explain(FELLOWSHIP, "self", asker).facts)["meaning"] == "whoever asks; asked from 10.5.0.2: gamgee"
    assert explain(FELLOWSHIP, "self").answers == ()


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("r1n7", "r1n7 is not how it is written: r01n07"),
        ("r1n70", "r1n70 is not how it is written: r01n70, which does not exist either"),
        ("r09n01", "rack 9 is outside 1-5 (r{rack:02}n{slot:02}, line 25)"),
        ("r01n20", "slot 20 does not exist with rack 1, which has slot 1-8 (fellowship.toml:29)"),
        ("frod", "there is a host frodo: did you mean it?"),
        ("xyzzy", "no rule makes such a name: gimli-r{rack:02}, r{rack:02}n{slot:02}"),
        (
            "r01n07.example.org",
            "r01n07.example.org is not in the zone fellow.aero.org, and names below it are single labels",
        ),
        ("r\u0661", "names are ASCII: letters, digits and hyphens"),
        ("", "it is no name: 1 to 63 letters, digits and hyphens"),
        ("10.5.255.7", "it is reserved for temporary (fellowship.toml:16)"),
        ("10.6.1.1", "it is outside the cluster's networks: 10.5.0.0/16"),
        ("10.5.1.77", "slot 77 is outside 1-40 (10.5.{rack}.{slot}, line 25)"),
        ("10.5.1.9", "slot 9 does not exist with rack 1, which has slot 1-8 (fellowship.toml:29)"),
        ("::1", "it is outside the cluster's networks: 10.5.0.0/16"),
    ],
)
def test_what_is_not_there_says_why(asked: str, reason: str) -> None:
    explanation = explain(FELLOWSHIP, asked)
    assert not explanation.found
    assert explanation.named is None
    assert reason in explanation.reasons


def test_a_running_number_that_does_not_exist() -> None:
    assert explain(SCYLD, "n384").reasons == ("node 384 is outside 0-383 (n{node}, line 22)",)
    assert explain(SCYLD, "n05").reasons == ("n05 is not how it is written: n5",)
    assert "node 384 is outside 0-383 (10.54.1.0 - 10.54.2.127, line 22)" in explain(SCYLD, "10.54.2.128").reasons
    assert explain(SCYLD, "10.54.0.7").reasons == ("no rule and no host has it",)


@given(st.text(max_size=40) | st.ip_addresses().map(str) | st.from_regex(r"\A[rn]?[0-9]{0,12}n?[0-9]{0,70}\Z"))
def test_any_question_is_answered(text: str) -> None:
    """Found or not, there is something to say, and it never fails."""
    explanation = explain(FELLOWSHIP, text)
    assert bool(explanation.facts) != bool(explanation.reasons)
