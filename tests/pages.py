"""Pages to be looked at: reports and suites made by hand, with whatever a user, a file or a library may call itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from flint import arb

from gradcheck_cli.output import renderer, suite_renderer
from gradcheck_cli.suite.baseline import Comparison
from gradcheck_cli.suite.execute import Outcome
from gradcheck_cli.suite.run import Suite
from gradcheck_cli.verdict.column import Column, Detail
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import AtPoints, Label, OfLayer
from gradcheck_cli.verdict.verdicts import Cause, Verdict

HOSTILE = (
    "<script>window.pwned = 1</script>", '"><img src=x onerror="window.pwned = 2">', "' onmouseover='window.pwned = 3",
    "\u202egnp.exe\u202c", "{{ 7*7 }} {% raw %}", "</style><style>body{display:none}", "javascript:window.pwned=4",
    "a\x1b[31m\x00b",
)  # fmt: skip
"""Names that would be markup, a template, a style, or turn the direction of writing, if they weren't text."""

VALUES = [3.0, -1.5, float("nan"), 1e300, 12.0, -2e-300, 0.0, 10.0, 9.0, 1.0]
"""Autograd's: their order as numbers isn't that as texts."""


def column(quantity: str, autograd: list[float], **given: Any) -> Column:
    """One derivative at as many points; what is finite is right."""
    numbers = np.array(autograd)
    right = np.isfinite(numbers)
    verdicts = np.where(right, Verdict.MATCH.severity, Verdict.MISMATCH.severity).astype(np.uint8)
    filled: dict[str, Any] = {
        "kind": "total", "of": "y", "wrt": ("x",), "mode": "reverse", "dtype": "float64",
        "scope": AtPoints({"x": np.arange(1.0, len(numbers) + 1)}), "values": np.arange(1.0, len(numbers) + 1),
        "details": {int(i): Detail(cause=Cause.NAN_TRAP, stage="z", operation="exp") for i in np.flatnonzero(~right)},
        **given,
    }  # fmt: skip
    return Column(
        quantity=quantity, autograd=numbers, exact=[arb(x) if np.isfinite(x) else arb(2) for x in autograd],
        error_ulps=np.where(right, 0.0, np.nan), verdicts=verdicts, **filled,
    )  # fmt: skip


def chain() -> Report:
    """A chain of three stages with a skip connection, at ten points, wrong at one of them."""
    stages = [
        {"name": "z", "expression": "2*x", "inputs": ["x"]},
        {"name": "w", "expression": "where(z <= 0, exp(z), 1 + z)", "inputs": ["z"]},
        {"name": "y", "expression": "w/(1 + exp(-x))", "inputs": ["w", "x"]},
    ]
    columns = [
        column("dy/dx", VALUES, shown="where(x <= 0, exp(x), 1)/(1 + exp(-x))"),
        column("dy/dz", VALUES, wrt=("z",), shown="2*z"),
        column("dz/dx", [2.0] * 10, of="z", kind="local", shown="2"),
    ]
    problem = {"stages": stages, "dtype": ["float64"], "modes": ["reverse"], "seed": 7}
    return Report("chain", problem, columns, {"gradcheck": "1", "torch": "2"}, False, ["a note"])


def hostile() -> Report:
    """A network in which everything that has a name has a hostile one."""
    columns = []
    for i, name in enumerate(HOSTILE):
        detail = Detail(cause=Cause.FORMULA, stage=f"{name} Layer", operation=name, text=f"{name} in ({name}.py, line 3)",
                        autograd_formula=name, formula=name)  # fmt: skip
        labels = [Label(f"dy/d{name}[{j}]", "y", (f"{name}[{j}]",)) for j in range(2)]
        scope = OfLayer({name: [1.0, 2.0]}, labels, layer=f"{name} Layer")
        given: dict[str, Any] = {"scope": scope, "values": None}
        columns.append(column(name, [1.0, float("nan")], details={1: detail}, shown=name, wrt=(name,), **given))
        columns.append(column(name, [1.0, 2.0], kind="local", details={}, claim=name if i == 0 else None, **given))
    stages = [{"name": name, "expression": f"{name}()", "inputs": []} for name in HOSTILE]
    problem = {
        "model": HOSTILE[0], "stages": stages, "flow": {name: [*HOSTILE[:2]] for name in HOSTILE[2:]},
        "inputs": {HOSTILE[1]: [2]}, "surrogate": HOSTILE[0],
    }  # fmt: skip
    return Report("model", problem, columns, dict.fromkeys(HOSTILE, HOSTILE[1]), False, list(HOSTILE))


def outcome(name: str, status: str = "passed", **given: Any) -> Outcome:
    filled = {"spec_id": f"{given.get('file', 'a.toml')}::{name}", "kind": "chain", "file": "a.toml", "line": 3,
              "verdict": "match" if status == "passed" else "mismatch", "cause": None, "expected": "match", "seconds": 0.5,
              "asked": {"target": "x**2"}, **given}  # fmt: skip
    return Outcome(name=name, status=status, **filled)


def suite() -> Suite:
    """Three files: passed, failed, known, mended, undecided, hostile; durations whose order as numbers isn't that as texts."""
    check = {"point": {"x": 1.5}, "quantity": "dy/dx", "formula": "2*x", "exact": "3", "autograd": "nan", "verdict": "mismatch",
             "cause": "formula", "autograd_formula": "x/2", "detail": "the factor 2 is missing", "claim": None}  # fmt: skip
    outcomes = [
        outcome("first", seconds=10.0),
        outcome("second", "failed", seconds=9.0, report={"checks": [check]}, text="mismatch\n  both formulas"),
        outcome("third", "undecided", seconds=100.25, verdict=None, fault="timeout", error="not finished"),
        *(
            outcome(name, "failed", file=f"{name}.toml", seconds=0.25 + i, text=name, asked={"target": name}, error=name)
            for i, name in enumerate(HOSTILE)
        ),
        outcome("known one", "failed", seconds=2.0, file="c.toml"),
        outcome("mended one", seconds=1.0, file="c.toml"),
    ]
    comparison = Comparison(frozenset({"c.toml::known one"}), ("c.toml::mended one",))
    return Suite(tuple(outcomes), len(outcomes), 33.0, comparison, notes=HOSTILE)


def pages() -> dict[str, str]:
    """Every kind of page, by name."""
    from gradcheck_cli.cli.functions import WRITERS, describe
    from gradcheck_cli.language.functions import TABLE

    command = f"gradcheck chain '{HOSTILE[0]}'"
    return {
        "chain": renderer("html", chain())(chain(), command=command),
        "hostile": renderer("html", hostile())(hostile(), command=command),
        "suite": suite_renderer("html")(suite(), command=command),
        "functions": WRITERS["html"]([describe(row) for row in TABLE.values()], 100),
    }


def wide() -> Report:
    """One whose table and text are wider than a notebook."""
    names = [f"d{'y' * 40}/d{'x' * 60}[{i}]" for i in range(3)]
    columns = [column(name, VALUES, shown="+".join(f"x[{i}]*cos({i}*x[{i}])" for i in range(60))) for name in names]
    return Report("chain", {"stages": [], "seed": None}, columns, {})
