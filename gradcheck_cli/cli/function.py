"""`gradcheck function`: a function of tensors from a file or a package."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradcheck_cli.cli.options import OF_TENSORS_HELP, check

if TYPE_CHECKING:
    from gradcheck_cli.verdict.report import Report


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @check(
        app,
        "function silu.py:SiLU",
        'function silu.py:SiLU --at "x=[-1,0.5,3]" --formula "x*sigmoid(x)" --order 2',
        "function mypackage.layers:attention --shape q=4,8 --shape k=5,8 --shape v=5,8 --set causal=True",
        without=("claim",),
    )
    def function(
        target: Annotated[str, typer.Argument(metavar="TARGET", help="FILE.py:NAME or package.module:NAME.")],
        settings: Annotated[
            list[str] | None,
            typer.Option(
                "--set",
                metavar="NAME=VALUE",
                help="An argument that is handed over as it is: a literal, dim=1, or target=tensor([0,2]).",
            ),
        ] = None,
        formula: Annotated[
            str | None, typer.Option(metavar="FORMULA", help="What the function ought to compute: its values are judged too.")
        ] = None,
        order: Annotated[int, typer.Option(metavar="N", help="2: the derivative of the gradient too (double backward).")] = 1,
        sample: Annotated[int | None, typer.Option(metavar="N", help="Check N seeded points. [3 without --at]")] = None,
        mode: Annotated[
            list[str] | None,
            typer.Option(metavar="MODE", help=OF_TENSORS_HELP),
        ] = None,
        **options: Any,
    ) -> Report:
        """
        Check a function of tensors, above all one with a backward of its own.

        NAME is a function, an instance of torch.nn.Module, or a torch.autograd.Function (or its apply). No formula is
        needed: the exact derivative is found by following the forward pass. Inputs go by the names of the parameters; without
        --at and --shape they are seeded vectors of 3 entries.

        The file is imported, hence executed: check only code that you would run.
        """
        from gradcheck_cli.api import check_function

        with redirect_stdout(sys.stderr):  # prints of the function must not mix with the report
            return check_function(target, settings=settings, formula=formula, order=order, sample=sample, mode=mode, **options)
