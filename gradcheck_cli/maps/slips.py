"""The usual slips in a backward, recognised: what autograd returns is compared with what each slip would return.

The exact gradient is made from the forward pass, operation by operation (`written`); a slip is a change to that: a factor, an
index, a term left out, an inner derivative forgotten. A variable in the wrong place is looked for from the other side: the
formula of the backward pass with one variable for another that gives the exact gradient. A slip is named only where it fits
every entry at two seeded points beside the user's, with seeded upstream gradients.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch

from gradcheck_cli.algebra.number import ONE, ZERO, Ball, working
from gradcheck_cli.algebra.precision import SLIPS
from gradcheck_cli.floats import Floats
from gradcheck_cli.language import syntax
from gradcheck_cli.language.parser import is_truth
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, walk
from gradcheck_cli.maps.map import Map, direction_of, push, random_row
from gradcheck_cli.maps.runs import Formula, flat, numpy
from gradcheck_cli.maps.trials import BARE, Trial, matrices, mended, numbers, patterns
from gradcheck_cli.maps.written import Trees, evaluate, family, result, upstream, write

TRIALS = 2
CLOSE = 1e-7
CANCELLED = 1e-12
"""How well a slip must fit every entry: relative to it, and to the largest one, of which cancellation may leave as much."""

PART = 1e-7
"""What a slip may leave unexplained of the error, for constants are rounded: what is almost a slip is another one."""

RIGHT = 1e-11
"""Relative error up to which an entry is right where others are wrong: a slip that shows little there is in all of them."""

SMALLEST = 1e-300
"""Factors down to which one may be 1/N."""

QUOTED = 60
"""Characters up to which a term is quoted."""

OCCURRENCES = 6
"""Places of a variable whose subsets are tried."""


def name_slips(map: Map, formula: Formula | None = None, seed: int = 0, values: bool = True) -> dict[str, str | None]:
    """For each input whose gradient is wrong, the slip that explains it, None where none of the usual ones does. `formula`
    stands for the forward pass; `values`: which gives these values, so that a backward may use its outputs."""
    double = _double(map)
    unless = None if values else "the output"
    return named([lambda k=k: _trial(double, formula, seed + k) for k in range(TRIALS)], unless)  # type: ignore[misc]


def _double(map: Map) -> Map:
    """The map with its inputs as doubles."""
    with torch.no_grad():
        return map.at({n: x.to(torch.float64) for n, x in map.inputs.items()})


def named(points: Sequence[Callable[[], Trees | None]], unless: str | None = None) -> dict[str, str | None]:
    """The same of what is written down at several points; nothing where that can't be done at one of them. What speaks of
    `unless` isn't named."""
    with working(SLIPS):
        trials = []
        for point in points:
            trees = point()
            if trees is None:
                return {}
            trials.append(Trial(trees))
        wrong = [n for n in trials[0].trees.gradients if not any(_right(trial, n) for trial in trials)]
        return {n: next((t for t in _fitting(trials, n) if unless is None or unless not in t), None) for n in wrong}


def name_pushed(map: Map, mode: str = "forward", formula: Formula | None = None, seed: int = 0) -> str | None:
    """The slip in a wrong derivative along a direction, in a mode that runs forwards; "" where none of the usual ones explains
    it, None where it is right, or can't be written down."""
    double = _double(map)
    texts = [_pushed(double, mode, formula, seed + k) for k in range(TRIALS)]
    known = [t for t in texts if t is not None]
    return next((t for t in known[0] if all(t in others for others in known[1:])), "") if len(known) == TRIALS else None


def _pushed(map: Map, mode: str, formula: Formula | None, seed: int) -> list[str] | None:
    trees = _trial(map, formula, seed)
    if trees is None:
        return None
    near = map.at({n: _tensor(trees, n, x) for n, x in map.inputs.items()})
    direction = direction_of(near.inputs, seed)
    _, tangents, refusal = push(near, direction, mode)
    if refusal is not None or any(t is None for t in tangents.values()):
        return None
    found = np.concatenate([numpy(t) for t in tangents.values() if t is not None])
    with working(SLIPS):
        trial = Trial(trees)
        parts = {name: trial.pushed(name, flat(u)) for name, u in direction.items()}
    total = np.asarray(sum(parts.values()))
    if _close(found, total):
        return None
    candidates = [("the jvp returns 0", 0 * total), ("the sign is wrong: the jvp returns -exact", -total)]
    candidates += [(f"the tangent of {name} is ignored", total - part) for name, part in parts.items()]
    candidates += [(f"the tangent of {name} has the wrong sign", total - 2 * part) for name, part in parts.items()]
    largest = int(np.argmax(abs(total)))
    factor = float(found[largest] / total[largest]) if total[largest] else math.nan
    candidates.append((f"a constant factor: the jvp returns {_shown(factor)} times exact", total * factor))
    scale = float(np.max(abs(total), initial=0.0))
    return [text for text, wanted in candidates if _close(found, wanted, scale)]


def _tensor(trees: Trees, name: str, like: torch.Tensor) -> torch.Tensor:
    """An input as it was written down."""
    values = [trees.values[v.name] for v in family(name, tuple(like.shape))]
    return torch.tensor(values, dtype=torch.float64, device=like.device).reshape(like.shape)


def _right(trial: Trial, name: str) -> bool:
    return _close(trial.torch[name], trial.exact[name])


def _trial(map: Map, formula: Formula | None, seed: int) -> Trees | None:
    """The map at a point beside its own, written down."""
    draw = np.random.default_rng(seed)
    inputs = {}
    for name, x in map.inputs.items():
        factors = torch.tensor(draw.uniform(0.9, 1.1, tuple(x.shape)), dtype=torch.float64, device=x.device)
        inputs[name] = torch.where(x == 0, factors / 8, x * factors)
    near = map.at(inputs)
    try:
        row = random_row(near(near.leaves()), seed)
        return write(near, row, formula)
    except (RuntimeError, ValueError, IndexError, LookupError):
        return None


def _fitting(trials: Sequence[Trial], name: str) -> Iterator[str]:
    """The slips that fit in every trial, the plainest first."""
    for candidates in _SLIPS:
        texts = [[text for text, g in candidates(t, name) if _explains(t, name, g)] for t in trials]
        yield from (text for text in texts[0] if all(text in others for others in texts[1:]))


def _explains(trial: Trial, name: str, wanted: Floats) -> bool:
    """Whether a slip would give what torch returns: every entry to within CLOSE, and all of the error but PART of it."""
    found, scale = trial.torch[name], _scale(trial, name)
    if not _close(found, wanted, scale):
        return False
    with np.errstate(all="ignore"):
        return bool((abs(found - wanted) <= PART * abs(found - trial.exact[name]) + CANCELLED * scale).all())


def _close(found: Floats, wanted: Floats, scale: float = 0.0) -> bool:
    """Whether every entry is right, by itself: to within CLOSE of it, or what cancels leaves of the largest one, or of
    `scale`."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return False
    return not _off(found, wanted, scale).any()


def _scale(trial: Trial, name: str) -> float:
    """The size of the exact gradient."""
    return float(np.max(abs(trial.exact[name]), initial=0.0))


def _off(found: Floats, wanted: Floats, scale: float = 0.0) -> npt.NDArray[np.bool_]:
    """Which entries are wrong."""
    with np.errstate(all="ignore"):
        return ~(abs(found - wanted) <= CLOSE * abs(wanted) + CANCELLED * float(np.max(abs(wanted), initial=scale)))


Candidates = Iterator[tuple[str, Floats]]


# -- the slips ----------------------------------------------------------------------------------------------------------


def _simple(trial: Trial, name: str) -> Candidates:
    """The whole gradient, changed."""
    exact, found = trial.exact[name], trial.torch[name]
    yield "the sign is wrong: autograd is -exact", -exact
    yield (
        "the backward drops the upstream gradient: it returns what belongs to an upstream gradient of 1",
        trial.adjoint(lambda v: 1.0 if v else 0.0)[name],
    )
    if not found.any():
        yield "the backward returns 0", found
    yield "the backward multiplies by the upstream gradient twice", trial.adjoint(lambda v: v * v)[name]


def _upstream(trial: Trial, name: str) -> Candidates:
    """The upstream gradient of one output, in the wrong place."""
    shapes = {output: trial.trees.shapes[result(output)] for output in trial.trees.outputs}
    for output, shape in shapes.items():
        of = f" of {output}" if len(shapes) > 1 else ""
        names = [v.name for v in family(upstream(output), shape)]
        values = np.array([trial.trees.values.get(n, 0.0) for n in names])
        changes = {f"the upstream gradient{of} is not used": np.zeros_like(values)} if len(shapes) > 1 else {}
        if len(shape) >= 2 and shape[-1] == shape[-2]:
            changes[f"the upstream gradient{of} is transposed"] = _transposed(values.reshape(shape)).ravel()
        for text, changed in changes.items():
            yield text, trial.adjoint(given=dict(zip(names, changed.tolist(), strict=True)))[name]


LARGEST_WHOLE = 1e6
"""A factor beyond it, or below its inverse, isn't taken for a count of entries."""


def _constant(trial: Trial, name: str) -> Candidates:
    """A constant factor of everything."""
    exact, found = trial.exact[name], trial.torch[name]
    largest = int(np.argmax(np.abs(exact)))
    factor = float(found[largest] / exact[largest]) if exact[largest] else 0.0
    if factor and math.isfinite(factor):
        yield _factor(factor, trial, name), exact * factor


def _factor(factor: float, trial: Trial, name: str) -> str:
    """What a constant factor says: what is missing of the forward pass, a sum where that has a mean, or the reverse."""
    text = f"autograd is {_shown(factor)} times exact"
    count = _whole(abs(factor))
    if factor > 0 and count is not None and count > 1:
        means = (c for c in trial.order if c.function == syntax.DIV and c.arguments[1] == Constant(count))
        if any(_terms(c.arguments[0]) == count for c in means):
            return f"a sum for a mean: {text}"
    missing = _missing(factor, trial)
    if missing:
        return f"a constant factor: {text}: {missing}"
    count = _whole(1 / factor) if abs(factor) > SMALLEST else None
    if count is not None and count > 1 and count in _uses(trial, name):
        return f"a mean for a sum: {text}"
    return f"a constant factor: {text}"


def _shown(factor: float) -> str:
    """A factor as a reader would write it: 3, 1/3, 1.01."""
    if not math.isfinite(factor):
        return "nan"
    large = abs(factor) >= 1 or abs(factor) <= SMALLEST
    whole = _whole(abs(factor) if large else 1 / abs(factor))
    sign = "-" if factor < 0 else ""
    return f"{factor:.10g}" if whole is None else f"{sign}{whole}" if large else f"{sign}1/{whole}"


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


def _missing(factor: float, trial: Trial) -> str | None:
    """The constant of the forward pass whose absence makes this factor."""
    for call in reversed(trial.order):
        if call.function not in _LOST or len(call.arguments) != 2:
            continue
        x, y = call.arguments
        x, y = (y, x) if call.function == syntax.MUL and isinstance(x, Constant) else (x, y)
        if isinstance(x, Constant) or not isinstance(y, Constant) or isinstance(y.value, bool) or not y.value:
            continue
        what, power = _LOST[call.function]
        lost = y.value**power
        if abs(lost) != 1 and math.isclose(abs(factor * lost), 1.0, rel_tol=CLOSE):
            sign = ", and the sign is wrong" if factor * lost < 0 else ""
            return f"{what} {y.value:.10g}{_root(y.value, _terms(x))} in {_quoted(call)} is missing{sign}"
    return None


_LOST = {syntax.DIV: ("the division by", -1), syntax.MUL: ("the factor", 1), syntax.POW: ("the exponent", 1)}
"""Calls with a constant that is a factor of their derivative, to this power."""


def _root(value: float, terms: int) -> str:
    """What a constant is that scales a sum by the root of the number of its terms, or is another root."""
    large = abs(value) >= 1
    square = _whole(value**2 if large else 1 / value**2)
    if square is None or (square != terms and math.isqrt(square) ** 2 == square):
        return ""
    return f" ({'' if large else '1/'}sqrt({square}){', of as many terms' if square == terms else ''})"


def _other_input(trial: Trial, name: str) -> Candidates:
    for other, exact in trial.exact.items():
        if other != name and trial.trees.shapes[other] == trial.trees.shapes[name]:
            yield f"this is the gradient of {other}: gradients are returned in the wrong order", exact


def _indices(trial: Trial, name: str) -> Candidates:
    shape = trial.trees.shapes[name]
    exact = trial.exact[name].reshape(shape)
    for axis, size in enumerate(shape):
        where = f" along dimension {axis}" if len(shape) > 1 else ""
        for by in sorted(range(1, size), key=lambda b: min(b, size - b)):
            if by <= 2 or size - by <= 2:
                signed = by if by <= size - by else by - size
                yield f"the index is shifted by {signed}{where}", np.roll(exact, by, axis).ravel()
        if size > 1:
            yield f"the index runs backwards{where}", np.flip(exact, axis).ravel()
    if len(shape) >= 2:
        yield "the index is transposed: the last two dimensions are exchanged", _transposed(exact).reshape(-1)


def _transposes(trial: Trial, name: str) -> Candidates:
    """A matrix where its transpose belongs, with which the gradient is exact; or the whole Jacobian."""
    trees, found = trial.trees, trial.torch[name]
    for other, shape in trees.shapes.items():
        if len(shape) < 2 or shape[-1] != shape[-2]:
            continue
        names = [v.name for v in family(other, shape)]
        values = np.array([trees.values[n] for n in names]).reshape(shape)
        changed = {**trees.values, **dict(zip(names, _transposed(values).ravel().tolist(), strict=True))}
        known = {v: ball for v, ball in trial.given.items() if not (isinstance(v, Variable) and v.name in names)}
        nodes = trees.gradients[name]
        if _close(numbers(nodes, evaluate(nodes, changed, known)), trial.exact[name]):
            yield f"{_said(other)} is used where its transpose belongs", found
    yield "a transposition is missing: the Jacobian is applied where its transpose belongs", trial.tangent(name)


def _transposed(exact: Floats) -> Floats:
    return np.ascontiguousarray(np.swapaxes(exact, -1, -2))


def _paths(trial: Trial, name: str) -> Candidates:
    """A part of the chain rule left out, or with another sign."""
    for edge in trial.edges:
        term, of = _quoted(edge.argument), _quoted(edge.call)
        yield f"a term is dropped: the one through {term} in {of}", edge.changed(trial, ZERO)[name]
        yield f"an inner derivative is missing: that of {of} by {term}", edge.changed(trial, None)[name]
        yield f"a term has the wrong sign: the one through {term} in {of}", edge.changed(trial, -ONE)[name]
    adjoints: dict[Node, Ball] = {}
    trial.adjoint(keep=adjoints)
    for members in trial.members(name):
        if len(members) == len(trial.exact[name]):
            text = f"an inner derivative is missing: this is the derivative by {_quoted(members[0])}, not by {name}"
            yield text, numbers(members, adjoints)


FORMS: Mapping[str, Callable[[Floats], Floats]] = {
    "{0}": lambda u: u,
    "{0}**2": lambda u: u**2,
    "1 - {0}": lambda u: 1 - u,
    "1 + {0}": lambda u: 1 + u,
    "1 - {0}**2": lambda u: 1 - u**2,
    "1 + {0}**2": lambda u: 1 + u**2,
}
"""Factors that derivatives are made of, of a term of the forward pass."""


def _factors(trial: Trial, name: str) -> Candidates:
    """A factor missing or too many, in the whole or in one term of the chain rule."""
    exact = trial.exact[name]
    parts = [("", np.zeros_like(exact))]
    for edge in trial.edges:
        text = f" in the term through {_quoted(edge.argument)} in {_quoted(edge.call)}"
        parts.append((text, edge.changed(trial, ZERO)[name]))
    terms: list[tuple[Node, Floats]] = [(Variable(name), numbers(trial.family(name), trial.found))]
    terms += [(m[0], numbers(m, trial.found)) for m in trial.members(name) if _varies(m[0]) and show(m[0], QUOTED)]
    factors = [(form.format(_bracketed(term, form)), make(values)) for term, values in terms for form, make in FORMS.items()]
    with np.errstate(all="ignore"):
        for where, rest in parts:
            for shown, factor in factors:
                yield f"the factor {shown} is missing{where}", rest + (exact - rest) / factor
        for where, rest in parts:
            for shown, factor in factors:
                yield f"the factor {shown} is one too many{where}", rest + (exact - rest) * factor


def _places(trial: Trial, name: str) -> Candidates:
    """A variable where another one belongs: the right one is put in its place, and must give the exact gradient."""
    trees = trial.trees
    nodes = trees.gradients[name]
    used = {n.name for node in nodes for n in walk(node) if isinstance(n, Variable)}
    calls = [item for item in evaluate(nodes, trees.values) if isinstance(item, Call)]
    keys = patterns(calls)
    for wrong, shape in trees.shapes.items():
        names = {v.name: i for i, v in enumerate(family(wrong, shape))}
        if not used & names.keys():
            continue
        for right, other in trees.shapes.items():
            if right == wrong or math.prod(other) != math.prod(shape):
                continue
            replaced = {n: family(right, other)[i] for n, i in names.items()}
            if _mends(trial, name, calls, keys, replaced):
                yield f"{_said(wrong)} is used where {_said(right)} belongs", trial.torch[name]


def _turned(trial: Trial, name: str) -> Candidates:
    """The same of a matrix, with its transpose in some of its places."""
    nodes = trial.trees.gradients[name]
    calls = [item for item in evaluate(nodes, trial.trees.values) if isinstance(item, Call)]
    keys = patterns(calls)
    for base, turned in matrices(trial.trees).items():
        if _mends(trial, name, calls, keys, turned):
            yield f"{_said(base)} is used where its transpose belongs", trial.torch[name]


def _mends(trial: Trial, name: str, calls: Sequence[Call], keys: Mapping[Node, int], replaced: Mapping[str, Variable]) -> bool:
    """Whether a gradient is exact with some variables in the place of others, wherever these stand, or in some places."""
    nodes = trial.trees.gradients[name]
    places = list(
        dict.fromkeys(
            (keys[c], i) for c in calls for i, a in enumerate(c.arguments) if isinstance(a, Variable) and a.name in replaced
        )
    )
    places += [BARE] if any(isinstance(node, Variable) and node.name in replaced for node in nodes) else []
    for count in range(1, len(places) + 1 if len(places) <= OCCURRENCES else 0):
        for chosen in combinations(places, count):
            changed = mended(nodes, keys, set(chosen), replaced)
            values = numbers(changed, evaluate(changed, trial.trees.values, dict(trial.given)))
            if _close(values, trial.exact[name]):
                return True
    return False


def _said(name: str) -> str:
    """A family of variables in words."""
    if name.startswith(upstream("")):
        return "the upstream gradient"
    return f"the {name}" if name.startswith(result("")) else f"the input {name}"


def _wrong(trial: Trial, name: str) -> tuple[list[int], str]:
    """The entries that are wrong, and the words for it."""
    exact, found = trial.exact[name], trial.torch[name]
    wrong: list[int] = np.flatnonzero(~(abs(found - exact) <= RIGHT * abs(exact))).tolist()
    labels = [trial.family(name)[i].name for i in wrong]
    return wrong, f"only {', '.join(labels)} of {len(exact)} entries {'is' if len(wrong) == 1 else 'are'} wrong"


def _ratio(trial: Trial, name: str) -> Candidates:
    """Some entries right, and the others wrong by one factor."""
    exact, found = trial.exact[name], trial.torch[name]
    wrong, text = _wrong(trial, name)
    with np.errstate(all="ignore"):
        ratios = found[wrong] / exact[wrong]
    if (
        len(wrong) < len(exact)
        and len(text) <= QUOTED
        and np.isfinite(ratios).all()
        and np.ptp(ratios) <= CLOSE * abs(ratios[0])
    ):
        yield f"{text}: there autograd is {_shown(float(ratios[0])) if ratios[0] else 0} times exact", found


def _few(trial: Trial, name: str) -> Candidates:
    """Most entries right."""
    wrong, text = _wrong(trial, name)
    count = len(trial.exact[name])
    if count >= 3 and len(wrong) <= count // 3:
        yield text, trial.torch[name]


def _varies(node: Node) -> bool:
    """Whether a term is a number that hangs on something."""
    return not is_truth(node) and any(isinstance(n, Variable) for n in walk(node))


_SLIPS = (
    _simple, _constant, _upstream, _other_input, _indices, _transposes, _ratio, _paths, _turned, _places, _factors, _few,
)  # fmt: skip
"""In this order: of two that fit, the plainer one is named."""


def _quoted(node: Node) -> str:
    """The text of a tree, long arguments left out."""
    if isinstance(node, Call) and show(node, QUOTED) is None:
        node = Call(node.function, tuple(a if show(a, QUOTED // 2) else Variable("...") for a in node.arguments))
    return show(node) or ""


def _bracketed(node: Node, form: str) -> str:
    """The text of a tree inside a form."""
    text = _quoted(node)
    simple = isinstance(node, Variable) or (isinstance(node, Call) and text.startswith(f"{node.function}("))
    return text if form == "{0}" or simple else f"({text})"
