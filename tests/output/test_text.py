"""The text a reader sees, from reports made by hand: tables, findings, grouping and the last line."""

from __future__ import annotations

import importlib
import math
import pkgutil
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import given
from hypothesis import strategies as st

import gradcheck_cli.output
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.output import FORMATS as OUTPUTS
from gradcheck_cli.output import SUITE_FORMATS, renderer
from gradcheck_cli.output.text import number, render, ulps
from gradcheck_cli.verdict.column import Column, Detail
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.counting import count_calls


def column(
    quantity: str, formula: str | None, exact: list[Any], autograd: list[float], verdicts: list[Verdict], **more: Any
) -> Column:
    """One quantity at the points x = 1, 2, 3, ..."""
    n = len(autograd)
    with np.errstate(invalid="ignore"):
        errors = np.array([math.nan if e is None else abs(float(e) - a) for e, a in zip(exact, autograd, strict=True)])
    settings: dict[str, Any] = {
        "kind": "total", "of": "y", "wrt": ("x",), "mode": "reverse", "dtype": "float64",
        "scope": AtPoints({"x": np.arange(1.0, n + 1)}), "error_ulps": errors, "values": np.arange(1.0, n + 1),
    }  # fmt: skip
    return Column(
        quantity=quantity,
        formula=formula,
        exact=[None if e is None else arb(e) for e in exact],
        autograd=np.array(autograd),
        verdicts=np.array([v.severity for v in verdicts], dtype=np.uint8),
        **{**settings, **more},
    )


def report(*columns: Column, strict: bool = False, seed: int | None = None, notes: tuple[str, ...] = ()) -> Report:
    problem = {
        "stages": [
            {"name": "z", "expression": "2*x", "inputs": ["x"]},
            {"name": "y", "expression": "z**2", "inputs": ["z"]},
        ],
        "dtype": ["float64"],
        "modes": ["reverse"],
        "seed": seed,
    }
    return Report("chain", problem, list(columns), {"gradcheck": "0"}, strict, list(notes))


MATCH, MISMATCH, OUTSIDE = Verdict.MATCH, Verdict.MISMATCH, Verdict.OUTSIDE_DOMAIN


def test_one_point() -> None:
    """One table from the output back to the input, one of the stages, and the verdict last."""
    shown = render(
        report(
            column("dy/dx", "8*x", [8], [8.0], [MATCH]),
            column(
                "dz/dx",
                "2",
                [2],
                [2.0],
                [MATCH],
                kind="local",
                of="z",
                scope=AtPoints({"x": np.array([1.0])}, inputs={"x": np.array([1.0])}),
            ),
        )
    )
    assert shown.splitlines() == [
        "chain: z = 2*x | y = z**2",
        "at x = 1 (float64, reverse)",
        "",
        "derivative   value   exact formula   exact   autograd   error   verdict",
        "───────────────────────────────────────────────────────────────────────",
        "dy/dx          1.0   8*x                 8        8.0   0 ulp   match",
        "",
        "each stage's own derivative:",
        "",
        "derivative   value   exact formula   exact   autograd   error   verdict",
        "───────────────────────────────────────────────────────────────────────",
        "dz/dx          1.0   2                   2        2.0   0 ulp   match",
        "",
        "verdict: match (2 checks: 2 match)",
    ]


def test_a_finding_shows_both_formulas() -> None:
    """Where the formula is to blame, exact and autograd's formula stand one under the other, with both errors."""
    detail = Detail(Cause.FORMULA, "y", "mul", "the ratio is 3", autograd_formula="24*x", formula_error=2.0, rounding_error=0.0)
    shown = render(report(column("dy/dx", "8*x", [8], [24.0], [MISMATCH], details={0: detail})))
    assert shown.splitlines()[6:] == [
        "",
        "mismatch (formula): dy/dx at x = 1",
        "  exact 8, autograd 24.0, off by 16 ulp",
        "  blamed: stage y, operation mul",
        "  the ratio is 3",
        "  exact:    8*x",
        "  autograd: 24*x",
        "  formula error 2, rounding error 0 (relative)",
        "  The formula that autograd applies is not the derivative: even in exact arithmetic it gives another",
        "  number. The usual cause is a slip in a custom backward; compare the two formulas.",
        "",
        "verdict: mismatch (1 check: 1 mismatch)",
    ]


def test_autograds_formula_is_shown_under_verbose_otherwise() -> None:
    """Where the formula isn't to blame, only --verbose shows it."""
    detail = Detail(Cause.KERNEL, autograd_formula="24*x")
    made = report(column("dy/dx", "8*x", [8], [24.0], [MISMATCH], details={0: detail}))
    assert "24*x" not in render(made)
    assert "  autograd: 24*x" in render(made, verbose=True).splitlines()


def test_sides_stand_for_a_missing_derivative() -> None:
    """At a kink the one-sided derivatives are shown as an interval, the smaller one first."""
    detail = Detail(left="1", right="-1", text="a kink")
    shown = render(report(column("dy/dx", "f", [None], [0.0], [Verdict.NONDIFFERENTIABLE], details={0: detail})))
    assert "[-1, 1]        0.0       -   nondifferentiable" in shown
    assert "  left derivative 1, right derivative -1" in shown.splitlines()


@pytest.mark.parametrize(
    ("dtype", "detail", "line"),
    [
        ("float64", Detail(Cause.FORMULA, formula_error=0.58, rounding_error=1e-16),
         "formula error 0.58, rounding error 1e-16 (relative)"),
        ("float64", Detail(Cause.NAN_TRAP, formula_error=0.0), "formula: right"),
        ("float64", Detail(Cause.FORMULA, formula_error=6e-10), "formula error 6e-10 (relative)"),
        ("float64", Detail(Cause.KERNEL, formula_error=0.0, rounding_error=2.98e-8),
         "formula: right, rounding error 2.98e-08 (relative): 7.5 of 16 digits are right"),
        ("float32", Detail(formula_error=0.0, rounding_error=1.0),
         "formula: right, rounding error 1 (relative): 0 of 7.2 digits are right"),
        ("bfloat16", Detail(formula_error=0.0, rounding_error=300.0),
         "formula: right, rounding error 300 (relative): 0 of 2.4 digits are right"),
        ("float16", Detail(formula_error=0.0, rounding_error=1e-30),
         "formula: right, rounding error 1e-30 (relative): 3.3 of 3.3 digits are right"),
        ("float64", Detail(formula_error=0.0, rounding_error=0.0), "formula: right, rounding error 0 (relative)"),
    ],
)  # fmt: skip
def test_the_two_parts_of_an_error(dtype: str, detail: Detail, line: str) -> None:
    """A right formula is called right, and what rounding leaves is counted in digits of the dtype."""
    verdict = Verdict.IMPRECISE if detail.cause is None else MISMATCH
    shown = render(report(column("dy/dx", "f", [1], [0.0], [verdict], dtype=dtype, details={0: detail})))
    assert [text.strip() for text in shown.splitlines() if text.startswith("  formula")] == [line]


def test_no_gradient_shows_what_torch_computes_instead() -> None:
    """The two parts of an error mean nothing where a part of the graph is missing; both formulas do."""
    detail = Detail(Cause.NO_GRADIENT, autograd_formula="j0(x)", formula_error=1.35, rounding_error=0.0)
    shown = render(report(column("dy/dx", "f", [1], [2.0], [MISMATCH], details={0: detail}))).splitlines()
    assert shown[shown.index("  exact:    f") + 1] == "  autograd: j0(x)"
    assert not [line for line in shown if "error 1.35" in line]


@pytest.mark.parametrize(
    ("claim", "formula"),
    [
        ("x=8*x+4", "8*x+4"),
        (" x = 8*x ", "8*x"),
        ("8*x", "8*x"),
        ("where(x == 1, 2, 3)", "where(x == 1, 2, 3)"),
        ("where(x <= 1, 2, 3)", "where(x <= 1, 2, 3)"),
        ("where(x >= 1, 2, 3)", "where(x >= 1, 2, 3)"),
        ("z = where(x == 1, 2, 3)", "where(x == 1, 2, 3)"),
        ("x == 1", "x == 1"),
    ],
)
def test_a_claims_formula_is_shown_without_its_name(claim: str, formula: str) -> None:
    """Only the equals sign of a claim's own name ends the name."""
    made = column("dy/dx", "8*x", [8], [9.0], [MISMATCH], mode="claim", claim=claim, details={0: Detail(Cause.CLAIM)})
    assert f"  claimed:  {formula}" in render(report(made)).splitlines()


def test_no_gradient_is_none() -> None:
    """Where torch returned no tensor, the table says so, not nan."""
    made = report(column("dy/dx", "f", [1], [math.nan], [MISMATCH], details={0: Detail(Cause.NO_GRADIENT)}))
    assert "none       -   mismatch (no_gradient)" in render(made)


def test_a_claim_is_called_one() -> None:
    """The user's formula has its own table, and its value isn't called autograd's."""
    claim = column("dy/dx", "8*x", [8], [9.0], [MISMATCH], mode="claim", claim="x=9*x", details={0: Detail(Cause.CLAIM)})
    shown = render(report(column("dy/dx", "8*x", [8], [8.0], [MATCH]), claim)).splitlines()
    assert "  exact 8, claimed 9.0, off by 1 ulp" in shown
    at = shown.index("  claimed:  9*x")
    assert shown[at - 1] == "  exact:    8*x"
    assert sum("autograd   error" in line for line in shown) == 1
    assert sum("claimed   error" in line for line in shown) == 1


def test_many_points_are_one_row() -> None:
    """With several points a row holds the worst point and counts by verdict; outside_domain is only counted."""
    made = report(
        column("dy/dx", "8*x", [8, 16, None, 32], [8.0, 24.0, 1.0, 32.0], [MATCH, MISMATCH, OUTSIDE, MATCH],
               details={1: Detail(Cause.FORMULA)}),
        seed=7,
    )  # fmt: skip
    lines = render(made).splitlines()
    assert lines[1] == "at 4 points (float64, reverse)"
    assert lines[5] == (
        "dy/dx        8*x             x = 2         16       24.0   8 ulp   1 mismatch, 1 outside_domain, 2 match"
    )
    assert [line for line in lines if " at x = " in line] == ["mismatch (formula): dy/dx at x = 2"]
    assert lines[-1] == "verdict: mismatch (4 checks: 1 mismatch, 1 outside_domain, 2 match), seed 7"
    every = render(made, verbose=True).splitlines()
    assert [line.split()[-1] for line in every if line.startswith("x = ")] == [
        "match",
        "(formula)",
        "outside_domain",
        "match",
    ]


def test_equal_findings_are_grouped() -> None:
    """Entries with the same verdict, cause and blame are one finding, the worst of them; five findings at most."""
    details = {i: Detail(Cause.FORMULA, "y") for i in range(3)}
    wrong = column("dy/dx", "8*x", [8, 16, 24], [9.0, 20.0, 26.0], [MISMATCH] * 3, details=details)
    shown = render(report(wrong)).splitlines()
    assert "mismatch (formula): dy/dx at x = 2, and at 2 more points" in shown
    others = [column(f"d{i}/dx", "8*x", [8], [9.0], [MISMATCH]) for i in range(8)]
    shown = render(report(*others)).splitlines()
    assert sum(line.startswith("mismatch: ") for line in shown) == 5
    assert "... and 3 more findings: --verbose shows all" in shown
    assert sum(line.startswith("mismatch: ") for line in render(report(*others), verbose=True).splitlines()) == 8


def test_the_worst_comes_first() -> None:
    """Findings are ordered by verdict, then by error."""
    made = report(
        column("da/dx", "f", [1], [2.0], [Verdict.IMPRECISE]),
        column("db/dx", "f", [1], [2.0], [MISMATCH]),
        column("dc/dx", "f", [1], [5.0], [MISMATCH]),
    )
    titles = [line.split()[1] for line in render(made).splitlines() if " at x = " in line and ": " in line]
    assert titles == ["dc/dx", "db/dx", "da/dx"]


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (report(column("dy/dx", "f", [1], [1.0], [MATCH])), "verdict: match (1 check: 1 match)"),
        (report(), "verdict: undecided (nothing was checked)"),
        (
            report(column("dy/dx", "f", [1], [1.5], [Verdict.IMPRECISE]), strict=True),
            "verdict: imprecise (1 check: 1 imprecise), fails under --strict",
        ),
        (report(column("dy/dx", "f", [1], [1.0], [MATCH]), seed=0), "verdict: match (1 check: 1 match), seed 0"),
    ],
)
def test_quiet_is_the_last_line(made: Report, line: str) -> None:
    """Under --quiet only the summary is left; it is the last line in any case."""
    assert render(made, quiet=True) == line
    assert render(made).splitlines()[-1] == line
    assert str(made).splitlines()[-1] == line


def test_notes_stand_before_the_verdict() -> None:
    """Notes of the engine are lines of their own."""
    made = report(column("dy/dx", "f", [1], [1.0], [MATCH]), notes=("the seed was drawn",))
    assert render(made).splitlines()[-2] == "note: the seed was drawn"


def test_colour_only_when_asked() -> None:
    """Escape codes appear in verdicts, and only with color."""
    made = report(column("dy/dx", "f", [1], [1.0], [MATCH]))
    assert "\x1b" not in render(made)
    assert "\x1b[32mmatch\x1b[0m" in render(made, color=True)


def test_brackets_are_no_markup() -> None:
    """A formula that looks like rich's markup is shown as it is."""
    made = report(column("dy/dx", "f", [None], [0.0], [MISMATCH], details={0: Detail(text="[red]stop[/red]")}))
    assert "  [red]stop[/red]" in render(made).splitlines()
    made = report(column("[bold]dy", "[red]x[/red]", [1], [1.0], [MATCH]))
    assert "[red]x[/red]" in render(made)


def test_long_formulas_are_cut_unless_verbose() -> None:
    """60 characters in a table, all of them under --verbose."""
    made = report(column("dy/dx", "x + " * 100 + "1", [1], [1.0], [MATCH]))
    assert "x + x..." in render(made)
    assert "x + " * 100 in render(made, verbose=True)


def test_narrow_terminals_fold_formulas_not_numbers() -> None:
    """At 60 columns every number is still whole."""
    with ctx.workprec(128):
        root = arb(2).sqrt()
    made = report(column("dy/dx", "sin(x)*cos(x)*" * 4 + "x", [root], [math.sqrt(2)], [MATCH]))
    shown = render(made, width=60)
    assert "1.41421356237309505" in shown
    assert "1.4142135623730951" in shown
    assert "match" in shown


@pytest.mark.slow(reason="20,000 rows")
def test_long_chains_are_cut_unless_verbose() -> None:
    """The first forty rows and all that don't match, in fewer than 100 calls a row; every row under --verbose."""
    columns = [column(f"dy/ds{i}", "f", [1], [1.0], [MATCH]) for i in range(4_000)]
    columns[3_000] = column("dy/ds3000", "f", [1], [2.0], [MISMATCH])
    long = report(*columns)
    assert count_calls(lambda: render(long)) < 100 * len(columns)
    shown = render(long).splitlines()
    assert len([line for line in shown if line.startswith("dy/")]) == 41
    assert "... and 3,959 more rows that match: --verbose shows all" in shown
    every = render(report(*columns[2_900:3_100]), verbose=True).splitlines()
    assert len([line for line in every if line.startswith("dy/")]) == 200


def test_many_points_cost_little() -> None:
    """65,536 points that match are summed up without looking at each."""
    n = 65_536
    big = Column(
        "dy/dx", "total", "y", ("x",), "reverse", "bfloat16", AtPoints({"x": np.arange(n, dtype=float)}), np.ones(n),
        [arb(1)] * n, np.zeros(n), np.zeros(n, dtype=np.uint8), formula="1",
    )  # fmt: skip
    assert render(report(big)).endswith("verdict: match (65,536 checks: 65,536 match)")
    assert count_calls(lambda: render(report(big))) < n / 4


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (1.0, "float64", "1.0"), (0.1, "float64", "0.1"), (float(np.float32(0.1)), "float32", "0.1"),
        (1e20, "float32", "1e+20"),
        (float(np.float16(0.1)), "float16", "0.1"), (0.10009765625, "bfloat16", "0.1"), (math.nan, "float32", "nan"),
        (-math.inf, "float16", "-inf"), (None, "float64", "-"), (-0.0, "float64", "-0.0"), (-0.0, "bfloat16", "-0.0"),
    ],
)  # fmt: skip
def test_numbers_are_short(value: float | None, dtype: str, text: str) -> None:
    """The shortest decimal of the dtype, not of the double that carries it."""
    assert number(value, dtype) == text


@given(st.floats(width=16) | st.floats(width=32), st.sampled_from(["float16", "bfloat16", "float32"]))
def test_numbers_read_back(x: float, dtype: str) -> None:
    """Rounding the decimal to the dtype gives the number again."""
    value = float(FORMATS[dtype].round(x))
    back = float(FORMATS[dtype].round(float(number(value, dtype))))
    assert back == value or (math.isnan(back) and math.isnan(value))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (0.0, "0 ulp"),
        (0.31415, "0.314 ulp"),
        (1234.5, "1.23e+03 ulp"),
        (1.8e8, "1.80e+08 ulp"),
        (math.inf, "inf ulp"),
        (None, "-"),
    ],
)
def test_ulps(error: float | None, text: str) -> None:
    """Three significant digits and the unit."""
    assert ulps(error) == text


def test_formats_load_lazily() -> None:
    """Each entry of the table of formats is a module with a render function, which takes the settings of all formats."""
    assert {"text", "json"} <= set(OUTPUTS)
    for name in OUTPUTS:
        assert renderer(name, report())(report(), verbose=False, quiet=True, color=False, width=80)


@pytest.mark.parametrize(("formats", "function"), [(OUTPUTS, "render"), (SUITE_FORMATS, "render_suite")])
def test_a_format_is_listed_if_it_is_written(formats: dict[str, str], function: str) -> None:
    """The two tables name the modules that have the function, and no others: what a command accepts is what it writes."""
    modules = (f"gradcheck_cli.output.{m.name}" for m in pkgutil.iter_modules(gradcheck_cli.output.__path__))
    assert sorted(formats.values()) == sorted(m for m in modules if hasattr(importlib.import_module(m), function))
