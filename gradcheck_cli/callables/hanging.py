"""Hooks that code hangs on its own graph, or on what the graph saves: where a gradient is wrong with them and right without.

`Tensor.register_hook` (and what is made of it, `register_multi_grad_hook`), or a node's own, may change a gradient on its way;
`Module.register_full_backward_hook` too; `saved_tensors_hooks` may hand back other numbers than the forward pass saved.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import BackwardHook

from gradcheck_cli.maps.map import Map, Row, attempted, pull
from gradcheck_cli.maps.runs import format_of, numpy
from gradcheck_cli.shadow.origins import line_of, place
from gradcheck_cli.verdict.column import Column

SAVED, HOOK, MODULES = "the hooks on saved tensors", "the hook on a gradient", "the backward hook of a module"

ROUNDINGS = 1024
"""Roundings, relative to the largest entry, by which a gradient that is right may differ from the exact one."""


_GRAD_FN = Tensor.grad_fn.__get__  # type: ignore[union-attr]  # a descriptor of C


class Handle:
    """What stands for the handle of a hook that wasn't hung up."""

    def remove(self) -> None:
        """There is nothing to remove."""


class _Node:
    """A node of the graph on which no hook is hung up."""

    def __init__(self, node: Any, found: dict[str, None]) -> None:
        self._node, self._found = node, found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def register_hook(self, hook: Any) -> Handle:
        _enter(self._found, HOOK, sys._getframe(1))
        return Handle()

    register_prehook = register_hook


class _Without(TorchFunctionMode):
    """Hang up no hook on a tensor, or on the node that made it. `found`: those of the code, and where."""

    def __init__(self, found: dict[str, None]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.register_hook:
            result = func(*args, **(kwargs or {}))
            return result if func != _GRAD_FN or result is None else _Node(result, self.found)
        _enter(self.found, HOOK, sys._getframe(1))
        return Handle()


def without_hooks(map: Map, columns: Sequence[Column], rows: Sequence[Row]) -> dict[int, str]:
    """By the number of a column of wrong derivatives: the hooks without which autograd's values are the exact ones."""
    found: dict[str, None] = {}
    gradients = attempted(lambda: _gradients(map, rows, found))
    if not found or gradients is None:
        return {}
    text = f"without {', '.join(found)} autograd's value is the derivative"
    return {
        number: text
        for number, column in enumerate(columns)
        if len(column.wrt) == 1 and _right(column, gradients.get(column.of, {}).get(column.wrt[0]))
    }


def _gradients(map: Map, rows: Sequence[Row], found: dict[str, None]) -> dict[str, Mapping[str, Tensor | None]]:
    """Of each row, without hooks."""
    with _hanging_none(found):
        leaves = map.leaves()
        outputs = map(leaves)
        return {row.name: pull(outputs, leaves, row).gradients for row in rows} if found else {}


@contextmanager
def _hanging_none(found: dict[str, None]) -> Iterator[None]:
    own = saved_tensors_hooks.__enter__, saved_tensors_hooks.__exit__

    def enter(self: Any) -> None:
        _enter(found, SAVED, sys._getframe(1))

    saved_tensors_hooks.__enter__, saved_tensors_hooks.__exit__ = enter, lambda self, *problem: None  # type: ignore[method-assign]
    try:
        with _Without(found):
            yield
    finally:
        saved_tensors_hooks.__enter__, saved_tensors_hooks.__exit__ = own  # type: ignore[method-assign]


def _enter(found: dict[str, None], what: str, frame: FrameType) -> None:
    """Note a hook with its line; those of a module, which torch hangs up, with the lines at which they are written."""
    owner = frame.f_locals.get("self")
    if isinstance(owner, BackwardHook):
        codes = [code for hook in (*owner.user_pre_hooks, *owner.user_hooks) if (code := getattr(hook, "__code__", None))]
        found.update({f"{MODULES} ({line_of(c.co_filename, c.co_firstlineno)})": None for c in codes})
    elif (where := place(frame)) is not None:
        found[f"{what} ({where})"] = None


def _right(column: Column, gradient: Tensor | None) -> bool:
    if gradient is None or gradient.numel() != len(column):
        return False
    exact = np.array([np.nan if ball is None else float(ball) for ball in (column.exact[i] for i in range(len(column)))])
    known = np.isfinite(exact)
    slack = ROUNDINGS * format_of({"": gradient}).unit_roundoff * np.abs(exact[known]).max(initial=0.0)
    return bool(known.any() and (np.abs(numpy(gradient)[known] - exact[known]) <= slack).all())
