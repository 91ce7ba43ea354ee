"""What the entries of a column are: one quantity at many points, the entries of a tensor, or of all tensors of a layer."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np

from gradcheck_cli.floats import Floats
from gradcheck_cli.language.chain import derivative_name
from gradcheck_cli.language.spaces import arrays_of, subscript, unravel
from gradcheck_cli.verdict.verdicts import Verdict


class Label(NamedTuple):
    """What one entry is called."""

    quantity: str
    of: str
    wrt: tuple[str, ...]


class TensorLabels(Sequence[Label]):
    """The names of all entries of a tensor, made on demand: of `of`, differentiated by what comes `before` and by the entries
    of `wrt`; of `of` itself where that is empty."""

    def __init__(self, of: str, wrt: str, shape: tuple[int, ...], before: tuple[str, ...] = ()) -> None:
        self._of, self._wrt, self._shape, self._before = of, wrt, shape, before

    def __len__(self) -> int:
        return math.prod(self._shape)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        entry = subscript(unravel(index, self._shape))
        if not self._wrt:
            return Label(self._of + entry, self._of + entry, ())
        wrt = (*self._before, self._wrt + entry)
        return Label(derivative_name(self._of, wrt), self._of, wrt)


Point = Mapping[str, Any]
"""How inputs are shown: numbers and nested lists, or words for what is too large."""


def gather(values: Mapping[str, float], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """`x[0]`, `x[1]` as one list under `x`; a matrix is a list of lists."""
    if not shapes:
        return dict(values)
    arrays, found = arrays_of(shapes), dict[str, list[float]]()
    for entry, number in values.items():
        found.setdefault(entry.partition("[")[0], []).append(number)
    return {n: np.array(v).reshape(arrays.get(n, () if len(v) == 1 else (len(v),))).tolist() for n, v in found.items()}


class Scope(Protocol):
    """What the entries of a column are."""

    unit: ClassVar[str]
    """What one more of them is."""

    @property
    def title(self) -> str | None:
        """What they are shown under as one row, if they are."""

    @property
    def single(self) -> bool:
        """Whether all entries share one point."""

    def heading(self) -> str:
        """The same for columns that are shown under one heading."""

    def label(self, index: int, whole: Label) -> Label:
        """What an entry is called; `whole`: what the column is."""

    def point(self, index: int) -> dict[str, Any]:
        """Where an entry is."""

    def received(self, index: int) -> dict[str, Any] | None:
        """The floats that a stage received, where the column is about what it does by itself."""

    def pick(self, indices: Sequence[int]) -> Scope:
        """The scope of some of the entries."""


@dataclass(frozen=True, slots=True)
class AtPoints:
    """One quantity at many points. `numbers` maps each name of the problem to an array; `inputs` is what a stage received.
    `shapes`: of the arrays whose entries both hold one by one."""

    numbers: Mapping[str, Floats]
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    inputs: Mapping[str, Floats] | None = None

    unit: ClassVar[str] = "more point"

    @property
    def title(self) -> None:
        return None

    @property
    def single(self) -> bool:
        return all(len(values) == 1 for values in self.numbers.values())

    def heading(self) -> str:
        return ""

    def label(self, index: int, whole: Label) -> Label:
        return whole

    def point(self, index: int) -> dict[str, Any]:
        return gather({name: float(values[index]) for name, values in self.numbers.items()}, self.shapes)

    def received(self, index: int) -> dict[str, Any] | None:
        if self.inputs is None:
            return None
        return gather({name: float(values[index]) for name, values in self.inputs.items()}, self.shapes)

    def pick(self, indices: Sequence[int]) -> AtPoints:
        chosen = list(indices)
        inputs = None if self.inputs is None else {name: values[chosen] for name, values in self.inputs.items()}
        return AtPoints({name: values[chosen] for name, values in self.numbers.items()}, self.shapes, inputs)


class Labels(Sequence[Label]):
    """What the `count` entries of a scope are called, each made when it is read; `change` makes another of it, with `more`."""

    def __init__(
        self, scope: Scope, whole: Label, count: int, change: Callable[..., Label] | None = None, more: tuple[Any, ...] = ()
    ) -> None:
        self._scope, self._whole, self._count, self._change, self._more = scope, whole, count, change, more

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self._count:
            raise IndexError(index)
        label = self._scope.label(index, self._whole)
        return label if self._change is None else self._change(label, *self._more)


class Joined(Sequence[Label]):
    """Several, one after the other."""

    def __init__(self, several: Sequence[Sequence[Label]]) -> None:
        self._several, self._starts = several, [0, *accumulate(map(len, several))]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = bisect_right(self._starts, index) - 1
        return self._several[which][index - self._starts[which]]


@dataclass(frozen=True, slots=True)
class OfTensor:
    """The entries of one tensor at one point; none of them has a name of its own where `labels` is empty.

    `shape`: the tensor's, where it is known; `unlisted`: how many there are of each verdict besides those of the column.
    """

    place: Point
    labels: Sequence[Label] = ()
    shape: tuple[int, ...] = ()
    unlisted: Mapping[Verdict, int] = field(default_factory=dict)

    unit: ClassVar[str] = "more entry"

    @property
    def title(self) -> str | None:
        return None

    @property
    def single(self) -> bool:
        return True

    def heading(self) -> str:
        return repr(self.place)

    def label(self, index: int, whole: Label) -> Label:
        return self.labels[index] if len(self.labels) else whole

    def point(self, index: int) -> dict[str, Any]:
        return dict(self.place)

    def received(self, index: int) -> dict[str, Any] | None:
        return None

    def pick(self, indices: Sequence[int]) -> Self:
        return replace(self, labels=[self.labels[i] for i in indices] if len(self.labels) else ())


@dataclass(frozen=True, slots=True)
class OfLayer(OfTensor):
    """The entries of several tensors, of one layer of a network: shown as one row, the worst of them."""

    layer: str = ""

    @property
    def title(self) -> str:
        return self.layer

    def heading(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Rest(OfTensor):
    """What a run that was stopped came to no end with: at no point that could be told. `points`: how many were asked for in
    all, where that is known."""

    points: int = 0
