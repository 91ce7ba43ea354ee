"""The gradient of a function as a function again, for the drop-in's second order; and what ought to be its derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.callables.handover import name_of
from gradcheck_cli.maps.map import Map, Row
from gradcheck_cli.maps.orders import Orders, Part
from gradcheck_cli.maps.parts import names_of, split
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.runs import flat, numpy


class Gradient:
    """The gradient of a function, by those of its arguments that require one, as a function of the arguments and of cotangents.

    `wanted`: these arguments; `given`: the numbers of those of which the gradient isn't None, in the order of the results.
    """

    def __init__(self, func: Callable[..., Any], arguments: tuple[Any, ...], cotangents: tuple[Tensor, ...]) -> None:
        self.func, self.arguments, self.cotangents = func, arguments, cotangents
        self.wanted = [x for x in tensors(arguments) if x.requires_grad]
        self.given: list[int] = []
        self._moving = [x.requires_grad for x in tensors((*arguments, *cotangents))]
        self.__name__ = f"gradient of {name_of(func)}"

    def __call__(self, *args: Any) -> tuple[Tensor, ...]:
        for x, moves in zip(tensors(args), self._moving, strict=True):
            x.requires_grad_(moves)  # forward mode hands over tensors without
        count = len(self.arguments)
        wanted = [x for x in tensors(args[:count]) if x.requires_grad]
        outputs = differentiable(self.func(*args[:count]))
        found = torch.autograd.grad(outputs, wanted, args[count:], create_graph=True, allow_unused=True)
        self.given = [i for i, g in enumerate(found) if g is not None]
        return tuple(g for g in found if g is not None)

    def outputs(self, args: Sequence[Any]) -> dict[str, Tensor]:
        """What the cotangents belong to."""
        return {str(i): y for i, y in enumerate(differentiable(self.func(*args)))}

    def orders(
        self, lower: Map, rows: Sequence[Row], by: Mapping[str, str], names: Mapping[int, str], options: Options
    ) -> Orders:
        """The truth of rows of the gradient, from the forward pass of the function alone (`lower`). `by`: what the results that
        rows are made of are derivatives by; `names`: of the arguments and cotangents that move. Complex ones are two each."""
        upstream: dict[str, str | Sequence[float]] = {}
        for i, v in enumerate(self.cotangents):
            moving = names.get(id(v))
            numbers = [flat(part) for part in split({"v": v}).values()]
            upstream |= dict(zip(names_of(str(i), v), numbers if moving is None else names_of(moving, v), strict=True))
        parts = {}
        for row in rows:
            ahead: dict[str, Any] = {}
            for output, v in row.cotangents.items():
                name = by[output]
                ahead[name] = ahead.get(name, 0.0) + numpy(v)  # one tensor may be several arguments
            parts[row.name] = Part([ahead], upstream)
        return Orders(lower, parts, None, options.checkpoint, "reverse", options.ahead)


def differentiable(result: Any) -> tuple[Tensor, ...]:
    """The outputs that require a gradient."""
    return tuple(y for y in tupled(result) if isinstance(y, Tensor) and y.requires_grad)


def tupled(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for v in value for t in tensors(v)] if isinstance(value, tuple | list) else []
