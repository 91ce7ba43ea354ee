"""The work behind `gradcheck function`: a callable on tensors at every point, its backward, and the rules around that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.callables import scouting
from gradcheck_cli.callables.conditions import try_conditions
from gradcheck_cli.callables.conventions import batching, has_forward_rule, observe
from gradcheck_cli.callables.enclosed import Surroundings
from gradcheck_cli.callables.explain import Known, along, explain, explain_pushed, upstream
from gradcheck_cli.callables.higher import Higher
from gradcheck_cli.callables.inputs import Arguments, Wanted, arguments, leaves, shown
from gradcheck_cli.callables.intent import WORDS, intention, meant_by, name_of
from gradcheck_cli.callables.loading import Target
from gradcheck_cli.callables.rewriting import Rewriting
from gradcheck_cli.errors import REFUSALS, InputError, NoValue, Raised, words
from gradcheck_cli.language.points import listed
from gradcheck_cli.maps.check import Found, check_map, check_values, unseen
from gradcheck_cli.maps.compiling import (
    COMPILED,
    PLAIN,
    as_written,
    check_backend,
    compiled,
    counted_by,
    labelled,
    recompiling,
    set_beside,
    warm,
)
from gradcheck_cli.maps.compiling import name_of as compiler
from gradcheck_cli.maps.cuts import name_cuts, name_whole_cuts
from gradcheck_cli.maps.map import (
    Map,
    Row,
    Tensors,
    attempted,
    autocast,
    check_device,
    direction_of,
    every_row,
    not_judged,
    random_row,
    seeded,
    size,
    without_graph,
)  # fmt: skip
from gradcheck_cli.maps.meant import Meant
from gradcheck_cli.maps.parts import convention
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.maps.runs import Formula, format_of
from gradcheck_cli.maps.shortened import shortened
from gradcheck_cli.modes import OF_TENSORS, Mode
from gradcheck_cli.options import DTYPES, NUMBERS, suited
from gradcheck_cli.shadow.draws import on
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.limits import Limits
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import OfTensor
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from gradcheck_cli.verdict.work import Progress, Recorder, record

JACOBIAN = 400
"""Entries of a Jacobian up to which each is shown, where that is asked for."""


ANOTHER = "{} is another function than the code, whose own derivative this says nothing about"


@dataclass(frozen=True)
class Question:
    """What is asked of a function. `order`: the highest of its derivatives. `dtypes`: names; empty: float64, or what given
    tensors have."""

    target: Target
    wanted: Wanted
    formula: str | None = None
    reference: Any = None
    """What the function ought to compute: a formula, a target, or a function of the same parameters."""
    surrogate: Any = None
    """What the backward alone is meant to be the derivative of: the same."""
    stop_gradients: bool = False
    order: int = 1
    compile: Any = None
    """A backend of torch.compile, by which the function is run too."""
    autocast: str | None = None
    """A format that torch.autocast computes in."""
    modes: Sequence[str] = ("reverse",)
    dtypes: Sequence[str] = ()
    device: str = "cpu"
    limits: Limits = field(default_factory=Limits)
    jacobian: bool = False
    """Every output entry by itself too, besides their random combination (a single number always is)."""

    def __post_init__(self) -> None:
        if self.order > 1 and (self.surrogate is not None or self.stop_gradients):
            raise InputError("what is declared by --surrogate or --stop-gradients is of the gradient itself: leave --order out")
        if self.formula is not None and self.reference is not None:
            raise InputError("--formula and --reference both say what the function ought to compute: give one of them")

    @property
    def seed(self) -> int:
        return self.wanted.seed or 0

    @cached_property
    def around(self) -> Surroundings:
        """What the function finds around itself."""
        return Surroundings(self.target.call)


@dataclass(frozen=True)
class Case:
    """The function at one point, in one dtype."""

    map: Map
    arguments: Arguments
    same: Meant | None
    """What the function itself ought to compute, if that was said."""
    surrogate: Meant | None
    cut: Sequence[str] = ()
    """Outputs that aren't judged."""
    compiled: Map | None = None
    """The same, compiled."""

    @property
    def meant(self) -> Meant | None:
        """What says what the derivative ought to be, if the map's own operations don't."""
        return self.surrogate or self.same

    @property
    def truth(self) -> Formula | None:
        """The same, as cells."""
        return None if self.meant is None else self.meant.formula


def cases(question: Question) -> tuple[list[Case], list[Column]]:
    """The function at every point, run once; and a row for each at which it raises while it runs at others. InputError where it
    can't be run at all, or has nothing to differentiate."""
    said = {word: intention(word, given) for word in WORDS if (given := getattr(question, word)) is not None}
    found: list[Case] = []
    refused: list[Column] = []
    first: NoValue | None = None
    for dtype in _dtypes(question):
        for point in arguments(question.target, question.wanted, dtype):
            map = _map(question, point)
            try:
                outputs = _outputs(question, map, point)
            except NoValue as refusal:
                first = first or refusal
                refused.append(_without_value(point, map, str(refusal.__cause__ and words(refusal.__cause__))))
                continue
            cut = without_graph(outputs)
            if cut:
                map, outputs = map.without(cut), {n: y for n, y in outputs.items() if n not in cut}
            meant = {word: meant_by(what, map, point, outputs, _result(point)) for word, what in said.items()}
            same = meant.get("formula") or meant.get("reference")
            compiled = None if question.compile is None else _compiled(question, map, point).without(cut)
            if not (meant or compiled):
                map = question.around.inputs(map, outputs)
            found.append(Case(map, point, same, meant.get("surrogate"), cut, compiled))
    if first is not None and not found:
        raise first
    return found, refused


def _dtypes(question: Question) -> Sequence[str | None]:
    """The dtypes that are asked for, else the one that the target has."""
    target, asked = question.target, question.dtypes
    if set(asked) != set(NUMBERS):
        return asked or (target.dtype,)
    point = next(arguments(target, question.wanted, None))
    return suited(asked, any(x.is_complex() for x in point.given.values()))


def _without_value(point: Arguments, map: Map, refusal: str) -> Column:
    """One row for a point at which the function raises."""
    dtype = format_of(map.inputs).name
    column = Column.blank(OfTensor(point.shown()), 1, of=_result(point), dtype=dtype)
    column.mark([0], Verdict.OUTSIDE_DOMAIN, f"the function has no value here: {refusal}")
    return column


def report(question: Question, *, strict: bool = False, timeout: float = 600.0, progress: Progress | None = None) -> Report:
    """Check the function at every point. InputError where it can't be run, or has nothing to differentiate."""
    check_device(question.device)
    if question.compile is not None:
        check_backend(question.compile)
    problem = {"stages": [], "dtype": list(question.dtypes), "modes": list(question.modes), "seed": None}

    def work(recorder: Recorder) -> None:
        with counted_by(recorder, question.compile), seeded(question.seed, on(question.device)):
            check(recorder)

    def check(recorder: Recorder) -> None:
        recorder.step("the forward pass")
        asked, refused = cases(question)
        problem.update(_described(question, asked))
        recorder.total = len(asked) + 1
        recorder.points = max(Counter([c.dtype for c in refused] + [format_of(c.map.inputs).name for c in asked]).values())
        opaque: dict[str, None] = {}
        known, rewriting, sensitivity = Known(), Rewriting(), 0.0
        for number, case in enumerate(asked):
            recorder.left = _points(number, len(asked))
            recorder.step(f"point {number + 1} of {len(asked)}")
            check = _Check(question, case, recorder, known, rewriting)
            opaque |= check.run()
            sensitivity = max(sensitivity, check.sensitivity)
        recorder.add(refused)
        if _drawn(question) and not _wrong(recorder.columns):
            further = (_Check(question, c, recorder, known, rewriting) for c in _looking_wrong(question, asked, recorder))
            if any(check.confirm() for check in further):
                recorder.note(FURTHER)
        recorder.remedies += rewriting.remedies(question.limits)
        recorder.note(*unseen(sensitivity), *shortened(recorder.columns))
        if opaque:
            told = any(getattr(question, word) is not None for word in WORDS)
            hint = "" if told else "; --reference says what the function ought to be"
            recorder.note(f"could not be followed: {', '.join(opaque)}{hint}")

    return record("function", problem, work, strict=strict, timeout=timeout, progress=progress)


FURTHER = (
    f"the last point isn't of the sample: of {scouting.POINTS - scouting.SPECIAL} more, at which the gradient is held against "
    "difference quotients alone, it is the first that is wrong"
)


def _drawn(question: Question) -> bool:
    """Whether further points may be drawn, in float64, of a function that is meant to have its own derivative."""
    meant = question.formula or question.reference or question.surrogate or question.stop_gradients
    return not (listed(question.wanted.at) or meant or question.compile or question.autocast) and "reverse" in question.modes


def _looking_wrong(question: Question, asked: Sequence[Case], recorder: Recorder) -> Iterator[Case]:
    """The function at further points, at which a custom backward looks wrong."""
    if all(attempted(lambda case=case: scouting.worth_it(case.map)) for case in asked):  # type: ignore[misc]
        cut = asked[0].cut

        def mapped(point: Arguments) -> Map:
            return _map(question, point, probed=False).without(cut)

        for point in scouting.suspicious(question.target, question.wanted, mapped, recorder.checkpoint):
            yield Case(mapped(point), point, None, None, cut)


def _points(done: int, count: int) -> tuple[str, int]:
    """What is left of so many points."""
    return (f"points {done + 1} to {count}" if done + 1 < count else f"point {count} of {count}"), count - done


def _described(question: Question, asked: Sequence[Case]) -> dict[str, Any]:
    names = asked[0].arguments.names
    expression = f"{question.target.name}({', '.join(names)})"
    drawn = not listed(question.wanted.at) or question.wanted.sample
    intended = {w: name_of(said) for w in ("reference", "surrogate") if (said := getattr(question, w)) is not None}
    return {
        "stages": [{"name": _result(asked[0].arguments), "expression": expression, "inputs": names}],
        "dtype": list(dict.fromkeys(str(x.dtype).removeprefix("torch.") for c in asked for x in c.map.inputs.values())),
        "modes": list(question.modes),
        "order": question.order,
        **intended,
        **({} if question.autocast is None else {"autocast": question.autocast}),
        **({} if question.compile is None else {"compile": compiler(question.compile)}),
        **({"stop_gradients": True} if question.stop_gradients else {}),
        "seed": question.seed if drawn else None,
    }


class _Check:
    """One case."""

    def __init__(self, question: Question, case: Case, recorder: Recorder, known: Known, rewriting: Rewriting) -> None:
        self.question, self.case, self.recorder, self.known, self.rewriting = question, case, recorder, known, rewriting
        self.map = case.map
        self.point = case.arguments.shown() | {
            n: shown(x) for n, x in case.map.inputs.items() if n not in case.arguments.tensors
        }
        self.options = Options(question.limits, question.seed, recorder.checkpoint)
        self.opaque: dict[str, None] = {}
        self.sensitivity = 0.0
        self.another = False
        """Whether the values refute what is meant: then the derivatives are compared with those of another function."""
        self.valued = self.valued_compiled = False

    def run(self) -> dict[str, None]:
        """Add the columns; returns the operations that couldn't be followed."""
        self.recorder.note(*not_judged(self.case.cut), *convention(self.case.arguments.given))
        inputs = self.map.leaves()
        outputs = self.map(inputs)
        self.recorder.note(*self.question.around.told(outputs, inputs, self.case.arguments.tensors))
        row = self._row(outputs)
        asked = [mode for mode in OF_TENSORS.values() if mode.name in self.question.modes]
        pushed = [mode for mode in asked if not mode.backwards]
        if not pushed and has_forward_rule(self.map):
            pushed = [mode for mode in OF_TENSORS.values() if not mode.backwards]
        if pushed:
            directions = along(direction_of(self.map.inputs, self.question.seed))
            self.point |= {name: shown(u) for name, u in directions.items() if name not in self.point}
        rows = [row]
        count = size(outputs)
        if count == 1 or (self.question.jacobian and count * size(self.map.inputs) <= JACOBIAN):
            rows = [*every_row(outputs), row]
        if self.case.compiled is not None:
            self.compile(self.case.compiled, row)
        seen = observe(self.map, row, self.point)
        pulled = [mode for mode in asked if mode.backwards and seen.repeatable]
        if not (pulled or pushed):
            self.values(None)
            self.compiled_values(None)
        found = [column for mode in pulled for column in self.backwards(self.map, rows, mode, self.case)]
        if pulled:
            self.recorder.add(batching(self.map, row, self.point))
        if pulled and not _wrong((*found, *seen.columns)):
            self.recorder.add(try_conditions(self.map, row, self.point, record=self.recorder.conditions))
        pushes = [column for mode in pushed for column in self.forwards(self.map, self.options, mode, self.case)]
        if self.question.order > 1 and seen.repeatable:
            self.higher(row, asked, not _wrong(found), not _wrong(pushes))
        self.recorder.add(seen.columns)
        self.recorder.note(*seen.notes, *(_without_gradients(self.map, outputs) if seen.repeatable else ()))
        if not (self.case.meant or self.map.stops):
            self.rewriting.add(self.map, row, found)
        return self.opaque

    def _row(self, outputs: Tensors) -> Row:
        """All outputs with seeded upstream gradients, which are shown with the point."""
        row = random_row(outputs, self.question.seed, self.map.inputs)
        self.point |= {name: shown(v) for name, v in upstream(row, self.map.inputs).items() if name not in self.point}
        return row

    def confirm(self) -> bool:
        """Add the columns of a point that nobody asked for, where the formula of a backward is wrong there, and the exact value
        known: at a singular matrix a quotient alone says little."""
        row = self._row(self.map(self.map.leaves()))
        judged = check_map(self.map, [row], self.options, point=self.point)
        wrong = any(
            d.cause is Cause.FORMULA and d.witness is None and c.exact[i] is not None
            for c in judged.columns
            for i, d in c.details.items()
        )
        if wrong:
            name_cuts(self.map, [row], self.take(judged), self.options)
            explain(self.map, [row], judged.columns, known=self.known)
        return wrong

    def backwards(self, map: Map, rows: Sequence[Row], mode: Mode, case: Case | None = None) -> list[Column]:
        meant = None if case is None else case.meant
        judged = check_map(map, rows, self.options, mode=mode.name, point=self.point, meant=meant)
        if case is not None:
            self.values(judged)
        found = self.take(judged)
        self.compiled(rows, judged, mode, case)
        if case is not None and case.surrogate is None:
            name_cuts(map, rows, found, self.options)
        explain(map, rows, found, None if case is None else case.truth, case is None or case.surrogate is None, self.known)
        return found

    def forwards(self, map: Map, options: Options, mode: Mode, case: Case | None = None) -> list[Column]:
        meant = None if case is None else case.meant
        judged = check_map(map, [], options, mode=mode.name, point=self.point, meant=meant)
        if case is not None:
            self.values(judged)
        found = self.take(judged)
        self.compiled([], judged, mode, case)
        if case is None or case.surrogate is None:
            name_whole_cuts(map, found, options)
            explain_pushed(map, found, mode.name, None if case is None else case.truth, self.known)
        return found

    def values(self, judged: Found | None) -> None:
        """Judge the values where something else says what they are; once. `judged`: the derivatives, if they were."""
        same, self.valued = None if self.valued else self.case.same, True
        if same is not None:
            values = check_values(self.map, same, self.options, self.point, self.of_values(judged))
            self.recorder.add(values)
            wrong = any(d.cause is Cause.VALUE for c in values for d in c.details.values())
            self.another = self.case.surrogate is None and wrong

    def of_values(self, judged: Found | None) -> Found | None:
        """What was judged, if what is meant by its derivatives is what is meant by the values."""
        return judged if self.case.surrogate is None else None

    def compile(self, map: Map, row: Row) -> None:
        """Compile the function."""
        backend = compiler(self.question.compile)
        self.recorder.doing = f"compiling with {backend}"
        with self.recorder.uncounted():
            self.recorder.note(warm(map, row, backend))

    def compiled(self, rows: Sequence[Row], plain: Found, mode: Mode, case: Case | None) -> None:
        """The derivatives of the compiled function, and its values, beside those of the plain one, which were proved."""
        map = None if case is None else case.compiled
        if map is None:
            return
        backend = compiler(self.question.compile)
        label = labelled(mode.name, backend)
        meant = as_written(plain, PLAIN if self.case.meant is None else self.case.meant.name)
        with recompiling() as notes:
            found = check_map(map, rows, self.options, mode=mode.name, point=self.point, meant=meant, label=label)
        self.compiled_values(found)
        set_beside(found.columns, plain.columns, backend)
        self.take(found)
        self.recorder.note(*notes)

    def compiled_values(self, judged: Found | None) -> None:
        """The values of the compiled function; once."""
        map, self.valued_compiled = None if self.valued_compiled else self.case.compiled, True
        if map is None:
            return
        meant = replace(self.case.same or Meant(self.map, name=PLAIN), hidden=COMPILED)
        values = check_values(map, meant, self.options, self.point, self.of_values(judged))
        for column in values:
            column.mode = labelled(column.mode, compiler(self.question.compile))
        self.recorder.add(values)

    def higher(self, row: Row, modes: Sequence[Mode], right: bool, right_forwards: bool) -> None:
        """The derivatives above the first. `right`: of that, backwards or forwards, nothing is wrong."""
        higher = Higher(self.map, self.case.same, self.options, self.point, self.known)
        order = self.question.order
        for mode in modes:
            for found in (
                higher.backwards(row, mode, order, right) if mode.backwards else higher.forwards(mode, order, right_forwards)
            ):
                self.take(found)
        self.recorder.note(*higher.notes)

    def take(self, found: Found) -> list[Column]:
        for detail in (d for c in found.columns for d in c.details.values() if self.another and d.cause is Cause.FORMULA):
            assert self.case.same is not None
            detail.cause, detail.text = Cause.VALUE, ANOTHER.format(self.case.same.name)
        self.recorder.add(found.columns)
        self.opaque |= dict.fromkeys(found.opaque)
        self.sensitivity = max(self.sensitivity, found.sensitivity)
        self.recorder.note(*found.notes)
        return found.columns


def _wrong(columns: Sequence[Column]) -> bool:
    return any(column.having(Verdict.MISMATCH).any() for column in columns)


OTHER = 1e-3
"""Relative difference from which values are others, and not those of another kernel."""


def _without_gradients(map: Map, outputs: Tensors) -> list[str]:
    """What the reader is told of a function that asks whether gradients are wanted, and computes something else where not."""
    with torch.no_grad():
        found = attempted(lambda: map({name: x.clone() for name, x in map.inputs.items()}))
    same = found is None or all(
        name not in found or (found[name].shape == y.shape and torch.allclose(found[name], y, OTHER, 1e-30, equal_nan=True))
        for name, y in outputs.items()
    )
    told = (
        "without gradients (torch.no_grad(), inputs that require none) the function returns other values, which aren't judged"
    )
    return [] if same else [told]


# -- the function -------------------------------------------------------------------------------------------------------


def _result(point: Arguments) -> str:
    """What the result is called: no name of an argument."""
    taken = {**point.tensors, **point.others}
    return next(n for n in ("y", "f", "output", "result_of_the_function") if n not in taken)


def _map(question: Question, point: Arguments, probed: bool = True) -> Map:
    name = _result(point)
    others = {n: v.to(question.device) if isinstance(v, Tensor) else v for n, v in point.others.items()}
    there = replace(point, others=others)

    def call(tensors: Tensors) -> dict[str, Tensor]:
        with autocast(question.device, question.autocast):
            return leaves(there.call(question.target, tensors), name)

    inputs = {name: x.to(question.device) for name, x in point.tensors.items()}
    map = question.around.settled(Map(inputs, call, question.seed, stops=question.stop_gradients))
    if not probed:
        return map
    held = map.call
    try:
        map(map.leaves())
    except RuntimeError as problem:
        if "leaf" not in str(problem) or "in-place" not in str(problem):
            return map
        # Written in place, and announced: torch refuses that for a leaf.
        return replace(map, call=lambda tensors: held({name: x.clone() for name, x in tensors.items()}))
    except Exception:  # said by _outputs
        return map
    return map


def _compiled(question: Question, map: Map, point: Arguments) -> Map:
    """The same function, compiled when it first runs."""
    target = replace(question.target, call=compiled(question.target.call, question.compile))
    return _map(replace(question, target=target, compile=None), point, probed=False)


def _runs(map: Map, dtype: str) -> bool:
    """Whether the function has outputs that can be differentiated in another dtype."""
    if any(x.dtype == getattr(torch, dtype) for x in map.inputs.values()):
        return False
    there = map.at({name: x.to(getattr(torch, dtype)) for name, x in map.inputs.items()})
    return bool(attempted(lambda: there(there.leaves())))


def _outputs(question: Question, map: Map, point: Arguments) -> Mapping[str, Tensor]:
    """The floating-point outputs; InputError where there are none."""
    name = question.target.name
    try:
        everything = map.call(map.leaves())
    except InputError:
        raise
    except Exception as problem:  # whatever a user's function raises
        shapes = ", ".join(f"{n} {tuple(x.shape) or '(a number)'}" for n, x in point.tensors.items())
        others = [dtype for dtype in DTYPES if _runs(map, dtype)]
        kind = NoValue if others or isinstance(problem, REFUSALS) else Raised
        advice = f"; it runs with tensors of another dtype: --dtype {others[0]}" if others else ""
        raise kind(f"{name} fails with {shapes}: {type(problem).__name__}: {words(problem)}{advice}") from problem
    found = {n: y for n, y in everything.items() if y.is_floating_point() and y.numel()}
    if found:
        return found
    if not everything:
        raise InputError(f"{name} returns no tensor")
    kinds = ", ".join(dict.fromkeys(str(y.dtype).removeprefix("torch.") for y in everything.values()))
    what = "a tensor without entries" if any(y.is_floating_point() for y in everything.values()) else f"{kinds} only"
    raise InputError(f"{name} returns {what}: there is nothing to differentiate")
