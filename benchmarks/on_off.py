"""Claim: columns change no verdict. What they say of every derivative is what balls alone say, but where those are undecided.

    python benchmarks/on_off.py [--points 10000000] [--each 20000] [--seed 0] [--dtype float64 float32] [--timeout 60]

Derivatives of the formulas of points.py, of every function of one number, and of random formulas (tests/expressions.py), a
batch of `--each` points at a time, until there were so many in all: normal numbers of deviations 1e-3, 1 and 30, floats of any
bits, and special ones. Each batch is checked twice, with GRADCHECK_COLUMNS on and off. Printed are formulas with a verdict or
cause that differs, how many `undecided` became decided, the largest ratio of two `error_ulps` above 1e-3, contradictions, and
the totals; how far it is, on stderr. It exits with 1 where a verdict differs. What took longer than `--timeout` seconds is left
out, and said.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from _timing import single_core
from points import FORMULAS

from gradcheck_cli import check_grad
from gradcheck_cli.algebra.columns.trust import TRUST
from gradcheck_cli.errors import InputError
from gradcheck_cli.language.functions import ROWS
from gradcheck_cli.verdict.verdicts import Verdict
from tests.expressions import random_formula

SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, 1e-30, 1e30, 5e-324, 1.5e-45)
NOTICED = 1e-3
"""Ulps below which two errors aren't compared."""


def texts(rng: random.Random) -> Iterator[str]:
    """Formulas of x, without an end."""
    yield from FORMULAS.values()
    for row in ROWS:
        if len(row.parameters) == 1 and row.parameters[0].kind == "tensor" and not row.truths:
            yield f"{row.name}(x)"
    while True:
        yield random_formula(rng, names=("x",))


def batch(rng: np.random.Generator, count: int, dtype: str) -> Any:
    """Points of every kind."""
    form = np.dtype(dtype)
    bits = rng.integers(0, 2 ** (8 * form.itemsize), count // 4, dtype=np.uint64)
    wild = bits.astype(f"u{form.itemsize}").view(form)
    rest = [rng.normal(scale=s, size=count // 4) for s in (1e-3, 1.0, 30.0)]
    points = np.concatenate([*rest, wild[np.isfinite(wild)], SPECIAL]).astype(form)
    return points.astype(np.float64)


def seen(text: str, points: Any, dtype: str, columns: str, timeout: float) -> Any:
    os.environ["GRADCHECK_COLUMNS"] = columns
    return check_grad(text, at=points.tolist(), dtype=dtype, timeout=timeout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--each", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", nargs="+", default=["float64", "float32"])
    parser.add_argument("--timeout", type=float, default=60.0)
    given = parser.parse_args()
    single_core()
    draw, rng = random.Random(given.seed), np.random.default_rng(given.seed)
    total, formulas, differ, decided, worst, late = 0, 0, 0, 0, 1.0, 0
    spent: Counter[str] = Counter()
    for text in texts(draw):
        for dtype in given.dtype:
            points = batch(rng, given.each, dtype)
            both = {}
            try:
                for columns in ("on", "off"):
                    start = time.process_time()
                    both[columns] = seen(text, points, dtype, columns, given.timeout)
                    spent[columns] += time.process_time() - start
            except InputError:
                continue
            if any("--timeout" in note for report in both.values() for note in report.notes):
                late += 1
                continue
            formulas += 1
            for on, off in zip(both["on"].columns, both["off"].columns, strict=True):
                total += len(on)
                same = on.verdicts == off.verdicts
                open_before = off.having(Verdict.UNDECIDED) & ~same
                decided += int(open_before.sum())
                for i in np.flatnonzero(same & on.having(Verdict.MISMATCH)).tolist():
                    same[i] = on.cause(i) == off.cause(i)
                wrong = np.flatnonzero(~same & ~open_before)
                if len(wrong):
                    differ += len(wrong)
                    i = int(wrong[0])
                    print(f"{text} in {dtype} at {float(on.scope.point(i)['x']).hex()}: {on.verdict(i).value} with columns, "
                          f"{off.verdict(i).value} without; {len(wrong)} such", flush=True)  # fmt: skip
                errors = np.stack([on.error_ulps, off.error_ulps])
                errors = errors[:, (errors.min(axis=0) > NOTICED) & np.isfinite(errors).all(axis=0)]
                worst = max(worst, float(np.max(errors.max(axis=0) / errors.min(axis=0), initial=1.0)))
        print(f"{total:,} derivatives, {spent['on'] + spent['off']:.0f} s: {text}", file=sys.stderr)
        if total >= given.points or TRUST.notes:
            break
    for note in TRUST.notes:
        print("contradiction:", note)
    print(
        f"{total:,} derivatives of {formulas:,} checks: {differ} differ, {decided:,} were undecided without columns; "
        f"error_ulps by a factor of up to {worst:.6g}; {late} left out for --timeout; "
        f"{spent['on']:.0f} s with columns, {spent['off']:.0f} s without"
    )
    return 1 if differ or TRUST.notes else 0


if __name__ == "__main__":
    sys.exit(main())
