"""Functions of named tensors, run in torch as the user would run them: what is differentiated, and by which cotangents."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gradcheck_cli.errors import InputError, first_line
from gradcheck_cli.floats import Floats
from gradcheck_cli.language.spaces import subscript
from gradcheck_cli.maps.autograd import Pulled, Seen, gradients, jvp
from gradcheck_cli.maps.autograd import Tensors as Tensors
from gradcheck_cli.modes import MODES, resolved
from gradcheck_cli.pool import empty, reused
from gradcheck_cli.shadow.draws import restored
from gradcheck_cli.verdict.judge import CUT

Call = Callable[[Tensors], Tensors]


@dataclass(frozen=True)
class Map:
    """A function of named tensors, the same at every call.

    `inputs`: detached floating-point tensors, what is differentiated by; `call` takes leaves by these names and returns the
    outputs by name. `seed`: torch's generators are seeded so before every call, and restored afterwards. `nested`: the call
    itself runs forward mode, which only `torch.func` nests. `stops`: what the call detaches from autograd's graph is meant to
    be constant, and the derivative that of the function in which it is. `state`: the storages of what the last call had as
    its state.
    """

    inputs: Tensors
    call: Call
    seed: int = 0
    nested: bool = False
    stops: bool = False
    state: Callable[[], Collection[int]] = tuple

    def __call__(self, leaves: Tensors) -> dict[str, Tensor]:
        """The floating-point outputs."""
        with seeded(self.seed, self.inputs.values()):
            return {name: y for name, y in self.call(leaves).items() if y.is_floating_point()}

    def forward(self, values: dict[str, Tensor], seen: Seen) -> dict[str, Tensor]:
        """The outputs: there is no place between at which anything could be seen."""
        return self(values)

    def results(self, values: Tensors) -> dict[str, Tensor]:
        """All of them."""
        return dict(values)

    def zero(self, place: str, inputs: Tensors) -> Tensor | None:
        """None: a place is an output."""
        return None

    def mark(self, place: str) -> None:
        """Nothing is to be told of an output."""

    def at(self, inputs: Tensors) -> Map:
        """The same function at other inputs."""
        return replace(self, inputs=inputs)

    def entry(self, names: Sequence[str], index: tuple[int, ...]) -> Map:
        """One entry of some outputs alone."""

        def call(leaves: Tensors) -> Tensors:
            found = self.call(leaves)
            return {name + subscript(index): found[name][index] for name in names}

        return replace(self, call=call)

    def without(self, names: Sequence[str]) -> Map:
        """The same without some outputs."""
        return replace(self, call=lambda leaves: {n: y for n, y in self.call(leaves).items() if n not in names})

    def leaves(self) -> dict[str, Tensor]:
        """Fresh copies of the inputs that require a gradient (a call may damage them)."""
        return {name: _copy(x).requires_grad_() for name, x in self.inputs.items()}

    @contextmanager
    def beside(self, values: Tensors) -> Iterator[dict[str, Tensor]]:
        """Leaves with other values, tensors that nobody else has."""
        yield {name: x.requires_grad_() for name, x in values.items()}


def without_graph(outputs: Tensors) -> list[str]:
    """The outputs that require no gradient although others do (statistics, what a Function marks so): nobody means to
    differentiate them."""
    cut = [name for name, y in outputs.items() if not y.requires_grad]
    return cut if len(cut) < len(outputs) else []


def not_judged(names: Iterable[str]) -> list[str]:
    """What the reader is told of them."""
    return [f"{name} requires no gradient, while other outputs do: it is not judged" for name in names]


def _copy(x: Tensor) -> Tensor:
    if reused(x.numel()) and x.dtype is torch.float64 and x.device.type == "cpu" and x.is_contiguous():
        return torch.from_numpy(empty(*x.shape)).copy_(x.detach())
    return x.detach().clone()


def check_device(name: str) -> None:
    """InputError where torch can't compute on a device, or no number comes back from it (meta)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of devices that torch is about to drop
            torch.zeros(1, device=name).tolist()
    except (RuntimeError, AssertionError, ImportError, AttributeError, TypeError, ValueError) as refusal:
        raise InputError(f"torch can't use the device {name!r}: {first_line(refusal)}") from None


T = TypeVar("T")


def attempted(run: Callable[[], T]) -> T | None:
    """What comes of the user's code where nobody asked for it: in another dtype, at other points, by a part of it alone. None
    where it raises, whatever that is: it was written for what it was given."""
    try:
        return run()
    except Exception:
        return None


class seeded(restored):
    """torch's generators, of the CPU and of the tensors' devices, start from `seed` inside the block and are left as they
    were."""

    __slots__ = ("_seed",)

    def __init__(self, seed: int, tensors: Iterable[Tensor] = ()) -> None:
        super().__init__(tensors)
        self._seed = seed

    def __enter__(self) -> list[torch.Generator]:
        generators = super().__enter__()
        for generator in generators:
            generator.manual_seed(self._seed)
        return generators


def autocast(device: str, dtype: str | None) -> AbstractContextManager[Any]:
    """torch.autocast to a format, or nothing."""
    if dtype is None:
        return nullcontext()
    return torch.autocast(torch.device(device).type, getattr(torch, dtype))


@contextmanager
def uncompiled() -> Iterator[None]:
    """What torch.compile has made runs as it was written inside the block. Under a dispatch mode Dynamo fails, and wouldn't try
    again without one."""
    if "torch._dynamo" not in sys.modules:  # a second to import, and nothing is compiled
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@dataclass(frozen=True)
class Row:
    """A combination of the outputs that is differentiated: one entry of an output, or all of them with a cotangent. `by`: it is
    the derivative of `of` by these entries already."""

    name: str
    cotangents: Tensors = field(default_factory=dict)
    of: str = ""
    by: tuple[str, ...] = ()


MAX_ROWS = 1000


def every_row(outputs: Tensors) -> list[Row]:
    """One row for each entry of each output: `y[0,1]`, or `y` where it is a single number without dimensions."""
    indices = ((name, y, index) for name, y in outputs.items() for index in itertools.product(*map(range, y.shape)))
    return [one_row(name, y, index) for name, y, index in indices]


def one_row(name: str, output: Tensor, index: tuple[int, ...]) -> Row:
    """One entry of an output."""
    cotangent = torch.zeros(output.shape, dtype=output.dtype, device=output.device)
    cotangent[index] = 1
    return Row(name + subscript(index), {name: cotangent})


def called(letter: str, of: str, names: Collection[str]) -> str:
    """What seeded numbers for something are called: by their letter, unless an input has that name."""
    return f"{letter}_{of}" if letter in names else letter


def random_row(outputs: Tensors, seed: int, names: Collection[str] = ()) -> Row:
    """All outputs, with seeded cotangents of sizes from 1/2 to 2 and both signs, short enough to be exact in every format.
    `names`: those of the inputs."""
    count = sum(y.numel() for y in outputs.values())
    drawn = torch.from_numpy(_kept(seed, count) if count <= KEPT else _cotangents(seed, count))
    parts = drawn.split([y.numel() for y in outputs.values()])
    cotangents = {
        name: torch.empty(output.shape, dtype=output.dtype, device=output.device).copy_(part.view(output.shape))
        for (name, output), part in zip(outputs.items(), parts, strict=True)
    }
    letter = called("v", next(iter(outputs)), names) if len(outputs) == 1 else "v"
    return Row(f"<{letter},{','.join(outputs)}>", cotangents)


KEPT = 1000
"""Cotangents up to which those that were drawn are kept for the next map."""


def _cotangents(seed: int, count: int) -> Floats:
    """So many cotangents, which begin those of a larger number."""
    state = np.random.RandomState(0)
    state.set_state(("MT19937", *_state(seed), 0, 0.0))
    return _CHOICES[(state.random_sample(count) * len(_CHOICES)).astype(np.int64)]


_CHOICES = np.array([s * k / 16 for k in range(8, 33) for s in (-1, 1)])

_kept = lru_cache(maxsize=64)(_cotangents)


@lru_cache(maxsize=64)
def _state(seed: int) -> tuple[npt.NDArray[np.uint32], int]:
    """Where Python's generator starts from: NumPy's seeds are 32 bits wide."""
    _, words, _ = random.Random(seed).getstate()
    return np.array(words[:-1], dtype=np.uint32), words[-1]


Ran = tuple[dict[str, Tensor], Callable[[Row], Pulled]]
"""The outputs of a run, and what gives the gradients of a row of them by all leaves."""


def run(map: Map, leaves: Tensors, mode: str = "reverse") -> Ran:
    """A run in a mode that runs backwards.

    Raises what the map raises.
    """
    found = resolved(MODES[mode].tensors)(map, leaves, list(leaves))
    return found.values, lambda row: found.pull(row.cotangents)


def pull(outputs: Tensors, leaves: Tensors, row: Row, create_graph: bool = False) -> Pulled:
    """The gradients of a row by all leaves; the graph is kept for the next row."""
    return gradients(outputs, leaves, row.cotangents, create_graph)


def draws(seed: int, *numbers: Floats, secret: int | None = None) -> np.random.Generator:
    """Random numbers from the seed and from all bits of some numbers: nobody can write a gradient whose error is orthogonal to
    them, and the same seed and inputs give them again. `secret`: that of the numbers, where it is known."""
    return np.random.default_rng([seed, secret_of(*numbers) if secret is None else secret])


def secret_of(*numbers: Floats) -> int:
    """A number that hangs on all bits of numbers."""
    bits = hashlib.blake2b(digest_size=16)
    for some in numbers:
        bits.update(np.ascontiguousarray(some).data)
    return int.from_bytes(bits.digest(), "little")


def signs(draw: np.random.Generator, count: int) -> Floats:
    """So many times 1 or -1."""
    found = draw.integers(0, 2, count).astype(np.float64)
    found *= 2.0
    found -= 1.0
    return found


def split(row: Row, name: str, apart: Sequence[Floats]) -> tuple[Row, Row | None]:
    """A row without its cotangents at places that are marked, and those alone under another name; all of them as they are where
    all places, or none, are marked."""
    marks = {
        n: torch.from_numpy(m).to(v.device, torch.bool).reshape(v.shape)
        for (n, v), m in zip(row.cotangents.items(), apart, strict=True)
    }
    if all(m.all() for m in marks.values()) or not any(m.any() for m in marks.values()):
        return row, None
    rest = {n: v.masked_fill(marks[n], 0) for n, v in row.cotangents.items()}
    return replace(row, cotangents=rest), Row(name, {n: v.masked_fill(~marks[n], 0) for n, v in row.cotangents.items()})


def direction_of(inputs: Tensors, seed: int) -> dict[str, Tensor]:
    """A seeded direction for every input, of short numbers (see `random_row`)."""
    return dict(random_row(inputs, seed).cotangents)


def push(
    map: Map, direction: Tensors, mode: str = "forward", seed: Callable[[Tensors], None] = lambda primals: None
) -> tuple[dict[str, Tensor], dict[str, Tensor | None], str | None]:
    """The outputs, the derivative of each along `direction` (None: torch gave none), and torch's refusal: in a mode that runs
    forwards.

    `seed` sees the primals before they run.
    """
    primals = {n: _copy(x) for n, x in map.inputs.items()}
    seed(primals)
    way = jvp if map.nested else resolved(MODES[mode].tensors)
    pushed = way(map, primals, {name: partial(_itself, u) for name, u in direction.items()})
    if pushed.refusal and NESTED in pushed.refusal and not map.nested:
        return push(replace(map, nested=True), direction, mode, seed)
    if pushed.refusal is None:
        return pushed.values, pushed.tangents, None
    outputs = {name: y.detach() for name, y in map(map.leaves()).items()}
    return outputs, dict.fromkeys(outputs), pushed.refusal


NESTED = "Nested forward mode"
"""torch's words for a function that runs forward mode itself: dual numbers don't nest, `torch.func` does."""


def _itself(tangent: Tensor, primal: Tensor) -> Tensor:
    return tangent


def gradient(map: Map, row: Row, ahead: Sequence[Tensors] = (), upstream: bool = True) -> Map:
    """The gradient of a row as a function of the inputs, and of the cotangents if `upstream`: its derivative is the double
    backward. With directions `ahead`: the gradient of the row's derivative along these, torch differentiating each time what it
    returned before. What it has no gradient of is 0."""
    cotangents = {f"grad_{name}": v for name, v in row.cotangents.items()}

    def call(leaves: Tensors) -> Tensors:
        inner = {name: leaves[name] for name in map.inputs}
        weights = {n: leaves[f"grad_{n}"] for n in row.cotangents} if upstream else row.cotangents
        found = _graded(map.call(inner), inner, weights)
        for direction in ahead:
            found = _graded(found, inner, direction)
        return {f"d{row.name}/d{name}": g for name, g in found.items()}

    return Map({**map.inputs, **(cotangents if upstream else {})}, call, map.seed)


def _graded(outputs: Tensors, inner: Tensors, weights: Tensors) -> dict[str, Tensor]:
    """The gradients of weighted outputs, with their graph. RuntimeError in torch's words where it refuses."""
    pulled = gradients(outputs, inner, weights, create_graph=True)
    if pulled.refusal and pulled.refusal != CUT:
        raise RuntimeError(pulled.refusal)
    return {name: torch.zeros_like(inner[name]) if g is None else g for name, g in pulled.gradients.items()}


def tangent(map: Map, direction: Tensors, ahead: Sequence[Tensors] = ()) -> Map:
    """The derivative along a direction by forward mode, as a function of the inputs: its own is forward over forward. With
    directions `ahead`: that of the derivative along these."""
    for along in ahead:
        map = tangent(map, along)

    def call(leaves: Tensors) -> Tensors:
        tangents = torch.func.jvp(map, (dict(leaves),), (dict(direction),))[1]
        return {pushed(name): t for name, t in tangents.items()}

    return replace(map, call=call, nested=True)


def pushed(name: str) -> str:
    """What the derivative of an output along a direction is called."""
    return f"(J u of {name})"


def size(tensors: Tensors) -> int:
    """The number of entries."""
    return sum(math.prod(t.shape) for t in tensors.values())


def spans_of(tensors: Tensors) -> dict[str, slice]:
    """Where the entries of each tensor stand, if all of them stand in a row."""
    ends = list(accumulate((math.prod(t.shape) for t in tensors.values()), initial=0))
    return {name: slice(*ends[i : i + 2]) for i, name in enumerate(tensors)}
