"""What a command asks, entry by entry: derivatives and claims in the names of numbers, once the shapes of inputs are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from gradcheck_cli.errors import InputError
from gradcheck_cli.formulas.problem import MAX_ORDER, Claim, Question, Task
from gradcheck_cli.language import syntax
from gradcheck_cli.language.chain import Chain, Stage, derivative_name
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import assignment, parse_stage
from gradcheck_cli.language.points import FOREIGN, order_of, split
from gradcheck_cli.language.spaces import OfParts, PointSpec, Shape, entry_names
from gradcheck_cli.language.tree import Call, Node, Variable, variables, walk

if TYPE_CHECKING:
    from gradcheck_cli.formulas.lowering import Lowered

MAX_DERIVATIVES = 1_000
"""Derivatives of one output of an order above 1; entries of a Jacobian that is listed with its zeros."""
MAX_ENTRIES_CHECKED = 50_000
"""Entries of a Jacobian that don't have to be 0."""

Wrt = tuple[str, ...]

Claimed = str | float | Sequence[str | float] | Mapping[str, str | float]
"""What a user states: a text, several, or a formula for each name."""

Entries = Mapping[str, Sequence[str]]
"""The entries of every input and stage: `x[0]`, `x[1]`, or `x` itself. Labels aren't among them."""


def every(names: Iterable[str], entries: Entries) -> list[str]:
    return [entry for name in names for entry in entries.get(name, ())]


def _entries_of(text: str, entries: Sequence[str]) -> str:
    """The names in a text, of an array its first entry."""
    pieces = ["".join(piece.split()) for piece, _ in split(text, 0)]
    return ",".join(next((entry for entry in entries if entry.partition("[")[0] == piece), piece) for piece in pieces)


def wrt_names(wrt: str | Sequence[str], entries: Sequence[str], what: str) -> Wrt:
    """The inputs, or entries of inputs, in "x,y", "x[0],y[1]" or ["x", "y"]; `what`: what is done with the derivatives.
    InputError for anything else."""
    text = order_of(wrt)
    names: list[str] = []
    for piece, offset in split(text, 0):
        name, at = "".join(piece.split()), offset + len(piece) - len(piece.lstrip())
        if name not in entries:
            message = f"{name!r} is not an input (there is {listed(entries)})" if name else "a name is missing"
            if any(entry.startswith(f"{name}[") for entry in entries):
                message = f'{name!r} is an array: name entries of it, --wrt "{_entries_of(text, entries)}"'
            raise InputError(message, text, min(at, len(text)))
        names.append(name)
    if len(names) > MAX_ORDER:
        raise InputError(f"derivatives up to order {MAX_ORDER} are {what}, not {len(names)}", text, 0)
    return tuple(names)


def refuse_foreign(chains: Iterable[Chain], said: Container[str], places: str) -> None:
    """InputError for SymPy's constants: they are inputs only where the user speaks of them so, in one of the `places`."""
    for inputs, stage in ((chain.inputs, stage) for chain in chains for stage in chain.stages):
        for node in walk(stage.tree):
            name = node.name if isinstance(node, Variable) else ""
            if name in FOREIGN and name in inputs and name not in said:
                message = f"{name!r} is an input only where {places} names it; {FOREIGN[name]}"
                raise InputError(message, stage.source, node.position)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command asks of each output, once shapes are known. `claimable`: what may be claimed, if not the first derivatives
    among that. `depending`: derivatives by what the output can't depend on are left out."""

    derivatives: Callable[[Entries], list[Wrt]]
    claimable: Callable[[Entries], list[Wrt]] | None = None
    depending: bool = False


def task_of(chain: Chain, points: PointSpec, asked: Asked) -> Task:
    """What is asked of one chain, entry by entry where it is on arrays."""
    if not chain.on_arrays and not any(points.shapes[name] for name in chain.inputs):
        entries = {name: (name,) for name in (*chain.inputs, *(s.name for s in chain.stages))}
        return Task(chain, (Question(chain, tuple(asked.derivatives(entries))),))
    from gradcheck_cli.formulas.lowering import lower  # NumPy, which scalar chains do without up to here

    lowered = lower(chain, points.shapes)
    derivatives = asked.derivatives({name: entry_names(name, shape) for name, shape in lowered.shapes.items()})
    singles = {d[0]: place for place, d in enumerate(derivatives) if len(d) == 1}
    longer = [place for place, d in enumerate(derivatives) if len(d) > 1]
    zeros = not asked.depending and len(singles) * len(lowered.outputs) <= MAX_DERIVATIVES
    questions = []
    count = 0
    for output in lowered.outputs:
        scalar = lowered.entry(output)
        known = {*scalar.inputs, *(stage.name for stage in scalar.stages)}
        depends = [singles[name] for name in known & singles.keys()]
        mine = derivatives if zeros else [derivatives[place] for place in sorted(longer + depends)]
        questions.append(Question(scalar, tuple(mine)))
        count += len(mine)
        if count > MAX_ENTRIES_CHECKED:
            raise InputError(f"more than {MAX_ENTRIES_CHECKED:,} derivatives are too many: index the output, or the inputs")
    return Task(chain, tuple(questions), {**points.shapes, **lowered.shapes}, unlisted=not zeros)


def with_labels(chains: Sequence[Chain], points: PointSpec) -> tuple[list[Chain], PointSpec]:
    """Inputs that are used as labels (of cross_entropy), or as weights, are constants: their values take their place."""
    named = dict.fromkeys(name for chain in chains for name in _labels(chain, points.shapes))
    labels = {name: points.constant(name) for name in named}
    if not labels:
        return list(chains), points
    for chain in chains:
        if not set(chain.inputs) - labels.keys():
            raise InputError("there is no variable to differentiate by: labels are whole numbers", chain.stages[0].source, 0)
    return [chain.substituted(labels) for chain in chains], points.without(labels)


def _labels(chain: Chain, shapes: Mapping[str, Shape]) -> Iterator[str]:
    """The inputs that labels are made of, or that are weights: what may be probabilities too is that in the shape of what it
    belongs to."""
    for i, stage in enumerate(chain.stages):
        for node in (n for n in walk(stage.tree) if isinstance(n, Call)):
            for parameter, argument in TABLE[node.function].bind(node.arguments):
                names = [name for name in variables(argument) if name in shapes]
                if parameter.kind == "labels" or (parameter.kind == "weights" and isinstance(argument, Variable)):
                    yield from names
                elif parameter.kind == "targets" and names:
                    target, scores = (_shape(tree, chain, i, shapes) for tree in (argument, node.arguments[0]))
                    yield from names if target != scores else ()


def _shape(tree: Node, chain: Chain, i: int, shapes: Mapping[str, Shape]) -> Shape:
    """The shape of a formula in the inputs and the first i stages."""
    from gradcheck_cli.formulas.lowering import lower  # as above

    if isinstance(tree, Variable) and tree.name in shapes:
        return shapes[tree.name]
    stage = Stage("scores of it", "", tree, variables(tree), chain.stages[i].source)
    return lower(Chain(chain.inputs, (*chain.stages[:i], stage)), shapes).shapes[stage.name]


def claims_of(given: Claimed, tasks: Sequence[Task], asked: Asked) -> tuple[Claim, ...]:
    """`x=formula` or `dy/dx=formula`, several of them with commas, or the formula alone where only one derivative can be meant.

    Of arrays: `x=W` claims all derivatives of the output by x at once. The formula has the output's shape, followed by that of
    x, or a shape that is broadcast to it; `x[0]=...` is about one entry. Where each entry of the output depends on its own
    entry of x alone, a formula of that shape claims their derivatives, as `cos(x)` does for sin(x): the others are 0.
    """
    every = given.values() if isinstance(given, Mapping) else given if isinstance(given, list | tuple) else [given]
    if any(callable(one) and not hasattr(one, "free_symbols") for one in every):
        raise InputError("a claim is a formula, as a text such as 'x = 2*x', not a function: check_function checks functions")
    if isinstance(given, Mapping):
        texts = [f"{name} = {formula}" for name, formula in given.items()]
    else:
        texts = list(map(str, given)) if isinstance(given, list | tuple) else [str(given)]
    return tuple(claim for text in texts for start, end in _pieces(text) for claim in _claims(text, start, end, tasks, asked))


def _pieces(text: str) -> list[tuple[int, int]]:
    """Where the claims stand in a text: a comma is between two where a name follows it."""
    found: list[tuple[int, int]] = []
    for piece, start in split(text, 0):
        if found and assignment(piece) is None:
            found[-1] = (found[-1][0], start + len(piece))
        else:
            found.append((start, start + len(piece)))
    return found


_QUANTITY = re.compile(r"\s*(?:d|∂)(?:\^?\d+)?\s*(\w*)\s*/\s*((?:(?:d|∂)\s*\w+(?:\[[\d,\s]*\])?(?:\s*(?:\*\*|\^)\s*\d+)?\s*)+)")
"""`dy/dx`, `d2f/dxdy`, `d/dx`, `d2f/dx2`."""


def _quantities(chain: Chain, meant: Iterable[Wrt]) -> dict[str, Wrt]:
    """What stands behind the slash of each derivative: dxdy, and dx2 of a second one."""
    found: dict[str, Wrt] = {}
    for wrt in meant:
        found["".join(f"d{name}" for name in wrt)] = wrt
        if len(wrt) > 1 and len(set(wrt)) == 1:
            found[f"d{wrt[0]}{len(wrt)}"] = wrt
    return found


def _claims(text: str, start: int, end: int, tasks: Sequence[Task], asked: Asked) -> tuple[Claim, ...]:
    """Those of one piece of a text."""
    task, *others = tasks
    chain, piece = task.chain, text[start:end]
    start, at = start + len(piece) - len(piece.lstrip()), start
    if others:
        raise InputError("a claim is about one output: check the expressions one by one", text, start)
    quotient = _QUANTITY.fullmatch(piece[: assignment(piece) or 0])
    cut = 0 if quotient is None else (assignment(piece) or 0) + 1
    units = frozenset({"I"} - {*chain.inputs, *(s.name for s in chain.stages)}) if task.complex else None
    name, tree = parse_stage(piece[cut:], text, at + cut, entry=True, imaginary=units)
    entries = {n: [n] for n in chain.inputs} | {s.name: [s.name] for s in chain.stages}
    if task.shapes is not None:
        entries = {n: entry_names(n, shape) for n, shape in task.shapes.items()}
    claimable = (asked.claimable or asked.derivatives)(entries)
    if asked.claimable is None:
        claimable = [d for d in claimable if len(d) == 1] or claimable
    meant = {(n,): [(e,) for e in found] for n, found in entries.items()} | {d: [d] for d in claimable}
    possible = [d for d, found in meant.items() if set(found) <= set(claimable)]
    if quotient is not None:
        wrt = _quotient(quotient, chain, possible, text, start)
    elif name is not None:
        wrt = (name,)
    else:
        others_of = [d for d in possible if d in claimable and d != (chain.output,)]
        whole = [d for d in possible if d[0] in entries and d != (chain.output,)]
        single = next((found for found in (others_of, whole, claimable) if len(found) == 1), [("?",)])
        wrt = single[0]
    if wrt not in possible:
        if len(claimable) == 1:
            message = f"give the formula alone: it is claimed to be {derivative_name(chain.output, claimable[0])}"
        else:
            what = "say which derivative this is" if name is None else f"nothing is differentiated by {name!r}"
            named = dict.fromkeys(d[0] for d in claimable if len(d) == 1)
            quantities = dict.fromkeys(derivative_name(chain.output, d) for d in claimable)
            message = f"{what}: name=formula, where name is one of {listed(named or quantities)}"
        raise InputError(message, text, start)
    allowed = list(entries)
    for node in walk(tree):
        if isinstance(node, Variable) and node.name not in allowed:
            hint = f"; {FOREIGN[node.name]}" if node.name in FOREIGN else ""
            message = f"{node.name!r} is neither an input nor a stage (there is {listed(allowed)}){hint}"
            raise InputError(message, text, node.position)
    if task.shapes is None:
        return (Claim(piece.strip(), chain.output, wrt, tree),)
    if task.complex:
        return _complex_claims(piece.strip(), tree, task, wrt)
    return _entry_claims(text, tree, task, meant[wrt], task.shapes.get(wrt[0], ()) if len(wrt) == 1 else ())


def _quotient(found: re.Match[str], chain: Chain, possible: Sequence[Wrt], text: str, start: int) -> Wrt:
    """The derivative that `dy/dx` names. Any name stands for the output that isn't something else's."""
    of, below = found[1], re.sub(r"\s|\*\*|\^", "", found[2]).replace("∂", "d")
    known = _quantities(chain, possible)
    if of != chain.output and of in (*chain.inputs, *(stage.name for stage in chain.stages)):
        raise InputError(f"the output is called {chain.output!r}: a claim is of d{chain.output}/...", text, start)
    if below not in known:
        names = [derivative_name(chain.output, wrt) for wrt in known.values()]
        raise InputError(f"{found[0].strip()!r} is not asked for; there is {listed(names)}", text, start)
    return known[below]


def _complex_claims(text: str, tree: Node, task: Task, wrt: Wrt) -> tuple[Claim, ...]:
    """What a claim about complex numbers is of the parts: dy/dz of a complex output, which has one where it is holomorphic (the
    Cauchy-Riemann equations); of a real output torch's gradient, whose parts are the derivatives by the parts."""
    from gradcheck_cli.algebra.parts import parts
    from gradcheck_cli.formulas.lowering import lower

    assert task.shapes is not None
    y, shapes = task.chain.output, task.shapes
    arrays = {name for name, shape in shapes.items() if (shape.whole if isinstance(shape, OfParts) else shape)}
    if len(wrt) > 1 or wrt[0] not in shapes or arrays & {*variables(tree), *wrt, y}:
        raise InputError("a claim about complex numbers is of a first derivative of one number by another", text, 0)
    real, imag = parts(tree, [name for name, shape in shapes.items() if isinstance(shape, OfParts)]).pair
    by, turned = entry_names(wrt[0], shapes[wrt[0]]), Call(syntax.NEG, (imag,))
    rows = [[real, turned], [imag, real]] if isinstance(shapes[y], OfParts) else [[real, imag]]
    lowered = lower(task.chain, shapes)
    return tuple(
        Claim(text, of, (name,), lowered.written(formula, of))
        for of, row in zip(entry_names(y, shapes[y]), rows, strict=True)
        for name, formula in zip(by, row, strict=False)
    )


def _entry_claims(text: str, tree: Node, task: Task, meant: Sequence[Wrt], shape: Shape) -> tuple[Claim, ...]:
    """One claim for each entry of the output and each of the derivatives that are meant."""
    from gradcheck_cli.formulas.lowering import lower
    from gradcheck_cli.language.arrays.evaluation import entries, spread, variables_of
    from gradcheck_cli.language.printer import show

    assert task.shapes is not None
    found = entries(tree, {name: variables_of(name, s) for name, s in task.shapes.items()}, text)
    lowered = lower(task.chain, task.shapes)
    outputs = task.shapes[task.chain.output]
    pairs = list(product(entry_names(task.chain.output, outputs), meant))
    diagonal = found.shape in ((), shape) and _diagonal(lowered, meant) if shape and shape == outputs else False
    try:
        formulas = spread(found, shape if diagonal else (*outputs, *shape))
    except ValueError:
        message = f"the formula has shape {found.shape}; the output has {outputs}, and what it is differentiated by {shape}"
        raise InputError(f"{message}: shapes that don't fit", text, 0) from None
    return tuple(
        Claim(f"{wrt[0]}={show(f, 500) or text}", of, wrt, lowered.written(f, of))
        for (of, wrt), f in zip(pairs[:: len(meant) + 1] if diagonal else pairs, formulas, strict=True)
    )


def _diagonal(lowered: Lowered, meant: Sequence[Wrt]) -> bool:
    """Whether each entry of the output depends on the entry at its own place alone, of those that are differentiated by."""
    names = {wrt[0] for wrt in meant}
    for output, wrt in zip(lowered.outputs, meant, strict=True):
        chain = lowered.entry(output)
        if not names & {*chain.inputs, *(stage.name for stage in chain.stages)} <= {wrt[0]}:
            return False
    return True


def listed(names: Iterable[str]) -> str:
    """The names, cut where they are many."""
    names = list(names)
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
