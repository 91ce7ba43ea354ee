"""No verdict depends on how busy the machine is: limits are counted in work, and only --timeout is time."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gradcheck_cli
from gradcheck_cli import check_chain, check_function, check_grad
from gradcheck_cli.verdict.column import LATE
from gradcheck_cli.verdict.verdicts import Verdict

CLOCKS = {"monotonic", "perf_counter", "time", "thread_time", "process_time", "time_ns", "monotonic_ns", "perf_counter_ns"}

TIMED = {
    "verdict/work.py": "--timeout",
    "verdict/reports.py": "--timeout of everything in a file",
    "maps/compiling.py": "how long compiling took, which is told, and not counted by --timeout",
    "formulas/stream.py": "--timeout of all floats of a format, and signs of life",
    "callables/handover.py": "the drop-in's budget, which it names where it is spent",
    "callables/dropin.py": "whether the drop-in looks ahead, at the same budget",
    "suite": "--timeout of each check, and how long it took",
    "cli": "signs of life",
}
"""Who may take the time, and for what."""

SOURCES = Path(gradcheck_cli.__file__).parent


def clocks(path: Path) -> list[str]:
    """The clocks that a module reads."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    called = [n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "time"]
    imported = [a.name for n in nodes if isinstance(n, ast.ImportFrom) and n.module == "time" for a in n.names]
    return [name for name in called + imported if name in CLOCKS]


def test_only_what_is_said_to_be_timed_takes_the_time() -> None:
    """A clock anywhere else would let the load decide."""
    found = {p.relative_to(SOURCES).as_posix() for p in SOURCES.rglob("*.py") if clocks(p)}
    assert found
    assert not [path for path in found if path not in TIMED and path.split("/")[0] not in TIMED]


def slow(x: Tensor) -> Tensor:
    """Kinks at several entries."""
    return torch.relu(x) ** 3 + (x - 1).abs()


CHECKS: dict[str, Callable[[], Any]] = {
    "many points": lambda: check_grad("poisson_nll_loss(x, t, full=True)", sample=24),
    "limits": lambda: check_grad("abs(x)**1.5 + sqrt(x**2) + x*abs(x)", at=["x=0", "x=1"]),
    "a chain": lambda: check_chain("relu(x) - relu(-x) | abs(z) | tanh(z)", at=["x=0", "x=30"]),
    "singular entries": lambda: check_function(slow, at="x=[0,1]", order=2),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_slow_machine_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine on which every look at a clock finds an hour gone the report is the same, word for word."""
    before = CHECKS[name]().to_dict()["checks"]
    leaps = count(0, 3600)

    def late() -> float:
        return float(next(leaps))

    for clock in ("monotonic", "thread_time", "process_time", "perf_counter"):
        monkeypatch.setattr(time, clock, late)
    monkeypatch.setattr("gradcheck_cli.verdict.work.supervise", patient)
    assert CHECKS[name]().to_dict()["checks"] == before
    assert {check["verdict"] for check in before} - {"undecided"}


def patient(work: Callable[[], None], *_: Any) -> bool:
    """Without --timeout."""
    work()
    return False


def test_more_points_never_find_less() -> None:
    """What is a mismatch among few points is one among many."""
    few, many = (check_grad("poisson_nll_loss(x, t, full=True)", sample=n) for n in (10, 40))

    def wrong(report: Any) -> set[tuple[str, str]]:
        return {(str(c.point), c.quantity) for c in report.checks if c.verdict is Verdict.MISMATCH}

    points = {str(c.point) for c in many.checks}
    assert wrong(few) and {found for found in wrong(few) if found[0] in points} <= wrong(many)
    assert Verdict.UNDECIDED not in many.counts


def test_time_is_advised_only_where_it_ran_out() -> None:
    """`Raise --timeout` stands where the run was stopped; what work or an opaque operation leaves undecided doesn't say so."""
    assert "--timeout" in LATE
    assert "--timeout" not in Verdict.UNDECIDED.sentence and "time" not in Verdict.UNDECIDED.sentence.split()

    def opaque(x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy().reshape(-1) ** 2) + 0 * x

    said = str(check_function(opaque, at="x=[2,3]"))
    assert "Raise --timeout" not in said and "raise timeout" not in said
