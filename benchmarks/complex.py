"""Claim: complex numbers take at most four times what real ones do.

    python benchmarks/complex.py [--rounds 3]

The same functions and networks, of complex and of real numbers, by turns: the median seconds of CPU time of a check, and the
ratio. A complex number is two numbers to differentiate by, and a product of two is four.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from _timing import single_core, table

single_core()

import torch  # noqa: E402

from gradcheck_cli import Report, check_function, check_model  # noqa: E402
from gradcheck_cli.verdict.verdicts import Verdict  # noqa: E402

RIGHT = {Verdict.MATCH, Verdict.IMPRECISE}


def function(count: int) -> Callable[[torch.dtype], Report]:
    def check(dtype: torch.dtype) -> Report:
        torch.manual_seed(0)
        z = torch.randn(count, dtype=dtype)
        return check_function(lambda z: (z.tanh() * z.exp() / (z * z + 2)).sum().abs(), at={"z": z})

    return check


def product(size: int) -> Callable[[torch.dtype], Report]:
    def check(dtype: torch.dtype) -> Report:
        torch.manual_seed(0)
        a, b = (torch.randn(size, size, dtype=dtype) for _ in range(2))
        return check_function(lambda a, b: a @ b, at={"a": a, "b": b})

    return check


def network(width: int) -> Callable[[torch.dtype], Report]:
    def check(dtype: torch.dtype) -> Report:
        torch.manual_seed(0)
        layers: list[Any] = []
        for _ in range(3):
            layers += [torch.nn.Linear(width, width, dtype=dtype), torch.nn.Tanh()]
        return check_model(torch.nn.Sequential(*layers), input=(4, width))

    return check


CASES = {
    "function of 10 numbers": function(10),
    "function of 1,000": function(1_000),
    "function of 100,000": function(100_000),
    "product of 64x64": product(64),
    "3 layers of 16": network(16),
    "3 layers of 64": network(64),
    "3 layers of 128": network(128),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    rows: list[list[str]] = [["case", "real", "complex", "ratio"]]
    for name, check in CASES.items():
        seconds: dict[torch.dtype, list[float]] = {torch.float64: [], torch.complex128: []}
        for turn in range(rounds + 1):  # the first one derives and compiles
            for dtype, found in seconds.items():
                start = time.process_time()
                assert check(dtype).verdict in RIGHT
                found += [time.process_time() - start] * bool(turn)
        real, both = map(statistics.median, seconds.values())
        rows.append([name, f"{real:.3f} s", f"{both:.3f} s", f"{both / real:.1f}"])
    table(rows)


if __name__ == "__main__":
    main()
