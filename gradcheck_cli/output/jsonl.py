"""JSON Lines: an outcome a line, as in a results file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.suite.results import line

if TYPE_CHECKING:
    from gradcheck_cli.suite.run import Suite


def render_suite(suite: Suite, **settings: Any) -> str:
    """The lines, without a last newline."""
    return "\n".join(map(line, suite.outcomes))
