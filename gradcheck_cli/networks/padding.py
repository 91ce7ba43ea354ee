"""Embeddings whose gradients torch means otherwise: rows that stand for padding (`padding_idx`) are constants, as torch holds
them, which gives them no gradient; those that `scale_grad_by_freq` divides are no derivatives."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gradcheck_cli.networks.structures import path


def paddings(module: nn.Module) -> dict[str, int]:
    """By the name of the parameter, the row of the padding of each embedding within a module, or of it itself."""
    found = ((name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Embedding))
    return {path(name, "weight"): layer.padding_idx for name, layer in found if layer.padding_idx is not None}


def held(weight: Tensor, row: int, value: Tensor) -> Tensor:
    """A weight whose padding is that of another one, whatever moves the weight; by products, which sparse gradients pass."""
    moving = torch.ones_like(value)
    moving[row] = 0.0
    return weight * moving + value * (1.0 - moving)


def told(module: nn.Module, trained: Mapping[str, Tensor]) -> list[str]:
    """What the reader is told of those that would be judged."""
    scaled = {path(name, "weight") for name, m in module.named_modules() if getattr(m, "scale_grad_by_freq", False)}
    return [
        f"torch divides the gradient of {name} by how often each index occurs (scale_grad_by_freq): it is no derivative"
        for name in trained
        if name in scaled
    ] + [
        f"row {row} of {name} is a constant: it stands for padding (padding_idx), and torch gives it no gradient"
        for name, row in paddings(module).items()
        if name in trained
    ]
