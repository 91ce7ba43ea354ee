"""The shadow: every ATen operation of a forward and backward pass, repeated on balls or symbols beside the floats.

What an operation does to cells comes from its row in `shadow.aten` (a formula for each entry, a move, a fold), from its rule
in `shadow.rules` (the same in terms of simpler operations), or from torch's own decomposition into simpler operations. One that
has none of these is opaque: it is recorded by name, and its result is an undefined ball. The operation of another library is
followed through its body, where that consists of operations.

Floats are compared with what operations wrote before they are read: what changed behind torch is undefined from there on
(see `shadow.memory`), and so is what is made of the bits of floats.

A rule may refuse a case (REFUSALS): the operation is opaque then. Anything else that it raises is a slip in it: with the
environment variable GRADCHECK_DEBUG set, as in the tests, it ends the run as RuleFailed; without, the operation is opaque, and
`unfollowed` says why.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import chain, repeat, zip_longest
from typing import Any

import torch
from flint import arb
from torch.overrides import enable_reentrant_dispatch

from gradcheck_cli.algebra.directions import Moved, at_first, moves, value_of
from gradcheck_cli.algebra.effort import OPERATION, price
from gradcheck_cli.algebra.layers import Cell, Layer
from gradcheck_cli.algebra.number import precision
from gradcheck_cli.errors import NO_KERNEL
from gradcheck_cli.floats import Format
from gradcheck_cli.shadow import sparse
from gradcheck_cli.shadow.arguments import (
    Outputs,
    alike,
    asks_kind,
    is_plain,
    kind_of,
    near,
    ordinary,
    outputs_of,
    run,
    solid,
    tensors_of,
    through,
    written_by,
)
from gradcheck_cli.shadow.aten import KINDS, Operation
from gradcheck_cli.shadow.complexes import as_kept, by_parts, is_complex, is_flagged, parted
from gradcheck_cli.shadow.contents import as_real
from gradcheck_cli.shadow.decisions import TELLING, Decisions, at_the_point
from gradcheck_cli.shadow.folds import FOLDS, Fold
from gradcheck_cli.shadow.memory import DOUBLE, FLOATS, UNFILLED, Memory, picked, places_of, put
from gradcheck_cli.shadow.movers import gathered, origins
from gradcheck_cli.shadow.order import ORDERED
from gradcheck_cli.shadow.origins import Origins, place
from gradcheck_cli.shadow.overloads import Overload
from gradcheck_cli.shadow.plans import Argument, Plan, keep, plan_of, signature
from gradcheck_cli.shadow.rules import CONVENTIONS, MOVED, MUTATED, RULES, SYMMETRIC, is_symmetric
from gradcheck_cli.shadow.rules.eliminations import Make
from gradcheck_cli.shadow.stops import Graph, state_written
from gradcheck_cli.shadow.trace import Seen, Trace, suspicious
from gradcheck_cli.shadow.watching import Watching
from gradcheck_cli.shadow.ways import way_of

REFUSALS: tuple[type[Exception], ...] = (
    NotImplementedError,  # from a rule that doesn't know the case, and from torch, which has no kernel for the dtype or device
    torch.linalg.LinAlgError,  # type: ignore[attr-defined]  # from torch, where a rule starts from floats without factors (nan)
    RecursionError,  # from SymPy, whose expressions may be deeper than Python follows
)
"""What says that an operation can't be followed."""


WRITTEN = "memory written behind torch (by a kernel, NumPy, ctypes, a thread)"
BITS = "bits of numbers seen as another dtype"
SHARED = "a write through a detached tensor into memory of the graph"
"""What is opaque besides operations."""

_CONVERSIONS = frozenset({"_to_copy", "copy"})


class RuleFailed(BaseException):
    """A slip in a rule. No Exception, so that it isn't taken for what a user's backward raises, within which rules run."""


class Shadow(Watching):
    """Follow the torch operations run inside the `with` block. The first layer should be `Exact` for the trace.

    `seed` says what a tensor's entries stand for; `cells` reads what they have become. `opaque` holds the operations that
    couldn't be followed, each with the slip of a rule that is to blame, if one is; `seen` counts those that were. `size` is the
    number of points in the batch, of which events are recorded one by one; 0: events of any entry of any operation are recorded
    under index 0. Precision is flint's at the time. `layers` may be shortened between operations: the layers dropped are not
    followed any further. `guarded`: code runs that may write to memory behind torch's back. `stops`: what code detaches from
    the graph is a constant, whatever is seeded as what is differentiated by. `checkpoint`: called before each operation; it
    raises, no Exception, where time is up. `pace`: the same, before those that aren't a rule's. `state`: storages, what is
    written to which without gradients is data from there on. `work`: what was done so far, see `algebra.effort`. `selections`:
    what selections leave out is followed, which only nans ask for.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        size: int,
        guarded: bool = True,
        follow: bool = False,
        limit: int | None = None,
        stops: bool = False,
        checkpoint: Callable[[], None] = lambda: None,
        state: Callable[[], Collection[int]] = tuple,
        selections: bool = True,
    ) -> None:
        super().__init__()
        self.size, self.checkpoint, self.state = size, checkpoint, state
        self.pace: Callable[[], None] = lambda: None
        self.work = 0.0
        self.held = False  # something was written to the state
        self.opaque: dict[str, str | None] = {}
        self.seen: dict[str, int] = {}
        self.trace = Trace()
        self.origins = Origins(selections)
        self.stage: str | None = None
        self._memory = Memory(list(layers), guarded)
        self.decisions = Decisions(self._memory, follow, limit, stops)
        self.triangles: dict[str, bool] = {}  # operations that read one triangle: whether the matrix was symmetric
        self.narrowed: dict[str, str | None] = {}  # conversions to a shorter format than the run's own, and where
        self.remarks: dict[str, None] = {}  # what to say of operations where not all is right
        self._within = False  # a rule
        self._graph = Graph() if stops else None

    @property
    def layers(self) -> list[Layer]:
        return self._memory.layers

    @layers.setter
    def layers(self, layers: Sequence[Layer]) -> None:
        self._memory.layers = list(layers)

    def mark(self, stage: str) -> None:
        """Operations from here on belong to `stage`."""
        self.stage = stage

    def seed(self, tensor: torch.Tensor, cells: Sequence[Sequence[Cell]]) -> None:
        """Give the tensor's entries (in order) their cells, one sequence a layer."""
        for layer, values in enumerate(cells):
            self._memory.write(tensor, layer, values)
        self._memory.remember(tensor)
        if self._graph is not None:
            self._graph.differentiate_by([tensor])

    def cells(self, tensor: torch.Tensor, layer: int) -> list[Cell]:
        """The tensor's entries in one layer, flat."""
        self._check([tensor])
        tensor = self._resolved(tensor) if is_flagged(tensor) else tensor
        if layer in self.decisions.lost:
            return [self.layers[layer].number(math.nan, DOUBLE)] * tensor.numel()
        outside = self._graph is not None and self._graph.outside(tensor)
        return self._still(tensor, layer) if outside else self._cells(tensor, layer)

    def _cells(self, tensor: torch.Tensor, layer: int) -> list[Cell]:
        return self._memory.read(tensor, layer, tuple(tensor.shape))

    def _check(self, tensors: Sequence[torch.Tensor]) -> None:
        """Compare floats with what operations wrote."""
        if not self._within:
            self._memory.check(tensors)

    @property
    def unfollowed(self) -> tuple[str, ...]:
        """The opaque operations, in the reader's words."""
        found = self.opaque | ({WRITTEN: None} if self._memory.changed else {})
        return tuple(name if slip is None else f"{name} ({slip})" for name, slip in found.items())

    # -- following --------------------------------------------------------------------------------------------------

    def watched(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        self.checkpoint()
        if not self._within:
            self.pace()
            self.origins.entered(known.base)
        if self._graph is None or self._within:
            return self._followed(known, func, args, kwargs)
        result = self._followed(known, func, *self._graph.enter(known, args, kwargs, self._constant, self._frozen))
        self._graph.leave(known, result)
        return result

    def _followed(self, known: Overload, func: Any, args: Any, kwargs: Any) -> Any:
        if known.view and not sparse.is_sparse(args[0]):
            result = func(*args, **kwargs)
            if known.name in UNFILLED and not self._within and is_plain(result) and result.device.type != "meta":
                self._memory.blank(result)
            return result
        signed = signature(args, kwargs)
        plan = None if signed is None else known.plans.get(signed)
        if plan is not None and (tensors := self._undisturbed(args)) is not None:
            return self._planned(known, plan, func, args, kwargs, tensors)
        tensors = tensors_of(args)
        if kwargs:
            tensors += tensors_of(tuple(kwargs.values()))
        usual = ordinary(tensors)
        if known.base in sparse.MADE or (not usual and any(map(sparse.is_sparse, tensors))):
            return self._on_sparse(known, func, args, kwargs, tensors)
        if not usual and any(t._is_zerotensor() for t in tensors):
            args = tuple(solid(a) for a in args)
        if not usual and any(t.is_meta for t in tensors):
            return func(*args, **kwargs)
        bound = known.bind(args, kwargs)
        plain = usual or all(map(is_plain, tensors))
        pairs = plain and any(map(is_complex, bound.values() if usual else chain(tensors, bound.values())))
        if not usual and any(map(is_flagged, tensors)):
            bound = {name: self._resolved(value) for name, value in bound.items()}
        if self._memory.guarded and plain and not self._within:
            self._memory.check(tensors)
            if any(map(self._memory.astray, tensors)):
                return self._bits(known, bound, func(*args, **kwargs))
            if known.foreign and tensors:
                return self._through(known, bound, tensors, args, kwargs)
        if known.base == "equal" and plain and alike(tensors):  # one truth value of many comparisons
            with self:
                return bool(torch.eq(*tensors).all())
        if known.base in TELLING and plain and not known.foreign:
            return self.decisions.told(tensors[0], func(*args, **kwargs))
        if known.name in MOVED and plain:
            return self._elsewhere(bound[MOVED[known.name]], partial(func, *args, **kwargs))
        if known.base in SYMMETRIC and plain and not self._within:
            bound = self._symmetric(known, bound)
        row = known.choose(bound) if plain else None
        if row is not None and row.name in KINDS and asks_kind(bound["self"], bound["other"]):
            row = KINDS[row.name]
        rule = None
        if row is not None and pairs and row.whole and not row.data:
            rule, row = by_parts(known.functional or known.func, row), None
        if row is None and rule is None and plain:
            rule = way_of(known, bound)
        if known.writes and plain:
            self._before(known, row, bound)
        # a rule needs what is about to be overwritten
        beforehand = bool(known.written - known.outputs) and known.name not in MUTATED
        early = self._run(known.name, rule, bound, None) if rule is not None and beforehand else None
        result = run(func, args, kwargs) if pairs else func(*args, **kwargs)
        outputs = outputs_of(result) or written_by(known, bound)
        made = ordinary(outputs)
        if not made and any(o is not None and is_flagged(o) for o in outputs):
            row = None
        if not made and any(o is not None and o.is_meta for o in outputs):
            return result
        if not (made or all(o is None or is_plain(o) for o in outputs)):
            row = rule = None
        elif plain and not self._within:
            self.trace.inherit(tensors, outputs, not self.size)
        if row is not None:
            if outputs:
                plan = self._entrywise(known, row, bound, outputs, tensors)
                if plan is not None and signed is not None and usual and made and plain:
                    keep(known, signed, plan)
        else:
            found, slip = (None, None) if rule is None else early or self._run(known.name, rule, bound, result)
            if not self._take(known, found, outputs, tensors, bound):
                self._unknown(known.name, slip, known.writes, tensors, outputs)
        if known.base in _CONVERSIONS and not self._within:
            self._narrows(tensors, outputs)
        for name in MUTATED.get(known.name, ()):
            if bound.get(name) is not None:
                self._memory.forget(bound[name])
        for tensor in state_written(known, args, kwargs, self.state()) if known.writes and not self._within else ():
            self._memory.forget(tensor)
            self.held = True
        self._settle(known, tensors, outputs, plain)
        return result

    def _settle(self, known: Overload, tensors: Sequence[torch.Tensor], outputs: Outputs, plain: bool) -> None:
        """After an operation, its results have their cells."""
        if self._within:  # rules are compared with what torch itself returned
            return
        for output in () if self.size else outputs:  # formulas go by their own conditions
            if output is not None and output.dtype is torch.bool and output.numel():
                self.decisions.retake(known.base, output)
        for output in outputs:
            if output is not None and is_plain(output):
                self._memory.remember(output)
        if plain:
            self.origins.ran(known.base, tensors, outputs)
            for remark in self.origins.equal_values(known.base, outputs):
                self.remarks[remark] = None

    def _undisturbed(self, args: Any) -> list[torch.Tensor] | None:
        """The tensors among the arguments of a call that was seen before; None where memory isn't what operations left."""
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        if self._memory.guarded and not self._within and not all(map(self._memory.undisturbed, tensors)):
            return None
        return tensors

    def _planned(self, known: Overload, plan: Plan, func: Any, args: Any, kwargs: Any, tensors: Sequence[torch.Tensor]) -> Any:
        """An operation of which a call like this one was seen before."""
        result = func(*args, **kwargs)
        if not self._within:
            self.trace.inherit(tensors, [result], not self.size)
        self.seen[plan.row.name] = self.seen.get(plan.row.name, 0) + 1
        self._repeat(plan, known.bind(args, kwargs), [result])
        self._settle(known, tensors, [result], True)
        return result

    def _elsewhere(self, tensors: Sequence[torch.Tensor], run: Callable[[], Any]) -> Any:
        """What gives tensors other memory: their numbers go along."""
        kept = [[self._cells(tensor, index) for index in range(len(self.layers))] for tensor in tensors]
        result = run()
        for tensor, columns in zip(tensors, kept, strict=True):
            for index, cells in enumerate(columns):
                self._memory.write(tensor, index, cells)
            self._memory.remember(tensor)
        return result

    def _on_sparse(self, known: Overload, func: Any, args: Any, kwargs: Any, tensors: list[torch.Tensor]) -> Any:
        """An operation on sparse tensors, or one that makes them of their values."""
        numbers = [sparse.part(t) for t in tensors if is_plain(t) or sparse.is_sparse(t)]
        self._check(numbers)
        bound, result = known.bind(args, kwargs), func(*args, **kwargs)
        made = outputs_of(result)
        if not any(o is not None and (o.is_floating_point() or o.is_complex()) for o in made):
            return result
        outputs = [o if o is None or not sparse.is_sparse(o) else sparse.part(o) for o in made]
        found, slip = None, None
        if len(numbers) == len(tensors) and all(o is None or is_plain(o) for o in outputs) and not known.writes:
            rule = partial(sparse.followed, known.base, func, args, kwargs)
            found, slip = self._run(known.name, rule, bound, result)
        if not self._take(known, found, outputs, numbers, bound):
            self._unknown(known.name, slip, known.writes, [], outputs)
        for output in outputs if not self._within else ():
            if output is not None and is_plain(output):
                self._memory.remember(output)
        return result

    def _entrywise(
        self, known: Overload, row: Operation, bound: Mapping[str, Any], outputs: Outputs, tensors: list[torch.Tensor]
    ) -> Plan | None:
        """A row, on the parts of what is complex; the plan of it, where nothing is and it runs entry by entry."""
        try:
            call = (row, bound, outputs) if row.whole else parted(row, bound, outputs)
        except NotImplementedError:
            self._unknown(known.name, None, known.writes, tensors, outputs)
            return None
        self.seen[row.name] = self.seen.get(row.name, 0) + 1
        for output in outputs if call[0] is not row else ():
            if output is not None and output.numel():
                self._memory.claim(output)
        first = call[2][0]
        if first is None or call[0].whole:
            self._repeat_whole(known, *call)
            return None
        if not first.numel():
            return None
        plan = plan_of(call[0], call[1], first)
        self._repeat(plan, *call[1:])
        return plan if call[0] is row and len(call[2]) == 1 else None

    def _through(
        self, known: Overload, bound: Mapping[str, Any], tensors: Sequence[torch.Tensor], args: Any, kwargs: Any
    ) -> Any:
        """Another library's operation, followed through its kernel; opaque by its own name where that writes to memory itself,
        or gets its results from elsewhere."""
        seen, changed, self._memory.changed = self._memory, self._memory.changed, False
        with self:
            result = through(known, tensors, args, kwargs)
        outputs = [o for o in (*outputs_of(result), *written_by(known, bound)) if o is not None and o.device.type != "meta"]
        seen.check(o for o in outputs if is_plain(o))
        strange = [o for o in outputs if not is_plain(o) or not seen.knows(o)]
        if seen.changed:
            self.opaque[known.name] = None
        seen.changed = changed
        self._unknown(known.name, None, True, [], strange)
        return result

    def _symmetric(self, known: Overload, bound: dict[str, Any]) -> dict[str, Any]:
        """The arguments with the symmetric part of a symmetric matrix, of which the operation reads one triangle."""
        name = SYMMETRIC[known.base]
        self.triangles[known.base] = is_symmetric(bound[name])
        if not self.triangles[known.base]:
            return bound
        found, _ = self._run(known.name, lambda bound, result: (bound[name] + bound[name].mH) / 2, bound, None)
        return {**bound, name: found[0]} if found else bound

    def _narrows(self, tensors: Sequence[torch.Tensor], outputs: Outputs) -> None:
        """Note a conversion to a shorter format, and whose it is."""
        for output in outputs:
            form = None if output is None else FLOATS.get(output.dtype)
            if output is not None and form and any(t.dtype in FLOATS and FLOATS[t.dtype].bits > form.bits for t in tensors):
                torch.autocast_increment_nesting()
                within = torch.autocast_decrement_nesting() > 0  # the switch itself is off in a dispatch mode
                if within or f"autocast rounds to {form.name}" not in self.narrowed:  # its backward pass rounds too
                    what = f"{'autocast' if within else 'the function'} rounds to {form.name}"
                    self.narrowed.setdefault(what, place())

    def _bits(self, known: Overload, bound: Mapping[str, Any], result: Any) -> Any:
        """An operation on the bits of floats: what it makes of them is undefined, or bits again."""
        self.opaque[BITS] = None
        for output in (*outputs_of(result), *written_by(known, bound)):
            if output is None or not is_plain(output) or output.dtype is torch.bool:
                continue
            if output.is_floating_point() and not self._memory.astray(output):
                self._unknown(BITS, None, True, [], [output])
            else:
                self._memory.lose(output)
        return result

    def _before(self, known: Overload, row: Operation | None, bound: Mapping[str, Any]) -> None:
        """Load what an operation that writes is about to overwrite, where its old value counts."""
        for name, value in bound.items():
            if name in known.outputs or (row is not None and not row.whole and name not in row.arguments):
                continue
            for tensor in tensors_of((value,)):
                self._memory.load(tensor)

    def _repeat(self, plan: Plan, bound: Mapping[str, Any], outputs: Outputs) -> None:
        """The operation on the cells of every layer."""
        row, count, form, first, memory = plan.row, plan.entries, plan.form, outputs[0], self._memory
        assert first is not None
        values = [bound[argument.name] for argument in plan.arguments]
        tensors = [value for value in values if isinstance(value, torch.Tensor)]
        converted = plan.whole and any(t.is_floating_point() for t in tensors)
        if plan.whole and not converted and not any(map(memory.chosen, tensors)):
            memory.forget(first)  # the floats' own are taken
            return
        stored = [None if a.places is None else memory.load(v) for a, v in zip(plan.arguments, values, strict=True)]
        made = [] if plan.whole else [None if o is None or o.numel() != count else memory.target(o) for o in outputs]
        exact: list[Any] = []
        numbers: list[Sequence[Cell]] = []
        self._worked(count)
        for index, whole_layer in enumerate(self.layers):
            layer = whole_layer.within(form)
            inputs: list[Any] = [
                self._constant_of(plan, a, value, layer)
                if storage is None
                or a.places is None
                or (plan.compared is not None and storage.literal and storage.dtype in FLOATS)
                else _become(picked(storage.layers[index], a.places), a.becomes, layer, form)
                for a, value, storage in zip(plan.arguments, values, stored, strict=True)
            ]
            program = row.compiled(layer, plan.settings)
            if all(isinstance(i, repeat) for i in inputs):
                columns = [[cell] * count for cell in program(*map(next, inputs))]
            elif program.direct is not None:
                columns = [list(map(program.direct, *inputs))]
            else:
                columns = list(map(list, zip(*map(program.bind(), *inputs), strict=True)))
            if plan.whole:
                numbers += [list(map(layer.real, cells)) for cells in columns]
                continue
            for output, storage, cells, given in zip(outputs, made, columns, row.given, strict=True):
                if output is None or storage is None:
                    continue  # a buffer that this device doesn't fill
                if plan.logical and given != "truth":
                    cells = [layer.truth(c) for c in cells]
                elif not plan.logical and given != "number":
                    cells = [layer.real(c) for c in cells]
                if plan.logical and layer.strict and None in cells:
                    cells = self.decisions.settled(output, cells, tensors, index)
                    self.decisions.loose |= layer.stepwise and None in cells
                put(storage.layers[index], plan.target if output is first else places_of(output, output.shape), cells)
            if not index:
                exact = inputs
        if plan.whole:
            self.decisions.indices(first, numbers, converted)
            return
        self._watch(row.name, first, exact, bound)

    def _constant_of(self, plan: Plan, argument: Argument, value: Any, layer: Layer) -> Any:
        """An argument that is one number, the same for every entry, for ever; what is compared with it as the float that it
        is."""
        if isinstance(value, torch.Tensor):
            if value._is_zerotensor():
                return repeat(layer.number(0, DOUBLE))
            value = value.item()
            return repeat(layer.data([value], plan.compared or DOUBLE)[0])
        if plan.compared is not None and not isinstance(value, bool):
            return repeat(layer.data([float(plan.compared.round(value))], plan.compared)[0])
        return repeat(_become([layer.scalar(value)], argument.becomes, layer, plan.form)[0])

    def _repeat_whole(self, known: Overload, row: Operation, bound: Mapping[str, Any], outputs: Outputs) -> None:
        """An operation that isn't computed entry by entry."""
        given = {n: v for n, v in bound.items() if n not in known.outputs}
        deciding = row.fold in ORDERED or (not row.data and any(map(self._memory.chosen, tensors_of(tuple(given.values())))))
        followed = [o is not None and (o.is_floating_point() or o.dtype is torch.bool or deciding) for o in outputs]
        for output, follow in zip(outputs, followed, strict=True):
            if output is not None and not follow:
                self._memory.forget(output)
        if not any(followed):
            return
        found: list[list[int]] = []
        selecting = self.decisions.selecting(row, given)
        if row.moves and not selecting:
            found = origins(known.functional or known.func, given, row.moves)
        numbers: dict[int, list[Sequence[Cell]]] = {}
        self._worked(_terms((*tensors_of(tuple(given.values())), *outputs)))
        for index, layer in enumerate(self.layers):
            if row.data:
                columns = [
                    list(layer.data(o.reshape(-1).tolist(), FLOATS.get(o.dtype, DOUBLE))) if o is not None and f else []
                    for o, f in zip(outputs, followed, strict=True)
                ]
            elif selecting:
                columns = self._selected(known, row, given, outputs, index, selecting)
            elif row.moves:
                columns = self._moved(row, bound, outputs, index, found)
            else:
                columns = _FOLDS[row.fold](Fold(row, bound, outputs, self._memory, index))
            for number, (output, follow, column) in enumerate(zip(outputs, followed, columns, strict=False)):
                if not follow or output is None or not output.numel():
                    continue
                if output.is_floating_point() or output.dtype is torch.bool:
                    self._memory.write(output, index, column)
                else:
                    numbers.setdefault(number, []).append(column)
        for number, column_of in numbers.items():
            output = outputs[number]
            assert output is not None
            self.decisions.indices(output, column_of, False)
        if not row.data:
            for output in outputs:
                if output is not None:
                    self._watch(row.name, output, (), bound)

    def _worked(self, count: int) -> None:
        """So many numbers were made in every layer."""
        self.work += (OPERATION + count) * len(self.layers) * price(precision())

    def _moved(
        self, row: Operation, bound: Mapping[str, Any], outputs: Outputs, index: int, found: Sequence[Sequence[int]]
    ) -> list[list[Cell]]:
        """The outputs' cells, from where each entry came."""
        logical = outputs[0] is not None and outputs[0].dtype is torch.bool
        cells = [self._entries(bound[name], index, logical) for name in row.moves]
        zero = self.layers[index].scalar(False if logical else 0)
        return [gathered(f, cells, zero) for f in found]

    def _selected(
        self, known: Overload, row: Operation, bound: Mapping[str, Any], outputs: Outputs, index: int, selecting: Sequence[str]
    ) -> list[list[Cell]]:
        """The outputs' cells where a layer may have masks and indices of its own; unknown where it doesn't know them, or they
        don't fit what torch's own left."""
        column = self.decisions.masked(row, bound, index)
        if column is not None:
            return [column]
        chosen = self.decisions.chosen(bound, selecting, index)
        if chosen is not None:
            try:
                if row.moves:
                    found = origins(known.functional or known.func, chosen, row.moves)
                    columns = self._moved(row, chosen, outputs, index, found)
                else:
                    columns = _FOLDS[row.fold](Fold(row, chosen, outputs, self._memory, index))
                if all(o is None or o.numel() == len(c) for o, c in zip(outputs, columns, strict=False)):
                    return columns
            except (IndexError, RuntimeError, ValueError):
                pass  # of another number, or beyond an end
        nothing = self.layers[index].number(math.nan, DOUBLE)
        return [[] if o is None else [None if o.dtype is torch.bool else nothing] * o.numel() for o in outputs]

    def _entries(self, value: Any, index: int, logical: bool) -> list[Cell]:
        """The cells of a tensor, of several, or of a number, as truth values or as numbers."""
        if isinstance(value, (list, tuple)):
            return list(chain.from_iterable(self._entries(v, index, logical) for v in value))
        layer = self.layers[index]
        cells = self._cells(value, index) if isinstance(value, torch.Tensor) else [layer.scalar(value)]
        kind = value.dtype if isinstance(value, torch.Tensor) else type(value)
        return cells if (kind in (torch.bool, bool)) is logical else list(map(layer.truth if logical else layer.real, cells))

    # -- what code detaches ---------------------------------------------------------------------------------------------

    def _constant(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy whose cells don't move."""
        self._memory.check([tensor])
        copy = tensor.detach().clone()
        for index in range(len(self.layers)):
            self._memory.write(copy, index, self._still(tensor, index))
        self._memory.remember(copy)
        return copy

    def _frozen(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor itself, its cells at rest: something is written to it."""
        self._memory.check([tensor])
        shared = self._graph is not None and self._graph.shared(tensor)
        if shared:
            self.opaque[SHARED] = None
        for index, layer in enumerate(self.layers):
            nothing = [layer.number(math.nan, DOUBLE)] * tensor.numel()
            self._memory.write(tensor, index, nothing if shared else self._still(tensor, index))
        return tensor

    def _still(self, tensor: torch.Tensor, index: int) -> list[Cell]:
        """The tensor's entries in one layer as constants: beside the point as they are at the point itself."""
        if isinstance(self.layers[0], Moved) and self.layers[index].strict:
            return at_the_point(self._memory, tensor)
        cells, seen = self._cells(tensor, index), as_real(tensor.detach()).reshape(-1).tolist()
        return [self.layers[index].still(cell, value) for cell, value in zip(cells, seen, strict=True)]

    # -- what rules ask for --------------------------------------------------------------------------------------------

    def folded(self, make: Make, given: Sequence[torch.Tensor], result: torch.Tensor) -> None:
        """Give a tensor the cells that a rule makes at once of others'."""
        self._worked(_terms((*given, result)))
        form = FLOATS.get(result.dtype)
        for index, layer in enumerate(self.layers):
            cells = [self._cells(tensor, index) for tensor in given]
            self._memory.write(result, index, make(layer.within(form), *cells))

    def at_rest(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor, what moves by first derivatives alone as the value that it has."""
        columns = [self._cells(tensor, index) for index in range(len(self.layers))]
        if not any(at_first(cell) for cells in columns for cell in cells):
            return tensor
        still = torch.empty_like(tensor).copy_(tensor)
        for index, cells in enumerate(columns):
            self._memory.write(still, index, [value_of(cell) if at_first(cell) else cell for cell in cells])
        return still

    def beyond(self, tensor: torch.Tensor, size: float) -> bool:
        """Whether some entry is certainly larger than this, in some layer that has balls for it."""
        cells = (cell for index in range(len(self.layers)) for cell in self._cells(tensor, index))
        return any(bool(abs(value_of(cell)) > size) for cell in cells if isinstance(cell, arb) or moves(cell))

    # -- rules and decompositions -------------------------------------------------------------------------------------

    def _run(
        self, name: str, rule: Callable[[Mapping[str, Any], Any], Any], bound: Mapping[str, Any], result: Any
    ) -> tuple[Outputs | None, str | None]:
        """The outputs of a rule, followed; None where it can't be, and the slip that is to blame, if one is."""
        within, self._within, opaque, self.opaque = self._within, True, self.opaque, {}
        try:
            with enable_reentrant_dispatch(), torch.no_grad(), self:
                outputs = [self._resolved(o) for o in outputs_of(rule(bound, result))]
                outputs = [as_kept(o, like) for o, like in zip_longest(outputs, outputs_of(result))]
            return (None, next(filter(None, self.opaque.values()), None)) if self.opaque else (outputs, None)
        except REFUSALS:
            return None, None
        except Exception as problem:
            if NO_KERNEL in str(problem):  # what torch up to 2.6 calls a RuntimeError
                return None, None
            slip = f"rule for {name} failed: {type(problem).__name__}: {' '.join(str(problem).split())[:150]}"
            if os.environ.get("GRADCHECK_DEBUG"):
                raise RuleFailed(slip) from problem
            return None, slip
        finally:
            self._within, self.opaque = within, opaque

    def _take(
        self,
        known: Overload,
        found: Outputs | None,
        outputs: Outputs,
        tensors: Sequence[torch.Tensor],
        bound: Mapping[str, Any],
    ) -> bool:
        """Give the outputs the cells that a rule found; False where torch's decomposition computes something else."""
        if found is None or len(found) != len(outputs):
            return False
        pairs = [
            (as_real(o), as_real(f))
            for o, f in zip(outputs, found, strict=True)
            if o is not None and f is not None and o.numel()
        ]
        if not all(o.shape == f.shape for o, f in pairs) or len(pairs) < sum(o is not None and o.numel() > 0 for o in outputs):
            return False
        unsure = known.base not in RULES or any(map(is_complex, (*tensors, *outputs)))  # written for real numbers first
        if unsure and not near(pairs, tensors):
            return False
        self.seen[known.base] = self.seen.get(known.base, 0) + 1
        if known.base in CONVENTIONS:
            self.remarks[CONVENTIONS[known.base]] = None
        for output, other in pairs:
            if not output.is_floating_point() and output.dtype is not torch.bool:
                numbers = [self._cells(other, index) for index in range(len(self.layers))]
                self.decisions.indices(output, numbers, False)
                continue
            for index in range(len(self.layers)):
                self._memory.write(output, index, self._cells(other, index))
            self._watch(known.base, output, (), bound)
        return True

    # -- the rest -----------------------------------------------------------------------------------------------------

    def _unknown(self, name: str, slip: str | None, writes: bool, tensors: list[torch.Tensor], outputs: Outputs) -> None:
        """An operation that can't be followed, be it by the slip of a rule. Truth values and integers are taken from the
        floats; a result that shares an argument's storage is a view."""
        known = {t.untyped_storage()._cdata for t in tensors if is_plain(t) and not t._is_zerotensor()}
        for output in outputs:
            if output is None or output._is_zerotensor():
                continue
            if not is_plain(output):
                self.opaque[name] = slip or kind_of(output)
            elif not output.numel():
                continue
            elif not as_real(output).is_floating_point():
                if not self.decisions.carried(output, tensors):
                    self._memory.forget(output)
            elif writes or output.untyped_storage()._cdata not in known:
                self.opaque[name] = slip
                for index, layer in enumerate(self.layers):
                    self._memory.write(output, index, [layer.number(math.nan, DOUBLE)] * as_real(output).numel())
                self._memory.remember(output)

    def _watch(self, name: str, output: torch.Tensor, before: Sequence[Any], bound: Mapping[str, Any]) -> None:
        """Record the entries whose float leaves the range at this operation."""
        form = FLOATS.get(output.dtype)
        if output.dtype is torch.bool and not self._within and (not self.size or output.numel() == self.size):
            self.trace.compared(Seen(name, self.stage, output, bound, self.origins), not self.size)
        if form is None or self._within or output._is_zerotensor() or (self.size and output.numel() != self.size):
            return
        if suspects := suspicious(output, form):
            seen = Seen(name, self.stage, output, bound, self.origins)
            self.trace.watch(seen, suspects, lambda tensor: self._cells(tensor, 0), before, form, not self.size)


def _become(cells: list[Cell], kind: str, layer: Layer, form: Format | None) -> list[Cell]:
    """The cells of an argument as numbers, as truth values, or in a shorter format."""
    if not kind:
        return cells
    if kind == "shorter" and form is not None:
        return [layer.convert(c, form) for c in cells]
    return list(map(layer.truth if kind == "truth" else layer.real, cells))


_FOLDS = {**FOLDS, **ORDERED}


def _terms(tensors: Sequence[torch.Tensor | None]) -> int:
    """How many terms an operation on whole tensors adds up, about: of matrices (n, k) and (k, m), with the result, n*k*m."""
    largest = sorted((t.numel() for t in tensors if t is not None), reverse=True)[:3]
    return max(largest, default=0) if len(largest) < 3 else max(largest[0], math.isqrt(math.prod(largest)))


__all__ = ["Shadow", "Trace"]
