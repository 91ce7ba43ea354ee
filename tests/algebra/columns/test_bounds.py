"""Each constant of a bound matters: with an eighth of it, arb finds a result that doesn't hold the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck_cli.algebra.columns import primitives
from gradcheck_cli.algebra.columns.backends import Backend, on_numpy
from tests.containment import Balls, check, drawn, evaluate

BOUNDS: tuple[tuple[str, str, str], ...] = (
    # module, constant, a kernel that shows it
    ("words", "TINY", "multiply"),
    ("double", "SUM", "add"),
    ("double", "PRODUCT", "multiply"),
    ("double", "QUOTIENT", "over"),
    ("double", "ROOT", "square_root"),
    ("double_functions", "REDUCED", "sin"),
    ("double_functions", "EXP_FOURTH", "exp"),
    ("double_functions", "EXP_WORD", "exp"),
    ("double_functions", "LOG_CUBE", "log"),
    ("double_functions", "LOG_WORD", "log"),
    ("double_functions", "SIN_CUBE", "sin"),
    ("double_functions", "SIN_WORD", "cos"),
    ("double_functions", "ATAN_CUBE", "atan"),
    ("double_functions", "ATAN_WORD", "atan"),
    ("double_functions", "LEAST", "tanh"),
    ("turns", "TURNED_ERROR", "sin"),
    ("double_normal", "TAIL", "erfcx"),
    ("double_normal", "WORD", "erf"),
    ("double_normal", "SLOPE", "erfc"),
    ("single", "ROUNDED", "multiply"),
    ("single_functions", "EXP_ROUNDED", "exp"),
    ("single_functions", "EXPM1_ROUNDED", "expm1"),
    ("single_functions", "LOG_TABLE", "log"),
    ("single_functions", "LOG_REST", "log"),
    ("single_functions", "SIN_TABLE", "sin"),
    ("single_functions", "SIN_REST", "sin"),
    ("single_functions", "ATAN_TABLE", "atan"),
    ("single_functions", "ATAN_REST", "atan"),
    ("single_functions", "LEAST", "tanh"),
    ("single_normal", "SCALED_ROUNDED", "erfcx"),
    ("single_normal", "PLAIN_ROUNDED", "erf"),
    ("single_normal", "SLOPE", "erf"),
)


SEED = 7


def weakened(module: str, constant: str, kind: str) -> Backend:
    """NumPy's kernels with an eighth of a constant, wherever it is used."""
    backend = Backend(primitives, 1 << 13)
    for name in (kind, f"{kind}_functions", f"{kind}_normal", module):
        backend.kernels(name)
    value = backend.kernels(module)[constant]
    for name in ("words", "turns", kind, f"{kind}_functions", f"{kind}_normal"):
        scope: Any = backend.kernels(name)
        if scope.get(constant) == value:
            scope[constant] = value / 8
    return backend


def violations(module: str, constant: str, kernel: str, count: int, checked: int) -> tuple[int, int]:
    """How many of the results that depend most on the constant don't hold the truth: with an eighth of it, and as it stands."""
    kind = "single" if module.startswith("single") else "double"
    given = drawn(kernel, kind, count, SEED)
    full, weak = on_numpy(), weakened(module, constant, kind)
    with np.errstate(all="ignore"):
        (*_, whole), (*_, less) = (evaluate(kernel, kind, backend, given) for backend in (full, weak))
        shrunk = np.where(np.isfinite(whole) & (whole > 0), less / whole, 1.0)
    order = np.argsort(shrunk, kind="stable")
    most = order[: max(checked, int((shrunk < 0.16).sum()))]
    chosen = np.random.default_rng(1).choice(most, checked, replace=False)
    part = [Balls(*(column[chosen] for column in ball)) for ball in given]
    few, none = (check(kernel, kind, backend, part).violations for backend in (weak, full))
    return len(few), len(none)


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda b: f"{b[0]}.{b[1]}")
def test_an_eighth_of_a_constant_is_too_little(bound: tuple[str, str, str]) -> None:
    """Every constant of a bound is enough, and divided by 8 it is refuted by arb, at the arguments where it counts."""
    for count in (10_000, 40_000, 160_000):
        weak, full = violations(*bound, count, count // 20)
        assert not full
        if weak:
            return
    raise AssertionError("an eighth is enough")
