"""What a reader wants to know of a wrong gradient: the formula that autograd applies beside the exact one, and the slip."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import sympy
from torch import Tensor

from gradcheck_cli.algebra.layers import Symbolic
from gradcheck_cli.algebra.number import Ball
from gradcheck_cli.algebra.symbols import Expression
from gradcheck_cli.callables.hanging import without_hooks
from gradcheck_cli.callables.own import BY_ITSELF, forgotten_conjugates, not_linear, own_pushed, own_slips, places
from gradcheck_cli.exact.derivative import TIDY, tidy
from gradcheck_cli.language.spaces import entry_names
from gradcheck_cli.language.tree import written_size
from gradcheck_cli.maps.map import Map, Row, Tensors, called, direction_of, pull, push, size, uncompiled
from gradcheck_cli.maps.runs import Formula, flat
from gradcheck_cli.maps.settling import settle
from gradcheck_cli.maps.slips import Searched, name_pushed, name_slips
from gradcheck_cli.maps.written import Trees, family, write
from gradcheck_cli.maps.written import Written as AsTrees
from gradcheck_cli.shadow.mode import Shadow
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.verdicts import Cause, Verdict

ENTRIES = 24
"""Entries of inputs and outputs up to which formulas are shown."""

LONG = 400
"""Nodes of a formula, written out, up to which it is shown."""

CLOSE, TINY = 1e-6, 1e-290
"""How well a formula that is shown must give the exact value."""

_UNSAID = (LookupError, NotImplementedError, RecursionError, ValueError, TypeError, AttributeError)
"""Of formulas that SymPy can't hold, or differentiate."""

_TWO_FORMULAS = (Cause.FORMULA, Cause.NO_GRADIENT, Cause.KINK)


class Formulas(NamedTuple):
    """Of an entry: the exact derivative, its text, and that of the formula that autograd applies."""

    exact: Expression | None
    text: str | None
    applied: str | None


class Written(NamedTuple):
    """A map pushed along a direction, in cells of one kind; `applied` is None where torch gave no tensor."""

    inputs: Mapping[str, list[Any]]
    tangents: Mapping[str, list[Any]]
    output: Any
    applied: Any


@dataclass
class Known:
    """What was found out about a function at one point, for the next: what is written alike has the same formulas."""

    searched: Searched = field(default_factory=Searched)
    formulas: dict[object, Formulas] = field(default_factory=dict)


def explain(
    map: Map,
    rows: Sequence[Row],
    columns: Sequence[Column],
    formula: Formula | None = None,
    values: bool = True,
    known: Known | None = None,
) -> None:
    """Complete the details of what is wrong: the formulas of each column's worst entry, and the slip if it is a usual one.

    `formula` is what the map ought to compute, if its own operations don't say; `values`: whether what it does compute is that.
    """
    wrong = [c for c in columns if c.wrt and c.verdict(c.worst()) is Verdict.MISMATCH]
    known = known or Known()
    suspect, hung = _recast(map, wrong, rows, known.searched, formula is None) if values else ([], {})
    _slips(map, [c for c in wrong if c.cause(c.worst()) is Cause.FORMULA], formula, values, known.searched)
    for number, text in hung.items():
        for detail in suspect[number].details.values():
            if detail.cause is Cause.FORMULA:
                detail.text = _joined(detail.text, text)
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
            _formulas(map, row, column, column.worst(), formula, known)


def name_own(map: Map, rows: Sequence[Row], columns: Sequence[Column], searched: Searched) -> None:
    """Complete the details of what is wrong in a map of many entries: the backward, or the hook, that is to blame."""
    mismatches = [c for c in columns if c.wrt and c.verdict(c.worst()) is Verdict.MISMATCH]
    wrong, hung = _recast(map, mismatches, rows, searched)
    own = own_slips(map, searched) if wrong else []
    for number, column in enumerate(wrong):
        for detail in column.details.values():
            if detail.cause is Cause.FORMULA:
                detail.text = _joined(*own, hung.get(number), detail.text) or None


def _recast(
    map: Map, wrong: Sequence[Column], rows: Sequence[Row], searched: Searched, itself: bool = True
) -> tuple[list[Column], dict[int, str]]:
    """The columns in which the formula is wrong, and by their numbers the hooks without which autograd is right. What was
    followed may have run without hooks, so that a kernel was blamed; and what a custom backward does at a kink is no convention
    of autograd's where it is wrong beside it. Both are the formula; an iteration that was ended early isn't, where the map is
    judged by its own operations, `itself`."""
    if itself:
        settle(map, rows, [c for c in wrong if c.cause(c.worst()) is Cause.FORMULA])
    kinks = [c for c in wrong if c.cause(c.worst()) is Cause.KINK]
    if kinks and any(BY_ITSELF in text for text in own_slips(map, searched)):
        for column in kinks:
            meant = {i: d for i, d in column.details.items() if d.cause is Cause.KINK}
            column.details.update({i: replace(d, cause=Cause.FORMULA, text=None) for i, d in meant.items()})
    suspect = [c for c in wrong if c.cause(c.worst()) in (Cause.FORMULA, Cause.KERNEL)]
    hung = without_hooks(map, suspect, rows) if suspect else {}
    for number in hung:
        details = suspect[number].details
        suspect[number].mark([i for i in details if details[i].cause is Cause.KERNEL], Verdict.MISMATCH, cause=Cause.FORMULA)
    return suspect, hung


def _slips(map: Map, wrong: Sequence[Column], formula: Formula | None, values: bool, searched: Searched) -> None:
    """Name the slip in a wrong formula, and the backward that it is in."""
    if not wrong:
        return
    seen = [c for c in wrong if c.check(c.worst()).witness is None]
    own = (forgotten_conjugates(map) or not_linear(map)) if values else []
    slips = name_slips(map, formula, values=values, searched=searched) if seen and not own else {}
    where = places(map) if values and not own else []
    if values and not own:
        said = {slip for c in wrong if (slip := slips.get(c.wrt[-1]))}
        own = own_slips(map, searched, said) if seen and not all(slips.get(c.wrt[-1]) for c in wrong) else where
    for column in wrong:
        slip = slips.get(column.wrt[-1])
        blamed = where or own if slip else own
        for detail in column.details.values():
            if detail.cause is Cause.FORMULA:
                seen_first = (detail.text, *blamed) if detail.witness else (*blamed, detail.text)
                detail.text = _joined(slip, *seen_first) or None


def explain_pushed(
    map: Map, columns: Sequence[Column], mode: str, formula: Formula | None = None, known: Known | None = None
) -> None:
    """The same of derivatives along a direction, in a mode that runs forwards: the slip, and the rule that it is in."""
    wrong = [d for c in columns for d in c.details.values() if d.cause is Cause.FORMULA and d.witness is None]
    if not wrong:
        return
    known = known or Known()
    slip = name_pushed(map, mode, formula, searched=known.searched)
    own = places(map, "jvp") if slip else own_pushed(map, mode, known.searched)
    for detail in wrong:
        detail.text = _joined(slip or None, *own, detail.text) or None
    for column in (c for c in columns if c.verdict(c.worst()) is Verdict.MISMATCH):
        _formulas_along(map, column, column.worst(), mode, formula)


def upstream(row: Row, names: Collection[str]) -> dict[str, Tensor]:
    """The upstream gradients of a row, by the names that its formulas use: `v` in <v,y>; v_y0 and v_y1 where they are two, or
    where one of the inputs, `names`, is a v; w_x of the gradient by x."""
    letter = row.name[1:].partition(",")[0]
    several = len(row.cotangents) > 1
    found = ((name.rpartition(">/d")[2], v) for name, v in row.cotangents.items())
    return {f"{letter}_{name}" if several else called(letter, name, names): v for name, v in found}


def along(direction: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A direction by the names that formulas use: `u` in (J u of y), u_x and u_w where two inputs move, u_u of an input u."""
    return {f"u_{name}" if len(direction) > 1 else called("u", name, direction): u for name, u in direction.items()}


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


def _formulas(map: Map, row: Row, column: Column, index: int, formula: Formula | None, known: Known) -> None:
    """Enter both formulas of an entry, where they are short."""
    if size(map.inputs) + size(row.cotangents) > ENTRIES:
        return
    trees = write(map, row, formula)
    if trees is None or any(written_size(n) > LONG for nodes in trees.everything() for n in nodes):
        return  # written out it would be too long for SymPy, and for a reader
    detail, entry = column.details[index], column.label(index).wrt[-1]
    key = _alike(trees, row, entry)
    if key not in known.formulas:
        try:
            known.formulas[key] = _derived(map, row, entry, formula)
        except _UNSAID:
            known.formulas[key] = Formulas(None, None, None)
    exact, text, detail.autograd_formula = known.formulas[key]
    detail.formula = text if _agrees(exact, _floats(map, row), column.exact[index]) else None


def _alike(trees: Trees, row: Row, entry: str) -> object:
    """What has the same formulas at every point: one entry of what is written alike, under upstream gradients that are 0, 1, or
    anything, alike."""
    given = [w if w in (0, 1) else None for v in row.cotangents.values() for w in flat(v)]
    return (row.name, entry, *given, *(tuple(nodes) for nodes in trees.everything()))


def _floats(map: Map, row: Row) -> dict[Expression, float]:
    """What the symbols of a formula stand for at this point."""
    tensors = [*map.inputs.items(), *upstream(row, map.inputs).items()]
    return {s: x for name, t in tensors for s, x in zip(_symbols(name, tuple(t.shape)), flat(t), strict=True)}


def _derived(map: Map, row: Row, entry: str, formula: Formula | None) -> Formulas:
    """The exact derivative of a row by one entry, and the one that autograd applies."""
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
    for name, v, shown in zip(given_upstream, given_upstream.values(), upstream(row, map.inputs), strict=True):
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
        return Formulas(None, None, None)
    name = entry.partition("[")[0]
    number = [str(cell) for cell in _symbols(name, tuple(leaves[name].shape))].index(entry)
    gradient = gradients[name]
    applied = None if gradient is None else shadow.cells(gradient, 0)[number]
    exact = layer.released(total.diff(symbols[entry])) if total.count_ops() <= TIDY else None
    return Formulas(exact, _text(exact), _text(applied))


def _formulas_along(map: Map, column: Column, index: int, mode: str, formula: Formula | None) -> None:
    """The same of an entry of a derivative along a direction, whose symbols are `u`."""
    detail, name = column.details[index], column.of.removeprefix("(J u of ").partition(")")[0]
    if detail.cause is not Cause.FORMULA or detail.witness or 2 * size(map.inputs) > ENTRIES:
        return
    direction = direction_of(map.inputs, map.seed)
    shown = dict(zip(direction, along(direction), strict=True))

    def written(layer: Any, entries: Callable[[str, tuple[int, ...]], list[Any]]) -> Written | None:
        """The inputs, the tangents, the output's entry and its tangent's, in one kind of cells."""
        inputs = {n: entries(n, tuple(x.shape)) for n, x in map.inputs.items()}
        tangents = {n: entries(shown[n], tuple(u.shape)) for n, u in direction.items()}
        shadow = Shadow([layer], 0, stops=map.stops)

        def seed(primals: Tensors) -> None:
            for n, x in primals.items():
                shadow.seed(x, [inputs[n]])
                shadow.seed(direction[n], [tangents[n]])

        with uncompiled(), shadow:
            outputs, pushed, _ = push(map, direction, mode, seed)
            found = pushed[name]
            meant = shadow.cells(outputs[name], 0) if formula is None else formula(layer, inputs)[name]
            applied = None if found is None else shadow.cells(found, 0)[index]
        return None if shadow.opaque else Written(inputs, tangents, meant[index], applied)

    try:
        trees = written(AsTrees(), family)
        if trees is None or any(written_size(node) > LONG for node in (trees.output, trees.applied) if node is not None):
            return  # in symbols it would be too long for SymPy
        layer = Symbolic()
        known = written(layer, _symbols)
        if known is None:
            return
        pairs = [(x, u) for n in known.inputs for x, u in zip(known.inputs[n], known.tangents[n], strict=True)]
        exact = layer.released(sympy.Add(*(u * known.output.diff(x) for x, u in pairs)))
        numbers = [(*map.inputs.items(), *direction.items()), (*known.inputs.values(), *known.tangents.values())]
        values = {s: x for (_, t), symbols in zip(*numbers, strict=True) for s, x in zip(symbols, flat(t), strict=True)}
        detail.formula = _text(exact) if _agrees(exact, values, column.exact[index]) else None
        detail.autograd_formula = _text(known.applied)
    except _UNSAID:
        return


def _agrees(expression: Expression | None, values: Mapping[Expression, float], known: Ball) -> bool:
    """Whether an expression has a known value at a point (not of a branch for it alone), as far as that can be told."""
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
