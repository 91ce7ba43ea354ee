"""One check: how a report is held against what was expected, and what an outcome keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradcheck_cli.output.outcomes import headline, tally
from gradcheck_cli.suite.execute import Outcome, beside, execute
from gradcheck_cli.suite.findings import LISTED
from gradcheck_cli.suite.run import Suite
from gradcheck_cli.suite.spec import Spec
from gradcheck_cli.verdict.verdicts import Cause, Verdict

MISMATCH, IMPRECISE, UNDECIDED, OUTSIDE = Verdict.MISMATCH, Verdict.IMPRECISE, Verdict.UNDECIDED, Verdict.OUTSIDE_DOMAIN
TWO_KINKS = "relu(x) - relu(-x)"


@pytest.mark.parametrize(
    ("formula", "options", "expect", "cause", "status", "found"),
    [
        ("x**2", {}, Verdict.MATCH, None, "passed", "match"),
        ("sigmoid(x)", {"at": "x=40"}, Verdict.MATCH, None, "passed", "imprecise"),
        ("sigmoid(x)", {"at": "x=40", "strict": True}, Verdict.MATCH, None, "failed", "imprecise"),
        ("sigmoid(x)", {"at": "x=40"}, IMPRECISE, None, "passed", "imprecise"),
        ("abs(x)", {"at": "x=0"}, Verdict.MATCH, None, "passed", "nondifferentiable"),
        (TWO_KINKS, {"at": "x=0"}, Verdict.MATCH, None, "failed", "mismatch (kink)"),
        (TWO_KINKS, {"at": "x=0"}, MISMATCH, None, "passed", "mismatch (kink)"),
        (TWO_KINKS, {"at": "x=0"}, MISMATCH, Cause.KINK, "passed", "mismatch (kink)"),
        (TWO_KINKS, {"at": "x=0"}, MISMATCH, Cause.FORMULA, "failed", "mismatch (kink)"),
        (TWO_KINKS, {"at": "x=0", "claim": "3"}, MISMATCH, Cause.KINK, "failed", "mismatch (claim)"),
        (TWO_KINKS, {"at": "x=1"}, MISMATCH, Cause.KINK, "failed", "match"),
        ("log(x)", {"at": "x=-1"}, Verdict.MATCH, None, "undecided", "outside_domain"),
        ("log(x)", {"at": "x=-1"}, OUTSIDE, None, "passed", "outside_domain"),
        ("sinn(x)", {}, MISMATCH, None, "failed", "bad input"),
    ],
)
def test_a_check_passes_where_the_expected_was_found(
    formula: str, options: dict[str, object], expect: Verdict, cause: Cause | None, status: str, found: str
) -> None:
    """Where a match is expected, whatever exits 0 passes. A mismatch passes where all its causes are the expected one; one that
    is mended fails."""
    outcome = execute(Spec("n", "grad", formula, options, expect, cause, "a.toml", 3))
    assert (outcome.status, outcome.found) == (status, found)
    assert (outcome.spec_id, outcome.file, outcome.line) == ("a.toml::n", "a.toml", 3)
    assert (outcome.text is None) is (status == "passed" or outcome.report is None)


def test_an_outcome_is_a_line_of_json() -> None:
    """It comes back as it was; of 2,001 points that don't match it keeps the worst, and where they are wrong."""
    outcome = execute(Spec("n", "grad", TWO_KINKS + "+ x/0", {"at": "x=linspace(-1,1,2001)", "dtype": "float32"}))
    line = json.dumps(outcome.to_dict(), allow_nan=False)
    assert Outcome.from_dict(json.loads(line)) == outcome
    assert len(line) < 40_000
    outcome = execute(Spec("n", "grad", f"({TWO_KINKS})*y", {"at": ["x=0,y=linspace(1,50,50)"], "seed": 4}))
    assert outcome.report is not None and len(outcome.report["checks"]) == LISTED
    assert outcome.counts == {"mismatch": 50, "match": 50}
    assert outcome.findings == ("df/dx float64 grad: kink",)
    assert outcome.report["counts"] == outcome.counts and outcome.versions["torch"]
    assert outcome.asked == {"kind": "grad", "target": f"({TWO_KINKS})*y", "expect": "match",
                             "options": {"at": ["x=0,y=linspace(1,50,50)"], "seed": 4}}  # fmt: skip


def test_code_of_the_user_is_found_beside_the_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its prints go to stderr; what it raises is bad input, what ends the interpreter a crash. Nothing is raised."""
    (tmp_path / "beside.py").write_text("print('hello')\ndef twice(x): return 2*x\ndef leave(x): raise SystemExit(0)\n")
    file = str(tmp_path / "a.toml")

    def of(target: str) -> Outcome:
        return execute(Spec("n", "function", target, {"at": "x=1"}, file=file))

    assert of("beside.py:twice").plain
    assert capsys.readouterr() == ("", "hello\n")
    assert (of("beside.py:trice").fault, of("beside.py:trice").status) == ("input", "failed")
    assert (of("beside.py:leave").fault, of("beside.py:leave").status) == ("crash", "undecided")
    elsewhere = Spec("n", "function", "beside.py:twice", {"at": "x=1"}, file="elsewhere/a.toml")
    assert execute(elsewhere, Path(file)).plain


def test_a_target_is_named_without_a_detour(tmp_path: Path) -> None:
    """`checks/../lib.py:f` is lib.py:f, unless `checks` is a link: then its parent is elsewhere."""
    (tmp_path / "checks").mkdir()
    (tmp_path / "other" / "checks").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "other" / "checks")
    for folder, place in (("checks", "lib.py:f"), ("link", "link/../lib.py:f")):
        assert beside("../lib.py:f", tmp_path / folder / "a.toml") == str(tmp_path / place)
    assert beside("torch:sin", tmp_path / "checks" / "a.toml") == "torch:sin"


@pytest.mark.parametrize(("at", "nans"), [("x=0,y=0", 2), ("x=3,y=4", 0)])
def test_a_gradient_of_nan_that_passes_is_told(at: str, nans: int) -> None:
    """The verdict stays what it is: no derivative exists there, and nan claims none. How often is counted, and said in the
    headline and in the counts."""
    outcome = execute(Spec("norm", "grad", "sqrt(x**2 + y**2)", {"at": at}, file="a.toml", line=1))
    assert (outcome.status, outcome.nans) == ("passed", nans)
    said = "nondifferentiable, and the gradient is nan there (2 of them)" in headline(outcome)
    assert said is ("1 passed (1 with a gradient of nan)" in tally(Suite((outcome,), 1, 0.0))) is (nans > 0)
