"""`gradcheck jacobian`: every output by every input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradcheck_cli.cli.options import check

if TYPE_CHECKING:
    from gradcheck_cli.verdict.report import Report


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @check(
        app,
        'jacobian "W@x + b" --at "W=[[1,2],[3,4]],x=[1,-1],b=[0,0]"',
        'jacobian "x*y" "x+y" --at x=2,y=3',
        'jacobian "softmax(x, dim=1)" --shape x=3,4 --sample 5 --domain x=-3:3',
        'jacobian "W@x" --at "W=[[1,2],[3,4]],x=[1,-1]" --claim "x=W"',
    )
    def jacobian(
        expressions: Annotated[
            list[str],
            typer.Argument(
                metavar="EXPRESSION", help="The outputs, each 'expression' or 'name = expression'.", show_default=False
            ),
        ],
        **options: Any,
    ) -> Report:
        """
        Check the derivative of every output by every input.

        An expression whose value is a vector or a matrix has an output for each entry; several expressions are several
        outputs.
        """
        from gradcheck_cli.api import check_jacobian

        return check_jacobian(expressions, **options)
