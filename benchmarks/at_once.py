"""Claim: what should be answered at once is: hostile arguments and texts, formulas beyond the bounds, reports of many rows.

    python benchmarks/at_once.py [--runs 3]

The cases are those of the tests, which ask what the answer is and count calls, where Python does the work. Here each case is
timed once cold and then --runs times, seconds of the CPU; the slowest case of each kind is shown, by its best warm run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from _hostile import HOSTILE
from _timing import single_core, table
from flint import arb, ctx

from gradcheck_cli.algebra.balls import PLAIN, SMOOTH
from gradcheck_cli.algebra.layers import Exact, Layer, Rounded
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.algebra.symbols import to_symbols, to_tree
from gradcheck_cli.errors import InputError
from gradcheck_cli.exact.stalls import stalled
from gradcheck_cli.formulas.torch_chain import TorchChain
from gradcheck_cli.language.chain import link
from gradcheck_cli.language.functions import ROWS
from gradcheck_cli.language.parser import parse, parse_stage
from gradcheck_cli.output.text import render
from gradcheck_cli.shadow.mode import Shadow
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.report import Report
from tests.algebra import test_balls, test_series, test_symbols
from tests.formats import DOUBLE
from tests.language.test_parser import BOUNDS

Case = tuple[str, Callable[[], object]]


def balls() -> Iterator[Case]:
    """Every row at hostile arguments, at 1,024 bits."""
    for row in ROWS:
        for point in test_balls.hostile(row):
            for algebra in (PLAIN, SMOOTH):
                yield f"{row.name}{point}"[:60], lambda r=row, a=algebra, p=point: _at(1024, lambda: test_balls.run(r, a, p))


def series() -> Iterator[Case]:
    for row in test_series.differentiable:
        for point, place in test_series.hostile(row):
            yield f"{row.name}{point}"[:60], lambda r=row, p=point, i=place: _at(256, lambda: test_series.along(r, p, i))


def _at(precision: int, task: Callable[[], object]) -> object:
    with ctx.workprec(precision), terms(test_series.ORDER + 1):
        return task()


def texts() -> Iterator[Case]:
    for text in (*HOSTILE, *(text for text, _ in BOUNDS)):
        yield ascii(text)[:60], lambda t=text: _read(t)


def _read(text: str) -> None:
    with suppress(InputError):
        parse_stage(text)


def bombs() -> Iterator[Case]:
    for text in test_symbols.BOMBS:
        yield text, lambda t=text: to_tree(to_symbols(parse(t)).diff(test_symbols.X))


def reports() -> Iterator[Case]:
    def column(name: str, n: int) -> Column:
        return Column(
            name, "total", "y", ("x",), "reverse", "bfloat16", "1", {"x": np.arange(n, dtype=float)}, np.ones(n),
            [arb(1)] * n, np.zeros(n), np.zeros(n, dtype=np.uint8),
        )  # fmt: skip

    problem = {
        "stages": [{"name": "y", "expression": "x", "inputs": ["x"]}],
        "dtype": ["bfloat16"],
        "modes": ["reverse"],
        "seed": 0,
    }
    for shown, columns in (
        ("65,536 points", [column("dy/dx", 65_536)]),
        ("20,000 rows", [column(f"dy/ds{i}", 1) for i in range(20_000)]),
    ):
        report = Report("chain", problem, columns, {"gradcheck": "0"}, False, [])
        yield shown, lambda r=report: render(r)


def stalls() -> Iterator[Case]:
    chain, points = link(["tanh(x)*gelu(x)*lgamma(x)"]), {"x": np.linspace(-1e9, 1e9, 100_000)}
    yield "100,000 points", lambda: stalled(chain, 3, points)


def shadow() -> Iterator[Case]:
    layers: list[Layer] = [Exact(), Rounded(DOUBLE)]
    chain = TorchChain(link(["silu(x)"]), torch.float64, "cpu", {})

    def point() -> None:
        x = torch.tensor([0.3], dtype=torch.float64)
        watched = Shadow(layers, 1)
        watched.seed(x, [[arb(0.3)], [arb(0.3)]])
        with watched:
            chain.differentiate("reverse", {"x": x}, [("x",)])

    yield "silu and its backward", point


KINDS: dict[str, tuple[Callable[[], Iterator[Case]], float]] = {
    "balls of 1,024 bits": (balls, 0.2), "series of 256 bits": (series, 0.2), "texts, read or refused": (texts, 1.0),
    "numbers too large for SymPy": (bombs, 1.0), "reports": (reports, 1.0), "do functions stall": (stalls, 0.05),
    "one point of the shadow": (shadow, 0.003),
}  # fmt: skip
"""The cases, and the aim in seconds for the slowest of them."""


def seconds(task: Callable[[], object]) -> float:
    start = time.process_time()
    task()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    single_core()
    rows: list[list[object]] = [["", "cases", "slowest, cold", "warm", "aim", "which"]]
    for kind, (cases, aim) in KINDS.items():
        timed = [(min(seconds(task) for _ in range(runs)), cold, name)
                 for name, task in cases() for cold in [seconds(task)]]  # fmt: skip
        warm, _, name = max(timed)
        rows.append([kind, f"{len(timed):,}", f"{max(cold for _, cold, _ in timed):.4f}", f"{warm:.4f}", aim, name])
    table(rows)


if __name__ == "__main__":
    main()
