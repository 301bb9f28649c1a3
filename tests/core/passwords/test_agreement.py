"""What new passwords are hashed with: what every master can verify."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.passwords.agreement import EVERYWHERE, Agreement, agreed
from beonss.core.passwords.hashes import SCHEMES

ALL = tuple(SCHEMES)
OLD = ("sha512crypt", "sha256crypt")


def test_the_cluster_s_scheme_where_all_have_it() -> None:
    assert agreed("yescrypt", 6, ("frodo", ALL), {"gamgee": ALL}) == Agreement("yescrypt", 6)
    assert agreed("yescrypt", 6, ("frodo", ALL), {}).problem("yescrypt") == ""


@pytest.mark.parametrize(
    ("here", "others", "said"),
    [
        (ALL, {"gamgee": OLD, "sam": ALL}, "the libcrypt of gamgee does not know it"),
        (OLD, {"gamgee": ALL}, "the libcrypt of frodo does not know it"),
        (ALL, {"gamgee": None}, "gamgee has not said so far"),
        (OLD, {"gamgee": OLD, "sam": None}, "frodo, gamgee does not know it; sam has not said"),
    ],
)
def test_the_best_that_all_have_and_why(here, others, said) -> None:
    """The cost is in the measure of the other scheme, so it is the default."""
    agreement = agreed("yescrypt", 6, ("frodo", here), others)
    assert (agreement.scheme, agreement.cost) == ("sha512crypt", None)
    assert said in agreement.problem("yescrypt")


def test_what_every_libcrypt_has_needs_nobody_s_word() -> None:
    assert agreed("sha512crypt", 9000, ("frodo", ALL), {"gamgee": None}) == Agreement("sha512crypt", 9000)


words = st.lists(st.sampled_from([*ALL, "later"]), max_size=4).map(lambda some: (*OLD, *some))


@given(st.sampled_from(ALL), words, st.dictionaries(st.sampled_from("abcd"), st.none() | words))
def test_whatever_is_chosen_everybody_can_verify(wanted, here, others) -> None:
    agreement = agreed(wanted, None, ("m", here), others)
    assert all(agreement.scheme in (EVERYWHERE if said is None else said) for said in [here, *others.values()])
    assert (agreement.problem(wanted) == "") == (agreement.scheme == wanted and not agreement.unable)
