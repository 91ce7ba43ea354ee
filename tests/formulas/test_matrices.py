"""Formulas of matrices at the points where something happens: equal eigenvalues, what isn't symmetric, what torch reads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mpmath import mp, mpf

from gradcheck_cli import InputError, check_function, check_grad, check_jacobian
from gradcheck_cli.algebra import balls

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


@pytest.mark.parametrize(("text", "given"), [("sum(pinv(A))", {}), ("sum(lstsq(A, b))", {"b": [[1.0], [3.0]]})])
def test_a_matrix_that_torch_takes_for_one_of_lower_rank(text: str, given: dict[str, Any]) -> None:
    """Isn't that of the formula: torch leaves out singular values below max(m, n) epsilons of the largest one (`rtol` of
    torch.linalg.pinv), and has the gradient of what is left. In float64 it leaves out none of these, in float32 one."""
    at = {"A": [[1.0, 2.0], [3.0, 6.0000001]], **given}
    for dtype, verdict in (("float64", "match"), ("float32", "outside_domain")):
        found = check_grad(text, at=at, dtype=dtype)
        assert {check.verdict for check in found.checks if check.wrt[0].startswith("A")} <= {verdict, "imprecise"}
    graded = check_grad(text, at={**at, "A": [[6.8e94, 1.6e93], [-1.6e-211, 7.9e-146]]})
    assert graded.verdict == "outside_domain"
    assert "lower rank" in str(graded.checks[0].detail)


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


def turned(column: Any, like: Any) -> Any:
    """The column or its opposite, whichever torch has."""
    return column if mp.fdot(column, like) > 0 else [-v for v in column]


def oracle(text: str, m: Any, like: Any) -> Any:
    """Entry 0, 1 of a factor, by mpmath, with the signs that torch's factor has."""
    n = m.rows
    if text.startswith("lu"):
        return m[0, 0] / m[1, 0] if text.endswith("L[1,0]") else m[0, 1] - m[0, 0] / m[1, 0] * m[1, 1]
    if text.startswith("eigh"):
        vectors = mp.eigsy(m)[1]
        return turned([vectors[i, 1] for i in range(n)], [mpf(v) for v in like[:, 1].tolist()])[0]
    if text.startswith("svd"):
        u, _, vh = mp.svd_r(m)
        if ".U" in text:
            return turned([u[i, 1] for i in range(n)], [mpf(v) for v in like[:, 1].tolist()])[0]
        return turned([vh[0, j] for j in range(n)], [mpf(v) for v in like[0].tolist()])[1]
    q, r = mp.qr(m)
    if ".Q" in text:
        return turned([q[i, 1] for i in range(n)], [mpf(v) for v in like[:, 1].tolist()])[0]
    return turned([r[0, j] for j in range(n)], [mpf(v) for v in like[0].tolist()])[1]


FACTORED = {
    "qr(A).Q[0,1]": lambda a: torch.linalg.qr(a).Q,
    "qr(A).R[0,1]": lambda a: torch.linalg.qr(a).R,
    "eigh(A + A.T).eigenvectors[0,1]": lambda a: torch.linalg.eigh(a + a.mT).eigenvectors,
    "svd(A).U[0,1]": lambda a: torch.linalg.svd(a).U,
    "svd(A).Vh[0,1]": lambda a: torch.linalg.svd(a).Vh,
    "lu(A).U[1,1]": lambda a: torch.linalg.lu(a).U,
    "lu(A).L[1,0]": lambda a: torch.linalg.lu(a).L,
}


@pytest.mark.parametrize("text", FACTORED)
@pytest.mark.parametrize("turn", [1.0, -1.0])
def test_factors(text: str, turn: float) -> None:
    """Their derivatives are mpmath's quotients of the factor that has torch's signs; torch's own are right, in every mode."""
    point = [[turn, 2.0], [-3.0, 0.5]]
    like = FACTORED[text](torch.tensor(point, dtype=torch.float64))
    with mp.workdps(50):
        h = mpf(10) ** -15

        def value(i: int, j: int, step: Any) -> Any:
            m = mp.matrix(point)
            m[i, j] += step
            return oracle(text, m + m.T if text.startswith("eigh") else m, like)

        report = check_grad(text, at={"A": point}, mode="all")
        assert report.verdict == "match", str(report)
        for check in report.checks:
            i, j = int(check.wrt[0][2]), int(check.wrt[0][4])
            slope = (value(i, j, h) - value(i, j, -h)) / (2 * h)
            assert abs(mpf(check.exact or "nan") - slope) < mpf(10) ** -14


def test_factors_of_larger_matrices() -> None:
    """In float32 and of the second order they are certified too; a product of the factors is the matrix."""
    point = [[2.0, 1, 0, 3], [1, 5, 2, 0], [0, 2, -1, 1], [3, 0, 1, 4]]
    for text in ("eigh(A).eigenvectors[1,2]", "qr(A).Q[2,3]", "svd(A).Vh[1,2]", "lu(A).L[3,2]"):
        assert check_grad(text, at={"A": point}, dtype="float32").ok, text
    assert check_grad("qr(A).Q[0,1] + lu(A).U[1,1]", at={"A": [[1, 2], [3, 5]]}, order=2).verdict == "match"
    whole = check_grad("(lu(A).P @ lu(A).L @ lu(A).U)[0,1] + (qr(A).Q @ qr(A).R)[2,3]", at={"A": point})
    assert whole.ok
    slopes = {check.wrt[0]: float(check.exact or "nan") for check in whole.checks}
    assert {name for name, slope in slopes.items() if abs(slope - 1) < 1e-15} == {"A[0,1]", "A[2,3]"}
    assert sum(map(abs, slopes.values())) < 2 + 1e-12


def test_factors_that_are_not_unique() -> None:
    """Equal eigenvalues have no vectors of their own, and the reader is told; what doesn't hang on them has a derivative, which
    torch misses. An elimination has a kink where two pivots are of one size, a QR of less than full rank one in R."""
    report = check_grad("eigh(A).eigenvectors[0,0]", at={"A": EYE})
    assert report.verdict == "outside_domain"
    assert "are all different" in (report.checks[0].detail or "")
    beside = check_grad("eigh(A).eigenvectors[0,2]", at={"A": [[1, 0, 0], [0, 1, 0], [0, 0, 2]]})
    assert {(check.verdict, check.cause) for check in beside.checks} == {("mismatch", "nan_trap")}
    assert check_grad("qr(A).Q[0,1]", at={"A": EYE}).verdict == "match"
    assert check_grad("qr(A).R[1,1]", at={"A": [[1, 2], [2, 4]]}).verdict == "nondifferentiable"
    assert check_grad("qr(A).Q[1,1]", at={"A": [[1, 2], [2, 4]]}).verdict == "undecided"
    kink = by_entry("lu(A).L[1,0]", [[1, 2], [-1, 3]])["A[0,0]"]
    assert (kink.verdict, kink.left, kink.right) == ("nondifferentiable", "-1", "1")


def test_a_factor_that_torch_turns_otherwise_is_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the exact side would hold other signs than torch's, it says so, and refutes nothing; squares match."""
    own = balls.factored
    monkeypatch.setattr(balls, "factored", lambda *given: [[-x for x in row] for row in own(*given)])
    at = {"A": [[2, 1], [1, 5]]}
    for text in ("eigh(A).eigenvectors[0,1]", "qr(A).Q[0,1]*1e-9"):
        report = check_grad(text, at=at)
        assert {check.verdict for check in report.checks} == {"undecided"}, text
        assert "which of several factors" in (report.checks[0].detail or "")
    assert check_grad("eigh(A).eigenvectors[0,1]**2", at=at).verdict == "match"


def test_complex_factors_are_refused() -> None:
    """Their phases are torch's choice: a clear error."""
    for text in ("eigh(A @ A.mH).eigenvectors[0,1].abs()", "abs(qr(A).R[0,1])"):
        with pytest.raises(InputError, match="factors, spectra and exponentials of matrices are functions of real numbers"):
            check_grad(text, at={"A": [[1 + 2j, 3], [2, 1j]]})


def test_equal_eigenvalues_beside_one_that_is_alone() -> None:
    """Floats that don't tell two eigenvalues apart, 10 and 10, make no vectors of them: what autograd loses is a nan that
    shouldn't have mattered, however its vectors are rounded; and no formula of thousands of terms is written down."""
    matrix = [[-2, 1, 2], [2, -1, 2], [-1, -2, 1]]
    found = check_grad("eigh(A @ A.T)[1][1,0]", at={"A": matrix}).checks
    assert {(check.verdict, check.cause) for check in found} == {("mismatch", "nan_trap")}
    assert [check.autograd_formula for check in found] == [None] * 9


def test_eigenvectors_in_code() -> None:
    """The same of a function of tensors: the vector of the eigenvalue that is alone isn't taken for a wrong formula."""
    report = check_function(lambda a: torch.linalg.eigh(a @ a.mT)[1][1, 0], at={"a": torch.tensor(
        [[-2.0, 1, 2], [2, -1, 2], [-1, -2, 1]], dtype=torch.float64)})  # fmt: skip
    assert {check.cause for check in report.checks} <= {"nan_trap", None}
