"""Where to check: points that the user names, and seeded samples. Numbers only; nothing heavy is imported.

`parse_points` reads what the command line or a Python caller gives and checks it whole; `PointSpec.values` makes the
arrays for one format: the point is rounded first, so that every party sees the float that torch sees.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gradcheck_cli.errors import InputError
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.language.parser import is_constant, is_truth, parse
from gradcheck_cli.language.tree import Call, Constant, Node, walk

MAX_POINTS = 5_000_000
DEFAULT_SAMPLE = 20

ALL: Literal["all"] = "all"
"""Stands for every finite float of the format."""

Axis = Floats | Literal["all"]
Evaluate = Callable[[Node], float]
"""The nearest double to the value of a tree without variables."""

_SPACES = re.compile(r"\s*(linspace|logspace)\s*\((.*)\)\s*", re.DOTALL)
_EXACT_BITS = 4096


@dataclass(frozen=True, slots=True)
class Group:
    """The points of one --at: what each name takes. `grid`: every combination; otherwise the axes run side by side."""

    axes: Mapping[str, Axis]
    grid: bool
    text: str | None = None

    def count(self, format: Format) -> int:
        """How many points this is; InputError where `all` doesn't suit the format, or there are too many."""
        if ALL in [a for a in self.axes.values() if isinstance(a, str)] and format.bits > 11:
            at = self.text.index(ALL) if self.text and ALL in self.text else None
            raise InputError(
                f"{ALL!r} means every float of a 16-bit dtype; {format.name} has too many: use linspace or --sample",
                self.text, at,
            )  # fmt: skip
        sizes = [1 << 16 if isinstance(a, str) else len(a) for a in self.axes.values()]
        count = math.prod(sizes) if self.grid else max(sizes, default=0)
        if count > MAX_POINTS:
            raise InputError(f"{count:,} points are too many: at most {MAX_POINTS:,} are checked", self.text, 0)
        return count

    def values(self, format: Format) -> dict[str, Floats]:
        """One array a name, of equal lengths; in a grid the first name runs slowest."""
        self.count(format)
        axes = [format.every_float() if isinstance(a, str) else format.round(a) for a in self.axes.values()]
        arrays = np.meshgrid(*axes, indexing="ij") if self.grid else np.broadcast_arrays(*axes)
        return {name: np.array(a, dtype=np.float64).ravel() for name, a in zip(self.axes, arrays, strict=True)}


@dataclass(frozen=True, slots=True)
class PointSpec:
    """The points of one problem: those of `at` in the order given, then `sample` seeded ones.

    `domain` bounds the samples (closed intervals; a name without one is unbounded).
    """

    at: tuple[Group, ...]
    sample: int
    domain: Mapping[str, tuple[float, float]]
    seed: int
    names: tuple[str, ...]

    @property
    def explicit(self) -> bool:
        """True where the user named at least one point."""
        return bool(self.at)

    def count(self, format: Format) -> int:
        """How many points `values` will return; raises the same InputErrors, without making them."""
        count = sum(group.count(format) for group in self.at) + self.sample
        if count > MAX_POINTS:
            raise InputError(f"{count:,} points are too many: at most {MAX_POINTS:,} are checked")
        if self.sample:
            _Sampler(self, format)
        return count

    def values(self, format: Format) -> dict[str, Floats]:
        """Arrays of equal length, one entry a point, in the order of `names`, rounded to the format; duplicates stay."""
        self.count(format)
        parts = [group.values(format) for group in self.at]
        if self.sample:
            parts.append(_Sampler(self, format).values())
        return {name: np.concatenate([part[name] for part in parts]) for name in self.names}


def parse_points(
    at: str | Sequence[str | Mapping[str, Any]] | Mapping[str, Any] | None,
    names: Sequence[str],
    *,
    sample: int | None = None,
    domain: str | Sequence[str] | Mapping[str, Any] | None = None,
    seed: int | None = None,
    evaluate: Evaluate | None = None,
) -> PointSpec:
    """The points that were asked for, checked whole: InputError for anything that isn't a point of `names`.

    `at`: texts ("x=1,y=pi/4", "x=linspace(0,1,5)", "x=all"), or mappings from name to a number, a text, or a sequence of
    numbers (several points; sequences run side by side). Several values in one text make a grid. `logspace(a,b,n)` runs
    geometrically from a to b. Without `at`, 20 samples. `evaluate` computes constants such as sqrt(2); numbers and their
    sums, products and quotients need none.
    """
    if seed is not None and seed < 0:
        raise InputError(f"the seed must not be negative: {seed}")
    if sample is not None and sample < 1:
        raise InputError(f"the number of samples must be at least 1: {sample}")
    reader = _Reader(tuple(names), evaluate)
    entries = [at] if isinstance(at, str | Mapping) else list(at or ())
    groups = tuple(reader.text(e) if isinstance(e, str) else reader.mapping(e) for e in entries)
    intervals = reader.domain(domain)
    if groups and intervals and sample is None:
        raise InputError("a domain says where to sample, but the points are given: add --sample, or leave one out")
    count = sample if sample is not None else 0 if groups else DEFAULT_SAMPLE
    return PointSpec(groups, count, intervals, 0 if seed is None else seed, reader.names)


def exact_constant(tree: Node) -> Fraction | None:
    """The value of a tree of literals, signs and + - * /, exactly; None where it holds anything else or grows large."""
    values: dict[Node, Fraction] = {}
    for node in walk(tree):
        match node:
            case Constant(value=value) if not isinstance(value, bool):
                result = Fraction(value)
            case Call(function="neg", arguments=(x,)) if x in values:
                result = -values[x]
            case Call(function="add", arguments=(x, y)) if x in values and y in values:
                result = values[x] + values[y]
            case Call(function="sub", arguments=(x, y)) if x in values and y in values:
                result = values[x] - values[y]
            case Call(function="mul", arguments=(x, y)) if x in values and y in values:
                result = values[x] * values[y]
            case Call(function="div", arguments=(x, y)) if x in values and values.get(y):
                result = values[x] / values[y]
            case _:
                continue
        if max(result.numerator.bit_length(), result.denominator.bit_length()) <= _EXACT_BITS:
            values[node] = result
    return values.get(tree)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads points and domains for `names`; every error quotes the text and points at the culprit."""

    names: tuple[str, ...]
    evaluate: Evaluate | None = field(repr=False)

    def text(self, text: str) -> Group:
        axes: dict[str, Axis] = {}
        for name, start, value, offset in _assignments(text, "a point is written name=value, such as x=1"):
            self.known(name, text, start, axes)
            axes[name] = self.axis(value, text, offset)
        return self.group(axes, True, text)

    def mapping(self, entry: Mapping[str, Any]) -> Group:
        if not isinstance(entry, Mapping):
            raise InputError(f"a point is a mapping from name to number, or a text such as 'x=1': {entry!r}")
        axes: dict[str, Axis] = {}
        for name, value in entry.items():
            self.known(name, None, None, axes)
            axes[name] = self.axis(value, value, 0) if isinstance(value, str) else _numbers(name, value)
        lengths = {len(a) for a in axes.values() if not isinstance(a, str) and len(a) != 1}
        if len(lengths) > 1:
            raise InputError(f"sequences of different lengths run side by side: {', '.join(map(str, sorted(lengths)))}")
        if 0 in lengths:
            raise InputError("a point needs a value for every name: an empty sequence has none")
        return self.group(axes, any(isinstance(a, str) for a in axes.values()), None)

    def group(self, axes: dict[str, Axis], grid: bool, text: str | None) -> Group:
        missing = [n for n in self.names if n not in axes]
        if missing:
            raise InputError(f"the point gives no value for {', '.join(missing)}", text, len(text) if text else None)
        group = Group({n: axes[n] for n in self.names}, grid, text)
        if not any(isinstance(a, str) for a in axes.values()):
            group.count(Format("float64", 53, -1022, 1023))
        return group

    def known(self, name: str, text: str | None, at: int | None, given: Mapping[str, object]) -> None:
        if name not in self.names:
            near = difflib.get_close_matches(name, self.names, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            listed = ", ".join(self.names)
            plural = "inputs are" if len(self.names) > 1 else "only input is"
            raise InputError(f"{name!r} is not an input{hint} (the {plural} {listed})", text, at)
        if name in given:
            raise InputError(f"{name!r} is given twice", text, at)

    def axis(self, value: str, whole: str, offset: int) -> Axis:
        """What stands after `name=`: a number, linspace, logspace or all."""
        if value.strip() == ALL:
            return ALL
        start = offset + len(value) - len(value.lstrip())
        match = _SPACES.fullmatch(value)
        if match:
            return self.space(match[1], match[2], whole, offset + match.start(2))
        if value.lstrip().startswith(("[", "(")) and "," in value:
            raise InputError(
                "the inputs are scalars here: give one number, several --at, or linspace(a, b, n)", whole, start
            )
        return np.array([self.number(value, whole, offset)])

    def space(self, kind: str, arguments: str, whole: str, offset: int) -> Floats:
        pieces = _split(arguments, offset)
        if len(pieces) != 3:
            raise InputError(f"{kind} takes three numbers: {kind}(first, last, how many)", whole, offset)
        (first, at_first), (last, at_last), (many, at_many) = pieces
        a, b = self.number(first, whole, at_first), self.number(last, whole, at_last)
        n = self.number(many, whole, at_many)
        for value, at in ((a, at_first), (b, at_last)):
            if not math.isfinite(value):
                raise InputError(f"{kind} needs finite ends", whole, at)
        if not (n >= 1 and n == math.floor(n)):
            raise InputError(f"{kind} needs a whole number of points, at least 1", whole, at_many)
        if n > MAX_POINTS:
            raise InputError(f"{int(n) if math.isfinite(n) else n:,} points are too many: at most {MAX_POINTS:,} are checked",
                             whole, at_many)  # fmt: skip
        if kind == "linspace":
            return _linspace(a, b, int(n))
        if a == 0 or b == 0 or (a < 0) != (b < 0):
            raise InputError("logspace needs two ends of one sign, neither 0", whole, at_first if a == 0 else at_last)
        return np.clip(np.geomspace(a, b, int(n)), min(a, b), max(a, b))

    def number(self, value: str, whole: str, offset: int) -> float:
        """The nearest double to a constant expression."""
        start = offset + len(value) - len(value.lstrip())
        if value.strip() in ("nan", "+nan", "-nan"):
            raise InputError("nan is not a point", whole, start)
        tree = parse(value, whole, offset)
        if not is_constant(tree):
            culprit = next(n for n in walk(tree) if not isinstance(n, Call | Constant))
            raise InputError("a number is needed here, not a variable", whole, culprit.position)
        if is_truth(tree):
            raise InputError("a number is needed here, not a condition", whole, start)
        result = self.constant(tree)
        if result is None or math.isnan(result):
            raise InputError("this has no real value, or none that can be computed", whole, start)
        if math.isinf(result) and not any(isinstance(n, Call) and n.function == "inf" for n in walk(tree)):
            raise InputError("this number is larger than any float", whole, start)
        return result

    def constant(self, tree: Node) -> float | None:
        match tree:
            case Constant(value=value):
                return float(value)
            case Call(function="neg", arguments=(inner,)):
                value = self.constant(inner)
                return None if value is None else -value
            case Call(function="inf"):
                return math.inf
        exact = exact_constant(tree)
        if exact is not None:
            try:
                return float(exact)
            except OverflowError:
                return math.copysign(math.inf, exact)
        return None if self.evaluate is None else self.evaluate(tree)

    def domain(self, domain: str | Sequence[str] | Mapping[str, Any] | None) -> dict[str, tuple[float, float]]:
        intervals: dict[str, tuple[float, float]] = {}
        if isinstance(domain, Mapping):
            for name, value in domain.items():
                self.known(name, None, None, intervals)
                if isinstance(value, str):
                    intervals[name] = self.interval(value, value, 0)
                    continue
                try:
                    a, b = (float(v) for v in value)
                except (TypeError, ValueError):
                    raise InputError(f"the domain of {name!r} is a pair of numbers (a, b): {value!r}") from None
                intervals[name] = _ordered(a, b, None, None)
            return intervals
        for text in [domain] if isinstance(domain, str) else domain or ():
            for name, start, value, offset in _assignments(text, "a domain is written name=a:b, such as x=0:5"):
                self.known(name, text, start, intervals)
                intervals[name] = self.interval(value, text, offset)
        return intervals

    def interval(self, value: str, whole: str, offset: int) -> tuple[float, float]:
        ends = _split(value, offset, ":")
        if len(ends) != 2:
            raise InputError("a domain is written name=a:b, such as x=0:5", whole, offset)
        (first, at_first), (last, at_last) = ends
        a = self.number(first, whole, at_first) if first.strip() else -math.inf
        b = self.number(last, whole, at_last) if last.strip() else math.inf
        return _ordered(a, b, whole, offset)


def _ordered(a: float, b: float, whole: str | None, at: int | None) -> tuple[float, float]:
    if not a < b:
        raise InputError(f"the domain {a!r}:{b!r} is empty: the first end must be less than the last", whole, at)
    return a, b


def _assignments(text: str, usage: str) -> list[tuple[str, int, str, int]]:
    """The `name=value` pieces of a text: (name, where it stands, value, where that stands)."""
    found = []
    for piece, offset in _split(text, 0):
        name, equals, value = piece.partition("=")
        start = offset + len(piece) - len(piece.lstrip())
        if not equals or not name.strip().isidentifier():
            raise InputError(usage, text, min(start, len(text)))
        if not value.strip():
            raise InputError(f"a value is missing: {usage}", text, offset + len(piece))
        found.append((name.strip(), start, value, offset + len(name) + 1))
    return found


def _split(text: str, offset: int, separator: str = ",") -> list[tuple[str, int]]:
    """The pieces between separators that stand outside of brackets, each with its place in the longer text."""
    pieces, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == separator and depth <= 0:
            pieces.append((text[start:i], offset + start))
            start = i + 1
    return [*pieces, (text[start:], offset + start)]


def _numbers(name: str, value: object) -> Floats:
    """A number or a flat sequence of numbers from Python, as an array."""
    try:
        array = np.asarray(value)
        if array.dtype.kind == "c":
            raise InputError(f"the value of {name!r} is complex; functions here are real")
        if array.dtype.kind not in "iufO" or None in array.ravel().tolist():
            raise ValueError
        array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise InputError(f"the value of {name!r} is not a number: {value!r}"[:200]) from None
    if array.ndim > 1:
        raise InputError(f"the inputs are scalars here: the value of {name!r} has {array.ndim} dimensions")
    if np.isnan(array).any():
        raise InputError(f"nan is not a point: the value of {name!r}")
    return np.atleast_1d(array)


def _linspace(a: float, b: float, n: int) -> Floats:
    """n equal steps from a to b, both exactly; whole numbers between whole ends are exact too."""
    if n == 1:
        return np.array([a])
    step = np.arange(n, dtype=np.float64)
    scale = 2.0**-64 if max(abs(a), abs(b)) > 1e300 else 1.0
    values = (a * scale * step[::-1] + b * scale * step) / (n - 1) / scale
    values[0], values[-1] = a, b
    return np.clip(values, min(a, b), max(a, b))


class _Sampler:
    """Draws the samples of one PointSpec in one format, the simplest first; the same seed gives the same points.

    A quarter at most are special (0, 1, -1, the ends of the domain), a fifth are drawn over the float's bit patterns,
    the others are of ordinary size. Special and ordinary ones differ between formats by rounding only.
    """

    def __init__(self, spec: PointSpec, format: Format) -> None:
        self.spec, self.format = spec, format
        self.rng = np.random.default_rng(spec.seed)
        self.bounds = {name: self.interval(name) for name in spec.names}

    def interval(self, name: str) -> tuple[float, float]:
        """The least and the greatest finite float of the format in the domain of `name`."""
        largest = self.format.largest
        a, b = self.spec.domain.get(name, (-largest, largest))
        low, high = _ordinals(self.format, np.clip(self.format.round(np.array([a, b])), -largest, largest))
        low += int(_from_ordinals(self.format, np.array([low]))[0] < a)
        high -= int(_from_ordinals(self.format, np.array([high]))[0] > b)
        if low > high:
            raise InputError(f"no {self.format.name} number lies in the domain of {name!r}, {a!r}:{b!r}")
        first, last = _from_ordinals(self.format, np.array([low, high]))
        return float(first), float(last)

    def values(self) -> dict[str, Floats]:
        names, n = self.spec.names, self.spec.sample
        special = self.special(n // 4)
        bits = n // 5
        ordinary = n - bits - (len(special[names[0]]) if names else 0)
        usual = {name: self.ordinary(name, ordinary) for name in names}
        wild = self.wild(bits)
        return {
            name: np.clip(self.format.round(np.concatenate([special[name], usual[name], wild[name]])), *self.bounds[name])
            for name in names
        }

    def special(self, n: int) -> dict[str, Floats]:
        """At most n: every name at its k-th special value first, then mixtures."""
        choices: dict[str, list[float]] = {}
        for name in self.spec.names:
            low, high = self.bounds[name]
            ends = [v for v in self.spec.domain.get(name, ()) if math.isfinite(v)]
            rounded = [float(v) for v in np.clip(self.format.round(np.array(ends)), low, high)] if ends else []
            inside = dict.fromkeys(v for v in (0.0, 1.0, -1.0, *rounded) if low <= v <= high)
            choices[name] = list(inside) or [low]
        longest = max((len(c) for c in choices.values()), default=0)
        diagonal = min(n, longest)
        mixed = n - diagonal if len(choices) > 1 and longest > 1 else 0
        return {
            name: np.array([c[min(k, len(c) - 1)] for k in range(diagonal)] + [c[i] for i in self.rng.integers(len(c), size=mixed)])
            for name, c in choices.items()
        }

    def ordinary(self, name: str, n: int) -> Floats:
        """n values of ordinary size in the domain: round ones, then uniform ones, then magnitudes over decades."""
        a, b = self.spec.domain.get(name, (-math.inf, math.inf))
        decades = n // 3
        plain = n - decades
        if math.isfinite(a) and math.isfinite(b):
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
            return np.clip(np.concatenate([values, sign * spread]), a, b)
        values = self.rng.uniform(-5.0, 5.0, plain)
        values[: plain // 2] = np.round(values[: plain // 2], 2)
        spread = 10 ** self.rng.uniform(-3.0, 3.0, decades) * self.rng.choice([-1.0, 1.0], decades)
        drawn = np.concatenate([values, spread])
        return a + np.abs(drawn) if math.isfinite(a) else b - np.abs(drawn) if math.isfinite(b) else drawn

    def wild(self, n: int) -> dict[str, Floats]:
        """n points at which about half of the names (one at least) are drawn over the bit patterns of their domain."""
        names = self.spec.names
        if not names:
            return {}
        chosen = self.rng.random((n, len(names))) < 0.5
        chosen[np.arange(n), self.rng.integers(len(names), size=n)] = True
        result: dict[str, Floats] = {}
        for i, name in enumerate(names):
            usual = self.ordinary(name, n)
            low, high = _ordinals(self.format, np.array(self.bounds[name]))
            drawn = _from_ordinals(self.format, self.rng.integers(low, high, size=n, endpoint=True, dtype=np.int64))
            result[name] = np.where(chosen[:, i], drawn, usual)
        return result


def _ordinals(format: Format, values: Floats) -> list[int]:
    """Each finite float's number in the order of the floats of the format; 0 is 0."""
    fraction, exponent = np.frexp(np.abs(values))
    lead = np.maximum(exponent - 1, format.minimum_exponent)
    significand = np.ldexp(fraction, exponent - lead + format.bits - 1)  # below 2**bits, subnormals included
    steps = (lead - format.minimum_exponent).astype(object) * (1 << (format.bits - 1))
    return [int(s) * (int(m) + int(k)) for s, m, k in zip(np.sign(values), significand, steps, strict=True)]


def _from_ordinals(format: Format, ordinals: npt.ArrayLike) -> Floats:
    """The floats with these numbers: the inverse of `_ordinals`."""
    number = np.asarray(ordinals, dtype=np.int64)
    size = np.abs(number)
    step = size >> (format.bits - 1)
    significand = (size & ((1 << (format.bits - 1)) - 1)) + np.where(step > 0, 1 << (format.bits - 1), 0)
    exponent = np.maximum(step, 1) - 1 + format.minimum_exponent - (format.bits - 1)
    return np.asarray(np.sign(number) * np.ldexp(significand.astype(np.float64), exponent), dtype=np.float64)
