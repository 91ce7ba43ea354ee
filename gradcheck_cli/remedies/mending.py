"""Report in, remedies out: what was checked is rewritten by the rows of the table, and the same check runs on it.

A remedy is one that three parties confirm. Balls say that the rewritten chain is the same function at the worst points and
beside them. The exact derivatives of both overlap. And the check that found something says, at every point that it was asked
about (or at as many as MOST), of no derivative less than before, and of half of those that were found wanting that they match.
Nothing here changes a verdict; what it costs is bounded by counts, not by time, and by what the check itself was asked.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from gradcheck_cli.algebra.number import Ball, exactly, working
from gradcheck_cli.errors import InputError
from gradcheck_cli.exact.values import Values
from gradcheck_cli.floats import FORMATS, Floats, Format
from gradcheck_cli.formulas.check import check_problem
from gradcheck_cli.formulas.lowering import lower
from gradcheck_cli.formulas.points import points_of
from gradcheck_cli.formulas.problem import Problem, Question, Task
from gradcheck_cli.formulas.torch_chain import TorchChain
from gradcheck_cli.language.chain import Chain, Stage
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.spaces import Group, base_of
from gradcheck_cli.language.tree import Node, substitute, variables
from gradcheck_cli.remedies.table import ROWS, Row, rewritten
from gradcheck_cli.shadow.contents import as_real
from gradcheck_cli.verdict.column import VERDICTS, Column
from gradcheck_cli.verdict.remedy import Remedy
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from gradcheck_cli.verdict.work import STOPPED

WORST = 3
"""Points at which a rewriting is tried first."""

MOST = 2_000
"""Points at which a remedy is confirmed."""

CANDIDATES, TRIES = 60, 8
"""Rewritings that are compared in balls, and those that are checked."""

WORK = 4e6
"""Units of `algebra.effort` that all comparisons may take, about 4 s."""

LARGE = 500
"""Entries of inputs and stages from which on fewer chains are compared."""

STAGES = 64
"""Stages of the longest chain that is rewritten."""

DEPTH = 3
"""Rewritings one after another."""

ENTRIES = 400
"""Derivatives at points that may be checked to find a remedy, if the check itself had fewer."""

LONGEST = 400
"""Characters of a stage that is shown rewritten."""

BITS = (256, 1024, 4096)
"""Precisions at which two chains are compared, in turn, until the balls are sharp."""

SHARP = 64
"""Bits to which two values have to be the same."""

BESIDE = (2.0**-30, -(2.0**-30), 2.0**-9, -(2.0**-9))
"""Steps to the points beside one, relative to it."""

VALUES = 32
"""Points at which values are compared, besides the worst."""

OUTPUTS = 64
"""Entries of an output that are compared in balls."""

_RANK = {Verdict.MATCH: 0, Verdict.OUTSIDE_DOMAIN: 0, Verdict.NONDIFFERENTIABLE: 1, Verdict.IMPRECISE: 2, Verdict.UNDECIDED: 3}

Key = tuple[str, str, str, tuple[str, ...]]
"""What a column is, in one format: mode, kind, of, wrt."""


def remedies_of(problem: Problem, report: Report) -> list[Remedy]:
    """What is confirmed. Raises nothing; a check that time was up for is searched no further."""
    found: list[Remedy] = []
    if problem.callables:
        return found
    if _stopped(report) or not any(wanting(c).any() for c in report.columns):
        return found
    try:
        for name in problem.formats:
            for task in problem.tasks:
                found += _Mending(problem, report, task, FORMATS[name]).found()
    except RecursionError:  # of a formula that is nested too deeply for a search
        return found
    except Exception:  # of ours: what is known of the problem is in the report already
        if os.environ.get("GRADCHECK_DEBUG"):
            raise
    return found


def _stopped(report: Report) -> bool:
    """Whether time was up: a thread of it may still be working in balls."""
    return any(note.startswith(STOPPED) for note in report.notes)


def wanting(column: Column) -> npt.NDArray[np.bool_]:
    """Which entries a rewriting may mend."""
    if column.claim is not None or column.kind not in _KINDS:
        return np.zeros(len(column), dtype=np.bool_)
    found = column.having(Verdict.IMPRECISE).copy()
    for index in np.flatnonzero(column.having(Verdict.MISMATCH)).tolist():
        found[index] = column.cause(index) in _CAUSES
    return found


_KINDS = ("total", "local")

_CAUSES = frozenset(Cause(word) for row in ROWS for word in row.causes if word in list(Cause))
"""Causes of which the table has a row."""


@dataclass(frozen=True)
class _Candidate:
    """A chain with some stages rewritten, and the rows that did it."""

    chain: Chain
    stage: str
    rows: tuple[Row, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(f"{stage.name} = {stage.expression}" for stage in self.chain.stages)


class _Mending:
    """One chain of a problem, in one format."""

    def __init__(self, problem: Problem, report: Report, task: Task, form: Format) -> None:
        self.problem, self.task, self.form = problem, task, form
        base = {stage.name for stage in task.chain.stages}
        self.columns: dict[Key, Column] = {
            _key(c): c
            for c in report.columns
            if c.dtype == form.name and c.claim is None and c.kind in _KINDS and base_of(c.of) in base
        }
        self.bad = {key: np.flatnonzero(wanting(c)) for key, c in self.columns.items()}
        self.bad = {key: found for key, found in self.bad.items() if len(found)}
        self.points: Mapping[str, Floats] = points_of(problem, form) if self.bad else {}
        self.words, self.blamed = self._words(), self._blamed()
        self.spent, self.work, self.stopped = 0, 0.0, False

    def found(self) -> list[Remedy]:
        """The first candidate that mends everything; else the one that mends most."""
        if not self.bad or len(self.task.chain.stages) > STAGES:
            return []
        worst = self._worst()
        allowed, tried = max(sum(map(len, self.columns.values())), ENTRIES), 0
        best: tuple[int, _Candidate] | None = None
        for candidate in self._alike(worst):
            if tried >= TRIES or self.spent >= allowed or self.stopped:
                break
            tried += 1
            mended = self._mended(candidate, worst, quick=True)
            if mended is None:
                continue
            count, whole, _ = mended
            if whole and (remedy := self._confirmed(candidate)) is not None:
                return [remedy]
            if best is None or count > best[0]:
                best = count, candidate
        remedy = None if best is None else self._confirmed(best[1])
        return [] if remedy is None else [remedy]

    def _alike(self, worst: Sequence[int]) -> Iterator[_Candidate]:
        """Chains that are the same function: rewritten once, then those once more, and so on."""
        start = _Candidate(self.task.chain, "", ())
        wave, seen, left = [start], {start.texts}, self._comparisons()
        for _ in range(DEPTH):
            following: list[_Candidate] = []
            for before in wave:
                for candidate in self._candidates(before):
                    if candidate.texts in seen:
                        continue
                    if not left or self.work > WORK:
                        return
                    seen.add(candidate.texts)
                    left -= 1
                    if self._same(candidate.chain, worst):
                        following.append(candidate)
                        yield candidate
            wave = following

    def _comparisons(self) -> int:
        """How many chains may be compared: fewer where each takes long to be written out entry by entry."""
        shapes = self.task.shapes or {}
        return max(CANDIDATES // 8, CANDIDATES // (1 + sum(map(math.prod, shapes.values())) // LARGE))

    def _worst(self) -> list[int]:
        """Points that show everything that was found: of each outcome the worst entry."""
        chosen: dict[object, tuple[float, int]] = {}
        for key, indices in self.bad.items():
            column = self.columns[key]
            for i in indices.tolist():
                error = column.error_ulps[i]
                size = math.inf if math.isnan(error) else float(error)
                what = (column.verdict(i), column.cause(i), column.details[i].operation if i in column.details else None)
                if what not in chosen or size > chosen[what][0]:
                    chosen[what] = size, i
        return list(dict.fromkeys(i for _, i in chosen.values()))[:WORST]

    # -- candidates ----------------------------------------------------------------------------------------------------

    def _words(self) -> set[str]:
        """The causes, and the verdict, that were found."""
        found = ((self.columns[key], i) for key, indices in self.bad.items() for i in indices.tolist())
        return {str(column.cause(i) or column.verdict(i)) for column, i in found}

    def _blamed(self) -> list[str]:
        """The stages that something is blamed on, or whose own derivative it is, by the names that were typed."""
        found: dict[str, None] = {}
        for key, indices in self.bad.items():
            column = self.columns[key]
            for i in indices.tolist():
                stage = column.details[i].stage if i in column.details else None
                if stage or column.kind == "local":
                    found[base_of(stage or column.of)] = None
        return [name for name in found if any(s.name == name for s in self.task.chain.stages)]

    def _candidates(self, start: _Candidate) -> Iterator[_Candidate]:
        """Everything that one row makes of one stage; then of one into which the stages before are put."""
        stages = start.chain.stages
        order = sorted(range(len(stages)), key=lambda k: (bool(self.blamed) and stages[k].name not in self.blamed, -k))
        rows = [row for row in ROWS if self.words & set(row.causes)]
        for inlined in (False, True):
            for k in order:
                tree = _inlined(stages, k) if inlined else stages[k].tree
                if tree is None:
                    continue
                for row in rows:
                    for new in rewritten(row, tree):
                        chain = _with(start.chain, k, new)
                        if chain is not None:
                            yield _Candidate(chain, start.stage or stages[k].name, (*start.rows, row))

    # -- the same function ---------------------------------------------------------------------------------------------

    def _same(self, chain: Chain, worst: Sequence[int]) -> bool:
        """Whether both chains have one value at some points, and at points beside them: certified to SHARP bits."""
        pairs = self._pairs(chain)
        if not pairs:
            return False
        certain = 0
        for index in worst:
            point = {name: float(values[index]) for name, values in self.points.items()}
            if not all(map(math.isfinite, point.values())):
                return False
            for near in (point, *(_beside(point, step) for step in BESIDE)):
                for old, new in pairs:
                    spent = old.work + new.work
                    outcome = _agree(old, new, near)
                    self.work += old.work + new.work - spent
                    if outcome is False or self.work > WORK:
                        return False
                    certain += bool(outcome) and near is not point
        return certain > 0

    def _pairs(self, chain: Chain) -> list[tuple[Values, Values]]:
        if self.task.shapes is None:
            return [(Values(self.task.chain), Values(chain))]
        shapes = {name: self.task.shapes[name] for name in self.task.chain.inputs}
        try:
            old, new = lower(self.task.chain, shapes), lower(chain, shapes)
        except InputError:
            return []
        if old.shapes[old.chain.output] != new.shapes[new.chain.output]:
            return []
        outputs = old.outputs[:OUTPUTS]
        return [(Values(old.entry(name)), Values(new.entry(name))) for name in outputs]

    def _values_kept(self, chain: Chain, indices: Sequence[int]) -> bool:
        """Whether torch's values of the output are as right as before, or to half of the digits, at some of the points."""
        some = list(dict.fromkeys([*self._worst(), *indices[:VALUES]]))
        (before, after), (olds, _) = (
            (self._torch(c, some) for c in (self.task.chain, chain)),
            zip(*self._pairs(chain), strict=True),
        )
        for k, index in enumerate(some):
            point = {name: exactly(float(values[index])) for name, values in self.points.items()}
            for entry, old in enumerate(olds):
                with working(BITS[0]):
                    exact = old({n: point[n] for n in old.chain.inputs}, {})
                if exact.is_finite():
                    was, now = (_error(found[k, entry], exact, self.form) for found in (before, after))
                    if now > was:
                        return False
        return True

    def _torch(self, chain: Chain, indices: Sequence[int]) -> Floats:
        """Torch's values of the entries of the output, a row a point; nan where it has none."""
        shapes = None
        if self.task.shapes is not None:
            shapes = lower(chain, {name: self.task.shapes[name] for name in self.task.chain.inputs}).shapes
        compiled = TorchChain(chain, getattr(torch, self.form.name), self.problem.device, {}, shapes)
        found: Floats = np.full((len(indices), OUTPUTS), np.nan)
        for batch in compiled.batches(self.points, indices, single=False):
            with suppress(InputError):
                output = compiled.values(batch.tensors)[chain.output].detach()
                values = as_real(output).double().numpy(force=True)
                places = [list(indices).index(i) for i in batch.points]
                rows = values.reshape(len(places), -1)[:, :OUTPUTS]
                found[places, : rows.shape[1]] = rows
        return found

    # -- the same check ------------------------------------------------------------------------------------------------

    def _mended(self, candidate: _Candidate, indices: Sequence[int], quick: bool) -> tuple[int, bool, Report] | None:
        """How many of the bad entries at some points match now, whether all of them do, and the report; None where no one does,
        or something else got worse. `quick`: derivatives that were bad at these points, and nothing else."""
        bad = {key for key, found in self.bad.items() if not quick or set(found.tolist()) & set(indices)}
        report = self._check(candidate.chain, indices, bad if quick else None)
        if report is None:
            return None
        after = {_key(c): c for c in report.columns if c.kind in _KINDS}
        mended, left = 0, 0
        for key, column in after.items():
            before = self.columns.get(key)
            if before is None:
                if column.having(Verdict.MISMATCH).any():
                    return None
                continue
            wrong = set(self.bad.get(key, np.zeros(0, dtype=int)).tolist())
            for here, there in enumerate(indices):
                was, now = _rank(before.verdict(there)), _rank(column.verdict(here))
                if now > was or not _overlap(before.exact[there], column.exact[here]):
                    return None
                if there in wrong:
                    mended += column.verdict(here) is Verdict.MATCH
                    left += column.verdict(here) is not Verdict.MATCH
        return (mended, not left, report) if mended else None

    def _confirmed(self, candidate: _Candidate) -> Remedy | None:
        """The candidate as a remedy, if the whole check says so."""
        count = len(next(iter(self.points.values())))
        indices = list(range(count))
        if count > MOST:
            wrong = np.unique(np.concatenate(list(self.bad.values())))
            spread = np.linspace(0, count - 1, MOST // 2).astype(int)
            some = wrong[np.linspace(0, len(wrong) - 1, min(len(wrong), MOST // 2)).astype(int)]
            indices = np.unique(np.concatenate([spread, some])).tolist()
        outcome = self._mended(candidate, indices, quick=False)
        if outcome is None:
            return None
        mended, _, report = outcome
        if 2 * mended < sum(len(set(found.tolist()) & set(indices)) for found in self.bad.values()):
            return None
        if not self._values_kept(candidate.chain, indices):
            return None
        original = {stage.name: stage for stage in self.task.chain.stages}
        changed = [s for s in candidate.chain.stages if original[s.name].expression != s.expression]
        stage = changed[-1]
        before: Counter[Verdict] = Counter()
        kept = {_key(c) for c in report.columns}
        for key, column in self.columns.items():
            if key in kept:
                before.update(column.verdict(i) for i in indices)
        return Remedy(
            stage=stage.name,
            expression=original[stage.name].expression,
            rewritten=stage.expression,
            others=tuple(f"{s.name} = {s.expression}" for s in changed[:-1]),
            stages=candidate.texts,
            rows=tuple(f"{row.pattern} -> {row.becomes}" for row in candidate.rows),
            causes=tuple(sorted(self.words)),
            dtype=self.form.name,
            before={v.value: before[v] for v in reversed(VERDICTS) if before[v]},
            after=report.counts,
            mended=mended,
            points=len(indices),
            of=count,
        )

    def _check(self, chain: Chain, indices: Sequence[int], only: set[Key] | None) -> Report | None:
        """The same check of another chain at some of the points; of some derivatives `only`."""
        axes = {name: tuple(values[list(indices)].tolist()) for name, values in self.points.items()}
        points = replace(self.problem.points, at=(Group(axes, grid=False),), sample=0)
        task = self._task(chain, None if only is None else {(key[2], key[3]) for key in only if key[1] == "total"})
        if task is None or self.stopped:
            return None
        problem = replace(
            self.problem,
            tasks=(task,),
            points=points,
            formats=(self.form.name,),
            modes=self.problem.modes if only is None else tuple(dict.fromkeys(key[0] for key in only)),
            local=self.problem.local and (only is None or any(key[1] == "local" for key in only)),
            claims=(),
            verbose=False,
        )
        try:
            report = check_problem(problem)
        except InputError:  # torch has no such operation in this format
            return None
        self.spent += sum(map(len, report.columns))
        self.stopped = _stopped(report)
        return None if self.stopped else report

    def _task(self, chain: Chain, only: set[tuple[str, tuple[str, ...]]] | None) -> Task | None:
        """What was asked, of another chain: derivatives by stages that it hasn't are left out."""
        if self.task.shapes is None:
            known = {*chain.inputs, *(stage.name for stage in chain.stages)}
            (question,) = self.task.questions
            asked = _kept(question, known, only)
            return Task(chain, (Question(chain, asked),)) if asked else None
        try:
            lowered = lower(chain, {name: self.task.shapes[name] for name in self.task.chain.inputs})
        except InputError:
            return None
        questions = []
        for question in self.task.questions:
            scalar = lowered.entry(question.chain.output)
            known = {*lowered.inputs, *lowered.stages}
            if self.task.unlisted:
                known = {*scalar.inputs, *(stage.name for stage in scalar.stages)}
            asked = _kept(question, known, only)
            if asked:
                questions.append(Question(scalar, asked))
        return Task(chain, tuple(questions), lowered.shapes, self.task.unlisted) if questions else None


def _kept(question: Question, known: set[str], only: set[tuple[str, tuple[str, ...]]] | None) -> tuple[tuple[str, ...], ...]:
    """The derivatives that can be asked for; those of the output where others alone were bad."""
    mine = tuple(d for d in question.derivatives if set(d) <= known)
    if not only:
        return mine if only is None else mine[:1]
    return tuple(d for d in mine if (question.chain.output, d) in only)


def _key(column: Column) -> Key:
    return column.mode, column.kind, column.of, column.wrt


def _rank(verdict: Verdict) -> int:
    return _RANK.get(verdict, 4)


def _overlap(x: Ball, y: Ball) -> bool:
    """Whether two enclosures may be of one number; where one isn't known, nothing speaks against it."""
    return x is None or y is None or not x.is_finite() or not y.is_finite() or bool(x.overlaps(y)) or _close(x, y)


def _close(x: Ball, y: Ball) -> bool:
    """Whether two numbers have their first SHARP bits in common, which no format tells apart; or both are nearly 0."""
    return bool(abs(x - y) <= abs(x) * exactly(2.0**-SHARP)) or bool(abs(x - y) < exactly(2.0**-1000))


def _agree(old: Values, new: Values, point: Mapping[str, float]) -> bool | None:
    """Whether two chains certainly have one value: None where the old one has none that is certain."""
    given = {name: exactly(value) for name, value in point.items()}
    for bits in BITS:
        with working(bits):
            x, y = (chain({n: given[n] for n in chain.chain.inputs if n in given}, {}) for chain in (old, new))
            if not x.is_finite():
                continue
            if y.is_finite() and _close(x, y):
                return True
            if y.is_finite() and not x.overlaps(y):
                return False
    return False if x.is_finite() else None


def _beside(point: Mapping[str, float], step: float) -> dict[str, float]:
    """A point beside another one, each number moved by another part."""
    return {name: value * (1 + step / (1 + k)) if value else step / (1 + k) for k, (name, value) in enumerate(point.items())}


def _error(value: float, exact: Ball, form: Format) -> float:
    """How far a float is from a ball, relative to it; below the smallest normal number nothing is."""
    if not math.isfinite(value):
        return math.inf if abs(exact) < form.largest else 0.0
    difference = abs(exact - value)
    if difference < form.smallest_normal:
        return 0.0
    error = float((difference / abs(exact)).mid()) if not exact.contains(0) else math.inf
    return 0.0 if error <= math.sqrt(form.unit_roundoff) else error


def _inlined(stages: Sequence[Stage], k: int) -> Node | None:
    """A stage with the stages that it uses put in, where it uses any."""
    trees = {stage.name: stage.tree for stage in stages[:k]}
    if not set(stages[k].inputs) & trees.keys():
        return None
    return substitute(stages[k].tree, trees)


def _with(chain: Chain, k: int, tree: Node) -> Chain | None:
    """The chain with another formula for a stage, without the stages that nothing uses any more; None where it can't be
    written down, or depends on nothing."""
    text = show(tree, LONGEST)
    if text is None:
        return None
    try:
        tree = parse(text, imaginary=frozenset())
    except InputError:
        return None
    old = chain.stages[k]
    stages = [*chain.stages]
    stages[k] = Stage(old.name, text, tree, variables(tree), f"{old.name} = {text}")
    used = {chain.output}
    kept = []
    for stage in reversed(stages):
        if stage.name in used:
            kept.append(stage)
            used |= set(stage.inputs)
    return Chain(chain.inputs, tuple(reversed(kept))) if used & set(chain.inputs) else None
