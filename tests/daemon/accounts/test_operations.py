"""What root may ask of a master about accounts; no answer holds a hash."""

import json
from types import SimpleNamespace

import pytest
from support.fake_accounts import THERE, FakeAccounts, now

from beonss.core.accounts import intents
from beonss.core.accounts.entries import GroupEntry, Password, UserEntry
from beonss.core.accounts.records import GroupRecord, UserRecord, to_json
from beonss.daemon.accounts.operations import MAX_CHUNK, AccountOperations, account_operations
from beonss.daemon.targets.deliveries import Standing
from beonss.errors import MalformedError, Refused


async def nothing():
    """Wait for nothing."""


class FakeDeliveries:
    def __init__(self):
        self.reasserted = []

    def targets(self):
        return ("local",)

    def standing(self, target, object_id):
        return Standing("conflict", f"{target} holds something else")

    def conflicts(self):
        return ["local: something"]

    def reassert(self, target, names, *, shrink=False):
        self.reasserted.append((target, names, shrink))
        return 3


class Bench:
    def __init__(self):
        self.accounts = FakeAccounts()
        self.deliveries = FakeDeliveries()
        floors = SimpleNamespace(uid_floor=1000, gid_floor=1000)
        self.operations = AccountOperations(self.accounts, self.deliveries, lambda: floors, "frodo", lambda: 5)
        self.events = []
        self.answers = []

    def ask(self, operation, /, **parameters):
        def report(event, **data):
            self.events.append((event, data))

        peer = SimpleNamespace(uid=0, drained=nothing)
        answer = now(self.operations.table()[f"accounts.{operation}"].run(parameters, peer, report))
        self.answers.append(json.dumps([answer, self.events]))
        return answer


@pytest.fixture
def bench():
    made = Bench()
    yield made
    assert "$6$" not in "".join(made.answers)


def user(name="frodo", uid=1001, secret="$6$s$1"):
    entry = UserEntry(name, uid, 100, "", f"/home/{name}", "/bin/sh")
    return to_json(UserRecord(entry, Password(secret, 19000), False))


def group(name="hobbits", gid=1100, *members):
    return to_json(GroupRecord(GroupEntry(name, gid), members))


def test_an_import_writes_and_says_what(bench):
    answer = bench.ask("import", users=[user(), user("sam", 1002)], groups=[group("hobbits", 1100, "frodo", "merry")])
    assert answer["counts"] == {"user:create": 2, "group:create": 1}
    assert answer["unknown_members"] == [["hobbits", "merry"]]
    assert answer["written"] == 9
    assert bench.accounts.view.group("hobbits").members == ("frodo",)
    assert {row.author for row in bench.accounts.rows.values()} == {"root@frodo"}
    again = bench.ask("import", users=[user()], groups=[group("hobbits", 1100, "frodo")])
    assert (again["written"], again["items"], again["counts"]) == (0, [], {"user:unchanged": 1, "group:unchanged": 1})


def test_a_plan_writes_nothing(bench):
    answer = bench.ask("plan", users=[user()], groups=[group("hobbits", 1100, "sam")], coming=["sam"])
    assert [item["action"] for item in answer["items"]] == ["create", "create"]
    assert answer["unknown_members"] == []
    assert bench.accounts.rows == {}


def test_the_clusters_floor_holds_for_every_client(bench):
    answer = bench.ask("import", users=[user("low", 999)], groups=[group("low", 5)])
    assert [item["action"] for item in answer["items"]] == ["skip", "skip"]
    assert bench.accounts.rows == {}


def test_an_import_looks_again_when_somebody_was_faster(bench):
    bench.ask("import", users=[user()])
    real = bench.accounts.write
    raced = []

    async def race(changes, author):
        if not raced:
            raced.append(True)
            entry = bench.accounts.view.user("frodo").entry
            faster = intents.modify_user(
                bench.accounts.view, "frodo", UserEntry("frodo", 1001, 100, "", "/", entry.shell)
            )
            bench.accounts.put_changes(faster, origin=THERE)
        return await real(changes, author)

    bench.accounts.write = race
    bench.ask("import", users=[{**user(), "shell": "/bin/zsh"}])
    assert bench.accounts.view.user("frodo").entry.shell == "/bin/zsh"

    async def always(changes, author):
        raise Refused("changed-meanwhile", "again")

    bench.accounts.write = always
    with pytest.raises(Refused):
        bench.ask("import", users=[{**user(), "shell": "/bin/csh"}])


@pytest.mark.parametrize(
    "parameters",
    [
        {"users": 3},
        {"users": [{"name": 3}]},
        {"users": [], "overwrite": "yes"},
        {"groups": [{"name": "g", "gid": 5000, "members": "x"}]},
        {"users": [user()] * (MAX_CHUNK + 1)},
    ],
)
def test_a_chunk_that_is_none_is_refused(bench, parameters):
    with pytest.raises(MalformedError):
        bench.ask("import", **parameters)
    with pytest.raises(MalformedError):
        bench.ask("plan", coming=[3])


def test_lists_come_in_parts_by_number(bench):
    bench.ask("import", users=[user(f"u{number}", 3000 - number) for number in range(1200)])
    assert bench.ask("list") == {"count": 1200}
    rows = [row for _, data in bench.events for row in data["rows"]]
    assert len(bench.events) == 3
    assert [row["uid"] for row in rows] == sorted(row["uid"] for row in rows)
    assert rows[0]["state"] == "active"
    bench.events.clear()
    bench.ask("import", groups=[group("hobbits", 1100, "u1")])
    bench.ask("list", kind="group")
    assert bench.events == [("accounts", {"rows": [{"name": "hobbits", "gid": 1100, "members": ["u1"]}]})]


def test_showing_says_everything_but_the_hash(bench):
    bench.ask("import", users=[user()], groups=[group("frodo", 1100, "frodo")])
    shown = bench.ask("show", name="frodo")
    assert shown["user"]["uid"] == 1001
    assert shown["user"]["groups"] == ["frodo"]
    assert shown["user"]["targets"] == {"local": {"verdict": "conflict", "text": "local holds something else"}}
    assert {one["field"] for one in shown["user"]["history"]} == {"entry", "password", "present"}
    assert shown["group"] is None
    assert bench.ask("show", name="frodo", kind="group")["group"]["members"] == ["frodo"]


def test_one_that_is_not_served_is_shown_as_a_conflict(bench):
    bench.ask("import", users=[user()])
    loser = intents.create_user(type(bench.accounts.view)(), UserEntry("sam", 1001, 100, "", "/", ""), 99)
    bench.accounts.put_changes(loser, origin=THERE)
    shown = bench.ask("show", name="sam")
    assert shown["user"] is None
    assert "uid 1001 belongs to user frodo" in shown["conflicts"][0]


@pytest.mark.parametrize(
    ("operation", "parameters", "code"),
    [
        ("reassert", {"target": "nowhere"}, "unknown-target"),
        ("show", {"name": "nobody"}, "unknown-user"),
        ("show", {"name": "frodo", "kind": "group"}, "unknown-group"),
    ],
)
def test_what_cannot_be_is_refused(bench, operation, parameters, code):
    bench.ask("import", users=[user()])
    before = dict(bench.accounts.rows)
    with pytest.raises(Refused) as caught:
        bench.ask(operation, **parameters)
    assert caught.value.code == code
    assert bench.accounts.rows == before


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("reassert", {"target": "local", "names": "x"}),
        ("reassert", {"target": "local", "shrink": 1}),
        ("show", {}),
    ],
)
def test_what_makes_no_sense_is_malformed(bench, operation, parameters):
    with pytest.raises(MalformedError):
        bench.ask(operation, **parameters)


def test_reasserting_is_passed_on(bench):
    assert bench.ask("reassert", target="local", names=["frodo"])["count"] == 3
    bench.ask("reassert", target="local", shrink=True)
    assert bench.deliveries.reasserted == [("local", ["frodo"], False), ("local", None, True)]


def test_all_of_it_is_for_root(bench):
    floors = SimpleNamespace(uid_floor=1000, gid_floor=1000)
    table = account_operations(bench.accounts, bench.deliveries, lambda: floors, "frodo")
    assert all(operation.needs_root for operation in table.values())
    assert all(name.startswith("accounts.") for name in table)
    assert bench.ask("terms") == {"uid_floor": 1000, "gid_floor": 1000, "machine": "frodo", "targets": ["local"]}


def test_a_ready_made_hash_is_taken_and_said_to_nobody(bench):
    bench.ask("import", users=[user()])
    assert bench.ask("set-hash", name="frodo", hash="$6$s$2", changed=20001) == {"written": 1}
    assert bench.accounts.view.user("frodo").password == Password("$6$s$2", 20001)
    assert bench.ask("set-hash", name="frodo", hash="$6$s$2", changed=20001) == {"written": 0}
    assert bench.ask("set-hash", name="frodo", hash="$6$s$3") == {"written": 1}
    assert bench.accounts.view.user("frodo").password == Password("$6$s$3", 0)


@pytest.mark.parametrize("bad", [{}, {"hash": ""}, {"hash": 7}, {"hash": "\u00e9"}, {"hash": "x" * 513}])
def test_what_is_no_hash_changes_nothing(bench, bad):
    bench.ask("import", users=[user()])
    with pytest.raises(MalformedError):
        bench.ask("set-hash", name="frodo", **bad)
    with pytest.raises(Refused, match="hash"):
        bench.ask("set-hash", name="frodo", hash="a:b")
    assert bench.accounts.view.user("frodo").password == Password("$6$s$1", 19000)
