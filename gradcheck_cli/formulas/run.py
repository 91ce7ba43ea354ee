"""What holds for every computation in one format and mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.formulas.torch_chain import TorchChain
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.spaces import Shape
from gradcheck_cli.verdict.limits import Limits

Points = Mapping[str, Floats]


@dataclass(frozen=True)
class Run:
    """`checkpoint` is called often; it raises where time is up."""

    form: Format
    mode: str
    limits: Limits
    device: str
    callables: Mapping[str, Callable[..., Any]]
    verbose: bool
    checkpoint: Callable[[], None]

    def torch(self, chain: Chain, shapes: Mapping[str, Shape] | None = None) -> TorchChain:
        """What torch runs of a chain."""
        return TorchChain(chain, getattr(torch, self.form.name), self.device, self.callables, shapes)
