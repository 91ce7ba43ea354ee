"""The help as it is shown: as wide as the terminal, whole sentences, and examples that can be pasted however narrow it is."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from gradcheck_cli.cli.streams import width

WIDEST, NARROWEST = 100, 30
"""Columns."""

_WORD = re.compile(r"""(?:"[^"]*"|'[^']*'|\S)+""")
"""A word of a command line, with its quotes."""


class Command(TyperCommand):
    """A command whose help fits."""

    def get_help(self, ctx: Any) -> str:
        ctx.terminal_width = _columns()
        return super().get_help(ctx)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write(self.epilog, formatter)


class Commands(TyperGroup):
    """The same of all commands together."""

    def get_help(self, ctx: Any) -> str:
        ctx.terminal_width = _columns()
        return super().get_help(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(limit=1_000)) for name, command in found if command and not command.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write(self.epilog, formatter)


def _columns() -> int:
    return max(min(width(), WIDEST), NARROWEST)


def _write(epilog: str | None, formatter: Any) -> None:
    """What stands under the options: a paragraph, or lines that are kept (after \\b) but for what is too long."""
    if not epilog:
        return
    formatter.write_paragraph()
    with formatter.indentation():
        if not epilog.startswith("\b\n"):
            formatter.write_text(epilog)
            return
        for line in epilog.removeprefix("\b\n").splitlines():
            for part in broken(line, formatter.width - formatter.current_indent):
                formatter.write(" " * formatter.current_indent + part + "\n")


def broken(line: str, columns: int) -> list[str]:
    """A command line in lines of at most so many columns, as a shell takes them, if no word of it is longer."""
    if len(line) <= columns:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    lines: list[str] = []
    current = ""
    for word in _WORD.findall(line):
        start = indent if not lines else indent + "    "
        if current and len(start + current) + 1 + len(word) + 2 > columns:
            lines.append(f"{start}{current} \\")
            current = word
        else:
            current = f"{current} {word}" if current else word
    return [*lines, f"{indent + '    ' if lines else indent}{current}"]
