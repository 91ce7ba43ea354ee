"""A long formula as a chain of short ones, as autograd sees it: what a reader can follow is a few operations long."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from gradcheck_cli.language import syntax
from gradcheck_cli.language.chain import Chain, Stage
from gradcheck_cli.language.parser import is_truth
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Node, Variable, variables, walk

LONG = 60
"""Characters from which on a formula is cut."""

PIECE = 8
"""Nodes from which on a part of it gets a name."""


def cut(chain: Chain) -> Chain:
    """An equal chain without a long formula. Branches of a `where` stay whole: the one that isn't chosen may have no value."""
    taken = {*chain.inputs, *(s.name for s in chain.stages)}
    names = (name for name in (f"t{i}" for i in count(1)) if name not in taken)
    return Chain(chain.inputs, tuple(piece for stage in chain.stages for piece in _pieces(stage, names)))


def _pieces(stage: Stage, names: Iterator[str]) -> Iterator[Stage]:
    if show(stage.tree, LONG) is not None:
        yield stage
        return
    order = list(walk(stage.tree))
    whole: set[Node] = set()
    for item in reversed(order):
        if isinstance(item, Call) and (item in whole or item.function == syntax.WHERE):
            whole.update(item.arguments)
    done: dict[Node, Node] = {}
    sizes: dict[Node, int] = {}
    for item in order:
        done[item], sizes[item] = item, 1
        if not isinstance(item, Call):
            continue
        tree = done[item] = Call(item.function, tuple(done[a] for a in item.arguments))
        sizes[item] = 1 + sum(sizes[a] for a in item.arguments)
        named = variables(tree)
        if sizes[item] >= PIECE and named and item not in whole and not is_truth(item) and item != stage.tree:
            name = next(names)
            yield Stage(name, show(tree) or "", tree, named)
            done[item], sizes[item] = Variable(name), 1
    final = done[stage.tree]
    yield Stage(stage.name, stage.expression, final, variables(final), stage.source)
