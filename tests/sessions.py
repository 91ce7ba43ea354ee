"""Sessions of pytest within this process, which cost no import of torch: what holds before one begins."""

from __future__ import annotations

import importlib
import pkgutil

import torch

import gradcheck_cli


def loaded() -> None:
    """All that checks import is there: a session forgets the modules that it imported, torch can't be imported twice, and a
    module of the package that is there twice has two of each class."""
    for module in pkgutil.walk_packages(gradcheck_cli.__path__, "gradcheck_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for report in (  # what libraries import late
        gradcheck_cli.check_function(torch.sin, dtype=["float64", "float32"], order=2),
        gradcheck_cli.check_model("Linear(2, 1)"),
        gradcheck_cli.check_jacobian(["x*y", "x + y"], at=[{"x": 1, "y": 2}]),
        gradcheck_cli.check_chain("relu(x) - relu(-x)", at="x=0"),
    ):
        assert str(report)
