"""Derivatives of higher orders of a user's function: torch differentiates what it returned before, along seeded directions or
by single entries; what that ought to be is known from the forward pass alone (`maps.orders`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations_with_replacement
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.callables.conventions import second_order
from gradcheck_cli.callables.explain import Known, explain
from gradcheck_cli.callables.own import constant_tangents
from gradcheck_cli.errors import refusal_of, refused
from gradcheck_cli.language.spaces import entry_names, unravel
from gradcheck_cli.maps.check import Found, check_map
from gradcheck_cli.maps.map import Map, Row, Tensors, called, direction_of, one_row, pushed, random_row, size, split
from gradcheck_cli.maps.meant import Meant
from gradcheck_cli.maps.orders import Orders, Part, at_borders
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.runs import flat, numpy
from gradcheck_cli.modes import Mode, resolved
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.scope import OfTensor
from gradcheck_cli.verdict.verdicts import Cause, Verdict

BY_ENTRY = 8
"""Derivatives of one order, each by single entries, up to which they are shown besides those along seeded directions."""


Derive = Callable[[Map], Map]


class Higher:
    """One function at one point, whose first derivatives have been judged. Its checks give what was found, order by order."""

    def __init__(
        self, map: Map, meant: Meant | None, options: Options, point: Mapping[str, Any], known: Known | None = None
    ) -> None:
        self.map, self.meant, self.options, self.point = map, meant, options, point
        # what has the truth: code of its own, or the map, if by a formula
        self.formula, self.code = (None, None) if meant is None else (meant.written, meant if meant.written is None else None)
        self.truth = map if self.code is None else self.code.map
        self.known = known or Known()
        self.notes: list[str] = []

    # -- backwards ------------------------------------------------------------------------------------------------------

    def backwards(self, row: Row, mode: Mode, order: int, right: bool) -> Iterator[Found]:
        """The gradient of what torch made of the order before, by the inputs and by the upstream gradient. `right`: nothing was
        wrong below."""
        why = second_order(self.map)
        name, gradient, ahead = row.name, "g", list[Tensors]()
        borders = at_borders(self.truth, self.formula, self.options.checkpoint)
        for n in range(2, order + 1):
            again: Map = resolved(mode.again)(self.map, row, ahead)
            try:
                outputs = again(again.leaves())
            except RuntimeError as refusal:
                yield Found([_refused(f"d{n}{row.name}", refusal_of(refusal), self.point, mode)], 0.0, ())
                return
            w = called(f"w{n - 1 if n > 2 else ''}", gradient, self.map.inputs)
            self.notes.append(f"{gradient}: the gradient of {name} (by {', '.join(self.map.inputs)}), {w}: seeded numbers")
            name = f"<{w},{gradient}>"
            drawn = Row(name, random_row(outputs, self.options.seed + n - 1).cotangents)
            smooth, rest = split(drawn, f"<{w}',{gradient}>", list(borders.values()))
            if rest is not None and n == 2:
                self.notes.append(f"{w}': the numbers at entries by which there is no first derivative, which are 0 in {w}")
            rows = [smooth, rest] if rest is not None and n == 2 else [smooth]
            taken = [self._direction(one) for one in rows]
            parts = {one.name: self._part([*ahead, d], row) for one, d in zip(rows, taken, strict=True)}
            found = [self._judged(again, partial(resolved(mode.again), row=row, ahead=ahead), parts, rows, mode, right)]
            if _single(row):
                found += self._by_entry(row, mode, n, right)
            right = right and not any(c.having(Verdict.MISMATCH).any() for f in found for c in f.columns)
            for column in (c for f in found for c in f.columns):
                for detail in column.details.values():
                    if detail.cause in (Cause.FORMULA, Cause.NO_GRADIENT) and why:
                        detail.text = "; ".join([*why, *([detail.text] if detail.text else [])])
            yield from found
            ahead, gradient = [*ahead, taken[0]], f"g{n}"

    def _direction(self, weights: Row) -> Tensors:
        """The weights of a gradient as a direction of the inputs."""
        return dict(zip(self.map.inputs, weights.cotangents.values(), strict=True))

    def _part(self, ahead: Sequence[Tensors], row: Row) -> Part:
        return Part([_numbers(d) for d in ahead], {y: f"grad_{y}" for y in row.cotangents})

    def _by_entry(self, row: Row, mode: Mode, order: int, right: bool) -> list[Found]:
        """The derivatives of a single number by entries of the inputs, where they are few: the Hessian, and so on."""
        entries = [(n, i, label) for n, x in self.map.inputs.items() for i, label in enumerate(entry_names(n, tuple(x.shape)))]
        if math.comb(len(entries) + order - 2, order - 1) > BY_ENTRY:
            return []
        (y,) = row.cotangents
        plain = Row(row.name, {y: torch.ones_like(row.cotangents[y])})
        upstream = {y: flat(plain.cotangents[y])}
        found = []
        for before in combinations_with_replacement(range(len(entries)), order - 2):
            ahead = [self._unit(*entries[k][:2]) for k in before]
            derive = partial(resolved(mode.again), row=plain, ahead=ahead, upstream=False)
            again: Map = derive(self.map)
            outputs, rows, parts = again(again.leaves()), list[Row](), dict[str, Part]()
            for name, index, label in entries[max(before, default=0) :]:
                (output, x), by = _output(outputs, self.map, name), (*(entries[k][2] for k in before), label)
                one = one_row(output, x, unravel(index, tuple(x.shape)))
                rows.append(Row(f"d{order - 1}{y}/{by}", one.cotangents, of=y, by=by))
                parts[rows[-1].name] = Part([_numbers(d) for d in [*ahead, self._unit(name, index)]], upstream)
            found.append(self._judged(again, derive, parts, rows, mode, right))
        return found

    def _unit(self, name: str, index: int) -> Tensors:
        unit = torch.zeros_like(self.map.inputs[name])
        unit.reshape(-1)[index] = 1
        return {name: unit}

    def _judged(
        self, again: Map, derive: Derive, parts: Mapping[str, Part], rows: Sequence[Row], mode: Mode, right: bool
    ) -> Found:
        known = self._known(derive, parts, mode)
        found = check_map(again, rows, self.options, mode=mode.name, point=self.point, **known)
        if right and self.meant is None:  # else the operations of the order before say nothing of what ought to be
            explain(again, rows, found.columns, known=self.known)
        return found

    def _known(self, derive: Derive, parts: Mapping[str, Part], mode: Mode) -> dict[str, Any]:
        """What `check_map` takes the exact side from. `derive`: a derivative as a map, of any map."""
        orders = Orders(self.truth, parts, self.formula, self.options.checkpoint, mode.name, self.options.ahead)
        return {"orders": orders} if self.code is None else {"meant": replace(self.code, map=derive(self.truth), orders=orders)}

    # -- forwards -------------------------------------------------------------------------------------------------------

    def forwards(self, mode: Mode, order: int, right: bool) -> Iterator[Found]:
        """The derivative along a direction of the one along others. `right`: nothing was wrong below."""
        names, directions = {y: y for y in self.map(self.map.leaves())}, list[Tensors]()
        for n in range(2, order + 1):
            directions.append(direction_of(self.map.inputs, self.options.seed + n - 2))
            derive = partial(resolved(mode.again), direction=directions[-1], ahead=directions[:-1])
            again: Map = derive(self.map)
            try:
                again(again.leaves())
            except Exception as refusal:  # what torch.func can't do with the function
                yield Found([_refused(" over ".join([mode.name] * n), refusal_of(refusal), self.point, mode)], 0.0, ())
                return
            names = {y: pushed(name) for y, name in names.items()}
            ahead = [_numbers(d) for d in directions]
            known = self._known(derive, {name: Part(ahead, of=y) for y, name in names.items()}, mode)
            another = replace(self.options, seed=self.options.seed + n - 1)
            found = check_map(again, [], another, mode=mode.name, point=self.point, **known)
            wrong = [d for c in found.columns for d in c.details.values() if right and d.cause is Cause.FORMULA]
            held = constant_tangents(self.map) if wrong else []
            for detail in wrong if held else ():
                detail.cause, detail.text = Cause.NO_GRADIENT, "; ".join([*held, *([detail.text] if detail.text else [])])
            yield found


def _numbers(direction: Tensors) -> dict[str, Any]:
    return {name: numpy(x) for name, x in direction.items()}


def _single(row: Row) -> bool:
    return size(row.cotangents) == 1


def _output(outputs: Tensors, map: Map, name: str) -> tuple[str, Tensor]:
    """The gradient by an input."""
    return list(outputs.items())[list(map.inputs).index(name)]


def _refused(quantity: str, text: str, point: Mapping[str, Any], mode: Mode) -> Column:
    column = Column.blank(OfTensor(point), 1, of=quantity, mode=mode.name)
    column.mark([0], Verdict.MISMATCH, refused(text), Cause.NO_GRADIENT)
    return column
