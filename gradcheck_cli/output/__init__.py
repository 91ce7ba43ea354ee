"""How a Report is shown, and the Outcomes of a suite. A new format is one module and one entry here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradcheck_cli.verdict.report import Report

FORMATS: dict[str, str] = {name: f"gradcheck_cli.output.{name}" for name in ("text", "json", "markdown", "html")}
"""Name -> module, loaded when it is used."""

OF_FILES: dict[str, str] = {"text": "gradcheck_cli.output.several", "html": "gradcheck_cli.output.html.several"}
"""The same, of the reports on everything in a file, where that differs."""

SUITE_FORMATS: dict[str, str] = {
    "text": "gradcheck_cli.output.summary",
    **{name: f"gradcheck_cli.output.{name}" for name in ("json", "jsonl", "junit", "sarif", "github", "markdown", "html")},
}
"""The same, of a suite."""


def renderer(name: str, report: Report) -> Callable[..., str]:
    """The module's `render(report, verbose=, quiet=, color=, width=, command=)`: text without a last newline."""
    from gradcheck_cli.verdict.reports import Reports

    found = OF_FILES.get(name) if isinstance(report, Reports) else None
    render: Callable[..., str] = import_module(found or FORMATS[name]).render
    return render


def suite_renderer(name: str) -> Callable[..., str]:
    """The module's `render_suite(suite, verbose=, quiet=, color=, width=)`: text without a last newline."""
    render: Callable[..., str] = import_module(SUITE_FORMATS[name]).render_suite
    return render
