"""The summary of a suite: what isn't a plain match, the worst first, then counts and time."""

from __future__ import annotations

from dataclasses import replace

from gradcheck_cli.output.summary import SHOWN, render_suite
from gradcheck_cli.suite.baseline import Comparison
from gradcheck_cli.suite.execute import Outcome
from gradcheck_cli.suite.run import Suite

PASSED = Outcome("a.toml::ok", "ok", "grad", "a.toml", 1, "passed", "match", None, "match", 0.1)
ENTRY = {"quantity": "df/dx", "point": {"x": 0.0}, "exact": "1", "autograd": 0.0, "cause": "kink", "verdict": "mismatch"}
FAILED = replace(PASSED, spec_id="a.toml::kink", name="kink", line=5, status="failed", verdict="mismatch", cause="kink",
                 report={"checks": [ENTRY]}, text="the report\nin full")  # fmt: skip
INPUT = replace(PASSED, spec_id="a.toml::typo", name="typo", line=7, status="failed", verdict=None, fault="input",
                error="unknown function 'sinn'\n  sinn(x)\n  ^")  # fmt: skip
LATE = replace(PASSED, spec_id="a.toml::late", name="late", line=9, status="undecided", verdict=None, fault="timeout",
               error="no answer within 2 s: the worker was replaced")  # fmt: skip
TAIL = replace(PASSED, spec_id="a.toml::tail", name="tail", line=11, verdict="imprecise")


def test_the_worst_comes_first_and_matches_are_counted_only() -> None:
    """Two lines an outcome, and the command where it didn't pass; one that passes without being a match is shown last."""
    suite = Suite((PASSED, TAIL, LATE, FAILED, INPUT), 6, 3.21, notes=("a note",))
    assert render_suite(suite) == "\n".join([
        "failed a.toml:7: typo",
        "  bad input: unknown function 'sinn'",
        "  run it alone: gradcheck run a.toml::typo",
        "failed a.toml:5: kink",
        "  mismatch (kink): df/dx at x = 0.0: exact 1, autograd 0.0",
        "  run it alone: gradcheck run a.toml::kink",
        "",
        "undecided a.toml:9: late",
        "  timed out: no answer within 2 s: the worker was replaced",
        "  run it alone: gradcheck run a.toml::late",
        "",
        "passed a.toml:11: tail",
        "  imprecise",
        "",
        "note: a note",
        "6 checks: 2 failed, 1 undecided, 2 passed, 1 not run in 3.2 s",
    ])  # fmt: skip
    assert render_suite(suite, quiet=True) == "6 checks: 2 failed, 1 undecided, 2 passed, 1 not run in 3.2 s"
    assert "\n    the report\n    in full\n" in render_suite(suite, verbose=True)
    assert "\x1b[" in render_suite(suite, color=True) and "\x1b[" not in render_suite(suite)


def test_known_and_mended_are_told_apart() -> None:
    """The baseline's."""
    suite = Suite((FAILED, PASSED), 2, 1.0, Comparison(frozenset([FAILED.spec_id]), (PASSED.spec_id,)))
    assert render_suite(suite).startswith("known a.toml:5: kink\n") and "mended a.toml:1: ok" in render_suite(suite)
    assert render_suite(suite).endswith("2 checks: 1 known, 1 passed (1 mended) in 1.0 s")


def test_many_outcomes_are_cut() -> None:
    """Unless --verbose."""
    suite = Suite(tuple(replace(FAILED, spec_id=str(i)) for i in range(SHOWN + 7)), SHOWN + 7, 1.0)
    assert "... 7 more failed (--verbose shows all)" in render_suite(suite)
    assert "more failed" not in render_suite(suite, verbose=True)


def test_no_line_is_wider_than_the_page() -> None:
    """Names, files and headlines go on in the next line, and nothing of them is lost."""
    long = replace(FAILED, name="a name " * 12, file="folder/" * 12 + "a.toml", error="why " * 40)
    suite = Suite((long, TAIL), 2, 1.0, notes=("a note " * 30,), failure="it failed " * 20)
    lines = render_suite(suite, width=50).splitlines()
    assert max(map(len, lines)) <= 50
    assert "".join(lines).count("why") == 40
    assert max(map(len, render_suite(suite).splitlines())) <= 100
