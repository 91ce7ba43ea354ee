"""A whole run: paths in, a Suite out."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gradcheck_cli.errors import InputError, first_line
from gradcheck_cli.files import expanded, from_here, link_in, named, trouble
from gradcheck_cli.suite import baseline, seals
from gradcheck_cli.suite.baseline import Comparison
from gradcheck_cli.suite.execute import FAILED, INPUT, PASSED, STATUSES, Outcome
from gradcheck_cli.suite.parallel import outcomes
from gradcheck_cli.suite.results import Results, read
from gradcheck_cli.suite.spec import PROJECT, SUFFIX, Spec, load
from gradcheck_cli.suite.workers import Conditions

TIMEOUT = 120.0
"""Seconds for a check that has no time of its own."""
MEMORY = 4 << 30
"""Bytes for each process that runs checks."""

Observer = Callable[[Outcome, int, int], None]
"""Called with each outcome as it comes, how many there are, and of how many."""


DEFAULT_RESULTS = Path(".gradcheck", "last.jsonl")
"""Where results go that aren't asked for, so that --resume and --last-failed know of the run before."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run is made.

    `results`: the file for the outcomes; None is DEFAULT_RESULTS, if that can be written. `resume`: what it holds is done;
    `last_failed`: only what didn't pass there is run. `baseline`: what is known to be wrong; `update`: write it anew.
    """

    workers: int | None = None
    backend: str = "threading"
    scheduler: str | None = None
    timeout: float = TIMEOUT
    memory: int | None = MEMORY
    strict: bool = False
    fail_fast: bool = False
    results: Path | None = None
    resume: bool = False
    last_failed: bool = False
    baseline: Path | None = None
    update: bool = False

    def __post_init__(self) -> None:
        if self.resume and self.last_failed:
            raise InputError("--resume goes on with a run, --last-failed repeats a part of it: leave one out")
        if self.update and self.baseline is None:
            raise InputError("--update-baseline needs --baseline FILE")


@dataclass(frozen=True, slots=True)
class Suite:
    """What a run found. `outcomes` in the order of the specs, whatever the order in which they came; `asked`: how many there
    should be. `failure`: why results couldn't be written; `updated`: the new content of the baseline, if one was asked for."""

    outcomes: tuple[Outcome, ...]
    asked: int
    seconds: float
    comparison: Comparison = field(default_factory=Comparison)
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    failure: str | None = None
    updated: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many failed, are undecided and passed, whether that was known or not."""
        found = Counter(outcome.status for outcome in self.outcomes)
        return {status: found[status] for status in reversed(STATUSES) if found[status]}

    @property
    def new(self) -> tuple[Outcome, ...]:
        """What didn't pass and isn't known, the worst first."""
        wrong = (o for o in self.outcomes if o.status != PASSED and o.spec_id not in self.comparison.known)
        return tuple(sorted(wrong, key=lambda outcome: outcome.severity, reverse=True))

    @property
    def exit_code(self) -> int:
        """0 all passed (or known), 1 something failed, 2 bad input of a check or results that couldn't be written, 3 something
        undecided, not run, or nothing to run."""
        if any(outcome.status == FAILED and outcome.fault != INPUT for outcome in self.new):
            return 1
        if self.failure is not None or any(outcome.fault == INPUT for outcome in self.new):
            return 2
        return 3 if self.new or len(self.outcomes) < self.asked or not self.outcomes else 0


def collect(paths: Iterable[str], defaults: Mapping[str, Any] | None = None, folder: Path = Path()) -> tuple[Spec, ...]:
    """The checks of spec files and of folders of them, in the order given, each file once. Of a folder, every .toml below it is
    taken, but for pyproject.toml and what is hidden."""
    files: dict[Path, Path] = {}
    for text in paths:
        path = named(os.path.relpath(folder / text) if folder.parts else expanded(text), "read the spec")
        if path.is_dir() and link_in(path) is not None:
            raise InputError(f"{path}: a symbolic link, and what it leads to isn't searched for specs", text, 0)
        found = sorted(_below(path)) if path.is_dir() else [path]
        if not found:
            raise InputError(f"no spec file (*{SUFFIX}) in this folder", text, 0)
        with trouble("read the spec", text):
            for file in found:
                files.setdefault(_resolved(file), file)
    return tuple(spec for file, written in files.items() for spec in load(written, from_here(file), defaults))


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except RuntimeError as problem:  # links in a circle
        raise OSError(None, str(problem)) from None


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, n) for n in names if n.endswith(SUFFIX) and n != PROJECT and not n.startswith("."))


def refuse_code(specs: Iterable[Spec]) -> None:
    """InputError where a check would import, hence execute, code of the user."""
    for spec in specs:
        if spec.executes:
            raise InputError(f"{spec.file}:{spec.line}: --no-python refuses this check: it imports code", str(spec.target), 0)


def run(specs: Sequence[Spec], plan: Plan, observe: Observer | None = None, existing: Sequence[Spec] | None = None) -> Suite:
    """Run the checks, and keep their outcomes. Ctrl-C ends the run with the outcomes so far. `existing`: all checks that there
    are, where these are but some of them."""
    start = time.monotonic()
    conditions = Conditions(plan.timeout, plan.memory, plan.strict, os.getcwd())
    known = {} if plan.baseline is None or (plan.update and not plan.baseline.exists()) else baseline.load(plan.baseline)
    notes: list[str] = []
    done: dict[str, Outcome] = {}
    interrupted = False
    with ExitStack() as stack:
        file = _open(plan, stack, notes, existing or specs, {spec.id for spec in specs})
        if file is not None and (plan.resume or plan.last_failed):
            specs, done = _before(specs, read(file.path), plan, notes)
        left = [spec for spec in specs if spec.id not in done]
        codes = {spec.id: seals.code_of(spec) for spec in left}  # as it is before it runs
        made = outcomes(left, conditions, workers=plan.workers, backend=plan.backend, scheduler=plan.scheduler)
        stack.enter_context(closing(made))
        try:
            for found_now in made:
                outcome = replace(found_now, seal=seals.seal(found_now, codes.get(found_now.spec_id), plan.strict))
                done[outcome.spec_id] = outcome
                if file is not None:
                    file.append(outcome)
                if observe is not None:
                    observe(outcome, len(done), len(specs))
                if plan.fail_fast and outcome.status == FAILED and not baseline.compare([outcome], known).known:
                    notes.append("stopped at the first failure")
                    break
        except KeyboardInterrupt:
            interrupted = True
    found = tuple(done[spec.id] for spec in specs if spec.id in done)
    comparison, updated = baseline.compare(found, known), None
    if plan.update and not interrupted:
        every = existing or specs
        assert plan.baseline is not None
        now = baseline.update(found, known, {spec.id for spec in every}, {spec.file for spec in every})
        same = baseline.compare(found, now)
        comparison, updated = replace(comparison, known=same.known, changed={}), baseline.text(now, plan.baseline.parent)
    failure = None if file is None else file.failure
    seconds = time.monotonic() - start
    return Suite(found, len(specs), seconds, comparison, interrupted, tuple(notes), failure, updated)


def _open(
    plan: Plan, stack: ExitStack, notes: list[str], every: Sequence[Spec] = (), run: Container[str] = ()
) -> Results | None:
    """The file for the outcomes; None where it wasn't asked for and can't be written. Where nobody named it, it keeps what is
    known of the checks that aren't `run` this time, of `every` one that there is: --last-failed goes on from that."""
    keep = plan.resume or plan.last_failed
    path = plan.results or DEFAULT_RESULTS
    if not named(path, "use the results").exists() and plan.last_failed:
        raise InputError("there are no results of a run before", str(path), 0)
    if plan.resume and not path.exists():
        notes.append(f"there is nothing to resume: {path} isn't there")
    if plan.results is not None or keep:
        return stack.enter_context(Results(path, resume=keep))
    try:
        if not path.parent.exists():
            path.parent.mkdir()
            path.with_name(".gitignore").write_text("*\n")
        before = _earlier(path)
        file = stack.enter_context(Results(path))
        kept = baseline.remaining(before, {spec.id for spec in every}, {spec.file for spec in every})
        file.append(*(outcome for id, outcome in kept.items() if id not in run))
        return file
    except (OSError, InputError) as problem:
        notes.append(f"results aren't kept: {first_line(problem)}")
        return None


def _earlier(path: Path) -> dict[str, Outcome]:
    """What the run before left; nothing where that can't be read."""
    try:
        return read(path) if path.exists() else {}
    except InputError:
        return {}


def not_passed(specs: Sequence[Spec], earlier: Mapping[str, Outcome]) -> list[Spec]:
    """Those that didn't pass in the run before."""
    return [spec for spec in specs if spec.id in earlier and earlier[spec.id].status != PASSED]


def _before(
    specs: Sequence[Spec], earlier: Mapping[str, Outcome], plan: Plan, notes: list[str]
) -> tuple[Sequence[Spec], dict[str, Outcome]]:
    """The checks to deal with, and the outcomes of those that are done: unchanged since they were run."""
    if plan.last_failed:
        failed = not_passed(specs, earlier)
        if not failed:
            notes.append("nothing failed in the run before: all are run")
        return failed or specs, {}
    before = [spec for spec in specs if spec.id in earlier]
    done = {s.id: replace(earlier[s.id], line=s.line) for s in before if seals.holds(earlier[s.id], s, plan.strict)}
    if earlier:
        notes.append(f"{len(done):,} of {len(specs):,} were done before")
    if len(done) < len(before):
        notes.append(f"{len(before) - len(done):,} are run again: the check, its code or the results changed, or are another's")
    return specs, done
