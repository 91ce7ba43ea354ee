"""The text a reader sees, from reports made by hand: tables, findings, grouping and the last line."""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx

import gradcheck_cli.output
from gradcheck_cli.output import FORMATS as OUTPUTS
from gradcheck_cli.output import OF_FILES, SUITE_FORMATS, renderer
from gradcheck_cli.output.text import render
from gradcheck_cli.verdict.column import Column, Detail
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import AtPoints, OfTensor, TensorLabels
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
        shown=formula,
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
    """Where, and what torch computes there; a table from the output back to the input, one of the stages; the verdict last."""
    here = AtPoints({"x": np.array([1.0])})
    shown = render(
        report(
            column("dy/dz", "2*z", [4], [4.0], [MATCH], wrt=("z",), scope=here, values=np.array([2.0])),
            column("dy/dx", "8*x", [8], [8.0], [MATCH], scope=here),
            column("dz/dx", "2", [2], [2.0], [MATCH], kind="local", of="z", scope=replace(here, inputs=here.numbers)),
        )
    )
    assert shown.splitlines() == [
        "chain: z = 2*x | y = z**2",
        "at x = 1, where z = 2 (float64, reverse)",
        "",
        "derivative   exact formula   exact   autograd   error   verdict",
        "───────────────────────────────────────────────────────────────",
        "dy/dz        2*z                 4        4.0   0 ulp   match",
        "dy/dx        8*x                 8        8.0   0 ulp   match",
        "",
        "each stage's own derivative:",
        "",
        "derivative   exact formula   exact   autograd   error   verdict",
        "───────────────────────────────────────────────────────────────",
        "dz/dx        2                   2        2.0   0 ulp   match",
        "",
        "verdict: match (3 checks: 3 match)",
    ]


def test_a_finding_shows_both_formulas() -> None:
    """Findings come first. The numbers and the formulas stand one under the other, a caret under the first digit that
    differs."""
    detail = Detail(Cause.FORMULA, "y", "mul", "the ratio is 3", autograd_formula="24*x", formula_error=2.0, rounding_error=0.0)
    shown = render(report(column("dy/dx", "8*x", [24.5], [24.0], [MISMATCH], details={0: detail})))
    assert shown.splitlines()[2:] == [
        "",
        "mismatch (formula): dy/dx",
        "  exact     24.5",
        "  autograd  24.0",
        "               ^",
        "  formula error 2, rounding error 0 (relative)",
        "  blamed: stage y, operation mul",
        "  the ratio is 3",
        "  exact:    8*x",
        "  autograd: 24*x",
        "  The formula that autograd applies is not the derivative: even in exact arithmetic it gives another",
        "  number. The usual cause is a slip in a custom backward; compare the two formulas.",
        "  more: gradcheck why formula",
        "",
        "derivative   exact formula   exact   autograd        error   verdict",
        "───────────────────────────────────────────────────────────────────────────────",
        "dy/dx        8*x              24.5       24.0   0.0204 rel   mismatch (formula)",
        "",
        "verdict: mismatch (1 check: 1 mismatch)",
    ]


def test_autograds_formula_is_shown_under_verbose_otherwise() -> None:
    """Where the formula isn't to blame, only --verbose shows it."""
    detail = Detail(Cause.KERNEL, autograd_formula="24*x")
    made = report(column("dy/dx", "8*x", [8], [24.0], [MISMATCH], details={0: detail}))
    assert "24*x" not in render(made)
    assert "  autograd: 24*x" in render(made, verbose=True).splitlines()


def test_a_side_is_told_with_its_kink() -> None:
    """A kink says whose slope autograd's is, a jump where the sides differ; neither speaks for the other."""
    jump = Detail(side="left", text="the function jumps here")
    details = {0: Detail(left="0", right="1", side="left"), 1: jump, 2: replace(jump, side="both")}
    for wrt, names in ((("x",), ("the left", "the right")), (("z.imag",), ("below", "above"))):
        for n, detail in details.items():
            one = column("dy/dx", "f", [None], [0.0], [Verdict.NONDIFFERENTIABLE], details={0: detail}, wrt=wrt)
            assert (
                render(report(one)).splitlines()[5]
                == (
                    f"  one-sided derivatives: 0 from {names[0]} (autograd's), 1 from {names[1]}",
                    f"  the function jumps here; autograd's is the slope from {names[0]}",
                    "  the function jumps here",
                )[n]
            )
    both = column("dy/dx", "f", [None] * 2, [0.0] * 2, [Verdict.NONDIFFERENTIABLE] * 2, details={0: details[0], 1: jump})
    assert "the same" not in render(report(both))


def test_sides_stand_for_a_missing_derivative() -> None:
    """At a kink the one-sided derivatives are shown as an interval in the table, the smaller one first, and by name."""
    detail = Detail(left="1", right="-1", text="a kink")
    shown = render(report(column("dy/dx", "f", [None], [0.0], [Verdict.NONDIFFERENTIABLE], details={0: detail}))).splitlines()
    assert shown[3:6] == [
        "nondifferentiable: dy/dx",
        "  autograd  0.0",
        "  one-sided derivatives: 1 from the left, -1 from the right",
    ]
    assert "[-1, 1]        0.0   nondifferentiable" in "\n".join(shown)


@pytest.mark.parametrize(
    ("dtype", "detail", "line"),
    [
        ("float64", Detail(Cause.FORMULA, formula_error=0.58, rounding_error=1e-16),
         "formula error 0.58, rounding error 1e-16 (relative)"),
        ("float64", Detail(Cause.NAN_TRAP, formula_error=0.0), "formula: right, relative error 1"),
        ("float64", Detail(Cause.FORMULA, formula_error=6e-10), "formula error 6e-10 (relative)"),
        ("float64", Detail(Cause.KERNEL, formula_error=0.0, rounding_error=2.98e-8),
         "off by 9,010 ulp, formula: right, rounding error 2.98e-08 (relative): 7.5 of 16 digits are right"),
        ("float32", Detail(formula_error=0.0, rounding_error=1.0),
         "formula: right, rounding error 1 (relative): 0 of 7.2 digits are right"),
        ("bfloat16", Detail(formula_error=0.0, rounding_error=300.0),
         "formula: right, rounding error 300 (relative): 0 of 2.4 digits are right"),
        ("float16", Detail(formula_error=0.0, rounding_error=1e-30),
         "formula: right, rounding error 1e-30 (relative): 3.3 of 3.3 digits are right"),
        ("float64", Detail(formula_error=0.0, rounding_error=0.0), "formula: right, relative error 1"),
    ],
)  # fmt: skip
def test_the_two_parts_of_an_error(dtype: str, detail: Detail, line: str) -> None:
    """A right formula is called right, and what rounding leaves is counted in digits of the dtype."""
    verdict = Verdict.IMPRECISE if detail.cause is None else MISMATCH
    made = column("dy/dx", "f", [1], [0.0], [verdict], dtype=dtype, details={0: detail})
    made.error_ulps[0] = 9_007.2 if detail.cause is Cause.KERNEL else 1e6
    shown = render(report(made))
    assert [text.strip() for text in shown.splitlines() if re.match("  (off by .*)?formula", text)] == [line]


@pytest.mark.parametrize(("terms", "added"), [(None, ""), (2.5, " and about 2.5 was added up")])
def test_beside_0_a_size_is_told_what_it_is_a_part_of(terms: float | None, added: str) -> None:
    """Where exact is 0 there is no relative error: the distance, and how much was added up, where that is known."""
    detail = Detail(Cause.KERNEL, formula_error=None, rounded=terms and terms * 2.0**-53)
    shown = render(report(column("dy/dx", "f", [0], [1e-9], [MISMATCH], details={0: detail}))).splitlines()
    assert f"  off by 1e-09, where exact is 0{added}" in shown
    assert "1e-09 abs   mismatch (kernel)" in "\n".join(shown)


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
    assert "none   mismatch (no_gradient)" in render(made)


def test_a_claim_is_called_one() -> None:
    """The user's formula has its own table, and its value isn't called autograd's."""
    claim = column("dy/dx", "8*x", [8], [9.0], [MISMATCH], mode="claim", claim="x=9*x", details={0: Detail(Cause.CLAIM)})
    shown = render(report(column("dy/dx", "8*x", [8], [8.0], [MATCH]), claim)).splitlines()
    assert shown[1] == "at x = 1 (float64, reverse)"
    at = shown.index("mismatch (claim): dy/dx")
    assert shown[at + 1 : at + 6] == [
        "  exact     8", "  claimed   9.0", "  relative error 0.125", "  exact:    8*x", "  claimed:  9*x"
    ]  # fmt: skip
    assert sum("autograd   error" in line for line in shown) == 1
    assert sum("claimed       error" in line for line in shown) == 1


def test_many_points_are_one_row() -> None:
    """With several points, which have numbers and are listed once, a row holds the worst one and counts by verdict;
    outside_domain is only counted."""
    made = report(
        column("dy/dx", "8*x", [8, 16, None, 32], [8.0, 24.0, 1.0, 32.0], [MATCH, MISMATCH, OUTSIDE, MATCH],
               details={1: Detail(Cause.FORMULA)}),
        seed=7,
    )  # fmt: skip
    lines = render(made, width=120).splitlines()
    assert lines[1:4] == [
        "4 points (float64, reverse)", "  point 1: x = 1, point 2: x = 2, point 3: x = 3, point 4: x = 4", ""
    ]  # fmt: skip
    assert "mismatch (formula): dy/dx at point 2" in lines
    row = "dy/dx        8*x             point 2       16       24.0   0.5 rel   1 mismatch, 1 outside_domain, 2 match"
    assert row in lines
    assert lines[-1] == "verdict: mismatch (4 checks: 1 mismatch, 1 outside_domain, 2 match), seed 7"
    every = render(made, verbose=True, width=120).splitlines()
    assert [line.split()[-1] for line in every if line.startswith("dy/dx") and "point" in line][1:] == [
        "match", "(formula)", "outside_domain", "match"
    ]  # fmt: skip


def test_few_points_are_named_among_many() -> None:
    """Of 400 points those that a finding or a table speaks of are listed, and from where to where they go."""
    verdicts = [MISMATCH if i == 17 else MATCH for i in range(400)]
    made = report(column("dy/dx", "1", [1] * 400, [1.5] * 400, verdicts, details={17: Detail(Cause.FORMULA)}))
    assert render(made).splitlines()[1:3] == ["400 points (float64, reverse), x from 1 to 400", "  point 18: x = 18"]


def test_equal_findings_are_one() -> None:
    """Entries with the same verdict, cause, blame and text are one finding, the worst of them; of one derivative at several
    points, of several, in several modes. Five findings at most."""
    details = {i: Detail(Cause.FORMULA, "y") for i in range(3)}
    wrong = [column("dy/dx", "8*x", [8, 16, 24], [9.0, 20.0, 26.0], [MISMATCH] * 3, details=details, mode=m)
             for m in ("reverse", "func")]  # fmt: skip
    shown = render(report(*wrong)).splitlines()
    assert "mismatch (formula): dy/dx at point 2" in shown
    assert "  the same at 2 more points, in func" in shown
    two = column("dy/dz", "8*x", [8], [9.0], [MISMATCH], details={0: Detail(Cause.FORMULA, "y")}, wrt=("z",))
    assert "  the same of dy/dz" in render(report(wrong[0].pick([0]), two)).splitlines()
    others = [column(f"d{i}/dx", "8*x", [8], [9.0], [MISMATCH], details={0: Detail(Cause.KERNEL)}) for i in range(8)]
    shown = render(report(*others)).splitlines()
    assert sum(line.startswith("mismatch (kernel): ") for line in shown) == 5
    assert "... and 3 more findings: --verbose shows all" in shown
    assert sum(line.startswith("mismatch (kernel): ") for line in render(report(*others), verbose=True).splitlines()) == 8


def test_a_finding_without_a_text_joins_one_that_explains_it() -> None:
    """A total that is wrong because a stage is: said once, where it is explained."""
    told = column("dz/dx", "2", [2], [3.0], [MISMATCH], kind="local", of="z",
                  details={0: Detail(Cause.FORMULA, "z", text="the factor 2/3")})  # fmt: skip
    total = column("dy/dx", "8*x", [8], [9.0], [MISMATCH], details={0: Detail(Cause.FORMULA, "z")})
    shown = render(report(total, told)).splitlines()
    assert sum(line.startswith("mismatch (formula): ") for line in shown) == 1
    assert "  the factor 2/3" in shown


def test_the_worst_comes_first() -> None:
    """Findings are ordered by verdict, then by error."""
    made = report(
        column("da/dx", "f", [1], [2.0], [Verdict.IMPRECISE]),
        column("db/dx", "f", [1], [2.0], [MISMATCH], details={0: Detail(Cause.KERNEL)}),
        column("dc/dx", "f", [1], [5.0], [MISMATCH], details={0: Detail(Cause.KERNEL)}),
    )
    titles = [line.split()[-1] for line in render(made).splitlines() if re.match(r"(mismatch|imprecise)[^:]*: ", line)]
    assert titles == ["dc/dx", "db/dx", "da/dx"]


def test_modes_that_agree_are_one_row() -> None:
    """Without --verbose, where their counts are the same."""
    modes = ("reverse", "grad", "func")
    made = report(*(column("dy/dx", "1", [1], [1.0], [MATCH], mode=m, dtype=d) for d in ("float64", "float32") for m in modes))
    rows = [line.split() for line in render(made).splitlines() if line.startswith("dy/dx")]
    assert rows == [["dy/dx", "1", dtype, "all", "3", "1", "1.0", "0", "ulp", "3", "match"] for dtype in ("float64", "float32")]
    assert sum(line.startswith("dy/dx") for line in render(made, verbose=True).splitlines()) == 6


def test_a_tensor_is_one_row() -> None:
    """Its shape, its worst entry, and all that is counted, listed or not; under --verbose a row an entry."""
    scope = OfTensor({"x": "2x3 numbers"}, TensorLabels("y", "x", (2, 3)), (2, 3), Counter({MATCH: 100}))
    made = report(column("dy/dx", None, [1] * 6, [1.0] * 5 + [2.0], [MATCH] * 5 + [MISMATCH], scope=scope,
                         details={5: Detail(Cause.FORMULA)}))  # fmt: skip
    assert "dy/dx        2x3     [1,2]          1        2.0   1 rel   1 mismatch, 105 match" in render(made).splitlines()
    every = [line.split()[0] for line in render(made, verbose=True).splitlines() if line.startswith("dy/dx[")]
    assert every == [f"dy/dx[{i},{j}]" for i in range(2) for j in range(3)]


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
    assert str(made).splitlines()[-1] == line.replace("--strict", "strict=True")


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
    """180 characters between words, all of them under --verbose."""
    made = report(column("dy/dx", "x + " * 100 + "1", [1], [1.0], [MATCH]))
    assert f"   {'x + ' * 44}...   " in render(made, width=240)
    assert "x + " * 100 in render(made, verbose=True, width=500)


def test_narrow_terminals_keep_whole_numbers() -> None:
    """With less room formulas stand under the table; then each row is a block in which every number is whole, as each name in a
    formula is."""
    with ctx.workprec(128):
        root = arb(2).sqrt()
    made = report(column("dy/dx", "sin(x)*cos(x)*" * 4 + "x", [root], [math.sqrt(2)], [MATCH]))
    assert "exact formulas:\n  dy/dx = sin(x)*cos(x)*sin" in render(made, width=55)
    assert render(made, width=40).splitlines()[3:-2] == [
        "dy/dx",
        "  exact formula  sin(x)*cos(x)*sin(x)*",
        "                 cos(x)*sin(x)*cos(x)*",
        "                 sin(x)*cos(x)*x",
        "  exact          1.41421356237309505",
        "  autograd       1.4142135623730951",
        "  error          0 ulp",
        "  verdict        match",
    ]


@pytest.mark.slow(reason="20,000 rows")
def test_long_chains_are_cut_unless_verbose() -> None:
    """The first forty rows of each verdict, in fewer than 150 calls a row; every row under --verbose."""
    columns = [column(f"dy/ds{i}", "f", [1], [1.0], [MATCH]) for i in range(4_000)]
    columns[3_000] = column("dy/ds3000", "f", [1], [2.0], [MISMATCH], details={0: Detail(Cause.KERNEL)})
    long = report(*columns)
    assert count_calls(lambda: render(long)) < 1_000 + 150 * len(columns)
    shown = render(long).splitlines()
    assert len([line for line in shown if line.startswith("dy/")]) == 41
    assert "... and 3,959 more rows (3,959 match): --verbose shows all" in shown
    every = render(report(*columns[2_900:3_100]), verbose=True).splitlines()
    assert len([line for line in every if line.startswith("dy/")]) == 200


def test_many_points_cost_little() -> None:
    """65,536 points that match are summed up without looking at each."""
    n = 65_536
    big = Column(
        "dy/dx", "total", "y", ("x",), "reverse", "bfloat16", AtPoints({"x": np.arange(n, dtype=float)}), np.ones(n),
        [arb(1)] * n, np.zeros(n), np.zeros(n, dtype=np.uint8), shown="1",
    )  # fmt: skip
    assert render(report(big)).endswith("verdict: match (65,536 checks: 65,536 match)")
    assert count_calls(lambda: render(report(big))) < n / 4


def test_formats_load_lazily() -> None:
    """Each entry of the table of formats is a module with a render function, which takes the settings of all formats."""
    assert {"text", "json"} <= set(OUTPUTS)
    for name in OUTPUTS:
        assert renderer(name, report())(report(), verbose=False, quiet=True, color=False, width=80)


@pytest.mark.parametrize(
    ("formats", "function"), [([*OUTPUTS.values(), *OF_FILES.values()], "render"), (SUITE_FORMATS.values(), "render_suite")]
)
def test_a_format_is_listed_if_it_is_written(formats: Iterable[str], function: str) -> None:
    """The tables name the modules that have the function, and no others: what a command accepts is what it writes."""
    modules = [m.name for m in pkgutil.walk_packages(gradcheck_cli.output.__path__, "gradcheck_cli.output.")]
    assert sorted(formats) == sorted(m for m in modules if hasattr(importlib.import_module(m), function))
