"""Claim: every float32 of a smooth function takes minutes on two cores: a slice of all patterns, through the real check.

    python benchmarks/every_float.py [--stride N] [--start N] [FUNCTION ...]

The points are every N-th of the 4,278,190,080 finite floats, so that all exponents and both signs are among them; CPU seconds
of one core, and what follows for all of them on two.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from _timing import table

from gradcheck_cli.api import QUESTIONS
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.formulas import stream
from gradcheck_cli.formulas.problem import Problem
from gradcheck_cli.language.spaces import Group, Stretch

FUNCTIONS = ("sin", "exp", "tanh", "sigmoid", "gelu", "log1p")
FORM = FORMATS["float32"]


def problem(text: str, stride: int, start: int = 0, **options: Any) -> Problem:
    """The check of a function of x at every so manieth float."""
    question: Any = QUESTIONS["grad"](text, at="x=all", dtype="float32", **options)
    assert isinstance(question, partial)
    asked: Problem = question.args[0]
    group = Group({"x": Stretch(range(start, FORM.finite, stride))}, True)
    return replace(asked, points=replace(asked.points, at=(group,)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("functions", nargs="*", default=FUNCTIONS)
    parser.add_argument("--stride", type=int, default=1021, help="every so manieth float")
    parser.add_argument("--start", type=int, default=17)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [["function", "points", "us a point", "2**32, two cores", "verdicts"]]
    stream.check_stream(problem("sin(x)", FORM.finite // 1000), request=stream.Request(workers=1))
    for name in given.functions:
        asked = problem(name if "(" in name else f"{name}(x)", given.stride, given.start)
        before = time.process_time()
        report = stream.check_stream(asked, request=stream.Request(workers=1))
        spent = time.process_time() - before
        points = asked.points.count(FORM)
        each = spent / points
        counts = ", ".join(f"{n:,} {verdict}" for verdict, n in report.counts.items())
        rows.append([name, f"{points:,}", f"{each * 1e6:.2f}", f"{each * FORM.finite / 120:.0f} min", counts])
    table(rows)


if __name__ == "__main__":
    main()
