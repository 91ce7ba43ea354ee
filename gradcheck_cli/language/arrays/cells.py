"""Arrays whose entries are trees: what they are made of, how many there may be, and how they don't fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.language import syntax
from gradcheck_cli.language.constants import exact_constant
from gradcheck_cli.language.spaces import MAX_ENTRIES, Shape
from gradcheck_cli.language.tree import Call, Constant, Node

Array = npt.NDArray[np.object_]
"""An array of nodes."""

MAX_ENTRY = 50_000
MAX_CALLS = 400_000
"""Bounds: nodes of one entry's tree, calls in all."""

FACTORS = ("eigenvectors", "R", "U", "Vh", "U of full", "Vh of full")
"""Of which torch's choice is held: by their number in this list `gauge` has them."""

MOST_ROWS, MOST_EXPONENTIAL, MOST_SORTED = 6, 4, 8
"""Bounds: rows of a matrix whose minors are written out, or whose exponential is taken; entries that are sorted."""

UNFIT = "shapes that don't fit"
INSTEAD = "check a Python function with `gradcheck function` instead"
SOME = "as many entries as a condition chooses"
INFINITE = Call(syntax.INF, ())


@dataclass(frozen=True)
class Chosen:
    """Entries of which those count whose condition holds: `x[x > 0]`, in order. How many that is depends on the numbers."""

    entries: Array
    conditions: Array
    shape = (None,)
    ndim = 1

    def filled(self, node: Node) -> Array:
        """All entries, those that don't count replaced."""
        pairs = zip(self.conditions, self.entries, strict=True)
        return array_of([Call(syntax.WHERE, (condition, entry, node)) for condition, entry in pairs], self.entries.shape)


class Misfit(Exception):
    """Shapes or settings that don't fit; `entries` adds the text and the place in it."""

    def __init__(self, reason: str, shapes: str = "") -> None:
        super().__init__(f"{reason}: {shapes}" if shapes else reason)
        self.reason = reason


class Building:
    """What is built while a tree is evaluated: nodes, so many and no more."""

    def __init__(self) -> None:
        self.calls = 0

    def node(self, function: str, *arguments: Node, position: int = 0) -> Node:
        """A call. Raises Misfit where there are too many."""
        self.calls += 1
        if self.calls > MAX_CALLS:
            raise Misfit(f"more than {MAX_CALLS:,} operations, entry by entry: {INSTEAD}")
        return Call(function, arguments, position)

    def fold(self, function: str, nodes: Sequence[Node]) -> Node:
        """One node of many, as a balanced tree; whole numbers are added at once."""
        if function == syntax.ADD and all(isinstance(n, Constant) and isinstance(n.value, int) for n in nodes):
            return Constant(sum(n.value for n in nodes if isinstance(n, Constant)))
        level = list(nodes)
        while len(level) > 1:
            pairs = [self.node(function, x, y) for x, y in zip(level[::2], level[1::2], strict=False)]
            level = pairs + level[len(level) & ~1 :]
        return level[0]

    def run(self, tree: Node, values: Mapping[str, Any], text: str | None = None, inside: bool = False) -> Array:
        """The value of a tree (`evaluation`)."""
        raise NotImplementedError


def array_of(nodes: Sequence[Node], shape: Sequence[int]) -> Array:
    array = np.empty(len(nodes), dtype=object)
    array[:] = nodes
    return array.reshape(shape)


def whole_numbers(array: Array, least: float = 0) -> list[int]:
    """The entries of an array of labels; raises ValueError where one is no whole number, or below the least."""
    found = [exact_constant(node) for node in array.reshape(-1)]
    whole = [int(v) for v in found if isinstance(v, Fraction) and v.denominator == 1 and v >= least]
    if len(whole) < len(found):
        raise ValueError("places in an index are whole numbers")
    return whole


def places_of(labels: Array, most: int) -> npt.NDArray[np.intp]:
    """Places along a dimension with so many entries."""
    try:
        numbers = whole_numbers(labels)
    except ValueError:
        raise ValueError("places are whole numbers from 0 on") from None
    if max(numbers, default=0) >= most:
        raise ValueError(f"there is no place {max(numbers)}: there are {most}")
    return np.array(numbers, dtype=np.intp).reshape(labels.shape)


def followed(shape: Shape) -> Shape:
    """The shape, if an array of it is followed."""
    if any(n < 1 for n in shape):
        raise ValueError(f"an array of shape {shape} has no entries")
    if math.prod(shape) > MAX_ENTRIES:
        raise ValueError(f"an array of {math.prod(shape):,} entries; at most {MAX_ENTRIES:,} are followed")
    return shape


def matrix_of(x: Array) -> Array:
    """The array, which has two dimensions, or more."""
    if x.ndim < 2:
        raise ValueError("a matrix is needed")
    if min(x.shape[-2:]) > MOST_ROWS:
        raise ValueError(f"a matrix of more than {MOST_ROWS} rows and columns; {INSTEAD}")
    return x


def rows_of(x: Array) -> int:
    """The number of rows of a square matrix, or of each of several."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError("a square matrix is needed")
    if x.shape[-1] > MOST_ROWS:
        raise ValueError(f"a matrix of more than {MOST_ROWS} rows; {INSTEAD}")
    return int(x.shape[-1])


def axes_of(x: Array, dim: Any) -> tuple[int, ...]:
    """The dimensions that a setting means, counted from 0."""
    chosen = (dim,) if isinstance(dim, int) else tuple(dim) or tuple(range(x.ndim))
    for axis in chosen:
        if not -max(x.ndim, 1) <= axis < max(x.ndim, 1):
            raise ValueError(f"there is no dimension {axis}")
    found = tuple(a % x.ndim for a in chosen) if x.ndim else ()
    if len(set(found)) < len(found):
        raise ValueError("a dimension is named twice")
    return found
