"""Arrays of trees: every row on arrays against a definition written apart from the table, and messages for what doesn't fit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from flint import arb, ctx
from mpmath import mp, mpf

from gradcheck_cli.algebra.balls import PLAIN
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.errors import InputError
from gradcheck_cli.language.arrays.evaluation import entries, variables_of
from gradcheck_cli.language.functions import ARRAYS, ROWS
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.printer import show
from tests.references import CASES, SHAPES, evaluate, numbers, places

each_case = pytest.mark.parametrize(("text", "reference"), [case[1:] for case in CASES], ids=[case[1] for case in CASES])


def lowered(text: str, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> Any:
    return entries(parse(text), {name: variables_of(name, shape) for name, shape in shapes.items()}, text)


def test_every_row_has_a_case() -> None:
    """No row on arrays is left out; a row is one exactly where a parameter is an array."""
    assert {case[0] for case in CASES} == {row.name for row in ARRAYS}
    assert all(row.arrays for row in ARRAYS)
    assert not any(row.arrays for row in ROWS)


@each_case
def test_entries_are_the_function(text: str, reference: Callable[..., Any]) -> None:
    """Every entry's tree has the value, to 50 digits, of a definition that is written apart from the table."""
    mp.dps = 60
    values = numbers()
    found, expected = lowered(text), evaluate(reference, values)
    assert found.shape == expected.shape
    named = {entry: values[name][place] for name in SHAPES for entry, place in places(name)}
    with ctx.workprec(220):
        point = [arb(float(v)) for v in named.values()]
        for tree, value in zip(found.flat, expected.flat, strict=True):
            (ball,) = Program([tree], list(named), PLAIN)(*point)
            assert abs(mpf(str(ball.mid().str(60, radius=False))) - value) < mpf(10) ** -50


@each_case
def test_entries_can_be_typed(text: str, reference: object) -> None:
    """The text of a tree on arrays parses to the same entries."""
    printed = show(parse(text))
    assert printed is not None
    assert [show(n) for n in lowered(printed).flat] == [show(n) for n in lowered(text).flat]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x + A[:, 0]", "shapes that don't fit: x has shape (3,), A[:, 0] has shape (2,)\n  x + A[:, 0]\n      ^"),
        ("2*(x*A.T)", "shapes that don't fit: x has shape (3,), t(A) has shape (3, 2)\n  2*(x*A.T)\n       ^"),
        ("maximum(x, A[:, 0])", "shapes that don't fit: x has shape (3,), A[:, 0] has shape (2,)\n  maximum(x, A[:, 0])\n  ^"),
        ("A @ B", "shapes that don't fit: A has shape (2, 3), B has shape (2, 3)\n  A @ B\n      ^"),
        ("s @ x", "a matrix product needs dimensions: s has shape (), x has shape (3,)\n  s @ x\n      ^"),
        ("dot(x, A)", "dot takes a vector: A has shape (2, 3)\n  dot(x, A)\n  ^"),
        ("mv(x, x)", "mv takes a matrix: x has shape (3,)\n  mv(x, x)\n  ^"),
        ("x[3]", "index 3 is out of bounds: x has shape (3,)\n  x[3]\n  ^"),
        ("x[0, 0]", "an index of 2 places is too long: x has shape (3,)\n  x[0, 0]\n  ^"),
        ("s[0]", "an index of 1 places is too long (give it one with --shape, or in --at): s has shape ()\n  s[0]\n  ^"),
        ("x[3:]", "an array of shape (0,) has no entries\n  x[3:]\n  ^"),
        ("[x, s]", "the entries of a list have one shape: x has shape (3,), s has shape ()\n  [x, s]\n  ^"),
        ("sum(x, dim=1)", "there is no dimension 1: x has shape (3,)\n  sum(x, dim=1)\n  ^"),
        ("sum(A, (0, -2))", "a dimension is named twice: A has shape (2, 3)\n  sum(A, (0, -2))\n  ^"),
        ("1 + normalize(x)", "there is no dimension 1: x has shape (3,)\n  1 + normalize(x)\n      ^"),
        ("layer_norm(A, [2])", "the last dimensions are not (2,): A has shape (2, 3)\n  layer_norm(A, [2])\n  ^"),
        ("A.reshape(4, 2)", "cannot reshape array of size 6 into shape (4,2): A has shape (2, 3)\n  A.reshape(4, 2)\n  ^"),
        (
            "cross_entropy(A, [0, 3])",
            "label 3 is out of range: A has shape (2, 3), [0, 3] has shape (2,)\n  cross_entropy(A, [0, 3])\n  ^",
        ),
        (
            "cross_entropy(A, [0])",
            "labels take one place for each row of scores: A has shape (2, 3), [0] has shape (1,)\n"
            "  cross_entropy(A, [0])\n  ^",
        ),
        (
            "cross_entropy(A, [0, 1], weight=[1, 2])",
            "a weight for each of 3 classes is needed: A has shape (2, 3), "
            "[0, 1] has shape (2,), [1, 2] has shape (2,)\n  cross_entropy(A, [0, 1], weight=[1, 2])\n  ^",
        ),
        (
            "cross_entropy(A, B, ignore_index=1)",
            "ignore_index goes with labels, not with probabilities: "
            "A has shape (2, 3), B has shape (2, 3)\n  cross_entropy(A, B, ignore_index=1)\n  ^",
        ),
        (
            "nll_loss(A, B)",
            "nll_loss takes labels: one place for each row of scores: A has shape (2, 3), B has shape (2, 3)\n"
            "  nll_loss(A, B)\n  ^",
        ),
        (
            "linalg.qr(A.T, mode='complete').Q",
            "mode='reduced' is needed: no derivative is known of what mode='complete' adds to more rows than columns: "
            "t(A) has shape (3, 2)\n  linalg.qr(A.T, mode='complete').Q\n  ^",
        ),
        (
            "linalg.qr(A, 'r').R",
            "torch has no derivative where mode='r' leaves Q out: mode='reduced' has both: A has shape (2, 3)\n"
            "  linalg.qr(A, 'r').R\n  ^",
        ),
        (
            "x[[0, 3]]",
            "index 3 is out of bounds for axis 0 with size 3: [0, 3] has shape (2,), x has shape (3,)\n  x[[0, 3]]\n  ^",
        ),
        ("x[[0.5]]", "places in an index are whole numbers: [0.5] has shape (1,), x has shape (3,)\n  x[[0.5]]\n  ^"),
        ("x.chunk(2)[2]", "there are 2 parts, and no place 2: x has shape (3,)\n  x.chunk(2)[2]\n  ^"),
        ("x.split([1, 1])[0]", "the sizes of parts add up to 3: x has shape (3,)\n  x.split([1, 1])[0]\n  ^"),
        (
            "cross_entropy(x, 0.5)",
            "labels are whole numbers from 0 on: x has shape (3,), 0.5 has shape ()\n  cross_entropy(x, 0.5)\n  ^",
        ),
    ],
)
def test_misfits(text: str, message: str) -> None:
    """What doesn't fit is refused in one line that names the shapes, with a caret under the culprit."""
    with pytest.raises(InputError) as caught:
        lowered(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("outer(x, x)", (200,), "an array of 40,000 entries; at most 10,000 are followed"),
        ("A @ A", (90, 90), "more than 400,000 operations, entry by entry"),
    ],
)
@pytest.mark.slow(reason="formulas as large as they may be")
def test_bounds(text: str, shape: tuple[int, ...], message: str) -> None:
    """What is too large is refused before it is built."""
    with pytest.raises(InputError) as caught:
        lowered(text, {"x": shape, "A": shape})
    assert caught.value.message.startswith(message)


def test_broadcasting_is_numpy_s() -> None:
    """Arithmetic on shapes of one to three dimensions gives the shape that NumPy gives, or is refused where NumPy refuses."""
    for a, b in itertools.product([(), (1,), (3,), (2, 1), (1, 3), (2, 3), (2, 1, 1)], repeat=2):
        shapes = {"x": a, "y": b}
        assert lowered("x*y", shapes).shape == np.broadcast_shapes(a, b)
