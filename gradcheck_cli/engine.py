"""Problem in, Report out: plans the computations of a problem, runs them in a thread, and blames.

The work runs in a thread of its own, so that a call of torch that never returns costs its entries a verdict (`undecided`), not
the user the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gradcheck_cli.claims import check_claim
from gradcheck_cli.computation import Computation, Settings
from gradcheck_cli.errors import InputError
from gradcheck_cli.exact.derivative import stage_formula
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.language.tree import Node, canonical
from gradcheck_cli.problem import Chain, Problem, Stage
from gradcheck_cli.report import VERDICTS, Column, Detail, Report
from gradcheck_cli.supervision import Progress, Stopped, supervise, versions
from gradcheck_cli.verdict import Cause, Verdict, judge_rounding

_NOT_FINITE = "the stage received a value that is not finite"


def run(problem: Problem, progress: Progress | None = None) -> Report:
    """Check the problem. Never raises for what it finds; InputError for what torch can't do at all (a device, a row).

    After `problem.timeout` seconds what isn't finished is undecided, and the report says so.
    """
    try:
        torch.empty(0, device=problem.device)
    except (RuntimeError, AssertionError) as refusal:
        raise InputError(f"torch can't use the device {problem.device!r}: {str(refusal).splitlines()[0]}") from None
    work = _Work(problem)

    def observe() -> None:
        if progress is not None:
            progress(min(work.done, work.total), work.total, work.doing)

    return work.report(supervise(work.run, work.halt, problem.timeout, observe))


class _Work:
    """The state of one run: everything that will be reported stands here, undecided, from the beginning."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.stop = False
        self.failure: BaseException | None = None
        self.done, self.doing = 0, ""
        self.notes: list[str] = []
        settings = Settings(problem.device, problem.callables, problem.limits, problem.verbose, self._checkpoint)
        self.totals: list[Computation] = []
        for name in problem.formats:
            points = problem.points.values(FORMATS[name])
            for mode in problem.modes:
                self.totals.append(
                    Computation(problem.chain, problem.derivatives, points, FORMATS[name], mode, "total", settings)
                )
        self.locals: dict[int, list[Column]] = {}
        self.claims: list[Column] = []
        self.total = sum(computation.count for computation in self.totals)

    def halt(self) -> None:
        """What isn't judged yet stays undecided."""
        self.stop = True

    def _checkpoint(self) -> None:
        if self.stop:
            raise Stopped

    def _progress(self, points: int) -> None:
        self.done += points

    def run(self) -> None:
        """All the work, in the thread."""
        problem, claimed = self.problem, set()
        try:
            for index, total in enumerate(self.totals):
                self.doing = f"{total.form.name}, {total.mode}"
                total.check(self._progress)
                if problem.local and len(problem.chain.stages) > 1:
                    self.locals[index] = _stages(total)
                    _blame(total, self.locals[index])
                if problem.claim is not None and total.form.name not in claimed:
                    claimed.add(total.form.name)
                    blank = total.blank(problem.chain.output, problem.claim.wrt)
                    self.claims.append(check_claim(problem.claim, problem.chain, blank, total.form, self.notes))
        except Stopped:
            pass
        except BaseException as failure:
            self.failure = failure

    def report(self, late: bool) -> Report:
        """What is known now. Raises what the work raised."""
        if self.failure is not None:
            raise self.failure
        if late:
            limit = f"{self.problem.timeout:g} s"
            self.notes.append(f"stopped after {limit} (--timeout): what was not finished is undecided")
        columns: list[Column] = []
        for index, total in enumerate(self.totals):
            columns += total.columns + self.locals.get(index, [])
        columns += self.claims
        return Report(
            self.problem.command, _describe(self.problem), columns, versions(), self.problem.strict, list(self.notes)
        )


def _stages(total: Computation) -> list[Column]:
    """Every stage's own derivatives, at the floats that torch gave it. Equal stages are checked in one batch."""
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
        batch = Computation(chain, derivatives, kept, total.form, total.mode, "local", total.settings)
        batch.check()
    where = np.cumsum(usable) - 1
    columns: dict[str, list[Column]] = {}
    for position, stage in enumerate(stages):
        mine = slice(position * count, (position + 1) * count)
        targets = np.flatnonzero(usable[mine]).tolist()
        columns[stage.name] = []
        for i, name in enumerate(stage.inputs):
            column = total.blank(stage.name, (name,), "local")
            column.inputs = {n: inputs[there][mine] for n, there in zip(stage.inputs, first.inputs, strict=True)}
            column.values = column.inputs[name]
            column.formula = stage_formula(stage, name)
            if batch is not None:
                column.paste(batch.columns[i], where[mine][targets].tolist(), targets, stage.name)
            column.mark(np.flatnonzero(~usable[mine]).tolist(), Verdict.OUTSIDE_DOMAIN, _NOT_FINITE)
            columns[stage.name].append(column)
    return columns


def _blame(total: Computation, own: Sequence[Column]) -> None:
    """Name, at each mismatch of a total, the first stage whose own derivative is wrong there; judge what waited for that."""
    code = VERDICTS.index(Verdict.MISMATCH)
    wrong: dict[str, Any] = {}
    for column in own:
        wrong[column.of] = wrong.get(column.of, False) | (column.verdicts == code)
    suspects = [stage.name for stage in total.chain.stages if np.any(wrong.get(stage.name, False))]
    for k, index in total.deferred:
        column = total.columns[k]
        guilty = any(wrong[name][index] for name in suspects)
        column.verdicts[index] = (
            code if guilty else VERDICTS.index(judge_rounding(column.exact[index], column.autograd[index], total.form))
        )
        if guilty:
            column.details[index] = Detail(cause=Cause.FORMULA, text="a stage's own derivative is wrong")
    for column in total.columns:
        for index in np.flatnonzero(column.verdicts == code).tolist():
            named = next((name for name in suspects if wrong[name][index]), None)
            detail = column.details.setdefault(index, Detail())
            detail.stage = named or detail.stage


def _describe(problem: Problem) -> dict[str, Any]:
    return {
        "stages": [{"name": s.name, "expression": s.expression, "inputs": list(s.inputs)} for s in problem.chain.stages],
        "dtype": list(problem.formats),
        "modes": list(problem.modes),
        "seed": None if problem.points.explicit else problem.points.seed,
    }
