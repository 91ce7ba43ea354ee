"""Complex tensors as maps take them: each is two real ones, its parts, and so is the derivative by it.

torch's gradient by z = a + b*i of a real number L is dL/da + i*dL/db, the conjugate Wirtinger derivative (times 2): its parts
are the derivatives by the parts, which is what is judged.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.errors import InputError
from gradcheck_cli.language.spaces import imag_of, real_of
from gradcheck_cli.maps.autograd import Tensors
from gradcheck_cli.options import WIDE


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


def convention(tensors: Tensors) -> list[str]:
    """What the reader is told of complex ones: how torch's gradient is made of the derivatives by the parts."""
    name = next((name for name, tensor in tensors.items() if tensor.is_complex()), None)
    if name is None:
        return []
    real, imag = real_of(name), imag_of(name)
    return [f"torch's gradient by a complex {name} is d/d{real} + i*d/d{imag}: its parts are what is judged"]


def whole(tensors: Tensors, name: str, like: Tensor) -> Tensor | None:
    """What stands among tensors in place of one, `like`: under its name, or under the names of its parts, of which it is made.
    None where nothing does."""
    if name in tensors or not like.is_complex():
        return tensors.get(name)
    real = tensors.get(real_of(name))
    return None if real is None else torch.complex(real, tensors[imag_of(name)])


def joined(tensors: Tensors, like: Tensors) -> dict[str, Tensor]:
    """Back again, to those of `like` of which they are the parts: names alone don't tell (a network may call its own tensors
    so)."""
    pairs = ((name, whole(tensors, name, one)) for name, one in like.items())
    return {name: tensor for name, tensor in pairs if tensor is not None}


def double(value: Any) -> Tensor:
    """A number, or lists of numbers, in double precision. What torch raises for anything else."""
    found = torch.tensor(value)
    return torch.tensor(value, dtype=torch.complex128 if found.is_complex() else torch.float64)


def as_numbers(tensor: Tensor, wanted: torch.dtype) -> Tensor:
    """The same numbers in another dtype; complex ones stay so, and real ones become so where the dtype is complex. Others as
    they are. InputError for 16-bit parts, with which torch computes next to nothing."""
    if not inexact(tensor):
        return tensor
    if tensor.is_complex() and not wanted.is_complex:
        if wanted.itemsize < 4:
            raise InputError(WIDE, str(wanted).removeprefix("torch."), 0)
        wanted = wanted.to_complex()
    return tensor.to(wanted)
