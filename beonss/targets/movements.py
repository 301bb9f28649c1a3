"""Who may take a number in the account files: one that nobody has there, or one that the same writing frees.

What is delivered at once goes into a file by one rename, so it has no order: two accounts may exchange their uids, a
ring of them may pass theirs on, and no reader ever sees a uid twice. What counts is only who stays. An account stays
when it is not part of the delivery, keeps its number, or cannot be written itself; whoever wants its number then
stays too, and so on. All others move.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from beonss.core.accounts.passwdfile import Line
from beonss.core.targets.delivery import ABSENT, Outcome, State, UserState, judge
from beonss.targets.accountfiles import AccountFiles
from beonss.targets.journal import Journal

#: A line of ``passwd`` or ``group``: file and name.
Place = tuple[str, str]


#: Who takes out a line whose name went to another account, whatever becomes of that one.
_NOBODY = -1


@dataclass(slots=True)
class _Plan:
    """Which lines one delivery writes, by the states that write them, each known by its place in the delivery.

    Attributes:
        writers: line to who may write it, and the uid or gid that it then gets; None takes it out.
        lines: the same the other way round.
    """

    writers: dict[Place, dict[int, int | None]] = field(default_factory=dict)
    lines: dict[int, list[Place]] = field(default_factory=dict)

    def add(self, number: int, place: Place, value: int | None) -> None:
        self.writers.setdefault(place, {})[number] = value
        self.lines.setdefault(number, []).append(place)


class Movements:
    """Decides which states of a delivery cannot have the number they want.

    Args:
        files: as they are, read under the lock.
        journal: what of them is ours.
        covers: whether an administrator allowed to overwrite what stands under a name.
        overtaken: whether a line whose name went to another account is taken out even if that one cannot be written.
    """

    def __init__(
        self, files: AccountFiles, journal: Journal, covers: Callable[[str], bool], *, overtaken: bool
    ) -> None:
        self._files = files
        self._journal = journal
        self._covers = covers
        self._overtaken = overtaken

    def stuck(
        self, states: Sequence[State], lines: Sequence[Mapping[str, Line | None]], wrong: Mapping[int, Outcome]
    ) -> dict[int, Outcome]:
        """Return the states that cannot be written because of others' numbers, by their place in ``states``.

        The work is in proportion to the states, whatever waits for what.

        Args:
            states: what is delivered; each user and group at most once.
            lines: what each of them writes under its own name.
            wrong: those that are not written for other reasons.
        """
        result: dict[int, Outcome] = {}
        wants: dict[int, list[Place]] = {}
        claims: dict[tuple[str, int], str] = {}
        for number, state in enumerate(states):
            if state.entry is None or number in wrong or self._stands(state):
                continue
            place, value = _place(state), _value(state)
            assert value is not None
            first = claims.setdefault((place[0], value), state.name)
            if first != state.name:
                # The view changed while the delivery was put together; what is right now comes with the next.
                result[number] = Outcome("failed", f"{self._text(state)} is {first}'s in the same delivery")
                continue
            others = [(place[0], other) for other in sorted(self._files.owners(*_wanted(state)) - {state.name})]
            if others:
                wants[number] = others
        if wants:
            self._spread(states, self._plan(states, lines, {*wrong, *result}), wants, result)
        return result

    def _spread(
        self, states: Sequence[State], plan: _Plan, wants: Mapping[int, list[Place]], result: dict[int, Outcome]
    ) -> None:
        """Find who stays, from those that cannot move to those that wait for them."""
        waiting: dict[Place, list[int]] = {}
        todo: list[tuple[int, Place]] = []
        for number, places in wants.items():
            for place in places:
                waiting.setdefault(place, []).append(number)
                writers = plan.writers.get(place)
                if not writers or _value(states[number]) in writers.values():
                    todo.append((number, place))
        while todo:
            number, place = todo.pop()
            if number in result:
                continue
            result[number] = self._outcome(states[number], place)
            for line in plan.lines.get(number, ()):
                del plan.writers[line][number]
                if not plan.writers[line]:
                    todo += [(other, line) for other in waiting.get(line, ())]

    def _plan(self, states: Sequence[State], lines: Sequence[Mapping[str, Line | None]], wrong: set[int]) -> _Plan:
        plan = _Plan()
        names = {_place(state) for state in states if state.entry is not None}
        for number, state in enumerate(states):
            place = file, name = _place(state)
            kept = self._journal.get(file, name)
            others = kept is not None and kept.object != state.object
            if state.entry is not None and others and self._overtaken and self._writes(place, None):
                plan.add(_NOBODY, place, None)
            if number in wrong:
                continue
            foreign = others or self._files.is_system(state)
            if (state.entry is not None or not foreign) and self._writes(place, lines[number][file]):
                plan.add(number, place, _value(state))
            for old in self._journal.names_of(file, state.object) - {name}:
                if (file, old) not in names and self._writes((file, old), None):
                    plan.add(number, (file, old), None)
        return plan

    def _writes(self, place: Place, want: Line | None) -> bool:
        """Say whether a line would be made what is wanted, rather than left to somebody who edited it."""
        file, name = place
        kept = self._journal.get(file, name)
        base, intent = (kept.base, kept.intent) if kept is not None else (None, None)
        goal = ABSENT if want is None else self._files.mark(want)
        return judge(base, intent, self._files.found(file, name), goal) != "conflict" or self._covers(name)

    def _stands(self, state: State) -> bool:
        """Say whether the state's account has its number here already."""
        file, name = _place(state)
        line = self._files.user(name) if file == "passwd" else self._files.group(name)
        found = None if line is None else getattr(line, "uid" if file == "passwd" else "gid")
        return bool(found == _value(state))

    def _outcome(self, state: State, place: Place) -> Outcome:
        file, other = place
        ours = self._journal.get(file, other) is not None
        text = f"{self._files.etc / file}: {self._text(state)} is {other}'s here"
        return Outcome("conflict", f"{text}, which is not changed either" if ours else text, joint=ours)

    def _text(self, state: State) -> str:
        return f"{'uid' if isinstance(state, UserState) else 'gid'} {_value(state)} of {state.name}"


def _place(state: State) -> Place:
    return ("passwd" if isinstance(state, UserState) else "group", state.name)


def _value(state: State) -> int | None:
    if isinstance(state, UserState):
        return None if state.entry is None else state.entry.uid
    return None if state.entry is None else state.entry.gid


def _wanted(state: State) -> tuple[str, int]:
    value = _value(state)
    assert value is not None
    return _place(state)[0], value
