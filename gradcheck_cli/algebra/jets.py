"""Mixed derivatives: numbers with several infinitesimals e0, e1, ..., each of which is 0 when squared.

f(x + u0*e0 + u1*e1) has the first derivative along u0 beside e0, and the mixed one along u0 and u1 beside e0*e1: certified, by
the power series of `algebra.series`, whatever the scales of the directions are (Griewank and Walther, Evaluating Derivatives,
2nd ed., section 13.3, on propagating several directions at once). What isn't certified to be analytic is nan as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from math import frexp, prod
from typing import Any

from flint import arb, arb_series, ctx

from gradcheck_cli.algebra.number import NAN, ONE, ZERO, Ball, two_to
from gradcheck_cli.algebra.series import LONG, SERIES, coefficient, constant
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE, Function

Parts = Mapping[int, Ball]
"""Coefficients by the infinitesimals that they stand beside, as bits: 0 is the value, 1 << k beside e_k. Others are 0."""


class Jet:
    """A number that moves. `moves`: the infinitesimals that it hangs on, as bits, even where their coefficients are 0."""

    __slots__ = ("moves", "parts")

    def __init__(self, parts: Parts, moves: int) -> None:
        self.parts, self.moves = parts, moves

    def __getitem__(self, mask: int) -> Ball:
        """A coefficient; nan where the number isn't known."""
        return self.parts.get(mask, ZERO) if self.parts[0].is_finite() else NAN

    def __add__(self, other: Any) -> Jet:
        if isinstance(other, Jet):
            parts = dict(self.parts)
            for mask, x in other.parts.items():
                parts[mask] = parts[mask] + x if mask in parts else x
            return Jet(parts, self.moves | other.moves)
        return Jet({**self.parts, 0: self.parts[0] + other}, self.moves)

    __radd__ = __add__

    def __neg__(self) -> Jet:
        return Jet({mask: -x for mask, x in self.parts.items()}, self.moves)

    def __sub__(self, other: Any) -> Jet:
        return self.__add__(-other)

    def __rsub__(self, other: Any) -> Jet:
        return self.__neg__().__add__(other)

    def __mul__(self, other: Any) -> Jet:
        if not isinstance(other, Jet):
            return _checked({mask: x * other for mask, x in self.parts.items()}, self.moves)
        parts: dict[int, Ball] = {}
        for a, x in self.parts.items():
            for b, y in other.parts.items():
                if not a & b:
                    parts[a | b] = parts[a | b] + x * y if a | b in parts else x * y
        return _checked(parts, self.moves | other.moves)

    __rmul__ = __mul__

    def same(self, other: Any) -> bool:
        """Whether two numbers are known to be equal however they move."""
        if not isinstance(other, Jet) or self.moves != other.moves:
            return False
        pairs = [(self[mask], other[mask]) for mask in {*self.parts, *other.parts}]
        return all(a.is_exact() and a.is_finite() and a == b and b.is_exact() for a, b in pairs)


def _checked(parts: Parts, moves: int) -> Jet:
    """The number, unless a coefficient is unknown."""
    return Jet(parts, moves) if all(x.is_finite() for x in parts.values()) else _unknown(moves)


def _unknown(moves: int) -> Jet:
    return Jet({0: NAN}, moves)


# -- functions ----------------------------------------------------------------------------------------------------------


def lifted(row: Function, defined: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """A row of the function table on numbers some of which move, others plain balls. `defined`: the same by its definition.
    Series must have a term more than there are infinitesimals."""
    if row.name == syntax.MUL:
        return lambda x, y: x * y
    if row.name == syntax.DIV:
        return lambda x, y: x * _inverse(y)
    series = SERIES.function(row)
    if series is None:
        return defined()
    if row.truth:
        return lambda *cells: series(*[(c[0],) if type(c) is Jet else (c,) for c in cells])
    return lambda *cells: _lift(series, cells)


def _inverse(y: Any) -> Any:
    return _lift(lambda g: SERIES_DIV(constant(ONE), g), (y,)) if type(y) is Jet else ONE / y


SERIES_DIV: Callable[..., Any] = SERIES.function(TABLE[syntax.DIV])  # type: ignore[assignment]


def _lift(series: Callable[..., Any], cells: tuple[Any, ...]) -> Any:
    moving = [i for i, c in enumerate(cells) if type(c) is Jet]
    if not all(cells[i][0].is_finite() for i in moving):
        return _unknown(_moves(cells))
    fixed = [constant(c) if type(c) is arb else c for c in cells]
    return _composed(series, fixed, cells[moving[0]], moving[0]) if len(moving) == 1 else _polarised(series, fixed, cells)


def _composed(series: Callable[..., Any], fixed: list[Any], g: Jet, place: int) -> Any:
    """f(g): the Taylor coefficients of f at the value, and powers of what moves."""
    fixed[place] = arb_series([g[0], ONE], ctx.cap)
    found = series(*fixed)
    if found.prec >= LONG:
        return found[0]  # a branch that doesn't move
    rest = Jet({mask: x for mask, x in g.parts.items() if mask} | {0: ZERO}, g.moves)
    result = Jet({0: coefficient(found, g.moves.bit_count())}, g.moves)
    for k in reversed(range(g.moves.bit_count())):
        result = result * rest + coefficient(found, k)
    return _checked(result.parts, g.moves)


def _polarised(series: Callable[..., Any], fixed: list[Any], cells: tuple[Any, ...]) -> Any:
    """A function of several numbers that move, from series in one variable: of all signs of the infinitesimals the products
    keep the mixed coefficient alone. Each infinitesimal is measured in its own unit, so that none drowns another."""
    moves, jets = _moves(cells), {i: c for i, c in enumerate(cells) if type(c) is Jet}
    units = {bit: _unit(bit, jets.values()) for bit in _bits(moves)}
    parts: dict[int, Ball] = {}
    for mask in _subsets(moves):
        bits, total = list(_bits(mask)), ZERO
        for signs in product((1, -1), repeat=max(len(bits) - 1, 0)):
            factors = dict(zip(bits, (1, *signs), strict=True)) if bits else {}
            for i, jet in jets.items():
                coefficients = [ZERO] * (len(bits) + 1)
                for part, x in jet.parts.items():
                    if not part & ~mask:
                        chosen = list(_bits(part))
                        coefficients[len(chosen)] += x * prod([units[b] * factors[b] for b in chosen], start=ONE)
                fixed[i] = arb_series(coefficients, ctx.cap)
            found = series(*fixed)
            if found.prec >= LONG:
                return found[0]
            total += coefficient(found, len(bits)) * prod(factors.values())
        parts[mask] = total / prod([units[b] for b in bits], start=ONE) / 2 ** max(len(bits) - 1, 0)
    return _checked(parts, moves)


def _unit(bit: int, jets: Any) -> Ball:
    """A power of two that makes the largest coefficient beside an infinitesimal alone about 1."""
    sizes = [float(abs(x).mid()) for jet in jets if (x := jet.parts.get(bit)) is not None]
    _, exponent = frexp(max(sizes, default=1.0))
    return two_to(-exponent)


def _moves(cells: tuple[Any, ...]) -> int:
    found = 0
    for cell in cells:
        found |= cell.moves if type(cell) is Jet else 0
    return found


def _bits(mask: int) -> Iterator[int]:
    return (1 << k for k in range(mask.bit_length()) if mask >> k & 1)


def _subsets(mask: int) -> Iterator[int]:
    return (part for part in range(mask + 1) if not part & ~mask)
