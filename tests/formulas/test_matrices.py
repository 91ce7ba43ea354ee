"""Formulas of matrices at the points where something happens: equal eigenvalues, what isn't symmetric, what torch reads."""

from __future__ import annotations

from typing import Any

import pytest
from mpmath import mp, mpf

from gradcheck_cli import InputError, check_grad, check_jacobian

EYE = [[1, 0], [0, 1]]


def by_entry(text: str, point: Any, **options: Any) -> dict[str, Any]:
    return {check.wrt[0]: check for check in check_grad(text, at={"A": point}, **options).checks}


def test_equal_eigenvalues_have_one_sided_derivatives() -> None:
    """Of the smaller one of two equal ones: 0 and 1 by an entry of the diagonal, -1/2 and 1/2 beside it. The sum is smooth."""
    found = by_entry("eigvalsh(A)[0]", EYE)
    sides = {name: (check.left, check.right, check.verdict) for name, check in found.items()}
    assert sides["A[0,0]"] == sides["A[1,1]"] == ("1", "0", "nondifferentiable")
    assert sides["A[0,1]"] == sides["A[1,0]"] == ("0.5", "-0.5", "nondifferentiable")
    assert check_grad("sum(eigvalsh(A)**2)", at={"A": EYE}).verdict == "match"
    assert check_grad("sum(eigvalsh(A))", at={"A": [[1, 0, 0], [0, 1, 0], [0, 0, 2]]}).verdict == "match"


def test_a_singular_value_of_0() -> None:
    """Has a kink, whose sides hold what torch returns; the largest one beside it is smooth."""
    found = by_entry("svdvals(A)[1]", [[1, 1], [1, 1]])
    assert {(check.left, check.right, check.verdict) for check in found.values()} == {("-0.5", "0.5", "nondifferentiable")}
    assert {check.exact for check in by_entry("svdvals(A)[0]", [[1, 1], [1, 1]]).values()} == {"0.5"}


@pytest.mark.parametrize("text", ["cholesky(A)[1,1]", "eigvalsh(A)[0]"])
def test_a_matrix_that_is_not_symmetric(text: str) -> None:
    """Is no matrix of which torch's gradient is one: it is outside of the domain; what is symmetric as it is written isn't."""
    assert check_grad(text, at={"A": [[2, 1], [0.5, 3]]}).verdict == "outside_domain"
    assert check_grad(text.replace("(A)", "(A @ A.T)"), at={"A": [[2, 1], [0.5, 3]]}, mode="all").verdict == "match"
    assert check_grad(text, at={"A": [[2, 0.1], [0.1, 3]]}, mode="all").verdict == "match"


def test_one_triangle() -> None:
    """Of cholesky_inverse torch's gradient reaches the triangle that isn't read; by the other one it is right."""
    found = by_entry("sum(cholesky_inverse(A))", [[1, 0], [3, 4]])
    verdicts = {name: (str(check.verdict), check.exact == "0") for name, check in found.items()}
    assert verdicts.pop("A[0,1]") == ("mismatch", True)
    assert {verdict for verdict, _ in verdicts.values()} == {"match"}


def test_ranks_and_norms() -> None:
    """Beside a matrix of less than full rank a pseudoinverse has no derivative; a condition number by norms that torch can't
    differentiate has no gradient."""
    assert check_grad("sum(pinv(A))", at={"A": [[1, 2], [2, 4], [0, 0]]}).verdict == "outside_domain"
    causes = {check.cause for check in check_grad("cond(A, 1)", at={"A": [[1, 2], [3, 5]]}).checks}
    assert causes == {"no_gradient"}
    with pytest.raises(InputError, match="a matrix has the norms"):
        check_grad("matrix_norm(A, 3)", at={"A": EYE})
    with pytest.raises(InputError, match="a matrix is needed"):
        check_grad("sum(svdvals(x))", at={"x": [1, 2]})
    with pytest.raises(InputError, match="more than 4 rows"):
        check_grad("sum(matrix_exp(A))", shape={"A": (5, 5)}, sample=1)


@pytest.mark.parametrize("text", ["sum(eigvalsh(A + A.T)**3)", "sum(matrix_exp(A)[0])", "sum(svdvals(A))"])
def test_the_second_order(text: str) -> None:
    """Second derivatives are those that mpmath's quotients of the plain function give."""
    point = [[1, 2], [0.5, 4]]
    mp.dps = 50

    def value(a: Any, b: Any) -> Any:
        m = mp.matrix([[a, b], [mpf(0.5), mpf(4)]])
        if "eig" in text:
            return sum(v**3 for v in mp.eigsy(m + m.T, eigvals_only=True))
        return sum(mp.svd_r(m, compute_uv=False)) if "svd" in text else sum(mp.expm(m, method="taylor")[0, :])

    report = check_grad(text, at={"A": point}, order=2)
    assert report.ok, str(report)
    found = {check.wrt: mpf(check.exact or "nan") for check in report.checks}
    h = mpf(10) ** -12
    truth = mp.diff(value, (1, 2), (2, 0), h=h), mp.diff(value, (1, 2), (1, 1), h=h)
    for names, slope in zip((("A[0,0]", "A[0,0]"), ("A[0,0]", "A[0,1]")), truth, strict=True):
        assert abs(found[names] - slope) < mpf(10) ** -12 * max(1, abs(slope))


def test_matrices_that_are_too_large_for_an_exponential() -> None:
    """Are undecided at once, for there is a value; of smaller ones an infinity is what the derivative rounds to."""
    assert check_grad("sum(matrix_exp(A))", at={"A": [[1e300, 1], [1, 1e308]]}).verdict == "undecided"
    report = check_grad("sum(matrix_exp(A))", at={"A": [[1e3, 1], [1, 2]]})
    assert report.verdict == "match"
    assert {check.autograd for check in report.checks} == {float("inf")}


def test_batches() -> None:
    """Of matrices are followed matrix by matrix."""
    at = {"A": [[[2, 1], [1, 3]], [[5, 2], [2, 4]]]}
    for text in ("cholesky(A)", "eigvalsh(A)", "svdvals(A)", "matrix_exp(A)", "pinv(A)", "cond(A)", "matrix_norm(A)"):
        report = check_jacobian(text, at=at)
        assert report.verdict == "match", (text, str(report))
