"""The slips of indices: entries, of a gradient or of what it is made of, that stand where others belong.

A dimension reversed, shifted, transposed, laid out in another order, summed over where it shouldn't be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import combinations, permutations

import numpy as np

from gradcheck_cli.floats import Floats
from gradcheck_cli.language import syntax
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, rebuilt, walk
from gradcheck_cli.maps.trials import Candidates, Trial, close, exact_where, exact_with, matrices, numbers, said, used
from gradcheck_cli.maps.written import evaluate, family, result, upstream

CONTRIBUTIONS = 64
"""Entries of outputs whose parts of a gradient are told apart."""

DIMENSIONS = 4
"""Dimensions up to which every order of them is tried."""

DISTINCT = 3
"""Different numbers from which on it is no chance that they are the right ones in other places."""

SUMS = 400
"""Terms, together, up to which sums are made over other entries."""


OVER = "a sum, or a mean, runs over other entries than it should: it belongs over {}"


def upstream_misplaced(trial: Trial, name: str) -> Candidates:
    """The upstream gradient of one output, in the wrong place."""
    for what, names, values in _cotangents(trial):
        changes = {f"{what} is not used": np.zeros_like(values)} if len(trial.trees.outputs) > 1 else {}
        if values.ndim >= 2 and values.shape[-1] == values.shape[-2]:
            belongs = next((d for d in range(values.ndim) if _is_sum(trial.exact[name], values, d)), None)
            changes[f"{what} is transposed" if belongs is None else OVER.format(f"dimension {belongs}")] = _transposed(values)
        for text, changed in changes.items():
            yield text, partial(_with_upstream, trial, name, names, changed.ravel())


def _is_sum(exact: Floats, values: Floats, axis: int) -> bool:
    """Whether a gradient is the sum of an upstream gradient over one of its two dimensions, as a bias has it."""
    return values.ndim == 2 and exact.shape == values.sum(axis).shape and close(exact, values.sum(axis))


def _cotangents(trial: Trial) -> Iterator[tuple[str, list[str], Floats]]:
    """The upstream gradient of each output: what it is called in words, its entries, and their numbers."""
    for output in trial.trees.outputs:
        shape = trial.trees.shapes[result(output)]
        names = [v.name for v in family(upstream(output), shape)]
        of = f" of {output}" if len(trial.trees.outputs) > 1 else ""
        yield f"the upstream gradient{of}", names, np.array([trial.trees.values.get(n, 0.0) for n in names]).reshape(shape)


def _with_upstream(trial: Trial, name: str, names: Sequence[str], values: Floats) -> Floats:
    return trial.adjoint(given=dict(zip(names, values.tolist(), strict=True)))[name]


def shifted(trial: Trial, name: str) -> Candidates:
    """The gradient shifted, reversed, with its halves exchanged, or transposed."""
    shape = trial.trees.shapes[name]
    exact = trial.exact[name].reshape(shape)
    for axis, size in enumerate(shape):
        where = f" along dimension {axis}" if len(shape) > 1 else ""
        for by in sorted(range(1, size), key=lambda b: min(b, size - b)):
            if 2 * by == size > 2:
                yield f"the two halves are exchanged{where}", partial(_rolled, exact, by, axis)
            elif by <= 2 or size - by <= 2:
                signed = by if by <= size - by else by - size
                yield f"the index is shifted by {signed}{where}", partial(_rolled, exact, by, axis)
        if size > 1:
            yield f"the index runs backwards{where}", partial(_flipped, exact, axis)
    if len(shape) >= 2:
        yield "the index is transposed: the last two dimensions are exchanged", lambda: _transposed(exact).reshape(-1)


def transposes(trial: Trial, name: str) -> Candidates:
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
        if close(numbers(nodes, evaluate(nodes, changed, known)), trial.exact[name]):
            yield f"{said(other)} is used where its transpose belongs", lambda: found
    yield "a transposition is missing: the Jacobian is applied where its transpose belongs", lambda: trial.tangent(name)


def _rolled(exact: Floats, by: int, axis: int) -> Floats:
    return np.roll(exact, by, axis).ravel()


def _flipped(exact: Floats, axis: int) -> Floats:
    return np.flip(exact, axis).ravel()


def _transposed(exact: Floats) -> Floats:
    return np.ascontiguousarray(np.swapaxes(exact, -1, -2))


def turned(trial: Trial, name: str) -> Candidates:
    """The same of a matrix, with its transpose in some of its places."""
    for base, turned in matrices(trial.trees).items():
        yield f"{said(base)} is used where its transpose belongs", partial(exact_with, trial, name, turned)


def mirrored(trial: Trial, name: str) -> Candidates:
    """A tensor read backwards where it belongs the right way round, along its last dimension or its last two: a kernel that
    isn't flipped."""
    read = used(trial, name)
    for wrong, shape in trial.trees.shapes.items():
        variables = family(wrong, shape)
        if not any(v.name in read for v in variables):
            continue
        for axes in ((-1,), (-2, -1))[: len(shape)]:
            turned = np.flip(np.arange(len(variables)).reshape(shape), axes).reshape(-1)
            replaced = {v.name: variables[i] for v, i in zip(variables, turned.tolist(), strict=True)}
            yield f"{said(wrong)} is used where its reverse belongs", partial(exact_with, trial, name, replaced)


def symmetric(trial: Trial, name: str) -> Candidates:
    """A matrix whose transpose is taken for itself: all is right where it is symmetric."""
    trees = trial.trees
    for base, turned in matrices(trees).items():
        lower = {n: trees.values[v.name] for n, v in turned.items() if n in trees.values and n > v.name}
        there = Trial(replace(trees, values={**trees.values, **lower}))
        if close(there.torch[name], there.exact[name]):
            yield f"its transpose is missing: all is right only where {said(base)} is symmetric", lambda: trial.torch[name]


def assigned(trial: Trial, name: str) -> Candidates:
    """Of the contributions of several outputs to one entry the last one alone: `grad[index] = g` where they are added up; or
    their mean."""
    cotangents = [v.name for y in trial.trees.outputs for v in family(upstream(y), trial.trees.shapes[result(y)])]
    if not 1 < len(cotangents) <= CONTRIBUTIONS:
        return
    nothing = dict.fromkeys(cotangents, 0.0)
    values = trial.trees.values
    parts = [trial.adjoint(given={**nothing, c: values.get(c, 0.0)})[name] for c in cotangents]
    last = np.zeros_like(parts[0])
    for part in parts:
        last = np.where(part != 0, part, last)
    counts = sum(part != 0 for part in parts)
    if counts.max() > 1:
        yield "a term is dropped: of several contributions to an entry the last alone counts, as if assigned", lambda: last
        yield (
            "a mean for a sum: several contributions to an entry are averaged",
            lambda: trial.exact[name] / np.maximum(counts, 1),
        )


def laid_out(trial: Trial, name: str) -> Candidates:
    """The upstream gradient read from memory in another order of its dimensions: `g.reshape(...)` where `g.permute(...)`
    belongs."""
    for what, names, values in _cotangents(trial):
        if not 2 <= values.ndim <= DIMENSIONS:
            continue
        text = f"{what} is reshaped where its dimensions have to be permuted"
        tried = {values.tobytes()}
        for order in permutations(range(values.ndim)):
            there = values.transpose(order)
            for changed in (there.reshape(values.shape), values.reshape(there.shape).transpose(np.argsort(order))):
                key = np.ascontiguousarray(changed).tobytes()
                if key not in tried:
                    tried.add(key)
                    yield text, partial(_with_upstream, trial, name, names, changed.ravel())


def astray(trial: Trial, name: str) -> Candidates:
    """The entries of this gradient, or of all that are wrong, in other places."""
    wrong = [n for n, found in trial.torch.items() if not close(found, trial.exact[n])]
    for among in dict.fromkeys(((name,), tuple(wrong))):
        exact, found = (np.sort(np.concatenate([of[n] for n in among])) for of in (trial.exact, trial.torch))
        if name in among and len(np.unique(exact[exact != 0])) >= DISTINCT and close(found, exact):
            of = "" if len(among) == 1 else f" of the gradients by {', '.join(among)}"
            yield f"the entries{of} are right, and stand in other places", lambda: trial.torch[name]


def summed(trial: Trial, name: str) -> Candidates:
    """A sum, or a mean, over other entries than belong: over all of them where a dimension belongs, or over another one."""
    calls, keys = trial.written(name)
    alike: dict[int, dict[Call, list[Node]]] = {}
    for call, terms in _sums(calls, keys).items():
        alike.setdefault(keys[call], {})[call] = terms
    for sums in alike.values():
        for shape in dict.fromkeys(map(tuple, trial.trees.shapes.values())):
            named = _named(trial, shape)
            places = {t: _place([t], named) for own in sums.values() for t in own}
            if len(places) > SUMS or any(len(place) != len(shape) for place in places.values()):
                continue
            for kept in (k for count in range(len(shape)) for k in combinations(range(len(shape)), count)):
                over = [str(d) for d in range(len(shape)) if d not in kept]
                where = f"dimension{'s' if len(over) > 1 else ''} {', '.join(over)}" if kept else "all entries"
                yield OVER.format(where), partial(_summed, trial, name, sums, _Places(named, places, kept))


def _sums(calls: Sequence[Call], keys: Mapping[Node, int]) -> dict[Call, list[Node]]:
    """The terms of each sum of terms that are written alike, of the largest such ones."""
    found: dict[Call, list[Node]] = {}
    for call in calls:
        if call.function == syntax.ADD:
            terms = [t for a in call.arguments for t in (found[a] if isinstance(a, Call) and a in found else [a])]
            if len({keys[t] for t in terms}) == 1 and not isinstance(terms[0], Constant):
                found[call] = terms
    inner = {a for call in found for a in call.arguments if a in found}
    return {call: terms for call, terms in found.items() if call not in inner}


def _named(trial: Trial, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The indices of the variables of tensors that have a shape."""
    families = [n for n, s in trial.trees.shapes.items() if tuple(s) == shape]
    families += [upstream(o) for o in trial.trees.outputs if result(o) in families]
    return {v.name: place for f in families for v, place in zip(family(f, shape), np.ndindex(shape), strict=True)}


def _place(nodes: Sequence[Node], named: Mapping[str, tuple[int, ...]]) -> list[int | None]:
    """Where some terms stand along each dimension, None where they are made of several places; nothing where of none."""
    own = [named[n.name] for node in nodes for n in walk(node) if isinstance(n, Variable) and n.name in named]
    return [along.pop() if len(along) == 1 else None for along in map(set, zip(*own, strict=True))]


@dataclass(frozen=True)
class _Places:
    """Where terms stand, and in which dimensions they have to stand where their sum is used."""

    named: Mapping[str, tuple[int, ...]]
    terms: Mapping[Node, Sequence[int | None]]
    kept: Sequence[int]

    def beside(self, nodes: Sequence[Node]) -> list[Node]:
        """The terms that stand where some other nodes do; none where that isn't known."""
        place = _place(nodes, self.named) if self.kept else []
        if any(d >= len(place) or place[d] is None for d in self.kept):
            return []
        return [term for term, own in self.terms.items() if all(own[d] == place[d] for d in self.kept)]


def _summed(trial: Trial, name: str, sums: Mapping[Call, Sequence[Node]], places: _Places) -> Floats:
    """The gradient as it is, where it would be exact with the terms in each sum that stand where it is used; else nothing."""
    calls, _ = trial.written(name)
    carried: dict[Node, Call] = {}
    """What is made of one sum, and of constants: used where that sum is."""
    for call in calls:
        of = [a for a in call.arguments if not isinstance(a, Constant)]
        if call in sums or (len(of) == 1 and of[0] in carried):
            carried[call] = call if call in sums else carried[of[0]]

    def put(node: Node, beside: Sequence[Node]) -> Node:
        terms = places.beside(beside)
        if not terms:
            raise LookupError
        old = carried[node]
        total = reduce(lambda x, y: Call(syntax.ADD, (x, y)), terms)
        mean = Call(syntax.DIV, (total, Constant(len(sums[old]))))
        return rebuilt(
            node, lambda c: total if c == old else Call(syntax.DIV, (total, Constant(len(terms)))) if c == mean else c
        )

    def used(call: Call) -> Node:
        beside = [a for a in call.arguments if a not in carried]
        if call in carried or len(beside) == len(call.arguments):
            return call
        return Call(call.function, tuple(put(a, beside) if a in carried else a for a in call.arguments))

    def changed(there: slice) -> list[Node]:
        pairs = zip(trial.trees.gradients[name][there], trial.family(name)[there], strict=True)
        return [put(node, [entry]) if node in carried else rebuilt(node, used) for node, entry in pairs]

    try:
        return trial.torch[name] if exact_where(trial, name, changed) else np.zeros(0)
    except LookupError:
        return np.zeros(0)
