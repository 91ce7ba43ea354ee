"""The work behind `gradcheck function`: a callable on tensors at every point, its backward, and the rules around that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from gradcheck_cli.algebra.layers import Layer
from gradcheck_cli.algebra.number import conditions
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.callables.conditions import try_conditions
from gradcheck_cli.callables.conventions import batching, has_forward_rule, observe, second_order
from gradcheck_cli.callables.explain import explain, upstream
from gradcheck_cli.callables.inputs import Arguments, Wanted, arguments, leaves, shown
from gradcheck_cli.callables.loading import Target
from gradcheck_cli.errors import InputError, words
from gradcheck_cli.language.arrays import entries, variables_of
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.spaces import entry_names
from gradcheck_cli.language.tree import Node, Variable, walk
from gradcheck_cli.maps.check import Found, check_map, check_values, unseen
from gradcheck_cli.maps.map import (
    Map,
    Row,
    Tensors,
    check_device,
    direction_of,
    every_row,
    not_judged,
    random_row,
    size,
    without_graph,
)
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.runs import Cells, Formula
from gradcheck_cli.modes import OF_TENSORS, Mode, resolved
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import OfTensor
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from gradcheck_cli.verdict.work import Progress, Recorder, record

JACOBIAN = 400
"""Entries of a Jacobian up to which each is shown, where that is asked for."""


@dataclass(frozen=True)
class Question:
    """What is asked of a function. `dtypes`: names; empty: float64, or what given tensors have."""

    target: Target
    wanted: Wanted
    formula: str | None = None
    order: int = 1
    modes: Sequence[str] = ("reverse",)
    dtypes: Sequence[str] = ()
    device: str = "cpu"
    limits: Limits = field(default_factory=Limits)
    jacobian: bool = False
    """Every output entry by itself too, besides their random combination (a single number always is)."""

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise InputError(f"the order is 1 (the gradient) or 2 (its derivative too): {self.order}")

    @property
    def seed(self) -> int:
        return self.wanted.seed or 0


@dataclass(frozen=True)
class Case:
    """The function at one point, in one dtype."""

    map: Map
    arguments: Arguments
    formula: Formula | None
    cut: Sequence[str] = ()
    """Outputs that aren't judged."""


def cases(question: Question) -> list[Case]:
    """The function at every point, run once. InputError where it can't be run, or has nothing to differentiate."""
    tree = None if question.formula is None else parse(question.formula)
    found = []
    for dtype in question.dtypes or (question.target.dtype,):
        for point in arguments(question.target, question.wanted, dtype):
            map = _map(question, point)
            outputs = _outputs(question, map, point)
            cut = without_graph(outputs)
            if cut:
                map, outputs = map.without(cut), {n: y for n, y in outputs.items() if n not in cut}
            formula = None if tree is None else _formula(tree, str(question.formula), point.tensors, outputs)
            found.append(Case(map, point, formula, cut))
    return found


def report(question: Question, *, strict: bool = False, timeout: float = 600.0, progress: Progress | None = None) -> Report:
    """Check the function at every point. InputError where it can't be run, or has nothing to differentiate."""
    check_device(question.device)
    problem = {"stages": [], "dtype": list(question.dtypes), "modes": list(question.modes), "seed": None}

    def work(recorder: Recorder) -> None:
        recorder.step("the forward pass")
        asked = cases(question)
        problem.update(_described(question, asked))
        recorder.total = len(asked) + 1
        opaque: dict[str, None] = {}
        for number, case in enumerate(asked):
            recorder.step(f"point {number + 1} of {len(asked)}")
            opaque |= _Check(question, case, recorder).run()
        if opaque:
            hint = "" if question.formula else "; --formula says what the function ought to be"
            recorder.note(f"could not be followed: {', '.join(opaque)}{hint}")

    return record("function", problem, work, strict=strict, timeout=timeout, progress=progress)


def _described(question: Question, asked: Sequence[Case]) -> dict[str, Any]:
    names = [*asked[0].arguments.tensors, *asked[0].arguments.others]
    expression = f"{question.target.name}({', '.join(names)})"
    drawn = not question.wanted.at or question.wanted.sample
    return {
        "stages": [{"name": _result(asked[0].arguments), "expression": expression, "inputs": names}],
        "dtype": list(dict.fromkeys(str(x.dtype).removeprefix("torch.") for c in asked for x in c.map.inputs.values())),
        "modes": list(question.modes),
        "order": question.order,
        "seed": question.seed if drawn else None,
    }


class _Check:
    """One case."""

    def __init__(self, question: Question, case: Case, recorder: Recorder) -> None:
        self.question, self.case, self.recorder = question, case, recorder
        self.map, self.point = case.map, case.arguments.shown()
        self.options = Options(question.limits, question.seed, recorder.checkpoint)
        self.opaque: dict[str, None] = {}

    def run(self) -> dict[str, None]:
        """Add the columns; returns the operations that couldn't be followed."""
        self.recorder.note(*not_judged(self.case.cut))
        outputs = self.map(self.map.leaves())
        row = random_row(outputs, self.question.seed)
        self.point |= {name: shown(v) for name, v in upstream(row).items() if name not in self.point}
        rows = [row]
        count = size(outputs)
        if count == 1 or (self.question.jacobian and count * size(self.map.inputs) <= JACOBIAN):
            rows = [*every_row(outputs), row]
        if self.case.formula is not None:
            self.recorder.add(check_values(self.map, self.case.formula, self.options, self.point))
        seen = observe(self.map, row, self.point)
        asked = [mode for mode in OF_TENSORS.values() if mode.name in self.question.modes]
        pulled = [mode for mode in asked if mode.backwards and seen.repeatable]
        pushed = [mode for mode in asked if not mode.backwards]
        if not pushed and has_forward_rule(self.map):
            pushed = [mode for mode in OF_TENSORS.values() if not mode.backwards]
        found = [column for mode in pulled for column in self.backwards(self.map, rows, mode, self.case.formula)]
        if pulled:
            self.recorder.add(batching(self.map, row, self.point))
        if pulled and not any(column.having(Verdict.MISMATCH).any() for column in (*found, *seen.columns)):
            self.recorder.add(try_conditions(self.map, row, self.point))
        for mode in pushed:
            self.forwards(self.map, self.options, mode, self.case.formula)
        if self.question.order == 2 and seen.repeatable:
            for mode in asked:
                if mode.backwards:
                    self.second_backwards(row, mode)
                else:
                    self.second_forwards(mode)
        self.recorder.add(seen.columns)
        self.recorder.note(*seen.notes)
        return self.opaque

    def backwards(self, map: Map, rows: Sequence[Row], mode: Mode, formula: Formula | None = None) -> list[Column]:
        found = self.take(check_map(map, rows, self.options, mode=mode.name, formula=formula, point=self.point))
        explain(map, rows, found, formula)
        return found

    def forwards(self, map: Map, options: Options, mode: Mode, formula: Formula | None = None) -> None:
        self.take(check_map(map, [], options, mode=mode.name, formula=formula, point=self.point))

    def take(self, found: Found) -> list[Column]:
        self.recorder.add(found.columns)
        self.opaque |= dict.fromkeys(found.opaque)
        self.recorder.note(*unseen(found.sensitivity), *found.notes)
        return found.columns

    def second_backwards(self, row: Row, mode: Mode) -> None:
        """The derivative of the gradient, by the inputs and by the upstream gradient."""
        why = second_order(self.map)
        double: Map = resolved(mode.second)(self.map, row)
        try:
            outputs = double(double.leaves())
        except RuntimeError as refusal:
            self.recorder.add([_refused(f"d2{row.name}", words(refusal), self.point)])
            return
        if not outputs:
            return
        self.recorder.note(f"g: the gradient of {row.name} (by {', '.join(self.map.inputs)}), w: seeded numbers")
        columns = self.backwards(double, [Row("<w,g>", random_row(outputs, self.question.seed + 1).cotangents)], mode)
        for column in columns:
            for index, detail in column.details.items():
                if detail.cause in (Cause.FORMULA, Cause.NO_GRADIENT) and why:
                    column.details[index].text = "; ".join([*why, *([detail.text] if detail.text else [])])

    def second_forwards(self, mode: Mode) -> None:
        """The derivative along a direction of the one along another."""
        twice: Map = resolved(mode.second)(self.map, direction_of(self.map.inputs, self.question.seed))
        try:
            twice(twice.leaves())
        except Exception as refusal:  # what torch.func can't do with the function
            self.recorder.add([_refused(f"{mode.name} over {mode.name}", words(refusal), self.point)])
            return
        options = replace(self.options, seed=self.options.seed + 1)  # another direction
        self.forwards(twice, options, mode)


def _refused(quantity: str, text: str, point: Mapping[str, Any]) -> Column:
    column = Column.blank(OfTensor(point), 1, of=quantity)
    column.mark([0], Verdict.MISMATCH, f"torch: {text}", Cause.NO_GRADIENT)
    return column


# -- the function -------------------------------------------------------------------------------------------------------


def _result(point: Arguments) -> str:
    """What the result is called: no name of an argument."""
    taken = {**point.tensors, **point.others}
    return next(n for n in ("y", "f", "output", "result_of_the_function") if n not in taken)


def _map(question: Question, point: Arguments) -> Map:
    name = _result(point)
    others = {n: v.to(question.device) if isinstance(v, Tensor) else v for n, v in point.others.items()}
    there = replace(point, others=others)

    def call(tensors: Tensors) -> dict[str, Tensor]:
        return leaves(there.call(question.target, tensors), name)

    inputs = {name: x.to(question.device) for name, x in point.tensors.items()}
    map = Map(inputs, call, question.seed)
    try:
        map(map.leaves())
    except RuntimeError as problem:
        if "leaf" not in str(problem) or "in-place" not in str(problem):
            return map
        # Written in place, and announced: torch refuses that for a leaf.
        return Map(inputs, lambda tensors: call({name: x.clone() for name, x in tensors.items()}), question.seed)
    except Exception:  # said by _outputs
        return map
    return map


def _outputs(question: Question, map: Map, point: Arguments) -> Mapping[str, Tensor]:
    """The floating-point outputs; InputError where there are none."""
    name = question.target.name
    try:
        everything = map.call(map.leaves())
    except Exception as problem:  # whatever a user's function raises
        shapes = ", ".join(f"{n} {tuple(x.shape)}" for n, x in point.tensors.items())
        raise InputError(f"{name} fails with {shapes}: {type(problem).__name__}: {words(problem)}") from problem
    found = {n: y for n, y in everything.items() if y.is_floating_point() and y.numel()}
    if found:
        return found
    if not everything:
        raise InputError(f"{name} returns no tensor")
    kinds = ", ".join(dict.fromkeys(str(y.dtype).removeprefix("torch.") for y in everything.values()))
    what = "a tensor without entries" if any(y.is_floating_point() for y in everything.values()) else f"{kinds} only"
    raise InputError(f"{name} returns {what}: there is nothing to differentiate")


def _formula(tree: Node, text: str, inputs: Tensors, outputs: Mapping[str, Tensor]) -> Formula:
    """The user's formula as a function of cells. InputError where it isn't of these inputs, or not of the output's shape."""
    for node in walk(tree):
        if isinstance(node, Variable) and node.name not in inputs:
            raise InputError(f"{node.name!r} is not an input (there is {', '.join(inputs)})", text, node.position)
    trees = entries(tree, {name: variables_of(name, tuple(x.shape)) for name, x in inputs.items()}, text)
    if len(outputs) != 1:
        raise InputError(f"a formula is for one output; here are {len(outputs)}", text, 0)
    ((name, y),) = outputs.items()
    if trees.shape != tuple(y.shape):
        raise InputError(f"the formula has shape {trees.shape}, the function's result {tuple(y.shape)}", text, 0)
    names = [entry for n, x in inputs.items() for entry in entry_names(n, tuple(x.shape))]

    key = (tree, tuple(names))

    def compute(layer: Layer, inputs: Cells) -> dict[str, list[Any]]:
        if key not in layer.programs:
            layer.programs[key] = Program(list(trees.reshape(-1)), names, layer, conditions)
        return {name: list(layer.programs[key](*(cell for cells in inputs.values() for cell in cells)))}

    return compute
