"""Functions of tensors: exponents and scales are the numbers that they stand for; what is range and what is rounding."""

from __future__ import annotations

import torch
from mpmath import mp

from gradcheck_cli import check_function

Tensor = torch.Tensor


def test_the_exponent_of_a_norm_is_a_third() -> None:
    """The derivative of norm(3), which is x*|x|/norm**2, in every digit: 1/3 isn't the double nearest to it."""
    report = check_function(lambda x: x.norm(3), at={"x": [1.5, 2.0]})
    found = {check.wrt[0]: check.exact for check in report.checks if check.of == "y"}
    with mp.workdps(50):
        norm = (mp.mpf("1.5") ** 3 + 8) ** (mp.mpf(1) / 3)
        for name, x in (("x[0]", mp.mpf("1.5")), ("x[1]", mp.mpf(2))):
            assert abs(mp.mpf(found[name]) - x**2 / norm**2) < mp.mpf(10) ** -19
    (check,) = (c for c in check_function(lambda x: x.norm(3), at={"x": [1e-200]}).checks if c.of == "y")
    assert check.exact == "1"
    assert (check.verdict, check.cause) == ("mismatch", "range")


def test_the_scale_of_attention_is_a_root() -> None:
    """Attention divides by the square root of 3, not by a double: so the derivative of large scores shows."""
    q, k = [[700.0, -300.0, 11.0]], [[1.0, 0.5, 0.25], [0.5, 1.0, -3.0]]

    def attention(v: Tensor) -> Tensor:
        keys = torch.tensor([k], dtype=torch.float64)
        query = torch.tensor([q], dtype=torch.float64)
        return torch.nn.functional.scaled_dot_product_attention(query[None], keys[None], v[None, None])[0, 0, 0, 0]

    report = check_function(attention, at={"v": [[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]})
    found = {check.wrt[0]: check.exact for check in report.checks if check.of == "y"}
    with mp.workdps(60):
        scores = [sum(mp.mpf(a) * mp.mpf(b) for a, b in zip(q[0], row, strict=True)) / mp.sqrt(3) for row in k]
        weight = 1 / (1 + mp.exp(scores[0] - scores[1]))
        assert abs(mp.mpf(found["v[1,0]"]) - weight) < weight * mp.mpf(10) ** -18


def test_cancellation_beside_a_harmless_underflow() -> None:
    """Differences of weights that cancel are rounding, although the last weight underflowed; and range where it is lost."""

    def averaged(x: Tensor) -> Tensor:
        return (torch.softmax(x, 0) * torch.tensor([1.0, 1.0 + 1e-14, 1.0], dtype=torch.float64)).sum()

    checks = check_function(averaged, at={"x": [0.25, 1.0, -800.0]}).checks
    assert {check.cause for check in checks} == {None}
    assert "imprecise" in {check.verdict for check in checks}

    def magnified(x: Tensor) -> Tensor:
        return (torch.softmax(x, 0) * torch.tensor([0.0, 0.0, 1e300], dtype=torch.float64)).sum()

    (lost,) = (c for c in check_function(magnified, at={"x": [0.25, 1.0, -800.0]}).checks if c.wrt == ("x[2]",) and c.of == "y")
    assert (lost.verdict, lost.cause) == ("mismatch", "range")


def test_terms_that_cancel_altogether() -> None:
    """A bias of keys shifts all scores alike: its derivative is 0, and what rounding leaves of it is no loss of digits."""

    def attended(b: Tensor) -> Tensor:
        keys = torch.tensor([[0.3, -0.7], [1.1, 0.2], [0.9, 0.4]], dtype=torch.float64) + b
        return torch.softmax(keys @ torch.tensor([1.7, -0.6], dtype=torch.float64), 0) @ torch.tensor(
            [1.3, -2.1, 0.7], dtype=torch.float64
        )

    report = check_function(attended, at={"b": [0.37, -0.11]})
    assert {check.exact for check in report.checks} == {"0"}
    assert any(check.autograd for check in report.checks)
    assert report.verdict == "match"
