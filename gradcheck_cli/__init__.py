"""gradcheck: is the gradient that PyTorch's autograd returns the derivative, and if not, why?

The public names are loaded when they are used first; `import gradcheck_cli` alone imports neither torch nor SymPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck_cli.api import (
        check_chain,
        check_function,
        check_grad,
        check_hessian,
        check_jacobian,
        check_mixed,
        check_model,
    )
    from gradcheck_cli.callables.dropin import GradcheckError, gradcheck, gradgradcheck
    from gradcheck_cli.errors import InputError, UndecidedWarning, VerdictError
    from gradcheck_cli.lessons.explain import explain
    from gradcheck_cli.lessons.lesson import Lesson
    from gradcheck_cli.verdict.column import Check
    from gradcheck_cli.verdict.report import Report
    from gradcheck_cli.verdict.verdicts import Cause, Verdict

__version__ = "0.1.0"

_HOMES = {
    "check_chain": "api", "check_mixed": "api", "check_grad": "api", "check_jacobian": "api", "check_hessian": "api",
    "check_function": "api", "check_model": "api", "gradcheck": "callables.dropin", "gradgradcheck": "callables.dropin",
    "GradcheckError": "callables.dropin", "UndecidedWarning": "errors", "Report": "verdict.report", "Check": "verdict.column",
    "Verdict": "verdict.verdicts", "Cause": "verdict.verdicts", "InputError": "errors", "VerdictError": "errors",
    "explain": "lessons.explain", "Lesson": "lessons.lesson",
}  # fmt: skip

__all__ = [
    "Cause",
    "Check",
    "GradcheckError",
    "InputError",
    "Lesson",
    "Report",
    "UndecidedWarning",
    "Verdict",
    "VerdictError",
    "__version__",
    "check_chain",
    "check_function",
    "check_grad",
    "check_hessian",
    "check_jacobian",
    "check_mixed",
    "check_model",
    "explain",
    "gradcheck",
    "gradgradcheck",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        from gradcheck_cli.errors import nearest

        hint = "" if name.startswith("_") else nearest(name, __all__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
