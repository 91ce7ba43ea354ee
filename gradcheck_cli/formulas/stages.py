"""Each stage's own derivatives, by what it uses: two errors that cancel, or a factor of 0, can't hide one there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
import numpy.typing as npt

from gradcheck_cli.errors import InputError
from gradcheck_cli.exact.derivative import short, stage_formula
from gradcheck_cli.floats import Floats
from gradcheck_cli.formulas.computation import Computation
from gradcheck_cli.formulas.lowering import lower
from gradcheck_cli.formulas.torch_chain import TorchChain
from gradcheck_cli.language.chain import Chain, Stage
from gradcheck_cli.language.spaces import entry_names
from gradcheck_cli.language.tree import Node, canonical
from gradcheck_cli.maps.runs import numpy
from gradcheck_cli.verdict.column import Column, blame
from gradcheck_cli.verdict.judge import judge_rounding
from gradcheck_cli.verdict.verdicts import Cause, Verdict

_NOT_FINITE = "the stage received a value that is not finite"


def own_derivatives(total: Computation) -> list[Column]:
    """Of every stage of a scalar chain, at the floats that torch gave it. Equal stages are checked in one batch."""
    groups: dict[Node, list[Stage]] = {}
    for stage in total.chain.stages:
        groups.setdefault(canonical(stage.tree, stage.inputs), []).append(stage)
    columns: dict[str, list[Column]] = {}
    for stages in groups.values():
        if stages[0].inputs:
            columns |= _equal_stages(total, stages)
    return [column for stage in reversed(total.chain.stages) for column in columns.get(stage.name, [])]


def _equal_stages(total: Computation, stages: Sequence[Stage]) -> dict[str, list[Column]]:
    first, count = stages[0], total.count
    inputs = {name: np.concatenate([total.values[s.inputs[i]] for s in stages]) for i, name in enumerate(first.inputs)}
    usable = np.all([np.isfinite(column) for column in inputs.values()], axis=0)
    batch = None
    if usable.any():
        kept = {name: column[usable] for name, column in inputs.items()}
        chain = Chain(first.inputs, (first,))
        derivatives = [(name,) for name in first.inputs]
        batch = Computation(chain, derivatives, kept, total.run, "local")
        batch.check()
    where = np.cumsum(usable) - 1
    columns: dict[str, list[Column]] = {}
    for position, stage in enumerate(stages):
        mine = slice(position * count, (position + 1) * count)
        targets = np.flatnonzero(usable[mine]).tolist()
        columns[stage.name] = []
        for i, name in enumerate(stage.inputs):
            received = {n: inputs[there][mine] for n, there in zip(stage.inputs, first.inputs, strict=True)}
            column = total.blank(stage.name, (name,), "local", received)
            column.shown = partial(stage_formula, stage, name) if short(stage.tree) else None
            if batch is not None:
                column.paste(batch.columns[i], where[mine][targets].tolist(), targets, stage.name)
            column.mark(np.flatnonzero(~usable[mine]).tolist(), Verdict.OUTSIDE_DOMAIN, _NOT_FINITE)
            columns[stage.name].append(column)
    return columns


def own_entries(total: Computation) -> list[Column]:
    """Of every stage of a chain on arrays: each entry of its value by the entries that it depends on."""
    compiled = total.compiled
    assert compiled is not None and compiled.shapes is not None
    values = _values(total, compiled)
    return [c for stage in reversed(compiled.chain.stages) if stage.inputs for c in _entries_of(total, compiled, stage, values)]


def _values(total: Computation, compiled: TorchChain) -> dict[str, Floats]:
    """Torch's value of every entry of every input and stage, at every point; nan where it has none."""
    assert compiled.shapes is not None
    columns = {name: np.full((total.count, math.prod(shape)), np.nan) for name, shape in compiled.shapes.items()}
    for batch in compiled.batches(total.points, range(total.count), single=False):
        with suppress(InputError):
            for name, value in compiled.values(batch.tensors).items():
                columns[name][batch.points] = numpy(value)
    return {
        entry: row
        for name, c in columns.items()
        for entry, row in zip(entry_names(name, compiled.shapes[name]), c.T, strict=True)
    }


def _entries_of(total: Computation, compiled: TorchChain, stage: Stage, values: Mapping[str, Floats]) -> list[Column]:
    assert compiled.shapes is not None
    lowered = lower(Chain(stage.inputs, (stage,)), compiled.shapes)
    inputs = {name: values[name] for name in lowered.inputs}
    usable = np.all([np.isfinite(column) for column in inputs.values()], axis=0)
    kept, lost = np.flatnonzero(usable).tolist(), np.flatnonzero(~usable).tolist()
    torch_stage = total.run.torch(lowered.chain, lowered.shapes)
    columns: list[Column] = []
    for output in lowered.outputs:
        chain = lowered.entry(output)
        (only,) = chain.stages
        derivatives = [(name,) for name in lowered.inputs if name in only.inputs]
        source: Computation | None = None
        if kept and derivatives:
            points = {name: column[usable] for name, column in inputs.items()}
            source = Computation(chain, derivatives, points, total.run, "local", torch_stage.of(output))
            source.check()
        for i, wrt in enumerate(derivatives):
            column = total.blank(output, wrt, "local", inputs)
            column.shown = partial(stage_formula, only, wrt[0]) if short(only.tree) else None
            if source is not None:
                column.paste(source.columns[i], range(len(kept)), kept, output)
            column.mark(lost, Verdict.OUTSIDE_DOMAIN, _NOT_FINITE)
            columns.append(column)
    return columns


def strays(totals: Sequence[Computation]) -> str | None:
    """Where derivatives by what an output can't depend on aren't listed: have each that isn't 0 in torch checked.

    Returns a note on how many there are.
    """
    count = 0
    for total in totals:
        assert total.compiled is not None
        inside = {*total.chain.inputs, *(s.name for s in total.chain.stages), *(wrt[0] for wrt in total.derivatives)}
        found: dict[str, None] = {}
        looked = 0
        for batch in total.compiled.batches(total.points, range(total.count), single=False):
            try:
                wrong, looked = total.compiled.strays(total.run.mode, batch.tensors, inside)
            except InputError:  # which the check itself says
                continue
            found |= dict.fromkeys(wrong)
        total.ask([(name,) for name in found])
        count += looked - len(found)
    return f"{count:,} derivatives that must be 0 are 0 in torch too, and aren't listed" if count else None


def apportion(total: Computation, own: Sequence[Column]) -> None:
    """Judge what waited for the stages' own derivatives, and name, at each mismatch of a total, the first stage whose own one
    is wrong there."""
    wrong: dict[str, npt.NDArray[np.bool_]] = {}
    for column in own:
        wrong[column.of] = wrong.get(column.of, False) | column.having(Verdict.MISMATCH)
    suspects = [stage.name for stage in total.chain.stages if stage.name in wrong and wrong[stage.name].any()]

    def guilty(index: int) -> str | None:
        return next((name for name in suspects if wrong[name][index]), None)

    for k, index in total.deferred:
        column = total.columns[k]
        if guilty(index):
            column.mark([index], Verdict.MISMATCH, "a stage's own derivative is wrong", Cause.FORMULA)
        else:
            column.verdicts[index] = judge_rounding(column.exact[index], column.autograd[index], total.run.form).severity
    blame(total.columns, lambda column, index: guilty(index))
