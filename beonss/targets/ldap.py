"""A directory as a delivery target: the password of entries that exist there already.

Users are made and removed in the directory by whoever runs it. We bring the hash, as ``{CRYPT}$6$...``, after
looking: what is already right is not written, what we wrote before is replaced under the condition that it
is still there, and what somebody else wrote is reported and left. A locked account gets a hash that nothing matches.
Several masters may deliver to one directory.
"""

import contextlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from beonss.core.accounts.entries import Password
from beonss.core.passwords.hashes import directory_parts
from beonss.core.targets.delivery import (
    DELIVERED,
    GroupState,
    Outcome,
    PermanentTargetError,
    State,
    TemporaryTargetError,
    UserState,
    mark,
    shadow_hash,
)
from beonss.core.targets.edits import AccountEdit, Findings
from beonss.store.crypt import crypt_form
from beonss.targets.ldapmarks import PasswordMarks, value_mark
from beonss.targets.ldapservers import AWAY, READ_ONLY, LdapServer, ServerOrder
from beonss.targets.ldapwire import (
    ADD,
    CONSTRAINT,
    DELETE,
    OVERTAKEN,
    REFERRAL,
    REPLACE,
    SUCCESS,
    TRANSIENT,
    UNWILLING,
    Found,
    InvalidCredentialsError,
    LdapConnection,
    Result,
    escaped,
)

#: Attributes that a filter compares with the whole login name.
_NAMED = re.compile(r"\(\s*([A-Za-z][A-Za-z0-9-]*)\s*=\{name\}\)")
DEFAULT_FILTER = "(&(objectClass=posixAccount)(uid={name}))"
#: draft-behera-ldap-password-policy: the control that tells of it, and the value that means "until an administrator".
_PPOLICY = "1.3.6.1.4.1.42.2.27.8.5.1"
_FOR_GOOD = b"000001010000Z"


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """How a directory is delivered to.

    Attributes:
        name: the target's name.
        server: where it is and who we are there.
        journal: the file that remembers what was delivered.
        base: distinguished name of the subtree of users.
        filter: finds a user's entry; ``{name}`` is the login name.
        attribute: holds the hash.
        prefix: before the hash; OpenLDAP knows a crypt(3) hash by ``{CRYPT}``.
        mode: ``hash``; ``exop``: only the user's own change is passed on, by RFC 3062, for directories that refuse
            hashes; ``refuse``: the same, but first: what the directory does not take is changed nowhere.
        takeover: what to do with a password that was in the directory before us: ``never`` touch it, or replace
            it at the ``next-change`` of the user.
        shadow: also set ``shadowLastChange`` where the entry is a shadowAccount.
    """

    name: str
    server: LdapServer
    journal: Path
    base: str
    filter: str = DEFAULT_FILTER
    attribute: str = "userPassword"
    prefix: str = "{CRYPT}"
    mode: Literal["hash", "exop", "refuse"] = "hash"
    takeover: Literal["never", "next-change"] = "never"
    shadow: bool = True


class LdapTarget:
    """Delivers passwords to a directory; blocking, one delivery at a time.

    Raises:
        StoreError: the journal cannot be opened.
    """

    kind = "ldap"
    shared = True
    batch_limit: int | None = 100

    def __init__(self, settings: LdapSettings) -> None:
        self.settings = settings
        self.name = settings.name
        self.mode: str = settings.mode
        self._marks = PasswordMarks(settings.journal, settings.attribute, settings.takeover)
        self._order = ServerOrder(settings.server.uris)

    def remember(self, object_id: str, password: Password) -> None:
        """Note a password that the cluster gave an account, whoever delivers it.

        It may stand in the directory though this master never wrote or saw it there: another one was faster, and is
        gone. It is the cluster's all the same, and gives way to a later one.
        """
        self._marks.remember(object_id, [self._value(password, locked=locked) for locked in (False, True)])

    def conflicts(self) -> list[str]:
        """Return which users have a password there that is not ours, one sentence each."""
        return [text for _, text in sorted(self._marks.conflicts().items())]

    def reassert(self, names: Iterable[str] | None = None, *, shrink: bool = False) -> None:  # noqa: ARG002 - nothing is removed here
        """Let the next delivery overwrite foreign passwords of these users, or of all in conflict now; once each."""
        self._marks.reassert(names)

    # What somebody else wrote there, made ours because an administrator says so

    #: Nothing is taken over from a directory by itself; a source does that (:mod:`beonss.targets.directory`).
    imports = False

    def stirred(self) -> bool:
        """Say no: a directory is looked at when there is something to deliver."""
        return False

    def contested(self) -> tuple[str, ...]:
        """Return the users whose password there is not ours, as far as known."""
        return tuple(sorted(self._marks.conflicts()))

    def look(self, adopt: Collection[str] | None = ()) -> tuple[str, ...]:  # noqa: ARG002 - only names count here
        """Return nothing: users are named by whoever asks."""
        return ()

    def edits(self, states: Sequence[State], adopt: Collection[str] | None = ()) -> Findings:
        """Return the passwords that stand in the directory, of the users that were named.

        Raises:
            TemporaryTargetError, PermanentTargetError: as for :meth:`deliver`.
        """
        found: list[AccountEdit] = []
        strange: list[tuple[str, str, str]] = []
        with LdapConnection(self.settings.server, order=self._order) as connection:
            for state in states:
                if isinstance(state, GroupState) or state.entry is None or not (adopt is None or state.name in adopt):
                    continue
                entry = self._find(connection, state.name)
                if isinstance(entry, Outcome):
                    strange.append(("user", state.name, entry.text))
                    continue
                made = self._secret(state, entry.attributes.get(self.settings.attribute.lower(), ()))
                if isinstance(made, AccountEdit):
                    found.append(made)
                elif made:
                    strange.append(("user", state.name, made))
        return Findings(tuple(found), problems=tuple(strange))

    def _secret(self, state: UserState, values: tuple[bytes, ...]) -> AccountEdit | str:
        hashes = [crypt_form(value) for value in values]
        if len(hashes) != 1 or hashes[0] is None:
            return "the directory shows no single password that can be taken over"
        if state.password is not None and state.password.hash == hashes[0]:
            return ""
        return AccountEdit("user", state.object, state.name, password=Password(hashes[0]))

    def looked(self, refused: Sequence[tuple[str, str, str]] = ()) -> None:
        """Note nothing: the delivery that follows finds its value there."""

    def close(self) -> None:
        """Close the journal."""
        self._marks.close()

    def deliver(self, states: Sequence[State]) -> list[Outcome]:
        """Bring the passwords of ``states`` to the directory; one outcome per state, in their order.

        Raises:
            TemporaryTargetError: no server answers.
            PermanentTargetError: a server answers and does not let us in.
            StoreError: the journal cannot be written.
        """
        if not any(isinstance(state, UserState) and state.password is not None for state in states):
            return [DELIVERED] * len(states)
        if self.settings.mode != "hash":
            return [self._pending(state) for state in states]
        for state in states:
            if isinstance(state, UserState):
                # On disk before anything can fail: another master may write these there meanwhile, and die.
                self._marks.earlier(state)
        outcomes: list[Outcome] = []
        tries = len(self.settings.server.uris)
        while True:
            tries -= 1
            with LdapConnection(self.settings.server, order=self._order) as connection:
                try:
                    for state in states[len(outcomes) :]:
                        try:
                            outcomes.append(self._deliver(connection, state))
                        except _ElsewhereError as error:
                            # The next server may take it; this one comes last for a while.
                            self._order.put_last(connection.uri, error.seconds)
                            if tries > 0:
                                break
                            outcomes.append(error.outcome)
                    else:
                        return outcomes
                except TemporaryTargetError as error:
                    # It went away: not one timeout for each of the others.
                    self._order.put_last(connection.uri, AWAY)
                    return outcomes + [Outcome("failed", str(error))] * (len(states) - len(outcomes))

    def _deliver(self, connection: LdapConnection, state: State) -> Outcome:
        if isinstance(state, GroupState) or state.entry is None or state.password is None:
            return DELIVERED
        found = self._find(connection, state.name)
        if isinstance(found, Outcome):
            # Leave to overwrite is not kept for an entry that is made one day.
            self._marks.forget_leave(state.name)
            return found
        attribute = self.settings.attribute
        want = self._value(state.password, locked=state.locked)
        values = found.attributes.get(attribute.lower(), ())
        goal = value_mark(want)
        earlier = self._marks.earlier(state)
        if values == (want,):
            self._marks.settle(state, goal)
            return self._renew(connection, found, state) or DELIVERED
        if not self._marks.may_replace(state, values, goal, earlier):
            return self._conflict(state, found)
        if not state.locked and _FOR_GOOD in found.attributes.get("pwdaccountlockedtime", ()):
            # A new password would let its owner in again, where somebody decided otherwise.
            return Outcome(
                "refused",
                f"{self.settings.name}: {found.dn} is locked there (pwdAccountLockedTime); "
                "it gets its password when it is unlocked there",
            )
        self._marks.begin(state, goal)
        changes: dict[str, Any] = {attribute: []}
        old = [value for value in values if value != want]
        if old:
            # Names the values: if one is no longer there, nothing is done.
            changes[attribute].append((DELETE, old))
        if want not in values:
            changes[attribute].append((ADD, [want]))
        classes = {value.lower() for value in found.attributes.get("objectclass", ())}
        if self.settings.shadow and b"shadowaccount" in classes and state.password.changed is not None:
            changes["shadowLastChange"] = [(REPLACE, [str(state.password.changed)])]
        result = connection.modify(found.dn, changes, absent=None if values else attribute)
        if result.code == UNWILLING and values:
            # OpenLDAP's policies take a deleted value for the old password as its owner types it. The same condition,
            # said as an assertion, is none of their business.
            replaced = {**changes, attribute: [(REPLACE, [want])]}
            second = connection.modify(found.dn, replaced, only=(attribute, values))
            result = result if second.code == UNWILLING else second
        if result.code == SUCCESS:
            self._marks.settle(state, goal)
            self._renewed(state)
            return self._let_in(connection, found, state) or DELIVERED
        return self._unwilling(found.dn, result)

    def _renew(self, connection: LdapConnection, found: Found, state: UserState) -> Outcome | None:
        """Bring along that the password must be changed at the next login, or no longer, where it stands there already.

        Any other day is left, and a day 0 that is not ours: days are told with the password they belong to.
        """
        classes = {value.lower() for value in found.attributes.get("objectclass", ())}
        there = found.attributes.get("shadowlastchange", ())
        assert state.password is not None
        day = state.password.changed
        if not self.settings.shadow or b"shadowaccount" not in classes or day is None:
            return None
        if (day == 0) == (there == (b"0",)) or not (day == 0 or self._marks.is_renewal_ours(state)):
            return None
        if day == 0:
            self._marks.note_renewal(state)
        result = connection.modify(found.dn, {"shadowLastChange": [(REPLACE, [str(day)])]})
        if result.code != SUCCESS:
            return self._unwilling(found.dn, result)
        self._renewed(state)
        return None

    def _renewed(self, state: UserState) -> None:
        """Forget that day 0 there is ours, where it is not any more."""
        if state.password is not None and state.password.changed != 0:
            self._marks.forget_renewal(state)

    def _let_in(self, connection: LdapConnection, found: Found, state: UserState) -> Outcome | None:
        """Take back that the directory wants yet another password (pwdMustChange): this one is its owner's choice."""
        if not connection.supports(_PPOLICY) or state.password is None or state.password.changed == 0:
            return None
        now = connection.search(found.dn, "(pwdReset=TRUE)", ["pwdReset"])
        if not now or found.attributes.get("pwdreset", ()) == (b"TRUE",):
            return None
        result = connection.modify(found.dn, {"pwdReset": [(REPLACE, ["FALSE"])]})
        if result.code == SUCCESS:
            return None
        return Outcome(
            "delivered", f"{self.settings.name}: {found.dn} has to choose another password there: {result.text}"
        )

    def _value(self, password: Password, *, locked: bool) -> bytes:
        """Return what the attribute is to hold; a hash that came from a directory has its own prefix."""
        own = directory_parts(password.hash) is not None and not locked
        text = password.hash if own else self.settings.prefix + shadow_hash(password, locked)
        return text.encode("utf-8", "surrogateescape")

    def _find(self, connection: LdapConnection, name: str) -> Found | Outcome:
        settings = self.settings
        query = settings.filter.replace("{name}", escaped(name))
        naming = _NAMED.findall(settings.filter)
        entries = connection.search(
            settings.base,
            query,
            [settings.attribute, "objectClass", "pwdAccountLockedTime", "pwdReset", "shadowLastChange", *naming],
        )
        spelled = [entry for entry in entries if _is_spelled(entry, naming, name)]
        if entries and not spelled:
            return Outcome(
                "refused",
                f"{settings.name}: {entries[0].dn} is found for {name}, but is spelled otherwise; here those are two "
                f"users. Make an entry for {name}, or give one of the two the other's spelling",
            )
        entries = spelled
        if not entries:
            return Outcome(
                "refused", f"{settings.name}: no entry for {name} below {settings.base}; make it there first"
            )
        if len(entries) > 1:
            return Outcome("refused", f"{settings.name}: more than one entry for {name} below {settings.base}")
        return entries[0]

    def _conflict(self, state: UserState, found: Found) -> Outcome:
        text = (
            f"{self.settings.name}: the password of {state.name} ({found.dn}) was set by somebody else and is left; "
            f"to overwrite it: beonss accounts reassert --target {self.settings.name} {state.name}"
        )
        self._marks.contest(state.name, text)
        return Outcome("conflict", text)

    def _unwilling(self, dn: str, result: Result) -> Outcome:
        """Return what a refusal means.

        Raises:
            _ElsewhereError: another server may take what this one does not.
        """
        name = self.settings.name
        if result.code in OVERTAKEN:
            return Outcome("failed", f"{name}: {dn} was changed in this moment; looked at again soon")
        if result.code in TRANSIENT:
            text = f"{name}: {dn} cannot be changed now: {result.text}"
            raise _ElsewhereError(Outcome("failed", text), AWAY)
        if result.code == REFERRAL or (result.code == UNWILLING and "shadow context" in result.text):
            where = f"; it names {', '.join(result.referrals)}" if result.referrals else ""
            text = f"{name}: {dn} is in a read-only copy{where}: name the server that takes changes in uris"
            raise _ElsewhereError(Outcome("refused", text), READ_ONLY)
        hint = ""
        if result.code == CONSTRAINT and self.settings.mode == "hash":
            hint = '; if it takes no hashes: mode = "exop"'
        return Outcome("refused", f"{name}: does not take the password of {dn}: {result.text}{hint}")

    # For directories that take no hashes: the user's own change, while the plaintext is there.

    def _pending(self, state: State) -> Outcome:
        if isinstance(state, GroupState) or state.entry is None or state.password is None:
            return DELIVERED
        if self._marks.is_changed(state, mark(state.password.hash)):
            return DELIVERED
        return Outcome("refused", f"{self.settings.name}: pending for {state.name}: run cpasswd again")

    def change_as_user(self, state: State, old: bytes, new: bytes) -> Outcome:
        """Change a password in the directory as the user who asks for it (RFC 3062).

        Args:
            state: the user, with the hash of the new password; it is remembered as delivered.
            old: the password until now.
            new: the new one.
        """
        if self.settings.mode == "hash" or isinstance(state, GroupState) or state.password is None:
            return DELIVERED
        try:
            outcome = self._change_as_user(state, old, new)
        except TemporaryTargetError as error:
            outcome = Outcome("failed", str(error))
        except PermanentTargetError as error:
            outcome = Outcome("refused", str(error))
        if outcome.verdict == "delivered":
            self._marks.changed(state, mark(state.password.hash))
        elif outcome.verdict == "failed" and self.settings.mode == "exop":
            self._marks.miss(state)
        return outcome

    def _change_as_user(self, state: UserState, old: bytes, new: bytes) -> Outcome:
        with LdapConnection(self.settings.server, order=self._order) as connection:
            found = self._find(connection, state.name)
        if isinstance(found, Outcome):
            return found
        last = DELIVERED
        for _ in self.settings.server.uris:
            try:
                with LdapConnection(self.settings.server, (found.dn, old), self._order) as connection:
                    result = connection.modify_password(found.dn, old, new)
                    return DELIVERED if result.code == SUCCESS else self._unwilling(found.dn, result)
            except InvalidCredentialsError as error:
                return self._after_a_miss(found.dn, state, new, str(error))
            except _ElsewhereError as error:
                self._order.put_last(connection.uri, error.seconds)
                last = error.outcome
        return last

    def _after_a_miss(self, dn: str, state: UserState, new: bytes, why: str) -> Outcome:
        """Help a user whose password there is not the one here.

        If it is the new one already, that is that. If the directory missed a change of ours, so that the user cannot
        know what to type, our own rights there are tried; they may not reach so far.
        """
        with (
            contextlib.suppress(InvalidCredentialsError),
            LdapConnection(self.settings.server, bind_as=(dn, new), order=self._order),
        ):
            return DELIVERED
        if not self._marks.missed(state.name):
            return Outcome("refused", why)
        with LdapConnection(self.settings.server, order=self._order) as connection:
            result = connection.modify_password(dn, None, new)
        if result.code == SUCCESS:
            return DELIVERED
        return Outcome(
            "refused",
            f"{self.settings.name}: {dn} still has the password from before the directory was away; change it there, "
            f"with that one: {result.text}",
        )


class _ElsewhereError(Exception):
    """This server does not take a change, but another one of the same directory may.

    Attributes:
        outcome: if there is no other.
        seconds: for which this one comes last.
    """

    def __init__(self, outcome: Outcome, seconds: float) -> None:
        super().__init__(outcome.text)
        self.outcome = outcome
        self.seconds = seconds


def _is_spelled(found: Found, naming: Sequence[str], name: str) -> bool:
    """Say whether an entry has the login name letter by letter: to a directory Kay and kay are one, to us two users.

    What we may search and not read cannot be looked at, and is believed.
    """
    values = [value for attribute in naming for value in found.attributes.get(attribute.lower(), ())]
    return not values or name.encode("utf-8", "surrogateescape") in values
