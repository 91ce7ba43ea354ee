"""Claim: enclosures in columns take a small part of what balls take, one number at a time.

    python benchmarks/columns.py [--points 1000000] [--few 20000] [--rounds 5] [--library numpy torch llvm]

The three formulas of points.py, the value and SymPy's derivative together, at normal points of deviation 2, on one core. CPU
time, medians of runs in turn, ns a point. `balls`: `exact.enclosure.Enclosure` at `--few` points, without columns. `open`:
the share of points at which the value or the derivative isn't certified to 8 bits more than float64 (for double words) or
float32 (single) has, so that balls would have to decide it; the points of single words are floats of 32 bits. `first`: the
first call, with all that is compiled.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _timing import single_core, table
from points import FORMULAS


def seconds(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Medians of CPU time, the tasks run in turn."""
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            found[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in found.items()}


def measure(name: str, points: int, few: int, rounds: int, libraries: list[str]) -> list[list[object]]:
    import numpy as np
    import torch

    from gradcheck_cli.algebra.columns import backends
    from gradcheck_cli.algebra.columns.algebra import KINDS
    from gradcheck_cli.algebra.columns.evaluation import Evaluation
    from gradcheck_cli.exact.derivative import differentiate
    from gradcheck_cli.exact.enclosure import GUARD_BITS, Enclosure
    from gradcheck_cli.floats import FORMATS
    from gradcheck_cli.language.chain import link
    from gradcheck_cli.language.parser import parse

    torch.set_num_threads(1)
    os.environ["GRADCHECK_COLUMNS"] = "off"  # `Enclosure.at` by balls alone
    tree = parse(FORMULAS[name])
    derivative = differentiate(tree, ("x",))
    assert derivative is not None
    rows: list[list[object]] = []
    for kind in KINDS:
        form = FORMATS["float64" if kind == "double" else "float32"]
        x = form.round(np.random.default_rng(0).normal(scale=2.0, size=points))
        balls = Enclosure(link([FORMULAS[name]]), [("x",)], form)
        some = {"x": x[:few].tolist()}
        balls.at({"x": some["x"][:10]})
        tasks: dict[str, Callable[[], object]] = {"balls": lambda b=balls, s=some: b.at(s)}  # type: ignore[misc]
        first, opened = {}, {}
        for library in libraries:
            values = torch.from_numpy(x) if library == "torch" else x
            start = time.process_time()
            evaluation = Evaluation([tree, derivative], ["x"], kind, getattr(backends, f"on_{library}")())
            evaluation.at(values[:10])
            first[library] = time.process_time() - start
            tasks[library] = lambda e=evaluation, v=values: e.at(v)  # type: ignore[misc]
            value, slope = evaluation.at(values)
            tight = np.asarray(slope.radius) <= 2.0 ** -(form.bits + GUARD_BITS) * np.abs(np.asarray(slope.high))
            opened[library] = 1 - (tight & ~np.asarray(value.open)).mean()
        took = seconds(tasks, rounds)
        each = took.pop("balls") / few * 1e9
        for library, spent in took.items():
            ns = spent / points * 1e9
            rows.append([
                name, kind, library, f"{each:,.0f}", f"{ns:,.0f}", f"{each / ns:.1f}x", f"{opened[library]:.3%}",
                f"{first[library]:.2f} s",
            ])  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--few", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--library", nargs="+", choices=["numpy", "torch", "llvm"], default=["numpy"])
    given = parser.parse_args()
    single_core()
    head = ["formula", "words", "library", "balls, ns", "columns, ns", "ratio", "open", "first"]
    found = [row for name in FORMULAS for row in measure(name, given.points, given.few, given.rounds, given.library)]
    table([head, *found])


if __name__ == "__main__":
    main()
