"""Whose passwords stand in a directory: what was delivered, what stood there before, and what somebody else wrote.

Passwords are told apart by marks (:func:`beonss.core.targets.delivery.mark`): no hash is kept. The journal holds, by
user, under the name of the attribute what was delivered or about to be, and under four words what else must be known.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from beonss.core.targets.delivery import UserState, mark
from beonss.targets.journal import Journal, Mark

#: What stood there when we first looked, and the password that it did not give way to.
_SEEN = "seen"
#: Passwords that the cluster gave the user before the one of now.
_EARLIER = "earlier"
#: The directory was away at a change of the user's own, so that the password there is an older one of ours.
_MISSED = "missed"
#: That it must be changed at the next login there was written by us.
_RENEWED = "renewed"
#: Marks of earlier passwords that are remembered for one account, two for each password.
_REMEMBERED = 16


def value_mark(value: bytes) -> str:
    """Return the mark of a value of the attribute."""
    return mark(value.decode("utf-8", "surrogateescape"))


class PasswordMarks:
    """The marks of one target; blocking, but for :meth:`remember`.

    Args:
        path: of the journal.
        attribute: holds the password there.
        takeover: what becomes of a password that was there before us: it is ``never`` touched, or gives way to the
            ``next-change`` of the user.

    Raises:
        StoreError: the journal cannot be opened; or, from the methods that note something, written.
    """

    def __init__(self, path: Path, attribute: str, takeover: Literal["never", "next-change"]) -> None:
        self.journal = Journal(path)
        self._attribute = attribute
        self._takeover = takeover
        self._foreign: dict[str, str] = {}
        #: Account id -> marks of values that the cluster gave it lately; filled by the reactor's thread.
        self._recent: dict[str, tuple[str, ...]] = {}
        self._reasserted: set[str] = set()

    # --- what the cluster gave its users ------------------------------------------------------------------------------

    def remember(self, object_id: str, values: Iterable[bytes]) -> None:
        """Note values that the cluster gave an account, to be written by :meth:`earlier`."""
        marks = dict.fromkeys(map(value_mark, values))
        kept = [value for value in self._recent.get(object_id, ()) if value not in marks]
        self._recent[object_id] = tuple([*kept, *marks][-_REMEMBERED:])

    def earlier(self, state: UserState) -> set[str]:
        """Return the marks of earlier passwords of an account, after noting those that came lately."""
        kept = self.journal.get(_EARLIER, state.name)
        old = kept.base.split(" ") if kept is not None and kept.base and kept.object == state.object else []
        new = self._recent.pop(state.object, ())
        marks = [*(value for value in old if value not in new), *new][-_REMEMBERED:]
        if new and marks != old:
            self.journal.record([(_EARLIER, state.name, Mark(state.object, " ".join(marks)))])
        return set(marks)

    # --- whether it is ours -------------------------------------------------------------------------------------------

    def conflicts(self) -> dict[str, str]:
        """Return in a sentence for each user whose password there is not ours, as far as known."""
        return self._foreign.copy()

    def reassert(self, names: Iterable[str] | None) -> None:
        """Let foreign passwords of these users, or of all in conflict now, be replaced; once each."""
        self._reasserted.update(list(self._foreign) if names is None else names)

    def forget_leave(self, name: str) -> None:
        """Let nothing foreign of a user be replaced any more."""
        self._reasserted.discard(name)

    def may_replace(self, state: UserState, values: tuple[bytes, ...], goal: str, earlier: set[str]) -> bool:
        """Say whether everything in the attribute is ours, or given up to us.

        Args:
            state: the user.
            values: what stands there.
            goal: mark of what is to stand there.
            earlier: as :meth:`earlier` returned it.
        """
        if state.name in self._reasserted:
            return True
        kept = self.journal.get(self._attribute, state.name)
        ours = {goal, *earlier} if kept is None else {goal, kept.base, kept.intent, *earlier}
        foreign = [found for found in map(value_mark, values) if found not in ours]
        if not foreign:
            return True
        if self._takeover != "next-change" or (kept is not None and kept.base is not None):
            return False
        seen = self.journal.get(_SEEN, state.name)
        if seen is None or seen.base != mark(*sorted(foreign)):
            # First look: what is here came before us. It gives way to the next change, not to this one.
            self.journal.record([(_SEEN, state.name, Mark(state.object, mark(*sorted(foreign)), goal))])
            return False
        return seen.intent != goal

    def begin(self, state: UserState, goal: str) -> None:
        """Note what is about to be written."""
        kept = self.journal.get(self._attribute, state.name)
        base = kept.base if kept is not None else None
        self.journal.record([(self._attribute, state.name, Mark(state.object, base, goal))])

    def settle(self, state: UserState, goal: str) -> None:
        """Note what stands there now, and is ours."""
        self._foreign.pop(state.name, None)
        self._reasserted.discard(state.name)
        done = Mark(state.object, goal)
        if self.journal.get(self._attribute, state.name) != done:
            self.journal.record([(self._attribute, state.name, done)])

    def contest(self, name: str, text: str) -> None:
        """Note, in a sentence, that a user's password there is somebody else's."""
        self._foreign[name] = text

    # --- that it must be changed at the next login --------------------------------------------------------------------

    def is_renewal_ours(self, state: UserState) -> bool:
        """Say whether it was we who wrote that there."""
        kept = self.journal.get(_RENEWED, state.name)
        return kept is not None and kept.base is not None and kept.object == state.object

    def note_renewal(self, state: UserState) -> None:
        """Note that we write it."""
        self.journal.record([(_RENEWED, state.name, Mark(state.object, "1"))])

    def forget_renewal(self, state: UserState) -> None:
        """Note that it stands there no longer, if it was ours."""
        kept = self.journal.get(_RENEWED, state.name)
        if kept is not None and kept.base is not None:
            self.journal.record([(_RENEWED, state.name, Mark(state.object, None))])

    # --- changes that only the user can make there --------------------------------------------------------------------

    def is_changed(self, state: UserState, goal: str) -> bool:
        """Say whether the user's change to a password arrived there."""
        kept = self.journal.get(self._attribute, state.name)
        return kept is not None and kept.base == goal

    def changed(self, state: UserState, goal: str) -> None:
        """Note that it did."""
        notes = [(self._attribute, state.name, Mark(state.object, goal))]
        if self.missed(state.name):
            notes.append((_MISSED, state.name, Mark(state.object, None)))
        self.journal.record(notes)

    def missed(self, name: str) -> bool:
        """Say whether the directory missed a change of a user who has a password of ours there."""
        return self.journal.get(_MISSED, name) is not None

    def miss(self, state: UserState) -> None:
        """Note that it did; where nothing there is ours, there is nothing to note."""
        kept = self.journal.get(self._attribute, state.name)
        if kept is not None and kept.base is not None and not self.missed(state.name):
            # The next time the old one here is not the one there.
            self.journal.record([(_MISSED, state.name, Mark(state.object, "1"))])

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()
