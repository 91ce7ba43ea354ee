"""A look ahead: what can't be followed, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gradcheck_cli.shadow.glance import Glance

Tensor = torch.Tensor

SEEN: list[tuple[str, Callable[[Tensor], Tensor], str | None]] = [
    ("rows", lambda x: (x.sin() * 2 + x.exp().sum()).reshape(2, 2).t() @ x.reshape(2, 2), None),
    (
        "rules and decompositions",
        lambda x: torch.nn.functional.gelu(x).sort().values + x.cumsum(0) + torch.lerp(x, x * 2, 0.5),
        None,
    ),
    ("complex on the way", lambda x: torch.fft.fft(x).abs(), None),
    ("reflections", lambda x: torch.geqrf(x.diag())[0], "geqrf"),
    ("through a view", lambda x: torch.geqrf(x.diag())[0].reshape(2, 8)[0], "geqrf"),
    ("in place", lambda x: torch.zeros(4, dtype=x.dtype).add_(torch.geqrf(x.diag())[1]), "geqrf"),
    ("sparse on the way", lambda x: x.reshape(2, 2).to_sparse().to_dense(), None),
    ("sparse by blocks", lambda x: x.reshape(2, 2).to_sparse_bsc((1, 1)).to_dense(), "_to_sparse_bsc"),
    ("not used", lambda x: (torch.geqrf(x.diag()), x * 2)[1], None),
    ("an index", lambda x: x[torch.geqrf(x.diag())[1].argsort()], None),
]


@pytest.mark.parametrize(("function", "reason"), [row[1:] for row in SEEN], ids=[row[0] for row in SEEN])
def test_what_an_output_comes_from(function: Callable[[Tensor], Tensor], reason: str | None) -> None:
    """The first operation behind an output that can't be followed; integers and truth values are the floats' own."""
    x = torch.tensor([0.5, -1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    with Glance() as glance:
        y = function(x)
    assert glance.reason(y) == reason
    assert torch.equal(y, function(x))
