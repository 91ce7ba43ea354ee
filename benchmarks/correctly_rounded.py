"""Claim: at every float32 the words of columns hold what MPFR says, and rounded to float32 they are its rounded value.

    python benchmarks/correctly_rounded.py [--stride 65537] [--start 0] [--library numpy|torch|llvm] [FUNCTION ...]

Functions of the table that have a kernel and that MPFR has (gmpy2), in single words, as `--at x=all --dtype float32` evaluates
them. Every `--stride`-th of the 4,278,190,080 finite floats, 1 for all of them, which takes MPFR some hours a function; with
another `--start` other ones. `open`: points that are left to balls. `unsure`: words that hold a midpoint between two floats.
The exit code is 1 if one is wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import gmpy2
import numpy as np
from _timing import single_core, table

from gradcheck_cli.algebra.columns import backends
from gradcheck_cli.algebra.columns.evaluation import Evaluation
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.language.parser import parse

FORM = FORMATS["float32"]
PART = 1 << 16
BITS = 128

REFERENCES: dict[str, Callable[[Any], Any]] = {
    **{name: getattr(gmpy2, name) for name in (
        "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "sech",
        "asinh", "acosh", "atanh", "erf", "erfc", "exp2", "log2", "log10",
    )},
    "sigmoid": lambda x: 1 / (1 + gmpy2.exp(-x)),
    "gelu": lambda x: x * gmpy2.erfc(-x / gmpy2.sqrt(gmpy2.mpfr(2))) / 2,
}  # fmt: skip


def rounded(x: Any) -> float:
    """The nearest float32, ties to even, beyond the largest an infinity."""
    with gmpy2.context(gmpy2.ieee(32)) as context:
        context.subnormalize = True
        return float(gmpy2.mpfr(x))


def compare(name: str, evaluation: Evaluation, numbers: range) -> tuple[int, int, int]:
    """How many values at some floats are open, unsure and wrong."""
    x = FORM.floats(numbers)
    (column,) = evaluation.at(x)
    high, low, radius = (np.asarray(part) for part in column)
    known = np.flatnonzero(np.isfinite(radius))
    below, above = FORM.round(high - radius), FORM.round(high + radius)
    unsure = wrong = 0
    with gmpy2.context(precision=BITS, emax=1 << 40, emin=-(1 << 40)):
        for i in known.tolist():
            value = REFERENCES[name](gmpy2.mpfr(float(x[i])))
            held = abs(value - high[i] - low[i]) <= radius[i]
            sure = below[i] == above[i]
            unsure += not sure
            if not held or (sure and rounded(value) != below[i]):
                wrong += 1
                print("WRONG", name, repr(float(x[i])), value, high[i], radius[i], flush=True)
    return len(x) - len(known), unsure, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("functions", nargs="*", default=[*REFERENCES])
    parser.add_argument("--stride", type=int, default=65537)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--library", choices=["numpy", "torch", "llvm"], default="numpy")
    given = parser.parse_args()
    single_core()
    rows: list[list[object]] = [["function", "points", "open", "unsure", "wrong", "seconds"]]
    total = 0
    for name in given.functions:
        evaluation = Evaluation([parse(f"{name}(x)")], ["x"], "single", getattr(backends, f"on_{given.library}")())
        numbers, start = range(given.start, FORM.finite, given.stride), time.process_time()
        parts = [compare(name, evaluation, numbers[i : i + PART]) for i in range(0, len(numbers), PART)]
        left, unsure, wrong = map(sum, zip(*parts, strict=True))
        total += wrong
        took = f"{time.process_time() - start:.0f}"
        rows.append([name, f"{len(numbers):,}", f"{left / len(numbers):.1%}", unsure, wrong, took])
        print(*rows[-1], flush=True)
    table(rows)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
