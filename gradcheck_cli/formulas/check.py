"""Problem in, Report out: plans the computations of a problem, runs them in a thread, and blames.

The work runs in a thread of its own, so that a call of torch that never returns costs its entries a verdict (`undecided`), not
the user the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np

from gradcheck_cli.floats import FORMATS, Format
from gradcheck_cli.formulas.claims import check_claim
from gradcheck_cli.formulas.computation import FORMULAS, Computation, Points, Settings
from gradcheck_cli.formulas.problem import Problem, Task
from gradcheck_cli.formulas.stages import own_derivatives, own_entries, strays
from gradcheck_cli.formulas.torch_chain import TorchChain
from gradcheck_cli.maps.map import check_device
from gradcheck_cli.verdict.column import VERDICTS, Column, Detail
from gradcheck_cli.verdict.judge import judge_rounding
from gradcheck_cli.verdict.report import Report, versions
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from gradcheck_cli.verdict.work import Progress, Stopped, supervise


def check_problem(problem: Problem, progress: Progress | None = None) -> Report:
    """Check the problem. Never raises for what it finds; InputError for what torch can't do at all (a device, a row).

    After `problem.timeout` seconds what isn't finished is undecided, and the report says so.
    """
    check_device(problem.device)
    work = _Work(problem)

    def observe() -> None:
        if progress is not None:
            progress(min(work.done, work.total), work.total, work.doing)

    return work.report(supervise(work.run, work.halt, problem.timeout, observe))


@dataclass
class _Group:
    """One task in one format and mode: a computation for each question, and the stages' own derivatives."""

    task: Task
    compiled: TorchChain | None
    totals: list[Computation]
    locals: list[Column] = field(default_factory=list)


class _Work:
    """The state of one run: everything that will be reported stands here, undecided, from the beginning."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.stop = False
        self.failure: BaseException | None = None
        self.done, self.doing = 0, ""
        self.notes: list[str] = []
        self.settings = Settings(problem.device, problem.callables, problem.limits, problem.verbose, self._checkpoint)
        self.groups: list[_Group] = []
        for name in problem.formats:
            form = FORMATS[name]
            points = problem.points.values(form)
            for mode in problem.modes:
                self.groups += [self._group(task, points, form, mode) for task in problem.tasks]
        self.claims: list[Column] = []
        self.total = sum(computation.count for group in self.groups for computation in group.totals)

    def _group(self, task: Task, points: Points, form: Format, mode: str) -> _Group:
        compiled = None if task.shapes is None else TorchChain(task.chain, *self.settings.torch(form), task.shapes)
        sizes = accumulate(len(question.derivatives) for question in task.questions)
        totals = [
            Computation(
                question.chain, question.derivatives, points, form, mode, "total", self.settings,
                compiled and compiled.of(question.chain.output), compiled is None or size <= FORMULAS,
            )
            for question, size in zip(task.questions, sizes, strict=True)
        ]  # fmt: skip
        return _Group(task, compiled, totals)

    def halt(self) -> None:
        """Let the work end at its next checkpoint."""
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
            for group in self.groups:
                first = group.totals[0]
                self.doing = f"{first.form.name}, {first.mode}"
                if group.task.unlisted:
                    self._note(strays(group.totals))
                for total in group.totals:
                    total.check(self._progress)
                if problem.local and len(group.task.chain.stages) > 1:
                    group.locals = own_entries(first) if group.compiled else own_derivatives(first)
                    for total in group.totals:
                        _blame(total, group.locals)
                if first.form.name not in claimed:
                    claimed.add(first.form.name)
                    self._check_claims(group.totals)
        except Stopped:
            pass
        except BaseException as failure:
            self.failure = failure

    def _check_claims(self, totals: Sequence[Computation]) -> None:
        by_output = {total.chain.output: total for total in totals}
        for claim in self.problem.claims:
            total = by_output[claim.of]
            blank = total.blank(claim.of, claim.wrt)
            self.claims.append(check_claim(claim, total.chain, blank, total.form, self.notes))

    def _note(self, text: str | None) -> None:
        if text is not None and text not in self.notes:
            self.notes.append(text)

    def report(self, late: bool) -> Report:
        """What is known now. Raises what the work raised."""
        if self.failure is not None:
            raise self.failure
        if late:
            limit = f"{self.problem.timeout:g} s"
            self.notes.append(f"stopped after {limit} (--timeout): what was not finished is undecided")
        columns = [c for group in self.groups for part in (*(t.columns for t in group.totals), group.locals) for c in part]
        columns += self.claims
        notes = list(dict.fromkeys(self.notes))
        return Report(self.problem.command, _describe(self.problem), columns, versions(), self.problem.strict, notes)


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
        "stages": [
            {"name": stage.name, "expression": stage.expression, "inputs": list(stage.inputs)}
            for task in problem.tasks
            for stage in task.chain.stages
        ],
        "shapes": {name: list(shape) for name, shape in problem.points.shapes.items()},
        "dtype": list(problem.formats),
        "modes": list(problem.modes),
        "seed": None if problem.points.explicit else problem.points.seed,
    }
