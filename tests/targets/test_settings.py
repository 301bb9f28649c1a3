"""The file of targets: what it may say, and that every mistake is told with its line."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beonss.core.names.description import DescriptionError
from beonss.errors import StoreError
from beonss.targets.command import CommandSettings
from beonss.targets.files import FilesSettings
from beonss.targets.ldap import LdapSettings
from beonss.targets.settings import open_targets, parse

GOOD = b"""
[[target]]
name = "local"
type = "files"

[[target]]
name = "directory"
type = "ldap"
uris = ["ldaps://ldap1.aero.org", "ldap://ldap2.aero.org"]
bind_dn = "cn=beonss,dc=aero,dc=org"
password_file = "/etc/beonss/ldap.secret"
base = "ou=people,dc=aero,dc=org"
takeover = "next-change"

[[target]]
name = "hook"
type = "command"
argv = ["/usr/local/sbin/hook", "-v"]
timeout = 5
"""


def read(data, **options):
    return parse(data, "targets.toml", Path("/var/lib/beonss/targets"), **options)


def problems(data):
    with pytest.raises(DescriptionError) as caught:
        read(data)
    return [(problem.line, problem.option, problem.text) for problem in caught.value.problems]


def test_all_three_kinds():
    local, directory, hook = read(GOOD, uid_floor=500)
    assert local == FilesSettings("local", Path("/"), Path("/var/lib/beonss/targets/local.journal"), 500, 1000)
    assert isinstance(directory, LdapSettings)
    assert directory.server.uris == ("ldaps://ldap1.aero.org", "ldap://ldap2.aero.org")
    assert directory.server.starttls
    assert (directory.takeover, directory.prefix) == ("next-change", "{CRYPT}")
    assert hook == CommandSettings("hook", ("/usr/local/sbin/hook", "-v"), 5.0)


def test_every_mistake_has_its_line():
    data = b"""
colour = 3
[[target]]
name = "local"
type = "files"
rooot = "/"
[[target]]
name = "local"
type = "fils"
[[target]]
name = "Bad Name"
type = "command"
argv = ["hook"]
[[target]]
name = "d"
type = "ldap"
uris = ["ldap://away.aero.org"]
starttls = false
base = "dc=org"
filter = "(uid=x)"
password_file = "secret"
"""
    found = {(line, option): text for line, option, text in problems(data)}
    assert set(found) == {
        (2, "colour"),
        (6, "target[0].rooot"),
        (9, "target[1].type"),
        (11, "target[2].name"),
        (13, "target[2].argv[0]"),
        (17, "target[3].uris[0]"),
        (14, "target[3].bind_dn"),
        (20, "target[3].filter"),
        (21, "target[3].password_file"),
    }
    assert "did you mean root" in found[6, "target[0].rooot"]
    assert "in clear" in found[17, "target[3].uris[0]"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"target = 3",
        b"[target]\nname = 'x'",
        b"target = [3]",
        b"[[target]]",
        b"[[target]]\ntype = 3",
        b"\xff",
        b"[[target",
        b"x" * (2 << 20),
        b"a = " + b"[" * 1000,
        GOOD + GOOD,
    ],
)
def test_what_is_no_file_of_targets(data):
    assert problems(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_told(data):
    with contextlib.suppress(DescriptionError):
        read(data)


def test_targets_are_opened_and_closed(tmp_path):
    targets = open_targets(parse(GOOD, "t", tmp_path / "targets"))
    assert [target.name for target in targets] == ["local", "directory", "hook"]
    assert [target.shared for target in targets] == [False, True, False]
    for target in targets:
        target.close()
    assert sorted(path.name for path in (tmp_path / "targets").iterdir()) == ["directory.journal", "local.journal"]
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        open_targets(parse(GOOD, "t", tmp_path / "file"))
