"""gradcheck: is the gradient that PyTorch's autograd returns the derivative, and if not, why?

The public names are loaded when they are used first; `import gradcheck_cli` alone imports neither torch nor SymPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck_cli.api import check_chain, check_grad, check_mixed
    from gradcheck_cli.errors import InputError, VerdictError
    from gradcheck_cli.report import Check, Report
    from gradcheck_cli.verdict import Cause, Verdict

__version__ = "0.1.0"

_HOMES = {
    "check_chain": "api", "check_mixed": "api", "check_grad": "api", "Report": "report", "Check": "report",
    "Verdict": "verdict", "Cause": "verdict", "InputError": "errors", "VerdictError": "errors",
}  # fmt: skip

__all__ = [
    "Cause",
    "Check",
    "InputError",
    "Report",
    "Verdict",
    "VerdictError",
    "__version__",
    "check_chain",
    "check_grad",
    "check_mixed",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
