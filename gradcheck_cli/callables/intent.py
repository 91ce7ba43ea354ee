"""What a function ought to compute, or its backward to differentiate: a formula, or another function, as its author says.

A reference, or a formula, is the truth of values and derivatives. A surrogate stands for the function in the exact derivative,
and in nothing else: a straight-through estimator, a fast approximation, a reversed gradient is judged by what it is meant to
be. What torch's backward returns is the function's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from torch import Tensor

from gradcheck_cli.algebra.layers import Layer
from gradcheck_cli.algebra.number import conditions
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.algebra.tensors import TensorAlgebra, compiled
from gradcheck_cli.callables.inputs import Arguments, leaves
from gradcheck_cli.callables.loading import REQUIRED, Target, load, target
from gradcheck_cli.errors import InputError, words
from gradcheck_cli.language.arrays.evaluation import entries, variables_of
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.spaces import entry_names
from gradcheck_cli.language.tree import Constant, Node, Variable, substitute, walk
from gradcheck_cli.maps.map import Map, Tensors
from gradcheck_cli.maps.meant import Meant
from gradcheck_cli.maps.runs import Cells, Formula

_TARGET = re.compile(r".*\.py(:[\w.]*)?|[\w.]+:[\w.]+")
"""FILE.py:NAME, package.module:NAME; no formula looks so."""


@dataclass(frozen=True)
class Intention:
    """What was said, at every point: a function, or a formula with its text. `word`: what it is, for the reader; `same`: the
    function itself ought to compute it, else only its backward is of it."""

    word: str
    same: bool
    given: Target | tuple[Node, str]


WORDS = {"formula": True, "reference": True, "surrogate": False}
"""The options that say so, and whether the function itself ought to compute it."""


def intention(word: str, given: Any) -> Intention:
    """What is said by an option. InputError where it is neither a formula nor a function."""
    return Intention(word, WORDS[word], (parse(given), given) if word == "formula" else declared(given))


def declared(given: Any) -> Target | tuple[Node, str]:
    """The function that is meant, or the formula and its text. InputError where it is neither."""
    if not isinstance(given, str):
        return target(given, name_of(given))
    if _TARGET.fullmatch(given.strip()):
        return target(load(given.strip()), given.strip())
    return parse(given), given


def name_of(given: Any) -> str:
    """What it is called, for the reader."""
    return given if isinstance(given, str) else str(getattr(given, "__name__", type(given).__name__))


def meant_by(said: Intention, map: Map, point: Arguments, outputs: Mapping[str, Tensor], name: str) -> Meant:
    """What is meant at one point. `name`: what results are called. InputError where it doesn't take the same inputs, or returns
    something else."""
    if isinstance(said.given, Target):
        call = _code(said.word, said.given, point, outputs, name)
        found = replace(map, call=call)
        _check_outputs(f"the {said.word} {said.given.name}", found, outputs)
        return Meant(found, None, said.same, f"the {said.word}")
    tree, text = with_settings(said.given[0], point), said.given[1]
    written = of_formula(tree, text, map.inputs, outputs)
    return Meant(replace(map, call=_written(tree, map, outputs)), written, said.same, f"the {said.word}")


def _code(word: str, meant: Target, point: Arguments, outputs: Tensors, name: str) -> Callable[[Tensors], Tensors]:
    meant = _renamed(word, meant, point)

    def call(tensors: Tensors) -> dict[str, Tensor]:
        there = {n: x.clone() for n, x in tensors.items()}  # it may write to them, as the function itself may
        found = leaves(point.call(meant, there), name)
        return {n: found[n] for n in outputs} if outputs.keys() <= found.keys() else found  # others aren't judged

    return call


def _renamed(word: str, meant: Target, point: Arguments) -> Target:
    """The function with the names of the arguments as its parameters': its own where it has them, else in their order."""
    given, parameters = point.names, meant.parameters or ()
    strange = [p.name for p in parameters if p.default is REQUIRED and p.name not in given]
    if not strange:
        return meant
    positional = [p for p in parameters if p.positional]
    if any(p.name in given for p in parameters) or not len(strange) <= len(given) <= len(positional):
        raise InputError(f"the {word} {meant.name} has a parameter {strange[0]!r} (there is {', '.join(given)})")
    return replace(meant, parameters=tuple(replace(p, name=n) for p, n in zip(positional, given, strict=False)))


def _written(tree: Node, map: Map, outputs: Mapping[str, Tensor]) -> Callable[[Tensors], Tensors]:
    """The formula as torch computes it."""
    first = next(iter(map.inputs.values()))
    names = list(map.inputs)
    ((name, y),) = outputs.items()

    @cache
    def program() -> Any:
        return compiled(tree, names, TensorAlgebra(first.dtype, str(first.device), {}))

    def call(tensors: Tensors) -> dict[str, Tensor]:
        (value,) = program()(*(tensors[n] for n in names))
        return {name: value if isinstance(value, Tensor) else first.new_full(tuple(y.shape), value)}

    return call


def _check_outputs(name: str, map: Map, outputs: Mapping[str, Tensor]) -> None:
    try:
        found = map(map.leaves())
    except Exception as problem:  # whatever a user's function raises
        raise InputError(f"{name} fails: {type(problem).__name__}: {words(problem)}") from problem
    wanted, got = ({n: tuple(y.shape) for n, y in tensors.items()} for tensors in (outputs, found))
    if wanted != got:
        raise InputError(f"{name} returns {_shapes(got)}, the function {_shapes(wanted)}")


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
