"""THE table of modes: torch's ways to a derivative. A new mode is a row here and the functions that it names.

Nothing here imports torch: options and their help read the table before the input has been checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to a derivative. `help`: what runs, in a few words; `of_tensors`: the same for a function of a user's tensors;
    `also`: what else people call it.

    `backwards`: a cotangent is pulled back from the output to everything that it depends on; else a tangent is pushed forward.
    The other columns name functions below `maps`:

    first       differentiates a map with taps once: a `Backwards` or a `Forwards` of `maps.autograd`
    nested      differentiates again and again: a `Nested` of `maps.autograd`
    tensors     `first` where a function of a user's tensors is differentiated; empty: it isn't in this mode
    again       the derivative of such a function as a function again, whose own derivative is that of the next order
    """

    name: str
    help: str
    backwards: bool
    first: str
    nested: str
    tensors: str = ""
    again: str = ""
    of_tensors: str = ""
    also: tuple[str, ...] = ()


MODES: Mapping[str, Mode] = MappingProxyType({
    mode.name: mode
    for mode in (
        # backward() writes into .grad of the leaves, which may be the user's own tensors: of these autograd.grad is asked.
        Mode("reverse", "hooks and backward", True, "autograd.backward", "autograd.nested_backward", "autograd.grad",
             "map.gradient", of_tensors="the backward", also=("backward", "backprop", "rev", "bwd", "vjp")),
        Mode("grad", "autograd.grad", True, "autograd.grad", "autograd.nested_grad", also=("autograd.grad", "autograd")),
        Mode("forward", "dual numbers", False, "autograd.dual", "autograd.nested_jvp", "autograd.dual", "map.tangent",
             of_tensors="dual numbers", also=("fwd", "jvp", "dual", "forward_ad", "autograd.forward_ad")),
        Mode("func", "torch.func", True, "autograd.vjp", "autograd.nested_vjp", also=("functorch",)),
    )
})  # fmt: skip

OF_TENSORS: Mapping[str, Mode] = MappingProxyType({name: mode for name, mode in MODES.items() if mode.tensors})
"""The modes in which functions of tensors, and networks, are differentiated."""


def resolved(name: str) -> Callable[..., Any]:
    """The function that a cell of the table names. It imports torch."""
    module, _, function = name.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(f"gradcheck_cli.maps.{module}"), function)
    return found
