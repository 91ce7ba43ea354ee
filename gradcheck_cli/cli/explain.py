"""`gradcheck explain`: a derivative worked out as on a blackboard."""

from __future__ import annotations

from typing import Any

import typer

from gradcheck_cli.cli.options import Outcome, add, check_output, parameter, with_options
from gradcheck_cli.cli.streams import width

FORMATS = ("text", "markdown", "latex", "html")

HELP = """
Work a derivative out, rule by rule, with the numbers of a point.

The stages of a chain go by the chain rule: every stage's value, its own derivative, and the product from the output back
to the input, in the order in which hooks fire. A single expression of several inputs has a gradient; --wrt x,y is the mixed
partial derivative. Of complex numbers there are d/dz and d/dz*, and what torch's gradient is made of. The torch code that shows
the same stands at the end, and runs as it is printed.
"""

EXAMPLES = (
    'explain "2*x" "z**2+2*z+2" --at x=1',
    'explain "z = 2*x" "w = sin(z) + x" "y = w*z" --at x=1',
    'explain "x**2 + y**3" --at x=2,y=3',
    'explain "x**2+x*y**2" --wrt x,y',
    'explain "conj(z)*z**2" --at z=1+2j',
    'explain "sum(x*y)" --at "x=[1,2],y=[3,4]" --format html --output lesson.html',
)


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    says = "Stages, the first one first, each 'expression' or 'name = expression'; | separates stages too."
    expressions = parameter("expressions", list[str], typer.Argument(metavar="EXPRESSION", help=says, show_default=False))
    add(app, "explain", HELP, *EXAMPLES)(with_options(explain, "explain", FORMATS, expressions))


def explain(*, expressions: list[str], format: str, output: str, **given: Any) -> Outcome:
    """The lesson, in one of FORMATS."""
    check_output(format, output, FORMATS)
    from gradcheck_cli.lessons.explain import explain
    from gradcheck_cli.output.lesson import written

    return Outcome(written(explain(expressions, **given), format, width=width(output)), output=output)
