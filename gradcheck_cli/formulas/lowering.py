"""Chains on arrays, or of complex numbers, as scalar chains, and long formulas as many short stages.

A stage whose value has the shape (2,) becomes the stages `z[0]` and `z[1]`, a complex one `z.real` and `z.imag`; an input
likewise. Everything that knows scalar chains then applies to one entry of the output at a time; only torch runs the chain as
typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from gradcheck_cli.algebra.parts import Parts, named, parts_of
from gradcheck_cli.errors import InputError
from gradcheck_cli.language import syntax
from gradcheck_cli.language.arrays.cells import MAX_ENTRY
from gradcheck_cli.language.arrays.evaluation import entries, variables_of
from gradcheck_cli.language.chain import Chain, Stage
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import is_truth
from gradcheck_cli.language.spaces import OfParts, Shape, entry_names
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, variables, walk, written_size


@dataclass(frozen=True)
class Lowered:
    """A chain entry by entry: `shapes` of all inputs and stages, `stages` under their entries' names, in order."""

    chain: Chain
    shapes: Mapping[str, Shape]
    stages: Mapping[str, Stage]

    def names(self, name: str) -> list[str]:
        """The entries of an input or a stage."""
        return entry_names(name, self.shapes[name])

    @cached_property
    def inputs(self) -> list[str]:
        return [entry for name in self.chain.inputs for entry in self.names(name)]

    @property
    def outputs(self) -> list[str]:
        return self.names(self.chain.output)

    def entry(self, output: str) -> Chain:
        """The scalar chain of one entry of the output: what it depends on, and nothing else."""
        used: dict[str, None] = {}
        waiting = [output]
        while waiting:
            name = waiting.pop()
            if name not in used:
                used[name] = None
                waiting.extend(self.stages[name].inputs if name in self.stages else ())
        in_order = sorted(used, key=self._places.__getitem__)
        inputs = tuple(name for name in in_order if name not in self.stages)
        return Chain(inputs or (self.inputs[0],), tuple(self.stages[name] for name in in_order[len(inputs) :]))

    @cached_property
    def _places(self) -> dict[str, int]:
        """Where inputs and stages stand, all inputs first."""
        return {name: place for place, name in enumerate((*self.inputs, *self.stages))}

    def written(self, tree: Node, output: str) -> Node:
        """A formula in the names of `entry(output)`: of other stages, in what they are made of."""
        names = {stage.name for stage in self.entry(output).stages}
        while others := {name: self.stages[name].tree for name in variables(tree) if name in self.stages and name not in names}:
            tree = substitute(tree, others)
        return tree


def lower(chain: Chain, shapes: Mapping[str, Shape]) -> Lowered:
    """The chain entry by entry, its inputs having these shapes.

    Raises InputError where shapes don't fit, or the result is too large to be followed.
    """
    found: dict[str, Shape] = {name: shapes[name] for name in chain.inputs}
    values = {name: variables_of(name, _whole(shape)) for name, shape in found.items()}
    complexes = {entry: parts for name, shape in found.items() for entry, parts in _parts(name, shape)}
    stages: dict[str, Stage] = {}
    for stage in chain.stages:
        trees = entries(stage.tree, values, stage.source)
        shape: Shape = tuple(map(int, trees.shape))
        listed: list[Node] = list(trees.reshape(-1))
        if complexes or any(isinstance(n, Constant) and isinstance(n.value, complex) for n in walk(stage.tree)):
            shape, listed = _in_parts(stage, shape, listed, complexes)
        for name, tree in zip(entry_names(stage.name, shape), listed, strict=True):
            size = sum(1 for _ in walk(tree))
            if size > MAX_ENTRY:
                message = f"an entry of {stage.name} takes {size:,} operations; at most {MAX_ENTRY:,} are followed"
                raise InputError(f"{message}: check a Python function with `gradcheck function` instead", stage.source)
            stages[name] = Stage(name, stage.expression, tree, variables(tree), stage.source)
        found[stage.name] = shape
        values[stage.name] = variables_of(stage.name, _whole(shape))
        complexes |= dict(_parts(stage.name, shape))
    return Lowered(chain, found, stages)


def _whole(shape: Shape) -> Shape:
    """The shape that a formula sees."""
    return shape.whole if isinstance(shape, OfParts) else shape


def _parts(name: str, shape: Shape) -> Iterator[tuple[str, Parts]]:
    """The entries of what is complex, and what their parts are called."""
    if isinstance(shape, OfParts):
        called = iter(entry_names(name, shape))
        yield from zip(entry_names(name, shape.whole), map(named, called, called), strict=True)


def _in_parts(stage: Stage, shape: Shape, trees: Sequence[Node], complexes: Mapping[str, Parts]) -> tuple[Shape, list[Node]]:
    """The formulas of real numbers that these are; and the shape of the stage. InputError where one has no meaning."""
    for node in walk(stage.tree):
        row = TABLE[node.function] if isinstance(node, Call) else None
        if isinstance(node, Call) and row and row.arrays and not (row.array or row.complex):
            message = f"{node.function} of complex numbers isn't followed: check a Python function with `gradcheck function`"
            raise InputError(message, stage.source, node.position)
    try:
        found = [parts_of(tree, complexes) for tree in trees]
    except NotImplementedError as problem:
        raise InputError(str(problem), stage.source, stage.tree.position) from None
    if all(p.imag is None for p in found):
        return shape, [p.real for p in found]
    return OfParts.of(shape), [part for p in found for part in p.pair]


LONG = 40
"""Nodes, written out, of a formula that is differentiated as a whole."""


def refine(chain: Chain) -> Chain:
    """An equal chain in which no stage is long: a long formula is cut into its operations.

    SymPy's time for a derivative grows with the formula, once for each variable. Short stages are alike, hence derived once,
    and their derivatives are accumulated in reverse. Branches of a `where` stay whole: the one not chosen may have no value.
    """
    if all(written_size(stage.tree) <= LONG for stage in chain.stages):
        return chain
    stages: list[Stage] = []
    for stage in chain.stages:
        stages += _cut(stage) if written_size(stage.tree) > LONG else [stage]
    return Chain(chain.inputs, tuple(stages))


def _cut(stage: Stage) -> Sequence[Stage]:
    whole: set[Node] = set()
    order = list(walk(stage.tree))
    for item in reversed(order):
        if isinstance(item, Call) and (item in whole or item.function == syntax.WHERE):
            whole.update(item.arguments if item in whole else item.arguments[1:])
    done: dict[Node, Node] = {}
    pieces: list[Stage] = []
    for item in order:
        done[item] = item
        if not isinstance(item, Call):
            continue
        tree = done[item] = Call(item.function, tuple(done[a] for a in item.arguments), item.position)
        names = variables(tree)
        if names and item not in whole and not is_truth(item) and item != stage.tree:
            piece = Stage(f"{stage.name}~{len(pieces)}", "", tree, names)
            pieces.append(piece)
            done[item] = Variable(piece.name, item.position)
    final = done[stage.tree]
    return [*pieces, Stage(stage.name, stage.expression, final, variables(final), stage.source)]
