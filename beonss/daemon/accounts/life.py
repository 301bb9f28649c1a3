"""What ``beonss user`` and ``beonss group`` may ask of a master on the control socket. Root only, all of it.

Every request takes ``dry_run``; every answer has ``message``, ``changed``, and, when something was written, ``held``
and ``waiting``: the names of the masters that hold it and of those that get it later. No answer holds a hash.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from typing import Any

from beonss.core.accounts import intents
from beonss.core.accounts.admission import word_problems
from beonss.core.accounts.entries import Aging, GroupEntry, Kind, UserEntry
from beonss.core.accounts.lookup import LocalNames
from beonss.core.accounts.numbers import next_number
from beonss.core.accounts.view import AccountView
from beonss.core.replication.registers import Change
from beonss.daemon.accounts.changes import AccountChanges, Decide, Decision, changing
from beonss.daemon.accounts.parts import Floors
from beonss.daemon.parameters import Parameters, flag, names, number, words
from beonss.errors import MalformedError, Refused
from beonss.net.control import Operation
from beonss.wire.control import text_parameter

#: The primary group where none is said: ``users`` of nearly every system.
USERS = 100
#: Milliseconds in a day.
_DAY = 86_400_000
#: Names told in a refusal.
_NAMED = 5


class AccountLife:
    """The operations on single users and groups.

    Args:
        changes: carries them out.
        floors: returns the cluster's floors as they are now.
        members: returns the names of all masters.
        local: returns what this machine's own files hold.
        machine: the name of this master.
        clock: the wall clock in ms.
    """

    def __init__(
        self,
        changes: AccountChanges,
        *,
        floors: Callable[[], Floors],
        members: Callable[[], Collection[str]],
        local: Callable[[], LocalNames],
        machine: str,
        clock: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self._changes = changes
        self._floors = floors
        self._members = members
        self._local = local
        self._machine = machine
        self._clock = clock

    # --- users ------------------------------------------------------------------------------------------------------

    def add_user(self, parameters: Parameters) -> Decide:
        """Make a user: ``name``; ``uid``, ``group`` (name or number), ``gecos``, ``home``, ``shell``, ``expires``.

        Also ``groups``, a list of names; ``user_group``: with a group of the same name and number; ``reuse``: take a
        ``uid`` that was used before.
        """
        name = text_parameter(parameters, "name")
        own_group, reuse, wanted = flag(parameters, "user_group"), flag(parameters, "reuse"), number(parameters, "uid")
        groups = names(parameters, "groups")
        expires = number(parameters, "expires")
        if own_group and parameters.get("group") is not None:
            raise MalformedError("group and user_group exclude each other")

        def decide(view: AccountView) -> Decision:
            floor = max(self._floors().uid_floor, self._floors().gid_floor if own_group else 0)
            kinds: tuple[Kind, ...] = ("user", "group") if own_group else ("user",)
            uid = self.free(view, kinds, floor) if wanted is None else wanted
            check_floor("uid", uid, floor)
            gid = uid if own_group else _group_number(view, parameters.get("group"), USERS)
            entry = UserEntry(
                name,
                uid,
                gid,
                words(parameters, "gecos", ""),
                words(parameters, "home", f"/home/{name}"),
                words(parameters, "shell", "/bin/sh"),
            )
            _check_words(entry)
            aging = None if expires is None else Aging(expires=expires)
            changes: list[Change] = []
            if own_group:
                changes += intents.create_group(view, GroupEntry(name, uid), self._clock())
            changes += intents.create_user(view, entry, self._clock(), aging=aging)
            for kind in kinds:
                _check_unclaimed(view, kind, name, uid, reuse=reuse)
            identifier = intents.new_id(view, "user", name, uid)
            for group in groups:
                changes += intents.set_member(view, intents.find_group(view, group).id, identifier, member=True)
            notes = self._local_notes("user", name, uid) + _alike(view, "user", name)
            if gid >= self._floors().gid_floor and view.group_by_gid(gid) is None and not own_group:
                notes.append(f"no group of the cluster has gid {gid}")
            data = {"name": name, "uid": uid, "gid": gid, "id": identifier, "notes": notes}
            text = f"user {name} has uid {uid} and no password: cpasswd {name}"
            return Decision(changes, f"user {name} ({uid})", text, data, ", ".join(["created", *groups]))

        return decide

    def modify_user(self, parameters: Parameters) -> Decide:
        """Give a user other words: ``group`` (name or number), ``gecos``, ``home``, ``shell``, ``new_name``."""
        name = text_parameter(parameters, "name")

        def decide(view: AccountView) -> Decision:
            old = intents.find_user(view, name).entry
            entry = UserEntry(
                words(parameters, "new_name", old.name),
                old.uid,
                _group_number(view, parameters.get("group"), old.gid),
                *(words(parameters, word, getattr(old, word)) for word in ("gecos", "home", "shell")),
            )
            _check_words(entry, old)
            changes = intents.modify_user(view, name, entry)
            notes: list[str] = []
            if entry.name != old.name:
                _check_unclaimed(view, "user", entry.name)
                notes = _alike(view, "user", entry.name, but=name)
            return _changed(f"user {name} ({old.uid})", changes, _differing(old, entry), notes=notes)

        return decide

    def lock(self, parameters: Parameters) -> Decide:
        """Lock a user, or unlock it if ``locked`` is false."""
        name, locked = text_parameter(parameters, "name"), flag(parameters, "locked")
        word = "locked" if locked else "unlocked"

        def decide(view: AccountView) -> Decision:
            user = intents.find_user(view, name)
            changes = intents.set_lock(view, name, locked=locked)
            message = f"user {name} is {word}" if changes else f"user {name} is {word} already"
            return Decision(changes, f"user {name} ({user.entry.uid})", message, detail=word)

        return decide

    def renew_password(self, parameters: Parameters) -> Decide:
        """Have a user change the password at the next login, or no longer if ``needed`` is false."""
        name, needed = text_parameter(parameters, "name"), flag(parameters, "needed")

        def decide(view: AccountView) -> Decision:
            user = intents.find_user(view, name)
            if needed:
                changes = intents.demand_renewal(view, name)
                message = f"user {name} must change the password at the next login"
            else:
                changes = intents.withdraw_renewal(view, name, self._clock() // _DAY)
                message = f"user {name} need not change the password at the next login"
            about, detail = f"user {name} ({user.entry.uid})", "demanded" if needed else "withdrawn"
            return Decision(changes, about, message if changes else f"{message}; it is so already", detail=detail)

        return decide

    def age(self, parameters: Parameters) -> Decide:
        """Give a user other limits (shadow(5)): ``minimum``, ``maximum``, ``warning``, ``inactive``, ``expires``.

        All are days. What is absent stays; null takes the limit away.
        """
        name = text_parameter(parameters, "name")
        chosen = {word: number(parameters, word) for word in Aging.__annotations__ if word in parameters}

        def decide(view: AccountView) -> Decision:
            user = intents.find_user(view, name)
            aging = replace(user.aging, **chosen)
            if (aging.minimum or 0) > (2**32 if aging.maximum is None else aging.maximum):
                raise Refused(
                    "bad-aging",
                    f"minimum {aging.minimum} is above maximum {aging.maximum}: {name} could never change the password",
                )
            changes = intents.set_aging(view, name, aging)
            return _changed(
                f"user {name} ({user.entry.uid})", changes, _differing(user.aging, aging), aging=asdict(aging)
            )

        return decide

    def delete_user(self, parameters: Parameters) -> Decide:
        """Delete a user; ``user_group``: and the group of the same name and number, if nobody else is in it."""
        name, with_group = text_parameter(parameters, "name"), flag(parameters, "user_group")

        def decide(view: AccountView) -> Decision:
            user = intents.find_user(view, name)
            changes, notes = intents.delete_user(view, name), []
            group = view.group(name) if with_group else None
            if group is not None:
                others = [member for member in group.members if member != name]
                others += [one for one in view.users_of_group(group.entry.gid) if one != name]
                if group.entry.gid != user.entry.gid:
                    notes.append(f"group {name} stays: it is not the user's own (gid {group.entry.gid})")
                elif others:
                    notes.append(f"group {name} stays: others are in it ({_listed(others)})")
                else:
                    changes += intents.delete_group(view, name)
            text = f"user {name} is deleted; uid {user.entry.uid} is not given away again"
            return Decision(changes, f"user {name} ({user.entry.uid})", text, {"notes": notes}, "deleted")

        return decide

    # --- groups -----------------------------------------------------------------------------------------------------

    def add_group(self, parameters: Parameters) -> Decide:
        """Make a group: ``name``; ``gid``, ``members``, a list of users; ``reuse``: take a gid that was used before."""
        name, wanted, reuse = text_parameter(parameters, "name"), number(parameters, "gid"), flag(parameters, "reuse")
        members = names(parameters, "members")

        def decide(view: AccountView) -> Decision:
            floor = self._floors().gid_floor
            gid = self.free(view, ("group",), floor) if wanted is None else wanted
            check_floor("gid", gid, floor)
            changes = intents.create_group(view, GroupEntry(name, gid), self._clock())
            _check_unclaimed(view, "group", name, gid, reuse=reuse)
            identifier = intents.new_id(view, "group", name, gid)
            for member in members:
                changes += intents.set_member(view, identifier, intents.find_user_id(view, member), member=True)
            notes = self._local_notes("group", name, gid) + _alike(view, "group", name)
            data = {"name": name, "gid": gid, "id": identifier, "notes": notes}
            return Decision(changes, f"group {name} ({gid})", f"group {name} has gid {gid}", data, "created")

        return decide

    def modify_group(self, parameters: Parameters) -> Decide:
        """Give a group another name: ``new_name``."""
        name, new = text_parameter(parameters, "name"), text_parameter(parameters, "new_name")

        def decide(view: AccountView) -> Decision:
            old = intents.find_group(view, name).entry
            changes = intents.modify_group(view, name, GroupEntry(new, old.gid))
            if new != name:
                _check_unclaimed(view, "group", new)
            notes = _alike(view, "group", new, but=name)
            return _changed(
                f"group {name} ({old.gid})", changes, _differing(old, GroupEntry(new, old.gid)), notes=notes
            )

        return decide

    def delete_group(self, parameters: Parameters) -> Decide:
        """Delete a group; one that is somebody's primary group only with ``force``."""
        name, force = text_parameter(parameters, "name"), flag(parameters, "force")

        def decide(view: AccountView) -> Decision:
            group = intents.find_group(view, name)
            users = view.users_of_group(group.entry.gid)
            if users and not force:
                raise Refused(
                    "in-use", f"group {name} is the primary group of {_listed(users)}; force it if you mean it"
                )
            text = f"group {name} is deleted; gid {group.entry.gid} is not given away again"
            about = f"group {name} ({group.entry.gid})"
            return Decision(intents.delete_group(view, name), about, text, detail="deleted")

        return decide

    def member(self, parameters: Parameters) -> Decide:
        """Put ``users``, a list, into the group ``name``, or take them out if ``member`` is false; all or none."""
        name, users, inside = text_parameter(parameters, "name"), names(parameters, "users"), flag(parameters, "member")
        if not users:
            raise MalformedError("users is an empty list")

        def decide(view: AccountView) -> Decision:
            group = intents.find_group(view, name)
            make = intents.add_member if inside else intents.remove_member
            changes = [change for user in dict.fromkeys(users) for change in make(view, name, user)]
            are = "is" if len(set(users)) == 1 else "are"
            text = f"{_listed(users)} {are} {'in' if inside else 'not in'} group {name}"
            detail = ("+" if inside else "-") + ",".join(users)
            already = "" if changes else " already"
            return Decision(changes, f"group {name} ({group.entry.gid})", text + already, detail=detail)

        return decide

    # --- parts ------------------------------------------------------------------------------------------------------

    def free(self, view: AccountView, kinds: tuple[Kind, ...], floor: int) -> int:
        """Return the number that this master gives away next, unused as uid and gid as ``kinds`` want it."""
        local = self._local()

        def taken(candidate: int) -> bool:
            return local.holds_number(candidate) or any(view.was_used(kind, candidate) for kind in kinds)

        return next_number(taken, floor, self._machine, self._members())

    def _local_notes(self, kind: Kind, name: str, chosen: int) -> list[str]:
        local = self._local()
        if not (local.own_user if kind == "user" else local.own_group)(name, chosen):
            return []
        return [f"{self._machine}'s own files have another {kind} of this name or number: it is not served there"]

    def table(self) -> Mapping[str, Operation]:
        """Return the operations by name."""
        makers: dict[str, Callable[[Parameters], Decide]] = {
            "user.add": self.add_user,
            "user.modify": self.modify_user,
            "user.lock": self.lock,
            "user.age": self.age,
            "user.expire-password": self.renew_password,
            "user.delete": self.delete_user,
            "group.add": self.add_group,
            "group.modify": self.modify_group,
            "group.delete": self.delete_group,
            "group.member": self.member,
        }
        return {name: changing(self._changes, name, maker) for name, maker in makers.items()}


def check_floor(word: str, chosen: int, floor: int) -> None:
    """Refuse a number below the cluster's floor."""
    if chosen < floor:
        raise Refused("below-floor", f"{word} {chosen} is below the cluster's floor {floor}")


def _check_words(entry: UserEntry, old: UserEntry | None = None) -> None:
    if problems := word_problems(entry, old):
        raise Refused("bad-entry", f"{entry.name!r} cannot be so: {'; '.join(problems)}")


def _check_unclaimed(
    view: AccountView, kind: Kind, name: str, chosen: int | None = None, *, reuse: bool = False
) -> None:
    """Refuse a name or number that an account in a conflict claims, and a number that a deleted one had."""
    claimed = [*view.claimants(kind, "name", name)]
    if chosen is not None:
        claimed += view.claimants(kind, "number", chosen)
    if claimed:
        raise Refused("exists", f"{view.describe(claimed[0])} has it and is in conflict; see: beonss conflicts")
    if chosen is not None and not reuse and view.was_used(kind, chosen):
        word = "uid" if kind == "user" else "gid"
        raise Refused("used-before", f"{word} {chosen} was used before: files of its former owner may be about")


def _alike(view: AccountView, kind: Kind, name: str, *, but: str = "") -> list[str]:
    others = [other for other in view.names_alike(kind, name) if other != but]
    if not others:
        return []
    names = f"{kind} {_listed(others)} differs from {name} in case only"
    return [f"{names}: directories, mail and some file systems take them for one"]


def _group_number(view: AccountView, group: object, default: int) -> int:
    if group is None:
        return default
    if isinstance(group, int) and not isinstance(group, bool):
        group = str(group)
    if not isinstance(group, str) or not group or len(group) > 256:
        raise MalformedError("group is no name or number of a group")
    if not (group.isascii() and group.isdigit()):
        return intents.find_group(view, group).entry.gid
    if group.lstrip("0") == "":
        raise Refused("bad-entry", "gid 0 is the group of root")
    if len(group) > 10:
        raise Refused("bad-entry", f"{group} is no group id")
    return int(group)


def _listed(found: list[str]) -> str:
    text = ", ".join(found[:_NAMED])
    return text if len(found) <= _NAMED else f"{text} and {len(found) - _NAMED} more"


def _differing(old: Any, new: Any) -> list[str]:
    return [word for word in type(old).__annotations__ if getattr(old, word) != getattr(new, word)]


def _changed(about: str, changes: list[Change], what: list[str], **data: Any) -> Decision:
    message = f"{about} is changed: {', '.join(what)}" if changes else f"{about} is so already"
    return Decision(changes, about, message, data, ", ".join(what))
