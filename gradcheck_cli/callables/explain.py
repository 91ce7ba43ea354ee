"""What a reader wants to know of a wrong gradient: the formula that autograd applies beside the exact one, and the slip."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import sympy
from torch import Tensor

from gradcheck_cli.algebra.layers import Symbolic
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.algebra.symbols import Expression
from gradcheck_cli.callables.own import forgotten_conjugates, own_pushed, own_slips, places
from gradcheck_cli.exact.derivative import TIDY, tidy
from gradcheck_cli.language.spaces import entry_names
from gradcheck_cli.language.tree import written_size
from gradcheck_cli.maps.map import Map, Row, pull, size, uncompiled
from gradcheck_cli.maps.runs import Formula, flat
from gradcheck_cli.maps.slips import name_pushed, name_slips
from gradcheck_cli.maps.written import write
from gradcheck_cli.shadow.mode import Shadow
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.verdicts import Cause, Verdict

ENTRIES = 24
"""Entries of inputs and outputs up to which formulas are shown."""

LONG = 400
"""Nodes of a formula, written out, up to which it is shown."""

CLOSE, TINY = 1e-6, 1e-290
"""How well a formula that is shown must give the exact value."""

_TWO_FORMULAS = (Cause.FORMULA, Cause.NO_GRADIENT, Cause.KINK)


def explain(
    map: Map, rows: Sequence[Row], columns: Sequence[Column], formula: Formula | None = None, values: bool = True
) -> None:
    """Complete the details of what is wrong: the formulas of each column's worst entry, and the slip if it is a usual one.

    `formula` is what the map ought to compute, if its own operations don't say; `values`: whether what it does compute is that.
    """
    wrong = [c for c in columns if c.wrt and c.verdict(c.worst()) is Verdict.MISMATCH]
    _slips(map, [c for c in wrong if c.cause(c.worst()) is Cause.FORMULA], formula, values)
    wrong = [c for c in wrong if c.check(c.worst()).witness is None]  # else there is nothing to explain it by
    for column in wrong:
        row = next((r for r in rows if (r.of or r.name) == column.of and r.by == column.wrt[:-1]), None)
        if row is None:
            continue
        remedy = next((text for holds, text in _REMEDIES if values and holds(column, row)), None)
        for index in np.flatnonzero(column.having(Verdict.MISMATCH)).tolist() if remedy else ():
            if column.cause(index) is Cause.FORMULA:
                column.details[index].text = _joined(column.details[index].text, remedy)
        if column.cause(column.worst()) in _TWO_FORMULAS:
            _formulas(map, row, column, column.worst(), formula)


def _slips(map: Map, wrong: Sequence[Column], formula: Formula | None, values: bool) -> None:
    """Name the slip in a wrong formula, and the backward that it is in."""
    if not wrong:
        return
    seen = [c for c in wrong if c.check(c.worst()).witness is None]
    slips = name_slips(map, formula, values=values) if seen else {}
    own: list[str] = []
    if values:
        named = all(slips.get(c.wrt[-1]) for c in wrong)
        own = places(map) if named else own_slips(map) if seen else forgotten_conjugates(map)
    for column in wrong:
        for detail in column.details.values():
            if detail.cause is Cause.FORMULA:
                seen_first = (detail.text, *own) if detail.witness else (*own, detail.text)
                detail.text = _joined(slips.get(column.wrt[-1]), *seen_first) or None


def explain_pushed(map: Map, columns: Sequence[Column], mode: str, formula: Formula | None = None) -> None:
    """The same of derivatives along a direction, in a mode that runs forwards: the slip, and the rule that it is in."""
    wrong = [d for c in columns for d in c.details.values() if d.cause is Cause.FORMULA and d.witness is None]
    if not wrong:
        return
    slip = name_pushed(map, mode, formula)
    own = places(map, "jvp") if slip else own_pushed(map, mode)
    for detail in wrong:
        detail.text = _joined(slip or None, *own, detail.text) or None


def upstream(row: Row) -> dict[str, Tensor]:
    """The upstream gradients of a row, by the names that its formulas use: `v` in <v,y>, v_y0 and v_y1 where they are two."""
    letter = row.name[1:].partition(",")[0]
    several = len(row.cotangents) > 1
    return {f"{letter}_{name}" if several else letter: v for name, v in row.cotangents.items()}


def _joined(*texts: str | None) -> str:
    return "; ".join(text for text in texts if text is not None)


def _flat(column: Column, row: Row) -> bool:
    """Whether the function doesn't change with the entries that are wrong."""
    wrong = np.flatnonzero(column.having(Verdict.MISMATCH)).tolist()
    return all(column.exact[i] is not None and bool(column.exact[i] == 0) for i in wrong)


def _scaled(column: Column, row: Row) -> bool:
    """Whether the function hands its input on, and the gradient is reversed, or scaled."""
    texts = [detail.text or "" for detail in column.details.values()]
    if not any(text.startswith(("the sign is wrong", "a constant factor")) for text in texts):
        return False
    upstream = [v for cotangent in row.cotangents.values() for v in flat(cotangent)]
    return len(upstream) == len(column) and all(b is not None and b == v for b, v in zip(column.exact, upstream, strict=True))


_SURROGATE = "another function's derivative, --surrogate of `gradcheck function` judges it by that"
_REMEDIES: tuple[tuple[Callable[[Column, Row], bool], str], ...] = (
    (
        _flat,
        f"the function doesn't change here: if the backward is meant (a straight-through estimator is) to be {_SURROGATE}",
    ),
    (_scaled, f"if the backward is meant (a gradient reversal is) to be {_SURROGATE}"),
)
"""When a backward may be deliberate, and what its author can do."""


def _formulas(map: Map, row: Row, column: Column, index: int, formula: Formula | None) -> None:
    """Enter both formulas of an entry, where they are short."""
    if size(map.inputs) + size(row.cotangents) > ENTRIES:
        return
    trees = write(map, row, formula)
    if trees is None or any(written_size(n) > LONG for nodes in trees.everything() for n in nodes):
        return  # written out it would be too long for SymPy, and for a reader
    try:
        exact, applied = _derived(map, row, column.label(index).wrt[-1], formula, column.exact[index])
    except (LookupError, NotImplementedError, RecursionError, ValueError, TypeError):  # what can't be said, or differentiated
        return
    detail = column.details[index]
    detail.formula, detail.autograd_formula = exact, applied


def _derived(map: Map, row: Row, entry: str, formula: Formula | None, known: Ball) -> tuple[str | None, str | None]:
    """The exact derivative of a row by one entry, unless that isn't `known` at this point (of a branch for it alone), and the
    one that autograd applies."""
    leaves = map.leaves()
    symbols: dict[str, Expression] = {}
    inputs: dict[str, list[Expression]] = {}
    layer = Symbolic()
    shadow = Shadow([layer], 0, stops=map.stops)
    for name, leaf in leaves.items():
        inputs[name] = _symbols(name, tuple(leaf.shape))
        symbols |= {str(cell): cell for cell in inputs[name]}
        shadow.seed(leaf, [inputs[name]])
    given_upstream = {name: v.clone() for name, v in row.cotangents.items()}
    cotangents: dict[str, list[Expression]] = {}
    for name, v, shown in zip(given_upstream, given_upstream.values(), upstream(row), strict=True):
        given = _symbols(shown, tuple(v.shape))
        cotangents[name] = [sympy.Integer(int(w)) if w in (0, 1) else s for s, w in zip(given, flat(v), strict=True)]
        shadow.seed(v, [cotangents[name]])
    meant = None if formula is None else formula(layer, inputs)
    with uncompiled(), shadow:
        outputs = map(leaves)
        results = {n: shadow.cells(y, 0) for n, y in outputs.items()} if meant is None else meant
        pairs = [pair for name, vs in cotangents.items() for pair in zip(vs, results[name], strict=True)]
        total = sum((v * y for v, y in pairs), sympy.Integer(0))
        gradients = pull(outputs, leaves, Row(row.name, given_upstream)).gradients
    if shadow.opaque:
        return None, None
    name = entry.partition("[")[0]
    number = [str(cell) for cell in _symbols(name, tuple(leaves[name].shape))].index(entry)
    gradient = gradients[name]
    applied = None if gradient is None else shadow.cells(gradient, 0)[number]
    exact = layer.released(total.diff(symbols[entry])) if total.count_ops() <= TIDY else None
    floats = [*leaves.items(), *((shown, v) for shown, v in zip(upstream(row), given_upstream.values(), strict=True))]
    values = {s: x for name, t in floats for s, x in zip(_symbols(name, tuple(t.shape)), flat(t), strict=True)}
    return _text(exact if _agrees(exact, values, known) else None), _text(applied)


def _agrees(expression: Expression | None, values: Mapping[Expression, float], known: Ball) -> bool:
    """Whether an expression has a known value at a point, as far as that can be told."""
    if expression is None or known is None:
        return True
    found = expression.subs({s: sympy.Rational(x) for s, x in values.items() if math.isfinite(x)}).evalf()
    try:
        number = float(found)
    except TypeError:  # it has no value that SymPy knows
        return True
    return bool(abs(known - number) <= CLOSE * (abs(known) + abs(number)) + TINY)


def _symbols(name: str, shape: tuple[int, ...]) -> list[Expression]:
    return [sympy.Symbol(entry, real=True) for entry in entry_names(name, shape)]


def _text(expression: Expression | None) -> str | None:
    return None if expression is None or expression.count_ops() > TIDY else tidy(expression)
