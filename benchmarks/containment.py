"""Claim: the truth lies in every ball of columns, and of both kinds no bound was used by more than half.

    python benchmarks/containment.py [--points 1000000] [--seed 0] [--library numpy|torch|llvm] [KERNEL...]

Each kernel, in both kinds and, in NumPy, of several words, at arguments that are hard for it (`tests/containment.py`): every
exponent and subnormals, results among these, the edges of its tables and what is near them, multiples of pi/512, neighbours of
the ends of its range, and balls whose truth is at the rim. The truth is python-flint's, at up to 6,000 bits. A million
points of every kernel take 20 minutes of one core for each kind. `used`: the largest part of a bound that the rounding of
exact arguments took; `open`: the share of points that arb would have to decide. Violations are printed, and the exit code is 1
if there is one.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

from _timing import single_core, table

PART = 20_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--library", choices=["numpy", "torch", "llvm"], default="numpy")
    parser.add_argument("kernels", nargs="*")
    given = parser.parse_args()
    single_core()

    from gradcheck_cli.algebra.columns import backends
    from gradcheck_cli.algebra.columns.algebra import KINDS
    from tests.containment import KERNELS, SEVERAL, contained

    backend = getattr(backends, f"on_{given.library}")()
    rows: list[list[object]] = [["kernel", "kind", "points", "violations", "used", "open", "seconds"]]
    wrong = 0
    for name in given.kernels or KERNELS:
        for kind in SEVERAL if given.library == "numpy" else KINDS:
            start, violations, used, closed, done = time.process_time(), 0, 0.0, 0, 0
            for part in range(-(-given.points // PART)):
                found = contained(name, kind, backend, min(PART, given.points), 1000 * given.seed + part + 1_000_000)
                for violation in found.violations[: 5 if violations < 5 else 0]:
                    print("VIOLATION", name, kind, *map(repr, violation), flush=True)
                violations += len(found.violations)
                used, closed, done = max(used, found.used), closed + found.points, done + min(PART, given.points)
            wrong += violations
            took = time.process_time() - start
            rows.append([name, kind, f"{done:,}", violations, f"{used:.3f}", f"{1 - closed / done:.1%}", f"{took:.0f}"])
            print(*rows[-1], flush=True)
    table(rows)
    print(f"violations: {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
