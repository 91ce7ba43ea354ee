"""What the shadow of many entries asks of a layer: `layers.Layer`, for cells that are arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from gradcheck_cli.algebra.layers import Layer
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.language.functions import Function
from gradcheck_cli.language.tree import Node

Cell = tuple[Any, ...]
"""Arrays whose last axis is the entries, or one for all of them: the words of numbers, then their radii, with a leading axis of
two; of truth values two masks, where it certainly holds and where it certainly doesn't, which may have that axis too."""


class ColumnLayer(Protocol):
    """An algebra of cells, the way in for floats, and what becomes of entries that meet."""

    operators: Mapping[str, str]
    stepwise: bool
    programs: dict[Any, Any]
    bits: int
    """Those of balls that its numbers are held against."""

    @property
    def steps(self) -> ColumnSteps | None:
        """The layer in which formulas are as kernels compute them; None where their rounding doesn't count."""

    @property
    def witness(self) -> Layer:
        """The layer of balls that means the same."""

    def balls(self, cell: Cell, places: Sequence[int]) -> list[Any]:
        """Some entries of a cell in the witness; nan where they are open, None for a truth value that isn't decided."""

    def summed(self, cell: Cell, places: Sequence[int]) -> Any:
        """The sum of some entries in the witness, without an enclosure of each."""

    def constant(self, value: int | float | bool) -> Cell: ...
    def function(self, row: Function) -> Callable[..., Cell] | None: ...
    def body(self, row: Function) -> Node: ...
    def literal(self, value: float, form: Format) -> Cell:
        """A single float that no operation has made."""

    def scalar(self, value: float | bool) -> Cell:
        """A Python number that is an argument of an operation."""

    def data(self, values: Floats) -> Cell:
        """Floats that stand for themselves."""

    def convert(self, cell: Cell, form: Format) -> Cell:
        """The cell of a float that is converted to the shorter format `form`."""

    def truth(self, cell: Cell) -> Cell:
        """A number as a truth value: whether it isn't 0. A truth value stays one."""

    def real(self, cell: Cell) -> Cell:
        """A truth value as a number, 1 or 0. A number stays one."""

    def total(self, cell: Cell, kept: int, count: int) -> Cell:
        """Sums of `count` numbers that follow one another, added in any order."""

    def dot(self, xs: Cell, ys: Cell, batch: int, rows: int, inner: int, columns: int, parts: bool = False) -> Cell:
        """Products of matrices, (batch, rows, inner) and (batch, inner, columns), added in any order, fused or not. `parts`:
        sums of parts of them may be stored in between."""

    def within(self, form: Format | None) -> ColumnLayer:
        """The layer in which an operation is repeated whose result has the format `form` (None: no float)."""


class ColumnSteps(ColumnLayer, Protocol):
    """A layer in which formulas are as kernels compute them."""

    def joined(self, cell: Cell, step: Cell) -> Cell:
        """What exact arithmetic makes of a formula, with what rounding makes of the steps that a kernel takes."""
