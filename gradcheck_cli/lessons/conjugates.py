"""Complex numbers in a lesson: d/dz and d/dz* by the same rules, z and its conjugate being two variables, and what torch makes
of them: for the upstream gradient 1 its gradient by z is conj(df/dz) + df/dz*.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gradcheck_cli.algebra.conjugates import UNIT, Pair, conjugate_of, in_parts, real_one, variable, written
from gradcheck_cli.algebra.number import exactly
from gradcheck_cli.derivation import steps
from gradcheck_cli.derivation.at import At
from gradcheck_cli.derivation.steps import Step, Unknown, derive
from gradcheck_cli.derivation.tidy import ZERO
from gradcheck_cli.language import syntax
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.spaces import OfParts, Shape, imag_of, real_of
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, variables
from gradcheck_cli.lessons.lesson import ABOUT, EQUAL, Block, Line, Number, Ratio, Section, Words, digits
from gradcheck_cli.lessons.rules import conjoined, fits, lines
from gradcheck_cli.verdict.truth import Kind, Truth

LONGEST = 200
"""Characters of the longest formula that is worked out as a whole."""

GRADIENT = "torch's gradient by {0}, for the upstream gradient 1, is conj(d{1}/d{0}) + d{1}/d{0}*{2}"
REAL = ": {0} is real, so that both terms are the same"
HOLOMORPHIC = ": {0} is holomorphic, a function of {1} alone, and d{0}/d{1}* is 0"


@dataclass(frozen=True)
class Conjugated:
    """A formula of complex numbers in them and their conjugates. `complexes`: the inputs that are complex; `real`: whether its
    value is real."""

    output: str
    typed: Node
    tree: Node
    complexes: tuple[str, ...]
    real: bool


def conjugated(chain: Chain, shapes: Mapping[str, Shape]) -> Conjugated | None:
    """The chain as one such formula; None where it is long, of arrays, or has a function that isn't one of them."""
    if any(shape.whole if isinstance(shape, OfParts) else shape for shape in shapes.values()):
        return None
    complexes = tuple(n for n in chain.inputs if isinstance(shapes.get(n), OfParts))
    values: dict[str, Pair] = {n: variable(n) if n in complexes else real_one(n) for n in chain.inputs}
    try:
        typed = chain.composed()
        tree = written(typed, values).plain
    except NotImplementedError:
        return None
    real = not isinstance(shapes[chain.output], OfParts)
    return Conjugated(chain.output, typed, tree, complexes, real) if fits(tree, LONGEST) else None


def complex_literal(real: Number, imag: Number) -> Node:
    """A complex number for a reader, by the literals of its parts."""
    if all(isinstance(part, Constant) for part in (real, imag)):
        return Constant(complex(real.value, imag.value))  # type: ignore[union-attr]
    return Call(syntax.ADD, (real, Call(syntax.MUL, (imag, Variable("1j")))))


def in_two_variables(
    asked: Conjugated, point: Mapping[str, float], wrt: Sequence[str], truths: Mapping[str, Truth], verbose: bool
) -> Iterator[Section]:
    """Values, then by each input both derivatives, and torch's gradient. Numbers are held against what is certified of the
    parts: RuntimeError where they differ."""
    at = At({name: exactly(value) for name, value in point.items()})
    rows: list[Block] = [
        Line((("", Variable(n)), (EQUAL, (_known(Variable(n), asked, at) or (EQUAL, Variable("...")))[1])))
        for n in asked.complexes
    ]
    value = _known(asked.tree, asked, at)
    same = show(asked.typed) == show(asked.tree)
    sides = [] if same or not fits(asked.typed) else [(EQUAL, asked.typed)]
    rows.append(Line((("", Variable(asked.output)), *sides, (EQUAL, asked.tree), *([value] if value else []))))
    yield Section("The value, in the variables and their conjugates", (tuple(rows),))
    for name in wrt:
        yield from _by(asked, name, at, truths, verbose)


def _by(asked: Conjugated, name: str, at: At, truths: Mapping[str, Truth], verbose: bool) -> Iterator[Section]:
    both: list[Node] = []
    for by in (name, conjugate_of(name)) if name in asked.complexes else (name,):
        ratio = Ratio(asked.output, (f"{name}*" if by != name else name,), partial=True)
        held = [n for n in variables(asked.tree) if n not in (by, UNIT)]
        title = f"By {by}" + (f", with {conjoined(held)} held fixed" if held else "")
        try:
            step: Step | None = derive(asked.tree, {by: steps.variable(by)}) if by in variables(asked.tree) else None
        except Unknown as problem:
            yield Section(title, ((Words(str(problem)),),))
            return
        rows: list[Block] = []
        if step is None:
            rows.append(Line((("", ratio), (EQUAL, ZERO)), f"{by} doesn't stand in it"))
        else:
            rows += lines(step, ratio, None, verbose)
            found = _known(step.result, asked, at)
            rows += [Line((("", ratio), found), "at the point")] if found else []
        both.append(ZERO if step is None else step.result)
        yield Section(title, (tuple(rows),))
    yield Section(f"What torch returns by {name}", (tuple(_gradient(asked, name, both, at, truths)),))


def _gradient(asked: Conjugated, name: str, both: Sequence[Node], at: At, truths: Mapping[str, Truth]) -> Iterator[Block]:
    y = asked.output
    if len(both) == 1:
        yield Words(f"{name} is real: torch's gradient is the derivative of the real part")
        trees, names = [in_parts(both[0], asked.complexes)[0]], [name]
    else:
        why = REAL.format(y) if asked.real else HOLOMORPHIC.format(y, name) if both[1] == ZERO else ""
        yield Words(GRADIENT.format(name, y, why))
        (a, b), (c, d) = (in_parts(tree, asked.complexes) for tree in both)
        trees = [Call(syntax.ADD, (a, c)), Call(syntax.SUB, (d, b))]
        names = [real_of(name), imag_of(name)]
    balls = [at(tree) for tree in trees]
    if not all(truths[n].kind is Kind.REGULAR and ball.is_finite() for n, ball in zip(names, balls, strict=True)):
        yield Words("no rule holds at the point")
        return
    for n, ball in zip(names, balls, strict=True):
        if not ball.overlaps(truths[n].ball):
            raise RuntimeError(f"the steps by {n} give {ball}, the derivative is {truths[n].ball}")
    found = [digits(ball, at.fraction(tree)) for ball, tree in zip(balls, trees, strict=True)]
    numbers = [f for f in found if f is not None]
    if len(numbers) == len(found):
        whole = numbers[0][1] if len(numbers) == 1 else complex_literal(numbers[0][1], numbers[1][1])
        of = y if asked.real else f"the real part of {y}"
        note = f"its parts are the derivatives of {of} by {names[0]} and {names[1]}" if len(numbers) > 1 else ""
        yield Line((("", Variable(f"{name}.grad")), (_sign(numbers), whole)), note)


def _sign(numbers: Sequence[tuple[str, Node]]) -> str:
    return EQUAL if all(sign == EQUAL for sign, _ in numbers) else ABOUT


def _known(tree: Node, asked: Conjugated, at: At) -> tuple[str, Node] | None:
    """The number of a formula at the point; None where it has none."""
    pair = in_parts(tree, asked.complexes)
    found = [digits(at(part), at.fraction(part)) for part in pair]
    numbers = [f for f in found if f is not None]
    if len(numbers) < 2:
        return None
    if numbers[1][1] == ZERO:
        return numbers[0]
    return _sign(numbers), complex_literal(numbers[0][1], numbers[1][1])
