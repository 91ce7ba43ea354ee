"""Claim: every finite float of bfloat16 (`--at x=all`, 65,280 points) is checked in about a second beyond the imports.

    python benchmarks/all_floats.py [FUNCTION ...]

Each function in a process of its own; the imports and a first tiny check are not counted.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _timing import table

FUNCTIONS = ("sin", "tanh", "gelu", "exp", "floor", "erf", "acot", "asinh", "sech", "csch", "lgamma", "gamma", "i1", "sinc")

CODE = """
import sys, time
from gradcheck_cli import check_chain
check_chain("2*x", at={"x": 1})
start = time.process_time()
report = check_chain(f"{sys.argv[1]}(x)", at="x=all", dtype="bfloat16")
took = time.process_time() - start
print(f"{took:.2f}", sum(1 for c in report.columns for d in c.details.values() if d.shadow is not None), report.counts)
"""


def main() -> None:
    rows = [["function", "CPU seconds", "through the shadow", "verdicts"]]
    for name in sys.argv[1:] or FUNCTIONS:
        done = subprocess.run([sys.executable, "-c", CODE, name], capture_output=True, text=True, check=False)
        failed = ["-", "-", done.stderr[-100:].strip()]
        rows.append([name, *(failed if done.returncode else done.stdout.strip().split(" ", 2))])
    table(rows)


if __name__ == "__main__":
    main()
