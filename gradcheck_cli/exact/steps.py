"""One-sided derivatives at many points of what is made of steps, at once: floor at whole numbers, a pulse at its edges.

Beside a point such a function is a polynomial whose coefficients are floats: its value, its limit and its slope on one side are
known without any rounding, or they aren't known here. Balls, which take limits, are asked about a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from flint import arb

from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.algebra.columns.words import two_sum
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.floats import Floats
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import Function
from gradcheck_cli.language.parser import definition
from gradcheck_cli.language.tree import Node
from gradcheck_cli.verdict.truth import Kind, Truth, held

Mask = npt.NDArray[np.bool_]

_LARGE, _SMALL, _SPLIT = 2.0**400, 2.0**-400, 2.0**27 + 1.0
"""Between these sizes the error of a product is a float; the factor that splits a float into two halves."""


_ZERO = np.float64(0.0)


class Sided(NamedTuple):
    """A function on one side of a point: its `value` there, its limit, `limit` + `low` (half a gap at most), and its `slope` on
    that side. `straight`: it has no curvature beside the point; `known`: all that is exact."""

    value: Any
    limit: Any
    low: Any
    slope: Any
    straight: Any
    known: Any


class Decided(NamedTuple):
    """A condition: whether it holds `at` the point, and `beside` it."""

    at: Any
    beside: Any
    known: Any


def _sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a + b, and whether that is exact."""
    s = a + b
    t = s - a
    return s, ((a - (s - t)) + (b - t) == 0.0) & np.isfinite(s)


def _product(a: Any, b: Any) -> tuple[Any, Any]:
    """a*b, and whether that is exact."""
    p = a * b
    c, d = _SPLIT * a, _SPLIT * b
    ah, bh = c - (c - a), d - (d - b)
    al, bl = a - ah, b - bh
    error = ((ah * bh - p) + ah * bl + al * bh) + al * bl
    sizes = [(np.abs(x) < _LARGE) & (np.abs(x) > _SMALL) for x in (a, b)]
    return p, ((a == 0.0) | (b == 0.0) | (sizes[0] & sizes[1] & (error == 0.0))) & np.isfinite(p)


def _joined(a: Any, b: Any, low: Any) -> tuple[Any, Any, Any]:
    """a + b + low as a float and what is small beside it, and whether that is exact."""
    s, error = two_sum(a, b)
    rest, exact = _sum(error, low)
    return *two_sum(s, rest), exact & np.isfinite(s)


def _add(x: Sided, y: Sided) -> Sided:
    (value, known), (slope, also), (low, too) = (_sum(a, b) for a, b in ((x[0], y[0]), (x[3], y[3]), (x[2], y[2])))
    limit, low, exact = _joined(x.limit, y.limit, low)
    return Sided(value, limit, low, slope, x.straight & y.straight, x.known & y.known & known & also & too & exact)


def _negative(x: Sided) -> Sided:
    return Sided(-x.value, -x.limit, -x.low, -x.slope, x.straight, x.known)


def _plain(x: Sided) -> Any:
    """Where it is known, and its limit is one float."""
    return x.known & (x.low == 0.0)


def _multiply(x: Sided, y: Sided) -> Sided:
    value, known = _product(x.value, y.value)
    limit, also = _product(x.limit, y.limit)
    (a, exact), (b, too) = _product(x.limit, y.slope), _product(x.slope, y.limit)
    slope, last = _sum(a, b)
    constant = (x.straight & (x.slope == 0.0)) | (y.straight & (y.slope == 0.0))
    sure = _plain(x) & _plain(y) & known & also & exact & too & last
    return Sided(value, limit, np.zeros_like(limit), slope, x.straight & y.straight & constant, sure)


def _over(x: Sided, y: Sided) -> Sided:
    """By a constant that divides without rounding."""
    constant = y.straight & (y.slope == 0.0) & (y.value == y.limit) & (y.value != 0.0)
    found = [part / y.value for part in x[:4]]
    known = _plain(x) & _plain(y) & constant
    for part, quotient in zip(x[:4], found, strict=True):
        product, exact = _product(quotient, y.value)
        known = known & exact & (product == part)
    return Sided(found[0], found[1], found[2], found[3], x.straight, known)


def _sign(x: Sided, side: float) -> tuple[Any, Any, Any]:
    """The sign at the point, the one beside it, and whether they are certain."""
    beside = np.where(x.limit == 0.0, np.sign(x.slope) * side, np.sign(x.limit))
    return np.sign(x.value), beside, x.known & ((beside != 0.0) | x.straight)


class Side:
    """The algebra of one side, 1 or -1."""

    operators: Mapping[str, str] = MappingProxyType({})

    def __init__(self, side: float) -> None:
        self.side = side
        compared: Mapping[str, Callable[[Any], Any]] = {
            "lt": lambda s: s < 0, "le": lambda s: s <= 0, "gt": lambda s: s > 0, "ge": lambda s: s >= 0,
            "eq": lambda s: s == 0, "ne": lambda s: s != 0,
        }  # fmt: skip
        self._rows: dict[str, Callable[..., Any]] = {
            syntax.ADD: _add,
            syntax.SUB: lambda x, y: _add(x, _negative(y)),
            syntax.NEG: _negative,
            syntax.MUL: _multiply,
            syntax.DIV: _over,
            syntax.SQUARE: lambda x: _multiply(x, x),
            syntax.WHERE: self._where,
            syntax.AND: lambda a, b: Decided(a.at & b.at, a.beside & b.beside, a.known & b.known),
            syntax.OR: lambda a, b: Decided(a.at | b.at, a.beside | b.beside, a.known & b.known),
            syntax.NOT: lambda a: Decided(~a.at, ~a.beside, a.known),
            "abs": self._abs,
            "sign": self._signed,
            "floor": self._floor,
            **{name: lambda x, y, holds=holds: self._compared(x, y, holds) for name, holds in compared.items()},
        }

    def constant(self, value: int | float | bool) -> Sided | Decided:
        if isinstance(value, bool):
            return Decided(np.bool_(value), np.bool_(value), np.True_)
        exact = abs(value) < _LARGE and float(value) == value
        number = np.float64(value if exact else 0.0)
        return Sided(number, number, _ZERO, _ZERO, np.True_, np.bool_(exact))

    def function(self, row: Function) -> Callable[..., Any] | None:
        if row.name in self._rows:
            return self._rows[row.name]
        if row.definition:
            return None
        unknown = np.False_
        if row.truth:
            return lambda *arguments: Decided(unknown, unknown, unknown)
        return lambda *arguments: Sided(_ZERO, _ZERO, _ZERO, _ZERO, unknown, unknown)

    def body(self, row: Function) -> Node:
        return definition(row.name)

    def _compared(self, x: Sided, y: Sided, holds: Callable[[Any], Any]) -> Decided:
        _, beside, known = _sign(_add(x, _negative(y)), self.side)
        apart, along = np.sign(x.limit - y.limit), np.sign(x.slope - y.slope) * self.side
        plain, nearby = _plain(x) & _plain(y), np.where(apart == 0.0, along, apart)
        # of two floats the difference has the right sign, though it may be rounded
        known = np.where(plain, (nearby != 0.0) | (x.straight & y.straight), known)
        return Decided(holds(np.sign(x.value - y.value)), holds(np.where(plain, nearby, beside)), known)

    def _where(self, condition: Decided, x: Sided, y: Sided) -> Sided:
        at, beside, known = condition
        parts = [np.where(beside, a, b) for a, b in zip(x[1:5], y[1:5], strict=True)]
        known = known & np.where(at, x.known, y.known) & np.where(beside, x.known, y.known)
        limit, low, slope, straight = parts
        return Sided(np.where(at, x.value, y.value), limit, low, slope, straight, known)

    def _signed(self, x: Sided) -> Sided:
        at, beside, known = _sign(x, self.side)
        nothing = np.zeros_like(beside)
        return Sided(at, beside, nothing, nothing, np.ones_like(known), known)

    def _abs(self, x: Sided) -> Sided:
        _, beside, known = _sign(x, self.side)
        return Sided(np.abs(x.value), x.limit * beside, x.low * beside, x.slope * beside, x.straight, known)

    def _floor(self, x: Sided) -> Sided:
        step = np.floor(x.limit)
        whole = step == x.limit
        below = whole & (x.slope * self.side < 0.0)
        known = _plain(x) & (~whole | (x.slope != 0.0) | x.straight)
        limit, low, exact = _joined(step, np.where(below, -1.0, 0.0), 0.0)
        return Sided(np.floor(x.value), limit, low, np.zeros_like(limit), np.ones_like(known), known & exact)


def beside(program: Program, points: Sequence[Floats], moved: int | None = None) -> list[Any]:
    """What a program of one side gives at many points, as arrays, where one of its inputs moves (None: all of them)."""
    numbers = [Sided(x, x, _ZERO, np.float64(moved in (None, i)), np.True_, np.isfinite(x)) for i, x in enumerate(points)]
    with np.errstate(all="ignore"):
        return [type(found)(*np.broadcast_arrays(*found, points[0])[:-1]) for found in program(*numbers)]


class Steps:
    """Says of many points at which a formula of numbered inputs, differentiated by one of them, has no derivative, where its
    sides are known exactly. `along`: what that one is called."""

    def __init__(self, tree: Node, inputs: Sequence[str], wrt: str, along: str) -> None:
        self._programs = [Program([tree], inputs, Side(side)) for side in (-1.0, 1.0)]
        self._moved, self._along = inputs.index(wrt), along

    def at(
        self, given: Sequence[Floats], places: npt.NDArray[np.int64], settle: Callable[[int], Any]
    ) -> dict[int, tuple[float, Truth]]:
        """The values and truths of those of some points that are steps or kinks. `settle`: what balls say of one; a
        contradiction ends the trust in columns."""
        if not len(places) or not TRUST.sound():
            return {}
        points = [values[places] for values in given]
        sides = [beside(program, points, self._moved)[0] for program in self._programs]
        left, right = sides
        off = [(side.limit != side.value) | (side.low != 0.0) for side in sides]
        jump, lies = off[0] | off[1], np.subtract(*off, dtype=np.int64)
        known = left.known & right.known & (jump | (left.slope != right.slope))
        made: dict[tuple[float, float, bool, int], Truth] = {}
        found: dict[int, tuple[float, Truth]] = {}
        parts = (part[known].tolist() for part in (places, left.value, left.slope, right.slope, jump, lies))
        for place, value, *sort in zip(*parts, strict=True):
            low, high, jumps, side = key = tuple(sort)
            if key not in made:
                slopes = {"left": arb(low), "right": arb(high)}
                made[key] = Truth(Kind.NONDIFFERENTIABLE, **slopes, singular=True, jump=jumps, text=held(side, self._along))
            found[place] = value, made[key]
        certain = np.zeros(len(given[0]), dtype=bool)
        certain[list(found)] = True
        for index in TRUST.sample(given, certain):
            if not _agree(found[index][1], settle(index)):
                TRUST.lose(f"at {', '.join(repr(float(values[index])) for values in given)}")
                return {}
        return found


def _agree(found: Truth, known: Any) -> bool:
    """Whether limits say the same, or nothing."""
    if not isinstance(known, Truth) or known.kind is Kind.REGULAR:
        return False
    if known.kind is not Kind.NONDIFFERENTIABLE:
        return known.kind is Kind.UNKNOWN
    sides = zip((found.left, found.right), (known.left, known.right), strict=True)
    return found.jump == known.jump and all(side is None or side.overlaps(mine) for mine, side in sides)
