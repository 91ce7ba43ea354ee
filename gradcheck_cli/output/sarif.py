"""SARIF 2.1.0, for the code scanning pages of GitHub and others: a result for each check that didn't pass, a note where that is
known from the baseline.

It stands at the backward of the function under test where that can be told, else at the check's line of the spec.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gradcheck_cli import __version__
from gradcheck_cli.options import CODE
from gradcheck_cli.output.outcomes import known, line, location, summary
from gradcheck_cli.output.sources import backward
from gradcheck_cli.suite.execute import CRASH, FAILED, INPUT, MEMORY, RAISED, TIMEOUT, UNDECIDED, Outcome
from gradcheck_cli.verdict.verdicts import Cause, Verdict

if TYPE_CHECKING:
    from gradcheck_cli.suite.run import Suite

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RESULTS = 5_000
"""Results that are written, the worst first: as many as GitHub shows of a run."""

_LEVELS = {FAILED: "error", UNDECIDED: "warning"}
_FAULTS = {
    RAISED: "The code that is checked raises an error.",
    INPUT: "The check itself is wrong: it asks for something that doesn't exist.",
    CRASH: "The check ended with an error of the code that it runs, or its process died.",
    TIMEOUT: "The check didn't end in time.",
    MEMORY: "The check took more memory than it was given.",
}
_RULES = {
    **{verdict.value: (verdict.value, verdict.sentence) for verdict in Verdict},
    **{cause.value: (f"mismatch ({cause.value})", cause.sentence) for cause in Cause},
    **{fault: (fault, sentence) for fault, sentence in _FAULTS.items()},
}
"""What a finding may be: a verdict, the cause of a mismatch, or the reason why there is no verdict."""


def render_suite(suite: Suite, **settings: Any) -> str:
    """The log as JSON, without a last newline."""
    findings = [*((outcome, False) for outcome in suite.new), *((outcome, True) for outcome in known(suite))]
    results = [_result(outcome, known) for outcome, known in findings[:RESULTS]]
    rules = [
        {"id": name, "shortDescription": {"text": title}, "fullDescription": {"text": said}, "help": {"text": said}}
        for name, (title, said) in _RULES.items()
    ]
    driver = {"name": "gradcheck", "semanticVersion": __version__, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": "gradcheck/"},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1)


def _result(outcome: Outcome, known: bool) -> dict[str, Any]:
    rule = outcome.cause or outcome.verdict or outcome.fault or Verdict.UNDECIDED.value
    spec, source = _location(outcome.file, outcome.line), _source(outcome)
    identity = "\n".join((location(outcome.file), outcome.name, rule))
    result = {
        "ruleId": rule,
        "level": "note" if known else _LEVELS[outcome.status],
        "message": {"text": summary(outcome).replace("](", "] (")},  # else SARIF reads a link: [words](where)
        "locations": [source or spec],
        "partialFingerprints": {"check/v1": hashlib.sha256(identity.encode(errors="replace")).hexdigest()},
        "properties": {"check": line(outcome.name), "kind": outcome.kind, "expected": outcome.expected},
    }
    if source:
        result["relatedLocations"] = [{**spec, "id": 1, "message": {"text": "the check"}}]
    return result


def _source(outcome: Outcome) -> dict[str, Any] | None:
    target = outcome.target if outcome.kind in CODE else None
    found = backward(target, Path(outcome.file).parent) if isinstance(target, str) else None
    return found and _location(str(found[0]), found[1])


def _location(file: str, line: int) -> dict[str, Any]:
    """A relative path is one from the root of the sources."""
    path = PurePosixPath(location(file))
    place = {"uri": path.as_uri()} if path.is_absolute() else {"uri": quote(str(path)), "uriBaseId": "%SRCROOT%"}
    return {"physicalLocation": {"artifactLocation": place, "region": {"startLine": max(1, line)}}}
