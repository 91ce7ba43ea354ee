"""JUnit XML as Jenkins, GitLab and GitHub's test reporters read it: valid by the schema of Jenkins' xUnit plugin (junit-10).

A suite for each spec file, a case for each check: a `failure` where it failed, an `error` where it is undecided, and `skipped`
where either is known from the baseline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from io import BytesIO
from itertools import groupby
from typing import TYPE_CHECKING, Any

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
from junitparser.junitparser import FinalResult

from gradcheck_cli.output.outcomes import explanation, headline, line, location
from gradcheck_cli.suite.execute import FAILED, PASSED, UNDECIDED, Outcome

if TYPE_CHECKING:
    from gradcheck_cli.suite.run import Suite

_RESULTS: dict[str, type[FinalResult]] = {FAILED: Failure, UNDECIDED: Error}


def render_suite(suite: Suite, **settings: Any) -> str:
    """The document, without a last newline."""
    document = JUnitXml("gradcheck")
    for file, members in groupby(sorted(suite.outcomes, key=lambda o: o.file), key=lambda o: o.file):
        document.add_testsuite(_suite(location(file), list(members), suite.comparison.known))
    counts = Counter(outcome.status for outcome in suite.new)
    document.tests, document.failures, document.errors = len(suite.outcomes), counts[FAILED], counts[UNDECIDED]
    document.time = round(suite.seconds, 3)
    page = BytesIO()
    document.write(page)
    return page.getvalue().decode()


def _suite(file: str, outcomes: Sequence[Outcome], known: Container[str]) -> TestSuite:
    suite = TestSuite(file)
    versions = {name: version for outcome in outcomes for name, version in outcome.versions.items()}
    for name, version in sorted(versions.items()):
        suite.add_property(name, version)
    suite.add_testcases([_case(file, outcome, outcome.spec_id in known) for outcome in outcomes])
    return suite


def _case(file: str, outcome: Outcome, known: bool) -> TestCase:
    case = TestCase(line(outcome.name), file.removesuffix(".toml").replace("/", "."), round(outcome.seconds, 3))
    if outcome.status != PASSED:
        kind = Skipped if known else _RESULTS[outcome.status]
        result = kind(f"known: {headline(outcome)}" if known else headline(outcome), outcome.found)
        result.text = f"{file}:{outcome.line}\n\n{explanation(outcome)}"
        case.result = result
    return case
