"""Complex and sparse tensors as maps take them: a complex one is two real ones, its parts, a sparse one (COO, CSR, CSC) the
entries that it holds, and so is the derivative by it.

torch's gradient by z = a + b*i of a real number L is dL/da + i*dL/db, the conjugate Wirtinger derivative (times 2): its parts
are the derivatives by the parts, which is what is judged. That by a sparse tensor is judged where the tensor holds an entry.
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
from gradcheck_cli.shadow.sparse import indices, is_sparse


def inexact(tensor: Tensor) -> bool:
    """Whether its entries are numbers that torch differentiates by."""
    return tensor.is_floating_point() or tensor.is_complex()


def values_of(name: str) -> str:
    """What the entries of a sparse tensor are called."""
    return f"{name}.values"


def held(tensor: Tensor) -> Tensor:
    """The entries that a sparse tensor holds, differentiable; of one with duplicates (COO) each."""
    found: Tensor = tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()
    return found


def _filled(like: Tensor, values: Tensor) -> Tensor:
    """A sparse tensor with other entries in the same places."""
    if like.layout is torch.sparse_coo:
        coalesced = like.is_coalesced()
        return torch.sparse_coo_tensor(like._indices(), values, like.shape, check_invariants=False, is_coalesced=coalesced)
    return torch.sparse_compressed_tensor(*indices(like), values, like.shape, layout=like.layout, check_invariants=False)


def names_of(name: str, tensor: Tensor) -> tuple[str, ...]:
    """What the tensor, or each of its parts, is called."""
    name = values_of(name) if is_sparse(tensor) else name
    return (real_of(name), imag_of(name)) if tensor.is_complex() else (name,)


def split(tensors: Tensors) -> dict[str, Tensor]:
    """The tensors, of complex ones the parts in their places, `z.real` and `z.imag`, of sparse ones the entries, `s.values`."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        numbers = held(tensor) if is_sparse(tensor) else tensor
        values = (numbers.real, numbers.imag) if tensor.is_complex() else (numbers,)
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
    """What the reader is told of complex ones (how torch's gradient is made of the derivatives by the parts), and of sparse."""
    found = []
    name = next((name for name, tensor in tensors.items() if tensor.is_complex() and not is_sparse(tensor)), None)
    if name is not None:
        real, imag = real_of(name), imag_of(name)
        found.append(f"torch's gradient by a complex {name} is d/d{real} + i*d/d{imag}: its parts are what is judged")
    sparse = [name for name, tensor in tensors.items() if is_sparse(tensor)]
    if sparse:
        found.append(f"{', '.join(sparse)}: sparse, judged by the entries that it holds; others are zeros that don't vary")
    return found


def whole(tensors: Tensors, name: str, like: Tensor) -> Tensor | None:
    """What stands among tensors in place of one, `like`: under its name, or under the names of its parts, of which it is made.
    None where nothing does."""
    if is_sparse(like):
        values = whole(tensors, values_of(name), held(like))
        return tensors.get(name) if values is None else _filled(like, values)
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
