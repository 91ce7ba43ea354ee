"""Arrays of points: equal steps, geometric steps, and seeded samples of a float format."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from gradcheck_cli.errors import InputError
from gradcheck_cli.floats import Floats, Format

Inside = Callable[[Mapping[str, float]], bool]
"""Whether a point lies where there is anything to check."""

_NEAR = 5.0
"""Numbers of ordinary size lie between minus and plus this, most of them; by it they are divided to come near 0."""

PICKED = 40
"""Points of ordinary size that are looked for inside of the function's domain: those that a reader looks at."""

TRIES = 12
"""Points that are tried for each of them."""


def linspace(a: float, b: float, n: int) -> Floats:
    """n equal steps from a to b, both exactly; whole numbers between whole ends are exact too."""
    if n == 1:
        return np.array([a])
    step = np.arange(n, dtype=np.float64)
    scale = 2.0**-64 if max(abs(a), abs(b)) > 1e300 else 1.0  # no overflow on the way
    values = (a * scale * step[::-1] + b * scale * step) / (n - 1) / scale
    values[0], values[-1] = a, b
    return np.clip(values, min(a, b), max(a, b))


def logspace(a: float, b: float, n: int) -> Floats:
    """n geometric steps from a to b (of one sign, not 0), both exactly."""
    return np.clip(np.geomspace(a, b, n), min(a, b), max(a, b))


class Sampler:
    """Draws seeded samples in one format, the simplest first; the same seed gives the same points.

    A quarter at most are special (0, 1, -1, the ends of the domain), a fifth are drawn over the float's bit patterns,
    the others are of ordinary size. Special and ordinary ones differ between formats by rounding only. Of the ordinary ones,
    the first PICKED lie `inside`, as far as TRIES for each find such points.
    """

    def __init__(
        self, names: Sequence[str], domain: Mapping[str, tuple[float, float]], seed: int, format: Format,
        inside: Inside | None = None,
    ) -> None:  # fmt: skip
        """Raises InputError where the domain of a name holds no number of the format."""
        self.names, self.domain, self.seed, self.format, self.inside = names, domain, seed, format, inside
        self.rng = np.random.default_rng(seed)
        self.bounds = {name: self.interval(name) for name in names}

    def interval(self, name: str) -> tuple[float, float]:
        """The least and the greatest finite float of the format in the domain of `name`."""
        largest = self.format.largest
        a, b = self.domain.get(name, (-largest, largest))
        low, high = self.format.ordinals(np.clip(self.format.round(np.array([a, b])), -largest, largest))
        low += int(self.format.from_ordinals(np.array([low]))[0] < a)
        high -= int(self.format.from_ordinals(np.array([high]))[0] > b)
        if low > high:
            raise InputError(f"no {self.format.name} number lies in the domain of {name!r}, {a!r}:{b!r}")
        first, last = self.format.from_ordinals(np.array([low, high]))
        return float(first), float(last)

    def values(self, n: int) -> dict[str, Floats]:
        """n points, inside the domain in the format too."""
        names = self.names
        special = self.special(n // 4)
        bits = n // 5
        ordinary = n - bits - (len(special[names[0]]) if names else 0)
        usual = self.usual(ordinary)
        wild = self.wild(bits)
        drawn = {name: np.concatenate([special[name], usual[name], wild[name]]) for name in names}
        return {name: np.clip(self.format.round(values), *self.bounds[name]) for name, values in drawn.items()}

    def usual(self, n: int) -> dict[str, Floats]:
        """n points of ordinary size."""
        return self.within({name: self.ordinary(name, n) for name in self.names}, n)

    def within(self, usual: dict[str, Floats], n: int) -> dict[str, Floats]:
        """The same n points, those of the first PICKED that aren't inside replaced by others that are."""
        if self.inside is None or not self.names:
            return usual
        rest = self.spare(TRIES * min(n, PICKED))
        for k in range(min(n, PICKED)):
            if not self.inside({name: float(values[k]) for name, values in usual.items()}):
                found = next((point for point in rest if self.inside(point)), None)
                if found is None:
                    break
                for name, value in found.items():
                    usual[name][k] = value
        return usual

    def spare(self, n: int) -> Iterator[dict[str, float]]:
        """n other points of ordinary size: as they are drawn, near 0, and above it."""
        other = copy.copy(self)
        other.rng = np.random.default_rng((self.seed, n))
        drawn = {name: other.ordinary(name, n) for name in self.names}
        for name, values in drawn.items():
            if name not in self.domain:
                near = np.where(np.abs(values) < _NEAR, values, np.round(values / _NEAR, 3))
                drawn[name] = np.choose(other.rng.integers(4, size=n), [values, np.abs(values), near, np.abs(near)])
        return ({name: float(values[k]) for name, values in drawn.items()} for k in range(n))

    def special(self, n: int) -> dict[str, Floats]:
        """At most n: every name at its k-th special value first, then mixtures."""
        choices: dict[str, list[float]] = {}
        for name in self.names:
            low, high = self.bounds[name]
            ends = [v for v in self.domain.get(name, ()) if math.isfinite(v)]
            rounded = [float(v) for v in np.clip(self.format.round(np.array(ends)), low, high)] if ends else []
            inside = dict.fromkeys(v for v in (0.0, 1.0, -1.0, *rounded) if low <= v <= high)
            choices[name] = list(inside) or [low]
        longest = max((len(c) for c in choices.values()), default=0)
        diagonal = min(n, longest)
        mixed = n - diagonal if len(choices) > 1 and longest > 1 else 0
        chosen: dict[str, Floats] = {}
        for name, values in choices.items():
            first = [values[min(k, len(values) - 1)] for k in range(diagonal)]
            chosen[name] = np.array([*first, *(values[i] for i in self.rng.integers(len(values), size=mixed))])
        return chosen

    def ordinary(self, name: str, n: int) -> Floats:
        """n values of ordinary size in the domain: round ones, then uniform ones, then magnitudes over decades."""
        a, b = self.domain.get(name, (-math.inf, math.inf))
        decades = n // 3
        plain = n - decades
        if math.isfinite(a) and math.isfinite(b):
            a, b = max(a, -self.format.largest), min(b, self.format.largest)
            half = b / 2 - a / 2
            values = self.rng.uniform(-1.0, 1.0, plain) * half + (a / 2 + b / 2)
            size = max(abs(a), abs(b))
            least = min(abs(a), abs(b)) if a * b > 0 else size * 1e-6
            spread = np.exp(self.rng.uniform(math.log(max(least, 5e-324)), math.log(size), decades))
            sign = np.where(self.rng.random(decades) < (0.0 if a >= 0 else 1.0 if b <= 0 else -a / 2 / half), -1.0, 1.0)
            if a * b > 0 and size < 100 * least:
                spread = np.abs(self.rng.uniform(-1.0, 1.0, decades) * half + (a / 2 + b / 2))
            digits = 2 - math.floor(math.log10(half)) if half > 0 else 0
            tidy = plain // 2
            if -300 < digits < 300:
                values[:tidy] = [float(f"{v:.{digits}f}") if digits >= 0 else v for v in values[:tidy]]
            return np.asarray(np.clip(np.concatenate([values, sign * spread]), a, b))
        values = self.rng.uniform(-5.0, 5.0, plain)
        values[: plain // 2] = np.round(values[: plain // 2], 2)
        spread = 10 ** self.rng.uniform(-3.0, 3.0, decades) * self.rng.choice([-1.0, 1.0], decades)
        drawn = np.concatenate([values, spread])
        if math.isfinite(a):
            return np.asarray(a + np.abs(drawn))
        return np.asarray(b - np.abs(drawn)) if math.isfinite(b) else drawn

    def wild(self, n: int) -> dict[str, Floats]:
        """n points at which about half of the names (one at least) are drawn over the bit patterns of their domain."""
        names = self.names
        if not names:
            return {}
        chosen = self.rng.random((n, len(names))) < 0.5
        chosen[np.arange(n), self.rng.integers(len(names), size=n)] = True
        result: dict[str, Floats] = {}
        for i, name in enumerate(names):
            usual = self.ordinary(name, n)
            low, high = self.format.ordinals(np.array(self.bounds[name]))
            drawn = self.format.from_ordinals(self.rng.integers(low, high, size=n, endpoint=True, dtype=np.int64))
            result[name] = np.where(chosen[:, i], drawn, usual)
        return result
