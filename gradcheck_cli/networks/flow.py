"""Which layers, and which arguments, the inputs of a layer come from: skip connections, as torch's own graph has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.networks.structures import leaves_of


class Flow:
    """The nodes of the graph that layers returned, in one run. What no graph records (whole numbers, what is detached) comes
    from nowhere."""

    def __init__(self, arguments: Mapping[str, Tensor]) -> None:
        self._arguments = {id(tensor): name for name, tensor in arguments.items()}
        self._origins: dict[Any, str] = {}
        self.between: tuple[str, ...] = ()
        """The operations on the way, of what was asked for last."""

    def enter(self, name: str, outputs: Any) -> None:
        """What a layer of this name returned."""
        self._origins |= dict.fromkeys(_nodes(outputs), name)

    def behind(self, inputs: Any) -> tuple[str, ...]:
        """The names of the layers that gave these inputs, or what they were computed from, without another one between; of
        arguments too. No node is looked at that lies behind a layer."""
        found: dict[str, None] = {}
        between: dict[str, None] = {}
        stack, seen = list(_nodes(inputs)), set()
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            name = self._origins.get(node) or self._arguments.get(id(getattr(node, "variable", None)))
            if name is not None:
                found[name] = None
                continue
            following = [behind for behind, _ in node.next_functions if behind is not None]
            if following:
                between[_operation(node)] = None
            stack += following
        self.between = tuple(reversed(between))
        return tuple(reversed(found))


def _operation(node: Any) -> str:
    """What a node is the backward of."""
    name: str = node.name().rpartition("::")[2].rstrip("0123456789").removesuffix("Backward")
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _nodes(value: Any) -> Iterator[Any]:
    for leaf in leaves_of(value):
        if isinstance(leaf, torch.Tensor) and leaf.grad_fn is not None:
            yield leaf.grad_fn
