"""Networks as modules, built from their text."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gradcheck_cli.errors import InputError
from gradcheck_cli.networks.layers import Layer, Network
from gradcheck_cli.networks.structures import leaves_of

MAX_PARAMETERS = 5_000_000
"""Of a network given as text: about a gigabyte of balls."""


class Chain(nn.Sequential):
    """Layers one after the other. Of several outputs of a layer the first one goes on; a layer that takes several tensors and
    is given one takes it for each (attention to itself)."""

    def forward(self, *inputs: Tensor) -> Any:
        """The last layer's outputs."""
        outputs: Any = inputs
        for layer in self:
            outputs = layer(*(inputs if len(inputs) > 1 else inputs * len(needed(layer))))
            inputs = (leading(outputs),)
        return outputs


class Residual(Chain):
    """x + f(x), where f are layers one after the other."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """The sum."""
        return inputs[0] + leading(super().forward(*inputs))


_CLASSES: dict[str, type[nn.Module]] = {"Residual": Residual}


def leading(outputs: Any) -> Tensor:
    """The first tensor of a module's outputs."""
    found = next((t for t in leaves_of(outputs) if isinstance(t, Tensor)), None)
    if found is None:
        raise TypeError("the module returns no tensor")
    return found


def signature(module: nn.Module) -> Mapping[str, inspect.Parameter]:
    """The parameters of `forward`: of what torch.compile has wrapped, its own."""
    return inspect.signature(getattr(module, "_orig_mod", module).forward).parameters


def needed(module: nn.Module) -> list[str]:
    """The names of what `forward` can't do without; `x` for a chain, which hands on what it gets."""
    parameters = list(signature(module).values())
    names = [p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names or ["x"] * any(p.kind is p.VAR_POSITIONAL for p in parameters)


# -- text to module -----------------------------------------------------------------------------------------------------


def build(network: Network, text: str) -> Chain:
    """The module that a text describes, its weights drawn from torch's generator; InputError in torch's own words where the
    arguments don't suit a layer."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        count = sum(p.numel() for p in _chain(network, text, Chain).parameters())
    if count > MAX_PARAMETERS:
        raise InputError(f"the network has {count:,} parameters; at most {MAX_PARAMETERS:,} are checked", text, 0)
    return _chain(network, text, Chain)


def _chain(network: Network, text: str, cls: type[Chain]) -> Chain:
    return cls(*(_layer(layer, text) for layer in network.layers))


def _layer(layer: Layer, text: str) -> nn.Module:
    if layer.name == "Residual":
        inner = [a for a in layer.arguments if isinstance(a, Network)]
        if not inner or layer.keywords or len(inner) < len(layer.arguments):
            raise InputError("Residual takes layers: Residual(Linear(4, 4) | ReLU()) is x + f(x)", text, layer.position)
        return _chain(Network(tuple(one for network in inner for one in network.layers)), text, Residual)
    arguments = [_argument(a, text) for a in layer.arguments]
    keywords = {name: _argument(a, text) for name, a in layer.keywords.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice on speed and on settings without effect
            module: nn.Module = getattr(nn, layer.name)(*arguments, **keywords)
    except Exception as problem:  # whatever torch's module has against its arguments
        message = one_line(problem).removeprefix("TypeError: ").replace(".__init__()", "")
        raise InputError(f"{layer.text}: {message}", text, layer.position) from None
    return module


def _argument(value: Any, text: str) -> Any:
    if not isinstance(value, Network):
        return value
    modules = [_layer(layer, text) for layer in value.layers]
    return modules[0] if len(modules) == 1 else Chain(*modules)


def one_line(problem: BaseException) -> str:
    """The type and the first sentence of an error."""
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0][:200]}" if lines else type(problem).__name__
