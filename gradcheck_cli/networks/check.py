"""The checks of a network at one point: each layer by itself and in its place, rows of its outputs, and the layer to blame."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradcheck_cli.callables.backward import Hooked, custom_nodes
from gradcheck_cli.callables.conditions import try_conditions
from gradcheck_cli.callables.conventions import observe
from gradcheck_cli.callables.explain import explain, name_own
from gradcheck_cli.callables.hanging import without_hooks
from gradcheck_cli.callables.inputs import shown
from gradcheck_cli.errors import InputError, words
from gradcheck_cli.formulas.tasks import listed
from gradcheck_cli.language.chain import derivative_name
from gradcheck_cli.maps.autograd import Pulled
from gradcheck_cli.maps.check import Found, check_map, check_values, unseen
from gradcheck_cli.maps.compiling import as_written, labelled, recompiling, set_beside, warm
from gradcheck_cli.maps.compiling import name_of as compiler
from gradcheck_cli.maps.cuts import name_cuts
from gradcheck_cli.maps.map import MAX_ROWS, Map, Row, Tensors, every_row, one_row, random_row, run
from gradcheck_cli.maps.meant import Meant
from gradcheck_cli.maps.parts import split, wholes
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.shortened import shortened
from gradcheck_cli.maps.slips import Searched
from gradcheck_cli.modes import Mode
from gradcheck_cli.networks.hooks import Call, Subject
from gradcheck_cli.networks.request import Request
from gradcheck_cli.networks.signals import again, stopped, strange, without_value
from gradcheck_cli.networks.structures import path
from gradcheck_cli.networks.ties import left_out, moving_only, untied
from gradcheck_cli.verdict.column import Column, blame
from gradcheck_cli.verdict.scope import Label, Labels, OfTensor
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from gradcheck_cli.verdict.work import Recorder

NAMED = 3
"""Layers that a note names at most."""


@dataclass
class Networked:
    """One network in one dtype and mode."""

    request: Request
    recorder: Recorder
    subject: Subject
    calls: list[Call]
    mode: Mode
    meant: Subject | None = None
    """A network that is right, at the same point."""
    left_out: dict[str, Tensor] = field(default_factory=dict)
    """Of numbers that met their equals, which are judged."""
    sensitivity: float = 0.0
    opaque: dict[str, None] = field(default_factory=dict)
    tried: set[Any] = field(default_factory=set)
    """The custom Functions whose backwards were tried under all conditions."""
    apart: dict[str, None] = field(default_factory=dict)
    """Layers of whose places nothing is said."""
    searched: Searched = field(default_factory=Searched)
    """What slips were looked for in them."""

    def check(self) -> None:
        """Everything that was asked."""
        try:
            self.every_check()
        finally:
            given = self.subject.floats()
            self.recorder.note(*left_out({n: self.left_out[n] for n in sorted(self.left_out, key=lambda n: n not in given)}))

    def every_check(self) -> None:
        """The same, but for a note."""
        whole = self.request.layer is None and self.request.neuron is None
        self.recorder.note(*without_value(self.subject.by_layers(self.inputs, []), self.recorder.checkpoint))
        if self.meant is not None:
            self.by_reference(self.meant)
        elif self.mode.backwards:
            self.layer_by_layer() if whole else self.rows_of_outputs()
        else:
            self.along() if whole else self.some_along()
        if self.request.compile is not None:
            self.by_compiler(self.request.compile)
        self.recorder.note(*unseen(self.sensitivity), *shortened(self.recorder.columns))
        if self.opaque:
            self.recorder.note(f"could not be followed: {', '.join(self.opaque)}")

    @cached_property
    def options(self) -> Options:
        return Options(self.request.limits, self.request.seed, self.recorder.checkpoint)

    @cached_property
    def layers(self) -> list[Call]:
        """The calls without calls inside, but for the network itself."""
        return [call for call in self.calls if not call.inner and call.outputs and call.name]

    @cached_property
    def places(self) -> list[Call]:
        """Those whose outputs can be differentiated by, and differentiated."""
        return [call for call in self.layers if not call.cut]

    @cached_property
    def by_what(self) -> str:
        """`wrt`, where nothing is said: everything; of some outputs the input, if there is one to differentiate by."""
        if self.request.wrt is not None:
            return self.request.wrt
        single = self.request.layer is not None or self.request.neuron is not None
        return ("input" if self.subject.floats() else "parameters") if single else "all"

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        """What is differentiated by."""
        floats = self.subject.floats() if self.by_what != "parameters" else {}
        parameters = self.subject.parameters() if self.by_what != "input" else {}
        if not floats and not parameters:
            missing = {"input": "input of floating-point numbers", "parameters": "parameter", "all": "input or parameter"}
            raise InputError(f"there is nothing to differentiate by: the network has no {missing[self.by_what]}")
        for name in floats.keys() & parameters.keys():
            raise InputError(f"an input and a parameter of the network are both called {name!r}")
        return {**floats, **parameters}

    # -- every layer ------------------------------------------------------------------------------------------------

    def layer_by_layer(self) -> None:
        """One column a layer of what it does in its place, one of what it does by itself."""
        inputs = self.inputs
        own = self.each_layer()
        guilty = any(_wrong(columns) for columns in own.values())
        self.recorder.step("the whole network")
        whole = self.subject.by_layers(inputs, [])
        places, map = self.places, self.subject.by_layers(inputs, self.places)
        row = self.row(self.outputs(map))
        pulled = self.gradients(map)
        cut = [] if guilty else [call for call in places if all(pulled.gradients[name] is None for name in call.outputs)]
        if cut:  # autograd's graph doesn't lead there
            if _right(self.judged(whole, [row], inputs)):
                self.apart |= dict.fromkeys(call.name for call in cut)
            else:  # which may be why something is wrong: the first call of a module tells
                cut = [call for i, call in enumerate(cut) if any(call.module is other.module for other in cut[:i])]
            places = [call for call in places if not any(call is other for other in cut)]
            map = self.subject.by_layers(inputs, places)
            pulled = self.gradients(map)
        values = {**self.subject.floats(), **{name: t for call in places for name, t in call.outputs.items()}}
        rows = [row]
        found = self.judged(map, rows, values)
        if not guilty:
            name_own(map, rows, found, self.searched)
            found = self.meant_by_the_code(map, rows, found)
        by_input = {column.wrt[0]: column for column in found}
        if not _alike(pulled, self.gradients(whole), inputs):
            rows = [self.row(self.outputs(whole))]
            anew = self.judged(whole, rows, inputs)
            if not guilty:
                name_own(whole, rows, anew, self.searched)
            by_input |= {column.wrt[0]: column for column in anew}
        before = {} if guilty else self.from_the_input(places, {**by_input})
        columns, by_name = [], {} if pulled.refusal else dict(by_input)  # one that is refused leaves nothing right
        for call in reversed(self.layers):
            parts = [by_input.pop(name) for name in call.names() if name in by_input] + before.get(call.name, [])
            if parts:
                columns.append(Column.joined(_label(call), parts))
        columns += [Column.joined(name, [column]) for name, column in by_input.items()]
        if own or any(column.of.startswith("<v,") for column in columns):
            self.recorder.note(
                "<v,y>: the sum of the entries of y times numbers v; <v,NAME>: of what the layer NAME returned, v seeded"
            )
        self.blame(columns, own, by_name)
        self.recorder.add(columns)
        self.recorder.note(*stopped(places, pulled.gradients, self.flat), *self.rerouted())
        if not _wrong([*columns, *(column for some in own.values() for column in some)]):
            self.around_layers(self.subject.by_layers(inputs, []))

    def meant_by_the_code(self, map: Map, rows: Sequence[Row], found: list[Column]) -> list[Column]:
        """The columns, where everything that is differentiated by is right, without those by what a layer returned where the
        code cuts the graph, or hangs up a hook: of the graph that it makes, these are no derivatives of the network."""
        wrong = [column for column in found if _wrong([column])]
        if not wrong or any(column.wrt[0] in self.inputs for column in wrong):
            return found
        hung = without_hooks(map, wrong, rows)
        meant = [c for k, c in enumerate(wrong) if k in hung or _causes([c]) == {Cause.NO_GRADIENT}]
        self.apart |= {call.name: None for call in self.places for column in meant if column.wrt[0] in call.outputs}
        return [column for column in found if column not in meant]

    def rerouted(self) -> list[str]:
        """The note on places of which nothing is said."""
        if not self.apart:
            return []
        names = list(self.apart)
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        return [
            f"all that is differentiated by is right; the code cuts the graph, or hangs a hook on a gradient, at what "
            f"{', '.join(names[:NAMED])}{more} returned: nothing is said of derivatives by that"
        ]

    def flat(self, call: Call) -> bool:
        """Whether a layer's own derivative by what it received, as it is reported, is 0 throughout."""
        map = self.subject.of_layer(call, parameters=False)
        outputs, pull = run(map, map.leaves(), self.mode.name)
        found = pull(random_row(outputs, self.request.seed)).gradients.values()
        return not any(gradient is not None and bool(gradient.detach().any()) for gradient in found)

    def gradients(self, map: Map) -> Pulled:
        """What torch makes of the combination of the outputs."""
        outputs, pull = run(map, map.leaves(), self.mode.name)
        return pull(self.row(outputs))

    def each_layer(self) -> dict[str, list[Column]]:
        """Every layer's own derivative, at the floats that it received, by its inputs and its parameters."""
        self.recorder.total += len(self.layers)
        self.recorder.note(*again(self.layers))
        found: dict[str, list[Column]] = {}
        for call in reversed(self.layers):
            self.recorder.step(f"layer {call.name}")
            columns = self.own(call)
            if columns:
                found[call.name] = columns
                self.recorder.add([Column.joined(_label(call), columns)])
        return found

    def own(self, call: Call) -> list[Column]:
        """One call by itself."""
        map = replace(self.subject.of_layer(call, parameters=self.by_what != "input"), stops=self.request.stop_gradients)
        if not map.inputs:
            return []
        row = Row(_pairing(call.name), random_row(call.outputs, self.request.seed).cotangents)
        columns = self.judged(map, [row], map.inputs, call)
        received = strange(call)
        for column in columns if received else ():
            column.mark(np.flatnonzero(column.having(Verdict.OUTSIDE_DOMAIN)).tolist(), Verdict.OUTSIDE_DOMAIN, received)
        if self.mode.backwards and not _wrong(columns):
            known: set[Any] = set()
            columns += [_placed(column, call) for column in self.tried_on(map, row, known)]
            self.tried |= known
        return columns

    def from_the_input(self, places: Sequence[Call], known: Mapping[str, Column]) -> dict[str, list[Column]]:
        """The derivatives of what layers returned in these places by the network's inputs. `known`: those of the network."""
        floats = self.subject.floats()
        if self.by_what == "parameters" or not floats or not places:
            return {}
        rows = []
        for call in places:
            rows.append(Row(_pairing(call.name), random_row(call.outputs, self.request.seed).cotangents))
        self.recorder.step("every layer by the input")
        map = self.subject.of_layers(floats, places)
        found = self.judged(map, rows, floats)
        name_own(map, rows, found, self.searched)
        columns = {call.name: [c for c in found if c.of == _pairing(call.name)] for call in places}
        if _right([known[name] for name in self.inputs if name in known]):
            cut = [name for name, some in columns.items() if _causes(some) == {Cause.NO_GRADIENT}]
            self.apart |= dict.fromkeys(cut)
            columns |= {name: [] for name in cut}
        return columns

    # -- the whole, by another one ----------------------------------------------------------------------------------

    def by_reference(self, meant: Subject) -> None:
        """Values and derivatives of the whole network, judged by another one that is right; the layers where something is
        wrong."""
        map, truth = (of.by_layers(self.inputs, []) for of in (self.subject, meant))
        outputs = self.outputs(map)
        try:
            shapes = [{n: tuple(y.shape) for n, y in found.items()} for found in (outputs, truth(truth.leaves()))]
        except Exception as problem:  # whatever a user's forward raises
            raise InputError(f"the reference fails: {type(problem).__name__}: {words(problem)}") from problem
        if shapes[0] != shapes[1]:
            raise InputError(f"the reference returns {shapes[1]}, the network {shapes[0]}")
        stops = self.request.stop_gradients
        same = Meant(replace(truth, stops=stops))
        self.recorder.step("the whole network")
        values = check_values(replace(map, stops=stops), same, self.options, self.point)
        self.recorder.add([Column.joined(column.of, [column]) for column in values])
        rows = [self.row(outputs)] if self.mode.backwards else []
        columns = self.judged(map, rows, self.subject.floats(), meant=same)
        if rows:
            self.recorder.note("<v,y>: the sum of the entries of y times seeded numbers v")
        else:
            self.tell_direction()
        if _wrong(columns):
            self.blame(columns, self.each_layer())
        found = [Column.joined(column.wrt[0] if column.wrt else column.of, [column]) for column in columns]
        if rows and not _wrong(columns):
            found += self.under_conditions(map)
        self.recorder.add(found)

    def by_compiler(self, backend: Any) -> None:
        """The whole network as torch.compile runs it: its values and derivatives are those of the network as it was written."""
        name = compiler(backend)
        plain, map = self.subject.by_layers(self.inputs, []), self.subject.compiled(self.inputs, backend)
        outputs = self.outputs(plain)
        one = self.request.neuron is not None
        rows = (self.rows(outputs) if one else [self.row(outputs)]) if self.mode.backwards else []
        self.recorder.step(f"compiling with {name}")
        with self.recorder.uncounted():
            self.recorder.note(warm(map, self.row(outputs), name))
        self.recorder.step("the compiled network")
        stops = self.request.stop_gradients
        known = check_map(replace(plain, stops=stops), rows, self.options, mode=self.mode.name, point=self.point)
        map, meant, label = replace(map, stops=stops), as_written(known), labelled(self.mode.name, name)
        with recompiling() as notes:
            judged = check_map(map, rows, self.options, mode=self.mode.name, point=self.point, meant=meant, label=label)
        found = self.taken(map, rows, judged)
        values = check_values(map, replace(meant, prover=None), self.options, self.point, judged)
        self.recorder.note(*notes)
        set_beside(found, known.columns, name)
        for column in values:
            column.mode = labelled(self.mode.name, name)
        for column in (*values, *found):
            self.recorder.add([Column.joined(column.wrt[0] if column.wrt else column.of, [column])])

    # -- some outputs -----------------------------------------------------------------------------------------------

    def rows_of_outputs(self) -> None:
        """The Jacobian of a layer's output, or one entry of it; the layers themselves where something is wrong."""
        call = self.layer()
        map = self.subject.by_layers(self.inputs, []) if call is None else self.subject.of_layers(self.inputs, [call])
        outputs = self.outputs(map)
        self.recorder.step("the rows")
        columns = self.judged(map, self.rows(outputs), self.subject.floats())
        if _wrong(columns):
            self.blame(columns, self.each_layer())
        else:
            columns += self.under_conditions(map)
        self.recorder.add(columns)

    def layer(self) -> Call | None:
        """The call that the user named."""
        name = self.request.layer
        if name is None:
            return None
        known = [call.name for call in self.calls if call.name]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            defined = name in dict(self.subject.module.named_modules())
            message = f"layer {name!r} isn't called" if defined else f"there is no layer {name!r}"
            raise InputError(f"{message}: " + (f"did you mean {near[0]!r}" if near else f"there is {listed(known)}"), name, 0)
        call = next(call for call in self.calls if call.name == name)
        if not call.outputs:
            raise InputError(f"layer {name!r} returns no floating-point tensor", name, 0)
        if call.cut:
            why = "runs within a custom Function (activation checkpointing): its output is not in the graph"
            raise InputError(f"layer {name!r} {why}", name, 0)
        return call

    def entry(self, outputs: Tensors) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """The neuron: an entry of the first output, or of both its parts."""
        name, names = next(iter(wholes(outputs).items()))
        output = outputs[names[0]]
        index = self.request.neuron or ()
        if len(index) != output.ndim or not all(-n <= i < n for i, n in zip(index, output.shape, strict=True)):
            fits = (0,) * (output.ndim - len(index)) + index if len(index) < output.ndim else ()
            hint = f": did you mean {','.join(map(str, fits))}" if fits else ""
            raise InputError(f"there is no neuron {','.join(map(str, index))}: {name} has shape {tuple(output.shape)}{hint}")
        return names, tuple(i % n for i, n in zip(index, output.shape, strict=True))

    def rows(self, outputs: Tensors) -> list[Row]:
        """One neuron, one cotangent, or every entry."""
        if self.request.neuron is not None:
            names, index = self.entry(outputs)
            return [one_row(name, outputs[name], index) for name in names]
        if self.request.cotangent is not None:
            return [self.row(outputs)]
        count = sum(output.numel() for output in outputs.values())
        if count > MAX_ROWS:
            raise InputError(
                f"the Jacobian has {count:,} rows; at most {MAX_ROWS:,} are checked: choose one with --neuron, "
                "or a combination of them with --cotangent random"
            )
        return every_row(outputs)

    # -- along a direction ------------------------------------------------------------------------------------------

    def along(self) -> None:
        """The derivative along a seeded direction of what is differentiated by: one column a layer of what it returns in its
        place, one of the network's outputs; and one a layer by itself, along a direction of what it received."""
        inputs = self.inputs
        own = self.each_layer()
        self.recorder.step("the whole network")
        floats = self.subject.floats()
        map = self.subject.by_layers(inputs, [])
        outputs = self.outputs(map)
        found = self.judged(map, [], floats)
        columns = [Column.joined(name, [column]) for column in found for name in outputs if column.of == _along(name)]
        if self.places:
            within = self.judged(self.subject.of_layers(inputs, self.places), [], floats)
            for call in reversed(self.places):
                parts = [column for column in within for name in call.outputs if column.of == _along(name)]
                if parts:
                    columns.append(Column.joined(_label(call), parts))
        self.tell_direction()
        self.blame(columns, own)
        self.recorder.add(columns)

    def some_along(self) -> None:
        """The same of one layer's outputs, or of one entry of them."""
        call = self.layer()
        map = self.subject.by_layers(self.inputs, []) if call is None else self.subject.of_layers(self.inputs, [call])
        outputs = self.outputs(map)
        if self.request.neuron is not None:
            map = map.entry(*self.entry(outputs))
        self.recorder.step("the outputs")
        columns = self.judged(map, [], self.subject.floats())
        self.tell_direction()
        if _wrong(columns):
            self.blame(columns, self.each_layer())
        self.recorder.add(columns)

    def tell_direction(self) -> None:
        """What J and u are."""
        self.recorder.note(
            "(J u of NAME): the derivative of NAME along u, seeded numbers for every entry of what is differentiated by"
        )

    # -- shared -----------------------------------------------------------------------------------------------------

    @cached_property
    def point(self) -> dict[str, Any]:
        """How the arguments are shown."""
        return {name: shown(t) for name, t in split(self.subject.arguments).items()}

    def around_layers(self, map: Map) -> None:
        """Conditions for custom backwards that belong to no layer, in the innermost module that has them, and for the hooks of
        the whole, `map`."""
        if {node.function for node in custom_nodes(map(map.leaves()))} - self.tried:
            for call in self.calls:
                if call.inner and call.outputs and call.name:
                    inner = self.subject.of_layer(call, parameters=self.by_what != "input")
                    row = Row(_pairing(call.name), random_row(call.outputs, self.request.seed).cotangents)
                    columns = self.tried_on(inner, row, self.tried) if inner.inputs else []
                    self.recorder.add([_placed(column, call) for column in columns])
        self.recorder.add(self.under_conditions(map))

    def under_conditions(self, map: Map) -> list[Column]:
        """What doesn't hold of a part of the network whose gradients are right: its custom backwards not tried yet, its
        outputs one by one, and the hooks that hang on parameters and inputs."""
        hooked = self.subject.with_hooks if self.subject.hooked().keys() & map.inputs.keys() else None
        row = random_row(self.outputs(map), self.request.seed)
        return self.tried_on(map, row, self.tried, hooked)

    def tried_on(self, map: Map, row: Row, known: set[Any], hooked: Hooked | None = None) -> list[Column]:
        """The conditions, where nothing is wrong already with what custom backwards write into, or with a second pass."""
        if {node.function for node in custom_nodes(map(map.leaves()))} - known:
            copy = Row(row.name, {name: v.clone() for name, v in row.cotangents.items()})
            seen = observe(map, copy, self.point)
            if seen.columns or not seen.repeatable:
                return seen.columns
        record = self.recorder.conditions
        return try_conditions(map, row, self.point, known=known, hooked=hooked, record=record)

    def outputs(self, map: Map) -> dict[str, Tensor]:
        """The floating-point outputs of a map, detached."""
        found = {name: y.detach() for name, y in map(map.leaves()).items()}
        if not found:
            raise InputError("the network returns no floating-point tensor")
        return found

    def row(self, outputs: Tensors) -> Row:
        """The combination of outputs that is differentiated."""
        asked, names = self.request.cotangent, ",".join(outputs)
        first, parts = next(iter(wholes(outputs).items()))
        if asked is None and len(outputs) == 1 and not outputs[first].ndim:
            return Row(first, {first: torch.ones_like(outputs[first])})
        if asked is None or (isinstance(asked, str) and asked == "random"):
            return random_row(outputs, self.request.seed)
        if isinstance(asked, str):
            return Row(f"<1,{names}>", {name: torch.ones_like(y) for name, y in outputs.items()})
        given = torch.as_tensor(asked).detach()
        if given.is_complex() and len(parts) == 1:
            raise InputError(f"the cotangent is complex, and {first} is not")
        if given.shape != outputs[parts[0]].shape:
            shape = tuple(outputs[parts[0]].shape)
            raise InputError(f"the cotangent has shape {tuple(given.shape)}, {first} has shape {shape}")
        numbers = given if len(parts) == 1 else given.to(torch.complex128)
        cotangents = {name: v.to(outputs[name]) for name, v in split({first: numbers}).items()}
        return Row(f"<v,{','.join(parts)}>", cotangents)

    def judged(
        self, map: Map, rows: Sequence[Row], values: Tensors, call: Call | None = None, meant: Meant | None = None,
        label: str = "",
    ) -> list[Column]:  # fmt: skip
        """The columns of a map: of the network, or of one call by itself. Entries at ties are left out if they are many, and
        the reader is told."""
        map, kept = replace(map, stops=self.request.stop_gradients), dict[str, Any]()

        def apart() -> Map:
            nonlocal map, kept
            map, kept = untied(map, values, self.options)
            self.left_out |= {path(call.name if call else "", name): alone for name, alone in kept.items()}
            return map

        later = meant is None and not (self.left_out and call is None)
        if meant is None and not later:  # what is meant is of the same entries
            apart()
        found = check_map(
            map, rows, self.options, kind="local" if call else "total", mode=self.mode.name, point=self.point, meant=meant,
            label=label, untied=apart if later else None,
        )  # fmt: skip
        columns = moving_only(self.taken(map, rows, found), kept)
        if call is None:
            return columns
        explain(map, rows, columns, None)
        return [_placed(column, call) for column in columns]

    def taken(self, map: Map, rows: Sequence[Row], found: Found) -> list[Column]:
        """The columns of what was found of a map; what else there is to say is kept."""
        self.sensitivity = max(self.sensitivity, found.sensitivity)
        self.opaque |= dict.fromkeys(found.opaque)
        self.recorder.note(*found.notes)
        name_cuts(map, rows, found.columns, self.options)
        return found.columns

    def blame(
        self,
        totals: Sequence[Column],
        own: Mapping[str, Sequence[Column]],
        by_name: Mapping[str, Column] = MappingProxyType({}),
    ) -> None:
        """Name, at each mismatch of a total, the first layer whose own derivative is wrong. Where none is, conventions at kinks
        may add up to it, and nobody is to blame; else it is a module around right layers. So it is where derivatives by what
        layers behind those returned, in which these have no part, are wrong too."""
        guilty = [call for call in self.layers if _wrong(own.get(call.name, ()))]
        if _causes(totals) <= (set() if guilty else {Cause.KINK}):
            return
        later = self.layers[self.layers.index(guilty[-1]) + 1 :] if guilty else []
        behind = {_label(call) for call in later if _wrong([by_name[name] for name in call.outputs if name in by_name])}
        around = self.around(guilty, every=bool(guilty)) if behind or not guilty else []
        itself = f"{type(self.subject.module).__name__} itself"
        stage, last = (_label(calls[0]) if calls else itself for calls in (guilty or around, around[::-1]))

        def blamed(column: Column, index: int) -> str | None:
            if not guilty and column.cause(index) is Cause.KINK:
                return None
            return last if column.scope.title in behind else stage

        blame(totals, blamed)

    def around(self, guilty: Sequence[Call], every: bool) -> list[Call]:
        """The innermost module that is wrong by itself although its layers are right, or `every` one; its own derivative is
        reported too. None of those that hold what is `guilty`."""
        found: list[Call] = []
        for call in self.calls:
            if call.inner and call.name and call.outputs and not _holds(call, [*guilty, *found]):
                self.recorder.step(f"module {call.name}")
                columns = self.own(call)
                if _wrong(columns):
                    self.recorder.add([Column.joined(_label(call), columns)])
                    found.append(call)
                    if not every:
                        break
        return found


def _holds(call: Call, others: Sequence[Call]) -> bool:
    """Whether one of some other calls is made within a call."""
    return any(any(inner is other for other in others) or _holds(inner, others) for inner in call.inner)


def _alike(tapped: Pulled, whole: Pulled, inputs: Tensors) -> bool:
    """Whether the network gives the same gradients where its layers are looked into: what is compiled runs as written then,
    and what a layer overwrites is a copy."""
    if tapped.refusal or whole.refusal:
        return tapped.refusal == whole.refusal
    pairs = ((tapped.gradients[name], whole.gradients[name]) for name in inputs)
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


def _pairing(layer: str) -> str:
    """What a random combination of a layer's outputs is called."""
    return f"<v,{layer}>"


def _along(name: str) -> str:
    """What the derivative of an output along a direction is called."""
    return f"(J u of {name})"


def _label(call: Call) -> str:
    return f"{call.name} {type(call.module).__name__}"


def _wrong(columns: Sequence[Column]) -> bool:
    return any(column.having(Verdict.MISMATCH).any() for column in columns)


def _right(columns: Sequence[Column]) -> bool:
    """Whether nothing is wrong, or open."""
    return not any(column.having(verdict).any() for column in columns for verdict in (Verdict.MISMATCH, Verdict.UNDECIDED))


def _causes(columns: Sequence[Column]) -> set[Cause | None]:
    """Of all mismatches."""
    return {column.cause(i) for column in columns for i in np.flatnonzero(column.having(Verdict.MISMATCH)).tolist()}


def _placed(column: Column, call: Call) -> Column:
    """A layer's own column, as it stands in the network: its names with the layer's, and the layer blamed for what is wrong."""
    for index in [i for i, detail in column.details.items() if detail.cause]:
        column.blame(index, _label(call))
    labels = Labels(column.scope, Label(column.quantity, column.of, column.wrt), len(column), _within, (call.name,))
    return replace(column, scope=OfTensor(column.scope.point(0), labels))


def _within(label: Label, layer: str) -> Label:
    """What an entry of a layer's own derivative is called in the network."""
    wrt = tuple(path(layer, name) for name in label.wrt)
    return Label(derivative_name(label.of, wrt), label.of, wrt) if wrt else label
