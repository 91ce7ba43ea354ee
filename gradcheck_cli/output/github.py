"""GitHub's annotations: a workflow command for each check that didn't pass, the worst first, then the counts.

GitHub shows ten errors and ten warnings of a step. What a text could smuggle in is escaped: no line of it is a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradcheck_cli.output.outcomes import changed, line, location, summary, tally
from gradcheck_cli.suite.execute import FAILED, UNDECIDED, Outcome

if TYPE_CHECKING:
    from gradcheck_cli.suite.run import Suite

ANNOTATIONS = 50
"""Findings that are annotated: as many as GitHub keeps of a job."""

_COMMANDS = {FAILED: "error", UNDECIDED: "warning"}
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_DATA, ":": "%3A", ",": "%2C"}


def render_suite(suite: Suite, **settings: Any) -> str:
    """Lines for the log of a step, without a last newline. What is known isn't annotated."""
    return "\n".join(
        [*(_annotation(outcome, changed(suite, outcome)) for outcome in suite.new[:ANNOTATIONS]), f"gradcheck: {tally(suite)}"]
    )


def _annotation(outcome: Outcome, other: str | None) -> str:
    properties = {"file": location(outcome.file), "line": str(outcome.line), "title": f"gradcheck: {line(outcome.name)}"}
    said = "\n".join(filter(None, [summary(outcome), other]))
    shown = ",".join(f"{name}={_escaped(value, _PROPERTY)}" for name, value in properties.items())
    return f"::{_COMMANDS[outcome.status]} {shown}::{_escaped(said, _DATA)}"


def _escaped(text: str, table: Mapping[str, str]) -> str:
    return "".join(table.get(c, c) for c in text)
