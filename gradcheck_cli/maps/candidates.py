"""THE list of the usual slips in a backward: what each would make of a gradient.

The exact gradient is made from the forward pass, operation by operation (`written`); a slip is a change to that: a factor, an
index, a term left out, an inner derivative forgotten. A variable in the wrong place is looked for from the other side: the
formula of the backward pass with one variable for another that gives the exact gradient. What a slip makes is computed when it
is asked for: most are never compared at a second point.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any

import numpy as np

from gradcheck_cli.algebra.number import ONE, ZERO, Ball, exactly
from gradcheck_cli.floats import Floats
from gradcheck_cli.language import syntax
from gradcheck_cli.language.parser import is_truth
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, walk
from gradcheck_cli.maps import indices, repairs
from gradcheck_cli.maps.pieces import conditions
from gradcheck_cli.maps.trials import CLOSE, Candidates, Edge, Trial, close, exact_with, numbers, patterns, said, used
from gradcheck_cli.maps.written import evaluate, family

RIGHT = 1e-11
"""Relative error up to which an entry is right where others are wrong: a slip that shows little there is in all of them."""

SMALLEST = 1e-300
"""Factors down to which one may be 1/N."""

LARGEST_PART = 16
"""Parts of a whole up to which a factor is a fraction."""

QUOTED = 60
"""Characters up to which a term is quoted."""

DEEPEST = 6
"""Steps down a term to which it is quoted at most, where it is longer."""

# -- the slips ----------------------------------------------------------------------------------------------------------


def _simple(trial: Trial, name: str) -> Candidates:
    """The whole gradient, changed."""
    exact, found = trial.exact[name], trial.torch[name]
    yield "the sign is wrong: autograd is -exact", lambda: -exact
    yield (
        "the backward drops the upstream gradient: it returns what belongs to an upstream gradient of 1",
        lambda: trial.adjoint(lambda v: 1.0 if v else 0.0)[name],
    )
    if not found.any():
        yield "the backward returns 0", lambda: found
    yield "the backward multiplies by the upstream gradient twice", lambda: trial.adjoint(lambda v: v * v)[name]


LARGEST_WHOLE = 1e6
"""A factor beyond it, or below its inverse, isn't taken for a count of entries."""


def _constant(trial: Trial, name: str) -> Candidates:
    """A constant factor of everything."""
    exact, found = trial.exact[name], trial.torch[name]
    largest = int(np.argmax(np.abs(exact)))
    factor = float(found[largest] / exact[largest]) if exact[largest] else 0.0
    if factor and math.isfinite(factor):
        yield _factor(factor, trial, name), lambda: exact * factor


def _factor(factor: float, trial: Trial, name: str) -> str:
    """What a constant factor says: what is missing of the forward pass, a sum where that has a mean, or the reverse."""
    text = f"autograd is {shown(factor)} times exact"
    count = _whole(abs(factor))
    if factor > 0 and count is not None and count > 1:
        means = (c for c in trial.order if c.function == syntax.DIV and c.arguments[1] == Constant(count))
        if any(_terms(c.arguments[0]) == count for c in means):
            return f"a sum for a mean: {text}"
    missing = _missing(factor, trial, name)
    if missing:
        return f"a constant factor: {text}: {missing}"
    count = _whole(1 / factor) if abs(factor) > SMALLEST else None
    if count is not None and count > 1 and count in _uses(trial, name):
        return f"a mean for a sum: {text}"
    return f"a constant factor: {text}"


def shown(factor: float) -> str:
    """A factor as a reader would write it: 3, 1/3, 5/6, 1.01."""
    if not math.isfinite(factor):
        return "nan"
    large = abs(factor) >= 1 or abs(factor) <= SMALLEST
    whole = _whole(abs(factor) if large else 1 / abs(factor))
    sign = "-" if factor < 0 else ""
    if whole is not None:
        return f"{sign}{whole}" if large else f"{sign}1/{whole}"
    near, decimal = Fraction(factor).limit_denominator(LARGEST_PART), f"{factor:.10g}"
    return str(near) if len(decimal) > len(str(near)) + 1 and math.isclose(factor, near, rel_tol=CLOSE) else decimal


def _whole(ratio: float) -> int | None:
    """The whole number that a ratio is."""
    whole = round(ratio) if abs(ratio) < LARGEST_WHOLE else 0
    return whole if whole and math.isclose(ratio, whole, rel_tol=CLOSE) else None


def _terms(node: Node) -> int:
    """How many terms a sum has."""
    waiting, count = [node], 0
    while waiting:
        match waiting.pop():
            case Call(function=syntax.ADD, arguments=arguments):
                waiting += arguments
            case _:
                count += 1
    return count


def _uses(trial: Trial, name: str) -> set[int]:
    """How many entries of the outputs each entry of an input goes into."""
    used: Counter[str] = Counter()
    for nodes in trial.trees.outputs.values():
        for node in nodes:
            used.update({n.name for n in walk(node) if isinstance(n, Variable)})
    return {used[v.name] for v in trial.family(name)}


def _missing(factor: float, trial: Trial, name: str) -> str | None:
    """The constant of the forward pass, on the way from an input, whose absence makes this factor."""
    own = {v.name for v in trial.family(name)}
    for call in reversed(trial.order):
        constant = _scaling(call)
        if constant is None:
            continue
        text, lost = constant
        near = abs(lost) != 1 and math.isclose(abs(factor * lost), 1.0, rel_tol=CLOSE)
        if near and any(isinstance(n, Variable) and n.name in own for n in walk(call)):
            sign = ", and the sign is wrong" if factor * lost < 0 else ""
            return f"{text} is missing{sign}"
    return None


def _scaling(call: Call) -> tuple[str, float] | None:
    """The constant in a call that is a factor of its derivative, in words, and that factor."""
    if call.function not in _LOST or len(call.arguments) != 2:
        return None
    x, y = call.arguments
    x, y = (y, x) if call.function == syntax.MUL and isinstance(x, Constant) else (x, y)
    if isinstance(x, Constant) or not isinstance(y, Constant) or isinstance(y.value, bool) or not y.value:
        return None
    what, power = _LOST[call.function]
    return f"{what} {y.value:.10g}{_root(y.value, _terms(x))} in {_quoted(call)}", y.value**power


_LOST = {syntax.DIV: ("the division by", -1), syntax.MUL: ("the factor", 1), syntax.POW: ("the exponent", 1)}
"""Calls with a constant that is a factor of their derivative, to this power."""


def _root(value: float, terms: int) -> str:
    """What a constant is that scales a sum by the root of the number of its terms, or is another root."""
    large = abs(value) >= 1
    square = _whole(value**2 if large else 1 / value**2)
    if square is None or (square != terms and math.isqrt(square) ** 2 == square):
        return ""
    return f" ({'' if large else '1/'}sqrt({square}){', of as many terms' if square == terms else ''})"


def _forgotten(edge: Edge) -> str | None:
    """What is forgotten with a derivative that is a constant: a factor, or the division of a mean."""
    constant = _scaling(edge.call) if edge.call.function != syntax.POW else None
    if constant is None:
        return None
    mean = edge.call.function == syntax.DIV and edge.call.arguments[1] == Constant(_terms(edge.call.arguments[0]))
    return f"{'a sum for a mean: ' if mean else ''}{constant[0]} is missing"


def _constants(trial: Trial, name: str) -> Candidates:
    """A constant of the forward pass that is missing where it is a factor of a derivative on the way, not of everything."""
    for edge in trial.edges:
        constant = _scaling(edge.call)
        if constant is not None and abs(constant[1]) != 1 and not isinstance(edge.argument, Constant):
            yield f"{constant[0]} is missing", partial(_through, trial, name, edge, 1 / exactly(constant[1]))


def _other_input(trial: Trial, name: str) -> Candidates:
    """The gradient of another input, which has a wrong one itself: one that is right there too was put where it belongs."""
    for other, exact in trial.exact.items():
        exchanged = other != name and other in trial.torch and not close(trial.torch[other], exact)
        if exchanged and trial.trees.shapes[other] == trial.trees.shapes[name]:
            yield f"this is the gradient of {other}: gradients are returned in the wrong order", partial(np.array, exact)


def _through(trial: Trial, name: str, edge: Edge, factor: Ball | None) -> Floats:
    """The gradient with a factor at one place of the chain rule, or 1 there for None. Each is asked for several times."""
    key = (edge, None if factor is None else float(factor))
    if key not in trial.changed:
        trial.changed[key] = edge.changed(trial, lambda call, slope: ONE if factor is None else slope * factor)
    return trial.changed[key][name]


def _paths(trial: Trial, name: str) -> Candidates:
    """A part of the chain rule left out, or with another sign."""
    for edge in trial.edges:
        term, of = _quoted(edge.argument), _quoted(edge.call)
        yield f"a term is dropped: the one through {term} in {of}", partial(_through, trial, name, edge, ZERO)
        yield f"a term has the wrong sign: the one through {term} in {of}", partial(_through, trial, name, edge, -ONE)
        yield (
            _forgotten(edge) or f"an inner derivative is missing: that of {of} by {term}",
            partial(_through, trial, name, edge, None),
        )
    adjoints: dict[Node, Ball] = {}
    trial.adjoint(keep=adjoints)
    slopes: dict[Node, Ball] = {}
    trial.pushed(name, [1.0] * len(trial.exact[name]), keep=slopes)
    for members in trial.members(name):
        if len(members) == len(trial.exact[name]):
            by, term = numbers(members, adjoints), _quoted(members[0])
            yield f"an inner derivative is missing: this is the derivative by {term}, not by {name}", partial(np.array, by)
            if len(members) == len(set(members)):
                rest = trial.exact[name] - by * numbers(members, slopes)
                yield f"an inner derivative is missing: that of {term} by {_one_of(trial, name)}", partial(np.add, rest, by)


def _one_of(trial: Trial, name: str) -> str:
    """An entry of an input, as an example."""
    return trial.family(name)[0].name


FORMS: Mapping[str, Callable[[Any], Any]] = {
    "{0}": lambda u: u,
    "{0}**2": lambda u: u**2,
    "1 - {0}": lambda u: 1 - u,
    "1 + {0}": lambda u: 1 + u,
    "1 - {0}**2": lambda u: 1 - u**2,
    "1 + {0}**2": lambda u: 1 + u**2,
}
"""Factors that derivatives are made of, of a term of the forward pass: of its numbers, or of its ball."""

_CONFUSED = (
    ("{0}", "1 - {0}"),
    ("1 - {0}", "{0}"),
    ("{0}", "1 - {0}**2"),
    ("1 + {0}", "1 - {0}"),
    ("1 + {0}**2", "1 - {0}**2"),
)
"""One of them that is taken for another."""


def _factors(trial: Trial, name: str) -> Candidates:
    """A factor missing or too many, in the whole or in one term of the chain rule."""
    exact = trial.exact[name]
    parts = [("", np.zeros_like(exact))]
    for edge in trial.edges:
        text = f" in the term through {_quoted(edge.argument)} in {_quoted(edge.call)}"
        parts.append((text, _through(trial, name, edge, ZERO)))
    terms: list[tuple[Node, Floats]] = [(Variable(name), numbers(trial.family(name), trial.found))]
    terms += [(m[0], numbers(m, trial.found)) for m in trial.members(name) if _varies(m[0]) and show(m[0], QUOTED)]
    terms = [(term, values) for term, values in terms if len(values) in (1, len(exact))]
    factors = [(form.format(_bracketed(term, form)), make(values)) for term, values in terms for form, make in FORMS.items()]
    for where, rest in parts:
        for shown, factor in factors:
            yield f"the factor {shown} is missing{where}", partial(_scaled, rest, exact - rest, 1.0, factor)
    for where, rest in parts:
        for shown, factor in factors:
            yield f"the factor {shown} is one too many{where}", partial(_scaled, rest, exact - rest, factor, 1.0)
    for where, rest in parts:
        for wrong, right in _CONFUSED:
            for term, values in terms:
                text = f"the factor {right.format(_bracketed(term, right))} is missing{where}"
                other = wrong.format(_bracketed(term, wrong))
                taken = partial(_scaled, rest, exact - rest, FORMS[wrong](values), FORMS[right](values))
                yield f"{text}: {other} stands in its place", taken


def _scaled(rest: Floats, part: Floats, factor: Floats | float, divisor: Floats | float) -> Floats:
    with np.errstate(all="ignore"):
        return np.asarray(rest + part * factor / divisor)


def _derivatives(trial: Trial, name: str) -> Candidates:
    """A factor missing or too many in the derivative of one function on the way, made of its value or of its argument."""
    for edge in trial.edges:
        several = sum(not isinstance(a, Constant) for a in edge.call.arguments) > 1
        if edge.call.function in _LINEAR or several or not edge.bends(trial):
            continue
        for own, term in ((True, edge.call), (False, edge.argument)):
            for form in FORMS:
                factor = form.format(_bracketed(term, form))
                of = f"in the derivative of {_quoted(edge.call)}"
                yield f"the factor {factor} is missing {of}", partial(_with_factor, trial, name, edge, own, form, -1)
                yield f"the factor {factor} is one too many {of}", partial(_with_factor, trial, name, edge, own, form, 1)


_LINEAR = (syntax.ADD, syntax.SUB, syntax.MUL, syntax.DIV, syntax.NEG)


def _with_factor(trial: Trial, name: str, edge: Edge, own: bool, form: str, power: int) -> Floats:
    """The gradient with this factor, or its inverse, in the derivatives of some calls."""

    def derivative(call: Call, slope: Ball) -> Ball:
        factor: Ball = FORMS[form](trial.found[call if own else call.arguments[edge.position]])
        return slope * factor if power > 0 else slope / factor

    return edge.changed(trial, derivative)[name]


def _places(trial: Trial, name: str) -> Candidates:
    """A variable where another one belongs: the right one is put in its place, and must give the exact gradient."""
    trees, read = trial.trees, used(trial, name)
    for wrong, shape in trees.shapes.items():
        names = {v.name: i for i, v in enumerate(family(wrong, shape))}
        if not read & names.keys():
            continue
        for right, other in trees.shapes.items():
            if right == wrong or math.prod(other) != math.prod(shape):
                continue
            replaced = {n: family(right, other)[i] for n, i in names.items()}
            yield f"{said(wrong)} is used where {said(right)} belongs", partial(exact_with, trial, name, replaced)


def _wrong(trial: Trial, name: str) -> tuple[list[int], str]:
    """The entries that are wrong, and the words for it."""
    exact, found = trial.exact[name], trial.torch[name]
    wrong: list[int] = np.flatnonzero(~(abs(found - exact) <= RIGHT * abs(exact))).tolist()
    labels = [trial.family(name)[i].name for i in wrong]
    return wrong, f"only {', '.join(labels)} of {len(exact)} entries {'is' if len(wrong) == 1 else 'are'} wrong"


def _branches(trial: Trial, name: str) -> Candidates:
    """One condition of the backward in the place of another."""
    return repairs.conditions(trial, name, _quoted)


def _operations(trial: Trial, name: str) -> Candidates:
    """One operation, or one constant, in the place of another."""
    return repairs.operations(trial, name, _quoted)


def _ratio(trial: Trial, name: str) -> Candidates:
    """Some entries right, and the others wrong by one factor."""
    exact, found = trial.exact[name], trial.torch[name]
    wrong, text = _wrong(trial, name)
    factor = _factor_of(exact[wrong], found[wrong])
    if len(wrong) < len(exact) and len(text) <= QUOTED and factor:
        yield f"{text}{factor}", lambda: found


def _piece(trial: Trial, name: str) -> Candidates:
    """One side of a condition wrong, the other one right."""
    exact, found = trial.exact[name], trial.torch[name]
    off = ~(abs(found - exact) <= RIGHT * abs(exact))
    if off.all() or not off.any():
        return
    empty = (exact == 0) & (found == 0)  # right by chance: nothing comes back there
    nodes = conditions(node for nodes in trial.trees.outputs.values() for node in nodes)
    sides: list[tuple[bool, list[Node], Any]] = []
    for asked in _of_each(nodes, trial.family(name)):
        known = evaluate(asked, trial.trees.values, dict(trial.found))
        plain = [_chosen(condition, known) for condition in asked]
        holds = np.array([known[condition] is True for condition in asked])
        sides += [(False, plain, holds), (True, [d for c in plain if (d := _denied(c))], ~holds)]
    for _, written, here in sorted(sides, key=lambda s: s[0]):  # what the function itself asks is plainer
        if len(written) == len(here) and (here == (off | (here & empty))).all():
            (where, *others) = {show(_without_indices(written[i]), QUOTED) or "..." for i in np.flatnonzero(here)}
            text = f"the piece where {where} is wrong" if not others else "one piece of the function is wrong"
            yield f"{text}{_factor_of(exact[off], found[off])}", lambda: found


def _chosen(condition: Node, known: Mapping[Node, object]) -> Node:
    """A condition in which the choices are those of the point: `where(x > -1, x, -1) < 1` is x < 1 where x > -1."""
    done: dict[Node, Node] = {}
    for item in walk(condition):
        match item:
            case Call(function=syntax.WHERE, arguments=(asked, left, right)) if known[asked] in (True, False):
                done[item] = done[left if known[asked] is True else right]
            case Call(function=function, arguments=arguments):
                done[item] = Call(function, tuple(done[a] for a in arguments))
            case _:
                done[item] = item
    return done[condition]


def _factor_of(exact: Floats, found: Floats) -> str:
    """By what one factor some entries are wrong, in words; "" where it isn't one."""
    with np.errstate(all="ignore"):
        ratios = found / exact
    if not (len(ratios) and np.isfinite(ratios).all() and np.ptp(ratios) <= CLOSE * abs(ratios[0])):
        return ""
    return f": there autograd is {shown(float(ratios[0]))} times exact" if ratios[0] else ": there autograd is 0"


def _of_each(nodes: Sequence[Node], variables: Sequence[Variable]) -> Iterator[list[Node]]:
    """Those that are written alike, where there is one for each entry of an input, in its order."""
    entries = {v.name: i for i, v in enumerate(variables)}
    keys = patterns([item for node in nodes for item in walk(node) if isinstance(item, Call)])
    groups: dict[int, dict[int, Node]] = {}
    for node in nodes:
        own = {entries[n.name] for n in walk(node) if isinstance(n, Variable) and n.name in entries}
        if len(own) == 1:
            groups.setdefault(keys[node], {}).setdefault(own.pop(), node)
    return ([group[i] for i in range(len(variables))] for group in groups.values() if len(group) == len(variables))


_DENIED = {
    syntax.LT: syntax.GE, syntax.LE: syntax.GT, syntax.GT: syntax.LE, syntax.GE: syntax.LT,
    syntax.EQ: syntax.NE, syntax.NE: syntax.EQ,
}  # fmt: skip
"""What holds where a comparison doesn't."""


def _denied(condition: Node) -> Node | None:
    if not isinstance(condition, Call) or condition.function not in _DENIED:
        return None
    return Call(_DENIED[condition.function], condition.arguments)


def _without_indices(node: Node) -> Node:
    """What is written of every entry alike."""
    names = {n.name: Variable(n.name.partition("[")[0]) for n in walk(node) if isinstance(n, Variable)}
    return substitute(node, names)


def _few(trial: Trial, name: str) -> Candidates:
    """Most entries right."""
    wrong, text = _wrong(trial, name)
    count = len(trial.exact[name])
    if count >= 3 and len(wrong) <= count // 3:
        yield text, lambda: trial.torch[name]


def _varies(node: Node) -> bool:
    """Whether a term is a number that hangs on something."""
    return not is_truth(node) and any(isinstance(n, Variable) for n in walk(node))


SLIPS: tuple[Callable[[Trial, str], Candidates], ...] = (
    _simple, _constant, indices.upstream_misplaced, _other_input, indices.shifted, indices.transposes, _paths, _constants,
    indices.turned, indices.mirrored, indices.symmetric, _places, indices.assigned, indices.laid_out, indices.astray,
    indices.summed, _factors, _derivatives, _branches, _operations, _piece, _ratio, _few,
)  # fmt: skip
"""In this order: of two that fit, the plainer one is named."""

OF_ENTRIES = (_ratio, _few)
"""Those that say of a point which of its entries are wrong."""

OF_THE_BACKWARD = (_branches, _operations)
"""Those with which the backward is right."""

BY_HAND = tuple(search for search in SLIPS if search not in OF_THE_BACKWARD)
"""Those of a derivative by hand: what it ought to be is said by the rules of derivation."""

ANYWHERE = (indices.shifted, _branches)
"""Those that hold whichever piece of the function a point is on."""

OF_THE_CHAIN = (_paths, _constants, _factors, _derivatives)
"""Those that change a part of the chain rule, whichever way that is gone."""


@lru_cache(maxsize=4096)
def _quoted(node: Node) -> str:
    """The text of a tree; of a long one what is deep inside is left out."""
    text = show(node, QUOTED)
    for depth in range(DEEPEST, 0, -1):
        text = text or show(_cut(node, depth), QUOTED)
    return text or "..."


def _cut(node: Node, depth: int) -> Node:
    """The tree down to a depth; a sum, or a product, of several is one step down."""
    if not isinstance(node, Call):
        return node
    if depth == 0:
        return Variable("...")
    alike = (syntax.ADD, syntax.MUL)
    kept = (depth if isinstance(a, Call) and a.function == node.function in alike else depth - 1 for a in node.arguments)
    return Call(node.function, tuple(_cut(a, d) for a, d in zip(node.arguments, kept, strict=True)))


def _bracketed(node: Node, form: str) -> str:
    """The text of a tree inside a form."""
    text = _quoted(node)
    simple = isinstance(node, Variable) or (isinstance(node, Call) and text.startswith(f"{node.function}("))
    return text if form == "{0}" or simple else f"({text})"
