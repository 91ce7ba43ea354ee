"""The pictures of a report's page."""

from __future__ import annotations

from gradcheck_cli.verdict.report import Report


def figures(report: Report) -> list[str]:
    """Pictures as `<svg>` elements; none where there is nothing to draw."""
    return []
