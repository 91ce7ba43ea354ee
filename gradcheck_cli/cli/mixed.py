"""`gradcheck mixed`: a mixed partial derivative and its prefixes, in the given order and others."""

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
        'mixed "x**2+x*y**2" --wrt x,y',
        'mixed "x**2+x*y**2" --wrt x,y --at x=2,y=3 --claim "2*y"',
        'mixed "x**y" --wrt x,y,x --permutations --domain x=0:10',
    )
    def mixed(
        expression: Annotated[str, typer.Argument(metavar="EXPRESSION", help="The function; | separates stages.")],
        wrt: Annotated[
            str,
            typer.Option(metavar="NAMES", help="What to differentiate by, in this order: x,y is first by x, then by y."),
        ],
        permutations: Annotated[
            bool | None,
            typer.Option(
                "--permutations/--no-permutations",
                help="Check all other orders too. [where there are just two, different names]",
                show_default=False,
            ),
        ] = None,
        **options: Any,
    ) -> Report:
        """
        Check a mixed partial derivative and its orders.

        It is taken by nested differentiation in the given order. Every derivative on the way is checked too, and other
        orders of differentiation, which must agree.
        """
        from gradcheck_cli.api import check_mixed

        return check_mixed(expression, wrt, permutations=permutations, **options)
