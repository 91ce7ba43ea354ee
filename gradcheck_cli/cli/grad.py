"""`gradcheck grad`: all partial derivatives up to an order."""

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
        'grad "x**2 + y**3" --at x=2,y=3',
        'grad "exp(-x**2/2)*y" --order 2 --sample 50 --dtype float32,float64',
        'grad "log(1 + exp(x))" --claim "1/(1 + exp(-x))" --strict',
    )
    def grad(
        expression: Annotated[str, typer.Argument(metavar="EXPRESSION", help="The function; | separates stages.")],
        order: Annotated[int, typer.Option(metavar="N", help="1: the gradient, 2: the Hessian too, and so on to 6.")] = 1,
        **options: Any,
    ) -> Report:
        """
        Check all partial derivatives of an expression.
        """
        from gradcheck_cli.api import check_grad

        return check_grad(expression, order=order, **options)
