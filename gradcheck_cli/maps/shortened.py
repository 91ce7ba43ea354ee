"""Switches of torch by which kernels compute in a shorter format than their dtype: what they cost is theirs, and is named.

Sources: torch.backends, "Numerical accuracy" and "CUDA semantics" in torch's documentation.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple

import torch

from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.verdicts import Verdict

FULL = ("none", "ieee", False)
"""Values by which nothing is shortened."""

PRODUCTS = "products of matrices"
FP16 = "allow_fp16_reduced_precision_reduction"
BF16 = "allow_bf16_reduced_precision_reduction"


class Switch(NamedTuple):
    """A row: the kind of device, the dtype, where in `torch.backends` it stands, and what is computed how. What a version
    of torch doesn't have is off."""

    device: str
    dtype: str
    name: str
    what: str
    how: str = "with 10 or 7 bits of each factor (TF32, bfloat16)"
    before: str = ""
    """What it is called in torch up to 2.8."""


SWITCHES = (
    Switch("cuda", "float32", "cuda.matmul.fp32_precision", PRODUCTS, before="cuda.matmul.allow_tf32"),
    Switch("cuda", "float32", "cudnn.conv.fp32_precision", "convolutions", before="cudnn.allow_tf32"),
    Switch("cuda", "float32", "cudnn.rnn.fp32_precision", "recurrent layers", before="cudnn.allow_tf32"),
    Switch("cuda", "float16", f"cuda.matmul.{FP16}", PRODUCTS, "with sums in float16"),
    Switch("cuda", "bfloat16", f"cuda.matmul.{BF16}", PRODUCTS, "with sums in bfloat16"),
    Switch("cpu", "float32", "mkldnn.matmul.fp32_precision", PRODUCTS),
    Switch("cpu", "float32", "mkldnn.conv.fp32_precision", "convolutions"),
    Switch("cpu", "float32", "mkldnn.rnn.fp32_precision", "recurrent layers"),
)


def shortened(device: str, columns: Iterable[Column]) -> list[str]:
    """What the reader is told of switches that are on, where digits were lost in a dtype that they concern."""
    passing = (Verdict.MATCH.severity, Verdict.OUTSIDE_DOMAIN.severity)
    lossy = {c.dtype for c in columns if any(v not in passing for v in c.verdicts.tolist())}
    return [
        f"torch.backends.{name} is {value}: {row.what} in {row.dtype} may be computed {row.how}"
        for row in SWITCHES
        if row.dtype in lossy and row.device == torch.device(device).type
        for name, value in [_value(row)]
        if value not in FULL
    ]


def _value(row: Switch) -> tuple[str, object]:
    """The name that this version of torch has, and its value."""
    for name in (row.name, row.before):
        try:
            return name, attrgetter(name)(torch.backends)
        except (AttributeError, RuntimeError):  # the latter where old names and new ones were set
            continue
    return row.name, False
