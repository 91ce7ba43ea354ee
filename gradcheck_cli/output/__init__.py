"""How a Report is shown. A new format is one module with `render(report, **settings)` and one entry here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

FORMATS: dict[str, str] = {"text": "gradcheck_cli.output.text", "json": "gradcheck_cli.output.json"}
"""Name -> module, loaded when it is used."""


def renderer(name: str) -> Callable[..., str]:
    """The module's `render(report, verbose=, quiet=, color=, width=)`: text without a last newline."""
    render: Callable[..., str] = import_module(FORMATS[name]).render
    return render
