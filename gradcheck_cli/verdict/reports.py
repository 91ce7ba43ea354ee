"""Several reports as one: of everything in a file that can be checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gradcheck_cli.errors import InputError
from gradcheck_cli.verdict.column import Check
from gradcheck_cli.verdict.report import SCHEMA, Report, versions
from gradcheck_cli.verdict.work import Progress

SHORTEST = 0.01
"""Seconds that a target has, where none is left: it is undecided, and the report says why."""


@dataclass(repr=False)
class Reports(Report):
    """A report a target, by FILE.py:NAME, and what is left out with the reason. As a Report it holds the columns of all; its
    verdict and its exit code are the worst."""

    reports: dict[str, Report] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        codes = {report.exit_code for report in self.reports.values()}
        return next((code for code in (1, 3) if code in codes), 0)

    def to_dict(self, checks: Iterable[Check] | None = None) -> dict[str, Any]:
        """As that of a Report, but for `targets`, a report each, in place of the checks, and `left`: name -> why."""
        return {
            "schema": SCHEMA,
            "command": self.command,
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "problem": dict(self.problem),
            "targets": [{"target": target, **report.to_dict()} for target, report in self.reports.items()],
            "left": dict(self.left),
            "counts": self.counts,
            "notes": list(self.notes),
            "versions": dict(self.versions),
        }


def gathered(
    command: str,
    place: str,
    targets: Iterable[str],
    left: Mapping[str, str],
    check: Callable[..., Report],
    *,
    strict: bool,
    timeout: float,
    progress: Progress | None = None,
) -> Reports:
    """Check every target, within the time for all. What is bad input of one (it wants shapes that nobody can guess) is left out
    with the reason; InputError where that goes for all."""
    start = time.monotonic()
    reports: dict[str, Report] = {}
    out = dict(left)
    for target in targets:
        name = target.rpartition(":")[2]

        def told(done: int, total: int, text: str, name: str = name) -> None:
            if progress is not None:
                progress(done, total, f"{name}: {text}")

        try:
            reports[target] = check(target, timeout=max(timeout - (time.monotonic() - start), SHORTEST), progress=told)
        except InputError as refusal:
            out[name] = refusal.message.removeprefix(f"{name}: ")
        except (SystemExit, GeneratorExit) as end:
            out[name] = f"it ends the process: {type(end).__name__}({end})"
    if not reports:
        said = "".join(f"\n  {name}: {reason}" for name, reason in out.items())
        raise Nothing(f"nothing in {place} can be checked:", said)
    columns = [column for report in reports.values() for column in report.columns]
    problem: dict[str, Any] = {"stages": [], "file": place, "seed": None}
    return Reports(command, problem, columns, versions(), strict, reports=reports, left=out)


class Nothing(InputError):
    """Nothing in a file can be checked; a line for each name says why."""

    def __init__(self, message: str, lines: str) -> None:
        super().__init__(message)
        self.lines = lines

    def said(self, message: str) -> str:
        return super().said(message) + self.lines
