"""Equal formulas that neither overflow nor cancel: `1 - tanh(u)**2` is `sech(u)**2`, `exp(-u)/(1 + exp(-u))**2` a product of
two sigmoids. The identities hold in real arithmetic, for every number for which either side has a value; what a column gains is
its last digits, and the ends of the range.

A product is taken as a constant, factors, and what it is divided by; a sum as its terms.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from gradcheck_cli.algebra.program import LARGEST_PRODUCT, Algebra, economical, expand
from gradcheck_cli.language import syntax
from gradcheck_cli.language.tree import Call, Constant, Node, walk

TERMS = 12
"""Terms, or factors, of the longest sum or product that is looked at."""

SQUARES = 64
"""Twice the largest exponent that is written as roots and products."""


def prepared(trees: Sequence[Node], algebra: Algebra) -> list[Node]:
    """`economical` trees of equal formulas that are more accurate in columns; squares by themselves."""
    return _each(economical(stable([expand(tree, algebra) for tree in trees]), algebra), _square)


def stable(trees: Sequence[Node]) -> list[Node]:
    """Each tree rewritten from its leaves up."""
    return _each(trees, _rewritten)


def _each(trees: Sequence[Node], rewritten: Callable[[Call], Node]) -> list[Node]:
    done: dict[Node, Node] = {}
    for tree in trees:
        for item in walk(tree):
            if item not in done:
                done[item] = (
                    rewritten(Call(item.function, tuple(done[a] for a in item.arguments))) if isinstance(item, Call) else item
                )
    return [done[tree] for tree in trees]


def _square(node: Call) -> Node:
    match node:
        case Call(function=syntax.MUL, arguments=(a, b)) if a == b:
            return Call(syntax.SQUARE, (a,))
    return node


def _rewritten(node: Call) -> Node:
    match node.function:
        case syntax.POW:
            return _power(node)
        case syntax.MUL | syntax.DIV:
            return _product(node)
        case syntax.ADD | syntax.SUB:
            return _sum(node)
        case syntax.LOG:
            return _logarithm(node)
    return node


# -- powers --------------------------------------------------------------------------------------------------------------


def _exponent(node: Node) -> Fraction | None:
    """A constant exponent: a number, a quotient of two, or minus one."""
    match node:
        case Constant(value=value) if not isinstance(value, bool) and math.isfinite(value):
            return Fraction(value)
        case Call(function=syntax.NEG, arguments=(inner,)):
            found = _exponent(inner)
            return None if found is None else -found
        case Call(function=syntax.DIV, arguments=(Constant(value=int(top)), Constant(value=int(bottom)))) if bottom:
            return Fraction(top, bottom)
    return None


def _power(node: Call) -> Node:
    """Whole and half powers as products, roots and quotients; 0 stays what it is."""
    base, written = node.arguments
    exponent = _exponent(written)
    if exponent is None or not exponent or (2 * exponent).denominator != 1 or abs(2 * exponent) > SQUARES:
        return node
    if exponent < 0:
        return Call(syntax.DIV, (Constant(1), _power(Call(syntax.POW, (base, Constant(_plain(-exponent)))))))
    whole, half = divmod(exponent, 1)
    factors: list[Node] = [Call(syntax.SQRT, (base,))] if half else []
    if whole:
        assert whole <= LARGEST_PRODUCT
        factors.insert(0, base if whole == 1 else Call(syntax.POW, (base, Constant(int(whole)))))
    return factors[0] if len(factors) == 1 else Call(syntax.MUL, tuple(factors))


def _plain(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)


# -- products ------------------------------------------------------------------------------------------------------------


@dataclass
class _Factors:
    """constant * product of factor**count."""

    constant: Fraction
    counts: Counter[Node]

    def node(self) -> Node:
        above = [_repeated(f, n) for f, n in self.counts.items() if n > 0]
        below = [_repeated(f, -n) for f, n in self.counts.items() if n < 0]
        top, bottom = self.constant.numerator, self.constant.denominator
        if abs(top) != 1 or not above:
            above.insert(0, Constant(abs(top)))
        if bottom != 1:
            below.append(Constant(bottom))
        found = _times(above)
        found = Call(syntax.DIV, (found, _times(below))) if below else found
        return Call(syntax.NEG, (found,)) if top < 0 else found


def _repeated(node: Node, count: int) -> Node:
    return node if count == 1 else Call(syntax.POW, (node, Constant(count)))


def _times(factors: list[Node]) -> Node:
    found = factors[0]
    for factor in factors[1:]:
        found = Call(syntax.MUL, (found, factor))
    return found


def _factors(node: Node) -> _Factors | None:
    """A product taken apart, or None where it has too many factors, or a zero below."""
    found = _Factors(Fraction(1), Counter())
    waiting: list[tuple[Node, int]] = [(node, 1)]
    while waiting:
        item, count = waiting.pop()
        match item:
            case Constant(value=value) if not isinstance(value, bool) and math.isfinite(value) and value:
                found.constant *= Fraction(value) ** count
            case Call(function=syntax.NEG, arguments=(inner,)):
                found.constant *= (-1) ** count
                waiting.append((inner, count))
            case Call(function=syntax.MUL, arguments=(a, b)):
                waiting += [(b, count), (a, count)]
            case Call(function=syntax.DIV, arguments=(a, b)):
                waiting += [(b, -count), (a, count)]
            case Call(function=syntax.POW, arguments=(a, Constant(value=int(n)))) if 0 < n <= SQUARES:
                waiting.append((a, count * n))
            case Constant():
                return None
            case _:
                if found.counts[item] * count < 0 and not _positive(item):
                    return None  # x/x has no value at 0
                found.counts[item] += count
        if len(waiting) + len(found.counts) > TERMS or max(found.constant.numerator, found.constant.denominator) > 2**400:
            return None
    return found


def _positive(node: Node) -> bool:
    return isinstance(node, Call) and node.function == syntax.EXP


def _negated(node: Node) -> Node:
    match node:
        case Call(function=syntax.NEG, arguments=(inner,)):
            return inner
    return Call(syntax.NEG, (node,))


def _one_and_exponential(node: Node) -> Node | None:
    """u of 1 + exp(u)."""
    match node:
        case Call(function=syntax.ADD, arguments=(a, b)):
            for one, other in ((a, b), (b, a)):
                match one, other:
                    case Constant(value=value), Call(function=syntax.EXP, arguments=(u,)) if value == 1:
                        return u
    return None


def _product(node: Call) -> Node:
    """What 1 + exp(u) or cosh(u) divides: sigmoids and secants, which don't overflow."""
    parts = _factors(node)
    if parts is None:
        return node
    changed = False
    for factor, count in list(parts.counts.items()):
        if count >= 0:
            continue
        u = _one_and_exponential(factor)
        if u is not None:
            power = Call(syntax.EXP, (u,))
            both = min(max(parts.counts[power], 0), -count)
            del parts.counts[factor]
            parts.counts[power] -= both
            parts.counts[Call(syntax.SIGMOID, (u,))] += both
            parts.counts[Call(syntax.SIGMOID, (_negated(u),))] += -count - both
            changed = True
        elif isinstance(factor, Call) and factor.function == syntax.COSH:
            del parts.counts[factor]
            parts.counts[Call(syntax.SECH, factor.arguments)] -= count
            changed = True
    parts.counts = Counter({factor: count for factor, count in parts.counts.items() if count})
    return parts.node() if changed else node


# -- sums ----------------------------------------------------------------------------------------------------------------


def _twice(u: Node) -> Node:
    return Call(syntax.MUL, (Constant(2), u))


Pair = tuple[str, int, int, int, Callable[[Node], tuple[str, int, Node]]]

PAIRS: tuple[Pair, ...] = (
    # function, its power, its sign, that of the other term: c*f(u)**power and c become c*constant*function(argument)**power
    (syntax.TANH, 2, -1, 1, lambda u: (syntax.SECH, 1, u)),
    (syntax.TANH, 1, 1, 1, lambda u: (syntax.SIGMOID, 2, _twice(u))),
    (syntax.TANH, 1, -1, 1, lambda u: (syntax.SIGMOID, 2, _negated(_twice(u)))),
    (syntax.ERF, 1, 1, 1, lambda u: (syntax.ERFC, 1, _negated(u))),
    (syntax.ERF, 1, -1, 1, lambda u: (syntax.ERFC, 1, u)),
    (syntax.EXP, 1, 1, -1, lambda u: (syntax.EXPM1, 1, u)),
)
"""Sums of two terms that cancel where the function is near 1 or -1."""


def _terms(node: Node) -> list[tuple[int, Node]] | None:
    """A sum's terms with their signs, in order; None where there are too many."""
    found: list[tuple[int, Node]] = []
    waiting: list[tuple[int, Node]] = [(1, node)]
    while waiting:
        sign, item = waiting.pop()
        match item:
            case Call(function=syntax.ADD, arguments=(a, b)):
                waiting += [(sign, b), (sign, a)]
            case Call(function=syntax.SUB, arguments=(a, b)):
                waiting += [(-sign, b), (sign, a)]
            case Call(function=syntax.NEG, arguments=(a,)):
                waiting.append((-sign, a))
            case _:
                found.append((sign, item))
        if len(found) + len(waiting) > TERMS:
            return None
    return found


def _sum(node: Call) -> Node:
    """Pairs of terms that cancel, as one."""
    terms = _terms(node)
    if terms is None:
        return node
    parts = [_factors(term) for _, term in terms]
    for (sign, _), part in zip(terms, parts, strict=True):
        if part is not None:
            part.constant *= sign
    known = [(i, part) for i, part in enumerate(parts) if part is not None]
    for i, part in known:
        for j, other in known:
            joined = _joined(part, other) if i != j else None
            if joined is not None:
                rest = [term if s > 0 else Call(syntax.NEG, (term,)) for k, (s, term) in enumerate(terms) if k not in (i, j)]
                rest.insert(min(i, j), joined.node())
                found = rest[0]
                for term in rest[1:]:
                    found = Call(syntax.ADD, (found, term))
                return _sum(found) if isinstance(found, Call) and found.function == syntax.ADD else found
    return node


def _joined(part: _Factors, other: _Factors) -> _Factors | None:
    """The sum of two products by one of the PAIRS."""
    for function, power, sign, beside, becomes in PAIRS:
        if part.constant * sign != other.constant * beside:
            continue
        for factor, count in part.counts.items():
            if count != power or not isinstance(factor, Call) or factor.function != function:
                continue
            counts = Counter({f: n for f, n in part.counts.items() if f != factor})
            if counts == other.counts:
                name, constant, argument = becomes(factor.arguments[0])
                counts[Call(name, (argument,))] += power
                return _Factors(other.constant * beside * constant, counts)
    return None


# -- logarithms ----------------------------------------------------------------------------------------------------------


def _logarithm(node: Call) -> Node:
    """log(1 + u) is log1p(u)."""
    match node.arguments[0]:
        case Call(function=syntax.ADD, arguments=(Constant(value=value), u)) if value == 1 and not isinstance(value, bool):
            return Call(syntax.LOG1P, (u,))
        case Call(function=syntax.ADD, arguments=(u, Constant(value=value))) if value == 1 and not isinstance(value, bool):
            return Call(syntax.LOG1P, (u,))
    return node
