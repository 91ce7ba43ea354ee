"""One Spec in, one Outcome out: the check is run by its Python twin, in this process, and held against what was expected."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import InputError
from gradcheck_cli.files import expanded
from gradcheck_cli.suite.shape import checked
from gradcheck_cli.suite.spec import Spec
from gradcheck_cli.verdict.verdicts import Verdict

if TYPE_CHECKING:
    from gradcheck_cli.verdict.column import Check, Column
    from gradcheck_cli.verdict.report import Report

PASSED, FAILED, UNDECIDED = "passed", "failed", "undecided"
STATUSES = (PASSED, UNDECIDED, FAILED)
"""Mildest first."""

INPUT, CRASH, TIMEOUT, MEMORY = "input", "crash", "timeout", "memory"
"""Why a check has no verdict: bad input of the check (which counts as failed), or what happened to its process (undecided)."""
_FAULTS = {INPUT: "bad input", CRASH: "crashed", TIMEOUT: "timed out", MEMORY: "out of memory"}

CODE_TOO = ("surrogate",)
"""Options that may name code as a target does."""

LISTED = 20
"""Entries of a report that an outcome keeps."""
FINDINGS = 200
"""Findings that it keeps."""
LONGEST = 20_000
"""Characters of a report's text that it keeps."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one check: one line of a results file.

    `verdict` and `cause`: the worst of the report; None where there is no report, and then `fault` (input, crash, timeout or
    memory) and `error` say why. `expected`: "match", "mismatch (kink)". `report`: Report.to_dict(), its checks cut to those
    that aren't a match, worst first, at most LISTED; `text`: the report as the command prints it, of a check that didn't pass.
    `findings`: where and how it is wrong, "dy/dx float64 reverse: kink", by which a baseline knows it again. `asked`:
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
            report = _run(spec, path or Path(spec.file), options)
            return _judged(spec, report, time.monotonic() - start)
    except InputError as problem:
        return broken(spec, MEMORY if starved(str(problem)) else INPUT, str(problem), time.monotonic() - start)
    except (Exception, SystemExit) as problem:
        text = " ".join(f"{type(problem).__name__}: {problem}".split())[:1000]
        return broken(spec, MEMORY if starved(text) else CRASH, text, time.monotonic() - start)


def broken(spec: Spec, fault: str, error: str, seconds: float) -> Outcome:
    """The outcome of a check without a report: bad input is the author's to mend and fails, the rest is undecided."""
    return Outcome(
        spec_id=spec.id, name=spec.name, kind=spec.kind, file=spec.file, line=spec.line,
        status=FAILED if fault == INPUT else UNDECIDED, verdict=None, cause=None, expected=spec.expected,
        seconds=round(seconds, 3), error=error, fault=fault, asked=spec.asked(),
    )  # fmt: skip


def _run(spec: Spec, path: Path, options: dict[str, Any]) -> Report:
    from gradcheck_cli.api import TWINS

    target: Any = list(spec.target) if isinstance(spec.target, tuple) else spec.target
    if spec.executes and ":" not in str(target):
        raise InputError("a check of a spec names what is checked: FILE.py:NAME", str(target), len(str(target)))
    if spec.executes:
        target = beside(target, path)
        options |= {name: beside(options[name], path) for name in CODE_TOO if name in options}
    return TWINS[spec.kind](target, **options)


def beside(target: str, path: Path) -> str:
    """A target in a file, whose path is one from the spec's folder."""
    return str(path.parent / expanded(target)) if target.partition(":")[0].endswith(".py") else target


def _judged(spec: Spec, report: Report, seconds: float) -> Outcome:
    """The report held against what the spec expects."""
    worst, findings, causes = _read(report)
    verdict = report.verdict
    unexpected = [cause for cause in causes if spec.cause is not None and cause != spec.cause]
    status = _status(spec, report, not unexpected)
    return Outcome(
        spec_id=spec.id,
        name=spec.name,
        kind=spec.kind,
        file=spec.file,
        line=spec.line,
        status=status,
        verdict=verdict.value,
        cause=next(iter([*unexpected, *causes]), None) if verdict is Verdict.MISMATCH else None,
        expected=spec.expected,
        seconds=round(seconds, 3),
        report=report.to_dict(worst),
        text=None if status == PASSED else str(report)[:LONGEST],
        counts=report.counts,
        findings=findings,
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


def _read(report: Report) -> tuple[list[Check], tuple[str, ...], list[str]]:
    """The entries that are no match, the worst first and only the worst (of those what could be explained); the findings; the
    causes of mismatches, that of the worst entry first. Entries that match cost nothing here."""
    import numpy as np

    wanted = [Verdict.MISMATCH, Verdict.UNDECIDED, *([Verdict.IMPRECISE] if report.strict else [])]
    codes = [verdict.severity for verdict in wanted]
    entries: list[tuple[int, bool, float, Column, int]] = []
    findings: set[str] = set()
    causes: dict[str, None] = {}
    for column in report.columns:
        strange = np.flatnonzero(~column.having(Verdict.MATCH))
        severity = column.verdicts[strange].astype(np.int64)
        errors = np.nan_to_num(column.error_ulps[strange], nan=-1.0, posinf=np.inf)
        for k in np.lexsort((-errors, -severity))[:LISTED].tolist():
            index = int(strange[k])
            explained = index in column.details and column.details[index].text is not None
            entries.append((int(severity[k]), explained, float(errors[k]), column, index))
        for index in np.flatnonzero(np.isin(column.verdicts, codes)).tolist():
            cause = column.cause(index) if column.verdict(index) is Verdict.MISMATCH else None
            label = column.label(index).quantity
            findings.add(f"{label} {column.dtype} {column.mode}: {(cause or column.verdict(index)).value}")
            causes |= {cause.value: None} if cause is not None else {}
    entries.sort(key=lambda entry: entry[:3], reverse=True)
    worst = [column.check(index) for *_, column, index in entries[:LISTED]]
    first = [check.cause.value for check in worst[:1] if check.cause is not None and check.cause.value in causes]
    listed = sorted(findings)
    more = [f"... {len(listed) - FINDINGS:,} more"] if len(listed) > FINDINGS else []
    return worst, tuple(listed[:FINDINGS] + more), list(dict.fromkeys([*first, *causes]))


_STARVED = ("MemoryError", "allocate memory", "Unable to allocate", "alloc_cpu", "bad_alloc", "can't start new thread")


def starved(text: str) -> bool:
    """Whether an error says that memory ran out, wherever on the way it was noticed."""
    return any(word in text for word in _STARVED)
