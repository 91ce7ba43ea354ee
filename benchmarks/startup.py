"""Claim: a whole run of the smallest chain takes at most 1.2 times its imports.

Help, version and usage errors take at most 0.25 s and import neither torch nor SymPy.

    python benchmarks/startup.py [--runs 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _timing import table

TOOL = [sys.executable, "-m", "gradcheck_cli"]
CHAIN = [*TOOL, "chain", "2*x", "z**2+2*z+2", "--at", "x=1"]
IMPORTS = [sys.executable, "-c", "import torch, sympy, flint"]
LIGHT = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "gradcheck --help": [*TOOL, "--help"],
    "gradcheck chain --help": [*TOOL, "chain", "--help"],
    "gradcheck --version": [*TOOL, "--version"],
    "usage error (option)": [*TOOL, "chain", "x", "--stict"],
    "usage error (formula)": [*TOOL, "chain", "sinn(x)", "--at", "x=1"],
}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - start


def loaded(command: list[str]) -> str:
    """Which of the heavy packages a command imports."""
    traced = subprocess.run([command[0], "-X", "importtime", *command[1:]], capture_output=True, text=True, check=False)
    modules = {line.rpartition("|")[2].strip() for line in traced.stderr.splitlines() if line.startswith("import time:")}
    return ", ".join(sorted(modules & {"torch", "sympy", "flint", "numpy", "rich"})) or "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    seconds(CHAIN), seconds(IMPORTS)
    pairs = [(seconds(CHAIN), seconds(IMPORTS)) for _ in range(runs)]
    ratio = statistics.median(a / b for a, b in pairs)
    chain, imports = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"chain {chain:.2f} s, imports {imports:.2f} s, ratio {ratio:.2f} (median of {runs} pairs, run in turn)")
    table([
        ["command", "seconds", "imports of torch, sympy, flint, numpy, rich"],
        *([name, f"{statistics.median(seconds(c) for _ in range(runs)):.3f}", loaded(c)] for name, c in LIGHT.items()),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
