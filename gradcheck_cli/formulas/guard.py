"""Chains that run a user's callables, held against difference quotients of what torch runs: see `maps.quotient`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from gradcheck_cli.floats import Floats
from gradcheck_cli.formulas.torch_chain import Batch, TorchChain
from gradcheck_cli.language.spaces import entry_names
from gradcheck_cli.maps.autograd import Tensors
from gradcheck_cli.maps.guard import REFUTED, REPEATED, allowed, lively, middle, said
from gradcheck_cli.maps.map import Map
from gradcheck_cli.maps.parts import apart, joined
from gradcheck_cli.maps.quotient import PLAINLY, Outcome, Plain, refuted, slopes, standing
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.verdicts import Verdict


def guard_points(
    compiled: TorchChain,
    batch: Batch,
    columns: Mapping[str, Column],
    here: Sequence[int],
    stage: str | None,
    limits: Limits,
    checkpoint: Callable[[], None],
) -> None:
    """Refute the first derivatives at the points of a batch that a quotient contradicts. `columns`: by what is differentiated
    by; `here`: the points' places in them; `stage`: who is to blame, if there is but one."""
    tensors = apart(batch.tensors)
    names = [e for n, x in tensors.items() for e in (batch.entries[n] if n in batch.tensors else entry_names(n, x.shape))]
    shape, places = (len(names), len(here)), list(here)
    found, known, moving = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=bool)
    for i, name in enumerate(names):
        if name in columns:
            column = columns[name]
            verdicts, numbers = column.verdicts[places], column.autograd[places]
            moving[i] = lively(verdicts) & np.isfinite(numbers)
            exact = np.array([middle(column.exact[place]) for place in places])
            imprecise = (verdicts == Verdict.IMPRECISE.severity) & np.isfinite(exact)
            found[i], known[i] = (
                np.where(moving[i], numbers, 0.0),
                np.where(moving[i], np.where(imprecise, exact, numbers), 0.0),
            )
    if not moving.any():
        return

    def call(leaves: Tensors) -> Tensors:
        return {compiled.output: compiled.entry(compiled.forward(joined(leaves, batch.tensors)), compiled.output)}

    plain = Plain(Map(tensors, call), 0, checkpoint, [found], apart=compiled.shapes is None)
    if plain.here.size != len(here):
        return
    if not plain.repeatable:
        for name, column in columns.items():
            if name in names:
                doubted = [place for place in places if lively(column.verdicts[place])]
                column.mark(doubted, Verdict.UNDECIDED, REPEATED)
        return

    def along(direction: Floats, scale: float = 1.0) -> Outcome:
        step = direction * scale
        with np.errstate(all="ignore"):
            terms = np.sqrt(np.sum((found * plain.inputs.reshape(shape)) ** 2, axis=0))
            values = plain.along(step.reshape(-1))
            seen = slopes(values, lambda y: y, plain.noise(lambda y: y), plain.rounding(terms))
            seen = seen.widened((allowed(limits, found, plain.form) * abs(step)).sum(axis=0))
            size = np.sqrt(np.sum((found * step) ** 2, axis=0))
            return Outcome(seen, (found * step).sum(axis=0), (known * step).sum(axis=0), size, standing(values) > 0)

    wrong = moving.any(axis=0)
    for again in range(2):  # no refutation stands on one direction, or on what rounding may do inside of the function
        direction = plain.direction().reshape(shape) * moving
        wrong &= refuted(plain, partial(along, direction), direction.reshape(-1))[0]
        if not wrong.any():
            return
        if not again:
            plain.heed_rounding()
    alone = np.eye(len(names))[:, :, None]
    each = [refuted(plain, partial(along, moved), moved.reshape(-1)) for moved in direction * alone]
    located = np.array([off for off, _ in each]) & moving & wrong
    for p in np.flatnonzero(wrong).tolist():
        guilty = np.flatnonzero(located[:, p]).tolist()
        joint = refuted(plain, partial(along, direction), direction.reshape(-1))[1]
        for i in guilty or np.flatnonzero(moving[:, p]).tolist():
            both = said(each[i][1], p, float(direction[i, p])) if guilty else said(joint, p)
            text = f"along {names[i] if guilty else 'a seeded direction of all inputs'} it is {both}"
            columns[names[i]].refute([places[p]], REFUTED.format(PLAINLY, text))
            columns[names[i]].blame(places[p], stage)
