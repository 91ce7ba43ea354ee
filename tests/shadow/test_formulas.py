"""Every formula of the table of ATen operations is what torch computes: its arguments are made from its schema, so that each
counts. A new row is tested by being there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from gradcheck_cli.algebra.layers import Exact
from gradcheck_cli.algebra.number import working
from gradcheck_cli.shadow.aten import OPERATIONS, Operation
from gradcheck_cli.shadow.contents import as_real
from gradcheck_cli.shadow.mode import Shadow
from gradcheck_cli.shadow.overloads import overload

FORMULAS = [row for row in OPERATIONS if row.texts]

NUMBERS = {
    "min": -0.75, "max": 0.5, "min_val": -0.75, "max_val": 0.5, "threshold": 0.25, "lambd": 0.25, "eps": 0.125, "beta": 1.75,
    "negative_slope": 0.375, "alpha": 1.375, "scale": 1.625, "input_scale": 0.875, "value": 2.25, "fill_value": -1.25,
    "weight": 0.625, "s": 1.125,
}  # fmt: skip
"""Scalars by their names: none is 0 or 1, and none equal to another's default."""

PLACES = ([-1.25, 0.3, 0.8, -0.1], [0.7, -0.45, 0.6, 1.5], [1.1, 0.35, -0.9, 0.2], [0.15, 0.55, 0.95, 0.4])
"""Entries of the tensors, on both sides of every border."""

TENSOR = {"output": 3, "mask": "bool", "condition": "bool", "pred": "bool", "exponent": 3}
"""Arguments that are tensors of their own kind: of numbers between 0 and 1, or of truth values."""


UNIT = {"logit", "logit_backward", "erf_inv"}
"""Rows whose first argument lies between 0 and 1."""

POSITIVE = {"igamma", "igammac"}
"""Rows whose arguments are positive."""

OF_COMPLEX = {"conj_physical", "_conj_physical"}
"""Rows that mean nothing but of complex numbers."""

COARSE = {"hardsigmoid_backward": 1e-8}
"""Kernels that multiply by a float32 sixth, in float64 too."""


def made(row: Operation, argument: Any, count: int) -> Any:
    """A value for an argument of a schema; LookupError where the default will do."""
    kind = str(argument.type)
    wanted = row.when.get(argument.name, ...)
    if "Tensor" not in kind and wanted == "bool":
        raise LookupError
    if wanted == "bool" or (wanted is ... and TENSOR.get(argument.name) == "bool"):
        return torch.tensor([True, False, False, True] if count % 2 else [True, True, False, False])
    if wanted is not ... and "Tensor" not in kind:
        return wanted
    if argument.name not in row.arguments and argument.has_default_value():
        raise LookupError
    if "Tensor" in kind and "List" not in kind:
        if argument.name == "value":
            return torch.tensor(NUMBERS["value"], dtype=torch.float64)
        place = 3 if row.name in UNIT and argument.name in ("self", "a") else TENSOR.get(argument.name, count % 3)
        found = torch.tensor(PLACES[int(place)], dtype=torch.float64)
        found = found.abs() if row.name in POSITIVE else found
        return torch.complex(found, found.flip(0)) if row.name in OF_COMPLEX else found
    if kind in ("number", "float", "Optional[number]", "Optional[float]"):
        return NUMBERS.get(argument.name, 1.5)
    if "bool" in kind:
        return argument.name == "is_result"
    if argument.name in ("size", "shape"):
        return [4]
    if "dtype" in argument.name:
        return torch.float64
    raise LookupError


def calls(row: Operation) -> Iterator[tuple[Any, list[Any], dict[str, Any]]]:
    """Overloads that the row describes, with arguments."""
    for library in (torch.ops.aten, torch.ops.prims):
        packet = getattr(library, row.name, None)
        for name in packet.overloads() if packet is not None else ():
            func = getattr(packet, name)
            schema = func._schema
            if any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments):
                continue
            args: list[Any] = []
            kwargs: dict[str, Any] = {}
            tensors = 0
            for argument in schema.arguments:
                try:
                    value = made(row, argument, tensors)
                except LookupError:
                    if not argument.has_default_value():
                        break
                    value = argument.default_value
                tensors += isinstance(value, Tensor)
                if argument.kwarg_only:
                    kwargs[argument.name] = value
                else:
                    args.append(value)
            else:
                if schema.arguments[-1].name == "buffer":  # what the forward pass keeps
                    args[-1] = (-args[1].abs()).exp()
                if "dtype" in kwargs and not tensors:
                    kwargs |= {"dtype": torch.float64, "device": torch.device("cpu")}
                if overload(func).choose(overload(func).bind(args, kwargs)) is row:
                    yield func, args, kwargs


def compared(share: float, func: Any, args: list[Any], kwargs: dict[str, Any]) -> int:
    """How many floats of the outputs lie in their cells."""
    shadow = Shadow([Exact()], 0)
    counted = 0
    with working(128):
        with shadow:
            found = func(*args, **kwargs)
        assert not shadow.opaque, shadow.opaque
        for output in found if isinstance(found, tuple) else (found,):
            for cell, value in zip(shadow.cells(output, 0) or (), as_real(output).reshape(-1).tolist(), strict=True):
                if isinstance(value, bool):
                    assert cell is value, (func, args, kwargs)
                else:
                    assert abs(float(cell) - value) <= share * max(1.0, abs(value)), (func, args, kwargs, cell, value)
                counted += 1
    return counted


@pytest.mark.parametrize("row", FORMULAS, ids=lambda row: f"{row.name} {row.texts[0][:30]} {dict(row.when)}")
def test_a_formula_is_what_torch_computes(row: Operation) -> None:
    """Each row describes a call of torch, and gives its numbers."""
    share = COARSE.get(row.name, 1e-12)
    assert sum(compared(share, *call) for call in calls(row)) > 0
