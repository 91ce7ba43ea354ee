"""What a function ought to compute, or its backward to differentiate: a formula, or a function that its author declares.

A surrogate stands for the function in the exact derivative, and in nothing else: a straight-through estimator, a fast
approximation, a reversed gradient is judged by what it is meant to be. What torch's backward returns is the function's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from gradcheck_cli.algebra.layers import Layer
from gradcheck_cli.algebra.number import conditions
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.tensors import TensorAlgebra, compiled
from gradcheck_cli.callables.inputs import Arguments, leaves
from gradcheck_cli.callables.loading import REQUIRED, Target, load, target
from gradcheck_cli.errors import InputError, words
from gradcheck_cli.language.arrays import entries, variables_of
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.spaces import entry_names
from gradcheck_cli.language.tree import Constant, Node, Variable, substitute, walk
from gradcheck_cli.maps.map import Map, Tensors
from gradcheck_cli.maps.runs import Cells, Formula, Runs

_TARGET = re.compile(r".*\.py(:[\w.]*)?|[\w.]+:[\w.]+")
"""FILE.py:NAME, package.module:NAME; no formula looks so."""


@dataclass(frozen=True)
class Surrogate:
    """What a backward is meant to be the derivative of, at one point: `map`, of the same inputs and outputs, and the formula
    that it was `written` as, if it was."""

    map: Map
    written: Formula | None

    @property
    def formula(self) -> Formula:
        """Its outputs' cells, followed through its operations where it is code."""
        runs = Runs(self.map, self.written, lambda: None)
        return lambda layer, inputs: runs.forward([layer], [inputs])[0]


def declared(surrogate: Any) -> Target | tuple[Node, str]:
    """The function that is meant, or the formula and its text. InputError where it is neither."""
    if not isinstance(surrogate, str):
        return target(surrogate, name_of(surrogate))
    if _TARGET.fullmatch(surrogate.strip()):
        return target(load(surrogate.strip()), surrogate.strip())
    return parse(surrogate), surrogate


def name_of(surrogate: Any) -> str:
    """What it is called, for the reader."""
    return surrogate if isinstance(surrogate, str) else str(getattr(surrogate, "__name__", type(surrogate).__name__))


def surrogate_of(meant: Target | tuple[Node, str], map: Map, point: Arguments, outputs: Mapping[str, Tensor]) -> Surrogate:
    """The surrogate of a map at one point. InputError where it doesn't take the same inputs, or returns something else."""
    if isinstance(meant, Target):
        call, written = _code(meant, point, outputs), None
    else:
        tree, text = with_settings(meant[0], point), meant[1]
        written = of_formula(tree, text, map.inputs, outputs)
        call = _written(tree, map, outputs)
    found = replace(map, call=call)
    if isinstance(meant, Target):
        _check_outputs(meant.name, found, outputs)
    return Surrogate(found, written)


def _code(meant: Target, point: Arguments, outputs: Mapping[str, Tensor]) -> Callable[[Tensors], Tensors]:
    given = {**point.tensors, **point.others}
    strange = [p.name for p in meant.parameters or () if p.default is REQUIRED and p.name not in given]
    if strange:
        raise InputError(f"the surrogate {meant.name} has a parameter {strange[0]!r} (there is {', '.join(given)})")
    name = next(iter(outputs)).rstrip("0123456789") if len(outputs) > 1 else next(iter(outputs))

    def call(tensors: Tensors) -> dict[str, Tensor]:
        there = {n: x.clone() for n, x in tensors.items()}  # it may write to them, as the function itself may
        return leaves(point.call(meant, there), name)

    return call


def _written(tree: Node, map: Map, outputs: Mapping[str, Tensor]) -> Callable[[Tensors], Tensors]:
    """The formula as torch computes it."""
    first = next(iter(map.inputs.values()))
    names = list(map.inputs)
    program = compiled(tree, names, TensorAlgebra(first.dtype, str(first.device), {}))
    ((name, y),) = outputs.items()

    def call(tensors: Tensors) -> dict[str, Tensor]:
        (value,) = program(*(tensors[n] for n in names))
        return {name: value if isinstance(value, Tensor) else first.new_full(tuple(y.shape), value)}

    return call


def _check_outputs(name: str, map: Map, outputs: Mapping[str, Tensor]) -> None:
    try:
        found = map(map.leaves())
    except Exception as problem:  # whatever a user's function raises
        raise InputError(f"the surrogate {name} fails: {type(problem).__name__}: {words(problem)}") from problem
    wanted, got = ({n: tuple(y.shape) for n, y in tensors.items()} for tensors in (outputs, found))
    if wanted != got:
        raise InputError(f"the surrogate {name} returns {_shapes(got)}, the function {_shapes(wanted)}")


def _shapes(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} of shape {shape}" for name, shape in shapes.items()) or "no floating-point tensor"


def with_settings(tree: Node, point: Arguments) -> Node:
    """A formula with the numbers that are handed over as they are, by the names of their parameters."""
    numbers = {n: Constant(v) for n, v in point.others.items() if isinstance(v, int | float) and n not in point.tensors}
    return substitute(tree, numbers)


def of_formula(tree: Node, text: str, inputs: Tensors, outputs: Mapping[str, Tensor]) -> Formula:
    """The user's formula as a function of cells. InputError where it isn't of these inputs, or not of the output's shape."""
    for node in walk(tree):
        if isinstance(node, Variable) and node.name not in inputs:
            raise InputError(f"{node.name!r} is not an input (there is {', '.join(inputs)})", text, node.position)
    trees = entries(tree, {name: variables_of(name, tuple(x.shape)) for name, x in inputs.items()}, text)
    if len(outputs) != 1:
        raise InputError(f"a formula is for one output; here are {len(outputs)}", text, 0)
    ((name, y),) = outputs.items()
    if trees.shape != tuple(y.shape):
        raise InputError(f"the formula has shape {trees.shape}, the function's result {tuple(y.shape)}", text, 0)
    names = [entry for n, x in inputs.items() for entry in entry_names(n, tuple(x.shape))]

    key = (tree, tuple(names))

    def compute(layer: Layer, inputs: Cells) -> dict[str, list[Any]]:
        if key not in layer.programs:
            layer.programs[key] = Program(list(trees.reshape(-1)), names, layer, conditions)
        return {name: list(layer.programs[key](*(cell for cells in inputs.values() for cell in cells)))}

    return compute
