"""Wrong backwards, made on purpose: torch's own forward with a custom backward that errs in a known way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from tests.custom_functions.elementwise import custom

Tensor = torch.Tensor


@dataclass(frozen=True)
class Subject:
    """A function with its right derivative in torch operations; `points` are ordinary ones."""

    name: str
    forward: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor], Tensor]  # of the input and the output
    points: tuple[float, ...]


SUBJECTS = (
    Subject("sin", torch.sin, lambda x, y: x.cos(), (0.3, 1.1, -2.0)),
    Subject("exp", torch.exp, lambda x, y: y, (0.5, -1.5, 3.0)),
    Subject("tanh", torch.tanh, lambda x, y: 1 - y * y, (0.4, -0.9, 1.7)),
    Subject("sigmoid", torch.sigmoid, lambda x, y: y * (1 - y), (0.4, -2.0, 1.7)),
    Subject("log", torch.log, lambda x, y: 1 / x, (0.4, 2.0, 7.5)),
    Subject("sqrt", torch.sqrt, lambda x, y: 0.5 / y, (0.4, 2.0, 7.5)),
    Subject("silu", lambda x: x * x.sigmoid(), lambda x, y: x.sigmoid() * (1 + x * (1 - x.sigmoid())), (0.4, -2.0, 1.7)),
    Subject("square", torch.square, lambda x, y: 2 * x, (0.4, -2.0, 3.5)),
)  # fmt: skip


def right(subject: Subject) -> Any:
    """The function with its right backward."""
    return custom(subject.forward, lambda g, x, y: g * subject.derivative(x, y))


def scaled(subject: Subject, error: float) -> Any:
    """The derivative times 1 + error."""
    return custom(subject.forward, lambda g, x, y: g * subject.derivative(x, y) * (1 + error))


SLIPS: dict[str, Callable[[Subject], Any]] = {
    "zeroed": lambda s: custom(s.forward, lambda g, x, y: g * s.derivative(x, y) * 0),
    "sign-flipped": lambda s: custom(s.forward, lambda g, x, y: -g * s.derivative(x, y)),
    "output for input": lambda s: custom(s.forward, lambda g, x, y: g * s.derivative(y, y)),
    "input for output": lambda s: custom(s.forward, lambda g, x, y: g * s.derivative(x, x)),
    "missing upstream": lambda s: custom(s.forward, lambda g, x, y: s.derivative(x, y) + 0 * g),
}
"""Each a wrong backward; some are right for some subjects (exp's derivative is its output)."""
