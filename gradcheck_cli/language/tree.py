"""The formula as it was written: three kinds of node. Operators are functions too, so that one walk serves all.

Nodes are immutable and hashable; equal subtrees compare equal, which is what lets `algebra.program` share them. What is written
twice is two nodes all the same, and one node that is used twice is written once: torch runs it so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradcheck_cli.language import syntax


@dataclass(frozen=True, slots=True)
class Constant:
    """A number as Python reads it: an int, the double of a decimal literal, or a truth value; or the literal of a setting
    (`language.settings`)."""

    value: Any
    position: int = field(default=0, compare=False)

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def __eq__(self, other: object) -> bool:
        # 1, 1.0 and True are equal in Python; they are different constants here.
        return isinstance(other, Constant) and type(other.value) is type(self.value) and other.value == self.value


@dataclass(frozen=True, slots=True)
class Variable:
    """A free name: an input, or an earlier stage of a chain."""

    name: str
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """`function` is the name of a row of `language.functions.TABLE`; operators, comparisons and `pi` are rows too."""

    function: str
    arguments: tuple[Node, ...]
    position: int = field(default=0, compare=False)
    _hash: int = field(default=0, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.function, self.arguments)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Call) and self._hash == other._hash and _equal(self, other))


def _equal(x: Node, y: Node) -> bool:
    """Equality without recursion: trees may be thousands of calls deep, and share subtrees."""
    seen: set[tuple[int, int]] = set()
    stack = [(x, y)]
    while stack:
        x, y = stack.pop()
        if x is y or (id(x), id(y)) in seen:
            continue
        if isinstance(x, Call) and isinstance(y, Call):
            if x._hash != y._hash or x.function != y.function or len(x.arguments) != len(y.arguments):
                return False
            seen.add((id(x), id(y)))
            stack.extend(zip(x.arguments, y.arguments, strict=True))
        elif x != y:
            return False
    return True


Node = Constant | Variable | Call


def walk(*nodes: Node) -> Iterator[Node]:
    """Every distinct subtree once, arguments before the call that uses them."""
    return _walk(nodes, lambda item: item)


def occurrences(*nodes: Node) -> Iterator[Node]:
    """Every node once, arguments before the call that uses them: of equal subtrees, each that is written."""
    return _walk(nodes, id)


def _walk(nodes: Sequence[Node], key: Callable[[Node], Any]) -> Iterator[Node]:
    seen: set[Any] = set()
    stack: list[tuple[Node, bool]] = [(node, False) for node in reversed(nodes)]
    while stack:
        item, expanded = stack.pop()
        if key(item) in seen:
            continue
        if isinstance(item, Call) and not expanded:
            stack.append((item, True))
            stack.extend((argument, False) for argument in reversed(item.arguments))
            continue
        seen.add(key(item))
        yield item


def variables(node: Node) -> tuple[str, ...]:
    """The free names in order of first appearance."""
    return tuple(dict.fromkeys(n.name for n in walk(node) if isinstance(n, Variable)))


def substitute(node: Node, values: Mapping[str, Node]) -> Node:
    """`node` with every variable in `values` replaced; shared subtrees stay shared, and those written twice stay two."""
    done: dict[int, Node] = {}
    for item in occurrences(node):
        match item:
            case Variable(name=name, position=position):
                value = values.get(name, item)
                done[id(item)] = Variable(value.name, position) if isinstance(value, Variable) else value
            case Call(function=function, arguments=arguments):
                done[id(item)] = Call(function, tuple(done[id(a)] for a in arguments), item.position)
            case _:
                done[id(item)] = item
    return done[id(node)]


def rebuilt(tree: Node, change: Callable[[Call], Node]) -> Node:
    """The tree changed from its leaves up: each call is handed over with its arguments as they have become."""
    done: dict[Node, Node] = {}
    for item in walk(tree):
        done[item] = change(Call(item.function, tuple(done[a] for a in item.arguments))) if isinstance(item, Call) else item
    return done[tree]


def indicator(condition: Node, position: int = 0) -> Node:
    """A condition as a number: 1 where it holds, 0 elsewhere."""
    return Call(syntax.WHERE, (condition, Constant(1, position), Constant(0, position)), position)


def unified(nodes: Sequence[Node]) -> list[Node]:
    """The trees with one object in the place of all equal subtrees, so that none is compared with another part by part."""
    known: dict[Node, Node] = {}
    done: dict[int, Node] = {}
    for item in occurrences(*nodes):
        same = (
            Call(item.function, tuple(done[id(a)] for a in item.arguments), item.position) if isinstance(item, Call) else item
        )
        done[id(item)] = known.setdefault(same, same)
    return [done[id(node)] for node in nodes]


def written_size(node: Node) -> int:
    """The number of nodes if nothing were shared: the length of the formula as text."""
    sizes: dict[Node, int] = {}
    for item in walk(node):
        sizes[item] = 1 + sum(sizes[a] for a in item.arguments) if isinstance(item, Call) else 1
    return sizes[node]


def canonical(tree: Node, inputs: Sequence[str]) -> Node:
    """The tree with its inputs numbered, so that equal stages of a chain are derived and compiled once."""
    return substitute(tree, {name: Variable(f"_{i}") for i, name in enumerate(inputs)})
