"""Making a failing life smaller: fewer people's actions, misfortunes and masters, as long as it fails alike."""

from dataclasses import dataclass, replace

from support.simulator.lives import ACTIONS, MISFORTUNES, SIZES, live


@dataclass(frozen=True, slots=True)
class Life:
    """One life, with how much happens in it."""

    kind: str
    seed: int
    masters: int
    actions: int = ACTIONS
    misfortunes: int = MISFORTUNES

    def live(self) -> None:
        """Live it.

        Raises:
            AssertionError: something did not hold.
        """
        live(self.kind, self.seed, masters=self.masters, actions=self.actions, misfortunes=self.misfortunes)

    def failure(self) -> str:
        """Return what did not hold, without its numbers; empty if all did."""
        try:
            self.live()
        except Exception as error:
            return type(error).__name__ + "".join(c for c in str(error) if not c.isdigit())[:40]
        return ""


def shrunk(kind: str, seed: int, tries: int = 60) -> Life:
    """Return a smaller life that fails in the same way as the one of that seed, or the same one.

    Args:
        kind: of the life.
        seed: it fails.
        tries: lives that are tried, at most.
    """
    best = Life(kind, seed, SIZES[seed % len(SIZES)])
    wanted = best.failure()
    smaller = True
    while smaller and tries > 0:
        smaller = False
        for less in (
            replace(best, masters=best.masters - 1),
            replace(best, misfortunes=best.misfortunes // 2),
            replace(best, misfortunes=best.misfortunes - 1),
            replace(best, actions=best.actions // 2),
            replace(best, actions=best.actions - max(1, best.actions // 8)),
        ):
            if less.masters < 2 or less.misfortunes < 0 or less.actions < 1 or less == best:
                continue
            tries -= 1
            if less.failure() == wanted:
                best, smaller = less, True
                break
    return best
