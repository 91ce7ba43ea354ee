"""Steps of matrix rules on cells at once are those of the matrices: mpmath has the same results, and torch's floats lie within
what rounding may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import pytest
import torch
from flint import arb

from gradcheck_cli.algebra.directions import Directional, Precise
from gradcheck_cli.algebra.layers import Rounded
from gradcheck_cli.algebra.number import working
from gradcheck_cli.algebra.series import terms
from gradcheck_cli.algebra.tape import Taped, derivatives
from gradcheck_cli.shadow.mode import Shadow
from tests.formats import DOUBLE

Tensor = torch.Tensor

SIZE = 4


def matrix(seed: int) -> Tensor:
    """Of full rank, with rows that pivots exchange."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(SIZE, SIZE, generator=draw, dtype=torch.float64)


def exact(x: Tensor) -> Any:
    return mp.matrix(x.tolist())


def _triangular(a: Any, upper: bool) -> Any:
    return mp.matrix(SIZE, SIZE) + mp.matrix(
        [[a[i, j] if (j >= i if upper else j <= i) else mp.mpf(0) for j in range(SIZE)] for i in range(SIZE)]
    )


CASES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Any], Any]]] = {
    "inv": (torch.linalg.inv, lambda a: a**-1),
    "det": (torch.linalg.det, lambda a: mp.matrix([[mp.det(a)]])),
    "solve": (lambda a: torch.linalg.solve(a, a.T + 1), lambda a: a**-1 * (a.T + mp.ones(SIZE))),
    "solve from the right": (
        lambda a: torch.linalg.solve(a, a.T + 1, left=False),
        lambda a: (a.T + mp.ones(SIZE)) * a**-1,
    ),
    "lu_solve": (
        lambda a: torch.linalg.lu_solve(*torch.linalg.lu_factor(a), a @ a, adjoint=True),
        lambda a: a.T**-1 * (a * a),
    ),
    "upper": (
        lambda a: torch.linalg.solve_triangular(a, a.T + 1, upper=True),
        lambda a: _triangular(a, True) ** -1 * (a.T + mp.ones(SIZE)),
    ),
    "lower": (
        lambda a: torch.linalg.solve_triangular(a, a.T + 1, upper=False),
        lambda a: _triangular(a, False) ** -1 * (a.T + mp.ones(SIZE)),
    ),
    "cross": (
        lambda a: torch.linalg.cross(a[:3, :3], a[1:, 1:], dim=0),
        lambda a: mp.matrix([[_crossed(a, i, j) for j in range(3)] for i in range(3)]),
    ),
}


def _crossed(a: Any, i: int, j: int) -> Any:
    x, y = [a[k, j] for k in range(3)], [a[k + 1, j + 1] for k in range(3)]
    one, two = (i + 1) % 3, (i + 2) % 3
    return x[one] * y[two] - x[two] * y[one]


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    """Each ball holds mpmath's number at 60 digits and is as tight, and each rounded one torch's float."""
    run, wanted = CASES[name]
    a = matrix(len(name))
    cells = list(map(arb, a.reshape(-1).tolist()))
    shadow = Shadow([Precise(), Rounded(DOUBLE)], 0)
    shadow.seed(a, [cells, cells])
    with working(200), shadow:
        found = run(a)
        precise, rounded = (shadow.cells(found, index) for index in range(2))
    assert not shadow.opaque
    with mp.workdps(80):
        numbers = [mp.nstr(x, 70) for x in wanted(exact(a))]
    with working(240):
        for cell, near, number, value in zip(precise, rounded, numbers, found.reshape(-1).tolist(), strict=True):
            assert cell.overlaps(arb(number) + arb(0, 1e-60))
            assert cell.rel_accuracy_bits() > 180
            assert near.contains(arb(value))
            assert near.rel_accuracy_bits() > 25


@pytest.mark.parametrize("name", CASES)
def test_derivatives(name: str) -> None:
    """By each entry of the matrix, of a sum of all results: mpmath's difference quotients, to 20 digits."""
    run, wanted = CASES[name]
    a = matrix(len(name) + 40)
    with working(200), terms(2):
        inputs = [Taped(arb(x)) for x in a.reshape(-1).tolist()]
        shadow = Shadow([Directional()], 0)
        shadow.seed(a, [inputs])
        with shadow:
            found = run(a)
            cells = shadow.cells(found, 0)
        slopes = derivatives(sum(cells[1:], cells[0]), inputs)
    with mp.workdps(80):
        h = mp.mpf(10) ** -30
        for place in range(0, SIZE * SIZE, 3):
            beside = []
            for step in (h, -h):
                moved = exact(a)
                moved[place // SIZE, place % SIZE] += step
                beside.append(mp.fsum(wanted(moved)))
            quotient = (beside[0] - beside[1]) / (2 * h)
            size = max(1, abs(quotient))
            assert abs(mp.mpf(slopes[place].mid().str(40, radius=False)) - quotient) < size * mp.mpf(10) ** -20


def test_eigenvalues_know_their_derivatives() -> None:
    """That of an eigenvalue by an entry is the product of its vector's entries, to 60 digits, though Newton's method carries
    derivatives in its last steps alone."""
    a = matrix(3)
    a = a + a.T
    with working(400), terms(2):
        inputs = [Taped(arb(x)) for x in a.reshape(-1).tolist()]
        shadow = Shadow([Directional()], 0)
        shadow.seed(a, [inputs])
        with shadow:
            values = torch.linalg.eigh(a)[0]
            cells = shadow.cells(values, 0)
        slopes = [derivatives(cell, inputs) for cell in cells]
    with mp.workdps(120):
        found, vectors = mp.eigsy(exact(a))
        for k in sorted(range(SIZE), key=lambda k: found[k]):
            for i in range(SIZE):
                wanted = vectors[i, k] ** 2
                known = mp.mpf(slopes[k][i * SIZE + i].mid().str(80, radius=False))
                assert abs(known - wanted) < mp.mpf(10) ** -60


def test_rules_of_matrices_take_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """An inverse of any size is followed in as many operations, however many steps elimination takes."""
    ran: list[Any] = []
    followed = Shadow._followed
    monkeypatch.setattr(Shadow, "_followed", lambda *given: ran.append(given) or followed(*given))
    counts = []
    for size in (2, 6):
        a = torch.eye(size, dtype=torch.float64) + 0.125
        shadow = Shadow([Precise()], 0)
        shadow.seed(a, [list(map(arb, a.reshape(-1).tolist()))])
        ran.clear()
        with shadow:
            torch.linalg.inv(a)
        counts.append(len(ran))
    assert counts[0] == counts[1]
