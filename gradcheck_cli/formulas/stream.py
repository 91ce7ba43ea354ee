"""Every float of a format, more than anybody could keep: block by block, each an ordinary check whose report is summed up.

Blocks run in the order of the floats, on several processes if there are many, and what is finished is neither lost nor done
twice: see `journal`. What wasn't looked at is undecided: a part is no proof.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from gradcheck_cli.errors import InputError
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.formulas.check import check_problem, described
from gradcheck_cli.formulas.problem import Problem
from gradcheck_cli.journal import LONGEST, Journal
from gradcheck_cli.keys import signature, signed
from gradcheck_cli.language import spaces
from gradcheck_cli.language.spaces import Group, PointSpec
from gradcheck_cli.maps.map import check_device
from gradcheck_cli.verdict.column import UNSEEN, Column, Kind
from gradcheck_cli.verdict.report import Report, versions
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.summary import FIRST, Summary
from gradcheck_cli.verdict.verdicts import Verdict
from gradcheck_cli.verdict.work import STOPPED, TICK, Progress, patience

AHEAD = 2
"""Blocks that are handed out for each process: one that it works at, one that waits."""

SPANS = 4
"""Stretches of floats that are named where not all were looked at."""


@dataclass(frozen=True)
class Request:
    """How a problem is gone through. `workers`: processes (None: the cores); `resume`: the file that keeps what is done;
    `block`: points that are checked together, if not as many as usual."""

    workers: int | None = None
    resume: Path | None = None
    block: int | None = None


@dataclass(frozen=True)
class _Block:
    """Some points of one format: from the number `start` of all that are asked for."""

    form: str
    points: PointSpec
    start: int
    count: int

    @property
    def name(self) -> list[Any]:
        return [self.form, self.start, self.count]


@dataclass
class _State:
    """How far a run is. `deadline`, `limit`: when it has to end, and what is said then; `notes`: the blocks'."""

    blocks: Sequence[_Block]
    deadline: float
    limit: str
    found: dict[int, Summary] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ended: str = ""


def refuse(problem: Problem) -> None:
    """InputError for what can't be asked of so many points."""
    if problem.claims:
        raise InputError(
            "a claim is judged point by point: not at every float of a format of 32 bits; check the others without"
        )


def check_stream(problem: Problem, progress: Progress | None = None, request: Request | None = None) -> Report:
    """Check a problem of which some formats stream. Ctrl-C ends it with what is finished, and so does the timeout."""
    request = request or Request()
    refuse(problem)
    check_device(problem.device)
    start, reports, notes = time.monotonic(), [], []
    progress = patience(problem.command, problem.timeout) if progress is None else progress
    for name in problem.formats:
        part = replace(problem, formats=(name,))
        if problem.points.streams(FORMATS[name]):
            report = _streamed(part, progress, request, start + problem.timeout)
        else:
            report = check_problem(replace(part, timeout=max(start + problem.timeout - time.monotonic(), 0.0)), progress)
        reports.append(report)
        notes += report.notes
    columns = [column for report in reports for column in report.columns]
    return Report(problem.command, described(problem), columns, versions(), problem.strict, list(dict.fromkeys(notes)))


def listed(problem: Problem, report: Report, name: str) -> tuple[Problem, Report]:
    """The same check of one format at the points that are kept, and what was found there."""
    columns = [replace(column, tally=None) for column in report.columns if column.dtype == name and len(column)]
    spec = problem.points
    points = next((c.scope.numbers for c in columns if isinstance(c.scope, AtPoints)), {})
    group = Group({entry: tuple(values.tolist()) for entry, values in points.items()}, False)
    small = replace(problem, formats=(name,), points=replace(spec, at=(group,), sample=0))
    return small, replace(report, columns=columns, notes=list(report.notes), sought=[])


def _streamed(problem: Problem, progress: Progress | None, request: Request, deadline: float) -> Report:
    """The report on one format."""
    (name,) = problem.formats
    state = _State(
        _blocks(problem, name, request.block or spaces.BLOCK), deadline, f"{STOPPED} {problem.timeout:g} s (--timeout)"
    )
    with ExitStack() as stack:
        journal = None
        if request.resume is not None:
            journal = stack.enter_context(_Kept(request.resume, problem))
            state.found |= journal.earlier(state.blocks)
        before = len(state.found)
        left = [number for number in range(len(state.blocks)) if number not in state.found]
        workers = min(request.workers or _cores(), len(left))
        made = _here(problem, state, left, progress) if workers < 2 else _elsewhere(problem, state, left, progress, workers)
        stack.enter_context(closing(made))
        try:
            for number, summary in made:
                state.found[number] = summary
                if journal is not None:
                    journal.keep(state.blocks[number], summary)
        except KeyboardInterrupt:
            state.ended = "interrupted"
        failure = None if journal is None else journal.failure
    notes = [*_coverage(problem, state, request, before), *([failure] if failure else []), *dict.fromkeys(state.notes)]
    return Report(problem.command, described(problem), _columns(problem, state), versions(), problem.strict, notes)


def _blocks(problem: Problem, name: str, size: int) -> list[_Block]:
    found, start = [], 0
    for points in problem.points.blocks(FORMATS[name], size):
        count = points.count(FORMATS[name])
        found.append(_Block(name, points, start, count))
        start += count
    return found


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# -- running ------------------------------------------------------------------------------------------------------------


def _judged(problem: Problem, block: _Block, progress: Progress | None = None) -> tuple[Summary | None, list[str]]:
    """One block: an ordinary check, summed up; None where time was up before its end."""
    report = check_problem(replace(problem, points=block.points), progress or _silent)
    ended = any(note.startswith(STOPPED) for note in report.notes)
    return (None if ended else Summary.of(report.columns, block.start)), ([] if ended else report.notes)


def _silent(done: int, total: int, text: str) -> None:
    """Nobody is told of a single block."""


class _Pace:
    """Tells how far a run is: points done, of how many, how many a second, and how long the rest takes at this pace."""

    def __init__(self, problem: Problem, state: _State, progress: Progress | None) -> None:
        self.progress, self.name = progress or _silent, problem.formats[0]
        self.total = sum(block.count for block in state.blocks)
        self.before = self.done = sum(state.blocks[number].count for number in state.found)
        self.start = time.monotonic()

    def tell(self, more: float = 0) -> None:
        """So many points are done besides those of finished blocks."""
        done, spent = self.done + int(more), time.monotonic() - self.start
        text = self.name
        if done > self.before and spent > TICK:
            rate = (done - self.before) / spent
            text = f"{self.name}, {rate / 1e6:.2f} million a second, {_long((self.total - done) / rate)} left"
        self.progress(done, self.total, text)


def _long(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`"""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _here(problem: Problem, state: _State, left: Sequence[int], progress: Progress | None) -> Generator[tuple[int, Summary]]:
    """The blocks one after the other, in this process."""
    pace = _Pace(problem, state, progress)
    for number in left:
        block = state.blocks[number]

        def told(done: int, total: int, text: str, count: int = block.count) -> None:
            pace.tell(count * done / max(total, 1))

        remaining = state.deadline - time.monotonic()
        summary, notes = _judged(replace(problem, timeout=remaining), block, told) if remaining > 0 else (None, [])
        state.notes += notes
        if summary is None:
            state.ended = state.limit
            return
        pace.done += block.count
        pace.tell()
        yield number, summary


def _elsewhere(
    problem: Problem, state: _State, left: Sequence[int], progress: Progress | None, workers: int
) -> Generator[tuple[int, Summary]]:
    """The blocks on several processes of joblib's, each with one thread, as they are finished."""
    from joblib.externals.loky import ProcessPoolExecutor

    # one that has grown is replaced, and what it was to do is done by another
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given", category=UserWarning)
    pace = _Pace(problem, state, progress)
    single = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    executor = ProcessPoolExecutor(workers, initializer=_prepare, env={**single, "PYTHONSAFEPATH": "1"})
    sent = replace(problem, callables=dict(problem.callables), timeout=math.inf)
    waiting, running = list(reversed(left)), dict[Future[Any], int]()
    try:
        while waiting or running:
            while waiting and len(running) < AHEAD * workers:
                number = waiting.pop()
                running[executor.submit(_plainly, sent, state.blocks[number])] = number
            finished, _ = wait(running, min(TICK, max(state.deadline - time.monotonic(), 0.0)), FIRST_COMPLETED)
            for future in finished:
                number = running.pop(future)
                plain, notes = future.result()
                state.notes += notes
                pace.done += state.blocks[number].count
                yield number, Summary.read(plain)
            pace.tell()
            if time.monotonic() >= state.deadline and (waiting or running):
                state.ended = state.limit
                return
    except BrokenProcessPool:
        state.ended = "a process died, of a lack of memory or killed from outside"
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def _prepare() -> None:
    """A process of the pool: one thread, and Ctrl-C is its owner's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)


def _plainly(problem: Problem, block: _Block) -> tuple[dict[str, Any], list[str]]:
    """What a process of the pool answers."""
    summary, notes = _judged(problem, block)
    assert summary is not None  # there is no limit of time here
    return summary.plain(), notes


# -- what is kept ---------------------------------------------------------------------------------------------------------


class _Kept(Journal):
    """Summaries of blocks: lines with what was asked, the block, what was found, and this user's own signature of all that."""

    def __init__(self, path: Path, problem: Problem) -> None:
        if problem.callables:
            raise InputError("what a callable computes can't be told from a file: --resume is for formulas alone")
        self.asked = _asked(problem)
        super().__init__(path, json.loads, resume=True)

    def keep(self, block: _Block, summary: Summary) -> None:
        """Write a line."""
        kept = [self.asked, block.name, summary.plain()]
        self.write(json.dumps([*kept, signature(_text(kept))], allow_nan=False))

    def earlier(self, blocks: Sequence[_Block]) -> dict[int, Summary]:
        """Of the same check, by this user and these versions, the blocks that were finished."""
        numbers = {json.dumps(block.name): number for number, block in enumerate(blocks)}
        found = {}
        with self.path.open("rb") as file:
            for line in iter(lambda: file.readline(LONGEST), b""):
                try:
                    *kept, seal = json.loads(line)
                    asked, name, plain = kept
                    number = numbers.get(json.dumps(name))
                    if asked == self.asked and number is not None and signed(_text(kept), str(seal)):
                        found[number] = Summary.read(plain)
                except (ValueError, TypeError):  # somebody else's line
                    continue
        return found


def _text(kept: Sequence[Any]) -> str:
    return json.dumps(list(kept), sort_keys=True)


def _asked(problem: Problem) -> Any:
    """All that the answer depends on but the points of a block."""
    asked = {
        "command": problem.command,
        "problem": described(problem),
        "derivatives": [[question.chain.output, question.derivatives] for task in problem.tasks for question in task.questions],
        "points": repr(problem.points.at),
        "local": problem.local,
        "device": problem.device,
        "limits": repr(problem.limits),
        "columns": os.environ.get("GRADCHECK_COLUMNS", "on"),
        "versions": versions(),
    }
    return json.loads(json.dumps(asked))


# -- what is said ---------------------------------------------------------------------------------------------------------


def _columns(problem: Problem, state: _State) -> list[Column]:
    """Of all blocks together; what no block has come to is undecided."""
    found = Summary.merged(list(state.found.values()))
    unseen = [block for number, block in enumerate(state.blocks) if number not in state.found]
    if not unseen:
        return found.columns
    form = FORMATS[problem.formats[0]]
    first, last = unseen[0].points.ends(form)[0], unseen[-1].points.ends(form)[1]
    points = {name: np.array([first[name], last[name]]) for name in first}
    count = sum(block.count for block in unseen)
    blanks = [_unseen(column, points, count) for column in found.columns or _asked_for(problem)]
    return Summary.merged([found, Summary(blanks, [unseen[0].start, unseen[-1].start + unseen[-1].count - 1])]).columns


def _asked_for(problem: Problem) -> list[Column]:
    """A column for each derivative, where nothing is known of any."""
    (dtype,) = problem.formats
    return [
        Column.blank(AtPoints({}), 0, of=question.chain.output, wrt=wrt, mode=mode, dtype=dtype)
        for mode in problem.modes
        for task in problem.tasks
        for question in task.questions
        for wrt in question.derivatives
    ]


def _unseen(column: Column, points: Mapping[str, Any], count: int) -> Column:
    """Two entries, at the first and the last point that wasn't looked at, which stand for all of them."""
    inputs = None
    if isinstance(column.scope, AtPoints) and column.scope.inputs is not None:
        inputs = {name: np.full(2, np.nan) for name in column.scope.inputs}
    scope = AtPoints(points, getattr(column.scope, "shapes", {}), inputs)
    values = None if column.values is None else np.full(2, np.nan)
    blank = Column.blank(
        scope, 2, of=column.of, wrt=column.wrt, kind=column.kind, mode=column.mode, dtype=column.dtype, values=values
    )
    blank.mark([0, 1], Verdict.UNDECIDED, UNSEEN)
    blank.tally = {Kind(Verdict.UNDECIDED, text=UNSEEN): count}
    return blank


def _coverage(problem: Problem, state: _State, request: Request, before: int) -> Iterator[str]:
    """Which points were looked at."""
    (name,) = problem.formats
    total, done = sum(b.count for b in state.blocks), sum(state.blocks[number].count for number in state.found)
    kept = f"of each kind the first {FIRST}, the last and the worst are listed"
    if before:
        yield f"{before:,} of {len(state.blocks):,} blocks of {name} were done before"
    if done == total:
        yield f"every one of {total:,} points of {name} was looked at; {kept}"
        return
    runs = [list(group) for _, group in groupby(enumerate(sorted(state.found)), lambda pair: pair[1] - pair[0])]
    spans = [_span(state.blocks[run[0][1]], state.blocks[run[-1][1]]) for run in runs[:SPANS]]
    more = ", ..." if len(runs) > SPANS else ""
    where = f" ({'; '.join(spans)}{more})" if spans else ""
    reason = f"{state.ended}: " if state.ended else ""
    again = f"; --resume {request.resume} goes on" if request.resume else "; with --resume FILE the next run goes on"
    yield f"{reason}{done:,} of {total:,} points of {name} were looked at{where}, the others are undecided{again}"
    yield kept


def _span(first: _Block, last: _Block) -> str:
    """`x from -3 to -1`"""
    start, stop = first.points.ends(FORMATS[first.form])[0], last.points.ends(FORMATS[last.form])[1]
    return ", ".join(f"{name} from {start[name]:.9g} to {stop[name]:.9g}" for name in start)
