"""Problem in, Report out: plans the computations of a problem and runs them in time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from gradcheck_cli.algebra.factors import held
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.formulas.computation import FORMULAS, Computation
from gradcheck_cli.formulas.points import points_of
from gradcheck_cli.formulas.problem import Claim, Problem, Task
from gradcheck_cli.formulas.run import Run
from gradcheck_cli.formulas.stages import apportion, own_derivatives, own_entries, strays
from gradcheck_cli.formulas.torch_chain import TorchChain
from gradcheck_cli.formulas.wirtinger import told
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.spaces import OfParts, arrays_of
from gradcheck_cli.language.tree import variables
from gradcheck_cli.maps.map import check_device
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.work import Progress, Recorder, record


def check_problem(problem: Problem, progress: Progress | None = None) -> Report:
    """Check the problem. Never raises for what it finds; InputError for what torch can't do at all (a device, a row).

    After `problem.timeout` seconds what isn't finished is undecided, and the report says so.
    """
    check_device(problem.device)
    recorder = Recorder()
    work = _Work(problem, recorder)
    return record(
        problem.command,
        described(problem),
        work.run,
        strict=problem.strict,
        timeout=problem.timeout,
        progress=progress,
        recorder=recorder,
    )


@dataclass
class _Group:
    """One task in one format and mode: a computation for each question, and the stages' own derivatives."""

    task: Task
    compiled: TorchChain | None
    totals: list[Computation]
    locals: list[Column]


class _Work:
    """Everything that will be reported is planned, undecided, from the beginning."""

    def __init__(self, problem: Problem, recorder: Recorder) -> None:
        self.problem, self.recorder = problem, recorder
        self.groups: list[_Group] = []
        for name in problem.formats:
            for mode in problem.modes:
                run = Run(
                    FORMATS[name], mode, problem.limits, problem.device, problem.callables, problem.verbose, recorder.checkpoint
                )
                self.groups += [self._group(task, run) for task in problem.tasks]
        self.claims = recorder.plan()
        recorder.total = sum(computation.count for group in self.groups for computation in group.totals)

    def _group(self, task: Task, run: Run) -> _Group:
        compiled = None if task.shapes is None else run.torch(task.chain, task.shapes)
        points = points_of(self.problem, run.form)
        sizes = accumulate(len(question.derivatives) for question in task.questions)
        totals = [
            Computation(
                question.chain, question.derivatives, points, run, "total",
                compiled and compiled.of(question.chain.output), compiled is None or size <= FORMULAS,
            )
            for question, size in zip(task.questions, sizes, strict=True)
        ]  # fmt: skip
        for total in totals:
            total.columns = self.recorder.plan(total.columns)
        return _Group(task, compiled, totals, self.recorder.plan())

    def run(self, recorder: Recorder) -> None:
        """All the work."""
        claimed = set()
        for group in self.groups:
            run = group.totals[0].run
            recorder.doing = f"{run.form.name}, {run.mode}"
            with held(run.form.name, run.device):
                self._check(group)
                if run.form.name not in claimed:
                    claimed.add(run.form.name)
                    self._check_claims(group.totals)

    def _check(self, group: _Group) -> None:
        if group.task.unlisted:
            self.recorder.note(strays(group.totals))
        for total in group.totals:
            total.check(self.recorder.advance)
        if group.task.complex:
            self._tell(group)
        if self.problem.local and len(group.task.chain.stages) > 1:
            group.locals += (own_entries if group.compiled else own_derivatives)(group.totals[0])
            for total in group.totals:
                apportion(total, group.locals)

    def _tell(self, group: _Group) -> None:
        """What torch's gradient of complex numbers is, where formulas of one number say it."""
        chain, points = group.task.chain, self.problem.points
        for name in chain.inputs:
            if points.shapes[name] == OfParts.of(()) and not any(name in c.wrt for t in group.totals for c in t.columns):
                self.recorder.note(told(chain, name, group.totals) if len(group.totals) <= 2 else None)

    def _check_claims(self, totals: Sequence[Computation]) -> None:
        if not self.problem.claims:
            return
        from gradcheck_cli.formulas.claims import check_claim, united  # and what names a slip

        by_output = {total.chain.output: total for total in totals}
        notes = []
        for claim in self.problem.claims:
            total = by_output[claim.of]
            self.claims.append(total.blank(claim.of, claim.wrt, total.kind))
            chain = _of_claim(claim, total.chain, total.points)
            chosen = self.problem.points.explicit
            notes.append(check_claim(claim, chain, self.claims[-1], total.points, total.run.form, chosen=chosen))
        for note in united(filter(None, notes)):
            self.recorder.note(note)


def _of_claim(claim: Claim, chain: Chain, points: Collection[str]) -> Chain:
    """The chain, with those inputs too that only the claim names: they are what may be wrong with it."""
    known = {*chain.inputs, *(stage.name for stage in chain.stages)}
    return replace(chain, inputs=(*chain.inputs, *(n for n in variables(claim.tree) if n in points and n not in known)))


def described(problem: Problem) -> dict[str, Any]:
    """What was asked, for a reader."""
    return {
        "stages": [
            {"name": stage.name, "expression": stage.expression, "inputs": list(stage.inputs)}
            for task in problem.tasks
            for stage in task.chain.stages
        ],
        "shapes": {name: list(shape) for name, shape in arrays_of(problem.points.shapes).items()},
        "dtype": list(problem.formats),
        "modes": list(problem.modes),
        "seed": None if problem.points.explicit else problem.points.seed,
    }
