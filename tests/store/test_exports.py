"""Files of an export: whole or not there, never over others unasked, and hashes for nobody else's eyes."""

import os
from dataclasses import replace

import pytest

from beonss.core.accounts.entries import GroupEntry, Password, UserEntry
from beonss.core.accounts.records import GroupRecord, UserRecord
from beonss.errors import BeonssError, ConfigurationError, StoreError
from beonss.store.exports import LdifFile, NewFiles, PasswdFiles

SAM = UserRecord(UserEntry("sam", 1001, 100, "Sam", "/home/sam", "/bin/sh"), Password("$6$s$h", 19000), False)
ODD = UserRecord(UserEntry("#odd", 1002, 100, "", "/é", ""))
HOBBITS = GroupRecord(GroupEntry("hobbits", 1100), ("sam",))


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_passwd_files(tmp_path):
    made = PasswdFiles(tmp_path / "out", overwrite=False)
    with made.files:
        made.users([SAM, ODD])
        made.groups([HOBBITS, GroupRecord(GroupEntry("~g", 1101))])
        assert not (tmp_path / "out" / "passwd").exists()
        made.files.finish()
    out = tmp_path / "out"
    assert names(out) == ["group", "gshadow", "passwd", "shadow"]
    assert (out / "passwd").read_text() == "sam:x:1001:100:Sam:/home/sam:/bin/sh\n"
    assert (out / "shadow").read_text() == "sam:$6$s$h:19000::::::\n"
    assert (out / "group").read_text() == "hobbits:x:1100:sam\n"
    assert [oct((out / name).stat().st_mode & 0o777) for name in names(out)] == ["0o644", "0o600", "0o644", "0o600"]
    assert made.counts == {"user": 1, "group": 1}
    assert [one[:2] for one in made.left_out] == [("user", "#odd"), ("group", "~g")]


def test_ldif(tmp_path):
    path = tmp_path / "out.ldif"
    made = LdifFile(path, people="ou=p,dc=x", groups="ou=g,dc=x", containers=True, comment="c", overwrite=False)
    with made.files:
        made.users([SAM, ODD])
        made.groups([HOBBITS, GroupRecord(GroupEntry("g", 1101), ("é",))])
        made.files.finish()
    text = path.read_text()
    assert text.startswith("# c\n\ndn: ou=p,dc=x\n")
    assert "dn: uid=sam,ou=p,dc=x\n" in text
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one[:2] for one in made.left_out] == [("user", "#odd"), ("group", "g")]
    with pytest.raises(BeonssError, match="organizational"):
        LdifFile(tmp_path / "x", people="cn=p", groups="ou=g", containers=True, comment="c", overwrite=False)
    assert names(tmp_path) == ["out.ldif"]


def test_names_that_differ_only_in_capitals_are_one_to_a_directory(tmp_path):
    path = tmp_path / "out.ldif"
    made = LdifFile(path, people="ou=p,dc=x", groups="ou=g,dc=x", containers=True, comment="c", overwrite=False)
    with made.files:
        made.users([SAM, replace(SAM, entry=replace(SAM.entry, name="Sam", uid=1002))])
        made.groups([GroupRecord(GroupEntry("sam", 1001)), GroupRecord(GroupEntry("SAM", 1002))])
        made.files.finish()
    assert path.read_text().lower().count("dn: uid=sam,") == 1
    assert path.read_text().lower().count("dn: cn=sam,") == 1
    assert [(kind, name) for kind, name, _ in made.left_out] == [("user", "Sam"), ("group", "SAM")]
    assert "only in capitals" in made.left_out[0][2]
    assert made.counts == {"user": 1, "group": 1}


def test_what_exists_is_only_replaced_when_asked_and_only_by_something_whole(tmp_path):
    (tmp_path / "shadow").write_text("old")
    with pytest.raises(ConfigurationError, match="exists"):
        PasswdFiles(tmp_path, overwrite=False)
    with NewFiles({tmp_path / "shadow": 0o600}, overwrite=True) as files:
        files.write(tmp_path / "shadow", b"half")
    assert (tmp_path / "shadow").read_text() == "old"
    assert names(tmp_path) == ["shadow"]
    with NewFiles({tmp_path / "shadow": 0o600}, overwrite=True) as files:
        files.write(tmp_path / "shadow", b"new")
        assert files.written(tmp_path / "shadow").read_bytes() == b"new"
        files.finish()
    assert (tmp_path / "shadow").read_text() == "new"
    assert (tmp_path / "shadow").stat().st_mode & 0o777 == 0o600
    assert names(tmp_path) == ["shadow"]


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        NewFiles({tmp_path / "no" / "where": 0o600}, overwrite=False)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        PasswdFiles(tmp_path / "file", overwrite=False)
    with NewFiles({tmp_path / "a": 0o600}, overwrite=False) as files:
        (tmp_path / "a").mkdir()
        files.write(tmp_path / "a", b"x")
        with pytest.raises(StoreError, match="cannot be put"):
            files.finish()
    assert names(tmp_path) == ["a", "file"]


def test_a_full_disk_is_said():
    if not os.path.exists("/dev/full"):  # noqa: PTH110 - a device
        pytest.skip("there is no /dev/full")

    class Full(NewFiles):
        def __init__(self, path):
            super().__init__({}, overwrite=False)
            self._files[path] = path, open("/dev/full", "wb", buffering=0)  # noqa: SIM115, PTH123 - closed by abandon

        def abandon(self):
            for _, file in self._files.values():
                file.close()

    with Full("x") as files, pytest.raises(StoreError, match="No space"):
        files.write("x", b"data")


def test_a_device_or_a_link_is_never_replaced(tmp_path):
    """Root may name /dev/full, or a link to it, by mistake."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    for path in (link, tmp_path):
        with pytest.raises(ConfigurationError, match="no ordinary file"):
            NewFiles({path: 0o600}, overwrite=True)
    assert link.is_symlink()
