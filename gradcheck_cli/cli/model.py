"""`gradcheck model`: a network, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradcheck_cli.cli.options import OF_TENSORS_HELP, check

if TYPE_CHECKING:
    from gradcheck_cli.verdict.report import Report


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @check(
        app,
        'model "Linear(10, 5) | ReLU()"',
        'model "Linear(10, 5) | ReLU()" --layer 0 --neuron 2',
        'model "Residual(Linear(4, 4) | GELU()) | Linear(4, 3)" --loss "mean(y**2)" --wrt parameters',
        'model "Conv2d(1, 4, 3) | BatchNorm2d(4) | ReLU" --input 2,1,8,8 --train --dtype float32',
        "model net.py:build --input 1,28,28 --seed 3",
        without=("shape", "sample", "domain", "claim"),
    )
    def model(
        network: Annotated[
            str,
            typer.Argument(
                metavar="NETWORK",
                help="Layers of torch.nn with literal arguments, separated by |; Residual(...) is x + f(x). Or FILE.py:NAME, "
                "or package.module:NAME: a Module, a class or a function that gives one. The file is imported, hence executed.",
                show_default=False,
            ),
        ],
        input: Annotated[
            list[str] | None,
            typer.Option(metavar="SIZES", help="The shape of the input, 1,28,28 or NAME=1,28,28. [what the first layer takes]"),
        ] = None,
        at: Annotated[
            list[str] | None, typer.Option(metavar="VALUES", help="The input itself: x=[1,2]. [seeded normal numbers]")
        ] = None,
        layer: Annotated[
            str | None, typer.Option(metavar="NAME", help="Differentiate the output of this layer: 0, encoder.1.")
        ] = None,
        neuron: Annotated[
            str | None, typer.Option(metavar="INDEX", help="Differentiate one entry of the output: 2, or 1,2.")
        ] = None,
        wrt: Annotated[
            str | None,
            typer.Option(
                metavar="input|parameters|all", help="What to differentiate by. [all; with --layer or --neuron: input]"
            ),
        ] = None,
        loss: Annotated[str | None, typer.Option(metavar="FORMULA", help="A formula of the output y: mean(y**2).")] = None,
        cotangent: Annotated[
            str | None,
            typer.Option(
                metavar="random|ones|[...]",
                help="The combination v of outputs that is differentiated. [random; with --layer: every output by itself]",
            ),
        ] = None,
        train: Annotated[
            bool,
            typer.Option(
                "--train/--eval",
                help="Training mode: dropout with one mask, statistics of the batch. [--eval]",
                show_default=False,
            ),
        ] = False,
        seed: Annotated[
            int | None, typer.Option(metavar="N", help="Seed of weights, input and masks: torch.manual_seed. [0]")
        ] = None,
        mode: Annotated[list[str] | None, typer.Option(metavar="MODE", help=OF_TENSORS_HELP)] = None,
        **options: Any,
    ) -> Report:
        """
        Check a network: every layer by itself, and in its place.

        One row a layer shows the worst entry of what it does in its place: the derivatives of the output by what it returned
        and by its parameters, and of what it returned by the input. Another one shows that of its own derivative, at the
        numbers that it received; the first layer whose own derivative is wrong is named. With --layer or --neuron: the
        Jacobian of these outputs, entry by entry. With --mode forward, the same along seeded numbers for all inputs and
        parameters.
        """
        from gradcheck_cli.api import check_model

        return check_model(
            network, input=input, at=at, layer=layer, neuron=neuron, wrt=wrt, loss=loss, cotangent=cotangent, train=train,
            seed=seed, mode=mode, **options,
        )  # fmt: skip
