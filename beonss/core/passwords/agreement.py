"""Which scheme new passwords are hashed with: the cluster's, where every master can make and verify it.

A password that one master cannot verify is a login that fails there. The masters tell each other what their libcrypt
can do with each greeting (:class:`beonss.wire.sync.Hello`); until one has said so, it is taken to be able to do no
more than every libcrypt can.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from beonss.core.passwords.hashes import DEFAULT_SCHEME, SCHEMES

#: What a master can do that has not said anything (an older version, or nobody has met it since the start).
EVERYWHERE = frozenset({"sha512crypt", "sha256crypt"})


@dataclass(frozen=True, slots=True)
class Agreement:
    """What new passwords are hashed with now.

    Attributes:
        scheme: a key of :data:`beonss.core.passwords.hashes.SCHEMES`.
        cost: in its own measure; None for its default.
        unable: masters that cannot do what the cluster wants, in the order of their names.
        silent: those of which it is not known.
    """

    scheme: str
    cost: int | None
    unable: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    def problem(self, wanted: str) -> str:
        """Return in words why it is not what the cluster wants; empty if it is."""
        reasons = []
        if self.unable:
            reasons.append(f"the libcrypt of {', '.join(self.unable)} does not know it")
        if self.silent:
            reasons.append(f"{', '.join(self.silent)} has not said so far whether it can verify it")
        if not reasons:
            return ""
        return f"new passwords are hashed with {self.scheme} instead of {wanted}: {'; '.join(reasons)}"


def agreed(
    wanted: str, cost: int | None, here: tuple[str, Collection[str]], others: Mapping[str, Collection[str] | None]
) -> Agreement:
    """Return what every master can make and verify: the wanted scheme, or the best one that all have.

    Args:
        wanted: the cluster's scheme.
        cost: the cluster's cost for it.
        here: name of this master, and the schemes that it can do.
        others: of every other member that has joined the same, None where it has said nothing.
    """
    known = {here[0]: here[1], **{name: said for name, said in others.items() if said is not None}}
    silent = tuple(sorted(name for name, said in others.items() if said is None)) if wanted not in EVERYWHERE else ()
    unable = tuple(sorted(name for name, said in known.items() if wanted not in said))
    if not silent and not unable:
        return Agreement(wanted, cost)
    common = [*known.values(), *([EVERYWHERE] if silent else [])]
    # The cluster's cost is in the measure of the other scheme.
    ranked = (DEFAULT_SCHEME, *(name for name in SCHEMES if name in EVERYWHERE))
    scheme = next((name for name in ranked if all(name in said for said in common)), DEFAULT_SCHEME)
    return Agreement(scheme, None, unable, silent)
