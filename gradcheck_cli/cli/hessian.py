"""`gradcheck hessian`: all second derivatives."""

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
        'hessian "x**2*y + y**3" --at x=2,y=3',
        'hessian "logsumexp(x)" --at "x=[1,2,3]"',
        'hessian "norm(A@x)" --shape A=2,3 --shape x=3 --sample 5 --mode all',
    )
    def hessian(
        expression: Annotated[str, typer.Argument(metavar="EXPRESSION", help="The function; | separates stages.")],
        **options: Any,
    ) -> Report:
        """
        Check all second derivatives of an expression, in both orders.
        """
        from gradcheck_cli.api import check_hessian

        return check_hessian(expression, **options)
