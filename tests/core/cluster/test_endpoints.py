"""Addresses as operators write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.cluster.endpoints import Endpoint, parse_endpoint
from beonss.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("10.5.0.1", Endpoint("10.5.0.1", 7)),
        ("10.5.0.1:53", Endpoint("10.5.0.1", 53)),
        ("frodo.fellow.aero.org:0", Endpoint("frodo.fellow.aero.org", 0)),
        ("[2001:db8::1]:5353", Endpoint("2001:db8::1", 5353)),
        ("[::1]", Endpoint("::1", 7)),
        ("::1", Endpoint("::1", 7)),
    ],
)
def test_reads_what_operators_write(text, endpoint):
    assert parse_endpoint(text, 7) == endpoint
    assert parse_endpoint(str(endpoint), 9) == endpoint


@pytest.mark.parametrize("text", ["", ":53", "a b", "host:port", "host:65536", "host:-1", "[::1", "[::1]53", "a/b"])
def test_refuses_the_rest_and_says_what_it_saw(text):
    with pytest.raises(ConfigurationError, match=r"\'"):
        parse_endpoint(text, 7)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    try:
        endpoint = parse_endpoint(text, 7)
    except ConfigurationError:
        return
    assert 0 <= endpoint.port <= 65535
    assert endpoint.host
