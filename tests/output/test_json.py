"""The JSON: one object with the fields of DESIGN 7, valid for any reader."""

from __future__ import annotations

import json
import math

import numpy as np
from flint import arb, ctx

from gradcheck_cli.output.json import render
from gradcheck_cli.verdict.column import Column, Detail
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import AtPoints
from gradcheck_cli.verdict.verdicts import Cause, Verdict

FIELDS = [
    "point", "quantity", "kind", "of", "wrt", "mode", "dtype", "formula", "exact", "left", "right", "autograd",
    "shadow", "autograd_formula", "error_ulps", "formula_error", "rounding_error", "verdict", "cause", "stage",
    "operation", "detail", "why",
]  # fmt: skip


with ctx.workprec(128):
    THIRD = arb(1) / 3


def made() -> Report:
    column = Column(
        "dy/dx", "total", "y", ("x",), "reverse", "float64", AtPoints({"x": np.array([1.0, math.inf])}),
        np.array([math.nan, 0.5]), [THIRD, None], np.array([math.nan, math.inf]),
        np.array([Verdict.MISMATCH.severity, Verdict.UNDECIDED.severity], dtype=np.uint8),
        {0: Detail(Cause.NAN_TRAP, "y", "exp", "text", formula_error=0.0)}, "größer",
    )  # fmt: skip
    problem = {
        "stages": [{"name": "y", "expression": "x", "inputs": ["x"]}],
        "dtype": ["float64"],
        "modes": ["reverse"],
        "seed": 3,
    }
    return Report("chain", problem, [column], {"torch": "2"}, notes=["a note"])


def test_one_object() -> None:
    """The text parses, equals to_dict(), and holds what DESIGN 7 lists, in that order."""
    text = render(made(), color=True, width=3)
    read = json.loads(text)
    assert read == made().to_dict()
    assert list(read) == [
        "schema",
        "command",
        "verdict",
        "exit_code",
        "problem",
        "checks",
        "counts",
        "notes",
        "remedies",
        "versions",
    ]
    assert (read["schema"], read["command"], read["verdict"], read["exit_code"]) == (1, "chain", "mismatch", 1)
    assert read["counts"] == {"mismatch": 1, "undecided": 1}
    assert list(read["checks"][0]) == FIELDS
    assert "größer" in text


def test_non_finite_numbers_are_strings() -> None:
    """NaN and Infinity, which JSON lacks, are the strings nan, inf and -inf; what is absent is null."""
    first, second = json.loads(render(made()))["checks"]
    assert first["autograd"] == "nan"
    assert first["error_ulps"] is None
    assert first["exact"] == "0.33333333333333333333"
    assert (first["cause"], first["operation"], first["formula_error"]) == ("nan_trap", "exp", 0.0)
    assert second["point"] == {"x": "inf"}
    assert second["exact"] is None
    assert second["error_ulps"] == "inf"


def test_what_cannot_be_seen_is_escaped() -> None:
    """A name with control characters, or that turns the direction of writing, reaches a terminal as JSON's own escapes; letters
    of any script stand as they are."""
    report = made()
    report.problem["model"] = "größer\x9b1m\u202e\ud800\U000e0001\n"
    text = render(report)
    assert "größer\\u009b1m\\u202e\\ud800\\udb40\\udc01\\n" in text
    assert text.replace("\n", "").isprintable() and json.loads(text) == report.to_dict()
