"""Claim: the time for a chain is linear in its length; 1,000 stages take at most 2 s beyond the imports.

    python benchmarks/chains.py [--longest 10000]

The stage is `sin(z) + z/2 + 1/(1 + z**2)`. Every run is a process of its own, so that nothing is cached; the
imports are not counted. Beside it: SymPy differentiates the composed chain and evaluates the result at the point, in 60 s
at most.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _timing import table

STAGE = "sin(z) + z/2 + 1/(1 + z**2)"
LIMIT = 60

TOOL = """
import sys, time
import torch, sympy, flint
import gradcheck_cli.formulas.check
from gradcheck_cli import check_chain
check_chain(["2*x", "z + 1"], at={"x": 1})
start = time.perf_counter()
report = check_chain([sys.argv[1]] * int(sys.argv[2]), at={"z": 0.3})
print(time.perf_counter() - start, report.counts)
"""

SYMPY = """
import sys, time
import sympy
x = sympy.Symbol("x", real=True)
start = time.perf_counter()
z = x
for _ in range(int(sys.argv[2])):
    z = sympy.sin(z) + z/2 + 1/(1 + z**2)
sympy.diff(z, x).evalf(30, subs={x: sympy.Rational(3, 10)})
print(time.perf_counter() - start, "")
"""


def run(code: str, stages: int) -> tuple[float | None, str]:
    command = [sys.executable, "-c", code, STAGE.replace("z", "x") if code is SYMPY else STAGE, str(stages)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return None, f"more than {LIMIT} s"
    if done.returncode:
        return None, done.stderr.strip().splitlines()[-1][:80]
    seconds, _, rest = done.stdout.strip().partition(" ")
    return float(seconds), rest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=int, default=10_000)
    longest = parser.parse_args().longest
    rows: list[list[object]] = [["", "stages", "seconds", "ms a stage", ""]]
    for name, code, lengths in (("gradcheck", TOOL, (10, 100, 1_000, 10_000)), ("SymPy, composed", SYMPY, (2, 4, 6))):
        for stages in lengths:
            if stages <= longest:
                seconds, note = run(code, stages)
                shown = ("-", "-") if seconds is None else (f"{seconds:.2f}", f"{seconds / stages * 1e3:.2f}")
                rows.append([name, f"{stages:,}", *shown, note])
    table(rows)


if __name__ == "__main__":
    main()
