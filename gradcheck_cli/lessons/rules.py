"""The steps of one derivation as lines for a reader: from the inside out, each rule with what it is applied to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gradcheck_cli.algebra.number import is_ball
from gradcheck_cli.derivation.at import At
from gradcheck_cli.derivation.rules import BRANCH, SUMS, rate
from gradcheck_cli.derivation.slips import filled_in
from gradcheck_cli.derivation.steps import Own, Step
from gradcheck_cli.derivation.tidy import filled
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import is_constant, is_truth
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, variables, walk
from gradcheck_cli.lessons.lesson import ABOUT, EQUAL, Filled, Line, Pattern, Ratio, Side, digits

MOST = 12
"""Lines of one derivation that are shown unless all are asked for: the outermost steps'."""

WIDE = 76
"""Characters of a side of an equation; a longer one is left out where another says the same."""


def lines(root: Step, ratio: Ratio, at: At | None, verbose: bool = False) -> Iterator[Line]:
    """The steps of a derivation; the last one says what `ratio` is, with its number."""
    order = [step for step in _counting(root) if _told(step, root)]
    hidden = 0 if verbose else max(len(order) - MOST, 0)
    if hidden:
        yield Line((), f"... {hidden} inner steps are left out (--verbose shows them)")
    known: set[str] = set()
    for step in order[hidden:]:
        for own in step.owns:
            if own.definition is not None and own.function not in known:
                known.add(own.function)
                yield from _defined(own, step)
        sides: list[tuple[str, Side]] = [("", _left(step))] if step is not root else [("", ratio)]
        sides += _right(step, at, whole=step is root)
        yield Line(tuple(sides), _note(step, at))
    if not order and root.kink:
        yield Line((("", ratio),), f"the pieces are constants; but {_failing(root, at)}, where no rule holds")
    elif not order:  # a name, or a constant, by itself
        yield Line((("", ratio), (EQUAL, root.result)), root.rule.says)


def _counting(root: Step) -> Iterator[Step]:
    """The steps, without those of pieces that aren't chosen."""
    needed: set[int] = {id(root)}
    order = list(root.every())
    for step in reversed(order):
        if id(step) in needed:
            chosen = step.rule is BRANCH and not step.kink
            needed.update(id(part) for letter, part in step.parts.items() if not chosen or letter == rate("u"))
    return (step for step in order if id(step) in needed)


def conclusion(step: Step, at: At) -> Iterator[tuple[str, Side]]:
    """What a derivation comes to: its formula and its number; nothing where no rule holds."""
    if step_kinks(step):
        return
    yield EQUAL, step.result if fits(step.result) else Variable("...")
    number = number_of(step, at)
    if number is not None and not isinstance(step.result, Constant):
        yield number


def _told(step: Step, root: Step) -> bool:
    """Whether a step has a line: what is in a sum belongs to it."""
    if not isinstance(step.of, Call) or not step.varies or not step.parts:
        return False
    return step is root or not _inside(step, root)


def _inside(step: Step, root: Step) -> bool:
    parents = [other for other in root.every() if any(part is step for part in other.parts.values())]
    return step.rule.name in SUMS and all(parent.rule.name in SUMS for parent in parents)


def _left(step: Step) -> Side:
    return Pattern(Variable(_mark(0)), {_mark(0): step.of})


def _mark(index: int) -> str:
    """A variable that stands for a derivative in a pattern."""
    return f"prime{'abcdefghijklmnopqrstuvwxyz'[index % 26]}{index // 26}"


def _right(step: Step, at: At | None, whole: bool) -> Iterator[tuple[str, Side]]:
    primes: dict[str, Node] = {}
    pattern = _pattern(step, primes)
    shown = pattern != step.result and (primes or not whole) and fits(pattern)
    fails = step_kinks(step)
    if shown and not step.kink:
        yield EQUAL, Pattern(pattern, primes)
    if fails:
        return  # what would follow is a number that the function doesn't have
    number = None if at is None else number_of(step, at)
    if fits(step.result):
        yield EQUAL, step.result
    elif not shown and at is not None and number is not None and (applied := _applied(step, at)):
        yield applied
    else:
        yield EQUAL, Variable("...")
    if at is None or number is None or isinstance(step.result, Constant):
        return
    if whole:
        yield from with_numbers(step.result, at)
    yield number


def _applied(step: Step, at: At) -> tuple[str, Side] | None:
    """The rule with the numbers of its operands and of their derivatives, where formulas in their place are too long."""
    formulas = {name: formula for name, formula in step.filling.items() if name in variables(step.rule.formula)}
    found = {name: at_point(formula, at) for name, formula in formulas.items() if name != "c"}
    numbers = {name: number for name, number in found.items() if number is not None}
    if len(numbers) < len(variables(step.rule.formula)):
        return None
    sign = EQUAL if all(sign == EQUAL for sign, _ in numbers.values()) else ABOUT
    return sign, Filled(step.rule.formula, {name: number for name, (_, number) in numbers.items()})


def with_numbers(formula: Node, at: At) -> Iterator[tuple[str, Side]]:
    """A short formula with numbers in the place of its names."""
    if not isinstance(formula, Call):
        return
    found = {name: at_point(Variable(name), at) for name in variables(formula)}
    known = {name: number for name, number in found.items() if number is not None}
    if any(isinstance(part, Call) and not is_truth(part) and not _finite(part, at) for part in walk(formula)):
        return  # 1/0, in a piece that isn't the one that counts
    if known and len(known) == len(found) and fits(formula, WIDE // 2):
        sign = EQUAL if all(sign == EQUAL for sign, _ in known.values()) else ABOUT
        yield sign, Filled(formula, {name: number for name, (_, number) in known.items()})


def _finite(formula: Node, at: At) -> bool:
    value = at(formula)
    return is_ball(value) and bool(value.is_finite())


def at_point(formula: Node, at: At) -> tuple[str, Node] | None:
    """The number of a formula, for a reader."""
    return digits(at(formula), at.fraction(formula))


def number_of(step: Step, at: At) -> tuple[str, Node] | None:
    """The number of a derivative; None where there is none, or none that the rules give."""
    value = at(step.of)
    return at_point(step.result, at) if value.is_finite() and not step_kinks(step) else None


def step_kinks(step: Step) -> bool:
    """Whether the point lies at a kink of anything that the step is about."""
    return any(part.kink for part in _counting(step))


def fits(node: Node, most: int = WIDE) -> bool:
    """Whether a formula is short enough to be read."""
    return show(node, most) is not None


def _pattern(step: Step, primes: dict[str, Node]) -> Node:
    """The rule with the operands in it, their derivatives as (...)'; a sum within a sum is taken apart."""
    rates: dict[str, Node] = {}
    for letter, part in step.parts.items():
        if not isinstance(part.of, Call) or not part.varies:
            rates[letter] = part.result if fits(part.result, 20) else _prime(part, primes)
        elif step.rule.name in SUMS and part.rule.name in SUMS:
            rates[letter] = _pattern(part, primes)
        else:
            rates[letter] = _prime(part, primes)
    # A derivative isn't a name to the order of factors: it stays where the rule has it.
    veiled = {mark: Call(syntax.TRANSPOSE, (Variable(mark),)) for mark in primes}
    found = filled(step.rule.formula, {**step.operands, **{n: substitute(r, veiled) for n, r in rates.items()}})
    return unveiled(found, {veil: Variable(mark) for mark, veil in veiled.items()})


def unveiled(tree: Node, marks: Mapping[Call, Variable]) -> Node:
    """The tree with some calls replaced."""
    done: dict[Node, Node] = {}
    for item in walk(tree):
        done[item] = item
        if isinstance(item, Call):
            done[item] = marks.get(item) or Call(item.function, tuple(done[a] for a in item.arguments))
    return done[tree]


def _prime(part: Step, primes: dict[str, Node]) -> Node:
    mark = next((m for m, node in primes.items() if node == part.of), None) or _mark(len(primes))
    primes[mark] = part.of
    return Variable(mark)


# -- words --------------------------------------------------------------------------------------------------------------


def _note(step: Step, at: At | None) -> str:
    """The rule in words, and what makes it fail here."""
    if step.rule is BRANCH:
        condition, chosen = step.operands["c"], show(step.operands["u"], WIDE) or "the other piece"
        lost = isinstance(condition, Call) and condition.function == syntax.NOT
        shown = show(condition.arguments[0] if isinstance(condition, Call) and lost else condition, WIDE) or "its condition"
        said = f"piecewise: {shown} {'does not hold' if lost else 'holds'} here, so it is {chosen}"
    elif step.rule.name in SUMS and step.parts:
        said = _summed(step)
    elif not step.owns:
        said = f"{step.rule.name}: {filled_in(step.rule.says, step)}"
    else:
        assert isinstance(step.of, Call)
        simple = all(isinstance(a, Variable) for a in step.of.arguments if not is_constant(a))
        own = "; ".join(_own(own, step.of, at) for own in step.owns)
        said = own if simple else f"{step.rule.name}: {own}"
    if step.kink:
        return f"{said}; but {_failing(step, at)}, where no rule holds"
    if at is None or isinstance(step.result, Constant):
        return said
    if step_kinks(step):
        return f"{said}; but no rule holds for what stands in it"
    return said if _finite(step.result, at) else f"{said}; but that is no finite number here"


def _failing(step: Step, at: At | None) -> str:
    """Why a rule doesn't hold at the point."""
    if isinstance(step.of, Call) and step.of.function == syntax.WHERE:
        return "the point lies on its border"
    if at is not None and not _finite(step.of, at):
        return "it has no value here"
    if at is not None and not _finite(step.result, at):
        return "its slope has no number here"
    return "it has a kink or a jump here"


def _summed(step: Step) -> str:
    """The rule of a sum, and which of its terms are constants."""
    constants = [show(node, WIDE // 2) or "..." for node in _constants(step)]
    if not constants:
        return f"{step.rule.name}: {filled_in(step.rule.says.partition(';')[0], step)}"
    are = "is a constant" if len(constants) == 1 else "are constants"
    shown = constants if len(constants) <= 3 else [*constants[:2], f"{len(constants) - 2} more terms"]
    return f"{step.rule.name}: term by term; {conjoined(shown)} {are}"


def _constants(step: Step) -> Iterator[Node]:
    for letter in step.rule.letters:
        part = step.parts.get(rate(letter))
        if part is None:
            yield step.operands[letter]
        elif part.rule.name in SUMS and part.parts:
            yield from _constants(part)


def conjoined(words: Sequence[str]) -> str:
    """x, y and z"""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _own(own: Own, call: Call, at: At | None) -> str:
    """`sin(t)' = cos(t)`: a function's own derivative, and where it is taken, if that decides which."""
    names = stand_ins(call)
    itself = Call(own.function, tuple(names.values()))
    formula = show(substitute(own.formula, names), WIDE) or "..."
    by = f" by {show(names[own.parameter])}" if len(variables(itself)) > 1 else ""
    text = f"{show(itself)}'{by} = {formula}"
    if at is None or not any(isinstance(n, Call) and _steps(n) for n in walk(own.formula)):
        return text
    bound = zip(names.values(), call.arguments, strict=True)
    places = [f"{show(n)} = {show(found[1])}" for n, a in bound if isinstance(n, Variable) and (found := at_point(a, at))]
    return f"{text}, here at {' and '.join(places)}" if places else text


def _steps(call: Call) -> bool:
    """Whether a function chooses, or has steps: where it is taken matters to the reader."""
    return call.function == syntax.WHERE or TABLE[call.function].slope == "0"


def stand_ins(call: Call) -> Mapping[str, Node]:
    """The arguments of a function as a teacher calls them, by its parameters: t, or s and t; constants as they are."""
    bound = [(p.name, a) for p, a in TABLE[call.function].bind(call.arguments)]
    varying = [name for name, a in bound if not is_constant(a)]
    letters = dict(zip(varying, ("t",) if len(varying) == 1 else ("s", "t", "r"), strict=False))
    return {name: Variable(letters[name]) if name in letters else a for name, a in bound}


def _defined(own: Own, step: Step) -> Iterator[Line]:
    """A function that is made of others: its definition, and the rule that its derivative comes from."""
    assert own.definition is not None and own.steps is not None and isinstance(step.of, Call)
    names = stand_ins(step.of)
    itself = Call(own.function, tuple(names.values()))
    yield Line((("", itself), (EQUAL, substitute(own.definition, names))), "its definition", 1)
    primes: dict[str, Node] = {}
    pattern = _pattern(own.steps, primes) if own.steps.parts else own.steps.result
    if primes and fits(pattern) and pattern != own.steps.result:
        changed = {mark: substitute(node, names) for mark, node in primes.items()}
        side = Pattern(substitute(pattern, names), changed)
        left = Pattern(Variable(_mark(25)), {_mark(25): itself})
        yield Line((("", left), (EQUAL, side)), own.steps.rule.name, 1)
