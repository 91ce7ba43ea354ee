"""Trees: equal by structure, shared when walked, and safe at any depth."""

from __future__ import annotations

import pytest

from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import (
    Call,
    Constant,
    Node,
    Variable,
    canonical,
    substitute,
    variables,
    walk,
    written_size,
)

X, Y = Variable("x"), Variable("y")


def test_constants_of_different_types_differ() -> None:
    """1, 1.0 and True are three constants (equal to Python), with three places in a set."""
    constants = [Constant(1), Constant(1.0), Constant(True)]
    assert all((a == b) == (a is b) for a in constants for b in constants)
    assert len(set(constants)) == 3
    assert Constant(1) != 1
    assert Constant(0.5) == Constant(0.5)


def test_positions_do_not_count() -> None:
    """Two nodes from different places of a text are equal, and hash alike."""
    for text in ("x*x", "sin(x) + sin(x)", "0.5 + 0.5"):
        left, right = parse(text).arguments  # type: ignore[union-attr]
        assert left.position != right.position
        assert left == right
        assert hash(left) == hash(right)


@pytest.mark.parametrize(
    ("one", "other"), [("x - y", "y - x"), ("x + y", "x - y"), ("sin(x)", "cos(x)"), ("x", "y"), ("1", "1.0")]
)
def test_different_trees_differ(one: str, other: str) -> None:
    """Function, order and kind of the arguments all count."""
    assert parse(one) != parse(other)


def test_walk_yields_each_subtree_once_arguments_first() -> None:
    """Equal subtrees come once, and never before what they are made of."""
    tree = parse("sin(x*y) + x*y + 1/sin(x*y)")
    seen: list[Node] = []
    for item in walk(tree):
        assert item not in seen
        if isinstance(item, Call):
            assert all(a in seen for a in item.arguments)
        seen.append(item)
    assert seen[-1] == tree
    assert len(seen) == 8  # x, y, x*y, sin, the inner sum, 1, the quotient, the sum
    assert seen[:2] == [X, Y]


def doubled(levels: int) -> Node:
    """x + x, that plus itself, and so on: 2**levels leaves as text."""
    tree: Node = X
    for _ in range(levels):
        tree = Call("add", (tree, tree))
    return tree


def test_sharing_keeps_work_linear() -> None:
    """A tree of 2**300 leaves is walked, substituted, renamed and measured in no time."""
    tree = doubled(300)
    assert sum(1 for _ in walk(tree)) == 301
    assert variables(tree) == ("x",)
    assert written_size(tree) == 2**301 - 1
    moved = substitute(tree, {"x": Call("sin", (Y,))})
    assert sum(1 for _ in walk(moved)) == 302
    assert variables(moved) == ("y",)
    assert sum(1 for _ in walk(canonical(tree, ["x"]))) == 301


@pytest.mark.slow(reason="a tree of 50,000 levels")
def test_depth_costs_no_recursion() -> None:
    """A tree of 50,000 levels is walked and substituted."""
    tree: Node = X
    for _ in range(50_000):
        tree = Call("neg", (tree,))
    assert written_size(tree) == 50_001
    assert variables(substitute(tree, {"x": Y})) == ("y",)


def test_variables_in_order_of_appearance() -> None:
    """Free names, each once, in the order in which a reader meets them; constants such as pi are none."""
    assert variables(parse("b*a + sin(c)*b - pi*e")) == ("b", "a", "c")
    assert variables(parse("2*pi")) == ()


def test_substitute_is_simultaneous() -> None:
    """Names are replaced at once: swapping two works, and what is put in is not searched again."""
    assert substitute(parse("x - y"), {"x": Y, "y": X}) == parse("y - x")
    assert substitute(parse("x**2"), {"x": parse("x + 1")}) == parse("(x + 1)**2")
    assert substitute(parse("x + z"), {"y": Constant(1)}) == parse("x + z")


def test_canonical_trees_of_equal_stages_are_equal() -> None:
    """Stages that differ in the names of their inputs only have one canonical tree; the order of inputs counts."""
    assert canonical(parse("sin(a)*b"), ["a", "b"]) == canonical(parse("sin(u)*v"), ["u", "v"])
    assert canonical(parse("sin(a)*b"), ["a", "b"]) != canonical(parse("sin(a)*b"), ["b", "a"])
    assert variables(canonical(parse("sin(a)*b"), ["a", "b"])) == ("_0", "_1")


def test_written_size_counts_what_is_read() -> None:
    """Every operator, name and number of the text counts, repeated ones too."""
    assert written_size(parse("x")) == 1
    assert written_size(parse("sin(x)*sin(x)")) == 5
    assert written_size(parse("where(x > 0, x, 2)")) == 6
