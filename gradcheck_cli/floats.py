"""Floating-point formats: unit roundoff, range and the distance in ulps.

The values of every supported format are doubles too, so all arithmetic on them here is done on float64 arrays.

*ulp distance*: `|value - exact| / ulp(exact)`, where `ulp(exact)` is the gap between the two neighbouring floats of the
format that enclose `exact` (below the smallest normal number: the smallest subnormal). A correctly rounded result is
at most 1/2 away. (Muller et al., Handbook of Floating-Point Arithmetic, 2nd ed., section 2.3.2, Goldberg's definition.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PIECE = 1 << 15
"""Numbers that are worked on at once, so that what is made of them on the way stays in a processor's cache."""


def pieces(count: int, each: int = 1) -> Iterator[slice]:
    """Slices of so many entries, of so many numbers `each`."""
    step = max(1, PIECE // max(each, 1))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


_FRACTION, _EXPONENT = 52, 2047
"""Where the exponent of a double begins, and its bits."""


_NATIVE = {24: np.float32, 11: np.float16}
"""NumPy's own types of so many bits, which it rounds to as IEEE 754 says."""


@cache
def _gaps(bits: int, least: int) -> Floats:
    """The gap between floats of so many bits, for each exponent that a double can have, `least` being the smallest of a normal
    float; nan for what isn't finite."""
    exponents = np.maximum(np.arange(_EXPONENT + 1) - _EXPONENT // 2, least)
    found: Floats = np.ldexp(1.0, exponents - (bits - 1))
    found[_EXPONENT] = np.nan
    return found


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format: `bits` of significand (the hidden one included) and the exponent range.

    Sources: IEEE 754-2019 table 3.5 (binary16, 32, 64); bfloat16: Intel, BFLOAT16 Hardware Numerics Definition, 2018.
    """

    name: str
    bits: int
    minimum_exponent: int  # of the smallest normal number, 2**minimum_exponent
    maximum_exponent: int  # the largest number is (2 - 2**(1 - bits)) * 2**maximum_exponent

    @property
    def width(self) -> int:
        """Bits of a number in memory: the sign, a fraction without its hidden bit, and the exponent."""
        return self.bits + (self.maximum_exponent + 1).bit_length()

    @property
    def unit_roundoff(self) -> float:
        """u = 2**-bits: half the gap after 1."""
        return 2.0**-self.bits

    @property
    def smallest_normal(self) -> float:
        return 2.0**self.minimum_exponent

    @property
    def smallest_subnormal(self) -> float:
        return 2.0 ** (self.minimum_exponent - self.bits + 1)

    @property
    def largest(self) -> float:
        return (2.0 - 2.0 ** (1 - self.bits)) * 2.0**self.maximum_exponent

    def ulp(self, values: npt.ArrayLike) -> Floats:
        """The gap at each value; nan for values that are not finite."""
        x = np.asarray(values, dtype=np.float64)
        found: Floats = _gaps(self.bits, self.minimum_exponent)[(x.view(np.int64) >> _FRACTION) & _EXPONENT]
        return found

    def gap(self, value: float) -> float:
        """`ulp` of one number, without arrays."""
        if not math.isfinite(value):
            return math.nan
        exponent = math.frexp(value)[1] - 1 if value else self.minimum_exponent
        return math.ldexp(1.0, max(exponent, self.minimum_exponent) - (self.bits - 1))

    def round(self, values: npt.ArrayLike) -> Floats:
        """The nearest floats of this format (ties to even); beyond the largest, an infinity."""
        x = np.asarray(values, dtype=np.float64)
        if self.bits == 53:
            return x
        with np.errstate(invalid="ignore", over="ignore", under="ignore"):
            if self.bits in _NATIVE:
                found: Floats = x.astype(_NATIVE[self.bits]).astype(np.float64)
                return found
            gap = np.where(np.isfinite(x), self.ulp(x), 1.0)
            nearest = np.rint(x / gap) * gap
            nearest = np.where(np.isfinite(x), nearest, x)
            return np.where(np.abs(nearest) > self.largest, np.copysign(np.inf, x), nearest)

    @property
    def listed(self) -> bool:
        """Whether `every_float` lists them: 16 bits hold at most 2**16."""
        return self.finite <= 1 << 16

    @property
    def finite(self) -> int:
        """How many finite floats there are, both zeros among them."""
        return (self.maximum_exponent - self.minimum_exponent + 2) << self.bits

    def every_float(self) -> Floats:
        """Every finite float of a format of at most 16 bits, from the most negative to the largest; both zeros."""
        if not self.listed:
            raise ValueError(f"{self.name} has too many floats to list")
        return self.floats(range(self.finite))

    def floats(self, numbers: range) -> Floats:
        """The finite floats with these numbers, in a list of all from the most negative to the largest, 0.0 before -0.0."""
        half = self.finite // 2
        place = np.arange(len(numbers), dtype=np.int64) * numbers.step + (numbers.start - half)
        found = self.from_ordinals(place + (place < 0))
        found[place == 0] = -0.0
        return found

    def numbers(self, first: float, last: float) -> range:
        """The numbers, in that list, of the floats from the one to the other, ends included; empty where there is none."""
        low, high = self.ordinals(np.clip(self.round(np.array([first, last])), -self.largest, self.largest))
        low += int(self.from_ordinals(np.array([low]))[0] < first)
        high -= int(self.from_ordinals(np.array([high]))[0] > last)
        half = self.finite // 2
        return range(low + half - (low <= 0), high + half + (high >= 0))

    def ordinals(self, values: Floats) -> list[int]:
        """Each finite float's number in the order of the floats of the format; 0 is 0."""
        fraction, exponent = np.frexp(np.abs(values))
        lead = np.maximum(exponent - 1, self.minimum_exponent)
        significand = np.ldexp(fraction, exponent - lead + self.bits - 1)  # below 2**bits, subnormals included
        steps = (lead - self.minimum_exponent).astype(object) * (1 << (self.bits - 1))
        return [int(s) * (int(m) + int(k)) for s, m, k in zip(np.sign(values), significand, steps, strict=True)]

    def from_ordinals(self, ordinals: npt.ArrayLike) -> Floats:
        """The floats with these numbers: the inverse of `ordinals`."""
        number = np.asarray(ordinals, dtype=np.int64)
        size = np.abs(number)  # the bits of a positive float, whose exponent begins with another number in a double
        places = (size << (_FRACTION + 1 - self.bits)) + ((self.minimum_exponent + _EXPONENT // 2 - 1) << _FRACTION)
        found = np.where(size >> (self.bits - 1), places.view(np.float64), size * self.smallest_subnormal)
        return np.copysign(found, number)


FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("float64", 53, -1022, 1023),
        Format("float32", 24, -126, 127),
        Format("float16", 11, -14, 15),
        Format("bfloat16", 8, -126, 127),
    )
}
