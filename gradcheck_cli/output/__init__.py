"""How a Report is shown, and the Outcomes of a suite. A new format is one module and one entry here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

FORMATS: dict[str, str] = {name: f"gradcheck_cli.output.{name}" for name in ("text", "json", "html")}
"""Name -> module, loaded when it is used."""

SUITE_FORMATS: dict[str, str] = {
    "text": "gradcheck_cli.output.summary",
    **{name: f"gradcheck_cli.output.{name}" for name in ("json", "jsonl", "junit", "sarif", "github", "markdown", "html")},
}
"""The same, of a suite."""


def renderer(name: str) -> Callable[..., str]:
    """The module's `render(report, verbose=, quiet=, color=, width=)`: text without a last newline."""
    render: Callable[..., str] = import_module(FORMATS[name]).render
    return render


def suite_renderer(name: str) -> Callable[..., str]:
    """The module's `render_suite(suite, verbose=, quiet=, color=, width=)`: text without a last newline."""
    render: Callable[..., str] = import_module(SUITE_FORMATS[name]).render_suite
    return render
