"""Derivatives of trees, as trees: SymPy differentiates, nothing is composed first.

The result is valid where the function is smooth (see `algebra.symbols`); `exact.enclosure` certifies that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice

import sympy

from gradcheck_cli.algebra.symbols import Expression, derived, renamed, to_symbols, to_tree, where
from gradcheck_cli.language.chain import Chain, Stage
from gradcheck_cli.language.functions import NAMES
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Node, Variable, canonical, substitute, variables, walk, written_size

TIDY = 400
"""Operations up to which a formula is tidied for display (expanding a longer one takes noticeable time)."""

TERMS = 100
"""Terms up to which a formula is multiplied out for display."""

QUOTIENT = 60
"""Operations up to which a formula is brought over one denominator for display."""

DIVISION = 5
"""Characters that a division is as hard to read as, besides its own."""

_MANY = 10**6

LONGEST_CHAIN = 8
"""Stages up to which a composed formula is derived for display."""

DISPLAYED = 500
"""Characters up to which a formula is displayed."""

LEGIBLE = 5_000
"""Parts of a formula of torch's that is tidied at all: what is ten times as long as what is displayed doesn't become short, and
what Newton's method makes of a few numbers has no end."""

SHORT = 120
"""Nodes up to which a composed formula is differentiated for display: SymPy's time grows with a power of them."""


_UNKNOWN = (LookupError, NotImplementedError, RecursionError, TypeError, sympy.core.function.ArgumentIndexError)
"""What SymPy, or the way back to a tree, raises for a derivative that isn't known; a TypeError for a comparison with nan."""


@lru_cache(maxsize=4096)
def _symbolic(tree: Node, wrt: tuple[str, ...]) -> Expression:
    if not wrt:
        return to_symbols(tree)
    found = derived(_symbolic(tree, wrt[:-1]), wrt[-1])
    # The derivative of a step, where the step is certified not to be, is 0.
    return found.replace(sympy.DiracDelta, lambda *_: sympy.Integer(0)) if found.has(sympy.DiracDelta) else found


@lru_cache(maxsize=4096)
def differentiate(tree: Node, wrt: tuple[str, ...]) -> Node | None:
    """The derivative of `tree` by each name of `wrt` in turn; None where SymPy knows none."""
    try:
        return to_tree(_symbolic(tree, wrt))
    except _UNKNOWN:
        return None


@lru_cache(maxsize=4096)
def readable(tree: Node, wrt: tuple[str, ...], inputs: tuple[str, ...] = ()) -> Node | None:
    """The derivative for a reader: the shortest of a few equal forms; None for a tree of more than SHORT nodes written out.

    Differentiated is the tree whose `inputs` are numbered, which `exact.enclosure` has differentiated already.
    """
    if not short(tree):
        return None
    names = tuple(dict.fromkeys((*inputs, *variables(tree), *wrt)))
    numbers = {name: f"_{i}" for i, name in enumerate(names)}
    try:
        found = renamed(_symbolic(canonical(tree, names), tuple(numbers[name] for name in wrt)), numbers)
        derivative = to_tree(found)
    except _UNKNOWN:
        return None
    if any(isinstance(item, Call) and item.function not in _WRITTEN for item in walk(derivative)):
        return None
    tidied = _shortest(_equal(found))
    return min((t for t in (derivative, tidied) if t is not None), key=_length)


_WRITTEN = frozenset(NAMES.values())
"""Rows that have a name in formulas."""


def short(tree: Node) -> bool:
    """Whether a formula is short enough for its derivative to be shown."""
    return _size(tree) <= SHORT


def formula(tree: Node, wrt: tuple[str, ...], inputs: tuple[str, ...] = ()) -> str | None:
    """The text of `readable`; None if it is longer than DISPLAYED characters."""
    found = readable(tree, wrt, inputs)
    return None if found is None else show(found, DISPLAYED)


def stage_formula(stage: Stage, name: str) -> str | None:
    """A stage's own derivative by one of its inputs, for a reader; equal stages of a chain are derived once."""
    number = stage.inputs.index(name)
    found = readable(canonical(stage.tree, stage.inputs), (f"_{number}",))
    names = {f"_{i}": Variable(n) for i, n in enumerate(stage.inputs)}
    return None if found is None else show(substitute(found, names), DISPLAYED)


def chain_formula(chain: Chain, wrt: tuple[str, ...], longest: int = SHORT) -> str | None:
    """The derivative of a chain's output for a reader: by inputs, or by one stage (in terms of it, the inputs and the stages
    before); None where it would be long, of more than `longest` nodes in a stage to begin with."""
    if len(chain.stages) > LONGEST_CHAIN or any(_size(stage.tree) > longest for stage in chain.stages):
        return None
    trees: dict[str, Node] = {}
    for stage in chain.stages:
        trees[stage.name] = Variable(stage.name) if stage.name in wrt else substitute(stage.tree, trees)
    return formula(trees[chain.output], wrt, chain.inputs)


@lru_cache(maxsize=4096)
def _size(tree: Node) -> int:
    return written_size(tree)


def tidy(expression: Expression) -> str | None:
    """The text of what torch computes in the language, in its shortest form; None if it is long, or can't be said. What cancels
    or overflows in it stays to be seen: nothing is brought over one denominator."""
    if sum(1 for _ in islice(sympy.preorder_traversal(expression), LEGIBLE)) == LEGIBLE:
        return None
    found = _shortest(_multiplied(expression))
    return None if found is None else show(found, DISPLAYED)


def _shortest(forms: Iterable[Expression]) -> Node | None:
    trees = []
    for form in forms:
        try:
            trees.append(to_tree(form))
        except LookupError:
            continue
    return min(trees, key=_length, default=None)


def _multiplied(expression: Expression) -> Iterator[Expression]:
    """The expression as it is, multiplied out, and with common factors before its sums."""
    yield expression
    if expression.count_ops() <= TIDY:
        if _terms(expression) <= TERMS:
            yield _expanded(expression)
        yield sympy.factor_terms(expression)


def _equal(expression: Expression) -> Iterator[Expression]:
    """Besides, others that are equal to it wherever it is smooth, as far as they are found fast."""
    yield from _multiplied(expression)
    if expression.count_ops() > QUOTIENT:
        return
    yield from _quotients(expression)
    yield sympy.powsimp(expression, combine="exp")  # n*x**(n - 1), which is n*x**n/x to SymPy
    signs = {sign: sympy.Abs(sign.args[0]) / sign.args[0] for sign in expression.atoms(sympy.sign)}
    if signs and _terms(unsigned := expression.xreplace(signs)) <= TERMS:
        yield from _quotients(_expanded(unsigned))
    conditions = {choice.args[0] for choice in expression.atoms(where)}
    if len(conditions) == 1:
        yield where(*conditions, _chosen(expression, 1), _chosen(expression, 2))


def _chosen(expression: Expression, piece: int) -> Expression:
    """The expression where each choice in it has been made."""
    return expression.replace(lambda part: isinstance(part, where), lambda part: part.args[piece])


def _quotients(expression: Expression) -> Iterator[Expression]:
    """As one quotient, whose numerator is multiplied out, and as a sum of the terms of that one over the denominator."""
    numerator, denominator = sympy.fraction(sympy.together(expression))
    if _terms(numerator) <= TERMS:
        expanded = _expanded(numerator)
        yield sympy.factor_terms(expanded) / denominator
        yield _expanded(expanded / denominator)


def _expanded(expression: Expression) -> Expression:
    return sympy.expand(expression, power_exp=False, log=False, power_base=False)


def _terms(expression: Expression) -> int:
    """How many terms the expression would have if it were multiplied out, about; a few too many is enough to know."""
    if expression.is_Add:
        return sum(map(_terms, expression.args))
    if expression.is_Mul:
        return min(math.prod(map(_terms, expression.args)), _MANY)
    if expression.is_Pow and expression.exp.is_Integer:
        return int(min(_terms(expression.base) ** min(abs(int(expression.exp)), _MANY.bit_length()), _MANY))
    return max((_terms(a) for a in expression.args), default=1)


def _length(tree: Node) -> int:
    """Characters; a division, which may be one within another, is as hard to read as some more."""
    text = show(tree, 10 * DISPLAYED)
    return 10 * DISPLAYED if text is None else len(text) + DIVISION * text.count("/")  # beyond that, no matter how long
