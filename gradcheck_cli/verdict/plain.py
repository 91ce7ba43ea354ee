"""Values as JSON has them, and what they say: whatever reads or writes them needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def jsonable(value: Any) -> Any:
    """`value` with every float that JSON lacks as a string, tuples as lists, keys as strings."""
    if isinstance(value, float):
        return value if math.isfinite(value) else "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, Sequence):
        return [jsonable(v) for v in value]
    return value


_DECLARED = {
    "reference": "declared: values and derivatives are judged by the reference {}",
    "surrogate": "declared: the backward is judged as the derivative of the surrogate {}; values are not judged by it",
}


def intentions(problem: Mapping[str, Any]) -> list[str]:
    """What the user has declared, in sentences, of a report's `problem`."""
    found = [
        text.format(" ".join(str(problem[word]).split())) for word, text in _DECLARED.items() if problem.get(word) is not None
    ]
    if problem.get("autocast") is not None:
        found.append(f"run under torch.autocast to {problem['autocast']}")
    if problem.get("compile") is not None:
        found.append(f"run by torch.compile ({problem['compile']}) too")
    if problem.get("stop_gradients"):
        found.append("declared: what the code detaches (.detach(), .data, torch.no_grad()) is constant in the exact derivative")
    return found
