"""Switches of torch by which kernels compute in a shorter format than their dtype.

Sources: torch.backends, "Numerical accuracy" and "CUDA semantics" in torch's documentation; NVIDIA, "TensorFloat-32 in the A100
GPU": 8 bits of exponent, 10 of the significand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import NamedTuple

import torch

from gradcheck_cli.floats import FORMATS, Format
from gradcheck_cli.shadow.memory import FLOATS

FULL = ("none", "ieee", False)
"""Values by which nothing is shortened."""

TF32 = Format("tf32", 11, -126, 127)

PRODUCTS = "products of matrices"
FP16 = "allow_fp16_reduced_precision_reduction"
BF16 = "allow_bf16_reduced_precision_reduction"


class Switch(NamedTuple):
    """A row: the kind of device, the dtype, where in `torch.backends` it stands, and what is computed how. `folds`: the
    operations, by their fold. What a version of torch doesn't have is off."""

    device: str
    dtype: str
    name: str
    what: str
    folds: tuple[str, ...] = ()
    how: str = "with 10 or 7 bits of each factor (TF32, bfloat16)"
    before: str = ""
    """What it is called in torch up to 2.8."""


_PRODUCT, _CONVOLUTION, _RECURRENT = ("product",), ("convolution", "convolution_backward"), ("recurrent",)

SWITCHES = (
    Switch("cuda", "float32", "cuda.matmul.fp32_precision", PRODUCTS, _PRODUCT, before="cuda.matmul.allow_tf32"),
    Switch("cuda", "float32", "cudnn.conv.fp32_precision", "convolutions", _CONVOLUTION, before="cudnn.allow_tf32"),
    Switch("cuda", "float32", "cudnn.rnn.fp32_precision", "recurrent layers", _RECURRENT, before="cudnn.allow_tf32"),
    Switch("cuda", "float16", f"cuda.matmul.{FP16}", PRODUCTS, _PRODUCT, "with sums in float16"),
    Switch("cuda", "bfloat16", f"cuda.matmul.{BF16}", PRODUCTS, _PRODUCT, "with sums in bfloat16"),
    Switch("cpu", "float32", "mkldnn.matmul.fp32_precision", PRODUCTS, _PRODUCT),
    Switch("cpu", "float32", "mkldnn.conv.fp32_precision", "convolutions", _CONVOLUTION),
    Switch("cpu", "float32", "mkldnn.rnn.fp32_precision", "recurrent layers", _RECURRENT),
)


def value_of(row: Switch) -> tuple[str, object]:
    """The name that this version of torch has, and its value."""
    for name in (row.name, row.before):
        try:
            return name, attrgetter(name)(torch.backends)
        except (AttributeError, RuntimeError):  # the latter where old names and new ones were set
            continue
    return row.name, False


class Short(NamedTuple):
    """What a kernel is allowed: to round its factors to a format, and to add up in that of its result."""

    factors: Format | None = None
    sums: bool = False


met: set[Switch] = set()
"""Those that concerned an operation since `maps.shortened` told of them."""

_within: list[str] = []
"""What counts instead of a product: no thread's own, for a backward runs in that of its device."""


@contextmanager
def counted(kind: str) -> Iterator[None]:
    """Products inside the block are parts of a kernel of this kind: "recurrent"."""
    _within.append(kind)
    try:
        yield
    finally:
        _within.pop()


def short(fold: str, outputs: Iterable[torch.Tensor | None]) -> Short:
    """What the switches allow the kernel of an operation."""
    output = next((o for o in outputs if o is not None), None)
    form = None if output is None else FLOATS.get(output.dtype)
    if output is None or form is None:
        return Short()
    kind = _within[-1] if _within and fold == "product" else fold
    rows = [row for row in _CONCERNED.get((kind, form.name), ()) if row.device == output.device.type]
    on = {row: value for row in rows if (value := value_of(row)[1]) not in FULL}
    if not on:
        return Short()
    met.update(on)
    if form.bits <= TF32.bits:
        return Short(sums=True)
    return Short(FORMATS["bfloat16"] if "bf16" in on.values() else TF32)


_CONCERNED = {
    (fold, row.dtype): [r for r in SWITCHES if fold in r.folds and r.dtype == row.dtype]
    for row in SWITCHES
    for fold in row.folds
}
