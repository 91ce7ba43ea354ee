"""The Typer app and `main`, which turns every outcome into an exit code.

0 all passed, 1 a mismatch, 2 bad input, 3 nothing failed but something is undecided or nothing was checked,
70 an internal error, 130 interrupted. A crash never looks like a verdict.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import gc
import os
import re
import shlex
import sys
from typing import Annotated, NoReturn

import typer

from gradcheck_cli import files
from gradcheck_cli.cli import checks, completion, crashes, explain, functions, ops, streams, why, words
from gradcheck_cli.cli import run as suite
from gradcheck_cli.cli.helps import Commands
from gradcheck_cli.cli.options import CONTEXT, TYPED, Outcome, write
from gradcheck_cli.errors import InputError, visible
from gradcheck_cli.options import OPTIONS

BAD_INPUT, INTERNAL_ERROR, INTERRUPTED = 2, 70, 130

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, context_settings=CONTEXT,
    cls=Commands,
    epilog="Exit codes: 0 all passed, 1 a mismatch, 2 bad input, 3 nothing failed but something is undecided or nothing was "
    "checked, 70 internal error.",
)  # fmt: skip
for module in (checks, suite, explain, functions, ops, why, completion):
    module.register(app)


def _version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib import metadata

    from gradcheck_cli import __version__

    print(f"gradcheck {__version__}")
    for package in ("torch", "sympy", "python-flint"):
        try:
            print(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            print(f"{package} is not installed")
    raise typer.Exit()


@app.callback()
def gradcheck(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the versions and exit.")
    ] = False,
) -> None:
    """
    Is the gradient that PyTorch's autograd returns the derivative, and if not, why?

    Every derivative is compared with its exact, certified value; an error is taken apart into rounding and a wrong
    formula.
    """


def main() -> NoReturn:
    """The entry point of the `gradcheck` command.

    The process ends at once: taking torch apart takes half a second, and a kernel of torch that never returns (its entries are
    undecided after --timeout) must not keep it.
    """
    gc.set_threshold(500_000, 20, 20)  # importing torch makes a million objects that stay
    streams.secure()
    if completion.ASKED in os.environ:
        completion.answer(app, os.environ)
        os._exit(0)
    crashes.watch(sys.argv[1:2])
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    crashes.done()
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; nothing is raised."""
    code = 0
    try:
        os.getcwd()
    except OSError:
        return _fail("the working directory isn't there any more: go to one that is", BAD_INPUT)
    TYPED.set(shlex.join(["gradcheck", *arguments]))
    try:
        meant = words.meant(arguments, [command.name for command in app.registered_commands if command.name])
        outcome = _lean(meant[:1])(shield(meant), prog_name="gradcheck", standalone_mode=False)
        if isinstance(outcome, Outcome):
            code = outcome.code
            write(outcome.text, outcome.output)
            for name, draw in outcome.pictures.items():
                files.write(draw(), name)
        else:
            code = outcome or 0
            sys.stdout.flush()
    except InputError as problem:
        return _fail(problem.typed, BAD_INPUT)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except (BrokenPipeError, SystemExit):  # Typer exits where the reader of its help has gone
        # The reader has gone: that is no error. Python must not flush what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as problem:  # a full disk, a file that has gone: the user's to mend
        where = f": {problem.filename}" if problem.filename else ""
        closed = None if sys.stdout.writable() else "can't write the output: stdout is closed"
        return _fail(closed or visible(f"{problem.strerror or problem}{where}"), BAD_INPUT)
    except Exception as problem:  # of ours: one line instead of a traceback
        if hasattr(problem, "format_message"):
            return _fail(_usage(problem), BAD_INPUT)
        return _internal(problem)
    return code


def _lean(asked: list[str]) -> typer.Typer:
    """The app, where only the command that is asked for has its options: Typer takes 5 ms for those of each."""
    lean = copy.copy(app)
    lean.registered_commands = []
    for command in app.registered_commands:
        if command.name not in asked:
            command = copy.copy(command)
            command.callback = _nothing
        lean.registered_commands.append(command)
    return lean


def _nothing() -> None:
    """Stands for a command that isn't asked for."""


def shield(arguments: list[str]) -> list[str]:
    """The arguments with a blank before every expression that starts with a dash, so that it isn't taken for an option.

    A word that looks like an option with a slip (-strict, --stict) is left alone, or refused. `run` takes no expressions.
    """
    if arguments[:1] == ["run"]:
        return arguments
    if "--" in arguments:
        end = arguments.index("--")
        return [*shield(arguments[:end]), *arguments[end:]]
    return [f" {a}" if _is_expression(a) else a for a in arguments]


_FORMS = ["--help", "-h", "--version", "-V", *(form for row in OPTIONS if row.typed for form in row.forms)]
_SHORT = frozenset(form[1:] for form in _FORMS if len(form) == 2)
_LONG = [form.removeprefix("--") for forms in _FORMS for form in forms.split("/") if form.startswith("--")]


def _is_expression(argument: str) -> bool:
    if not argument.startswith("-") or argument == "-" or re.fullmatch(r"--[A-Za-z][\w-]*(=.*)?", argument, re.DOTALL):
        return False
    word = argument[1:]
    if set(word) <= _SHORT:
        return False
    name = word.partition("=")[0]
    near = difflib.get_close_matches(name, _LONG, n=1, cutoff=0.75) if name.isalpha() and len(name) > 1 else []
    if near:
        raise InputError(f"no such option: did you mean --{near[0]} (an expression is written '(-{word})')", argument, 0)
    return True


def _usage(problem: Exception) -> str:
    """Typer's usage error as one line."""
    possible = getattr(problem, "possibilities", None)
    if possible:
        message = f"no such option: {getattr(problem, 'option_name', '')}; did you mean {' or '.join(sorted(possible))}"
    else:
        message = " ".join(str(problem.format_message()).split()).rstrip(".?")  # type: ignore[attr-defined]
        message = (message[:1].lower() + message[1:]).replace(". Did you", "; did you")
    context = getattr(problem, "ctx", None)
    return f"{message} (see {context.command_path if context else 'gradcheck'} --help)"


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(OSError):  # the exit code says it too
        print(f"gradcheck: error: {message}" if code == BAD_INPUT else f"gradcheck: {message}", file=sys.stderr, flush=True)
    return code


def _internal(problem: Exception) -> int:
    if os.environ.get("GRADCHECK_TRACEBACK"):
        import traceback

        traceback.print_exception(problem)
    text = visible(" ".join(f"{type(problem).__name__}: {problem}".split()))
    return _fail(f"internal error: {text[:300]} (GRADCHECK_TRACEBACK=1 shows the traceback)", INTERNAL_ERROR)
