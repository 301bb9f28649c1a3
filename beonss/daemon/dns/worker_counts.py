"""The counters of several DNS processes as one, those that are gone included."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from beonss.net.dns.counters import DNSCounters
from beonss.net.dns.forward import GAUGES as FORWARD_GAUGES

#: How a process stands now; not part of a sum over those that are gone.
_GAUGES: Final = frozenset({"connections", "table"})
_NUMBERS: Final = tuple(name for name in DNSCounters.__dataclass_fields__ if name not in {"codes", "fallback"})


class Sums:
    """What the processes that are gone have done."""

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()
        self._codes: Counter[str] = Counter()
        self._fallback: Counter[str] = Counter()

    def keep(self, told: Mapping[str, Any]) -> None:
        """Keep what a process told last.

        Args:
            told: :class:`DNSCounters` as plain data; what is none counts as nothing.
        """
        self._add({name: value for name, value in told.items() if name not in _GAUGES}, FORWARD_GAUGES)

    def total(self, own: DNSCounters, told: Iterable[Mapping[str, Any]]) -> DNSCounters:
        """Return the sum of all that is kept, the daemon's own counters, and what living processes told."""
        sums = Sums()
        sums._numbers += self._numbers
        sums._codes += self._codes
        sums._fallback += self._fallback
        for each in ({**_numbers(own), "codes": dict(own.codes), "fallback": dict(own.fallback)}, *told):
            sums._add(each)
        return DNSCounters(
            **{name: sums._numbers[name] for name in _NUMBERS}, codes=dict(sums._codes), fallback=dict(sums._fallback)
        )

    def _add(self, told: Mapping[str, Any], but: frozenset[str] = frozenset()) -> None:
        self._numbers.update({name: told[name] for name in _NUMBERS if type(told.get(name)) is int})
        for into, part in ((self._codes, told.get("codes")), (self._fallback, told.get("fallback"))):
            if isinstance(part, dict):
                into.update(
                    {str(name): value for name, value in part.items() if type(value) is int and name not in but}
                )


def queries(told: Mapping[str, Any]) -> int:
    """Return how many queries a process was asked."""
    return sum(value for name in ("udp", "tcp") if type(value := told.get(name)) is int)


def _numbers(counters: DNSCounters) -> dict[str, int]:
    return {name: getattr(counters, name) for name in _NUMBERS}
