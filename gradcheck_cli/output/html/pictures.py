"""The pictures of a report's page."""

from __future__ import annotations

from gradcheck_cli.output import plots
from gradcheck_cli.verdict.report import Report


def figures(report: Report, prefix: str) -> list[str]:
    """Pictures as `<svg>` elements; none where there is nothing to draw, or matplotlib is missing. `prefix`: of the names in
    them."""
    return plots.svgs(report, prefix)


def without() -> str:
    """Why there are none, and how they are had; empty where they can be drawn."""
    return "" if plots.available() else f"Pictures are drawn by matplotlib, which isn't installed: {plots.HOW}"
