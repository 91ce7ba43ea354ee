"""Arguments that are handed over as they are: `--set dim=1`."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gradcheck_cli.errors import InputError


def settings_of(given: str | Sequence[str] | Mapping[str, Any] | None) -> Iterator[tuple[str, Any]]:
    """NAME=VALUE, the value a literal of Python, or tensor(literal)."""
    if isinstance(given, Mapping):
        yield from given.items()
        return
    for text in [given] if isinstance(given, str) else given or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise InputError("a setting is written NAME=VALUE, such as dim=1", text, 0)
        yield name.strip(), _literal(value.strip(), text, len(name) + 1)


def _literal(value: str, text: str, at: int) -> Any:
    inner = re.fullmatch(r"(?:torch\.)?tensor\((.*)\)", value, re.DOTALL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "invalid decimal literal"
            found = ast.literal_eval(inner[1] if inner else value)
        return _tensor(found) if inner else found
    except (ValueError, SyntaxError, TypeError, RuntimeError, MemoryError, RecursionError):
        message = "a setting is a literal (2, 0.5, True, 'mean', (1, 2), None), or tensor([0, 2])"
        raise InputError(message, text, min(at, len(text))) from None


def _tensor(found: Any) -> Any:
    import torch

    return torch.tensor(found)
