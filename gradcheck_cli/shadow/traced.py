"""The trace of operations that one formula takes, written down on numbers without a value: the same for all points.

What the trace can't hold (an operation that isn't entry by entry, a view of a part, a question that torch asks of a number)
ends it: such formulas are followed by `columns`, operation by operation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from gradcheck_cli.algebra.columns.fused import Fused
from gradcheck_cli.algebra.columns.layer import Cell
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.shadow.arguments import Outputs, tensors_of
from gradcheck_cli.shadow.columns import Columns
from gradcheck_cli.shadow.decisions import TELLING
from gradcheck_cli.shadow.memory import FLOATS
from gradcheck_cli.shadow.overloads import Overload


class Traced(Columns):
    """Follow the operations on `tensors`, all of one length, whose entries are the given numbers. `lost`: there is no trace."""

    def __init__(self, layer: Fused, tensors: Sequence[tuple[torch.Tensor, Any]]) -> None:
        super().__init__(layer)
        self._fused = layer
        self._held: dict[int, tuple[Any, Cell]] = {}
        """By storage, which is kept: one number stands for all of its entries."""
        for tensor, value in tensors:
            self._write(tensor, layer.given(value))

    def watched(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        told = known.base in TELLING and all(map(self._constant, tensors_of((*args, *kwargs.values()))))
        if told or self.lost:  # a constant is the same at all points
            return func(*args, **kwargs)
        if not known.view:
            row = known.choose(known.bind(args, kwargs))
            self.lost = row is None or row.whole
        return func(*args, **kwargs) if self.lost else super().watched(known, func, args, kwargs)

    def _unknown(self, outputs: Outputs) -> None:
        for output in outputs:
            if output is None or not output.numel():
                continue
            if output.dtype is torch.bool:
                self._write(output, (False, False))
            elif output.dtype in FLOATS:
                self._write(output, self._fused.constant(0)[:-1] + ((OPEN, OPEN),))
            else:
                self.lost = True

    def cell(self, tensor: torch.Tensor) -> Cell:
        return self._read(tensor, tuple(tensor.shape))

    def _constant(self, tensor: torch.Tensor) -> bool:
        single = tensor.untyped_storage().nbytes() == tensor.element_size()
        return single and self._key(tensor) not in self._held and super()._constant(tensor)

    def _sure(self, tensor: torch.Tensor) -> bool:
        return self._key(tensor) not in self._held and super()._sure(tensor)

    def _forget(self, tensor: torch.Tensor | None) -> None:
        if tensor is not None:
            self._held.pop(self._key(tensor), None)

    def _read(self, tensor: torch.Tensor, shape: tuple[int, ...], flat: bool = True) -> Cell:
        if tensor._is_zerotensor():
            return self._fused.constant(0)
        single = tensor.untyped_storage().nbytes() == tensor.element_size()
        held = self._held.get(self._key(tensor))
        if held is not None and (single or (_whole(tensor) and math.prod(shape) == tensor.numel())):
            return held[1]
        if held is None and single and tensor.dtype in FLOATS:
            return self._fused.literal(float(tensor.detach().reshape(-1)[0]), FLOATS[tensor.dtype])
        self.lost = True
        return self._fused.constant(0)

    def _load(self, tensor: torch.Tensor) -> Any:
        self._write(tensor, self._read(tensor, tuple(tensor.shape)))

    def _write(self, tensor: torch.Tensor, cell: Cell, kept: bool = False) -> None:
        self.lost |= not _whole(tensor)
        self._held[self._key(tensor)] = tensor.untyped_storage(), cell


def _whole(tensor: torch.Tensor) -> bool:
    """Whether a tensor is all of its storage, in order."""
    return tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
