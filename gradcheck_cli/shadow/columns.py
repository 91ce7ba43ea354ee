"""The shadow of many entries at once: every ATen operation repeated on columns, by the same tables as in `shadow.mode`.

It is a filter before the shadow of balls: what it can't follow (an operation without a row, a decision that isn't certain) is
open, and whoever asks about an open entry goes on to balls. So nothing here records events, names or decisions.

Numbers lie in flat arrays, one for each part and storage, and are seen through a tensor's own sizes and strides, as in
`shadow.memory`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from threading import get_ident
from typing import Any

import numpy as np
import torch
from torch.overrides import enable_reentrant_dispatch

from gradcheck_cli.algebra.columns.enclosing import EXACT, is_truth
from gradcheck_cli.algebra.columns.layer import Cell, ColumnLayer
from gradcheck_cli.algebra.columns.words import OPEN
from gradcheck_cli.floats import Floats, Format
from gradcheck_cli.pool import entire
from gradcheck_cli.shadow.arguments import (
    Outputs,
    asks_kind,
    is_plain,
    is_real,
    near,
    outputs_of,
    run,
    solid,
    tensors_of,
    written_by,
)
from gradcheck_cli.shadow.aten import KINDS, Operation, results
from gradcheck_cli.shadow.audit import Audit, Audited
from gradcheck_cli.shadow.column_folds import COLUMN_FOLDS, Call, joined, whole
from gradcheck_cli.shadow.complexes import by_parts, is_complex, is_flagged, parted
from gradcheck_cli.shadow.contents import Contents, as_real
from gradcheck_cli.shadow.decisions import TELLING
from gradcheck_cli.shadow.memory import FLOATS, UNFILLED
from gradcheck_cli.shadow.mode import REFUSALS
from gradcheck_cli.shadow.overloads import Overload
from gradcheck_cli.shadow.rules import MOVED, MUTATED, RULES
from gradcheck_cli.shadow.shortened import short
from gradcheck_cli.shadow.stops import state_written
from gradcheck_cli.shadow.watching import Watching
from gradcheck_cli.shadow.ways import way_of

HERE = "cpu"
"""Where the arrays are, of tensors on every device."""


@dataclass(slots=True)
class _Storage:
    """The parts of all numbers of a storage: the words and the radii (a row each), or two masks; of one number where it is the
    same for all. `storage` keeps the address from being used again. `shared`: the arrays may be others' too, and are copied
    before a part of them is written."""

    storage: Any
    parts: list[Floats]
    shared: bool = True


class Columns(Watching):
    """Follow the torch operations run inside the `with` block. `cell` reads what a tensor's entries have become.

    `guarded`: code runs that may write to memory behind torch's back; a sample of each operation is held against balls. `lost`:
    one of these went wrong, or something was asked or run that columns know nothing of; nothing holds then. `held`: something
    was written to the `state`, see `shadow.mode`. `checkpoint`, `pace`: as there. `told`: balls have more to tell of what
    rounding did, for a float was converted to a shorter format, or a truth value isn't what exact arithmetic has.
    """

    def __init__(
        self,
        layer: ColumnLayer,
        guarded: bool = False,
        state: Callable[[], Collection[int]] = tuple,
        checkpoint: Callable[[], None] = lambda: None,
        pace: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__()
        self._checkpoint, self._pace = checkpoint, pace
        self.lost = self.held = self.told = False
        self._contents, self._state = Contents() if guarded else None, state
        self._audit = Audit() if guarded else None
        self._layer = layer
        self._storages: dict[int, _Storage] = {}
        self._unsure: dict[int, Any] = {}
        """Storages of whole numbers that were made of what is followed."""
        self._within, self._thread = False, get_ident()

    def seed(self, tensor: torch.Tensor, cell: Cell) -> None:
        """Give the tensor's entries (in order) their numbers: arrays that nobody writes to."""
        self._write(tensor, cell, kept=True)

    def cell(self, tensor: torch.Tensor) -> Cell:
        """The tensor's entries, flat; look at `lost` after. What is infinite is open."""
        tensor = self._resolved(tensor)
        if self._contents is not None and not tensor._is_zerotensor() and self._contents.changed([tensor]):
            self.lost = True
        cell = self._read(tensor, tuple(tensor.shape))
        if is_truth(cell) or np.isfinite(cell[0]).all():
            return cell
        return *cell[:-1], np.where(np.isfinite(cell[0]), cell[-1], OPEN)

    # -- following --------------------------------------------------------------------------------------------------

    def watched(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        self._checkpoint()
        if not self._within:
            self._pace()
        if self.lost:
            return run(func, args, kwargs)
        if get_ident() == self._thread:
            return self._followed(known, func, args, kwargs)
        with np.errstate(all="ignore"):  # which is a thread's own, and a backward on a device runs in that of the device
            return self._followed(known, func, args, kwargs)

    def _followed(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        contents = None if self._within else self._contents
        if known.view:
            result = func(*args, **kwargs)
            if contents is not None and known.name in UNFILLED and is_plain(result):
                contents.blank(as_real(result))
            return result
        tensors = tensors_of((*args, *kwargs.values()))
        if any(t.is_meta for t in tensors):  # shapes alone
            return func(*args, **kwargs)
        if any(t._is_zerotensor() for t in tensors):
            args = tuple(solid(a) for a in args)
        bound = known.bind(args, kwargs)
        if known.name in MOVED:
            return self._elsewhere(bound[MOVED[known.name]], lambda: func(*args, **kwargs))
        row = known.choose(bound)
        asked = known.base in TELLING and not all(map(self._constant, tensors))
        plain = all(map(is_plain, tensors))
        read = map(as_real, (t for t in tensors if not t._is_zerotensor()))
        if contents is not None and plain and contents.changed(read):
            self.lost = True
        pairs = plain and any(map(is_complex, chain(tensors, bound.values())))
        if pairs or plain and any(map(is_flagged, tensors)):
            bound = {name: self._resolved(value) for name, value in bound.items()}
            for tensor in tensors_of(tuple(bound.values())):
                if tensor.is_complex() and not tensor._is_zerotensor():
                    self._load(tensor)
        strange = known.foreign or asked or not plain
        if row is not None and row.name in KINDS and asks_kind(bound["self"], bound["other"]):
            row = KINDS[row.name]
        for tensor in tensors if known.writes and not strange else ():  # what is about to be overwritten
            if (tensor.dtype in FLOATS or tensor.dtype is torch.bool) and not tensor._is_zerotensor():  # which has no memory
                self._load(tensor)
        early = way = None
        if pairs and row is not None and row.whole and not row.data:
            way, row = by_parts(known.functional or known.func, row), None
        if way is None and row is None and not strange:
            way = way_of(known, bound)
        if way is not None and known.written - known.outputs and known.name not in MUTATED:
            early = self._run(way, bound, None)
        result = run(func, args, kwargs) if pairs else func(*args, **kwargs)
        outputs = outputs_of(result) or written_by(known, bound)
        if any(o is not None and o.is_meta for o in outputs):
            return result
        told = known.base in TELLING or not tensors
        if strange or not all(o is None or is_plain(o) and not is_flagged(o) for o in outputs) or not (outputs or told):
            self.lost = True
        elif row is not None and row.data or self._settled(outputs, tensors):
            for output in outputs:
                self._forget(output)
        elif row is not None and not row.whole:
            self._repeat(row, bound, outputs)
        elif row is not None and row.moves:
            self._move(known, row, bound, outputs)
        elif row is not None:
            self._fold(known, row, bound, outputs)
        else:
            found = early or (None if way is None else self._run(way, bound, result))
            self._take(known, found, outputs, tensors)
        for name in MUTATED.get(known.name, ()):
            self._forget(bound.get(name))
        for output in outputs if contents is not None else ():
            if contents is not None and output is not None and is_plain(output) and not output._is_zerotensor():
                contents.remember(as_real(output))
        for tensor in () if self._within else state_written(known, args, kwargs, self._state()):
            self._forget(tensor)
            self.held = True
        return result

    def _elsewhere(self, tensors: Sequence[torch.Tensor], run: Callable[[], Any]) -> Any:
        """What gives tensors other memory: their numbers go along."""
        kept = [self._read(tensor, tuple(tensor.shape)) for tensor in tensors]
        result = run()
        for tensor, cell in zip(tensors, kept, strict=True):
            self._write(tensor, cell)
            if self._contents is not None:
                self._contents.remember(tensor)
        return result

    def _repeat(self, row: Operation, bound: Mapping[str, Any], outputs: Outputs) -> None:
        """The formula of each output, on the parts of what is complex."""
        try:
            row, bound, made = parted(row, bound, outputs)
        except NotImplementedError:
            self._unknown(outputs)
            return
        for output in outputs if made is not outputs else ():
            self._claim(output)
        outputs, first = made, made[0]
        if first is None or not first.numel():
            self._unknown(outputs)
            return
        if not first.is_floating_point() and first.dtype is not torch.bool:
            self._unknown(outputs)
            return
        shape, form = tuple(first.shape), FLOATS.get(first.dtype)
        settings = tuple(bound[name] for name in sorted(row.integers))
        layer = self._layer.within(form)
        inputs = [self._argument(row, name, bound[name], shape, form) for name in row.entries]
        run, steps = row.program(layer, settings), layer.steps if row.steps else None
        stepwise = row.program(steps, settings) if steps else None

        def both(*some: Cell) -> tuple[Cell, ...]:
            cells: tuple[Cell, ...] = run(*some)
            return tuple(map(steps.joined, cells, stepwise(*some))) if steps and stepwise else cells

        cells = _in_pieces(both, inputs, first.numel())
        if self._audit is not None:
            balls = lambda *some: row.program(layer.witness, settings)(*some)  # noqa: E731
            self._audit.formula(layer, row.name, balls, inputs, cells, first.numel())
            self.lost |= not self._audit.sound
        for output, cell, tree in zip(outputs, cells, row.trees, strict=True):
            if output is None or tuple(output.shape) != shape:
                self._unknown([output])
                continue
            logical, given = output.dtype is torch.bool, results(tree)
            if logical and given != "truth":
                cell = layer.truth(cell)
            elif not logical and given != "number":
                cell = layer.real(cell)
            if logical:
                holds, fails = (mask[EXACT] if np.ndim(mask) > 1 else mask for mask in cell)
                floats = output.reshape(-1).cpu().numpy()
                self.told = self.told or bool(np.any(np.where(floats, fails, holds)))
            self._write(output, cell)

    def _argument(self, row: Operation, name: str, value: Any, shape: tuple[int, ...], form: Format | None) -> Cell:
        layer = self._layer
        cell = self._read(value, shape) if isinstance(value, torch.Tensor) else layer.scalar(value)
        if name in row.truths:
            return layer.truth(cell)
        return self._as(cell, value, form, name in row.numbers)

    def _as(self, cell: Cell, value: Any, form: Format | None, number: bool) -> Cell:
        """The cell of an argument, as a number if it is one, of a float that is converted to a shorter format."""
        if number:
            cell = self._layer.real(cell)
        given = FLOATS.get(value.dtype) if isinstance(value, torch.Tensor) else None
        if given is not None and form is not None and given.bits > form.bits:
            cell, self.told = self._layer.convert(cell, form), True
        return cell

    def _move(self, known: Overload, row: Operation, bound: Mapping[str, Any], outputs: Outputs) -> None:
        """Each part as torch moves the entries; only numbers move here, by masks and indices that are the floats' own."""
        others = tensors_of([value for name, value in bound.items() if name not in row.moves and name not in known.outputs])
        moved = tensors_of([bound[name] for name in row.moves])
        function = known.functional
        plain = all(o is not None and o.dtype in FLOATS for o in outputs) and all(t.dtype in FLOATS for t in moved)
        if function is None or not (plain and all(map(self._sure, others))):
            self._unknown(outputs)
            return
        given = {name: _here(value) for name, value in bound.items() if name not in (*known.outputs, *row.moves)}
        seen = {name: self._seen(bound[name]) for name in row.moves}
        found: list[list[Any]] = [[] for _ in outputs]
        for part in range(len(self._layer.constant(0)) + 1):
            results = outputs_of(function(**given | {name: _pick(value, part) for name, value in seen.items()}))
            for into, result in zip(found, results, strict=True):
                assert result is not None
                into.append(result.reshape(-1).numpy())
        for output, parts in zip(outputs, found, strict=True):
            assert output is not None
            self._write(output, (*parts[:-2], np.stack(parts[-2:])))

    def _seen(self, value: Any) -> Any:
        """What stands for a tensor, several, or a number, in each part: the words, then the radii."""
        if isinstance(value, (list, tuple)):
            return [self._seen(v) for v in value]
        if not isinstance(value, torch.Tensor):
            *words, radii = self._layer.scalar(value)
            return _Parts([float(part) for part in (*words, *radii[:, 0])])
        *words, radii = whole(self._read(value, tuple(value.shape)), value.numel())
        return _Parts([torch.as_tensor(np.array(part), device=HERE).reshape(value.shape) for part in (*words, *radii)])

    def _fold(self, known: Overload, row: Operation, bound: Mapping[str, Any], outputs: Outputs) -> None:
        """What becomes of entries that meet."""
        fold, form = COLUMN_FOLDS.get(row.fold), next((FLOATS.get(o.dtype) for o in outputs if o is not None), None)
        given = {name: value for name, value in bound.items() if name not in known.outputs}
        decided = all(map(self._sure, tensors_of([given[name] for name in ("index", "indices") if name in given])))
        if fold is None or not decided or not all(t.numel() for t in tensors_of([*given.values()])):
            self._unknown(outputs)
            return

        allowed = short(row.fold, outputs)

        def read(name: str, flat: bool = True) -> Cell:
            tensor = given[name]
            cell = self._as(self._read(tensor, tuple(tensor.shape), flat), tensor, form, row.fold != "some")
            return cell if allowed.factors is None or name == "bias" else layer.convert(cell, allowed.factors)

        layer: Any = self._layer.within(form)
        layer = layer if self._audit is None else Audited(layer, self._audit)
        try:
            cells = fold(Call(row, given, outputs, layer, read, allowed.sums))
            self.lost |= self._audit is not None and not self._audit.sound
        except Exception:  # balls follow it once more
            if os.environ.get("GRADCHECK_DEBUG"):
                raise
            cells = []
        for output, cell in zip_longest(outputs, cells):
            if output is not None and cell is not None and (output.dtype in FLOATS or output.dtype is torch.bool):
                self._write(output, cell)
            elif output is not None and cell == ():
                self._forget(output)
            else:
                self._unknown([output])

    def _run(self, way: Any, bound: Mapping[str, Any], result: Any) -> Outputs | None:
        """The outputs of simpler operations, followed; None where they can't be."""
        within, lost, self._within = self._within, self.lost, True
        try:
            with enable_reentrant_dispatch(), torch.no_grad(), self:
                found = [self._resolved(o) for o in outputs_of(way(bound, result))]
            return None if self.lost and not lost else found
        except Exception as problem:  # whatever a rule raises, balls follow it once more
            if os.environ.get("GRADCHECK_DEBUG") and not isinstance(problem, REFUSALS):
                raise
            return None
        finally:
            self._within, self.lost = within, lost

    def _take(self, known: Overload, found: Outputs | None, outputs: Outputs, tensors: Sequence[torch.Tensor]) -> None:
        if found is None or len(found) != len(outputs):
            self._unknown(outputs)
            return
        made = [(o, f) for o, f in zip(outputs, found, strict=True) if o is not None and f is not None and o.numel()]
        fits = all(o.shape == f.shape and o.dtype is f.dtype for o, f in made)
        pairs = [(as_real(o), as_real(f)) for o, f in made]
        unsure = known.base not in RULES or any(map(is_complex, (*tensors, *outputs)))  # written for real numbers first
        if not fits or (unsure and not near(pairs, tensors)):
            self._unknown(outputs)
            return
        sure = {id(f): self._sure(f) for _, f in pairs}
        self._unknown(outputs)
        for output, other in pairs:
            if output.dtype in FLOATS or output.dtype is torch.bool:
                self._write(output, self._read(other, tuple(other.shape)))
            elif sure[id(other)] and torch.equal(output, other):
                self._forget(output)

    def _unknown(self, outputs: Outputs) -> None:
        """Results of which nothing is certain."""
        for output in outputs:
            if output is None or output._is_zerotensor() or not output.numel():
                continue
            output = as_real(output)
            if output.dtype is torch.bool:
                no = np.zeros(output.numel(), dtype=bool)
                self._write(output, (no, no))
            elif output.dtype in FLOATS:
                nothing = np.zeros(output.numel())
                words = (nothing,) * (len(self._layer.constant(0)) - 1)
                self._write(output, (*words, np.full((2, output.numel()), OPEN)))
            else:
                self._unsure[self._key(output)] = output.untyped_storage()

    # -- memory -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _key(tensor: torch.Tensor) -> int:
        return 0 if tensor._is_zerotensor() else int(tensor.untyped_storage()._cdata)

    def _constant(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor is a single float that no operation has made, or a whole number that is certain."""
        if not tensor.is_floating_point() and tensor.dtype is not torch.bool:
            return self._sure(tensor)
        return self._key(tensor) not in self._storages and tensor.untyped_storage().nbytes() == tensor.element_size()

    def _forget(self, tensor: torch.Tensor | None) -> None:
        """The contents count from here on."""
        if tensor is not None:
            self._storages.pop(self._key(tensor), None)
            self._unsure.pop(self._key(tensor), None)

    def _sure(self, tensor: torch.Tensor) -> bool:
        """Whether truth values or whole numbers are certainly those that the tensor holds."""
        if tensor.dtype in FLOATS or tensor._is_zerotensor() or not is_real(tensor):
            return False
        if tensor.dtype is not torch.bool or self._key(tensor) not in self._storages:
            return self._key(tensor) not in self._unsure
        holds, fails = self._read(tensor, tuple(tensor.shape))
        return bool(np.all(holds | fails)) and bool(np.all(holds == tensor.reshape(-1).cpu().numpy()))

    def _settled(self, outputs: Outputs, tensors: Sequence[torch.Tensor]) -> bool:
        """Whether all that an operation takes and makes are truth values and whole numbers that are certain."""
        made = [o for o in outputs if o is not None]
        return all(o.dtype not in FLOATS and is_real(o) for o in made) and all(map(self._sure, tensors))

    def _read(self, tensor: torch.Tensor, shape: tuple[int, ...], flat: bool = True) -> Cell:
        """The entries of a tensor that is broadcast to a shape, flat, or as they lie in memory in that shape; a single number
        may stand for all of them."""
        if tensor._is_zerotensor():
            return self._layer.constant(0)
        if tensor.is_complex():
            self._load(tensor)
            tensor, shape = as_real(tensor), (*shape, 2)
        memory = self._storages.get(self._key(tensor))
        if memory is None:
            return self._met(tensor, shape)
        if flat and tensor.shape == shape and tensor.is_contiguous():
            start, end = tensor.storage_offset(), tensor.storage_offset() + tensor.numel()
            return tuple(part[..., start:end] if part.shape[-1] > 1 else part for part in memory.parts)
        size, stride, start = tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
        seen = []
        for part in memory.parts:
            if part.shape[-1] > 1:
                *lead, _ = part.shape
                rows = _seen_by(part, size, stride, start)
                rows = rows.reshape((*lead, *(1,) * (len(shape) - len(size)), *size)).expand((*lead, *shape))
                part = (rows.reshape((*lead, -1)) if flat else rows).numpy()
            seen.append(part)
        return tuple(seen)

    def _met(self, tensor: torch.Tensor, shape: tuple[int, ...]) -> Cell:
        """A tensor that no operation has made: a single float is a constant, several stand for themselves."""
        if tensor.dtype in FLOATS and tensor.untyped_storage().nbytes() == tensor.element_size():
            return self._layer.literal(float(tensor.detach().reshape(-1)[0]), FLOATS[tensor.dtype])
        values = tensor.detach().cpu().expand(shape).reshape(-1)
        if tensor.dtype is torch.bool:
            return values.numpy(), ~values.numpy()
        if self._key(tensor) in self._unsure:
            return self._layer.data(np.full(values.numel(), math.nan))
        return self._layer.data(values.double().numpy())

    def _load(self, tensor: torch.Tensor) -> _Storage:
        """The parts of its storage, which is filled with what stands for its floats where it is new."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._storages:
            there = as_real(torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage))
            single = tensor.is_complex() and storage.nbytes() == tensor.element_size()
            parts = [self._layer.literal(value, FLOATS[there.dtype]) for value in there.flatten().tolist()] if single else []
            cell = joined([whole(part, 1) for part in parts]) if single else self._met(there, tuple(there.shape))
            self._write(there, cell)
        return self._storages[storage._cdata]

    def _claim(self, tensor: torch.Tensor | None) -> None:
        """Room for a complex tensor that an operation has made, whose parts are written one by one."""
        if tensor is None or not tensor.is_complex() or not tensor.numel():
            return
        storage, count = tensor.untyped_storage(), 2 * tensor.numel()
        if storage._cdata not in self._storages and storage.nbytes() == count * tensor.element_size() // 2:
            parts = [np.empty((*np.shape(part)[:-1], count)) for part in self._layer.constant(0)]
            self._storages[storage._cdata] = _Storage(storage, parts, shared=False)

    def _write(self, tensor: torch.Tensor, cell: Cell, kept: bool = False) -> None:
        """Give the tensor's entries, in order, their numbers; `kept`: the arrays stay as they are."""
        tensor = as_real(tensor)
        storage = tensor.untyped_storage()
        count = storage.nbytes() // tensor.element_size()
        memory = self._storages.get(storage._cdata)
        if count == tensor.numel() and tensor.is_contiguous():
            self._storages[storage._cdata] = _Storage(storage, [_owned(part, count, kept) for part in cell])
            return
        if memory is None:
            memory = self._load(tensor)
        if memory.shared:
            memory.parts, memory.shared = [np.array(part) for part in whole(tuple(memory.parts), count)], False
        size, stride, start = tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
        for index, part in enumerate(cell):
            into, values = memory.parts[index], _owned(part, tensor.numel())
            if into.ndim < values.ndim:  # masks that were the same in both balls
                into = memory.parts[index] = into[None].repeat(2, axis=0)
            *lead, _ = into.shape
            shaped = torch.as_tensor(values, device=HERE).expand((*lead, tensor.numel())).reshape((*lead, *size))
            _seen_by(into, size, stride, start).copy_(shaped)


class _Parts(list[Any]):
    """The parts of one value."""


def _here(value: Any) -> Any:
    """What goes with parts, where they are."""
    if isinstance(value, (list, tuple)):
        return [_here(v) for v in value]
    if isinstance(value, torch.device):
        return torch.device(HERE)
    return value.to(HERE) if isinstance(value, torch.Tensor) else value


def _pick(value: Any, part: int) -> Any:
    return value[part] if isinstance(value, _Parts) else [_pick(v, part) for v in value]


def _seen_by(part: Floats, size: Sequence[int], stride: Sequence[int], start: Any) -> torch.Tensor:
    """A part as a tensor of this size sees it, by its strides."""
    *lead, _ = part.shape
    flat = torch.as_tensor(part, device=HERE)
    return flat.as_strided((*lead, *size), (*flat.stride()[:-1], *stride), start)


def _owned(part: Any, count: int, kept: bool = False) -> Floats:
    """A part as an array of so many entries of its own, or of one number for all: what an operation has just made, or what is
    `kept`, needs no copy. (A single number may be a constant: in place of that a new one is written, never into it.)"""
    array = np.asarray(part)
    if array.ndim == 0 or array.shape[-1] == 1:
        return array.copy().reshape(*array.shape[:-1], 1)
    made = kept or entire(array)
    if array.shape[-1] != count or not (made and array.flags.c_contiguous and array.flags.writeable):
        array = np.array(np.broadcast_to(array, (*array.shape[:-1], count)))
    return array


PIECE = 1 << 14
"""Entries that go through a formula at once: its arrays stay in a processor's cache."""


def _in_pieces(run: Callable[..., tuple[Cell, ...]], inputs: Sequence[Cell], count: int) -> list[Cell]:
    """A formula of cells of so many entries, or of one."""
    if count <= PIECE:
        return list(run(*inputs))
    found: list[list[list[Any]]] = []
    for start in range(0, count, PIECE):
        some = slice(start, min(start + PIECE, count))
        cells = run(*(tuple(part[..., some] if np.shape(part)[-1:] == (count,) else part for part in c) for c in inputs))
        found.append([list(whole(cell, some.stop - some.start)) for cell in cells])
    return [tuple(np.concatenate(parts, axis=-1) for parts in zip(*cells, strict=True)) for cells in zip(*found, strict=True)]
