"""Symbols: formulas as SymPy expressions, the way there and the way back to a tree.

SymPy is used to differentiate and to tidy, never to run anything: torch always evaluates the tree as it was written.
Numbers that SymPy could blow up (`9**9**9`, `gamma(10**9)`) or that it would print as fractions of twenty digits
(0.1) enter as symbols of their own that remember the tree they stand for.

A formula in symbols is valid where the function is smooth. Steps therefore have the derivative 0, and `where` is
differentiated branch by branch; `exact` certifies smoothness before it uses either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import sympy
from sympy.core.function import ArgumentIndexError

from gradcheck_cli.algebra.polynomials import HIGHEST, NAMES, coefficients
from gradcheck_cli.algebra.program import expand
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import PIECES, ROWS, TABLE, VARIADIC, Function
from gradcheck_cli.language.parser import definition
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, walk

Expression = Any  # sympy ships no types

_SIMPLE = 10_000
"""Integers, and numerators and denominators of dyadic fractions, up to this size are numbers to SymPy."""


class floor(sympy.Function):  # type: ignore[misc]
    """The step function, without SymPy's rewriting; its derivative is 0 wherever it has one."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> Expression:
        return sympy.Integer(0)


class detach(sympy.Function):  # type: ignore[misc]
    """What is held where it is."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> Expression:
        return sympy.Integer(0)


class lgamma(sympy.Function):  # type: ignore[misc]
    """log(abs(gamma(x))); SymPy's loggamma is complex for negative arguments."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> Expression:
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return sympy.polygamma(0, self.args[0])


class gammainc(sympy.Function):  # type: ignore[misc]
    """The regularized lower incomplete gamma function; by its first argument SymPy is asked nothing."""

    nargs = 2
    is_real = True
    sign = 1

    def fdiff(self, argindex: int = 1) -> Expression:
        if argindex != 2:
            raise ArgumentIndexError(self, argindex)
        a, x = self.args
        return self.sign * x ** (a - 1) * sympy.exp(-x) / sympy.gamma(a)


class gammaincc(gammainc):
    """The upper one."""

    sign = -1


class airy_ai(sympy.Function):  # type: ignore[misc]
    """Airy's function, whose slope isn't in the language."""

    nargs = 1
    is_real = True


class root(sympy.Function):  # type: ignore[misc]
    """The k-th root of a polynomial, by its coefficients: -f**i/(c1 + 2*c2*f + ...) is its slope by the i-th of them."""

    is_real = True

    def fdiff(self, argindex: int = 1) -> Expression:
        *given, _ = self.args
        below = sympy.Add(*(k * c * self ** (k - 1) for k, c in enumerate(given) if k))
        return -(self ** (argindex - 1)) / below


class exponential(sympy.Function):  # type: ignore[misc]
    """An entry of the exponential of a matrix: its slope by an entry, in whose place E has 1, is one of that of
    [[A, E], [0, A]] (Van Loan, IEEE Trans. Autom. Control 23, 1978)."""

    is_real = True

    def fdiff(self, argindex: int = 1) -> Expression:
        *given, i, j = self.args
        n = math.isqrt(len(given))
        row, column = divmod(argindex - 1, n)
        whole = sympy.zeros(2 * n, 2 * n)
        whole[:n, :n] = whole[n:, n:] = sympy.Matrix(n, n, given)
        whole[row, n + column] = 1
        return exponential(*whole, i, n + j)


class gauge(sympy.Function):  # type: ignore[misc]
    """An entry of a factor that is held."""

    is_real = True

    def fdiff(self, argindex: int = 1) -> Expression:
        return sympy.Integer(0)


class alike(sympy.Function):  # type: ignore[misc]
    """0 where there is a value."""

    @classmethod
    def eval(cls, x: Expression, y: Expression) -> Expression:
        return sympy.Integer(0)


def _polynomial(family: str, shifted: bool) -> Callable[[Expression, Expression], Expression]:
    """A polynomial, written out."""

    def run(x: Expression, n: Expression) -> Expression:
        if int(n) > HIGHEST:
            raise LookupError("a polynomial of a high degree")
        given = coefficients(family, int(n), shifted)
        return sympy.Add(*(sympy.Rational(c.numerator, c.denominator) * x**k for k, c in enumerate(given)))

    return run


globals().update({name: _polynomial(*family) for name, family in NAMES.items()})


class where(sympy.Function):  # type: ignore[misc]
    """A choice that SymPy doesn't try to understand: `where(condition, x, y)`."""

    nargs = 3
    is_real = True

    @classmethod
    def eval(cls, condition: Expression, x: Expression, y: Expression) -> Expression | None:
        if x == y or condition is sympy.true:
            return x
        return y if condition is sympy.false else None

    def _eval_derivative(self, symbol: Expression) -> Expression:
        condition, x, y = self.args
        return where(condition, x.diff(symbol), y.diff(symbol))


def sub(x: Expression, y: Expression) -> Expression:
    return x - y


def neg(x: Expression) -> Expression:
    return -x


def div(x: Expression, y: Expression) -> Expression:
    return x / y if y != 0 else opaque(Call(syntax.DIV, (to_tree(x), to_tree(y))))


def sqrt(x: Expression) -> Expression:
    return sympy.sqrt(x)


def Pow(x: Expression, y: Expression) -> Expression:
    """A power, kept as a symbol where SymPy would compute a huge number or divide by zero."""
    if x.is_Number and y.is_Number:
        size = math.log2(max(abs(x.p), x.q, 2)) * float(max(abs(y.p), 1)) if x.is_Rational and y.is_Rational else math.inf
        if size > 256 or (x == 0 and y < 0):
            return opaque(Call(syntax.POW, (to_tree(x), to_tree(y))))
    return sympy.Pow(x, y)


def _relation(kind: Any) -> Callable[..., Expression]:
    # Unevaluated: deciding `x**2 + 1 > 0` by assumptions costs more than it brings.
    return lambda x, y: kind(x, y, evaluate=False)


StrictLessThan = _relation(sympy.StrictLessThan)
LessThan = _relation(sympy.LessThan)
StrictGreaterThan = _relation(sympy.StrictGreaterThan)
GreaterThan = _relation(sympy.GreaterThan)
Equality = _relation(sympy.Equality)
Unequality = _relation(sympy.Unequality)

_opaque: dict[Expression, Node] = {}


def opaque(node: Node) -> Expression:
    """A real symbol that stands for a constant tree and prints as its text."""
    negative = isinstance(node, Constant) and node.value < 0
    if negative:
        assert isinstance(node, Constant)
        return -opaque(Constant(-node.value))
    sign = {"positive": True} if isinstance(node, Constant) else {"real": True}
    symbol = sympy.Symbol(f"({show(node)})", **sign)
    _opaque[symbol] = node
    return symbol


class SymbolAlgebra:
    """The algebra of SymPy expressions (see `algebra.program.Algebra`)."""

    operators: Mapping[str, str] = MappingProxyType({})

    def constant(self, value: int | float | bool) -> Expression:
        if isinstance(value, bool):
            return sympy.true if value else sympy.false
        if isinstance(value, float) and not math.isfinite(value):
            return sympy.nan if math.isnan(value) else sympy.oo if value > 0 else -sympy.oo
        numerator, denominator = value.as_integer_ratio()
        if abs(numerator) <= _SIMPLE and denominator <= _SIMPLE:
            return sympy.Rational(numerator, denominator)
        return opaque(Constant(value))

    def function(self, row: Function) -> Callable[..., Expression] | None:
        return _function(row.name)

    def body(self, row: Function) -> Node:
        return definition(row.name)


SYMBOLS = SymbolAlgebra()


@cache
def _function(name: str) -> Callable[..., Expression] | None:
    row = TABLE[name]
    if not row.sympy:
        return None
    found = globals().get(row.sympy) or getattr(sympy, row.sympy)
    return found if row.parameters else lambda: found


def to_symbols(node: Node) -> Expression:
    """The SymPy expression of a tree; variables become real symbols of the same name."""
    done: dict[Node, Expression] = {}
    for item in walk(expand(node, SYMBOLS)):
        match item:
            case Constant(value=value):
                done[item] = SYMBOLS.constant(value)
            case Variable(name=name):
                done[item] = sympy.Symbol(name, real=True)
            case Call(function=function, arguments=arguments):
                terms = [done[a] for a in arguments]
                operation = _function(function)
                assert operation is not None
                if terms and not TABLE[function].operator and all(getattr(t, "is_number", False) for t in terms):
                    done[item] = operation(*terms) if all(_small(t) for t in terms) else opaque(item)
                else:
                    done[item] = operation(*terms)
    return done[node] if node in done else done[expand(node, SYMBOLS)]


def derived(expression: Expression, name: str) -> Expression:
    """What SymPy's `expression.diff` is, in a quarter of the time: sums, products, powers and SymPy's own slopes of functions
    are put together by SymPy's rules, each part once, and no orders of differentiation are sorted at every part. Whatever is
    anything else is left to `diff`."""
    symbol = sympy.Symbol(name, real=True)
    done: dict[Expression, Expression] = {symbol: sympy.S.One}

    def of(e: Expression) -> Expression:
        if e not in done:
            done[e] = by_rule(e) if e.args else sympy.S.Zero
        return done[e]

    def by_rule(e: Expression) -> Expression:
        sloped = isinstance(e, sympy.Function) and type(e)._eval_derivative is sympy.Function._eval_derivative
        if not (e.is_Add or e.is_Mul or e.is_Pow or sloped) or not _ENDLESS.isdisjoint(e.args):
            return e.diff(symbol)
        rates = [of(a) for a in e.args]
        varying = [i for i, rate in enumerate(rates) if rate is not sympy.S.Zero]
        if e.is_Add:
            return sympy.Add(*rates)
        if e.is_Mul:
            return sympy.Add(*(sympy.Mul(*e.args[:i], rates[i], *e.args[i + 1 :]) for i in varying))
        if e.is_Pow:
            (base, exponent), (of_base, of_exponent) = e.args, rates
            through = of_exponent * sympy.log(base) if 1 in varying else sympy.S.Zero
            return e * (through + of_base * exponent / base) if varying else sympy.S.Zero
        try:
            return sympy.Add(*(e.fdiff(i + 1) * rates[i] for i in varying))
        except ArgumentIndexError:  # of a slope that SymPy doesn't know
            return e.diff(symbol)

    return of(expression)


_ENDLESS = frozenset({sympy.oo, -sympy.oo, sympy.zoo, sympy.nan})


def renamed(expression: Expression, numbers: Mapping[str, str]) -> Expression:
    """The expression in which the name of every number of `numbers` (name -> number) stands for it, built anew with all orders
    and signs that SymPy has for these names. Comparisons stay undecided, as `to_symbols` makes them."""
    done: dict[Expression, Expression] = {
        sympy.Symbol(number, real=True): sympy.Symbol(name, real=True) for name, number in numbers.items()
    }
    trees: dict[str, Node] = {number: Variable(name) for name, number in numbers.items()}
    for item in sympy.postorder_traversal(expression):
        if item in _opaque and item not in done:  # a quotient by 0 keeps its variables
            done[item] = opaque(substitute(_opaque[item], trees))
        if item not in done:
            arguments = [done[a] for a in item.args]
            same = all(new is old for new, old in zip(arguments, item.args, strict=True))
            choice = {"evaluate": False} if item.is_Relational else {}
            done[item] = item if same else item.func(*arguments, **choice)
    return done[expression]


def _small(value: Expression) -> bool:
    return bool(value.is_Rational and abs(value.p) <= 100 and value.q <= 100) or value in (sympy.pi, sympy.E)


# -- the way back ---------------------------------------------------------------------------------------------------

_CLASSES: dict[str, Function] = {row.sympy: row for row in reversed((*ROWS, *PIECES)) if row.sympy}
_CONSTANTS = {getattr(sympy, row.sympy): row.name for row in ROWS if row.sympy and not row.parameters}


def to_tree(expression: Expression) -> Node:
    """The tree of a SymPy expression.

    Raises LookupError for what the language can't say (an unevaluated Derivative, say).
    """
    done: dict[Expression, Node] = {}
    stack: list[tuple[Expression, bool]] = [(expression, False)]
    while stack:
        item, ready = stack.pop()
        if item in done:
            continue
        if not ready and item.args and not item.is_Rational:
            stack.append((item, True))
            stack.extend((a, False) for a in item.args)
            continue
        done[item] = _tree(item, done)
    return done[expression]


def _tree(e: Expression, done: Mapping[Expression, Node]) -> Node:
    if e in _opaque:
        return _opaque[e]
    if e.is_Symbol:
        return Variable(str(e.name))
    if e in _CONSTANTS:
        return Call(_CONSTANTS[e], ())
    if e is sympy.S.NegativeInfinity:
        return Call(syntax.NEG, (Call(syntax.INF, ()),))
    if e is sympy.nan:
        return Call(syntax.SUB, (Call(syntax.INF, ()), Call(syntax.INF, ())))
    if e.is_Integer:
        return Constant(int(e))
    if e.is_Rational:
        return _ratio(e)
    if e.is_Float:
        return Constant(float(e))
    if e in (sympy.true, sympy.false):
        return Constant(bool(e))
    if e.is_Add:
        return _sum(e, done)
    if e.is_Mul:
        return _product(e, done)
    if e.is_Pow or isinstance(e, sympy.exp):
        return _power(e, done)
    name = type(e).__name__
    if name not in _CLASSES:
        raise LookupError(f"no function of the table is SymPy's {name}")
    row = _CLASSES[name]
    arguments = [done[a] for a in e.args]
    if row.name in VARIADIC:
        return _chain(row.name, arguments)
    arguments += [Constant(p.default) for p in row.parameters[len(arguments) :] if p.default is not None]
    if len(arguments) != len(row.parameters) and not row.parameters[0].variadic:
        raise LookupError(f"{name} with {len(arguments)} arguments")
    for parameter, argument in row.bind(arguments):
        if parameter.kind == "integer" and not (isinstance(argument, Constant) and isinstance(argument.value, int)):
            raise LookupError(f"{name} of an order that is not a number")
    return Call(row.name, tuple(arguments))


def _ratio(e: Expression) -> Node:
    p, q = int(e.p), int(e.q)
    if q & (q - 1) == 0 and q <= 1024 and abs(p) <= _SIMPLE and p > 0 and len(repr(p / q)) <= 6:
        return Constant(p / q)
    return Call(syntax.DIV, (Constant(p), Constant(q)))


def _sum(e: Expression, done: Mapping[Expression, Node]) -> Node:
    terms = e.as_ordered_terms()
    tree: Node | None = None
    for term in terms:
        if tree is None:
            tree = done[term]
        elif term.could_extract_minus_sign():
            positive = -term
            tree = Call(syntax.SUB, (tree, done.get(positive) or to_tree(positive)))
        else:
            tree = Call(syntax.ADD, (tree, done[term]))
    assert tree is not None
    return tree


def _product(e: Expression, done: Mapping[Expression, Node]) -> Node:
    coefficient, _ = e.as_coeff_Mul()
    if not coefficient.is_Rational:
        raise LookupError("an infinite factor")
    if coefficient.is_Rational and coefficient < 0 and (coefficient.p == -1 or coefficient.q != 1):
        positive = -e
        return Call(syntax.NEG, (done.get(positive) or to_tree(positive),))
    coefficient, rest = e.as_coeff_Mul()
    upper: list[Node] = [] if coefficient.p == 1 else [Constant(int(coefficient.p))]
    lower: list[Node] = [] if coefficient.q == 1 else [Constant(int(coefficient.q))]
    for factor in rest.as_ordered_factors():
        if factor.is_Pow and factor.exp.is_Rational and factor.exp < 0:
            lower.append(_base_power(done[factor.base], -factor.exp))
        else:
            upper.append(done[factor])
    tree = _chain(syntax.MUL, upper) if upper else Constant(1)
    return Call(syntax.DIV, (tree, _chain(syntax.MUL, lower))) if lower else tree


def _chain(name: str, parts: Sequence[Node]) -> Node:
    tree = parts[0]
    for part in parts[1:]:
        tree = Call(name, (tree, part))
    return tree


def _power(e: Expression, done: Mapping[Expression, Node]) -> Node:
    if isinstance(e, sympy.exp) or e.base is sympy.E:
        return Call(syntax.EXP, (done[e.args[0] if isinstance(e, sympy.exp) else e.exp],))
    if e.exp.is_Rational and e.exp < 0:
        return Call(syntax.DIV, (Constant(1), _base_power(done[e.base], -e.exp)))
    if e.exp.is_Rational:
        return _base_power(done[e.base], e.exp)
    return Call(syntax.POW, (done[e.base], done[e.exp]))


def _base_power(base: Node, exponent: Expression) -> Node:
    if exponent == 1:
        return base
    if exponent == sympy.Rational(1, 2):
        return Call(syntax.SQRT, (base,))
    return Call(syntax.POW, (base, Constant(int(exponent)) if exponent.is_Integer else _ratio(exponent)))
