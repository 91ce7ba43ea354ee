"""`gradcheck chain`, `mixed`, ..., `model`: a command for each kind of check.

What it takes stands in `options`, what it does in `api`; here is the rest of its help, and the way to a written report.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import typer

from gradcheck_cli.cli import crashes
from gradcheck_cli.cli.options import TYPED, Outcome, add, check_output, parameter, with_options
from gradcheck_cli.cli.progress import progress
from gradcheck_cli.cli.streams import colored, width
from gradcheck_cli.errors import InputError
from gradcheck_cli.options import KINDS, Kind
from gradcheck_cli.output import FORMATS, plots, renderer

HELP: dict[str, tuple[str, tuple[str, ...]]] = {
    "chain": (
        """
        These are the derivatives of the output with respect to every stage and input, from the output back to the
        input, and of every stage with respect to what it uses.

        A stage without a name calls the stage before by any name of its own choice. An expression may start with a
        dash; -h, -o, -q and -v are options, so write (-h).
        """,
        (
            '"2*x" "z**2+2*z+2" --at x=1',
            '"z = 2*x" "w = sin(z) + x" "y = w*z" --sample 100 --domain x=0:5 --seed 7',
            '"2*x | z**2+2*z+2" --at x=1 --claim "x=8*x+4"',
            '"tanh(x)" --at x=all --dtype bfloat16',
            '"sin(x)" --at x=all --dtype float32 --workers 8 --resume sin.jsonl',
            '"-x" --at "x=linspace(-1,1,9)" --mode all --format json --output result.json',
        ),
    ),
    "mixed": (
        """
        It is taken by nested differentiation in the given order. Every derivative on the way is checked too, and other
        orders of differentiation, which must agree.
        """,
        (
            '"x**2+x*y**2" --wrt x,y',
            '"x**2+x*y**2" --wrt x,y --at x=2,y=3 --claim "2*y"',
            '"x**y" --wrt x,y,x --permutations --domain x=0:10',
        ),
    ),
    "grad": (
        "",
        (
            '"x**2 + y**3" --at x=2,y=3',
            '"exp(-x**2/2)*y" --order 2 --sample 50 --dtype float32,float64',
            '"log(1 + exp(x))" --claim "1/(1 + exp(-x))" --strict',
        ),
    ),
    "jacobian": (
        """
        An expression whose value is a vector or a matrix has an output for each entry; several expressions are several
        outputs.
        """,
        (
            '"W@x + b" --at "W=[[1,2],[3,4]],x=[1,-1],b=[0,0]"',
            '"x*y" "x+y" --at x=2,y=3',
            '"softmax(x, dim=1)" --shape x=3,4 --sample 5 --domain x=-3:3',
            '"W@x" --at "W=[[1,2],[3,4]],x=[1,-1]" --claim "x=W"',
        ),
    ),
    "hessian": (
        "",
        (
            '"x**2*y + y**3" --at x=2,y=3',
            '"logsumexp(x)" --at "x=[1,2,3]"',
            '"norm(A@x)" --shape A=2,3 --shape x=3 --sample 5 --mode all',
        ),
    ),
    "function": (
        """
        NAME is a function, an instance of torch.nn.Module, or a torch.autograd.Function (or its apply). No formula is
        needed: the exact derivative is found by following the forward pass. Inputs go by the names of the parameters; without
        --at and --shape they are seeded vectors of 3 entries.

        The file is imported, hence executed: check only code that you would run.
        """,
        (
            "silu.py:SiLU",
            'silu.py:SiLU --at "x=[-1,0.5,3]" --formula "x*sigmoid(x)" --order 2',
            "mypackage.layers:attention --shape q=4,8 --shape k=5,8 --shape v=5,8 --set causal=True",
        ),
    ),
    "model": (
        """
        One row a layer shows the worst entry of what it does in its place: the derivatives of the output by what it returned
        and by its parameters, and of what it returned by the input. Another one shows that of its own derivative, at the
        numbers that it received; the first layer whose own derivative is wrong is named. With --layer or --neuron: the
        Jacobian of these outputs, entry by entry. With --mode forward, the same along seeded numbers for all inputs and
        parameters.
        """,
        (
            '"Linear(10, 5) | ReLU()"',
            '"Linear(10, 5) | ReLU()" --layer 0 --neuron 2',
            '"Residual(Linear(4, 4) | GELU()) | Linear(4, 3)" --loss "mean(y**2)" --wrt parameters',
            '"Conv2d(1, 4, 3) | BatchNorm2d(4) | ReLU" --input 2,1,8,8 --train --dtype float32',
            "net.py:build --input 1,28,28 --seed 3",
        ),
    ),
}
"""What the help of each says below its first sentence, and examples of what may stand behind its name."""


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    for kind in KINDS.values():
        more, examples = HELP[kind.name]
        about = f"{kind.sentence}\n\n{inspect.cleandoc(more)}"
        add(app, kind.name, about, *(f"{kind.name} {example}" for example in examples))(_command(kind))


def _one_target(kind: str, target: str) -> None:
    """InputError, before any work, where a picture is asked for of everything in a file."""
    if KINDS[kind].form.several:
        return
    from gradcheck_cli.callables.contents import whole

    place = whole(target)
    if place is not None:
        raise InputError(f"a picture is of one target: gradcheck {kind} {place}:NAME --plot FILE", target, len(target))


def _command(kind: Kind) -> Callable[..., Outcome]:
    """The twin, as Typer calls it: its report, written."""

    def command(*, format: str, output: str, plot: list[str] | None, quiet: bool, **given: Any) -> Outcome:
        check_output(format, output, FORMATS)
        plots.check(plot or ())
        if plot and isinstance(given[kind.target], str):
            _one_target(kind.name, given[kind.target])
        if output in (plot or ()):
            raise InputError("the result and the picture can't be the same file", output, 0)
        from gradcheck_cli.api import TWINS

        with progress(not quiet) as callback, redirect_stdout(sys.stderr):  # what is checked may print
            try:
                with crashes.recorded():
                    report = TWINS[kind.name](given.pop(kind.target), **given, progress=callback)
            except (SystemExit, GeneratorExit) as end:
                raise InputError(f"the code that is checked ends the process: {type(end).__name__}({end})") from None
        shown = {"verbose": given["verbose"], "quiet": quiet, "command": TYPED.get()}
        settings = {**shown, "color": colored(output), "width": width(output)}
        pictures = {name: partial(plots.drawn, report, name) for name in plot or ()}
        return Outcome(renderer(format, report)(report, **settings), report.exit_code, output, pictures)

    target = typer.Argument(metavar=kind.metavar, help=kind.help, show_default=False)
    own = parameter(kind.target, list[str] if kind.form.several else str, target)
    return with_options(command, kind.name, FORMATS, own)
