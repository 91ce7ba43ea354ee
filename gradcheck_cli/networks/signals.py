"""What comes through a network's layers, for the reader: infinities on the way up, nothing at all on the way down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gradcheck_cli.networks.hooks import Call, joined


def strange(call: Call) -> str:
    """What is told of a layer that received something else than finite numbers; else empty."""
    found = []
    for name, tensor in call.received.floats.items():
        lost = tensor[~torch.isfinite(tensor)]
        if lost.numel():
            nans = int(torch.isnan(lost).sum())
            kinds = "infinities" if not nans else "nan" if nans == lost.numel() else "infinities and nan"
            found.append(f"{kinds} at {lost.numel():,} of {tensor.numel():,} entries of {joined(call.name, name)}")
    return f"the layer received {', '.join(found)}: there its own derivative isn't checked" if found else ""


def stopped(calls: Sequence[Call], gradients: Mapping[str, Tensor | None]) -> list[str]:
    """The note on the layer, the nearest to the output, that passes nothing on to what it is computed from; none where there is
    no such layer. `gradients`: of the output, by what the calls returned and by the inputs, where they are known."""
    zero = {name: gradient is not None and not bool(gradient.detach().any()) for name, gradient in gradients.items()}
    behind = {call.name: all(zero.get(name, False) for name in call.outputs) for call in calls}
    dead = zero | behind
    for call in reversed(calls):
        if not behind[call.name] and call.sources and all(dead.get(source, False) for source in call.sources):
            count = sum(behind.values())
            layers = f" ({count:,} layers)" if count > 1 else ""
            return [f"layer {call.name} passes no gradient on, autograd has 0 in all that comes before{layers}: {_why(call)}"]
    return []


def _why(call: Call) -> str:
    received = list(call.received.floats.values())
    if isinstance(call.module, nn.ReLU) and all(bool((tensor <= 0).all()) for tensor in received):
        return "this ReLU received no number above 0 (it is dead); look at the scale and the bias of what it received"
    return "its own derivative is 0 at what it received (a flat part, a weight of 0, something detached)"


def again(calls: Sequence[Call]) -> list[str]:
    """What the names of second calls mean, where there are any."""
    name = next((call.name for call in calls if ":" in call.name), None)
    if name is None:
        return []
    layer, _, number = name.rpartition(":")
    return [f"{name}: call {number} of layer {layer}, which runs more than once"]
