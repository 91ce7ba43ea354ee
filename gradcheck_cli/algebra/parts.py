"""A formula of complex numbers as two formulas of real ones: of its real and of its imaginary part.

Every algebra is one of real numbers; a complex variable `z` comes to it as `z.real` and `z.imag`. What a row is of complex
arguments its column `complex` says, or its definition; here are the few that the others are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from gradcheck_cli.algebra.constants import nearest_double
from gradcheck_cli.algebra.program import LARGEST_PRODUCT
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import NAMES, TABLE
from gradcheck_cli.language.parser import definition, parse
from gradcheck_cli.language.points import numbers_of
from gradcheck_cli.language.spaces import imag_of, real_of
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, occurrences

ZERO, ONE = Constant(0), Constant(1)


@dataclass(frozen=True, slots=True)
class Parts:
    """A number: `imag` is None where it is real, and no more than 0 where it is complex."""

    real: Node
    imag: Node | None = None

    @property
    def pair(self) -> tuple[Node, Node]:
        return self.real, ZERO if self.imag is None else self.imag


def named(real: str, imag: str) -> Parts:
    """A variable that is complex, whose parts are called so."""
    return Parts(Variable(real), Variable(imag))


def parts(tree: Node, names: Collection[str]) -> Parts:
    """The parts of a formula in which these variables are complex. NotImplementedError where a row has no meaning there."""
    return parts_of(tree, {name: named(real_of(name), imag_of(name)) for name in names})


def constant_parts(tree: Node) -> tuple[Node, Node]:
    """The parts of a constant, as constants."""
    return parts(tree, ()).pair


def numbers(text: str, name: str) -> Any:
    """The value of "name=value": a number, or nested lists of numbers, complex ones among them. InputError for all else."""
    return numbers_of(text, name, nearest_double, constant_parts)


def parts_of(tree: Node, values: Mapping[str, Parts]) -> Parts:
    """The same where these variables have these parts; others are real."""
    done: dict[int, Parts] = {}
    for item in occurrences(tree):
        match item:
            case Constant(value=complex(real=real, imag=imag)):
                done[id(item)] = Parts(_number(real), _number(imag))
            case Variable(name=name):
                done[id(item)] = values.get(name, Parts(item))
            case Call(function=function, arguments=arguments):
                done[id(item)] = _call(function, [done[id(a)] for a in arguments])
            case _:
                done[id(item)] = Parts(item)
    return done[id(tree)]


def _number(value: float) -> Constant:
    return Constant(int(value)) if value.is_integer() else Constant(value)


def _call(function: str, given: list[Parts]) -> Parts:
    own = _OWN.get(function)
    if all(x.imag is None for x in given) and own is None:
        return Parts(Call(function, tuple(x.real for x in given)))
    if own is not None:
        return own(*given)
    row = TABLE[function]
    if not row.complex and not row.definition:
        what = (
            f"{function} is a function" if function in NAMES else "factors, spectra and exponentials of matrices are functions"
        )
        raise NotImplementedError(f"{what} of real numbers")
    body = _meaning(function) if row.complex else definition(function)
    # What torch promotes is complex from there on, be it real in value.
    values = {p.name: Parts(*x.pair) if p.kind in _NUMBERS else x for p, x in zip(row.parameters, given, strict=True)}
    power = _whole(given[1]) if function == syntax.POW else None
    return parts_of(body, values) if power is None else _power(values["x"], power)


def _whole(x: Parts) -> int | None:
    """A whole number that makes a power a product."""
    value = x.real.value if isinstance(x.real, Constant) and x.imag in (None, ZERO) else None
    whole = isinstance(value, int | float) and float(value).is_integer() and abs(value) <= LARGEST_PRODUCT
    return int(value) if whole else None  # type: ignore[arg-type]


_NUMBERS = frozenset({"tensor", "scalar", "number"})
"""Kinds of parameters that may be complex."""


@cache
def _meaning(function: str) -> Node:
    return parse(TABLE[function].complex, imaginary=frozenset())


# -- arithmetic -----------------------------------------------------------------------------------------------------------


def _add(x: Node, y: Node) -> Node:
    return y if x == ZERO else x if y == ZERO else Call(syntax.ADD, (x, y))


def _sub(x: Node, y: Node) -> Node:
    return x if y == ZERO else _neg(y) if x == ZERO else Call(syntax.SUB, (x, y))


def _neg(x: Node) -> Node:
    return x if x == ZERO else Call(syntax.NEG, (x,))


def _mul(x: Node, y: Node) -> Node:
    if ZERO in (x, y):
        return ZERO
    return y if x == ONE else x if y == ONE else Call(syntax.MUL, (x, y))


def _div(x: Node, y: Node) -> Node:
    return x if y == ONE or x == ZERO else Call(syntax.DIV, (x, y))


def _added(combine: Callable[[Node, Node], Node]) -> Callable[[Parts, Parts], Parts]:
    def run(x: Parts, y: Parts) -> Parts:
        if x.imag is None and y.imag is None:
            return Parts(combine(x.real, y.real))
        return Parts(combine(x.real, y.real), combine(x.pair[1], y.pair[1]))

    return run


def _multiplied(x: Parts, y: Parts) -> Parts:
    if x.imag is None and y.imag is None:
        return Parts(_mul(x.real, y.real))
    (a, b), (c, d) = x.pair, y.pair
    return Parts(_sub(_mul(a, c), _mul(b, d)), _add(_mul(a, d), _mul(b, c)))


def _divided(x: Parts, y: Parts) -> Parts:
    (a, b), (c, d) = x.pair, y.pair
    if d == ZERO:
        return Parts(_div(a, c), None if x.imag is None and y.imag is None else _div(b, c))
    size = _add(_mul(c, c), _mul(d, d))
    return Parts(_div(_add(_mul(a, c), _mul(b, d)), size), _div(_sub(_mul(b, c), _mul(a, d)), size))


def _power(x: Parts, n: int) -> Parts:
    if n < 0:
        return _divided(Parts(ONE), _power(x, -n))
    if n < 2:
        return x if n else Parts(ONE, ZERO)
    half = _power(x, n // 2)
    square = _multiplied(half, half)
    return _multiplied(square, x) if n % 2 else square


def _chosen(condition: Parts, x: Parts, y: Parts) -> Parts:
    def choose(a: Node, b: Node) -> Node:
        return a if a == b else Call(syntax.WHERE, (condition.real, a, b))

    if x.imag is None and y.imag is None:
        return Parts(choose(x.real, y.real))
    return Parts(choose(x.real, y.real), choose(x.pair[1], y.pair[1]))


def _equal(function: str, join: str) -> Callable[[Parts, Parts], Parts]:
    def run(x: Parts, y: Parts) -> Parts:
        pairs = list(zip(x.pair, y.pair, strict=True))
        if x.imag is None and y.imag is None or pairs[1][0] == pairs[1][1]:
            del pairs[1]
        compared = [Call(function, pair) for pair in pairs]
        return Parts(compared[0] if len(compared) == 1 else Call(join, tuple(compared)))

    return run


_OWN: Mapping[str, Callable[..., Parts]] = MappingProxyType({
    syntax.ADD: _added(_add),
    syntax.SUB: _added(_sub),
    syntax.NEG: lambda x: Parts(_neg(x.real), None if x.imag is None else _neg(x.imag)),
    syntax.MUL: _multiplied,
    syntax.DIV: _divided,
    syntax.WHERE: _chosen,
    syntax.EQ: _equal(syntax.EQ, syntax.AND),
    syntax.NE: _equal(syntax.NE, syntax.OR),
    syntax.REAL: lambda x: Parts(x.real),
    syntax.IMAG: lambda x: Parts(x.pair[1]),
})  # fmt: skip
"""What everything else is made of."""
