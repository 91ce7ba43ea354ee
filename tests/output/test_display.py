"""A report shows itself: one line at a prompt, a table in a notebook, rows of pandas; and nothing in it is taken for markup."""

from __future__ import annotations

import math
import re
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flint import arb

from gradcheck_cli.errors import MissingExtra
from gradcheck_cli.output.display import FINDINGS, ROWS
from gradcheck_cli.verdict.column import Check, Column, Detail
from gradcheck_cli.verdict.remedy import Remedy
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import AtPoints, Label, OfLayer, OfTensor, TensorLabels
from gradcheck_cli.verdict.truths import Balls
from gradcheck_cli.verdict.verdicts import Cause, Verdict

HOSTILE = "</pre></details><script>alert(1)</script> `code` | *b* _i_ [a](http://b) $x$ <img src=x onerror=y> \x1b[31m"


def column(verdict: Verdict = Verdict.MATCH, cause: Cause | None = None, name: str = "x", text: str | None = None) -> Column:
    """Three entries of dy/dx, the second with this verdict."""
    scope = AtPoints({name: np.array([1.0, 2.0, 3.0])})
    found = Column.blank(scope, 3, of="y", wrt=(name,), values=np.array([1.0, 2.0, 3.0]))
    found.exact = Balls([arb(1) / 3, arb(2), arb(3)])
    found.autograd[:], found.error_ulps[:], found.verdicts[:] = [1 / 3, 2, 3], 0.3, 0
    found.verdicts[1] = verdict.severity
    if verdict is not Verdict.MATCH:
        found.details[1] = Detail(
            cause, "y", "exp", text, "1.5", None, "2", None, formula_error=0.5, rounding_error=1e-16, formula="2*x"
        )
    return found


def report(*columns: Column, expression: str = "2*x", **more: Any) -> Report:
    problem = {"stages": [{"name": "y", "expression": expression, "inputs": ["x"]}], "seed": None}
    return Report("chain", problem, list(columns), {}, **more)


def everything() -> Report:
    """Formulas of numbers and of arrays, a tensor's entries, a layer's, and what has no value."""
    arrays = AtPoints(
        {"A[0,0]": np.array([1.0, 2.0]), "A[0,1]": np.array([3.0, 4.0]), "mode": np.array([5.0, 6.0])}, {"A": (1, 2)}
    )
    tensor = OfTensor({"x": [1.0, 2.0], "w": "9x9 numbers"}, TensorLabels("y", "x", (2,)))
    layer = OfLayer({"x": [1.0, 2.0]}, [Label("d<v,y>/d0.weight[0]", "<v,y>", ("0.weight[0]",))], layer="0 Linear")
    second = Column.blank(arrays, 2, of="f", wrt=("A[0,1]", "mode"), kind="local", mode="forward", dtype="float32")
    second.mark([0], Verdict.MISMATCH, "no graph", Cause.NO_GRADIENT)
    return report(
        column(Verdict.MISMATCH, Cause.FORMULA),
        column(Verdict.IMPRECISE),
        second,
        Column.blank(tensor, 2, of="y", wrt=("x",)),
        Column.blank(layer, 1, of="<v,y>", wrt=("0.weight",)),
    )


# -- at a prompt --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (report(column()), "<Report chain: match, 3 checks>"),
        (report(column().pick([0])), "<Report chain: match, 1 check>"),
        (report(column(Verdict.IMPRECISE)), "<Report chain: imprecise, 3 checks, 1 imprecise>"),
        (report(column(Verdict.MISMATCH, Cause.NAN_TRAP)), "<Report chain: mismatch (nan_trap), 3 checks, 1 mismatch>"),
        (
            report(column(Verdict.MISMATCH, Cause.RANGE), column(Verdict.MISMATCH, Cause.FORMULA), column(Verdict.UNDECIDED)),
            "<Report chain: mismatch (formula, range), 9 checks, 2 mismatch, 1 undecided>",
        ),
        (report(column(Verdict.UNDECIDED).pick([1])), "<Report chain: undecided, 1 check>"),
        (report(), "<Report chain: undecided, nothing was checked>"),
    ],
)
def test_a_prompt_shows_one_line(made: Report, said: str) -> None:
    """The verdict, its causes, how many checks, and how many of what isn't a match; print shows everything."""
    assert repr(made) == said
    assert str(made).count("\n") >= 2 and "verdict: " in str(made)


# -- in a notebook ------------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """Which elements and attributes there are, and what is unbalanced."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("made", [report(), report(column()), everything()])
def test_a_notebook_shows_an_element(made: Report) -> None:
    """One, closed, with styles that hold in it alone, without a script; the verdict in words, and the whole text in it."""
    page = made._repr_html_()
    seen = Elements(page)
    assert seen.names[0] == "div" and not seen.open and page.strip().endswith("</div>")
    assert {"script", "link", "img", "iframe"}.isdisjoint(seen.names)
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert all(rule.strip().startswith(".gradcheck-report") for rule in style.split("}") if rule.strip())
    assert made.verdict.value in page and "the whole report" in page
    assert "verdict: " in page.partition("<pre>")[2]


def test_it_is_short() -> None:
    """However many derivatives there are: the worst, and the first findings."""
    many = [column(Verdict.MISMATCH, Cause.FORMULA, text=f"reason {i}") for i in range(40)]
    for i, some in enumerate(many):
        some.quantity, some.of = f"dy{i}/dx", f"y{i}"
    made = report(*(column() for _ in range(100)), *many)
    assert made._repr_html_().partition("<details>")[0].count("<tr>") <= 2 * (ROWS + 1)
    assert made._repr_markdown_().count("| ") < 12 * (ROWS + 3)
    assert made._repr_markdown_().count("reason") <= FINDINGS
    assert "mismatch" in made._repr_markdown_().partition("|---")[2]


def test_what_a_user_wrote_stays_text() -> None:
    """In formulas, names, details and notes."""
    some = column(Verdict.MISMATCH, Cause.FORMULA, name=HOSTILE, text=HOSTILE)
    some.shown = HOSTILE
    made = report(some, expression=HOSTILE, notes=[HOSTILE])
    seen = Elements(made._repr_html_())
    assert not seen.open and {"script", "img"}.isdisjoint(seen.names) and "onerror" not in seen.attributes
    words = made._repr_markdown_()
    assert "\x1b" not in words + made._repr_html_()
    bare = re.sub(r"(`+) ?.*?(?<!`)\1(?!`)", "", words)  # what isn't code
    assert "alert" in bare
    assert not re.search(r"(?<!\\)(<script|<img|\[a\]|\*b\*|\$x\$)", bare)
    for row in [line for line in words.splitlines() if line.startswith("|")]:
        assert len(re.findall(r"(?<!\\)\|", row)) == len(
            re.findall(r"(?<!\\)\|", next(r for r in words.splitlines() if "--" in r))
        )


def test_the_remedy_and_the_formulas_are_shown() -> None:
    """What to write instead, and both formulas where a finding says to compare them: in HTML and in Markdown."""
    some = column(Verdict.MISMATCH, Cause.FORMULA)
    some.details[1].autograd_formula = "3*x<1"
    remedy = Remedy(
        "y", "log(1+exp(x))", "softplus(x)", (), ("softplus(x)",), ("softplus",), ("range",), "float64",
        {"mismatch": 1}, {"match": 1}, 1, 1, 1,
    )  # fmt: skip
    made = report(some, sought=[remedy])
    page, words = made._repr_html_().partition("<details>")[0], made._repr_markdown_()
    assert "softplus(x)" in page and "write y = softplus(x)" in words
    assert "exact: <code>2*x</code>" in page and "autograd: <code>3*x&lt;1</code>" in page
    assert "exact: `2*x`" in words and "autograd: `3*x<1`" in words


# -- as a table ---------------------------------------------------------------------------------------------------------


def same(cell: Any, value: Any) -> bool:
    """Whether a cell of a table is a value of a check; nan and missing are None."""
    if isinstance(value, str) and isinstance(cell, float):
        value = float(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return bool(pd.isna(cell))
    return bool(cell == value)


@pytest.mark.parametrize("made", [everything(), report(column(name="verdict"), column(name="x"))])
def test_a_row_is_a_check(made: Report) -> None:
    """In their order, field for field; inputs under their names, but for those of fields."""
    table = made.to_dataframe()
    assert len(table) == len(made.checks)
    fields = [
        "quantity",
        "kind",
        "of",
        "mode",
        "dtype",
        "value",
        "left",
        "right",
        "error_ulps",
        "formula_error",
        "rounding_error",
    ]
    for (_, row), check in zip(table.iterrows(), made.checks, strict=True):
        assert all(same(row[name], getattr(check, name)) for name in fields), check
        assert row["wrt"] == ", ".join(check.wrt)
        assert row["verdict"] == check.verdict.value
        assert same(row["cause"], check.cause and check.cause.value)
        assert same(row["autograd"], check.autograd)
        assert same(row["exact"], check.exact) or row["exact"] == pytest.approx(float(check.exact or "nan"))
        for name, value in check.point.items():
            cell = row[f"point.{name}" if name in ("mode", "verdict") else name]
            assert cell == value, name


def test_columns_have_types() -> None:
    """Numbers are floats, an input's too; verdicts are ordered categories, so that the worst of a group is its maximum."""
    table = everything().to_dataframe()
    assert all(table[name].dtype == np.float64 for name in ("exact", "autograd", "relative_error", "error_ulps", "left"))
    assert report(column()).to_dataframe()["x"].dtype == np.float64
    assert {str(table[name].dtype) for name in ("kind", "mode", "dtype", "layer", "verdict", "cause")} == {"category"}
    assert table["verdict"].max() == "mismatch" and table["verdict"].cat.ordered
    assert table[table["verdict"] > "imprecise"]["verdict"].isin(["undecided", "mismatch"]).all()
    assert table["layer"].dropna().tolist() == ["0 Linear"]


def test_an_empty_report_is_an_empty_table() -> None:
    """With its columns."""
    table = report().to_dataframe()
    assert len(table) == 0 and {"quantity", "verdict", "exact"} <= set(table.columns)


def test_no_check_is_made_for_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million rows come from the arrays."""

    def check(self: Column, index: int) -> Check:
        raise AssertionError

    monkeypatch.setattr(Column, "check", check)
    assert len(everything().to_dataframe()) == 11
    assert repr(everything()).startswith("<Report")


def test_without_pandas_it_is_said_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an ImportError, in one line."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r'pandas, which isn.t installed: pip install "gradcheck-cli\[notebook\]"'):
        report(column()).to_dataframe()
    with pytest.raises(ImportError):
        report(column()).to_dataframe()
