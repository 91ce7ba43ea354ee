"""Complex tensors as maps take them: each is two real ones, its parts, and so is the derivative by it.

torch's gradient by z = a + b*i of a real number L is dL/da + i*dL/db, the conjugate Wirtinger derivative (times 2): its parts
are the derivatives by the parts, which is what is judged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradcheck_cli.language.spaces import imag_of, real_of
from gradcheck_cli.maps.autograd import Tensors


def inexact(tensor: Tensor) -> bool:
    """Whether its entries are numbers that torch differentiates by."""
    return tensor.is_floating_point() or tensor.is_complex()


def split(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors, of complex ones the parts in their places, `z.real` and `z.imag`."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found |= {real_of(name): tensor.real, imag_of(name): tensor.imag} if tensor.is_complex() else {name: tensor}
    return found


def apart(tensors: Tensors) -> dict[str, Tensor]:
    """The same in memory of their own, as inputs of a map are."""
    return {n: x if n in tensors else x.detach().resolve_neg().clone() for n, x in split(tensors).items()}


def joined(tensors: Tensors) -> dict[str, Tensor]:
    """Back again."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        whole, _, part = name.rpartition(".")
        if part == "imag" and real_of(whole) in tensors:
            continue
        if part == "real" and imag_of(whole) in tensors:
            found[whole] = torch.complex(tensor, tensors[imag_of(whole)])
        else:
            found[name] = tensor
    return found
