"""Sums, products and powers as a person writes them down: no 0*..., no 1*..., numbers first, equal terms together.

What is made is equal to what was asked for, as a formula, wherever that has a value; numbers are added and multiplied only
where the result is exact. Nothing is multiplied out, and nothing is factored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

from gradcheck_cli.language import syntax
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, variables, walk

_DIGITS = 15
"""Characters up to which a decimal that was computed is written; longer ones stay products and sums of what was typed."""

_LARGEST = 10**9
"""Whole numbers that are computed."""

_HIGHEST = 64
"""Powers that are multiplied out of products."""

ZERO, ONE = Constant(0), Constant(1)
_HALF = Fraction(1, 2)


def filled(template: Node, values: Mapping[str, Node]) -> Node:
    """The template with its variables replaced, tidied as far as the template goes: what is put in stays as it is."""
    done: dict[Node, Node] = {}
    for item in walk(template):
        match item:
            case Variable(name=name):
                done[item] = values.get(name, item)
            case Call(function=function, arguments=arguments):
                done[item] = call(function, *(done[a] for a in arguments))
            case _:
                done[item] = item
    return done[template]


def call(function: str, *arguments: Node) -> Node:
    """`function(*arguments)`, tidied."""
    tidied = _TIDIED.get(function)
    found = tidied(*arguments) if tidied is not None else None
    return Call(function, arguments) if found is None else found


# -- numbers ------------------------------------------------------------------------------------------------------------


def _number(node: Node) -> Fraction | None:
    """The exact value of a literal, of its sign, and of a fraction of whole numbers."""
    match node:
        case Constant(value=bool()):
            return None
        case Constant(value=int() | float() as value):
            return Fraction(value)
        case Call(function=syntax.NEG, arguments=(x,)):
            inner = _number(x)
            return None if inner is None else -inner
        case Call(function=syntax.DIV, arguments=(x, y)):
            top, bottom = _number(x), _number(y)
            both = top is not None and bottom and top.denominator == 1 == bottom.denominator
            return top / bottom if both and top is not None and bottom is not None else None
    return None


def _decimal(node: Node) -> bool:
    return any(isinstance(n, Constant) and isinstance(n.value, float) and not n.value.is_integer() for n in walk(node))


def _written(value: Fraction, decimal: bool) -> Node | None:
    """A number as it is written; None where that would be long, or not exact."""
    if max(abs(value.numerator), value.denominator) > _LARGEST and not decimal:
        return None
    if value.denominator == 1:
        return Constant(value.numerator) if abs(value.numerator) <= _LARGEST else None
    if not decimal:
        return Call(syntax.DIV, (Constant(value.numerator), Constant(value.denominator)))
    number = float(value)
    return Constant(number) if Fraction(number) == value and len(repr(number)) <= _DIGITS else None


# -- products -----------------------------------------------------------------------------------------------------------


class _Product:
    """A product taken apart: a number, and powers of all else."""

    def __init__(self) -> None:
        self.number, self.decimal = Fraction(1), False
        self.powers: dict[Node, Fraction] = {}

    def take(self, node: Node, sign: int = 1) -> None:
        """Multiply by a node (sign 1), or divide by it (-1)."""
        match node:
            case Call(function=syntax.MUL, arguments=(x, y)):
                self.take(x, sign)
                self.take(y, sign)
            case Call(function=syntax.DIV, arguments=(x, y)):
                self.take(x, sign)
                self.take(y, -sign)
            case Call(function=syntax.NEG, arguments=(x,)):
                self.number = -self.number
                self.take(x, sign)
            case Call(function=syntax.POW, arguments=(x, n)) if (power := _number(n)) is not None and not _decimal(n):
                self._power(x, sign * power)
            case _:
                self._power(node, Fraction(sign))

    def _power(self, base: Node, power: Fraction) -> None:
        if power.denominator == 1 and abs(power) <= _HIGHEST:
            match base:
                case Call(function=syntax.POW, arguments=(x, n)) if (
                    inner := _number(n)
                ) is not None and inner.denominator == 1:
                    return self._power(x, inner * power)
                case Call(function=syntax.MUL | syntax.DIV as function, arguments=(x, y)):
                    self._power(x, power)
                    return self._power(y, power if function == syntax.MUL else -power)
                case Call(function=syntax.NEG, arguments=(x,)):
                    self.number *= -1 if power % 2 else 1
                    return self._power(x, power)
                case Call(function=syntax.SQRT, arguments=(x,)) if _number(x) is not None and power % 2 == 0:
                    return self._power(x, power / 2)
            number = _number(base)
            product = None if number is None or not (number or power > 0) else self.number * number ** int(power)
            if product is not None and _written(product, self.decimal or _decimal(base)) is not None:
                self.number, self.decimal = product, self.decimal or _decimal(base)
                return None
        self.powers[base] = self.powers.get(base, Fraction(0)) + power

    def key(self) -> frozenset[tuple[Node, Fraction]]:
        """What two terms have in common that can be added."""
        return frozenset((b, p) for b, p in self.powers.items() if p)

    def alone(self) -> Node | None:
        """What it is but for a sign, if that is no product."""
        left = [(base, power) for base, power in self.powers.items() if power]
        return left[0][0] if len(left) == 1 and left[0][1] == 1 and abs(self.number) == 1 else None

    def node(self) -> Node:
        """The product as it is written: numbers, constants, powers of variables, the rest; one fraction bar."""
        if not self.number:
            return ZERO
        above: list[tuple[int, Node]] = []
        below: list[tuple[int, Node]] = []
        for base, power in self.powers.items():
            if power:
                side = above if power > 0 else below
                side.append((_place(base), _raised(base, abs(power))))
        size = abs(self.number)
        whole = _written(size, self.decimal)
        assert whole is not None
        if isinstance(whole, Call):
            whole, bottom = Constant(size.numerator), Constant(size.denominator)
            below.insert(0, (-1, bottom))
        if whole != ONE:
            above.insert(0, (-1, whole))
        top = _row(above) or ONE
        found = top if not below else Call(syntax.DIV, (top, _row(below) or ONE))
        return _signed(found) if self.number < 0 else found


def _signed(node: Node) -> Node:
    """Minus a node that has no sign: the sign goes into a leading number."""
    match node:
        case Constant(value=value):
            return Constant(-value)
        case Call(function=syntax.MUL | syntax.DIV as function, arguments=(x, y)) if isinstance(_leading(x), Constant):
            return Call(function, (_signed(x), y))
    return Call(syntax.NEG, (node,))


def _leading(node: Node) -> Node:
    while isinstance(node, Call) and node.function in (syntax.MUL, syntax.DIV):
        node = node.arguments[0]
    return node


def _row(factors: list[tuple[int, Node]]) -> Node | None:
    found: Node | None = None
    for _, factor in sorted(factors, key=lambda f: f[0]):
        found = factor if found is None else Call(syntax.MUL, (found, factor))
    return found


def _place(base: Node) -> int:
    """Where a factor stands: constants, variables, all else."""
    if not variables(base):
        return 0
    return 1 if isinstance(base, Variable) else 2


def _raised(base: Node, power: Fraction) -> Node:
    if power == 1:
        return base
    exponent = _written(power, False)
    assert exponent is not None
    return Call(syntax.POW, (base, exponent))


def _product(*nodes: Node) -> Node | None:
    product = _Product()
    for node in nodes:
        product.take(node)
    return product.node()


def _quotient(x: Node, y: Node) -> Node | None:
    if _number(y) == 0:
        return None
    product = _Product()
    product.take(x)
    product.take(y, -1)
    return product.node()


def _negative(x: Node) -> Node:
    product = _Product()
    product.take(Constant(-1))
    product.take(x)
    return product.node()


# -- sums ---------------------------------------------------------------------------------------------------------------


def _terms(node: Node, sign: int) -> Iterable[tuple[int, Node]]:
    match node:
        case Call(function=syntax.ADD, arguments=(x, y)):
            yield from _terms(x, sign)
            yield from _terms(y, sign)
        case Call(function=syntax.SUB, arguments=(x, y)):
            yield from _terms(x, sign)
            yield from _terms(y, -sign)
        case _:
            yield sign, node


def _sum(*signed: tuple[int, Node]) -> Node:
    """Equal terms are added where their numbers can be; the order is kept."""
    found: list[_Product] = []
    places: dict[object, int] = {}
    waiting = [t for s, n in reversed(signed) for t in reversed(list(_terms(n, s)))]
    while waiting:
        sign, node = waiting.pop()
        term = _Product()
        term.take(node)
        term.number *= sign
        if not term.number:
            continue
        inner = term.alone()
        if inner is not None and inner != node:  # what a product came to is a sum itself
            waiting += reversed(list(_terms(inner, int(term.number))))
            continue
        at = places.setdefault(term.key(), len(found))
        if at == len(found):
            found.append(term)
            continue
        total, decimal = found[at].number + term.number, found[at].decimal or term.decimal
        if not total or _written(total, decimal) is not None:
            found[at].number, found[at].decimal = total, decimal
        else:
            places[term.key()] = len(found)
            found.append(term)
    result: Node | None = None
    for term in found:
        if not term.number:
            continue
        if result is None:
            result = term.node()
        elif term.number < 0:
            term.number = -term.number
            result = Call(syntax.SUB, (result, term.node()))
        else:
            result = Call(syntax.ADD, (result, term.node()))
    return ZERO if result is None else result


# -- all else -----------------------------------------------------------------------------------------------------------


def _power(x: Node, y: Node) -> Node | None:
    exponent, base = _number(y), _number(x)
    if exponent == 0:
        return ONE
    if exponent == 1:
        return x
    if exponent is not None and exponent.denominator == 1 and abs(exponent) <= _HIGHEST:
        if base is not None:
            return _written(base ** int(exponent), _decimal(x)) if base or exponent > 0 else None
        if isinstance(x, Call) and x.function in _MULTIPLIED:
            return _product(Call(syntax.POW, (x, y)))
    return None


_MULTIPLIED = frozenset({syntax.MUL, syntax.DIV, syntax.NEG, syntax.POW})


def _chosen(condition: Node, x: Node, y: Node) -> Node | None:
    return x if x == y else None


def _logarithm(x: Node) -> Node | None:
    return ONE if x == Call(syntax.E, ()) else ZERO if x == ONE else None


def _exponential(x: Node) -> Node | None:
    return ONE if x == ZERO else None


_TIDIED: Mapping[str, Callable[..., Node | None]] = {
    syntax.MUL: _product,
    syntax.DIV: _quotient,
    syntax.NEG: _negative,
    syntax.ADD: lambda x, y: _sum((1, x), (1, y)),
    syntax.SUB: lambda x, y: _sum((1, x), (-1, y)),
    syntax.POW: _power,
    syntax.WHERE: _chosen,
    syntax.EXP: _exponential,
    syntax.LOG: _logarithm,
}
