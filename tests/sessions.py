"""Sessions of pytest within this process, which cost no import of torch: what holds before one begins."""

from __future__ import annotations

import torch

import gradcheck_cli


def loaded() -> None:
    """All that checks import is there: a session forgets the modules that it imported, and torch can't be imported twice."""
    for report in (
        gradcheck_cli.check_function(torch.sin, dtype=["float64", "float32"], order=2),
        gradcheck_cli.check_model("Linear(2, 1)"),
        gradcheck_cli.check_jacobian(["x*y", "x + y"], at=[{"x": 1, "y": 2}]),
        gradcheck_cli.check_chain("relu(x) - relu(-x)", at="x=0"),
    ):
        assert str(report)
