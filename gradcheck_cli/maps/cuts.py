"""Wrong gradients that are right where numbers from outside of autograd's graph are constants: the cut is why they are wrong.

The function runs with those numbers held (`maps.constants`), and a difference quotient of that is compared with autograd's
gradient. What took the numbers out is named, with the line of the user's code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from gradcheck_cli.floats import Floats
from gradcheck_cli.maps.constants import Constants
from gradcheck_cli.maps.guard import weights_of
from gradcheck_cli.maps.map import Map, Row
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.quotient import Numbers, Plain, Weights, projections, refuted
from gradcheck_cli.shadow.stops import Cut
from gradcheck_cli.verdict.column import Column, Detail
from gradcheck_cli.verdict.judge import NOTHING
from gradcheck_cli.verdict.verdicts import Cause, Verdict

NAMED = 3
"""Places that are named at most."""

_CAUSES = (Cause.FORMULA, Cause.NO_GRADIENT)


def name_cuts(map: Map, rows: Sequence[Row], columns: Sequence[Column], options: Options) -> None:
    """Give mismatches of rows of a map the cause no_gradient, and say what was cut where, if that explains them."""
    wrong = [c for c in columns if c.wrt and any(detail.cause in _CAUSES for detail in c.details.values())]
    if not wrong:
        return
    held = Constants(everything=True)
    try:
        plain = Plain(map, options.seed, options.checkpoint, [c.autograd for c in wrong], constants=held)
    except Exception:  # whatever a user's code raises where it is watched
        return
    if not held.cuts or not plain.repeatable:
        return
    spans, start = {}, 0
    for name, x in map.inputs.items():
        spans[name] = slice(start, start + x.numel())
        start += x.numel()
    weights = weights_of(plain, rows)
    for column in wrong:
        k = next((k for k, row in enumerate(rows) if row.name == column.of), None)
        span = spans.get(column.wrt[0])
        if k is None or span is None or len(column) != span.stop - span.start:
            continue
        found = np.zeros((1, start))
        found[0, span] = np.where(np.isfinite(column.autograd), column.autograd, 0.0)
        if _agrees(plain, weights[k], found, span):
            _enter(column, held.cuts)


def name_whole_cuts(map: Map, columns: Sequence[Column], options: Options) -> None:
    """Say what was cut where, of outputs that torch has no derivative of in a mode that runs forwards: every way from the
    inputs to them is cut."""
    wrong = [c for c in columns if any(d.cause is Cause.NO_GRADIENT and d.text in NOTHING for d in c.details.values())]
    held = Constants(everything=True)
    try:
        if wrong:
            Plain(map, options.seed, options.checkpoint, [c.autograd for c in wrong], constants=held)
    except Exception:  # whatever a user's code raises where it is watched
        return
    for column in wrong if held.cuts else ():
        text, operation = _words(held.cuts)
        for index, detail in list(column.details.items()):
            if detail.text in NOTHING:
                _cut(column, index, replace(detail, operation=operation), text)


def _agrees(plain: Plain, weights: Weights, found: Floats, span: slice) -> bool:
    """Whether autograd's gradient by an input is the slope of the function with all those numbers held."""
    numbers = Numbers(*projections([weights]), found, found, np.zeros_like(found))
    for _ in range(2):
        moving = np.zeros(found.shape[1])
        moving[span] = 1.0
        direction = plain.direction() * moving
        wrong, outcome = refuted(plain, partial(numbers.along, plain, direction), direction)
        if wrong.any() or outcome.against_found.any() or not np.isfinite(outcome.seen.error).all():
            return False
    return True


def _enter(column: Column, cuts: Mapping[Cut, None]) -> None:
    words, operation = _words(cuts)
    text = f"{words}: with that held constant, autograd's value is the derivative"
    if all(cut.meant for cut in cuts):
        text += MEANT
    for index, detail in list(column.details.items()):
        if column.verdict(index) is Verdict.MISMATCH and detail.cause in _CAUSES:
            _cut(column, index, replace(detail, operation=operation), text)


def _words(cuts: Mapping[Cut, None]) -> tuple[str, str | None]:
    """What cut the graph where, and the operation, if it was one."""
    places = list(map(str, list(cuts)[:NAMED]))
    more = [] if len(cuts) <= NAMED else [f"{len(cuts) - NAMED:,} more"]
    operation = next((cut.what for cut in cuts if cut.operation), None)
    return f"cut from the graph by {', '.join([*places, *more])}", operation


MEANT = "; if it is meant to be constant, --stop-gradients judges it so"


def _cut(column: Column, index: int, detail: Detail, text: str) -> None:
    detail.cause = Cause.NO_GRADIENT
    detail.text = text if detail.text in (None, *NOTHING) else f"{text}; {detail.text}"
    column.details[index] = detail
