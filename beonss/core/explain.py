"""Why a name or an address is what it is, or why there is no such thing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beonss.core.naming import Named, Naming


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to ``beonss explain``.

    Attributes:
        asked: the question.
        named: what it is, or None.
        reasons: for nothing found, why the nearest rules do not match.
    """

    asked: str
    named: "Named | None"
    reasons: tuple[str, ...] = ()


def explain(naming: "Naming", text: str) -> Explanation:
    """Explain a name or an address."""
    return Explanation(text, naming.find(text))
