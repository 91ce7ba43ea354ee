"""One Spec in, one Outcome out: the check is run by its Python twin, in this process, and held against what was expected."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import InputError, Raised
from gradcheck_cli.files import expanded
from gradcheck_cli.stored import moved
from gradcheck_cli.suite.findings import Wrong, found
from gradcheck_cli.suite.shape import checked
from gradcheck_cli.suite.spec import Spec
from gradcheck_cli.verdict.verdicts import Verdict

if TYPE_CHECKING:
    from gradcheck_cli.api import Answer
    from gradcheck_cli.verdict.report import Report

PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"
STATUSES = (PASSED, UNDECIDED, FAILED)
"""Mildest first."""

INPUT, RAISED, CRASH, TIMEOUT, MEMORY = "input", "raised", "crash", "timeout", "memory"
"""Why a check has no verdict: bad input of it, or an error of the code that it runs (both count as failed), or what happened to
its process (undecided)."""
_FAULTS = {INPUT: "bad input", RAISED: "the code raises", CRASH: "crashed", TIMEOUT: "timed out", MEMORY: "out of memory"}

CODE_TOO = ("reference", "surrogate")
"""Options that may name code as a target does."""

STORED = ("at",)
"""Options that may name files of tensors."""

LONGEST = 20_000
"""Characters of a report's text that it keeps."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one check: one line of a results file.

    `verdict` and `cause`: the worst of the report; None where there is no report, and then `fault` (input, raised, crash,
    timeout or memory) and `error` say why. `expected`: "match", "mismatch (kink)". `report`: Report.to_dict(), its checks cut
    to those that aren't a match, worst first, at most LISTED; `text`: the report as the command prints it, of a check that
    didn't pass.
    `findings`: where and how it is wrong, "dy/dx float64 reverse: kink", and `wrong`, the numbers there, by which a baseline
    knows it again (see `findings`). `nans`: entries that pass, without a derivative, and with a gradient that is nan. `asked`:
    Spec.asked(). `seal`: see `seals`.
    """

    spec_id: str
    name: str
    kind: str
    file: str
    line: int
    status: str
    verdict: str | None
    cause: str | None
    expected: str
    seconds: float
    error: str | None = None
    fault: str | None = None
    report: dict[str, Any] | None = None
    text: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    wrong: dict[str, Wrong] = field(default_factory=dict)
    nans: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    seed: int | None = None
    asked: dict[str, Any] = field(default_factory=dict)
    seal: str | None = None

    @property
    def found(self) -> str:
        """`mismatch (kink)`, or the fault in words."""
        if self.verdict is None:
            return _FAULTS.get(self.fault or "", UNDECIDED)
        return f"{self.verdict} ({self.cause})" if self.cause else self.verdict

    @property
    def target(self) -> str | list[str] | None:
        """What was checked."""
        return self.asked.get("target")

    @property
    def plain(self) -> bool:
        """A match that was expected: nothing to read."""
        return self.status == PASSED and self.verdict == Verdict.MATCH

    @property
    def severity(self) -> tuple[int, int]:
        """What to read first has the largest."""
        verdicts = [verdict.value for verdict in Verdict]
        return STATUSES.index(self.status), len(verdicts) if self.verdict is None else verdicts.index(self.verdict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Outcome:
        """The Outcome that gave this; ValueError where none did."""
        return cls(**{**checked(given), "findings": tuple(given.get("findings", ()))})


def execute(spec: Spec, path: Path | None = None, *, timeout: float | None = None, strict: bool = False) -> Outcome:
    """Run one check, here and now. Never raises; what the check's own code prints goes to stderr.

    `path`: of the spec file, where it isn't `spec.file`. `timeout` holds where the spec has none; what isn't finished then is
    undecided.
    """
    start = time.monotonic()
    options = dict(spec.options)
    if timeout is not None:
        options.setdefault("timeout", timeout)
    if strict:
        options["strict"] = True
    try:
        with redirect_stdout(sys.stderr):
            report = question(spec, path or Path(spec.file), options)()
            return _judged(spec, report, time.monotonic() - start)
    except InputError as problem:
        fault = MEMORY if starved(str(problem)) else RAISED if isinstance(problem, Raised) else INPUT
        return broken(spec, fault, str(problem), time.monotonic() - start)
    except (Exception, SystemExit) as problem:
        text = " ".join(f"{type(problem).__name__}: {problem}".split())[:1000]
        return broken(spec, MEMORY if starved(text) else CRASH, text, time.monotonic() - start)


def broken(spec: Spec, fault: str, error: str, seconds: float) -> Outcome:
    """The outcome of a check without a report: what is the author's to mend fails, the rest is undecided."""
    return Outcome(
        spec_id=spec.id, name=spec.name, kind=spec.kind, file=spec.file, line=spec.line,
        status=FAILED if fault in (INPUT, RAISED) else UNDECIDED, verdict=None, cause=None, expected=spec.expected,
        seconds=round(seconds, 3), error=error, fault=fault, asked=spec.asked(),
    )  # fmt: skip


def question(spec: Spec, path: Path, options: dict[str, Any]) -> Answer:
    """What a check asks, in the words of its twin. InputError where that can't be meant; no code of the user runs yet."""
    from gradcheck_cli.api import QUESTIONS

    target: Any = list(spec.target) if isinstance(spec.target, tuple) else spec.target
    if spec.executes and ":" not in str(target):
        raise InputError("a check of a spec names what is checked: FILE.py:NAME", str(target), len(str(target)))
    if spec.executes:
        target = beside(target, path)
        options |= {name: beside(options[name], path) for name in CODE_TOO if name in options}
    options |= {name: moved(options[name], lambda file: next_to(file, path)) for name in STORED if name in options}
    return QUESTIONS[spec.kind](target, **options)


def beside(target: str, path: Path) -> str:
    """A target in a file, whose path is one from the spec's folder; without the `..` that a symbolic link doesn't need."""
    return next_to(target, path) if target.partition(":")[0].endswith(".py") else target


def next_to(file: str, path: Path) -> str:
    """The same of any file."""
    found = path.parent / expanded(file)
    plain = Path(os.path.normpath(found))
    return str(plain if plain.parent.resolve() == found.parent.resolve() else found)


def _judged(spec: Spec, report: Report, seconds: float) -> Outcome:
    """The report held against what the spec expects."""
    what = found(report)
    verdict = report.verdict
    unexpected = [cause for cause in what.causes if spec.cause is not None and cause != spec.cause]
    status = _status(spec, report, not unexpected)
    return Outcome(
        spec_id=spec.id,
        name=spec.name,
        kind=spec.kind,
        file=spec.file,
        line=spec.line,
        status=status,
        verdict=verdict.value,
        cause=next(iter([*unexpected, *what.causes]), None) if verdict is Verdict.MISMATCH else None,
        expected=spec.expected,
        seconds=round(seconds, 3),
        report=report.to_dict(what.worst),
        text=None if status == PASSED else str(report)[:LONGEST],
        counts=report.counts,
        findings=what.findings,
        wrong=what.wrong,
        nans=what.nans,
        versions=dict(report.versions),
        seed=report.problem.get("seed"),
        asked=spec.asked(),
    )


def _status(spec: Spec, report: Report, causes_hold: bool) -> str:
    if spec.expect is not Verdict.MATCH:
        if report.verdict is spec.expect and causes_hold:
            return PASSED
        return UNDECIDED if report.verdict is Verdict.UNDECIDED else FAILED
    return {0: PASSED, 3: UNDECIDED}.get(report.exit_code, FAILED)


_STARVED = ("MemoryError", "allocate memory", "Unable to allocate", "alloc_cpu", "bad_alloc", "can't start new thread")


def starved(text: str) -> bool:
    """Whether an error says that memory ran out, wherever on the way it was noticed."""
    return any(word in text for word in _STARVED)
