"""Complex tensors as maps take them: each is two real ones, its parts, and so is the derivative by it.

torch's gradient by z = a + b*i of a real number L is dL/da + i*dL/db, the conjugate Wirtinger derivative (times 2): its parts
are the derivatives by the parts, which is what is judged.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from gradcheck_cli.language.spaces import imag_of, real_of
from gradcheck_cli.maps.autograd import Tensors


def inexact(tensor: Tensor) -> bool:
    """Whether its entries are numbers that torch differentiates by."""
    return tensor.is_floating_point() or tensor.is_complex()


def names_of(name: str, tensor: Tensor) -> tuple[str, ...]:
    """What the tensor, or each of its parts, is called."""
    return (real_of(name), imag_of(name)) if tensor.is_complex() else (name,)


def split(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors, of complex ones the parts in their places, `z.real` and `z.imag`."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        values = (tensor.real, tensor.imag) if tensor.is_complex() else (tensor,)
        found |= dict(zip(names_of(name, tensor), values, strict=True))
    return found


def apart(tensors: Tensors) -> dict[str, Tensor]:
    """The same in memory of their own, as inputs of a map are."""
    return {n: x if n in tensors else x.detach().resolve_neg().clone() for n, x in split(tensors).items()}


def wholes(names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The tensors that inputs or outputs of a map are, and what each, or its parts, are called there."""
    found: dict[str, tuple[str, ...]] = {}
    known = frozenset(names)
    for name in names:
        whole, _, part = name.rpartition(".")
        pair = (real_of(whole), imag_of(whole))
        if part in ("real", "imag") and known.issuperset(pair):
            found[whole] = pair
        else:
            found[name] = (name,)
    return found


def joined(tensors: Tensors) -> dict[str, Tensor]:
    """Back again."""
    return {
        whole: tensors[own[0]] if len(own) == 1 else torch.complex(tensors[own[0]], tensors[own[1]])
        for whole, own in wholes(tensors).items()
    }
