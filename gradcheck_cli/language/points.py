"""Where to check, as the user says it: text and Python values become a `PointSpec`, checked whole.

Nothing here needs NumPy, so that an error comes at once.
"""

from __future__ import annotations

import difflib
import math
import re
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Literal

from gradcheck_cli.errors import InputError, counted, whole
from gradcheck_cli.language import syntax
from gradcheck_cli.language.constants import exact_constant
from gradcheck_cli.language.functions import NAMES, TABLE
from gradcheck_cli.language.parser import is_constant, is_truth, parse
from gradcheck_cli.language.spaces import (
    ALL,
    MAX_ENTRIES,
    MAX_POINTS,
    Axis,
    Every,
    Group,
    OfParts,
    PointSpec,
    Shape,
    Space,
    Stretch,
    entry_names,
    imag_of,
    plain,
    real_of,
    too_many,
)
from gradcheck_cli.language.tree import Call, Constant, Node, walk
from gradcheck_cli.options import SAMPLES
from gradcheck_cli.stored import MARK, is_stored, tensor_in

Evaluate = Callable[[Node], float]
"""The nearest double to the value of a tree without variables."""

InParts = Callable[[Node], tuple[Node, Node]]
"""The parts of a complex constant, as constants. NotImplementedError where it has none that are known."""

Read = Callable[[str, str], Any]
"""What `numbers_of` tells of a text and a name."""

UNITS = frozenset("iIjJ")
"""Names of the imaginary unit in a point, where nothing else has a name."""

_IMAGINARY = re.compile(r"(?<![\w.])((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)i\b")
"""A number times i, as it is written by hand."""

_SPACES = re.compile(r"\s*(linspace|logspace|all)\s*\((.*)\)\s*", re.DOTALL)
_NAMED = re.compile(r"(?:^|,)\s*([^\W\d]\w*)\s*=")
_NEXT = re.compile(r"(?:\s+|\s*;\s*)([^\W\d]\w*)\s*=(?!=)")
"""Where another name begins without a comma."""
_LARGEST = 1e308
_SHAPE_USAGE = "a shape is written name=sizes, such as x=3,4"
_DOMAIN_USAGE = "a domain is written name=a:b, such as x=0:5"
_POINT_USAGE = "a point is written name=value, such as x=1"


def parse_points(
    at: str | Sequence[str | Mapping[str, Any]] | Mapping[str, Any] | None,
    names: Sequence[str],
    *,
    shape: str | Sequence[str] | Mapping[str, Any] | None = None,
    sample: int | None = None,
    domain: str | Sequence[str] | Mapping[str, Any] | None = None,
    seed: int | None = None,
    evaluate: Evaluate | None = None,
    parts: InParts | None = None,
    complex_inputs: bool = False,
) -> PointSpec:
    """The points that were asked for, checked whole: InputError for anything that isn't a point of `names`.

    `at`: texts ("x=1,y=pi/4", "x=[1,2]", "x=linspace(0,1,5)", "x=all"), or mappings from name to a number, a text, or nested
    sequences of numbers, which are arrays; of a single input the value alone. Several values of one name in a text make a grid.
    `logspace(a,b,n)` runs geometrically from a to b, `all(a,b)` over every float. Without `at`, 20 samples; `shape`
    ("x=3,4") says which inputs are arrays. `evaluate` computes constants such as sqrt(2); numbers and their sums, products and
    quotients need none. `parts`: complex values have a meaning (5+10i, 5+10j), and these are their parts; the inputs that have
    one are complex, or all of them (`complex_inputs`).
    """
    if seed is not None and seed < 0:
        raise InputError(f"the seed must not be negative: {seed}")
    if sample is not None and sample < 1:
        raise InputError(f"the number of samples must be at least 1: {sample}")
    reader = _Reader(tuple(names), evaluate, parts, several=isinstance(at, list | tuple) and len(at) > 1)
    reader.given(shape)
    entries = listed(at)
    column = _column(entries, reader)
    groups = [column] if column else [reader.point(e) for e in entries]
    shapes = {name: reader.shapes.get(name, ()) for name in names}
    if complexes := set(names) if complex_inputs else reader.complexes:
        groups = [_in_parts(group, complexes, shapes) for group in groups]
        shapes = {name: OfParts.of(shape) if name in complexes else shape for name, shape in shapes.items()}
    numbers = tuple(entry for name in names for entry in entry_names(name, shapes[name]))
    intervals = {entry: ends for name, ends in reader.domain(domain).items() for entry in entry_names(name, shapes[name])}
    if groups and intervals and sample is None:
        hint = "; every float from 1 to 2 is x=all(1,2)" if any(group.streams for group in groups) else ""
        raise InputError(f"a domain says where to sample, but the points are given: add --sample, or leave one out{hint}")
    count = sample if sample is not None else 0 if groups else SAMPLES
    return PointSpec(tuple(_merged(groups)), count, intervals, 0 if seed is None else seed, numbers, shapes)


def _in_parts(group: Group, complexes: Collection[str], shapes: Mapping[str, Shape]) -> Group:
    """The points with both parts of these inputs: 0 where no imaginary part was given."""
    if group.streams:
        at = group.text.index(ALL) if group.text and ALL in group.text else None
        raise InputError(f"{ALL!r} means every float, and complex numbers are pairs of them: use --sample", group.text, at)
    axes: dict[str, Axis] = {}
    for name, shape in shapes.items():
        for entry, real, imag in zip(*(entry_names(n, shape) for n in (name, real_of(name), imag_of(name))), strict=True):
            axes |= (
                {real: group.axes[entry], imag: group.axes.get(imag, (0.0,))}
                if name in complexes
                else {entry: group.axes[entry]}
            )
    return replace(group, axes=axes)


FOREIGN = {"E": "the constant is e", "I": "the constant is 1j", "oo": "the constant is inf"}
"""Names that SymPy has for constants, and what to say of them. They are inputs (a field, a current) for who says so."""


def named(*given: object) -> set[str]:
    """The names that points, shapes, domains and orders of differentiation speak of."""
    found: set[str] = set()
    for item in given:
        parts = item if isinstance(item, list | tuple) else [item]
        if parts and _plain({type(parts[0])}):  # of many numbers nobody looks at each for this
            continue
        kinds = set(map(type, parts))
        if kinds == {dict}:
            parts = [dict.fromkeys(set().union(*parts))]
        for part in parts:
            if isinstance(part, Mapping):
                found.update(map(str, part))
            elif isinstance(part, str):
                found.update(re.findall(r"([^\W\d]\w*)\s*(?:\[[^]=]*\]\s*)?=" if "=" in part else r"[^\W\d]\w*", part))
    return found


def order_of(wrt: Any) -> str:
    """The names to differentiate by, in their order, as one text: "x,y", or ["x", "y"]."""
    names = [wrt] if isinstance(wrt, str) else list(wrt) if isinstance(wrt, Iterable) else [wrt]
    strange = [name for name in names if not isinstance(name, str)]
    if strange:
        raise InputError(f"wrt: names of inputs are wanted, such as 'x,y', not {type(strange[0]).__name__}")
    return ",".join(names)


def listed(at: Any) -> list[Any]:
    """The points in what `at` may be: a list of them, or one: a text, a mapping, a number, or an array, which is one value."""
    if at is None:
        return []
    one = isinstance(at, str | bytes | Mapping) or hasattr(at, "tolist") or not isinstance(at, Iterable)
    return [at] if one else at if isinstance(at, list) else list(at)


def _plain(kinds: Iterable[type]) -> bool:
    """Whether values of these types are numbers as Python has them."""
    return all(issubclass(kind, float | int) for kind in kinds)


def _column(entries: Sequence[Any], reader: _Reader) -> Group | None:
    """Many points that are plain numbers, read at once; None where they are anything else."""
    names = reader.names
    if reader.shapes or not entries:
        return None
    kinds = set(map(type, entries))
    if kinds == {dict} and set(map(len, entries)) == {len(names)}:
        columns: list[Sequence[Any]] = [[entry.get(name) for entry in entries] for name in names]
    elif len(names) == 1 and _plain(kinds):
        columns = [entries]
    else:
        return None
    axes: dict[str, array[float]] = {}
    for name, values in zip(names, columns, strict=True):
        if kinds == {dict} and not _plain(set(map(type, values))):
            return None
        try:
            if not math.isfinite(sum(values)):  # one of them isn't; or all together aren't, which takes the other way too
                return None
            axes[name] = array("d", values)
        except OverflowError:
            return None
    group = Group(axes, False)
    group.bounded()
    return group


def _merged(groups: Sequence[Group]) -> Iterator[Group]:
    """The same points, those in a row that are given number by number as one group: arrays are made once then."""
    for numbers, members in groupby(groups, lambda g: g.text is None and all(map(plain, g.axes.values()))):
        listed = list(members)
        if numbers and len(listed) > 1:
            columns = {name: tuple(v for g in listed for v in plain(g.axes[name])) for name in listed[0].axes}
            yield Group(columns, False)
        else:
            yield from listed


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads points and domains for `names`; every error quotes the text and points at the culprit."""

    names: tuple[str, ...]
    evaluate: Evaluate | None = field(repr=False)
    parts: InParts | None = field(default=None, repr=False)
    shapes: dict[str, Shape] = field(default_factory=dict)
    complexes: set[str] = field(default_factory=set)
    several: bool = False

    def alone(self, value: object, what: str, example: str) -> str:
        """The input that a value without a name is of; InputError where there are several."""
        if len(self.names) == 1:
            return self.names[0]
        text = value if isinstance(value, str) else None
        written = ",".join(f"{name}{example}" for name in self.names[:4] or ["x"])
        raise InputError(f"{what.partition(',')[0]}, such as {written}", text, None if text is None else 0)

    def point(self, value: Any) -> Group:
        """A text or a mapping; a value alone is that of the only input."""
        if isinstance(value, str) and ("=" in value or not value.strip()):
            return self.text(value)
        if isinstance(value, Mapping):
            return self.mapping(value)
        name = self.alone(value, _POINT_USAGE, "=1")
        if isinstance(value, str) and re.match(r"\s*[^\W\d]\w*\s*:", value):
            raise InputError(f"{_POINT_USAGE.partition(',')[0]}, such as {name}=1", value, value.index(":"))
        if isinstance(value, str) and len(split(value, 0)) > 1:
            raise InputError(f"several points are given one by one, or as {name}=linspace(a,b,n); a vector is [1,2]", value, 0)
        return self.mapping({name: value})

    def given(self, shape: Any) -> None:
        """Enter the shapes that were asked for."""
        if isinstance(shape, float | int) or (isinstance(shape, list | tuple) and shape and not isinstance(shape[0], str)):
            shape = {self.alone(shape, _SHAPE_USAGE, "=3"): shape}
        if isinstance(shape, Mapping):
            for name, sizes in shape.items():
                self.known(name, None, None, self.shapes)
                found = tuple(sizes) if isinstance(sizes, Iterable) else (sizes,)
                if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in found):
                    raise InputError(f"the shape of {name!r} is a tuple of positive whole numbers: {sizes!r}")
                self.sized(name, found, None, None)
            return
        for text in [shape] if isinstance(shape, str) else shape or ():
            for name, start, sizes, offset in self.shapes_in(text):
                self.known(name, text, start, self.shapes)
                words = [word for word, _ in split(sizes.strip().removeprefix("(").removesuffix(")").removesuffix(","), 0)]
                found = tuple(size for size in map(whole, words) if size)
                if len(found) < len(words):
                    raise InputError(_SHAPE_USAGE, text, offset)
                self.sized(name, found, text, offset)

    def shapes_in(self, text: str) -> Iterator[tuple[str, int, str, int]]:
        """The `name=sizes` in a text, "x=4,3,W=2,3", as in `_assignments`: each goes on to the next name."""
        starts = [match.start(1) for match in _NAMED.finditer(text)]
        lead = len(text) - len(text.lstrip())
        if not starts and whole(text.partition(",")[0].strip(" ([")) is not None:
            yield self.alone(text, _SHAPE_USAGE, "=3"), lead, text.strip(" []"), lead
            return
        if not starts or starts[0] != lead:
            raise InputError(_SHAPE_USAGE, text, min(lead, len(text)))
        for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
            name, _, sizes = text[start:end].partition("=")
            sizes = sizes.rstrip().removesuffix(",") if end < len(text) else sizes
            yield name.strip(), start, sizes, start + len(name) + 1

    def sized(self, name: str, shape: Shape, text: str | None, at: int | None) -> None:
        """Enter the shape of a value; it is the same at every point."""
        if self.shapes.setdefault(name, shape) != shape:
            raise InputError(f"{name} has shape {shape} here, and shape {self.shapes[name]} before", text, at)
        if math.prod(shape) > MAX_ENTRIES:
            hint = "; an array is one point: many points are a list, at=[...]" if text is None else ""
            raise InputError(
                f"{name} has {counted(math.prod(shape))} entries; at most {MAX_ENTRIES:,} are checked{hint}", text, at
            )

    def text(self, text: str) -> Group:
        axes: dict[str, dict[str, Axis]] = {}
        for name, start, value, offset in assignments(text):
            if name in axes and (hint := _one_by_one(text)):
                raise InputError(f"{name!r} is given twice{hint}", text, start)
            self.known(name, text, start, axes)
            axes[name] = self.value(name, value, text, offset)
        return self.group(axes, True, text)

    def mapping(self, entry: Mapping[str, Any]) -> Group:
        axes: dict[str, dict[str, Axis]] = {}
        for name, value in entry.items():
            self.known(name, None, None, axes)
            axes[name] = self.value(name, value, value, 0) if isinstance(value, str) else self.numbers(name, value)
        every = [axis for entries in axes.values() for axis in entries.values()]
        lengths = {len(a) for a in every if not isinstance(a, Every | Stretch) and len(a) != 1}
        if len(lengths) > 1:
            raise InputError(f"sequences of different lengths run side by side: {', '.join(map(str, sorted(lengths)))}")
        return self.group(axes, any(isinstance(a, Every) for a in every), None)

    def group(self, axes: Mapping[str, Mapping[str, Axis]], grid: bool, text: str | None) -> Group:
        missing = [n for n in self.names if n not in axes]
        if missing:
            hint = "; one point is one text, such as " + ",".join(f"{n}=1" for n in self.names) if self.several else ""
            raise InputError(f"the point gives no value for {', '.join(missing)}{hint}", text, len(text) if text else None)
        group = Group({entry: axis for entries in axes.values() for entry, axis in entries.items()}, grid, text)
        group.bounded()
        return group

    def value(self, name: str, value: str, whole: str, offset: int) -> dict[str, Axis]:
        """What stands after `name=`: a list, which is an array, or what the one number takes."""
        start = offset + len(value) - len(value.lstrip())
        if is_stored(value):
            return self.numbers(name, tensor_in(value, whole, offset), whole, start)
        if value.lstrip().startswith("["):
            found: list[complex] = []
            shape = self.listed(self.tree(value, whole, offset), found, whole)
            self.sized(name, shape, whole, start)
            return self.entered(name, shape, found)
        axis = self.axis(value, whole, offset)
        self.sized(name, (), whole, start)
        return self.entered(name, (), [axis]) if isinstance(axis, complex) else {name: axis}

    def tree(self, value: str, whole: str, offset: int) -> Node:
        """What a constant expression says; i is the imaginary unit where numbers may be complex."""
        return parse(_IMAGINARY.sub(r"\1j", value), whole, offset, imaginary=None if self.parts is None else UNITS)

    def entered(self, name: str, shape: Shape, numbers: Sequence[complex]) -> dict[str, Axis]:
        """The entries of a value, and their imaginary parts where one is complex."""
        found: dict[str, Axis] = {e: (n.real,) for e, n in zip(entry_names(name, shape), numbers, strict=True)}
        if any(isinstance(n, complex) for n in numbers):
            self.complexes.add(name)
            found |= {e: (n.imag,) for e, n in zip(entry_names(imag_of(name), shape), numbers, strict=True)}
        return found

    def listed(self, tree: Node, found: list[complex], whole: str) -> Shape:
        """The shape of a list, or of a list of lists; its numbers go to `found`."""
        if not (isinstance(tree, Call) and tree.function == syntax.STACK):
            found.append(self.evaluated(tree, whole, tree.position))
            return ()
        shapes = [self.listed(part, found, whole) for part in tree.arguments[:-1]]
        for shape, part in zip(shapes, tree.arguments, strict=False):
            if shape != shapes[0]:
                message = f"the entries of a list have one shape: {shapes[0]} and {shape} are two"
                raise InputError(message, whole, part.position)
        return (len(shapes), *shapes[0])

    def numbers(self, name: str, value: object, whole: str | None = None, at: int | None = None) -> dict[str, Axis]:
        """A number or nested sequences of numbers from Python: lists, NumPy arrays, tensors."""
        plain: Any = value.tolist() if hasattr(value, "tolist") else value
        found: list[complex] = []
        shape = _nested(name, plain, found, lambda text: self.scalar(text, text, 0))
        self.sized(name, shape, whole, at)
        if self.parts is None and any(isinstance(n, complex) for n in found):
            raise InputError(f"the value of {name!r} is complex; functions here are real", whole, at)
        return self.entered(name, shape, found)

    def known(self, name: str, text: str | None, at: int | None, given: Mapping[str, object]) -> None:
        if name not in self.names:
            name = str(name)
            near = difflib.get_close_matches(name[:60], self.names, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            joined = next((n for n in self.names if n.endswith(name) and n.removesuffix(name) in NAMES), None)
            hint = hint if joined is None else f"; did you mean {joined.removesuffix(name)}({name})?"
            listed = ", ".join(self.names)
            plural = "inputs are" if len(self.names) > 1 else "only input is"
            raise InputError(f"{name!r} is not an input{hint} (the {plural} {listed})", text, at)
        if name in given:
            raise InputError(f"{name!r} is given twice", text, at)

    def axis(self, value: str, whole: str, offset: int) -> Axis | complex:
        """What stands after `name=`: a number, which may be complex, linspace, logspace, all or all(a,b)."""
        if value.strip() == ALL:
            return Every()
        match = _SPACES.fullmatch(value)
        if match and match[1] == ALL:
            return self.every(match[2], whole, offset + match.start(2))
        if match:
            return self.space("linspace" if match[1] == "linspace" else "logspace", match[2], whole, offset + match.start(2))
        number = self.scalar(value, whole, offset)
        return number if isinstance(number, complex) else (number,)

    def every(self, arguments: str, whole: str, offset: int) -> Every:
        pieces = split(arguments, offset)
        if len(pieces) != 2:
            raise InputError("all takes no number, which is every float, or two: all(first, last)", whole, offset)
        first, last = (self.number(text, whole, at) for text, at in pieces)
        if first > last:
            raise InputError(f"there is no float from {first!r} to {last!r}: the first end comes first", whole, offset)
        return Every(first, last)

    def space(self, kind: Literal["linspace", "logspace"], arguments: str, whole: str, offset: int) -> Space:
        pieces = split(arguments, offset)
        if len(pieces) != 3:
            raise InputError(f"{kind} takes three numbers: {kind}(first, last, how many)", whole, offset)
        (first, at_first), (last, at_last), (many, at_many) = pieces
        a, b = self.number(first, whole, at_first), self.number(last, whole, at_last)
        n = self.number(many, whole, at_many)
        for value, at in ((a, at_first), (b, at_last)):
            if not math.isfinite(value):
                raise InputError(f"{kind} needs finite ends", whole, at)
        if not (n >= 1 and (math.isinf(n) or n == math.floor(n))):
            raise InputError(f"{kind} needs a whole number of points, at least 1", whole, at_many)
        if n > MAX_POINTS:
            raise InputError(too_many(n), whole, at_many)
        if kind == "logspace" and (a == 0 or b == 0 or (a < 0) != (b < 0)):
            raise InputError("logspace needs two ends of one sign, neither 0", whole, at_first if a == 0 else at_last)
        return Space(kind, a, b, int(n))

    def number(self, value: str, whole: str, offset: int) -> float:
        """The nearest double to a constant expression."""
        found, start = self.scalar(value, whole, offset), offset + len(value) - len(value.lstrip())
        if isinstance(found, complex):
            raise InputError("a real number is needed here", whole, start)
        return found

    def scalar(self, value: str, whole: str, offset: int) -> complex:
        """The same, or the nearest complex number where that is meant."""
        start = offset + len(value) - len(value.lstrip())
        if value.strip() in ("nan", "+nan", "-nan"):
            raise InputError("nan is not a point", whole, start)
        return self.evaluated(self.tree(value, whole, offset), whole, start)

    def evaluated(self, tree: Node, whole: str, start: int) -> complex:
        """The nearest double to a tree without variables; a complex number where some number in it is."""
        if self.parts is None or not any(isinstance(n, Constant) and isinstance(n.value, complex) for n in walk(tree)):
            return self.real(tree, whole, start)
        try:
            real, imag = self.parts(tree)
        except NotImplementedError as problem:
            raise InputError(str(problem), whole, start) from None
        return complex(self.real(real, whole, start), self.real(imag, whole, start))

    def real(self, tree: Node, whole: str, start: int) -> float:
        """The nearest double to a tree without variables."""
        if not is_constant(tree):
            culprit = next(n for n in walk(tree) if not isinstance(n, Call | Constant))
            hint = FOREIGN.get(getattr(culprit, "name", ""))
            message = f"a number is needed here, not a variable{f'; {hint}' if hint else ''}"
            raise InputError(message, whole, culprit.position)
        if is_truth(tree):
            raise InputError("a number is needed here, not a condition", whole, start)
        if any(isinstance(n, Call) and TABLE[n.function].arrays for n in walk(tree)):
            raise InputError("a number is needed here, not an array", whole, start)
        result = self.constant(tree)
        if result is None or math.isnan(result):
            raise InputError("this has no real value, or none that can be computed", whole, start)
        if math.isinf(result) and not any(isinstance(n, Call) and n.function == syntax.INF for n in walk(tree)):
            raise InputError("this number is larger than any float", whole, start)
        return result

    def constant(self, tree: Node) -> float | None:
        match tree:
            case Constant(value=value):
                return float(value)
            case Call(function=syntax.NEG, arguments=(inner,)):
                result = self.constant(inner)
                return None if result is None else -result
        exact = exact_constant(tree)
        if exact is not None:
            try:
                return float(exact)
            except OverflowError:
                return math.copysign(math.inf, exact)
        return None if self.evaluate is None else self.evaluate(tree)

    def domain(self, domain: Any) -> dict[str, tuple[float, float]]:
        intervals: dict[str, tuple[float, float]] = {}
        domain = domain.tolist() if hasattr(domain, "tolist") else domain
        given: Any = [domain] if isinstance(domain, str | float | int) else domain
        if isinstance(given, list | tuple) and given and not all(isinstance(end, str) for end in given):  # (0, 5)
            domain = {self.alone(domain, _DOMAIN_USAGE, "=0:5"): domain}
        elif isinstance(given, list | tuple) and len(given) == 1 and "=" not in given[0] and ":" in given[0]:
            domain = {self.alone(given[0], _DOMAIN_USAGE, "=0:5"): given[0]}
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
        for text in given or ():
            for name, start, value, offset in _assignments(text, _DOMAIN_USAGE):
                self.known(name, text, start, intervals)
                intervals[name] = self.interval(value, text, offset)
        return intervals

    def interval(self, value: str, whole: str, offset: int) -> tuple[float, float]:
        ends = split(value, offset, ":")
        if len(ends) != 2:
            raise InputError(_DOMAIN_USAGE, whole, offset)
        (first, at_first), (last, at_last) = ends
        a = self.number(first, whole, at_first) if first.strip() else -math.inf
        b = self.number(last, whole, at_last) if last.strip() else math.inf
        return _ordered(a, b, whole, offset)


def _ordered(a: float, b: float, whole: str | None, at: int | None) -> tuple[float, float]:
    if not a < b:
        raise InputError(f"the domain {a!r}:{b!r} is empty: the first end must be less than the last", whole, at)
    return a, b


def numbers_of(text: str, name: str, evaluate: Evaluate, parts: InParts | None = None) -> Any:
    """The value of "name=value": a number, or nested lists of numbers; constant expressions are evaluated. `parts`: complex
    ones have a meaning, as in `parse_points`."""
    spec = parse_points(text, [name], evaluate=evaluate, parts=parts)
    (group,) = spec.at
    if not all(isinstance(axis, tuple) for axis in group.axes.values()):
        raise InputError("one value is needed here: a number, or a list of numbers", text, len(name) + 1)
    flat: list[Any] = [axis[0] for axis in group.axes.values() if isinstance(axis, tuple)]
    shape = spec.shapes[name]
    if isinstance(shape, OfParts):
        flat, shape = [complex(*pair) for pair in zip(flat[::2], flat[1::2], strict=True)], shape.whole
    for size in reversed(shape):
        flat = [flat[i : i + size] for i in range(0, len(flat), size)]
    return flat[0]


def with_files(entry: Any, read: Read) -> Any:
    """A point that is a text, or holds texts, of which some name files: by its names, with the tensors, and with numbers for
    all else; a file alone is its tensor. Any other as it is."""
    if is_stored(entry):
        return tensor_in(entry, entry, 0)
    if isinstance(entry, str) and MARK in entry:
        values = {name: (value, entry, offset) for name, _, value, offset in assignments(entry)}
    elif isinstance(entry, Mapping):
        values = {name: (value, value, 0) for name, value in entry.items()}
    else:
        return entry
    if not any(is_stored(value) for value, _, _ in values.values()):
        return entry
    return {
        name: tensor_in(*given) if is_stored(given[0])
        else read(f"{name}={given[0]}", name) if isinstance(given[0], str)
        else given[0]
        for name, given in values.items()
    }  # fmt: skip


def assignments(text: str) -> list[tuple[str, int, str, int]]:
    """The `name=value` pieces of a point."""
    return _assignments(text, _POINT_USAGE)


def _assignments(text: str, usage: str) -> list[tuple[str, int, str, int]]:
    """The `name=value` pieces of a text: (name, where it stands, value, where that stands)."""
    found = []
    for piece, offset in split(text, 0):
        name, equals, value = piece.partition("=")
        start = offset + len(piece) - len(piece.lstrip())
        if not equals or not name.strip().isidentifier():
            hint = _of_one_name(text) if usage == _POINT_USAGE else ""
            raise InputError(f"{usage}{hint}", text, min(start, len(text)))
        if not value.strip():
            raise InputError(f"a value is missing: {usage}", text, offset + len(piece))
        next_one = _NEXT.search(value)
        if value.startswith("=") or next_one is not None:
            hint = f", and several with commas: {_apart(text)}" if next_one is not None else ""
            hint = (usage == _POINT_USAGE and _one_by_one(text)) or hint
            raise InputError(
                f"{usage}{hint}", text, offset + len(name) + 1 + (next_one.start(1) if next_one is not None else 0)
            )
        found.append((name.strip(), start, value, offset + len(name) + 1))
    return found


def _one_by_one(text: str | None) -> str:
    """What to write for several points in one text, `x=1;x=2`; nothing where that isn't what the text has."""
    pieces = [piece.strip(" ;") for piece, _ in split(_apart(text or ""), 0)]
    names = [piece.partition("=")[0].strip() for piece in pieces]
    every = len(set(names))
    if every == len(names) or len(names) % every or any(n != names[i % every] for i, n in enumerate(names)):
        return ""
    points = [",".join(pieces[i : i + every]) for i in range(0, len(pieces), every)]
    return f", and several points one by one: {' '.join(f'--at {point}' for point in points)}"


def _of_one_name(text: str) -> str:
    """What to write for `x=1,2`; nothing where that isn't what the text has."""
    (first, _), *others = split(text, 0)
    name, equals, value = map(str.strip, first.partition("="))
    values = [value, *(piece.strip() for piece, _ in others)]
    if not (equals and others and all(values)) or any("=" in value for value in values):
        return ""
    points = " ".join(f"--at {name}={value}" for value in values)
    return f"; several points are {points}, and an array is {name}=[{','.join(values)}]"


def _apart(text: str) -> str:
    """`x=1,y=2` for `x=1 y=2` and `x=1; y=2`."""
    return _NEXT.sub(lambda match: f",{match[1]}=", text)


def split(text: str, offset: int, separator: str = ",") -> list[tuple[str, int]]:
    """The pieces between separators that stand outside of brackets, each with its place in the longer text."""
    pieces, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "([{") - (c in ")]}")
        if c == separator and depth <= 0:
            pieces.append((text[start:i], offset + start))
            start = i + 1
    return [*pieces, (text[start:], offset + start)]


def holds_text(value: object) -> bool:
    """Whether a value is, or holds in its lists, a text, which is a constant expression."""
    return isinstance(value, str) or (isinstance(value, list | tuple) and any(map(holds_text, value)))


def _nested(name: str, value: object, found: list[complex], read: Callable[[str], complex]) -> Shape:
    """The shape of nested sequences; their numbers go to `found`, constant expressions too, which are `read`."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        shapes = [_nested(name, v.tolist() if hasattr(v, "tolist") else v, found, read) for v in value]
        if len(set(shapes)) != 1:
            what = "the entries of its lists differ in shape" if shapes else "an empty list has no entries"
            raise InputError(f"the value of {name!r} is not an array: {what}")
        return (len(shapes), *shapes[0])
    try:
        number = _number(value, read)
    except OverflowError:
        raise InputError(f"the value of {name!r} is larger than any float") from None
    except (TypeError, ValueError):
        number = math.nan
    if number != number:
        raise InputError(f"the value of {name!r} is not a number: {str(value)[:60]!r}")
    found.append(number)
    return ()


def _number(value: Any, read: Callable[[str], complex]) -> complex:
    """A number from Python; a constant expression is `read`. nan where it is none."""
    if isinstance(value, str):
        return read(value)
    return value if isinstance(value, complex) else math.nan if isinstance(value, bytes) else float(value)
