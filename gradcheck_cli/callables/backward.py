"""Backward passes that can be run again and again: of a map as a whole, and of each custom Function at its own node of the
graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from gradcheck_cli.callables.conventions import ROUNDINGS, edges, owner
from gradcheck_cli.maps.autograd import derived
from gradcheck_cli.maps.map import Map, Tensors, random_row

NODES = 16
"""Nodes of one custom Function that are tried, each with other shapes or other arguments than the ones before."""

SAMPLED = 0.75
"""A factor that rounds otherwise and leaves short numbers exact: what a backward makes of it shows how much it rounds."""

NOISE = 64
"""Multiples of that sample by which results may differ."""

Hooked = Callable[[Tensors], Mapping[str, Tensor | None]]


@dataclass(frozen=True)
class Found:
    """What a backward pass returned by name, or what it raised."""

    gradients: Mapping[str, Tensor | None]
    refusal: Exception | None = None


@dataclass(frozen=True)
class Backward:
    """A backward pass that can be run again and again: of outputs, or of the outputs of a node, by inputs. `map`: whose.
    `hooked`: what comes out, for the same cotangents, of tensors that carry a user's hooks, by the names of the inputs."""

    name: str
    text: str
    outputs: Mapping[str, Any]
    inputs: Mapping[str, Any]
    cotangents: Tensors
    map: Map | None = None
    hooked: Hooked | None = None

    def pull(self, cotangents: Tensors, create_graph: bool = False) -> Found:
        """The gradients of this combination of outputs; what isn't named is not used."""
        return pull(self.outputs, self.inputs, cotangents, create_graph)

    @cached_property
    def plain(self) -> Found:
        """Under no condition."""
        return self.pull(self.cotangents)

    def noise(self) -> dict[str, float]:
        """By how much the gradients may differ where nothing but rounding does."""
        again = self.pull({name: v * SAMPLED for name, v in self.cotangents.items()}).gradients
        return {name: _noise(g, again.get(name)) for name, g in self.plain.gradients.items()}

    def zeros(self, *used: str) -> dict[str, Tensor]:
        """The cotangents, with zeros for all outputs but those used."""
        return {name: v if name in used else torch.zeros_like(v) for name, v in self.cotangents.items()}


def _noise(gradient: Tensor | None, again: Tensor | None) -> float:
    if gradient is None:
        return 0.0
    off = 0.0 if again is None else largest(again - gradient * SAMPLED)
    return roundings(gradient) + NOISE * off


def roundings(gradient: Tensor) -> float:
    """Some of the largest entry; never so many that everything passes."""
    return min(ROUNDINGS * torch.finfo(gradient.dtype).eps / 2, 0.25) * largest(gradient)


# -- custom backwards in a graph ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """The node of a custom Function in a graph, and which of its outputs are used."""

    node: Any
    used: tuple[int, ...]

    @property
    def function(self) -> Any:
        return self.node._forward_cls

    @property
    def kind(self) -> Any:
        """What tells nodes of one Function apart: shapes, dtypes, and which arguments are differentiated by."""
        made = [(tuple(m.shape), m.dtype) for m in self.node._input_metadata]
        return self.function, self.used, str(made), tuple(f is not None for f, _ in self.node.next_functions)


def custom_nodes(outputs: Tensors) -> list[Node]:
    """The custom backwards of users behind the outputs, from the output back; of one Function those that differ."""
    used: dict[Any, dict[int, None]] = {}
    stack: list[tuple[Any, int]] = [(y.grad_fn, y.output_nr) for y in outputs.values() if y.grad_fn is not None]
    while stack:
        node, number = stack.pop()
        known = node in used
        used.setdefault(node, {})[number] = None
        if not known:
            stack += [edge for edge in node.next_functions if edge[0] is not None]
    found = [Node(node, tuple(sorted(numbers))) for node, numbers in used.items() if _of_a_user(node)]
    differing = list({node.kind: node for node in reversed(found)}.values())[::-1]
    return [n for i, n in enumerate(differing) if sum(m.function is n.function for m in differing[:i]) < NODES]


def _of_a_user(node: Any) -> bool:
    """torch has custom Functions too (checkpoints, hooks of modules, compiled graphs), which hold to its own rules; but those
    that it makes of a `torch.library.custom_op` run a user's backward."""
    function = getattr(node, "_forward_cls", None)
    if function is None:
        return False
    return not function.__module__.startswith("torch.") or function.__name__.startswith("GeneratedBackwardFor")


def of_node(found: Node, leaves: Tensors) -> Backward | None:
    """The backward of one node: from its outputs to its arguments, and no further."""
    node = found.node
    names = [str(number) if len(found.used) == 1 else f"output {number}" for number in found.used]
    made = dict(zip(names, (node._input_metadata[number] for number in found.used), strict=True))
    if not all(m.dtype.is_floating_point or m.dtype.is_complex for m in made.values()):
        return None
    outputs = {name: GradientEdge(node, number) for name, number in zip(names, found.used, strict=True)}
    known = {id(x): name for name, x in leaves.items()}
    inputs: dict[str, GradientEdge] = {}
    for place, function, index in edges(node):
        name = known.get(id(getattr(function, "variable", None)), f"argument {place + 1}")
        inputs.setdefault(name, GradientEdge(function, index))
    if not inputs:
        return None
    shapes = {name: torch.zeros(tuple(m.shape), dtype=m.dtype, device=m.device) for name, m in made.items()}
    return Backward(owner(node), f"the backward of {owner(node)}", outputs, inputs, random_row(shapes, 0).cotangents)


# -- runs ---------------------------------------------------------------------------------------------------------------


def pull(
    outputs: Mapping[str, Any], inputs: Mapping[str, Any], cotangents: Tensors, create_graph: bool = False, raw: bool = False
) -> Found:
    """Gradients, copied unless `raw`, of the outputs that have a cotangent."""
    taken = [n for n in cotangents if not isinstance(outputs[n], Tensor) or outputs[n].requires_grad]
    if not taken:
        return Found(dict.fromkeys(inputs))
    try:
        found = derived([outputs[n] for n in taken], list(inputs.values()), [cotangents[n] for n in taken], create_graph)
    except Exception as refusal:  # whatever a user's backward raises
        return Found(dict.fromkeys(inputs), refusal)
    return Found({n: g if g is None or raw else dense(g) for n, g in zip(inputs, found, strict=True)})


def dense(tensor: Tensor) -> Tensor:
    found = tensor.detach()
    return found.to_dense().clone() if found.layout is not torch.strided else found.clone()


def largest(tensor: Tensor) -> float:
    """The size of the largest finite entry."""
    sizes = tensor.detach().abs()
    return float(torch.where(sizes.isfinite(), sizes, 0.0).max()) if sizes.numel() else 0.0
