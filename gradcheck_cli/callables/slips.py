"""The usual slips in a backward, recognised: what autograd returns is compared with what each slip would return.

The exact gradient is made from the forward pass, operation by operation (`written`); a slip is a change to that: a factor, an
index, a term left out, an inner derivative forgotten. A variable in the wrong place is looked for from the other side: the
formula of the backward pass with one variable for another that gives the exact gradient. A slip is named only where it fits
every entry at two seeded points beside the user's, with seeded upstream gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import torch

from gradcheck_cli.algebra.number import ONE, ZERO, Ball, working
from gradcheck_cli.algebra.precision import SLIPS
from gradcheck_cli.callables.trials import Trial, numbers, patterns
from gradcheck_cli.callables.written import evaluate, family, result, upstream, write
from gradcheck_cli.floats import Floats
from gradcheck_cli.language import syntax
from gradcheck_cli.language.parser import is_truth
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, walk
from gradcheck_cli.maps.map import Map, random_row
from gradcheck_cli.maps.runs import Formula

TRIALS = 2
CLOSE = 1e-7
"""How well a slip must fit, relative to the largest entry."""

QUOTED = 60
"""Characters up to which a term is quoted."""

OCCURRENCES = 6
"""Places of a variable whose subsets are tried."""


def name_slips(map: Map, formula: Formula | None = None, seed: int = 0, values: bool = True) -> dict[str, str]:
    """For each input whose gradient is wrong by one of the usual slips, what the slip is. `formula` stands for the forward
    pass; `values`: which gives these values, so that a backward may use its outputs."""
    with torch.no_grad():
        double = map.at({n: x.to(torch.float64) for n, x in map.inputs.items()})
    with working(SLIPS):
        trials = []
        for trial in range(TRIALS):
            found = _trial(double, formula, seed + trial)
            if found is None:
                return {}
            trials.append(found)
        named = {}
        for name in map.inputs:
            text = next((t for t in _fitting(trials, name) if values or "the output" not in t), None)
            if text is not None:
                named[name] = text
        return named


def _trial(map: Map, formula: Formula | None, seed: int) -> Trial | None:
    """The map at a point beside its own, written down."""
    draw = np.random.default_rng(seed)
    inputs = {}
    for name, x in map.inputs.items():
        factors = torch.tensor(draw.uniform(0.9, 1.1, tuple(x.shape)), dtype=torch.float64, device=x.device)
        inputs[name] = torch.where(x == 0, factors / 8, x * factors)
    near = map.at(inputs)
    try:
        row = random_row(near(near.leaves()), seed)
        trees = write(near, row, formula)
    except (RuntimeError, ValueError, IndexError, LookupError):
        return None
    return None if trees is None else Trial(trees)


def _fitting(trials: Sequence[Trial], name: str) -> Iterator[str]:
    """The slips that fit in every trial, the plainest first."""
    if any(name not in t.trees.gradients for t in trials) or any(_close(t.torch[name], t.exact[name]) for t in trials):
        return
    for candidates in (_simple, _other_input, _indices, _paths, _places, _factors, _few):
        texts = [[text for text, g in candidates(t, name) if _close(t.torch[name], g, _scale(t, name))] for t in trials]
        yield from (text for text in texts[0] if all(text in others for others in texts[1:]))


def _close(found: Floats, wanted: Floats, scale: float = 0.0) -> bool:
    """Equal to within CLOSE of the largest entry (or of `scale`)."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return False
    largest = max(scale, float(np.max(np.abs(wanted), initial=0.0)))
    return bool(np.max(np.abs(found - wanted), initial=0.0) <= CLOSE * largest)


def _scale(trial: Trial, name: str) -> float:
    """The size of the exact gradient."""
    return float(np.max(np.abs(trial.exact[name]), initial=0.0))


Candidates = Iterator[tuple[str, Floats]]


# -- the slips ----------------------------------------------------------------------------------------------------------


def _simple(trial: Trial, name: str) -> Candidates:
    """Factors."""
    exact, found = trial.exact[name], trial.torch[name]
    if not found.any():
        yield "the backward returns 0", found
    yield "the sign is wrong: autograd is -exact", -exact
    yield (
        "the backward drops the upstream gradient: it returns what belongs to an upstream gradient of 1",
        trial.adjoint(lambda v: 1.0 if v else 0.0)[name],
    )
    yield "the backward multiplies by the upstream gradient twice", trial.adjoint(lambda v: v * v)[name]
    yield "a transposition is missing: the Jacobian is applied where its transpose belongs", trial.tangent(name)
    largest = int(np.argmax(np.abs(exact)))
    factor = float(found[largest] / exact[largest]) if exact[largest] else 0.0
    if factor and math.isfinite(factor):
        yield _factor(factor, trial, name), exact * factor


LARGEST_WHOLE = 1e6
"""A factor beyond it, or below its inverse, isn't taken for a count of entries."""


def _factor(factor: float, trial: Trial, name: str) -> str:
    """What a constant factor says: a sum where the forward pass has a mean, or the reverse."""
    large = abs(factor) >= 1
    ratio = factor if large else 1 / factor
    whole = round(ratio) if abs(ratio) < LARGEST_WHOLE else 0
    is_whole = bool(whole) and math.isclose(ratio, whole, rel_tol=CLOSE)
    shown = f"{factor:.10g}" if not is_whole else str(whole) if large else f"1/{whole}"
    text = f"autograd is {shown} times exact"
    if is_whole and whole > 1:
        if factor > 1 and any(c.function == syntax.DIV and c.arguments[1] == Constant(whole) for c in trial.order):
            return f"a sum for a mean: {text}"
        outputs = [node for nodes in trial.trees.outputs.values() for node in nodes]
        if factor < 1 and any(_most_entries(node) >= whole for node in outputs):
            return f"a mean for a sum: {text}"
    return f"a constant factor: {text}"


def _most_entries(node: Node) -> int:
    """How many entries of one tensor occur at most."""
    families = [n.name.partition("[")[0] for n in walk(node) if isinstance(n, Variable)]
    return max(map(families.count, families), default=0)


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
    terms += [(m[0], numbers(m, trial.found)) for m in trial.members(name) if not is_truth(m[0])]
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
    found = trial.torch[name]
    nodes = trees.gradients[name]
    used = {n.name for node in nodes for n in walk(node) if isinstance(n, Variable)}
    calls = [item for item in evaluate(nodes, trees.values) if isinstance(item, Call)]
    keys = patterns(calls)
    for wrong, shape in trees.shapes.items():
        names = {v.name: i for i, v in enumerate(family(wrong, shape))}
        if not used & names.keys():
            continue
        places = list(
            dict.fromkeys(
                (keys[c], i) for c in calls for i, a in enumerate(c.arguments) if isinstance(a, Variable) and a.name in names
            )
        )
        if len(places) > OCCURRENCES:
            continue
        for right, other in trees.shapes.items():
            if right == wrong or math.prod(other) != math.prod(shape):
                continue
            replaced = {n: family(right, other)[i] for n, i in names.items()}
            for count in range(1, len(places) + 1):
                for chosen in combinations(places, count):
                    mended = _mended(nodes, keys, set(chosen), replaced)
                    values = numbers(mended, evaluate(mended, trees.values))
                    if _close(values, trial.exact[name]):
                        yield f"{_said(wrong)} is used where {_said(right)} belongs", found


def _mended(
    nodes: Sequence[Node], keys: Mapping[Node, int], places: set[tuple[int, int]], replaced: Mapping[str, Variable]
) -> list[Node]:
    """The trees with some occurrences of variables replaced."""
    done: dict[Node, Node] = {}
    for node in nodes:
        for item in walk(node):
            if item in done or not isinstance(item, Call):
                done.setdefault(item, item)
                continue
            arguments = tuple(
                replaced[a.name] if isinstance(a, Variable) and (keys[item], i) in places and a.name in replaced else done[a]
                for i, a in enumerate(item.arguments)
            )
            done[item] = item if arguments == item.arguments else Call(item.function, arguments)
    return [done[node] for node in nodes]


def _said(name: str) -> str:
    """A family of variables in words."""
    if name.startswith(upstream("")):
        return "the upstream gradient"
    return f"the {name}" if name.startswith(result("")) else f"the input {name}"


def _few(trial: Trial, name: str) -> Candidates:
    """Most entries right."""
    exact, found = trial.exact[name], trial.torch[name]
    wrong = np.flatnonzero(np.abs(found - exact) > CLOSE * np.max(np.abs(exact), initial=0.0)).tolist()
    if len(exact) >= 3 and len(wrong) <= len(exact) // 3:
        labels = [trial.family(name)[i].name for i in wrong]
        yield f"only {', '.join(labels)} of {len(exact)} entries {'is' if len(wrong) == 1 else 'are'} wrong", found


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
