"""Claim: a check walks down the layers; what calls up is what was handed down: progress, taps of a map, the shadow's layers.

    python benchmarks/walks.py

A check of each kind, once to warm up (imports and what is compiled once don't count), then once under sys.setprofile. *Files*:
those of the package in which a function was entered. *Pairs*: the caller's file and the callee's, where they differ; the caller
is the nearest frame of the package, so that what torch, or a compiled formula, calls back counts for who called that. *Up*:
calls into a layer that stands below the caller's in ARCHITECTURE.md (before there was one: in the list of
tests/test_structure.py), and how many different pairs they are. A generator is entered each time that it is asked for more.
"""

from __future__ import annotations

import ast
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from _timing import table

import gradcheck_cli
from gradcheck_cli import Report, check_chain, check_function, check_model

PACKAGE = Path(gradcheck_cli.__file__).parent
SHOWN = 5


class Silu(torch.autograd.Function):
    """A backward that lacks a term."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return gradient * torch.sigmoid(x)


def silu(x: torch.Tensor) -> torch.Tensor:
    """What a user checks."""
    return Silu.apply(x)  # type: ignore[no-any-return,no-untyped-call]


def network() -> torch.nn.Module:
    """Two layers and an activation."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()


CASES: dict[str, tuple[str, Callable[[], Report]]] = {
    "chain": ("match", lambda: check_chain(["2*x", "z**2 + 2*z + 2"], at="x=1")),
    "chain, wrong callable": ("mismatch", lambda: check_chain(["2*x", "silu(z)"], at="x=1", callables={"silu": silu})),
    "function, wrong": ("mismatch", lambda: check_function(silu, at={"x": [0.5, -1.25]})),
    "model": ("match", lambda: check_model(network(), input=torch.tensor([[0.5, -1.25, 2.0]], dtype=torch.float64))),
}


def layers() -> list[str]:
    """The names of the layers, from the top."""
    page = PACKAGE.parent / "ARCHITECTURE.md"
    if page.exists():
        block = page.read_text(encoding="utf-8").partition("```layers\n")[2].partition("```")[0]
        return [line.split()[0].removesuffix("/").removesuffix(".py") for line in block.splitlines()]
    for node in ast.parse((PACKAGE.parent / "tests" / "test_structure.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ORDER":
            return list(ast.literal_eval(node.value))
    raise LookupError("no list of layers")


@cache
def file_of(code: CodeType) -> str:
    """The module below the package; empty for other code."""
    path = Path(code.co_filename)
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts) if path.is_relative_to(PACKAGE) else ""


class Walk:
    """The files that were entered, and the calls from one to another."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.calls: Counter[tuple[str, str]] = Counter()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if event != "call" or not (callee := file_of(frame.f_code)):
            return
        self.files.add(callee)
        above = frame.f_back
        while above is not None and not file_of(above.f_code):
            above = above.f_back
        if above is not None and file_of(above.f_code) != callee:
            self.calls[file_of(above.f_code), callee] += 1

    def up(self, order: list[str]) -> Counter[tuple[str, str]]:
        """The calls into a layer further down the list. `__init__` of the package, which loads names, has no place in it."""

        def place(module: str) -> int:
            return order.index(module.partition(".")[0])

        inside = {pair: n for pair, n in self.calls.items() if "__init__" not in pair}
        return Counter({(a, b): n for (a, b), n in inside.items() if place(b) > place(a)})


@contextmanager
def profiled(walk: Walk) -> Iterator[None]:
    """Every call here, and in the threads that are started here."""
    threading.setprofile(walk)
    sys.setprofile(walk)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def main() -> None:
    """Print the table, and what goes up."""
    order, found = layers(), {}
    for name, (verdict, check) in CASES.items():
        assert check().verdict.value == verdict, name
        found[name] = Walk()
        with profiled(found[name]):
            check()
    rows: list[tuple[object, ...]] = [("check", "files", "pairs", "up: calls", "up: pairs")]
    for name, walk in found.items():
        up = walk.up(order)
        rows.append((name, len(walk.files), len(walk.calls), up.total(), len(up)))
    table(rows)
    for name, walk in found.items():
        print(f"\n{name}: what goes up")
        for (caller, callee), count in walk.up(order).most_common(SHOWN):
            print(f"{count:>8}  {caller} -> {callee}")


if __name__ == "__main__":
    main()
