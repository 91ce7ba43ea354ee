"""The Report, or the outcomes of a suite, as one JSON object: see docs/json.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck_cli.suite.run import Suite
    from gradcheck_cli.verdict.report import Report

SUITE_SCHEMA = 1


def render(report: Report, **settings: Any) -> str:
    """Valid JSON (no NaN or Infinity); the settings of other formats change nothing."""
    text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    return text if text.replace("\n", "").isprintable() else "\n".join(map(_escaped, text.split("\n")))


def _escaped(line: str) -> str:
    """What can't be seen as JSON's own escapes: it stands in texts only."""
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def render_suite(suite: Suite, **settings: Any) -> str:
    """The same of a suite: its outcomes, each with its report, how many there are of each status, what is known, and the
    commands that run what is not passed alone."""
    from gradcheck_cli.suite.alone import alone

    found = {
        "schema": SUITE_SCHEMA,
        "command": "run",
        "exit_code": suite.exit_code,
        "seconds": round(suite.seconds, 3),
        "asked": suite.asked,
        "counts": suite.counts,
        "known": sorted(suite.comparison.known),
        "mended": list(suite.comparison.mended),
        "changed": dict(suite.comparison.changed),
        "notes": [*suite.notes, *([suite.failure] if suite.failure else [])],
        "outcomes": [outcome.to_dict() for outcome in suite.outcomes],
        "alone": {outcome.spec_id: alone(outcome) for outcome in suite.new},
    }
    return json.dumps(found, indent=1, allow_nan=False)
