"""`explain`: expressions and a point in, a lesson out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, cycle, islice
from typing import Any

from gradcheck_cli.algebra.constants import nearest_double
from gradcheck_cli.algebra.number import exactly
from gradcheck_cli.algebra.parts import constant_parts
from gradcheck_cli.derivation.at import At
from gradcheck_cli.derivation.steps import Step, Unknown, derive, variable
from gradcheck_cli.errors import InputError, boundary
from gradcheck_cli.exact.enclosure import Enclosure
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.formulas.lowering import Lowered, lower, refine
from gradcheck_cli.formulas.points import Domain, ordinary
from gradcheck_cli.formulas.tasks import refuse_foreign, with_labels, wrt_names
from gradcheck_cli.language import syntax
from gradcheck_cli.language.chain import Chain, derivative_name, link, texts_of
from gradcheck_cli.language.constants import exact_constant
from gradcheck_cli.language.points import named, parse_points
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.spaces import OfParts, Shape, entry_names
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, rebuilt, variables, walk
from gradcheck_cli.lessons.chain import Worked, backwards, forwards, own_derivatives, results, said, shortened
from gradcheck_cli.lessons.conjugates import complex_literal, conjugated, in_two_variables
from gradcheck_cli.lessons.cut import cut
from gradcheck_cli.lessons.lesson import ABOUT, EQUAL, Block, Code, Lesson, Line, Ratio, Section, Words, literal
from gradcheck_cli.lessons.program import MOST, nested, program, requires
from gradcheck_cli.lessons.rules import conjoined, fits, lines, step_kinks
from gradcheck_cli.verdict.numbers import decimal
from gradcheck_cli.verdict.truth import Kind, Truth, regular

DOUBLE = FORMATS["float64"]

TITLE = 60
"""Characters of the expressions that a title quotes."""

GRADIENT = 8
"""Numbers of a gradient that stand side by side."""

LARGEST = 1_500
"""Derivatives of stages that are worked out, one by one."""

SHOWN = 60
"""Characters of an array in a title, and of the whole point."""

DRAWN = 20
"""Points within a domain that are looked for where plain ones don't lie in it."""

WORKED = 24
"""Entries of arrays by which a derivative is worked out; the others' are like them."""


@boundary
def explain(
    expressions: str | Sequence[str], *, wrt: str | Sequence[str] | None = None, at: Any = None, shape: Any = None,
    verbose: bool = False,
) -> Lesson:  # fmt: skip
    """How a derivative is worked out by hand, at one point.

    expressions   stages of a chain, as check_chain takes them; of a single one with several inputs, the gradient
    wrt           what to differentiate by; "x,y": the mixed partial derivative, first by x, then by y [every input]
    at            one point, as check_chain takes it [a plain one]
    shape         shapes of inputs that are arrays, where no point says so
    verbose       every step, however many there are

    The lesson's `str()` is the text; `render("markdown")`, "latex" and "html" are others, and a notebook shows it typeset.
    Raises InputError for what isn't in the language.
    """
    if not isinstance(verbose, bool | int):
        raise InputError(f"verbose must be true or false: {verbose!r}")
    texts = texts_of(expressions)
    units = frozenset({"I"} - named(at, shape, wrt))
    chain = link(texts, imaginary=units)
    if len(chain.stages) == 1 and len(chain.inputs) > 1:
        chain = link(texts, "f", units)
    refuse_foreign([chain], named(at, shape, wrt), "--at, --shape or --wrt")
    spec = parse_points(
        at,
        chain.inputs,
        shape=shape,
        evaluate=nearest_double,
        parts=constant_parts,
        complex_inputs=at is None and _complex(chain),
    )
    (chain,), spec = with_labels([chain], spec)
    asked = _Asked(chain, spec.shapes, verbose)
    whole = wrt.strip() if isinstance(wrt, str) else None
    array = whole in chain.inputs and spec.shapes.get(whole)
    entries = entry_names(whole, array) if whole is not None and array else None
    order = tuple(entries) if entries else None if wrt is None else wrt_names(wrt, asked.entries, "explained")
    if at is None or not spec.explicit:
        point = _plain(asked)
    else:
        if spec.count(DOUBLE) != 1:
            raise InputError(f"a lesson is about one point, and here are {spec.count(DOUBLE):,}", spec.at[0].text, 0)
        point = {name: float(values[0]) for name, values in spec.values(DOUBLE).items()}
        if not all(map(math.isfinite, point.values())):
            raise InputError("a lesson is worked out at a finite point", spec.at[0].text, 0)
    if order is not None and len(order) > 1 and entries is None:
        return _higher(asked, point, order, at is None)
    return _first(asked, point, order, at is None)


def _complex(chain: Chain) -> bool:
    """Whether a formula speaks of complex numbers, so that its inputs are meant to be complex where no point says so."""
    items = [item for stage in chain.stages for item in walk(stage.tree)]
    units = any(isinstance(item, Constant) and isinstance(item.value, complex) for item in items)
    return units or any(isinstance(item, Call) and item.function in _OF_PARTS for item in items)


_OF_PARTS = frozenset({syntax.CONJ, syntax.REAL, syntax.IMAG})


@dataclass
class _Asked:
    """The chain as typed, and entry by entry if it is on arrays."""

    chain: Chain
    shapes: Mapping[str, Shape]
    verbose: bool

    def __post_init__(self) -> None:
        arrays = self.chain.on_arrays or any(self.shapes[name] for name in self.chain.inputs)
        self.lowered: Lowered | None = lower(self.chain, self.shapes) if arrays else None
        self.entries = [e for name in self.chain.inputs for e in entry_names(name, self.shapes.get(name, ()))]

    @property
    def complex(self) -> bool:
        return any(isinstance(shape, OfParts) for shape in self.every_shape().values())

    @property
    def outputs(self) -> list[str]:
        return [self.chain.output] if self.lowered is None else self.lowered.outputs

    def scalar(self, output: str) -> Chain:
        """The chain of one entry of the output; numbers that only came from shapes (1 + 1 + 1 of a mean) are added up."""
        if self.lowered is None:
            return self.chain
        chain = self.lowered.entry(output)
        stages = [replace(stage, tree=_counted(stage.tree)) for stage in chain.stages]
        return Chain(chain.inputs, tuple(stages))

    def short(self, output: str) -> Chain:
        """The same, its long formulas cut. InputError where that is too much for a lesson."""
        chain = cut(self.scalar(output))
        size = sum(len(stage.inputs) for stage in chain.stages)
        if size > LARGEST:
            raise InputError(f"{size:,} derivatives of stages are too many for a lesson: at most {LARGEST:,} are worked out")
        return chain

    def every_shape(self) -> Mapping[str, Shape]:
        return self.shapes if self.lowered is None else self.lowered.shapes

    def written(self) -> str:
        """The chain as it was typed, if it is short."""
        text = " | ".join(f"{s.name} = {' '.join(s.expression.split())}" for s in self.chain.stages)
        return text if len(text) <= TITLE else f"{text[:TITLE]}..."


def _counted(tree: Node) -> Node:
    """The formula with its sums of whole numbers added up."""

    def added(call: Call) -> Node:
        whole = call.function == syntax.ADD and all(isinstance(a, Constant) and type(a.value) is int for a in call.arguments)
        value = exact_constant(call) if whole else None
        return call if value is None else Constant(int(value))

    return rebuilt(tree, added)


# -- the point ----------------------------------------------------------------------------------------------------------


def _plain(asked: _Asked) -> dict[str, float]:
    """A point where the function is smooth, of plain numbers; else one at which it has a value, if one is found."""
    names, chain = asked.entries, asked.short(asked.outputs[0])
    wrt, inside = chain.inputs[:WORKED], Domain([chain])
    plain = [dict(zip(names, numbers, strict=False)) for numbers in _numbers(len(names))]

    def smooth(point: Mapping[str, float]) -> bool:
        worked = Worked(chain, {n: exactly(point[n]) for n in chain.inputs}, wrt)
        return all(worked.totals.get(n) is not None for n in wrt if n in worked.moving)

    found = next(filter(smooth, plain), None)
    if found is not None:
        return found
    within = list(islice(filter(inside, (*plain, *_others(chain, names))), DRAWN if len(names) <= GRADIENT else 1))
    return next(filter(smooth, within), (within or plain)[0])


def _others(chain: Chain, names: Sequence[str]) -> Iterator[dict[str, float]]:
    """More points: of whole and half numbers, then such as are drawn."""
    for start in (*range(13), *(n + 0.5 for n in range(12))):
        for sign in (1.0, -1.0):
            yield {name: sign * (start + k) for k, name in enumerate(names)}
    drawn = ordinary(chain, names, DOUBLE, DRAWN)
    yield from ({name: float(values[k]) for name, values in drawn.items()} for k in range(len(drawn[names[0]])))


def _numbers(many: int) -> Iterator[Iterator[float]]:
    """Numbers to try: 2, 3, 4, ..., or small ones where there are many; then such that lie between 0 and 1, or below 0."""
    if many > GRADIENT:
        yield cycle((0.5, -0.25, 0.75, 1.0, -0.5, 0.25, -1.0))
    yield (float(n) for n in count(2))
    yield (1 / n for n in (2.0**k for k in count(1)))
    yield (1 - 1 / n for n in (2.0**k for k in count(2)))
    yield (n + 0.5 for n in map(float, count(1)))
    yield (-float(n) for n in count(2))
    yield (-1 / n for n in (2.0**k for k in count(1)))


def _at(point: Mapping[str, float], asked: _Asked) -> str:
    """The point in words: x = [1, 2], y = 3."""
    shown = []
    for name in asked.chain.inputs:
        values = [literal(repr(point[e])) for e in entry_names(name, asked.shapes.get(name, ()))]
        shown.append(f"{name} = {show(_stacked(values, asked.shapes.get(name, ())), SHOWN // 2) or '...'}")
    kept = [text for place, text in enumerate(shown) if sum(map(len, shown[: place + 1])) <= SHOWN]
    return ", ".join(kept) + (", ..." if len(kept) < len(shown) else "")


def _stacked(values: Sequence[Node], shape: Shape) -> Node:
    """Numbers as an array of the language; complex ones by their parts."""
    if isinstance(shape, OfParts):
        pairs = zip(values[::2], values[1::2], strict=True)
        return _stacked([complex_literal(*pair) for pair in pairs], shape.whole)
    if not shape:
        return values[0]
    step = max(len(values) // shape[0], 1)
    rows = [_stacked(values[i : i + step], shape[1:]) for i in range(0, len(values), step)]
    return Call(syntax.STACK, (*rows, Constant(0)))


# -- first derivatives --------------------------------------------------------------------------------------------------


def _first(asked: _Asked, point: Mapping[str, float], order: Sequence[str] | None, chosen: bool) -> Lesson:
    output = asked.outputs[0]
    scalar = asked.scalar(output)
    conjugates = conjugated(asked.chain, asked.every_shape()) if asked.complex else None
    wanted = [n for n in (order or asked.entries) if n in scalar.inputs or order]
    names = wanted if asked.verbose else wanted[:WORKED]
    values = {n: exactly(point[n]) for n in scalar.inputs}
    short = asked.short(output)
    worked = Worked(short, values, [n for n in names if n in scalar.inputs])
    truths = _truths(scalar, point, names)
    _settle(worked, truths)
    head = _head(asked, scalar, short, chosen, output, conjugates is not None)
    found: list[Block] = []
    if conjugates is None:
        sections = [forwards(worked, asked.verbose), own_derivatives(worked, asked.verbose)]
        if len(short.stages) > 1:
            sections.append(backwards(worked, asked.verbose))
        found = list(results(worked, truths, names))
    else:
        wrt = [n for n in asked.chain.inputs if set(entry_names(n, asked.shapes.get(n, ()))) & set(names)]
        sections = [*in_two_variables(conjugates, point, wrt, truths, asked.verbose)]
        found = [said(derivative_name(output, (n,)), t) for n, t in truths.items() if t.kind is not Kind.REGULAR]
    groups: list[tuple[Block, ...]] = [tuple(found)] if found else []
    numbers = tuple(_gradient(worked, asked, names, output)) if len(names) > 1 and conjugates is None else ()
    groups += [numbers] if numbers else []
    if len(wanted) > len(names):
        groups.append((Words(f"... and {len(wanted) - len(names):,} more entries, in the same way (--verbose shows them)"),))
    if groups:
        sections.append(Section("The result", tuple(groups)))
    ruled = all(_smooth(truth) for truth in truths.values())
    sections.append(_torch(asked, point, output, order, ruled))
    title = f"{_title(asked, order)} at {_at(point, asked)}"
    exact = {n: decimal(truths[n].ball) if truths[n].kind is Kind.REGULAR else None for n in names}
    every = {n: decimal(worked.value(n)) for n in (*scalar.inputs, *(s.name for s in scalar.stages))}
    return Lesson(title, (*head, *sections), every, {derivative_name(output, (n,)): d for n, d in exact.items()})


def _title(asked: _Asked, order: Sequence[str] | None) -> str:
    y = asked.chain.output
    if len(asked.chain.stages) > 1:
        return f"The chain rule for {asked.written()}"
    if order or (len(asked.entries) == 1 and len(asked.outputs) == 1):
        return f"{derivative_name(y, tuple(order or asked.chain.inputs))} of {asked.written()}"
    return f"The {'gradient' if len(asked.outputs) == 1 else 'derivatives'} of {asked.written()}"


def _head(
    asked: _Asked, scalar: Chain, short: Chain, chosen: bool, output: str, conjugates: bool = False
) -> list[Section]:  # fmt: skip
    """What has to be said before."""
    said: list[Block] = []
    if chosen:
        said.append(Words("The point was chosen for you: --at gives another."))
    if asked.complex:
        parts = (
            "conj(z) counts as a variable of its own" if conjugates else "real and imaginary part are worked out each by itself"
        )
        said.append(Words(f"Of complex numbers: {parts}."))
    if asked.lowered is not None and not conjugates:
        many = len(asked.outputs)
        if many > 1:
            y = asked.chain.output
            of = "is complex" if asked.every_shape()[y] == OfParts.of(()) else f"has {many:,} entries"
            said.append(Words(f"{y} {of}; here is {output}, and the rest goes in the same way."))
        for stage in scalar.stages[:4]:
            if fits(stage.tree):
                said.append(Line((("", Variable(stage.name)), (EQUAL, stage.tree)), "entry by entry"))
    if len(short.stages) > len(scalar.stages) and not conjugates:
        said.append(Words("The formula is long: its parts get names, t1, t2 and so on, as autograd does it."))
    return [Section("", (tuple(said),))] if said else []


def _truths(scalar: Chain, point: Mapping[str, float], names: Sequence[str]) -> dict[str, Truth]:
    """What is certified of each derivative, without a rule of the lesson."""
    inside = [n for n in names if n in scalar.inputs]
    columns = {n: [point[n]] for n in scalar.inputs}
    found = dict(zip(inside, Enclosure(refine(scalar), [(n,) for n in inside], DOUBLE).at(columns)[0], strict=True))
    return {n: regular(found[n][0]) if n in found else Truth(Kind.REGULAR, exactly(0)) for n in names}


def _settle(worked: Worked, truths: Mapping[str, Truth]) -> None:
    """No number of a lesson stands where it isn't certified: where it isn't the derivative, the lesson is wrong."""
    for name, truth in truths.items():
        total = worked.totals.get(name)
        if total is None:
            continue
        if truth.kind is not Kind.REGULAR:
            worked.totals[name] = None
        elif not total[0].overlaps(truth.ball):
            raise RuntimeError(f"the steps by {name} give {total[0]}, the derivative is {truth.ball}")


def _gradient(worked: Worked, asked: _Asked, names: Sequence[str], output: str) -> Iterator[Block]:
    """The numbers by the entries of each input."""
    scalars: list[tuple[str, Node]] = []
    for base in asked.chain.inputs:
        shape = asked.shapes.get(base, ())
        entries = entry_names(base, shape)
        found = [worked.number(n) for n in entries if n in names or n not in worked.chain.inputs]
        numbers = [f for f in found if f is not None]
        if len(numbers) < len(found):  # some entries have no derivative: the others stand one by one
            rows = [Line((("", Ratio(output, (n,))), f)) for n, f in zip(entries, found, strict=True) if f is not None]
            yield from shortened(rows, asked.verbose, "derivatives")
        if len(numbers) < len(entries):
            continue
        sign = EQUAL if all(s == EQUAL for s, _ in numbers) else ABOUT
        stacked = _stacked([c for _, c in numbers], shape)
        if shape and fits(stacked):
            yield Line((("", Ratio(output, (base,))), (sign, stacked)), "by its entries, in order")
        elif not shape:
            scalars.append((sign, stacked))
    if 1 < len(scalars) == len(names) <= GRADIENT:
        sign = EQUAL if all(s == EQUAL for s, _ in scalars) else ABOUT
        stacked = _stacked([number for _, number in scalars], (len(scalars),))
        yield Line((("", Variable(f"grad {output}")), (sign, stacked)), f"by {', '.join(names)}")


def _smooth(truth: Truth) -> bool:
    """Whether a derivative exists by a formula, so that torch's number is no convention."""
    return truth.kind is Kind.REGULAR and not truth.singular


CONVENTION = "No rule holds at this point: what torch prints there is a convention, and may be another number."


def _torch(asked: _Asked, point: Mapping[str, float], output: str, order: Sequence[str] | None, ruled: bool) -> Section:
    """`ruled`: the rules hold at the point, so that the code prints the derivative."""
    chain = asked.chain
    if len(chain.stages) + len(chain.inputs) > MOST and not asked.verbose:
        said = Words("So many stages and inputs make a long program: --verbose prints it.")
        return Section("The same in torch", ((said,),))
    bases = list(dict.fromkeys(n.partition("[")[0] for n in order)) if order else list(chain.inputs)
    values = {n: [point[e] for e in entry_names(n, asked.shapes.get(n, ()))] for n in chain.inputs}
    index = output[len(chain.output) :]
    code = Code(program(chain, values, asked.every_shape(), index, bases))
    return Section("The same in torch", ((code,),) if ruled else ((Words(CONVENTION),), (code,)))


# -- higher derivatives -------------------------------------------------------------------------------------------------


def _higher(asked: _Asked, point: Mapping[str, float], order: Sequence[str], chosen: bool) -> Lesson:
    output = asked.outputs[0]
    if len(asked.outputs) > 1:
        many = f"{asked.chain.output} has {len(asked.outputs):,} entries"
        raise InputError(f"a mixed derivative is explained of one number, and {many}: index it")
    scalar = asked.scalar(output)
    values = {n: exactly(point[n]) for n in scalar.inputs}
    at = At(values)
    tree = scalar.composed()
    sections = _head(asked, scalar, scalar, chosen, output)
    if len(scalar.stages) > 1 and fits(tree):
        sections.append(Section("As one formula", ((Line((("", Variable(output)), (EQUAL, tree))),),)))
    depends: list[bool] = []
    done: list[str] = []
    fails = False
    for name in order:
        of = Ratio(output, tuple(done)) if done else Variable(output)
        done.append(name)
        ratio = Ratio(output, tuple(done))
        depends.append(name in variables(tree))
        held = [n for n in variables(tree) if n != name]
        what = f"by {name}" + (f", with {conjoined(held)} held fixed" if 0 < len(held) <= 4 else "")
        rows: list[Block] = [Line((("", of), (EQUAL, tree)), what)] if fits(tree) else [Words(what)]
        try:
            step: Step | None = derive(tree, {name: variable(name)}, at) if depends[-1] else None
        except Unknown as problem:
            sections.append(Section(_nth(len(done), name), ((*rows, Words(str(problem))),)))
            fails = True
            break
        if step is None:
            rows.append(Line((("", ratio), (EQUAL, Constant(0))), f"it doesn't depend on {name}"))
            tree = Constant(0)
        else:
            rows += lines(step, ratio, at, asked.verbose)
            tree = step.result
            fails = step_kinks(step)
        sections.append(Section(_nth(len(done), name), (tuple(rows),)))
        if fails:  # away from the point there are other formulas: this one can't be differentiated again
            break
    depends += _graphs(scalar.composed(), order)[len(depends) :]
    truth = regular(Enclosure(refine(scalar), [tuple(order)], DOUBLE).at({n: [point[n]] for n in scalar.inputs})[0][0][0])
    total = at(tree) if not fails else None
    ruled = truth.kind is Kind.REGULAR and total is not None and total.is_finite()
    if not ruled:
        sections.append(Section("The result", ((said(derivative_name(output, tuple(order)), truth),),)))
    elif total is not None and not total.overlaps(truth.ball):
        raise RuntimeError(f"the steps give {total}, the derivative is {truth.ball}")
    values_of = {n: [point[e] for e in entry_names(n, asked.shapes.get(n, ()))] for n in asked.chain.inputs}
    code = nested(asked.chain, values_of, asked.every_shape(), order, depends)
    convention: tuple[tuple[Block, ...], ...] = () if ruled or _smooth(truth) else ((Words(CONVENTION),),)
    sections.append(Section("The same in torch, by differentiating again", (*convention, (Code(code),))))
    title = f"{derivative_name(output, tuple(order))} of {asked.written()} at {_at(point, asked)}"
    exact = decimal(truth.ball) if truth.kind is Kind.REGULAR else None
    return Lesson(
        title, tuple(sections), {n: decimal(b) for n, b in values.items()}, {derivative_name(output, tuple(order)): exact}
    )


def _graphs(tree: Node, order: Sequence[str]) -> list[bool]:
    """Whether torch has a graph by each name, of the derivative by those before it: by the formula that holds everywhere."""
    found = []
    for name in order:
        found.append(requires(tree, {name}))
        try:
            tree = derive(tree, {name: variable(name)}).result
        except Unknown:
            break
    return [*found, *[True] * (len(order) - len(found))]


def _nth(number: int, name: str) -> str:
    return f"{'First' if number == 1 else 'Then'} by {name}"
