"""What the commands share: their options, and the way from a command line to a written report.

A command is a function of its own arguments that returns a Report; `check` adds the shared options and the rest.
"""

from __future__ import annotations

import inspect
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradcheck_cli.cli.progress import progress
from gradcheck_cli.errors import InputError
from gradcheck_cli.maps.modes import MODES, OF_TENSORS
from gradcheck_cli.output import FORMATS, renderer

if TYPE_CHECKING:
    from gradcheck_cli.verdict.report import Report

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

Format = Annotated[str, typer.Option("--format", metavar="|".join(FORMATS), help="How the result is written.")]
Output = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="Write the result to FILE, in one piece; - is stdout.")
]

OF_TENSORS_HELP = f"{', '.join(f'{mode.name} ({mode.of_tensors})' for mode in OF_TENSORS.values())}, or all. [reverse]"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command leaves to `app.main`: a text for stdout, or for the file `output`, and the exit code."""

    text: str
    code: int = 0
    output: str = "-"


def shared(
    at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POINT",
            help="A point, x=1,y=pi/4; repeat it for more. Values are constant expressions, lists (x=[1,2], A=[[1,2],[3,4]]), "
            "linspace(a,b,n), logspace(a,b,n) from a to b, or all (every float of a 16-bit dtype); several in one POINT make a "
            "grid.",
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SIZES", help="An input is a vector (x=3) or a matrix (A=3,4), where no point says so."),
    ] = None,
    sample: Annotated[int | None, typer.Option(metavar="N", help="Check N seeded points. [20 without --at]")] = None,
    domain: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=A:B", help="Where to sample, ends included; either may be left out. Holds for all entries."),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of the samples. [0]")] = None,
    mode: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODE",
            help=f"{', '.join(f'{mode.name} ({mode.help})' for mode in MODES.values())}; "
            "several with commas, or all. [reverse for chain, grad otherwise]",
        ),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(metavar="DTYPE", help="float64, float32, float16, bfloat16; several with commas, or all. [float64]"),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="Torch's name of the device.")] = "cpu",
    claim: Annotated[
        str | None,
        typer.Option(metavar="FORMULA", help="Your own derivative: x=8*x+4, or the formula alone where only one is asked for."),
    ] = None,
    rtol: Annotated[
        float | None, typer.Option(metavar="R", help="Accept an error of up to R times |exact|, plus --atol.")
    ] = None,
    atol: Annotated[float | None, typer.Option(metavar="A", help="Accept an error of up to A, plus --rtol's.")] = None,
    ulps: Annotated[float | None, typer.Option(metavar="N", help="Accept an error of up to N ulps of the dtype.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="An imprecise derivative fails too.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="For the whole run; what is left is undecided.")] = 600.0,
    format: Format = "text",
    output: Output = "-",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the last line.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Every point and every formula in full.")] = False,
) -> None:
    """The options of every check. Declared here once, for Typer to read; never called."""


def check(
    app: typer.Typer, *examples: str, without: Container[str] = ()
) -> Callable[[Callable[..., Report]], Callable[..., Outcome]]:
    """Make a command of a function: its docstring is the help, its own parameters come before the shared ones (but for those
    that it declares itself, and those it is `without`)."""

    def register(function: Callable[..., Report]) -> Callable[..., Outcome]:
        own = [p for p in _parameters(function) if p.kind is not inspect.Parameter.VAR_KEYWORD]

        def command(**given: Any) -> Outcome:
            format, output, quiet = given.pop("format"), given.pop("output"), given.pop("quiet")
            check_output(format, output)
            with progress(not quiet) as callback:
                report = function(**given, progress=callback)
            terminal = output == "-" and sys.stdout.isatty()
            text = renderer(format)(
                report,
                verbose=given["verbose"],
                quiet=quiet,
                color=terminal and not os.environ.get("NO_COLOR"),
                width=shutil.get_terminal_size().columns if terminal else None,
            )
            return Outcome(text, report.exit_code, output)

        taken = {p.name for p in own}
        rest = [p for p in _parameters(shared) if p.name not in taken and p.name not in without]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *rest)]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        add(app, function.__name__, function.__doc__ or "", *examples)(command)
        return command

    return register


def add(app: typer.Typer, name: str, help: str, *examples: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command with a block of examples under its help."""
    epilog = "\b\nExamples:\n" + "\n".join(f"  gradcheck {example}" for example in examples)
    return app.command(name, help=inspect.cleandoc(help), epilog=epilog, context_settings=CONTEXT)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    # Report is imported for type checkers only: it would load NumPy before --help is shown.
    return list(inspect.signature(function, eval_str=True, locals={"Report": object}).parameters.values())


def check_output(format: str, output: str) -> None:
    """InputError, before any work, where the format is unknown or the file can't be written."""
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r}: choose from {', '.join(FORMATS)}")
    check_file(output)


def check_file(output: str) -> None:
    """InputError where the file can't be written."""
    if output == "-":
        return
    path = Path(output).resolve()
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a directory")
        if path.exists():
            with path.open("ab"):
                pass
        if not _special(path):
            with tempfile.TemporaryFile(dir=path.parent):
                pass
    except OSError as problem:
        raise _unwritable(output, problem) from None


def write(text: str, output: str) -> None:
    """Write text and a newline to stdout or the file; a file appears whole or not at all."""
    if output == "-":
        with suppress(AttributeError):  # a stream that was replaced
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        print(text, flush=True)
        return
    path = Path(output).resolve()
    try:
        if _special(path):  # /dev/stderr, a pipe: it must not be replaced by a file
            path.write_text(text + "\n", encoding="utf-8")
            return
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", delete=False) as file:
            try:
                file.write(text + "\n")
                file.close()
                os.chmod(file.name, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as problem:
        raise _unwritable(output, problem) from None


def _special(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _unwritable(output: str, problem: OSError) -> InputError:
    return InputError(f"can't write the output: {problem.strerror or problem}", output, 0)
