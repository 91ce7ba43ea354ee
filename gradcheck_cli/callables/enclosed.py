"""What a function differentiates besides its arguments: parameters that it has, or finds around itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from gradcheck_cli.formulas.tasks import listed
from gradcheck_cli.maps.autograd import nodes
from gradcheck_cli.maps.map import Tensors


def not_asked(function: Callable[..., Any], outputs: Tensors, inputs: Tensors) -> list[str]:
    """Said of tensors that require a gradient, are none of the `inputs`, and that the graph behind the outputs leads to: what
    that gradient is remains unknown. Of those alone that have a name where the function is written: others are its own."""
    known = {id(x) for x in inputs.values()}
    reached = {id(node.variable) for node in nodes(outputs.values()) if hasattr(node, "variable")} - known
    names = {id(x): name for name, x in reversed(list(_around(function))) if id(x) in reached}
    found = list(names.values())[::-1]
    if not found:
        return []
    verb, what = (
        ("requires a gradient", "is no argument: it is")
        if len(found) == 1
        else ("require gradients", "are none of its arguments: they are")
    )
    return [f"{listed(found)} {verb} too, and {what} not judged (of a Module, gradcheck model judges the parameters)"]


def _around(function: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors that a function closes over, by name: those of a Module, of a method's object, of a partial's arguments."""
    if isinstance(function, nn.Module):
        yield from function.named_parameters()
        return
    if isinstance(owner := getattr(function, "__self__", None), nn.Module):
        yield from owner.named_parameters("self")
    try:
        variables = inspect.getclosurevars(inspect.unwrap(getattr(function, "func", function)))
    except TypeError:  # a builtin, an object that can be called
        return
    for name, value in {**variables.globals, **variables.nonlocals}.items():
        yield from _tensors(name, value)


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, nn.Module):
        yield from value.named_parameters(name)
