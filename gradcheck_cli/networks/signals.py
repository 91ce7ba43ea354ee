"""What comes through a network's layers, for the reader: infinities on the way up, nothing at all on the way down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from gradcheck_cli.algebra.directions import Precise
from gradcheck_cli.algebra.number import working
from gradcheck_cli.algebra.precision import DIRECTIONS
from gradcheck_cli.formulas.tasks import listed
from gradcheck_cli.maps.map import Map
from gradcheck_cli.maps.parts import wholes
from gradcheck_cli.maps.runs import Runs
from gradcheck_cli.networks.hooks import Call, path

Asked = Callable[[Call], bool]


def strange(call: Call) -> str:
    """What is told of a layer that received something else than finite numbers; else empty."""
    found = []
    for name, tensor in call.received.floats.items():
        lost = tensor[~torch.isfinite(tensor)]
        if lost.numel():
            nans = int(torch.isnan(lost).sum())
            kinds = "infinities" if not nans else "nan" if nans == lost.numel() else "infinities and nan"
            found.append(f"{kinds} at {lost.numel():,} of {tensor.numel():,} entries of {path(call.name, name)}")
    return f"the layer received {', '.join(found)}: there its own derivative isn't checked" if found else ""


def stopped(calls: Sequence[Call], gradients: Mapping[str, Tensor | None], flat: Asked) -> list[str]:
    """The note on the layer, the nearest to the output, before which there is no gradient; none where there is no such layer.
    `gradients`: of the output, by what the calls returned and by the inputs, where they are known. `flat`: whether a layer's
    own derivative by what it received is 0 throughout."""
    zero = {name: gradient is not None and not bool(gradient.detach().any()) for name, gradient in gradients.items()}
    zero |= {name: all(zero[part] for part in parts) for name, parts in wholes(zero).items()}
    behind = {call.name: all(zero.get(name, False) for name in call.outputs) for call in calls}
    dead = zero | behind
    for call in reversed(calls):
        if not behind[call.name] and call.sources and all(dead.get(source, False) for source in call.sources):
            count = sum(behind.values())
            return [_told(call, f" ({count:,} layers)" if count > 1 else "", flat(call))]
    return []


def _told(call: Call, layers: str, flat: bool) -> str:
    before = f"autograd has 0 in all that comes before{layers}"
    if not flat:
        start = f"no gradient gets behind layer {call.name}, though its own derivative isn't 0: {before}"
        return f"{start}; between it and {listed(call.sources)}: {listed(call.between)}" if call.between else start
    received = list(call.received.floats.values())
    if isinstance(call.module, nn.ReLU) and all(bool((tensor <= 0).all()) for tensor in received):
        why = "this ReLU received no number above 0 (it is dead); look at the scale and the bias of what it received"
    else:
        why = "its own derivative is 0 at what it received (a flat part, a weight of 0, something detached)"
    return f"layer {call.name} passes no gradient on, {before}: {why}"


def without_value(map: Map, checkpoint: Callable[[], None]) -> list[str]:
    """The note on outputs that are nan, with the operation that they come from; none where none is."""
    found = {name: torch.isnan(y.detach()).reshape(-1) for name, y in map(map.leaves()).items()}
    name = next((name for name, lost in found.items() if bool(lost.any())), None)
    if name is None:
        return []
    lost = found[name]
    runs = Runs(map, None, checkpoint)
    with working(DIRECTIONS[0]):
        runs.forward([Precise()], [runs.exact])
    start = f"{name} is nan at {int(lost.sum()):,} of {lost.numel():,} entries: nothing is said of their derivatives"
    came = [text for text in (runs.left.where or runs.left.operation, runs.left.advice) if text] if runs.left else []
    return ["; it begins with ".join((start, ": ".join(came))) if came else start]


def again(calls: Sequence[Call]) -> list[str]:
    """What the names of second calls mean, where there are any."""
    name = next((call.name for call in calls if ":" in call.name), None)
    if name is None:
        return []
    layer, _, number = name.rpartition(":")
    return [f"{name}: call {number} of layer {layer}, which runs more than once"]
