"""The longest report: at most 120 lines without --verbose, and none wider than the terminal, whatever is in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from flint import arb
from rich.cells import cell_len

from gradcheck_cli.output.text import LINES, render
from gradcheck_cli.verdict.column import Column, Detail
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import AtPoints, Label, OfLayer, OfTensor, Scope, TensorLabels
from gradcheck_cli.verdict.verdicts import Cause, Verdict

LONG = "a_long_name_" * 25
MODES = ("reverse", "grad", "forward", "func")
DTYPES = ("float64", "float32", "float16", "bfloat16")
POINTS = {name: np.linspace(-3, 3, 400) for name in ("x", "y", "z")}


def telling(i: int) -> Detail:
    """Another reason for each entry, told at length, with long formulas."""
    said = f"reason {chr(97 + i % 26)}{chr(97 + i // 26 % 26)} " + "which is told at length " * 60
    return Detail(Cause.FORMULA, text=said, formula="x*" * 300 + "1", autograd_formula="y*" * 300 + "1")


def column(
    scope: Scope, count: int, wrt: str = "x", of: str = "y", kind: str = "total", mode: str = "reverse", dtype: str = "float64",
    detail: Callable[[int], Detail] = telling, claim: str | None = None, formula: str | None = "x + " * 30 + "1",
) -> Column:  # fmt: skip
    """Every verdict in turn, errors of every size."""
    random = np.random.default_rng(count)
    made = Column.blank(scope, count, of=of, wrt=(wrt,), kind=kind, mode=mode, dtype=dtype)
    made.exact = [arb(float(x)) for x in random.standard_normal(count)]
    made.autograd[:] = random.standard_normal(count) * 10.0 ** random.integers(-30, 30, count)
    made.error_ulps[:] = 10.0 ** random.integers(0, 20, count)
    made.verdicts[:] = np.arange(count) % len(Verdict)
    made.details = {i: detail(i) for i in range(count) if made.verdict(i) is Verdict.MISMATCH}
    made.claim, made.shown = claim, formula
    return made


def report(command: str, *columns: Column, notes: tuple[str, ...] = (), stages: int = 1) -> Report:
    listed = [{"name": f"s{i}", "expression": "Linear(in_features=4, out_features=4)", "inputs": ["x"]} for i in range(stages)]
    return Report(command, {"stages": listed, "seed": 0}, list(columns), {}, False, list(notes))


def of_layer(number: int, kind: str) -> Column:
    labels = [Label(f"d<v,y>/dl{number}.weight[{i}]", "<v,y>", (f"l{number}",)) for i in range(12)]
    return column(OfLayer({"x": "3x3 numbers"}, labels, layer=f"{number} {LONG}"), 12, kind=kind)


def of_function(number: int) -> Column:
    def detail(i: int) -> Detail:
        return Detail(Cause.RANGE, LONG, LONG, text=LONG, left="1" * 300, right="2" * 300)

    name = f"{LONG}{number}"
    return column(OfTensor({name: [0.1] * 50}, TensorLabels(name, LONG, (6,)), (6,)), 6, LONG, name, detail=detail)


REPORTS: dict[str, Callable[[], Report]] = {
    "thousands of wrong entries": lambda: report(
        "function", column(OfTensor({"x": "50x60 numbers"}, TensorLabels("y", "x", (50, 60)), (50, 60)), 3_000)
    ),
    "60 layers": lambda: report(
        "model", *(of_layer(i, kind) for kind in ("total", "local") for i in range(60)),
        notes=tuple(f"note {i} " + "at length " * 50 for i in range(50)), stages=60,
    ),
    "400 points, all dtypes and modes": lambda: report(
        "chain", *(column(AtPoints(POINTS), 400, wrt, kind=kind, mode=mode, dtype=dtype, detail=lambda i: Detail(Cause.KERNEL))
                   for dtype in DTYPES for mode in MODES for kind, wrt in (("total", "x"), ("local", "z"), ("value", "y"))),
    ),
    "points and names that fill pages": lambda: report("function", *map(of_function, range(30)), notes=("n" * 5_000,)),
    "100 claims": lambda: report(
        "chain", *(column(AtPoints({"x": np.arange(6.0)}), 6, f"x[{i}]", claim=c)
                   for i in range(100) for c in (None, "x=" + LONG)),
    ),
    "wide characters": lambda: report(
        "function",
        column(OfTensor({"変数": ["数" * 300]}, TensorLabels("出力", "変数", (40,)), (40,)), 40, "変数" * 40, "出力",
               detail=lambda i: Detail(Cause.FORMULA, text="説明" * 400)),
    ),
}  # fmt: skip


@cache
def made(name: str) -> Report:
    return REPORTS[name]()


@pytest.mark.parametrize("width", [40, 60, 100])
@pytest.mark.parametrize("name", REPORTS)
def test_a_report_is_bounded(name: str, width: int) -> None:
    """In lines and in columns; it says how much is left out, and how to see it, and its last line is the verdict."""
    lines = render(made(name), width=width).split("\n")
    assert len(lines) <= LINES
    assert max(map(cell_len, lines)) <= width
    assert "--verbose" in " ".join(lines)
    assert any(line.startswith("verdict: mismatch") for line in lines[-8:])
    assert any(line.startswith("mismatch") for line in lines)


@pytest.mark.parametrize("name", ["points and names that fill pages", "wide characters"])
def test_nothing_is_wider_under_verbose(name: str) -> None:
    """Where everything is shown."""
    assert max(map(cell_len, render(made(name), width=60, verbose=True).split("\n"))) <= 60


@pytest.mark.parametrize("name", REPORTS)
def test_no_error_is_a_huge_number_of_ulps(name: str) -> None:
    """Neither in tables nor in findings."""
    text = render(made(name), width=200)
    assert "e+" not in " ".join(word for word, unit in zip(text.split(), text.split()[1:], strict=False) if unit == "ulp")
