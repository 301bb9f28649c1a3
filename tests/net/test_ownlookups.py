"""The daemon never asks its own socket (the effect itself: tests/real/test_nslcd_stock.py)."""

import ctypes

from beonss.net import ownlookups


def test_without_the_module_there_is_nothing_to_switch_off(monkeypatch):
    monkeypatch.setattr(ownlookups, "_MODULE", "libnss_no_such_thing.so.2")
    assert ownlookups.disable_own_lookups() is False


def test_a_module_of_another_make_is_left_alone(monkeypatch):
    monkeypatch.setattr(ownlookups, "_MODULE", "libc.so.6")
    assert ownlookups.disable_own_lookups() is False


def test_the_switch_is_set_to_zero(monkeypatch):
    switch = ctypes.c_int(1)
    monkeypatch.setattr(ownlookups, "ctypes", type("Fake", (), {"CDLL": lambda name: None, "c_int": Variable(switch)}))
    assert ownlookups.disable_own_lookups() is True
    assert switch.value == 0


class Variable:
    """Stands for a variable of a loaded module."""

    def __init__(self, variable):
        self.variable = variable

    def in_dll(self, module, name):
        assert name == "_nss_ldap_enablelookups"
        return self.variable
