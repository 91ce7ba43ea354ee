"""What a command asks, entry by entry: derivatives and claims in the names of numbers, once the shapes of inputs are known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from gradcheck_cli.errors import InputError
from gradcheck_cli.formulas.problem import Claim, Question, Task
from gradcheck_cli.language.chain import Chain, derivative_name
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import parse_stage
from gradcheck_cli.language.points import FOREIGN
from gradcheck_cli.language.spaces import PointSpec, Shape, entry_names
from gradcheck_cli.language.tree import Call, Node, Variable, walk

MAX_DERIVATIVES = 1_000
"""Derivatives of one output of an order above 1; entries of a Jacobian that is listed with its zeros."""
MAX_ENTRIES_CHECKED = 50_000
"""Entries of a Jacobian that don't have to be 0."""

Wrt = tuple[str, ...]

Entries = Mapping[str, Sequence[str]]
"""The entries of every input and stage: `x[0]`, `x[1]`, or `x` itself. Labels aren't among them."""


def every(names: Iterable[str], entries: Entries) -> list[str]:
    return [entry for name in names for entry in entries.get(name, ())]


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
    singles = [d for d in derivatives if len(d) == 1]
    zeros = not asked.depending and len(singles) * len(lowered.outputs) <= MAX_DERIVATIVES
    questions = []
    count = 0
    for output in lowered.outputs:
        scalar = lowered.entry(output)
        known = {*scalar.inputs, *(stage.name for stage in scalar.stages)}
        mine = [d for d in derivatives if zeros or len(d) > 1 or d[0] in known]
        questions.append(Question(scalar, tuple(mine)))
        count += len(mine)
        if count > MAX_ENTRIES_CHECKED:
            raise InputError(f"more than {MAX_ENTRIES_CHECKED:,} derivatives are too many: index the output, or the inputs")
    return Task(chain, tuple(questions), lowered.shapes, unlisted=not zeros)


def with_labels(chains: Sequence[Chain], points: PointSpec) -> tuple[list[Chain], PointSpec]:
    """Inputs that are used as labels (the targets of cross_entropy) are constants: their values take their place."""
    labels: dict[str, Node] = {}
    for node in (n for chain in chains for stage in chain.stages for n in walk(stage.tree) if isinstance(n, Call)):
        for parameter, argument in TABLE[node.function].bind(node.arguments):
            if parameter.kind == "labels" and isinstance(argument, Variable) and argument.name in points.shapes:
                labels[argument.name] = points.constant(argument.name)
    if not labels:
        return list(chains), points
    for chain in chains:
        if not set(chain.inputs) - labels.keys():
            raise InputError("there is no variable to differentiate by: labels are whole numbers", chain.stages[0].source, 0)
    return [chain.substituted(labels) for chain in chains], points.without(labels)


def claims_of(text: str, tasks: Sequence[Task], asked: Asked) -> tuple[Claim, ...]:
    """`name=formula`, or the formula alone where only one derivative can be meant.

    Of arrays: `x=W` claims all derivatives of the output by x at once. The formula has the output's shape, followed by that of
    x, or a shape that is broadcast to it; `x[0]=...` is about one entry.
    """
    name, tree = parse_stage(text, entry=True)
    task, *others = tasks
    chain, start = task.chain, len(text) - len(text.lstrip())
    if others:
        raise InputError("a claim is about one output: check the expressions one by one", text, start)
    entries = {n: [n] for n in chain.inputs} | {s.name: [s.name] for s in chain.stages}
    if task.shapes is not None:
        entries = {n: entry_names(n, shape) for n, shape in task.shapes.items()}
    claimable = (asked.claimable or asked.derivatives)(entries)
    if asked.claimable is None:
        claimable = [d for d in claimable if len(d) == 1] or claimable
    meant = {(n,): [(e,) for e in found] for n, found in entries.items()} | {d: [d] for d in claimable}
    wrt = claimable[0] if name is None else (name,)
    if (name is None and len(claimable) > 1) or not set(meant.get(wrt, ["?"])) <= set(claimable):
        if len(claimable) == 1:
            message = f"give the formula alone: it is claimed to be {derivative_name(chain.output, claimable[0])}"
        else:
            what = "say which derivative this is" if name is None else f"nothing is differentiated by {name!r}"
            named = dict.fromkeys(d[0] for d in claimable if len(d) == 1)
            message = f"{what}: name=formula, where name is one of {listed(named)}"
        raise InputError(message, text, start)
    allowed = list(entries)
    for node in walk(tree):
        if isinstance(node, Variable) and node.name not in allowed:
            hint = f"; {FOREIGN[node.name]}" if node.name in FOREIGN else ""
            message = f"{node.name!r} is neither an input nor a stage (there is {listed(allowed)}){hint}"
            raise InputError(message, text, node.position)
    if task.shapes is None:
        return (Claim(text, chain.output, wrt, tree),)
    return _entry_claims(text, tree, task, meant[wrt], task.shapes.get(wrt[0], ()) if len(wrt) == 1 else ())


def _entry_claims(text: str, tree: Node, task: Task, meant: Sequence[Wrt], shape: Shape) -> tuple[Claim, ...]:
    """One claim for each entry of the output and each of the derivatives that are meant."""
    from gradcheck_cli.formulas.lowering import lower
    from gradcheck_cli.language.arrays import entries, spread, variables_of
    from gradcheck_cli.language.printer import show

    assert task.shapes is not None
    found = entries(tree, {name: variables_of(name, s) for name, s in task.shapes.items()}, text)
    lowered = lower(task.chain, task.shapes)
    outputs = task.shapes[task.chain.output]
    try:
        formulas = spread(found, (*outputs, *shape))
    except ValueError:
        message = f"the formula has shape {found.shape}; the output has {outputs}, and what it is differentiated by {shape}"
        raise InputError(f"{message}: shapes that don't fit", text, 0) from None
    pairs = product(entry_names(task.chain.output, outputs), meant)
    return tuple(
        Claim(f"{wrt[0]}={show(f, 500) or text}", of, wrt, lowered.written(f, of))
        for (of, wrt), f in zip(pairs, formulas, strict=True)
    )


def listed(names: Iterable[str]) -> str:
    """The names, cut where they are many."""
    names = list(names)
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
