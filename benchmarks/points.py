"""Claim: certified verdicts at 100,000 points of a derivative of about 50 operations are fast.

On one core, at least 1.5 times as fast as bare evaluations of that derivative by mpmath, and 5 times as fast as
torch.autograd.gradcheck.

    python benchmarks/points.py [--points 100000] [--rounds 3]
    python benchmarks/points.py --many [--points 1000000] [--rounds 3]
    python benchmarks/points.py --memory
    python benchmarks/points.py --growth

Operations are counted in the derivative, with common subexpressions shared (`sympy.cse`). mpmath: gmpy2, 128 bits, `cse`,
lambdify, conversion of the points not counted. gradcheck of torch: its defaults (slow mode, float64), 1,000 points in one
call. With --many: whole verdicts a second of CPU time, in NumPy and with the extra `fast`, each in a process of its own: the
first check, with all that is derived and compiled, and the median of those after it. With --memory: the peak memory of a
process of its own at 1 (the imports), 10,000, 100,000 and 1,000,000 points. With --growth: how the time of a check grows with
the points, in NumPy.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _timing import alternating, single_core, table

FORMULAS = {
    "elementary": "sin(x)*exp(-x**2/2) + tanh(x/3)*log(1 + x**2) + sqrt(1 + x**4)/(2 + cos(x)) + atan(x)*x**3",
    "network": "sigmoid(x)*tanh(x) + exp(-x**2)*sin(3*x) + log(1 + x**2)/(1 + x**2) + sqrt(1 + x**2)*cos(x)/(2 + sin(x))",
    "rational": "(x**3 - 2*x + 1)/(x**2 + 1) + x**5/(1 + x**4) - (x - 1)**2*(x + 2)**3 + 1/(3 + x**2)**2"
    " + x*(x**2 - 3)/(2 + x**2)",
}
"""The last one cancels: many points need the shadow, which costs most."""

TORCH_POINTS = 1_000


def compare(name: str, points: int, rounds: int) -> list[object]:
    import mpmath
    import numpy as np
    import sympy
    import torch

    from gradcheck_cli import check_grad
    from gradcheck_cli.algebra.symbols import to_symbols
    from gradcheck_cli.language.parser import parse

    torch.set_num_threads(1)
    text = FORMULAS[name]
    x = np.random.default_rng(0).normal(scale=2.0, size=points)
    (symbol,) = (expression := to_symbols(parse(text))).free_symbols
    derivative = expression.diff(symbol)
    shared, (rest,) = sympy.cse(derivative)
    operations = sum(part.count_ops() for _, part in shared) + rest.count_ops()

    mpmath.mp.prec = 128
    bare = sympy.lambdify([symbol], derivative, modules="mpmath", cse=True)
    numbers = [mpmath.mpf(float(v)) for v in x]
    scope = {n: getattr(torch, n) for n in ("sin", "cos", "exp", "log", "sqrt", "tanh", "atan", "sigmoid")}
    function = eval(f"lambda x: {text}", scope)
    few = torch.tensor(x[:TORCH_POINTS], requires_grad=True)

    def evaluate() -> None:
        for number in numbers:
            bare(number)

    at = [{"x": value} for value in x.tolist()]
    report = check_grad(text, at=at)
    check_grad(text, at=at[:10])
    took = alternating(
        {
            "mpmath": evaluate,
            "gradcheck": lambda: check_grad(text, at=at),
            "torch": lambda: torch.autograd.gradcheck(function, (few,), raise_exception=False),
        },
        rounds,
    )
    ours, theirs, torchs = took["gradcheck"] / points, took["mpmath"] / points, took["torch"] / TORCH_POINTS
    shadowed = sum(1 for _, detail in report.columns[0].known() if detail.shadow is not None)
    return [
        name, operations, f"{shadowed / points:.1%}", f"{1 / ours:,.0f}/s", f"{1 / theirs:,.0f}/s", f"{theirs / ours:.2f}x",
        f"{1 / torchs:,.0f}/s", f"{torchs / ours:.1f}x", report.counts,
    ]  # fmt: skip


MANY = """
import sys, time
if sys.argv[1] == "numpy":
    sys.modules["llvmlite"] = None  # as where it isn't installed
import numpy as np
from gradcheck_cli import check_grad
x = np.random.default_rng(0).normal(scale=2.0, size=int(sys.argv[4])).tolist()
check_grad("x*x", at=x[:1000])
took = []
for _ in range(int(sys.argv[5]) + 1):
    start = time.process_time()
    report = check_grad(sys.argv[2], at=x, dtype=sys.argv[3])
    took.append(time.process_time() - start)
column = report.columns[0]
followed = len(column.details) + len(column.sifted.indices())
print(took[0], sorted(took[1:])[len(took[1:]) // 2], followed / len(x), {str(v): n for v, n in report.counts.items()}, sep="|")
"""


def many(points: int, rounds: int) -> None:
    rows: list[list[object]] = [["formula", "dtype", "library", "shadow", "first", "verdicts a second", "verdicts"]]
    for name, text in FORMULAS.items():
        for dtype in ("float64", "float32"):
            for library in ("numpy", "fast"):
                command = [sys.executable, "-c", MANY, library, text, dtype, str(points), str(rounds)]
                said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("|")
                first, each, followed = map(float, said[:3])
                row = [f"{followed:.1%}", f"{first:.2f} s", f"{points / each:,.0f}/s", said[3].strip()]
                rows.append([name, dtype, library, *row])
    table(rows)


def growth(rounds: int) -> None:
    """The time by the number of points, three of them."""
    rows: list[list[object]] = [["formula", "points", "CPU seconds", "microseconds a point"]]
    for name, text in FORMULAS.items():
        for points in (100_000, 300_000, 1_000_000):
            command = [sys.executable, "-c", MANY, "numpy", text, "float64", str(points), str(rounds)]
            each = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("|")[1])
            rows.append([name, f"{points:,}", f"{each:.2f}", f"{each / points * 1e6:.2f}"])
    table(rows)


MEMORY = """
import resource, sys
from gradcheck_cli import check_grad
check_grad(sys.argv[1], at=f"x=linspace(-4,4,{sys.argv[2]})")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def memory() -> None:
    rows: list[list[object]] = [["points", "peak MB", "bytes a point beyond 1 point"]]
    least = 0
    for points in (1, 10_000, 100_000, 1_000_000):
        command = [sys.executable, "-c", MEMORY, FORMULAS["elementary"], str(points)]
        peak = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        least = least or peak
        rows.append([f"{points:,}", f"{peak / 1024:.0f}", f"{(peak - least) * 1024 / points:,.0f}"])
    table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--growth", action="store_true")
    given = parser.parse_args()
    single_core()
    if given.memory:  # first: a child's peak is never below that of the process it was forked from
        memory()
        return
    if given.growth:
        growth(given.rounds)
        return
    if given.many:
        many(given.points or 1_000_000, given.rounds)
        return
    head = ["formula", "operations", "shadow", "gradcheck", "mpmath", "ratio", "torch", "ratio", "verdicts"]
    table([head, *(compare(name, given.points or 100_000, given.rounds) for name in FORMULAS)])


if __name__ == "__main__":
    main()
