"""What the commands share: options as Typer knows them, made of the rows of the table, and the writing of a result."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from gradcheck_cli import files
from gradcheck_cli.cli.helps import Command
from gradcheck_cli.errors import InputError
from gradcheck_cli.options import Option, of

TYPED: ContextVar[str] = ContextVar("TYPED", default="")
"""The command line, as it can be typed again."""

CONTEXT = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command leaves to `app.main`: a text for stdout, or for the file `output`, the exit code, and pictures to
    be drawn, by the names of their files."""

    text: str
    code: int = 0
    output: str = "-"
    pictures: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)


def with_options(
    function: Callable[..., Outcome], command: str, formats: Collection[str], *own: inspect.Parameter
) -> Callable[..., Outcome]:
    """The function as Typer reads it: parameters of its `own`, then each option of the command. `formats`: those that it
    writes."""
    options = [_parameter(row, formats) for row in of(command) if row.typed]
    function.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in (*own, *options)}
    return function


def parameter(name: str, kind: Any, declared: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter of a command: `declared` by typer.Argument or typer.Option."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, declared])


def _parameter(row: Option, formats: Collection[str]) -> inspect.Parameter:
    """An option. Where it isn't given, None is handed on: the twin knows the default."""
    repeat = " Repeat it for more." if row.form.several and not row.choices else ""
    declared = typer.Option(
        *row.forms,
        metavar="|".join(formats) if row.name == "format" else row.metavar or None,
        help=f"{row.meaning}{repeat}" + (f" [{row.without}]" if row.without else ""),
        show_default=False,
    )
    word: Any = row.form.word
    kind: Any = list[word] if row.form.several else word
    if row.required:
        return parameter(row.parameter, kind, declared)
    flag = row.form.word is bool and row.default is not None
    return parameter(row.parameter, kind if flag else kind | None, declared, row.default if flag or not row.twin else None)


def add(app: typer.Typer, name: str, help: str, *examples: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command with a block of examples under its help."""
    epilog = "\b\nExamples:\n" + "\n".join(f"  gradcheck {example}" for example in examples)
    return app.command(name, cls=Command, help=inspect.cleandoc(help), epilog=epilog, context_settings=CONTEXT)


def check_output(format: str, output: str, formats: Collection[str]) -> None:
    """InputError, before any work, where the command doesn't write the format, or the file can't be written."""
    if format not in formats:
        raise InputError(f"unknown format {format!r}: choose from {', '.join(formats)}{_ELSEWHERE.get(format, '')}")
    check_file(output)


_ELSEWHERE = {"latex": "; gradcheck explain writes a derivation in LaTeX"}
"""Formats that other commands write."""


def check_file(output: str) -> None:
    """InputError where the file, or stdout, can't be written."""
    if output != "-":
        files.check_writable(output)
    elif not sys.stdout.writable():
        raise InputError("can't write the output: stdout is closed")


def write(text: str, output: str) -> None:
    """Write text and a newline to stdout or the file; a file appears whole or not at all. InputError where it can't be."""
    if output != "-":
        files.write(text, output)
        return
    with suppress(AttributeError):  # a stream that was replaced
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise InputError(f"can't write the output: {problem.strerror or problem}") from None
