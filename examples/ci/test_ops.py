"""Gradient checks among the unit tests; the spec files in checks/ are collected by pytest too."""

import pytest
import torch
from ops import SiLU, charbonnier


@pytest.mark.gradcheck(points={"x": [-30.0, -1.0, 0.0, 2.5]}, dtype=["float64", "float32"])
def test_silu():
    return SiLU


@pytest.mark.gradcheck(points=10)
@pytest.mark.parametrize("reduction", [torch.sum, torch.mean])
def test_silu_within(reduction):
    return lambda x: reduction(SiLU.apply(3 * x))


def test_charbonnier(gradcheck):
    report = gradcheck.function(charbonnier, at={"prediction": torch.tensor([1.0, 2.0]), "target": torch.tensor([1.0, 3.0])})
    assert report.counts.keys() == {"match"}
