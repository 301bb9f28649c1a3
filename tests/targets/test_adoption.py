"""Import a machine's own files, then deliver to them: nothing is changed, and all of it is known for ours."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from support.fake_accounts import FakeAccounts

from beonss.core.accounts.gathering import gather
from beonss.core.accounts.importing import group_changes, plan, user_changes
from beonss.core.accounts.passwdfile import GROUP, PASSWD, SHADOW, read
from beonss.core.targets.delivery import GroupState, UserState, states_of
from beonss.targets.files import FilesSettings, FilesTarget

ROOT = {
    "passwd": b"root:x:0:0:root:/root:/bin/sh\nbackup:x:34:34::/:/bin/false\n",
    "shadow": b"root:*:19000:0:99999:7:::\nbackup:*:19000:::::: \n".replace(b" ", b""),
    "group": b"root:x:0:\nbackup:x:34:\n",
    "gshadow": b"root:*::\nbackup:*::\n",
}

words = st.text(st.characters(min_codepoint=32, max_codepoint=255, blacklist_characters=":\x7f"), max_size=8)
days = st.none() | st.integers(0, 30000)
hashes = st.sampled_from(["$6$s$h", "!$6$s$h", "!!$6$s$h", "*", "!", "!!", "!*", "$y$j9T$a$b", "x", "*LK*"])


def render(value):
    return "" if value is None else str(value)


@st.composite
def machines(draw):
    files = dict(ROOT)
    count = draw(st.integers(1, 6))
    for number in range(count):
        name, encoding = f"u{number}", draw(st.sampled_from(["utf-8", "latin-1"]))
        fields = [draw(words) for _ in range(3)]
        line = ":".join([name, "x", str(2000 + number), str(draw(st.integers(1, 3000))), *fields])
        files["passwd"] += line.encode(encoding) + b"\n"
        aging = [render(draw(days)) for _ in range(6)]
        flag = draw(st.sampled_from(["", "7"]))
        files["shadow"] += ":".join([name, draw(hashes), *aging, flag]).encode() + b"\n"
    for number in range(draw(st.integers(0, 3))):
        chosen = draw(st.lists(st.sampled_from([*(f"u{one}" for one in range(count)), "backup"]), unique=True))
        secret = draw(st.sampled_from(["!", "", "$6$g$g"]))
        files["group"] += f"g{number}:x:{4000 + number}:{','.join(chosen)}\n".encode()
        files["gshadow"] += f"g{number}:{secret}:u0:{','.join(chosen)}\n".encode()
    return files


@settings(max_examples=25, deadline=None)
@given(machines())
def test_what_was_imported_from_here_is_adopted_as_it_stands(files):
    batch = gather(read(PASSWD, files["passwd"]), read(SHADOW, files["shadow"]), read(GROUP, files["group"]))
    accounts = FakeAccounts()
    made = plan(accounts.view, batch)
    for step in made.users:
        accounts.put_changes(user_changes(accounts.view, step, 1))
    for step in made.groups:
        accounts.put_changes(group_changes(accounts.view, step, 1))
    everybody = [*accounts.view.users(), *accounts.view.groups()]
    states = [state for one in everybody for state in states_of(accounts.view, one.id)]
    with tempfile.TemporaryDirectory() as name:
        etc = Path(name, "etc")
        etc.mkdir()
        for file, data in files.items():
            (etc / file).write_bytes(data)
        target = FilesTarget(FilesSettings("local", Path(name), Path(name, "journal")))
        outcomes = target.deliver(states)
        assert [outcome.text for outcome in outcomes if outcome.verdict != "delivered"] == []
        assert {file: (etc / file).read_bytes() for file in files} == files
        assert target.conflicts() == []
        # And they are ours from now on: what is deleted here goes there, the machine's own accounts stay.
        target.reassert([], shrink=True)
        gone = [type(state)(state.object, state.name, None) for state in states]
        assert {outcome.verdict for outcome in target.deliver(gone)} == {"delivered"}
        assert {file: (etc / file).read_bytes() for file in files} == ROOT
        target.close()
    assert {type(state) for state in states} <= {UserState, GroupState}
