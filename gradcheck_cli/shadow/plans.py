"""What is the same in all calls of an operation that runs entry by entry on tensors of the same shapes and places in memory: a
plan, which is made once for a process, and kept with the overload.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gradcheck_cli.floats import Format
from gradcheck_cli.shadow.arguments import is_plain
from gradcheck_cli.shadow.aten import KINDS, Operation
from gradcheck_cli.shadow.memory import FLOATS, Places, places_of
from gradcheck_cli.shadow.overloads import Overload

KEPT = 4096
"""Plans that are kept for one overload."""

_CONSTANTS = frozenset({int, float, bool, type(None), str, torch.dtype, torch.layout, torch.device, torch.memory_format})

_keys = torch._C._dispatch_keys


class Argument(NamedTuple):
    """An argument of a formula. `places`: of its cells in memory, None of a number; `becomes`: what its cells are converted to,
    "real", "truth", or "shorter" for the format of the result."""

    name: str
    places: Places | None
    becomes: str


class Plan(NamedTuple):
    """How a row is repeated for so many `entries`. `form`: the format of the result, None of truth values and whole numbers;
    `compared`: the one in which arguments are compared; `whole`, `logical`: the result is whole numbers, or truth values;
    `target`: where its cells go."""

    row: Operation
    entries: int
    form: Format | None
    compared: Format | None
    whole: bool
    logical: bool
    settings: tuple[Any, ...]
    arguments: tuple[Argument, ...]
    target: Places


def plan_of(row: Operation, bound: Mapping[str, Any], first: Tensor) -> Plan:
    """The plan of a call with these arguments, of which `first` is the first result."""
    shape, form = tuple(first.shape), FLOATS.get(first.dtype)
    tensors = [bound[name] for name in row.entries if isinstance(bound[name], Tensor)]
    return Plan(
        row,
        first.numel(),
        form,
        next((FLOATS[t.dtype] for t in tensors if t.dtype in FLOATS), None) if row.compares else None,
        not first.is_floating_point() and first.dtype is not torch.bool,
        first.dtype is torch.bool,
        tuple(bound[name] for name in sorted(row.integers)),
        tuple(_argument(row, name, bound[name], shape, form) for name in row.entries),
        places_of(first, first.shape),
    )


def _argument(row: Operation, name: str, value: Any, shape: tuple[int, ...], form: Format | None) -> Argument:
    truth, real = name in row.truths, name in row.numbers
    if not isinstance(value, Tensor):
        return Argument(name, None, "truth" if truth else "real" if real else "")
    places = None if value._is_zerotensor() else places_of(value, shape)
    if value.dtype is torch.bool:
        return Argument(name, places, "real" if real else "")
    shorter = form is not None and value.dtype in FLOATS and FLOATS[value.dtype].bits > form.bits
    return Argument(name, places, "truth" if truth else "shorter" if shorter else "")


def signature(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Hashable, ...] | None:
    """What a plan hangs on, of the arguments of a call: for tensors where their entries lie and how torch keeps them, not what
    they are. None where there are others than tensors and numbers."""
    found: list[Any] = []
    for value in args:
        if isinstance(value, Tensor):
            if not is_plain(value):
                return None
            found += (value.shape, value.stride(), value.storage_offset(), value.dtype, _keys(value).raw_repr())
        elif type(value) in _CONSTANTS:
            found += (type(value), value)
        else:
            return None
    for name, value in kwargs.items():
        if type(value) not in _CONSTANTS:
            return None
        found += (name, type(value), value)
    return tuple(found)


def keep(known: Overload, signed: tuple[Hashable, ...], plan: Plan) -> None:
    """Keep the plan of an operation with ordinary arguments and one such result of its own."""
    simple = not (plan.whole or known.writes or plan.row.name in KINDS or any(a.becomes == "shorter" for a in plan.arguments))
    if simple and plan.entries:
        if len(known.plans) >= KEPT:
            del known.plans[next(iter(known.plans))]
        known.plans[signed] = plan
