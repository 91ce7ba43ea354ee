"""What every format of a suite says of an outcome: text without control characters, bounded, and paths that a CI finds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import seen, visible
from gradcheck_cli.suite.alone import alone
from gradcheck_cli.suite.execute import FAILED, PASSED, UNDECIDED, Outcome
from gradcheck_cli.verdict.plain import intentions
from gradcheck_cli.verdict.verdicts import Cause, Verdict, sentence

if TYPE_CHECKING:
    from gradcheck_cli.suite.run import Suite

LINE, SUMMARY, PAGE = 400, 4_000, 20_000
"""Characters of a headline, a summary and an explanation that are shown."""

ALONE = "run it alone: "
"""Before the command that does."""

OTHERWISE = "in the baseline, but not so: "
"""Before what is another."""

ROOTS = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR", "WORKSPACE")
"""Where GitHub, GitLab and Jenkins say that the repository is: their pages want paths from there."""


def printable(text: str, limit: int = PAGE) -> str:
    r"""`text` with what can't be seen as `\x1b`, but for line feeds, and at most `limit` characters of it."""
    shown = seen(text[: limit + 1].replace("\r\n", "\n"))
    return shown if len(text) <= limit else f"{shown[:limit]}... ({len(text):,} characters)"


def line(text: str, limit: int = LINE) -> str:
    """`printable` on one line."""
    shown = " ".join(text[: 4 * limit].split())
    return visible(shown if len(shown) <= limit else f"{shown[:limit]}... ({len(text):,} characters)")


def headline(outcome: Outcome) -> str:
    """One line: what was found and where, and what was expected instead if that wasn't a match."""
    instead = outcome.status != PASSED and outcome.expected != Verdict.MATCH
    nans = f", and the gradient is nan there ({outcome.nans:,} of them)" if outcome.nans else ""
    words = [f"{outcome.found}, where {outcome.expected} was expected" if instead else f"{outcome.found}{nans}"]
    worst = _worst(outcome)
    reason = outcome.error or (worst.get("detail") if outcome.verdict == Verdict.UNDECIDED else None)
    words += [reason.partition("\n")[0]] if reason else _numbers(worst)
    return line(": ".join(words))


def explanation(outcome: Outcome) -> str:
    """The report as the command prints it, or the error of the check; the headline where there is neither. Then how to run it
    alone."""
    text = printable((outcome.error or outcome.text or "").strip()) or headline(outcome)
    command = alone(outcome)
    return text if command is None else f"{text}\n\n{ALONE}{command}"


def summary(outcome: Outcome) -> str:
    """The headline and, in a few lines that need no fixed width, why: the error of the check, or what is known of the worst
    entry: its blame, both formulas, and the sentence of its verdict or cause."""
    if outcome.error:
        return printable(f"{outcome.found}: {outcome.error.strip()}", SUMMARY)
    worst = _worst(outcome)
    head, detail = headline(outcome), worst.get("detail") or ""
    lines = [head, *intentions(outcome.report.get("problem", {}) if outcome.report else {})]
    lines += [] if detail in head else [detail]
    if worst.get("autograd_formula"):
        lines += [f"exact: {worst['formula']}", f"{_party(worst)}: {worst['autograd_formula']}"]
    if worst:
        cause = Cause(worst["cause"]) if worst["cause"] else None
        mode, shown = worst.get("mode", ""), bool(worst.get("autograd_formula"))
        lines.append(sentence(Verdict(worst["verdict"]), cause, worst.get("witness"), worst.get("detail"), mode, shown))
    return printable("\n".join(lines), SUMMARY)


def location(file: str) -> str:
    """The path from the repository's root (where a CI names one, else the working directory), with slashes."""
    path = Path(os.path.abspath(file))
    root = os.path.abspath(next((os.environ[name] for name in ROOTS if os.environ.get(name)), "."))
    return visible(path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix())


KNOWN, MENDED = "known", "mended"


def became(suite: Suite, outcome: Outcome) -> str:
    """What a check is called where a suite is shown: KNOWN or MENDED by the baseline, else its status."""
    if outcome.spec_id in suite.comparison.known:
        return KNOWN
    return MENDED if outcome.spec_id in suite.comparison.mended else outcome.status


def changed(suite: Suite, outcome: Outcome) -> str | None:
    """Why a check that is in the baseline isn't known; None where it is, or isn't there."""
    difference = suite.comparison.changed.get(outcome.spec_id)
    return None if difference is None else line(f"{OTHERWISE}{difference}")


def known(suite: Suite) -> list[Outcome]:
    """What didn't pass, but is in the baseline, the worst first."""
    found = (o for o in suite.outcomes if o.spec_id in suite.comparison.known)
    return sorted(found, key=lambda outcome: outcome.severity, reverse=True)


def tally(suite: Suite) -> str:
    """`5 checks: 1 failed, 1 known, 3 passed (1 mended, 1 with a gradient of nan)`; what failed or is undecided as before is
    only counted as known."""
    counts = Counter(outcome.status for outcome in suite.new)
    nans = sum(outcome.nans > 0 for outcome in suite.outcomes if outcome.status == PASSED)
    notable = {"mended": len(suite.comparison.mended), "with a gradient of nan": nans}
    of_these = ", ".join(f"{count:,} {what}" for what, count in notable.items() if count)
    parts = {
        FAILED: counts[FAILED],
        UNDECIDED: counts[UNDECIDED],
        "known": len(suite.comparison.known),
        f"{PASSED}{f' ({of_these})' if of_these else ''}": suite.counts.get(PASSED, 0),
        "not run": suite.asked - len(suite.outcomes),
    }
    listed = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)
    return f"{suite.asked:,} check{'s' * (suite.asked != 1)}: {listed or 'nothing was checked'}"


def _worst(outcome: Outcome) -> Mapping[str, Any]:
    """The worst entry of an outcome's report, if any isn't a match."""
    return next(iter(outcome.report["checks"]), {}) if outcome.report else {}


def _numbers(check: Mapping[str, Any]) -> list[str]:
    """Where an entry stands, and its two numbers if it has them."""
    if not check:
        return []
    point = ", ".join(f"{name} = {value}" for name, value in (check.get("inputs") or check["point"]).items())
    dtype = "" if check.get("dtype", "float64") == "float64" else f" ({check['dtype']})"
    where = (f"{check['quantity']} at {point}" if point else check["quantity"]) + dtype
    if check["exact"] is None and check["verdict"] == Verdict.UNDECIDED:
        return [where]
    return [where, f"exact {_number(check['exact'])}, {_party(check)} {_number(check['autograd'])}"]


def _party(check: Mapping[str, Any]) -> str:
    """Whose number and formula are judged."""
    return "autograd" if check.get("claim") is None else "claimed"


def _number(value: Any) -> str:
    return "none" if value is None else str(value)
