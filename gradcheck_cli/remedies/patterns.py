"""Patterns over the three-node tree: where a formula is written in a way that a row knows, and what it becomes.

A pattern is a formula whose names stand for any formula, each for the same one everywhere. A sum matches whatever the order of
its terms is, and so does a part of a longer sum; a product likewise, with what it is divided by and its constant factor.
Everything is bounded. That two formulas match says nothing of their values: `mending` proves that.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, lru_cache

from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import is_truth, parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, variables, walk

Bound = Mapping[str, Node]

PARTS = 8
"""Terms, or factors, of the longest sum or product that is matched in any order."""

NODES = 400
"""Distinct nodes of the largest formula that is looked at."""

WRITTEN = 24
"""Bits of the numerator and denominator of a constant that is written as a fraction: 0.1 isn't."""

MATCHES = 40
"""Places of one pattern in one formula."""

SETTINGS = frozenset({"dim", "keepdim"})
"""Names of patterns that stand for settings."""

COMMUTATIVE = frozenset({"logaddexp", "maximum", "minimum", "hypot", "fmax", "fmin"})

_SPELLINGS = (
    ("square(a)", "a**2"),
    ("exp2(a)", "2**a"),
    ("e**a", "exp(a)"),
    ("a**0.5", "sqrt(a)"),
    ("clamp_min(a, 0)", "relu(a)"),
    ("clamp(a, 0)", "relu(a)"),
    ("clamp(a, -inf, 0)", "clamp_max(a, 0)"),
    ("minimum(a, 0)", "clamp_max(a, 0)"),
    ("where(a < 0, a, 0)", "clamp_max(a, 0)"),
    ("where(a < 0, -a, 0)", "relu(-a)"),
    ("maximum(a, 0)", "relu(a)"),
    ("where(a > 0, a, 0)", "relu(a)"),
    ("where(a >= 0, a, 0)", "relu(a)"),
    ("1/(1 + exp(-a))", "sigmoid(a)"),
    ("(1 + tanh(a/2))/2", "sigmoid(a)"),
    ("softplus(-a)", "-logsigmoid(a)"),
    ("norm(a)", "sqrt(sum(a**2))"),
)
"""Other ways to write what a pattern says: whoever wrote the left one is understood to mean the right one."""


@cache
def pattern(text: str) -> Node:
    """The tree of a pattern, or of what it becomes."""
    return parse(text, truths=frozenset({"c", "keepdim"}), settings=SETTINGS)


@cache
def _spellings() -> tuple[tuple[Node, Node], ...]:
    return tuple((pattern(left), pattern(right)) for left, right in _SPELLINGS)


_QUOTIENTS = (("reciprocal(a)", "1/a"), ("rsqrt(a)", "1/sqrt(a)"))
"""Functions that are quotients, and taken as such in products."""


@cache
def _quotients() -> Mapping[str, Node]:
    parsed = ((pattern(left), pattern(right)) for left, right in _QUOTIENTS)
    return {left.function: right for left, right in parsed if isinstance(left, Call)}


# -- sums and products --------------------------------------------------------------------------------------------------


@dataclass
class Product:
    """A formula as factors: a constant, what is multiplied and what is divided by."""

    constant: Fraction = Fraction(1)
    above: list[Node] = field(default_factory=list)
    below: list[Node] = field(default_factory=list)

    def node(self) -> Node:
        """Written as a formula."""
        top, bottom = self.constant.numerator, self.constant.denominator
        above = [*([_number(abs(top))] if abs(top) != 1 or not self.above else []), *self.above]
        below = [*([_number(bottom)] if bottom != 1 else []), *self.below]
        found = _folded(syntax.MUL, above)
        for divisor in below:
            found = Call(syntax.DIV, (found, divisor))
        return negated(found) if top < 0 else found


@lru_cache(maxsize=4096)
def value_of(node: Node) -> Fraction | None:
    """The value of a constant that is a number; None of anything else."""
    match node:
        case Constant(value=value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return Fraction(value)
        case Call(function=function, arguments=arguments) if function in _ARITHMETIC:
            values = [value_of(a) for a in arguments]
            known = [v for v in values if v is not None]
            if len(known) == len(values) and not (function == syntax.DIV and not known[1]):
                return _ARITHMETIC[function](*known)
    return None


_ARITHMETIC: Mapping[str, Callable[..., Fraction]] = {
    syntax.MUL: operator.mul,
    syntax.DIV: operator.truediv,
    syntax.NEG: operator.neg,
}


def product(node: Node) -> Product:
    """The factors of a formula; itself alone where it isn't a product."""
    found = Product()
    waiting: list[tuple[Node, bool]] = [(node, False)]
    while waiting:
        item, inverse = waiting.pop(0)
        value = value_of(item)
        match item:
            case _ if value and max(value.numerator.bit_length(), value.denominator.bit_length()) < WRITTEN:
                found.constant *= 1 / value if inverse else value
            case Call(function=syntax.MUL, arguments=arguments):
                waiting[:0] = [(a, inverse) for a in arguments]
            case Call(function=syntax.DIV, arguments=(x, y)):
                waiting[:0] = [(x, inverse), (y, not inverse)]
            case Call(function=syntax.NEG, arguments=(x,)):
                found.constant = -found.constant
                waiting.insert(0, (x, inverse))
            case Call(function=function, arguments=(x,)) if function in _quotients():
                waiting.insert(0, (substitute(_quotients()[function], {"a": x}), inverse))
            case Call(function=syntax.POW, arguments=(x, y)) if value_of(y) == -1:
                waiting.insert(0, (x, not inverse))
            case _:
                (found.below if inverse else found.above).append(item)
    return found


def terms(node: Node) -> list[tuple[int, Node]]:
    """The terms of a formula with their signs; itself alone where it isn't a sum."""
    found: list[tuple[int, Node]] = []
    waiting = [(1, node)]
    while waiting:
        sign, item = waiting.pop(0)
        match item:
            case Call(function=syntax.ADD, arguments=(x, y)):
                waiting[:0] = [(sign, x), (sign, y)]
            case Call(function=syntax.SUB, arguments=(x, y)):
                waiting[:0] = [(sign, x), (-sign, y)]
            case Call(function=syntax.NEG, arguments=(x,)):
                waiting.insert(0, (-sign, x))
            case _:
                positive = opposite(item)
                found.append((sign, item) if positive is None else (-sign, positive))
    return found


def total(parts: Sequence[tuple[int, Node]]) -> Node:
    """Terms, written as a sum: one that is added comes first."""
    ordered = sorted(parts, key=lambda part: part[0] < 0)
    sign, found = ordered[0]
    found = negated(found) if sign < 0 else found
    for sign, item in ordered[1:]:
        found = Call(syntax.ADD if sign > 0 else syntax.SUB, (found, item))
    return found


def opposite(node: Node) -> Node | None:
    """The formula without its minus sign, if it has one."""
    match node:
        case Constant(value=value) if not isinstance(value, bool) and isinstance(value, int | float) and value < 0:
            return Constant(-value)
        case Call(function=syntax.NEG, arguments=(x,)):
            return x
        case Call(function=syntax.MUL | syntax.DIV as function, arguments=(x, y)):
            first = opposite(x)
            if first is not None:
                return y if function == syntax.MUL and first == Constant(1) else Call(function, (first, y))
            second = opposite(y) if function == syntax.MUL else None
            return None if second is None else Call(function, (x, second))
    return None


def negated(node: Node) -> Node:
    """Minus the formula, with no sign too many."""
    found = opposite(node)
    if found is not None:
        return found
    match node:
        case Constant(value=value) if not isinstance(value, bool) and isinstance(value, int | float):
            return Constant(-value)
        case Call(function=syntax.SUB, arguments=(x, y)):
            return Call(syntax.SUB, (y, x))
        case Call(function=syntax.MUL | syntax.DIV as function, arguments=(Constant() as x, y)):
            return Call(function, (negated(x), y))
    return Call(syntax.NEG, (node,))


def _number(value: int) -> Node:
    return Constant(value)


def _folded(function: str, parts: Sequence[Node]) -> Node:
    found = parts[0]
    for part in parts[1:]:
        found = Call(function, (found, part))
    return found


# -- equality -----------------------------------------------------------------------------------------------------------


def same(x: Node, y: Node) -> bool:
    """Whether two formulas are one, whatever the order of terms and factors, and however constants are written."""
    return x == y or _key(x) == _key(y)


@lru_cache(maxsize=4096)
def _key(node: Node) -> object:
    value = value_of(node)
    if isinstance(value, Fraction):
        return value
    match node:
        case Call(function=syntax.ADD | syntax.SUB):
            return "sum", frozenset((sign, _key(item)) for sign, item in terms(node)), len(terms(node))
        case Call(function=syntax.MUL | syntax.DIV | syntax.NEG):
            parts = product(node)
            above, below = (tuple(sorted(map(repr, map(_key, some)))) for some in (parts.above, parts.below))
            return "product", parts.constant, above, below
        case Call(function=function, arguments=arguments):
            return function, tuple(_key(a) for a in arguments)
    return node


# -- matching -----------------------------------------------------------------------------------------------------------


def match(wanted: Node, node: Node, bound: Bound) -> Iterator[Bound]:
    """Every way in which the whole formula is what a pattern says, given what its names stand for already."""
    match wanted:
        case Variable(name=name):
            if name in bound:
                if same(bound[name], node):
                    yield bound
            elif (name in SETTINGS) == _is_setting(node, name) and (name == "c") == (name == "c" and is_truth(node)):
                yield {**bound, name: node}
        case Constant():
            if wanted == node or (value_of(wanted) is not None and value_of(wanted) == value_of(node)):
                yield bound
        case Call(function=syntax.ADD | syntax.SUB):
            parts = terms(node)
            if len(parts) == len(terms(wanted)):
                yield from (found for found, sign, rest in _some_terms(terms(wanted), parts, bound) if sign > 0)
        case Call(function=syntax.MUL | syntax.DIV):
            for found, rest in _some_factors(product(wanted), product(node), bound):
                if rest.constant == 1 and not rest.above and not rest.below:
                    yield found
        case Call(function=syntax.NEG, arguments=(inner,)):
            yield from match(inner, negated(node), bound)
        case Call():
            yield from _match_call(wanted, node, bound)


def _is_setting(node: Node, name: str) -> bool:
    return name in SETTINGS and isinstance(node, Constant)


def _match_call(wanted: Call, node: Node, bound: Bound) -> Iterator[Bound]:
    for item in spelled(node, wanted.function):
        if len(item.arguments) != len(wanted.arguments):
            continue
        yield from _match_all(wanted.arguments, item.arguments, bound)
        if wanted.function in COMMUTATIVE:
            yield from _match_all(wanted.arguments, item.arguments[::-1], bound)


def _match_all(wanted: Sequence[Node], nodes: Sequence[Node], bound: Bound) -> Iterator[Bound]:
    if not wanted:
        yield bound
        return
    for found in match(wanted[0], nodes[0], bound):
        yield from _match_all(wanted[1:], nodes[1:], found)


def spelled(node: Node, function: str) -> Iterator[Call]:
    """The formula as a call of a function, however it is written."""
    if isinstance(node, Call) and node.function == function:
        yield node
        return
    if function == syntax.POW:
        parts = product(node)
        if parts.constant == 1 and not parts.below and len(parts.above) == 2 and same(*parts.above):
            yield Call(syntax.POW, (parts.above[0], Constant(2)))
    for left, right in _spellings():
        if isinstance(right, Call) and right.function == function and _head(left, node):
            found = next(match(left, node, {}), None)
            if found is not None:
                item = substitute(right, found)
                assert isinstance(item, Call)
                yield item


def _head(left: Node, node: Node) -> bool:
    """Whether a formula can be spelled so at all."""
    return isinstance(node, Call) and isinstance(left, Call) and (node.function == left.function or left.function in _LOOSE)


_LOOSE = frozenset({syntax.MUL, syntax.DIV})


def _some_terms(
    wanted: Sequence[tuple[int, Node]], parts: Sequence[tuple[int, Node]], bound: Bound
) -> Iterator[tuple[Bound, int, list[tuple[int, Node]]]]:
    """Every choice of terms that are the wanted ones, or all of these with the other sign; and the terms that are left."""
    if len(wanted) > len(parts) or len(parts) > PARTS:
        return
    for sign in (1, -1):
        for found, used in _choices(wanted, parts, bound, sign, ()):
            yield found, sign, [part for i, part in enumerate(parts) if i not in used]


def _choices(
    wanted: Sequence[tuple[int, Node]], parts: Sequence[tuple[int, Node]], bound: Bound, sign: int, used: tuple[int, ...]
) -> Iterator[tuple[Bound, tuple[int, ...]]]:
    if not wanted:
        yield bound, used
        return
    plus, first = wanted[0]
    for i, (own, item) in enumerate(parts):
        if i in used or (own != plus * sign and not isinstance(first, Variable)):
            continue
        for found in match(first, item if own == plus * sign else negated(item), bound):
            yield from _choices(wanted[1:], parts, found, sign, (*used, i))


def _some_factors(wanted: Product, parts: Product, bound: Bound) -> Iterator[tuple[Bound, Product]]:
    """Every choice of factors that are the wanted ones; and the factors that are left."""
    if len(parts.above) + len(parts.below) > PARTS:
        return
    above, below = ([(1, n) for n in some] for some in (wanted.above, wanted.below))
    for found, used in _choices(above, [(1, n) for n in parts.above], bound, 1, ()):
        for last, also in _choices(below, [(1, n) for n in parts.below], found, 1, ()):
            rest = Product(
                parts.constant / wanted.constant,
                [n for i, n in enumerate(parts.above) if i not in used],
                [n for i, n in enumerate(parts.below) if i not in also],
            )
            yield last, rest


def rewritings(node: Node, wanted: Node, becomes: Node) -> Iterator[Node]:
    """What one formula becomes where it is what a pattern says, or begins with it: a sum with further terms, a product with
    further factors. What is constant altogether stays: nothing is lost in it that a derivative sees."""
    match wanted:
        case Call(function=syntax.ADD | syntax.SUB):
            if isinstance(node, Call) and node.function in (syntax.ADD, syntax.SUB, syntax.NEG):
                for found, sign, rest in filter(lambda some: _varies(some[0]), _some_terms(terms(wanted), terms(node), {})):
                    yield total([(sign, instance(becomes, found)), *rest])
        case Call(function=syntax.MUL | syntax.DIV):
            if isinstance(node, Call) and node.function in (syntax.MUL, syntax.DIV, *_quotients()):
                for found, left in filter(lambda some: _varies(some[0]), _some_factors(product(wanted), product(node), {})):
                    mended = product(instance(becomes, found))
                    constant = left.constant * mended.constant
                    yield Product(constant, [*mended.above, *left.above], [*mended.below, *left.below]).node()
        case _:
            yield from (instance(becomes, found) for found in match(wanted, node, {}) if _varies(found))


def _varies(bound: Bound) -> bool:
    """Whether something that a pattern's names stand for has a variable in it."""
    return any(variables(tree) for tree in bound.values())


def instance(becomes: Node, bound: Bound) -> Node:
    """What a pattern becomes, with what its names stand for put in and no sign too many."""
    done: dict[Node, Node] = {}
    for item in walk(becomes):
        match item:
            case Variable(name=name):
                done[item] = bound.get(name, item)
            case Call(function=syntax.NEG, arguments=(x,)):
                done[item] = negated(done[x])
            case Call(function=function, arguments=arguments):
                done[item] = tidy(Call(function, tuple(done[a] for a in arguments)))
            case _:
                done[item] = item
    return done[becomes]


def tidy(node: Node) -> Node:
    """A sum without terms that cancel, a product with one constant factor; of anything else itself."""
    match node:
        case Call(function=syntax.ADD | syntax.SUB):
            parts = terms(node)
            kept: list[tuple[int, Node]] = []
            for sign, item in parts:
                lost = next((i for i, (s, other) in enumerate(kept) if s != sign and same(other, item)), None)
                if lost is None:
                    kept.append((sign, item))
                else:
                    del kept[lost]
            if len(kept) < len(parts) or any(opposite(a) for a in node.arguments):
                return total(kept) if kept else Constant(0)
        case Call(function=syntax.MUL | syntax.DIV, arguments=arguments):
            if sum(product(a).constant != 1 for a in arguments) > 1:
                return product(node).node()
        case Call(function=syntax.POW, arguments=(x, y)) if value_of(y) == 1:
            return x
    return node


def replaced(tree: Node, old: Node, new: Node) -> Node:
    """The formula with a part of it, wherever it occurs, replaced."""
    done: dict[Node, Node] = {}
    for item in walk(tree):
        if item == old:
            done[item] = new
        elif isinstance(item, Call):
            arguments = tuple(done[a] for a in item.arguments)
            done[item] = item if arguments == item.arguments else tidy(Call(item.function, arguments, item.position))
        else:
            done[item] = item
    return done[tree]


def applied(tree: Node, wanted: Node, becomes: Node) -> Iterator[Node]:
    """The formula with one place rewritten, for each place and way, the innermost places first."""
    items = list(walk(tree))
    if len(items) > NODES:
        return
    count = 0
    for item in items:
        if not isinstance(item, Call) or (is_truth(item) and not TABLE[item.function].arrays):
            continue
        for new in rewritings(item, wanted, becomes):
            if new != item:
                yield replaced(tree, item, new)
                count += 1
                if count >= MATCHES:
                    return
