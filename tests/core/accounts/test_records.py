"""Records cross the control socket as they are; what is none is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.account_files import gathered

from beonss.core.accounts.importing import plan
from beonss.core.accounts.records import batch_from_json, to_json
from beonss.core.accounts.view import AccountView
from beonss.errors import MalformedError


@pytest.mark.parametrize(
    "wrong", [{"aging": 3}, {"locked": "no"}, {"uid": None}, {"uid": True}, {"gid": -1}, {"hash": 3}, {"gecos": None}]
)
def test_records_that_are_none(wrong):
    good = {"name": "a", "uid": 5000, "gid": 100, "gecos": "", "home": "/", "shell": ""}
    assert len(batch_from_json([good], None).users) == 1
    with pytest.raises(MalformedError):
        batch_from_json([{**good, **wrong}], None)


def test_records_cross_the_control_socket_unchanged():
    batch = gathered()
    text = json.dumps([[to_json(record) for record in batch.users], [to_json(record) for record in batch.groups]])
    again = batch_from_json(*json.loads(text))
    assert (again.users, again.groups) == (batch.users, batch.groups)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
mangled = st.fixed_dictionaries(
    {
        "name": json_values,
        "uid": json_values,
        "gid": json_values,
        "gecos": json_values,
        "home": st.just("/"),
        "shell": st.just(""),
    },
    optional={
        "hash": json_values,
        "changed": json_values,
        "locked": json_values,
        "aging": json_values,
        "members": json_values,
    },
)


@given(json_values | st.lists(mangled, max_size=2), json_values | st.lists(mangled, max_size=2))
def test_any_json_is_records_or_malformed(users, groups):
    try:
        batch = batch_from_json(users, groups)
    except MalformedError:
        return
    plan(AccountView(), batch)
