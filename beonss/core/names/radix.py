"""Mixed-radix sets of integers: what the addresses of a rule are, and what the digits of its names are.

The addresses of ``10.5.{rack}.{slot}`` are ``base + 256 * rack + slot``: a base plus weighted digits, each
from its own :class:`RangeSet`. As long as every weight exceeds the spread of all smaller digits together,
such a number determines its digits, its successor is found digit by digit, and two sets are compared
without enumerating either. Strings of decimal digits are the same thing with weights that are powers of ten.
"""

from collections.abc import Sequence
from math import gcd

from beonss.core.names.ranges import RangeSet

#: Steps one comparison may take before it gives up; far above what any sane description needs.
STEPS = 20_000


class UndecidedError(Exception):
    """Two sets could not be told apart within the allowed number of steps."""


class Budget:
    """How many steps a number of comparisons may take together.

    Attributes:
        left: what is left; every proof of a sane description leaves nearly all of it.
    """

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        """Take some; UndecidedError when there are none left."""
        if steps > self.left:
            raise UndecidedError
        self.left -= steps


class MixedRadix:
    """The integers ``base + sum(weight[i] * digit[i])`` with each digit from its own set.

    Attributes:
        base: added to every number.
        weights: positive, in the order of the digits as given.
        digits: the set each digit comes from; none empty.
        low: the least number.
        high: the greatest number.
        positional: whether a number determines its digits by division; decode, successor and
            first_common need this.
    """

    __slots__ = ("_order", "_rest", "base", "digits", "high", "low", "positional", "weights")

    def __init__(self, base: int, weights: Sequence[int], digits: Sequence[RangeSet]) -> None:
        self.base = base
        self.weights = tuple(weights)
        self.digits = tuple(digits)
        # Heaviest first; of equal weights the one with a single value first, for it needs no room below it.
        self._order = sorted(range(len(self.weights)), key=lambda i: (-self.weights[i], self.digits[i].size))
        low = high = 0
        rest: list[tuple[int, int]] = []
        positional = True
        for i in reversed(self._order):
            rest.append((low, high))
            if self.digits[i].size > 1 and high - low >= self.weights[i]:
                positional = False
            low += self.weights[i] * self.digits[i].low
            high += self.weights[i] * self.digits[i].high
        self._rest = rest[::-1]
        self.positional = positional
        self.low = base + low
        self.high = base + high

    def encode(self, values: Sequence[int]) -> int:
        """Return the number of these digits, given in the order of ``weights``; they are not checked."""
        return self.base + sum(weight * value for weight, value in zip(self.weights, values, strict=True))

    def decode(self, number: int) -> list[int] | None:
        """Return the digits of ``number`` in the order of ``weights``, or None if it is not in the set."""
        if not self.low <= number <= self.high:
            return None
        rest = number - self.base
        values = [0] * len(self.weights)
        for i, (low, _) in zip(self._order, self._rest, strict=True):
            weight, digit = self.weights[i], self.digits[i]
            value = digit.low if digit.size == 1 else (rest - low) // weight
            if value not in digit:
                return None
            values[i] = value
            rest -= value * weight
        return values if rest == 0 else None

    def successor(self, number: int) -> int | None:
        """Return the least member that is ``number`` or more, or None."""
        if number <= self.low:
            return self.low
        if number > self.high:
            return None
        rest = number - self.base
        total = self.base
        for i, (low, high) in zip(self._order, self._rest, strict=True):
            weight, digit = self.weights[i], self.digits[i]
            # The least value whose greatest completion still reaches what is asked for.
            value = digit.successor(-((high - rest) // weight))
            assert value is not None, "there is one below self.high"
            total += value * weight
            rest -= value * weight
            if rest <= low:
                return total + low
        return total

    def first_common(self, other: "MixedRadix", budget: Budget | None = None) -> int | None:
        """Return a number in both sets, or None when there is provably none.

        The sets are cut into independent parts where their digits line up (octets, decimal places); only
        what cannot be cut is searched, by leaps from member to member.

        Raises:
            UndecidedError: the sets interleave in a way that would take too long to compare.
        """
        if self.high < other.low or other.high < self.low:
            return None
        for modulus in sorted({*self.weights, *other.weights}, reverse=True):
            if modulus > 1:
                mine, theirs = self.cut(modulus), other.cut(modulus)
                if mine is not None and theirs is not None:
                    above = mine[0].first_common(theirs[0], budget)
                    below = None if above is None else mine[1].first_common(theirs[1], budget)
                    return None if above is None or below is None else above * modulus + below
        exact = _one_digit(self, other)
        return self._leapfrog(other, budget or Budget(STEPS)) if exact is None else exact[0]

    def cut(self, modulus: int) -> "tuple[MixedRadix, MixedRadix] | None":
        """Return (quotients, remainders) where the set is their full product, or None where it is not."""
        above = [i for i, weight in enumerate(self.weights) if weight % modulus == 0]
        below = [i for i, weight in enumerate(self.weights) if weight % modulus]
        low = self.base + sum(self.weights[i] * self.digits[i].low for i in below)
        high = self.base + sum(self.weights[i] * self.digits[i].high for i in below)
        carry = low // modulus
        if carry != high // modulus:
            return None
        quotients = MixedRadix(carry, [self.weights[i] // modulus for i in above], [self.digits[i] for i in above])
        remainders = MixedRadix(
            self.base - carry * modulus, [self.weights[i] for i in below], [self.digits[i] for i in below]
        )
        return quotients, remainders

    def _leapfrog(self, other: "MixedRadix", budget: Budget) -> int | None:
        number: int | None = max(self.low, other.low)
        for _ in range(STEPS):
            budget.spend()
            mine = self.successor(number) if number is not None else None
            if mine is None:
                return None
            number = other.successor(mine)
            if number == mine:
                return mine
        raise UndecidedError


def _one_digit(one: MixedRadix, two: MixedRadix) -> tuple[int | None] | None:
    """Return (first_common,) where each set has at most one digit that varies and arithmetic answers, else None."""
    (base, weight, values), (other_base, other_weight, other_values) = _varying(one), _varying(two)
    if values is None or other_values is None:
        return None
    if weight == other_weight:
        distance, rest = divmod(other_base - base, weight)
        common = None if rest else values.first_common(other_values.shifted(distance))
        return (None if common is None else base + weight * common,)
    if len(values.spans) > 1 or len(other_values.spans) > 1:
        return None
    # Two arithmetic progressions: x with base + weight * x = other_base (mod other_weight), by the extended Euclid.
    divisor = gcd(weight, other_weight)
    if (other_base - base) % divisor:
        return (None,)
    period = other_weight // divisor
    first = (other_base - base) // divisor * pow(weight // divisor, -1, period) % period if period > 1 else 0
    low = max(values.low, -((base - other_base - other_weight * other_values.low) // weight))
    number = base + weight * (low + (first - low) % period)
    return (number if number <= min(one.high, two.high) else None,)


def _varying(numbers: MixedRadix) -> tuple[int, int, RangeSet | None]:
    """Return base, weight and values of the one digit that varies; no values if several do."""
    several = [i for i, digit in enumerate(numbers.digits) if digit.size > 1]
    if len(several) > 1:
        return 0, 1, None
    constant = (w * digit.low for w, digit in zip(numbers.weights, numbers.digits, strict=True) if digit.size == 1)
    base = numbers.base + sum(constant)
    if not several:
        return base, 1, RangeSet.between(0, 0)
    return base, numbers.weights[several[0]], numbers.digits[several[0]]
