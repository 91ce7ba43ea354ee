"""Points as plain data: what each number takes, grids of that, and seeded samples; arrays for one format.

A point is rounded to the format first, so that every party sees the float that torch sees. NumPy is imported when arrays are
made.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Literal, Union

from gradcheck_cli.errors import InputError, counted
from gradcheck_cli.language import syntax
from gradcheck_cli.language.tree import Call, Constant, Node

if TYPE_CHECKING:
    from gradcheck_cli.floats import Floats, Format
    from gradcheck_cli.language.sampling import Inside

MAX_POINTS = 5_000_000
MAX_ENTRIES = 10_000
"""Of one array."""
BLOCK = 1 << 20
"""Where every float is asked for: points up to which all are kept. Of more, so many are gone through at a time."""
LONGEST = 1 << 32
"""Floats of a format that are gone through: those of 32 bits."""

ALL = "all"
"""Stands for every finite float of the format."""

Shape = tuple[int, ...]


class OfParts(Shape):
    """The shape of a complex array as its numbers stand in memory: the last axis is real part and imaginary part."""

    __slots__ = ()

    @classmethod
    def of(cls, shape: Shape) -> OfParts:
        """Of an array of complex numbers."""
        return cls((*shape, 2))

    @property
    def whole(self) -> Shape:
        """The shape that it has as an array of complex numbers."""
        return tuple(self[:-1])


@dataclass(frozen=True, slots=True)
class Space:
    """`linspace(first, last, n)` or `logspace(first, last, n)`, not yet an array."""

    kind: Literal["linspace", "logspace"]
    first: float
    last: float
    n: int

    def __len__(self) -> int:
        return self.n


@dataclass(frozen=True, slots=True)
class Every:
    """`all`, every finite float of the format, or `all(first, last)`, those between two numbers, ends included."""

    first: float = -math.inf
    last: float = math.inf

    def numbers(self, format: Format) -> range:
        """Which floats of the format these are, see `Format.floats`."""
        return format.numbers(self.first, self.last)


@dataclass(frozen=True, slots=True)
class Stretch:
    """The floats of one format with these numbers, see `Format.floats`."""

    span: range

    def numbers(self, format: Format) -> range:
        return self.span


def _size(numbers: range) -> int:
    """How many there are, be it more than `len` can say."""
    return max(-((numbers.start - numbers.stop) // numbers.step), 0)


Axis = Union[tuple[float, ...], "array[float]", Space, Every, Stretch]
"""What one name takes; an array where that is many numbers."""


@dataclass(frozen=True, slots=True)
class Group:
    """The points of one --at: what each name takes, as written. `grid`: every combination; otherwise the axes run side by
    side."""

    axes: Mapping[str, Axis]
    grid: bool
    text: str | None = None

    def count(self, format: Format) -> int:
        """How many points this is in the format; InputError where `all` doesn't suit it, or there are too many."""
        sizes = [_size(axis.numbers(format)) if isinstance(axis, Every | Stretch) else len(axis) for axis in self.axes.values()]
        count = math.prod(sizes) if self.grid else max(sizes, default=0)
        at = self.text.index(ALL) if self.text and ALL in self.text else None
        if any(isinstance(axis, Every) and not size for axis, size in zip(self.axes.values(), sizes, strict=True)):
            raise InputError(f"no {format.name} number lies there", self.text, at)
        if count > MAX_POINTS and max(sizes) > LONGEST:
            message = f"{ALL!r} means every float of a dtype of at most 32 bits; {format.name} has too many"
            raise InputError(f"{message}: use linspace or --sample", self.text, at)
        if count > MAX_POINTS and not (self.streams and count == max(sizes)):
            hint = f"; every float of {format.name} goes with one value of each other input" if max(sizes) > MAX_POINTS else ""
            raise InputError(too_many(count) + hint, self.text, 0 if self.text else None)
        return count

    def bounded(self) -> None:
        """InputError where these are too many points in any format."""
        least = 1 << 16 if len(self.axes) > 1 else 1  # finite floats of 16 bits, nearly
        sizes = [
            least if axis == Every() else 1 if isinstance(axis, Every | Stretch) else len(axis) for axis in self.axes.values()
        ]
        count = math.prod(sizes) if self.grid else max(sizes, default=0)
        if count > MAX_POINTS:
            raise InputError(too_many(count), self.text, 0 if self.text else None)

    @property
    def streams(self) -> bool:
        """Whether it is about every float, so that any number of points has a meaning."""
        return any(isinstance(axis, Every | Stretch) for axis in self.axes.values())

    def blocks(self, format: Format, size: int) -> Iterator[Group]:
        """The same points in their order, at most so many in each group, where this is about every float of the format."""
        if self.count(format) <= size or not self.streams:
            yield self
            return
        lengths = {name: axis.numbers(format) for name, axis in self.axes.items() if isinstance(axis, Every | Stretch)}
        name = max(lengths, key=lambda name: len(lengths[name]))
        numbers, others = lengths[name], self.count(format) // len(lengths[name])
        for start in range(0, len(numbers), step := max(size // others, 1)):
            yield replace(self, axes={**self.axes, name: Stretch(numbers[start : start + step])})

    def end(self, format: Format, last: bool) -> dict[str, Floats]:
        """The first point, or the last one, without making the others of every float."""
        here = slice(-1, None) if last else slice(0, 1)
        axes = {
            name: Stretch(axis.numbers(format)[here]) if isinstance(axis, Every | Stretch) else axis
            for name, axis in self.axes.items()
        }
        return {name: values[here] for name, values in replace(self, axes=axes).values(format).items()}

    def values(self, format: Format) -> dict[str, Floats]:
        """One array a name, of equal lengths; in a grid the first name runs slowest."""
        import numpy as np

        from gradcheck_cli.language import sampling

        if self.count(format) > MAX_POINTS:
            raise InputError(too_many(self.count(format)), self.text, 0 if self.text else None)
        arrays: list[Floats] = []
        for axis in self.axes.values():
            if isinstance(axis, Space):
                space = sampling.linspace if axis.kind == "linspace" else sampling.logspace
                arrays.append(format.round(space(axis.first, axis.last, axis.n)))
            elif isinstance(axis, Every | Stretch):
                arrays.append(format.floats(axis.numbers(format)))
            else:
                arrays.append(format.round(axis))
        if self.grid:
            several = [i for i, a in enumerate(arrays) if len(a) != 1]  # an array's entries are many, and one each
            for i, a in zip(several, np.meshgrid(*(arrays[i] for i in several), indexing="ij"), strict=True):
                arrays[i] = a.ravel()
        spread = np.broadcast_arrays(*arrays)
        return {name: np.array(a, dtype=np.float64) for name, a in zip(self.axes, spread, strict=True)}


@dataclass(frozen=True, slots=True)
class PointSpec:
    """The points of one problem: those of `at` in the order given, then `sample` seeded ones.

    `domain` bounds the samples (closed intervals; a name without one is unbounded). `names` are those of numbers: an input of
    the shape (2,), as `shapes` says, has `x[0]` and `x[1]`.
    """

    at: tuple[Group, ...]
    sample: int
    domain: Mapping[str, tuple[float, float]]
    seed: int
    names: tuple[str, ...]
    shapes: Mapping[str, Shape]

    def constant(self, name: str) -> Node:
        """An input's value as a tree, where it is the same at every point."""
        values: list[float] = []
        for entry in entry_names(name, self.shapes[name]):
            found = {v for group in self.at for v in plain(group.axes[entry])}
            if self.sample or len(found) != 1:
                text = self.at[0].text if self.at else None
                message = f"{name!r} holds labels or weights, which are not drawn: give one list of numbers for all points"
                raise InputError(message, text, None if text is None else 0)
            values += found
        nodes: list[Node] = [Constant(int(v) if v.is_integer() else v) for v in values]
        for size in reversed(self.shapes[name]):
            nodes = [Call(syntax.STACK, (*nodes[i : i + size], Constant(0))) for i in range(0, len(nodes), size)]
        return nodes[0]

    def without(self, names: Container[str]) -> PointSpec:
        """The same points, some inputs left out."""
        shapes = {name: shape for name, shape in self.shapes.items() if name not in names}
        kept = tuple(entry for name, shape in shapes.items() for entry in entry_names(name, shape))
        groups = tuple(
            replace(group, axes={entry: axis for entry, axis in group.axes.items() if entry in kept}) for group in self.at
        )
        return replace(self, at=groups, names=kept, shapes=shapes)

    @property
    def explicit(self) -> bool:
        """True where the user named at least one point."""
        return bool(self.at)

    def count(self, format: Format) -> int:
        """How many points `values` will return; raises the same InputErrors, without making them."""
        from gradcheck_cli.language.sampling import Sampler

        count = sum(group.count(format) for group in self.at) + self.sample
        if count > MAX_POINTS and not self.streams(format):
            raise InputError(too_many(count))
        if self.sample:
            Sampler(self.names, self.domain, self.seed, format)
        return count

    def streams(self, format: Format) -> bool:
        """Whether these are so many floats of the format that they are gone through block by block."""
        return any(group.streams and group.count(format) > BLOCK for group in self.at)

    def blocks(self, format: Format, size: int) -> list[PointSpec]:
        """The same points in their order: every float that is asked for in blocks of at most so many, the rest as it is."""
        found = [replace(self, at=(part,), sample=0) for group in self.at for part in group.blocks(format, size)]
        return [*found, *([replace(self, at=())] if self.sample else [])]

    def ends(self, format: Format) -> tuple[dict[str, float], dict[str, float]]:
        """The first point and the last one."""
        if self.at and not self.sample:
            ends = self.at[0].end(format, False), self.at[-1].end(format, True)
        else:
            values = self.values(format)
            ends = values, {name: column[-1:] for name, column in values.items()}
        first, last = ({name: float(column[0]) for name, column in end.items()} for end in ends)
        return first, last

    def values(self, format: Format, inside: Inside | None = None) -> dict[str, Floats]:
        """Arrays of equal length, one entry a point, rounded to the format: the names as the first point has them, else in the
        order of `names`. Duplicate points stay. `inside`: where samples of ordinary size are looked for."""
        import numpy as np

        from gradcheck_cli.language.sampling import Sampler

        self.count(format)
        parts = [group.values(format) for group in self.at]
        if self.sample:
            sampler = Sampler(self.names, self.domain, self.seed, format, inside)
            parts.append(sampler.values(self.sample))
        order = self.at[0].axes if self.at else self.names
        return {name: np.concatenate([part[name] for part in parts]) for name in order}


def entry_names(name: str, shape: Shape) -> list[str]:
    """What the entries of an array are called, in order: `x[0]`, `A[1,2]`; `x` for a number; `z.real`, `z.imag` for a complex
    one."""
    return list(_entry_names(name, shape))


@lru_cache(maxsize=64, typed=True)
def _entry_names(name: str, shape: Shape) -> tuple[str, ...]:
    if isinstance(shape, OfParts):
        parts = (real_of(name), imag_of(name))
        return tuple(part + subscript(place) for place in product(*map(range, shape.whole)) for part in parts)
    return tuple(name + subscript(place) for place in product(*map(range, shape)))


def real_of(name: str) -> str:
    """What the real part of a variable is called: no name that a formula may use."""
    return f"{name}.real"


def imag_of(name: str) -> str:
    return f"{name}.imag"


def is_imag(entry: str) -> bool:
    """Whether it is an imaginary part, or an entry of one."""
    return entry.partition("[")[0].endswith(".imag")


def base_of(entry: str) -> str:
    """The input or stage that an entry is one of."""
    name = entry.partition("[")[0]
    return name.removesuffix(".real").removesuffix(".imag")


def arrays_of(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The arrays of real numbers that these are: of complex ones the parts."""
    found: dict[str, Shape] = {}
    for name, shape in shapes.items():
        found |= {real_of(name): shape.whole, imag_of(name): shape.whole} if isinstance(shape, OfParts) else {name: shape}
    return found


def subscript(index: Sequence[int]) -> str:
    """`[0,1]`; nothing for no dimension."""
    return f"[{','.join(map(str, index))}]" if index else ""


def unravel(flat: int, shape: Sequence[int]) -> tuple[int, ...]:
    """The index of the entry with number `flat`."""
    index = []
    for size in reversed(shape):
        flat, here = divmod(flat, size)
        index.append(here)
    return tuple(reversed(index))


def plain(axis: Axis) -> Sequence[float]:
    """The numbers of an axis that is given number by number."""
    return axis if isinstance(axis, tuple | array) else ()


def too_many(count: float) -> str:
    return f"{counted(count)} points are too many: at most {MAX_POINTS:,} are checked"
