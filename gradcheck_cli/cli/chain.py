"""`gradcheck chain`: every derivative of a chain, from the output back to the input."""

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
        'chain "2*x" "z**2+2*z+2" --at x=1',
        'chain "z = 2*x" "w = sin(z) + x" "y = w*z" --sample 100 --domain x=0:5 --seed 7',
        'chain "2*x | z**2+2*z+2" --at x=1 --claim "x=8*x+4"',
        'chain "tanh(x)" --at x=all --dtype bfloat16',
        'chain "-x" --at "x=linspace(-1,1,9)" --mode all --format json --output result.json',
    )
    def chain(
        expressions: Annotated[
            list[str],
            typer.Argument(
                metavar="EXPRESSION",
                help="Stages, the first one first, each 'expression' or 'name = expression'; | separates stages too.",
                show_default=False,
            ),
        ],
        **options: Any,
    ) -> Report:
        """
        Check every derivative of a chain of expressions.

        These are the derivatives of the output with respect to every stage and input, from the output back to the
        input, and of every stage with respect to what it uses.

        A stage without a name calls the stage before by any name of its own choice. An expression may start with a
        dash; -h, -o, -q and -v are options, so write (-h).
        """
        from gradcheck_cli.api import check_chain

        return check_chain(expressions, **options)
