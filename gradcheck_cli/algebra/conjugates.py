"""A formula of complex numbers in its variables and their conjugates, which count as variables of their own: what Wirtinger's
derivatives, d/dz and d/dz*, are taken of (Kreutz-Delgado, The Complex Gradient Operator and the CR-Calculus, 2009).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from gradcheck_cli.algebra.parts import parts
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import definition
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, walk

UNIT = "1j"


class Pair(NamedTuple):
    """A formula, and its conjugate."""

    plain: Node
    conjugate: Node


def conjugate_of(name: str) -> str:
    """What the variable of a conjugate is called, which no input is."""
    return f"conj({name})"


def variable(name: str) -> Pair:
    """A complex variable."""
    return Pair(Variable(name), Variable(conjugate_of(name)))


def real_one(name: str) -> Pair:
    return Pair(Variable(name), Variable(name))


def written(tree: Node, values: Mapping[str, Pair]) -> Pair:
    """A formula of these, and its conjugate. NotImplementedError where a function in it isn't known to have either."""
    done: dict[Node, Pair] = {}
    for item in walk(tree):
        match item:
            case Constant(value=complex(real=0.0, imag=imag)):
                one: Node = Variable(UNIT)
                if imag != 1:
                    one = Call(syntax.MUL, (Constant(int(imag) if imag.is_integer() else imag), one))
                done[item] = Pair(one, Call(syntax.NEG, (one,)))
            case Variable(name=name):
                done[item] = values[name]
            case Call(function=function, arguments=arguments):
                done[item] = _call(function, [done[a] for a in arguments])
            case _:
                done[item] = Pair(item, item)
    return done[tree]


def _call(function: str, given: Sequence[Pair]) -> Pair:
    row = TABLE[function]
    if function in _OWN:
        return _OWN[function](*given)
    if row.definition:
        return written(definition(function), dict(zip((p.name for p in row.parameters), given, strict=True)))
    if row.truths or not (row.slope or function in _ANALYTIC or not given):
        raise NotImplementedError(f"{function} isn't a function of z alone")
    return Pair(*(Call(function, tuple(pair[k] for pair in given)) for k in range(2)))


def _half(x: Node) -> Node:
    return Call(syntax.DIV, (x, Constant(2)))


def _real(x: Pair) -> Pair:
    found = _half(Call(syntax.ADD, (x.plain, x.conjugate)))
    return Pair(found, found)


def _imag(x: Pair) -> Pair:
    found = Call(syntax.DIV, (Call(syntax.SUB, (x.plain, x.conjugate)), Call(syntax.MUL, (Constant(2), Variable(UNIT)))))
    return Pair(found, found)


def _abs(x: Pair) -> Pair:
    found = Call(syntax.SQRT, (Call(syntax.MUL, (x.plain, x.conjugate)),))
    return Pair(found, found)


_OWN: Mapping[str, Callable[..., Pair]] = MappingProxyType({
    syntax.CONJ: lambda x: Pair(x.conjugate, x.plain),
    syntax.REAL: _real,
    syntax.IMAG: _imag,
    syntax.ABS: _abs,
})  # fmt: skip
"""What has two variables in it."""

_ANALYTIC = frozenset({syntax.ADD, syntax.SUB, syntax.NEG, syntax.MUL, syntax.DIV, syntax.POW, syntax.SQRT})
"""What has none, besides the rows that have a slope."""


def in_parts(tree: Node, names: Sequence[str]) -> tuple[Node, Node]:
    """Real and imaginary part of such a formula, in the parts of these complex variables."""
    conjugates: dict[str, Node] = {conjugate_of(n): Call(syntax.CONJ, (Variable(n),)) for n in names}
    return parts(substitute(tree, {**conjugates, UNIT: Constant(1j)}), names).pair
