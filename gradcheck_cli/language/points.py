"""Where to check: points that the user names, and seeded samples.

`parse_points` reads what the command line or a Python caller gives and checks it whole, without NumPy, so that an error
comes at once; `PointSpec.values` makes the arrays for one format: the point is rounded first, so that every party sees
the float that torch sees.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from gradcheck_cli.errors import InputError
from gradcheck_cli.language.parser import is_constant, is_truth, parse
from gradcheck_cli.language.tree import Call, Constant, Node, walk

if TYPE_CHECKING:
    from gradcheck_cli.floats import Floats, Format

MAX_POINTS = 5_000_000
DEFAULT_SAMPLE = 20

ALL: Literal["all"] = "all"
"""Stands for every finite float of the format."""

Evaluate = Callable[[Node], float]
"""The nearest double to the value of a tree without variables."""

_SPACES = re.compile(r"\s*(linspace|logspace)\s*\((.*)\)\s*", re.DOTALL)
_EXACT_BITS = 4096


@dataclass(frozen=True, slots=True)
class Space:
    """`linspace(first, last, n)` or `logspace(first, last, n)`, not yet an array."""

    kind: Literal["linspace", "logspace"]
    first: float
    last: float
    n: int

    def __len__(self) -> int:
        return self.n


Axis = tuple[float, ...] | Space | Literal["all"]
"""What one name takes."""


@dataclass(frozen=True, slots=True)
class Group:
    """The points of one --at: what each name takes. `grid`: every combination; otherwise the axes run side by side."""

    axes: Mapping[str, Axis]
    grid: bool
    text: str | None = None

    def count(self, format: Format) -> int:
        """How many points this is in the format; InputError where `all` doesn't suit it, or there are too many."""
        if ALL in self.axes.values() and format.bits > 11:
            at = self.text.index(ALL) if self.text and ALL in self.text else None
            raise InputError(
                f"{ALL!r} means every float of a 16-bit dtype; {format.name} has too many: use linspace or --sample",
                self.text,
                at,
            )
        return self.bounded()

    def bounded(self) -> int:
        """How many points this is at most; InputError where that is too many."""
        sizes = [1 << 16 if axis == ALL else len(axis) for axis in self.axes.values()]
        count = math.prod(sizes) if self.grid else max(sizes, default=0)
        if count > MAX_POINTS:
            raise InputError(_too_many(count), self.text, 0 if self.text else None)
        return count

    def values(self, format: Format) -> dict[str, Floats]:
        """One array a name, of equal lengths; in a grid the first name runs slowest."""
        import numpy as np

        from gradcheck_cli.language import sampling

        self.count(format)
        arrays: list[Floats] = []
        for axis in self.axes.values():
            if isinstance(axis, Space):
                space = sampling.linspace if axis.kind == "linspace" else sampling.logspace
                arrays.append(format.round(space(axis.first, axis.last, axis.n)))
            else:
                arrays.append(format.every_float() if axis == ALL else format.round(axis))
        spread = np.meshgrid(*arrays, indexing="ij") if self.grid else np.broadcast_arrays(*arrays)
        return {name: np.array(a, dtype=np.float64).ravel() for name, a in zip(self.axes, spread, strict=True)}


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
        from gradcheck_cli.language.sampling import Sampler

        count = sum(group.count(format) for group in self.at) + self.sample
        if count > MAX_POINTS:
            raise InputError(_too_many(count))
        if self.sample:
            Sampler(self.names, self.domain, self.seed, format)
        return count

    def values(self, format: Format) -> dict[str, Floats]:
        """Arrays of equal length, one entry a point, in the order of `names`, rounded to the format.

        Duplicate points stay.
        """
        import numpy as np

        from gradcheck_cli.language.sampling import Sampler

        self.count(format)
        parts = [group.values(format) for group in self.at]
        if self.sample:
            parts.append(Sampler(self.names, self.domain, self.seed, format).values(self.sample))
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

    `at`: texts ("x=1,y=pi/4", "x=linspace(0,1,5)", "x=all"), or mappings from name to a number, a text, or a sequence
    of numbers (several points; sequences run side by side). Several values in one text make a grid. `logspace(a,b,n)`
    runs geometrically from a to b. Without `at`, 20 samples. `evaluate` computes constants such as sqrt(2); numbers and
    their sums, products and quotients need none.
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
        group.bounded()
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
            return self.space("linspace" if match[1] == "linspace" else "logspace", match[2], whole, offset + match.start(2))
        if value.lstrip().startswith(("[", "(")) and "," in value:
            raise InputError("the inputs are scalars here: give one number, several --at, or linspace(a, b, n)", whole, start)
        return (self.number(value, whole, offset),)

    def space(self, kind: Literal["linspace", "logspace"], arguments: str, whole: str, offset: int) -> Space:
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
            raise InputError(_too_many(n), whole, at_many)
        if kind == "logspace" and (a == 0 or b == 0 or (a < 0) != (b < 0)):
            raise InputError("logspace needs two ends of one sign, neither 0", whole, at_first if a == 0 else at_last)
        return Space(kind, a, b, int(n))

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
                result = self.constant(inner)
                return None if result is None else -result
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


def _numbers(name: str, value: object) -> tuple[float, ...]:
    """A number or a flat sequence of numbers from Python: lists, arrays, tensors."""
    plain: Any = value.tolist() if hasattr(value, "tolist") else value
    flat = isinstance(plain, Iterable) and not isinstance(plain, str | bytes | Mapping)
    items: list[Any] = list(plain) if flat else [plain]
    numbers = []
    for item in items:
        if isinstance(item, complex):
            raise InputError(f"the value of {name!r} is complex; functions here are real")
        if isinstance(item, Sequence) and not isinstance(item, str):
            raise InputError(f"the inputs are scalars here: the value of {name!r} has more than one dimension")
        try:
            number = math.nan if isinstance(item, str | bytes) else float(item)
        except OverflowError:
            raise InputError(f"the value of {name!r} is larger than any float") from None
        except (TypeError, ValueError):
            raise InputError(f"the value of {name!r} is not a number: {str(item)[:60]!r}") from None
        if math.isnan(number):
            raise InputError(f"the value of {name!r} is not a number: {str(item)[:60]!r}")
        numbers.append(number)
    return tuple(numbers)


def _too_many(count: float) -> str:
    shown = f"{int(count):,}" if math.isfinite(count) else "infinitely many"
    return f"{shown} points are too many: at most {MAX_POINTS:,} are checked"
