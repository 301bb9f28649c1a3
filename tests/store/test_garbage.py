"""The collector keeps away, and comes back whatever happens."""

import gc

import pytest

from beonss.store.garbage import uncollected


def test_it_comes_back_after_an_error_too():
    assert gc.isenabled()
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), uncollected():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_it_stays_away_where_it_was_away():
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
