"""Constants that are rational, exactly and at once: nothing is imported for them. `algebra.constants` computes all others."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType

from gradcheck_cli.language import syntax
from gradcheck_cli.language.tree import Call, Constant, Node, walk

_BITS = 4096
"""A numerator or denominator with more is none that anybody wrote."""

_OPERATIONS: Mapping[str, Callable[..., Fraction]] = MappingProxyType(
    {
        syntax.ADD: operator.add,
        syntax.SUB: operator.sub,
        syntax.MUL: operator.mul,
        syntax.DIV: operator.truediv,
        syntax.NEG: operator.neg,
    }
)


def exact_constant(tree: Node) -> Fraction | float | None:
    """The value of a tree of literals, signs and + - * /, exactly, or an infinity, which takes a sign and nothing else; None
    where the tree holds anything else or grows large."""
    values: dict[Node, Fraction | float] = {}
    for node in walk(tree):
        match node:
            case Constant(value=value) if not isinstance(value, bool):
                values[node] = Fraction(value)
            case Call(function=syntax.INF):
                values[node] = math.inf
            case Call(function=syntax.NEG, arguments=(x,)) if x in values:
                values[node] = -values[x]
            case Call(function=function, arguments=arguments) if function in _OPERATIONS:
                terms = [t for t in map(values.get, arguments) if isinstance(t, Fraction)]
                if len(terms) == len(arguments) and not (function == syntax.DIV and not terms[1]):
                    result = _OPERATIONS[function](*terms)
                    if max(result.numerator.bit_length(), result.denominator.bit_length()) <= _BITS:
                        values[node] = result
    return values.get(tree)
