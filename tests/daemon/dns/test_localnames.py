"""The machine's own account files are followed."""

from beonss.daemon.dns.localnames import LocalFiles


def test_names_are_read_at_once_and_when_a_file_changes(tmp_path):
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "passwd").write_bytes(
        b"root:x:0:0::/:/bin/sh\nl\xfcmmel:x:1001:1001::/:\n+::::::\nodd\nx:y:z\nbig:x:99999999999:1::/:\n"
    )
    (etc / "group").write_text("staff:x:50:\n")
    seen = []
    files = LocalFiles(seen.append, tmp_path)
    files.look()
    files.look()
    assert len(seen) == 1
    assert seen[0].own_user("root", 5000)
    assert not seen[0].own_user("root", 0)
    assert seen[0].own_user("other", 1001)
    assert not seen[0].own_user("other", 1002)
    assert seen[0].own_group("other", 50)
    (etc / "passwd").unlink()
    files.look()
    assert len(seen) == 2
    assert not seen[1].own_user("root", 5000)


def test_an_unreadable_file_changes_nothing(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").mkdir()
    seen = []
    LocalFiles(seen.append, tmp_path).look()
    assert seen == []
