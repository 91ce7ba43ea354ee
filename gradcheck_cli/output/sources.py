"""Where code is: a target FILE.py:NAME, found by reading the file, never by running it; and the lines that texts name."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from gradcheck_cli.output.parts import Source

LARGEST = 1_000_000
"""Bytes of a file that is read."""


def backward(target: str, folder: Path) -> tuple[Path, int] | None:
    """File and line of the backward behind a target, or else of the definition itself; None where that can't be told.

    The backward is that of the class, of the class whose `apply` the name stands for, or that a function of this name applies.
    """
    file, _, name = target.rpartition(":")
    path = folder / file
    known = _definitions(path) if file.endswith(".py") else {}
    node = known.get(name.partition(".")[0])
    return None if node is None else (path, _line(node, known))


def names(file: str, folder: Path, *, networks: bool = False) -> list[str]:
    """What a file defines that may be a target: functions and custom Functions, or `networks`: classes, objects, and functions
    that need no arguments."""
    found = []
    for name, node in _definitions(_path(file, folder)).items():
        custom = isinstance(node, ast.ClassDef) and any(ast.unparse(base).endswith("Function") for base in node.bases)
        if name.startswith("_") and not custom:
            continue
        if isinstance(node, ast.FunctionDef):
            needed = len(node.args.args) - len(node.args.defaults)
            wanted = not networks or needed <= 0
        else:
            wanted = networks != custom if isinstance(node, ast.ClassDef) else isinstance(node, ast.Assign) and _called(node)
        found += [name] if wanted else []
    return found


def parameters(target: str, folder: Path) -> list[str]:
    """The parameters of a function FILE.py:NAME, or of the forward of a class (without self and ctx)."""
    file, _, name = target.rpartition(":")
    node = _definitions(_path(file, folder)).get(name) if file else None
    if isinstance(node, ast.ClassDef):
        node = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "forward"), None)
    return [a.arg for a in node.args.args if a.arg not in ("self", "ctx")] if isinstance(node, ast.FunctionDef) else []


def _path(file: str, folder: Path) -> Path:
    return folder / (file if file.endswith(".py") else file.replace(".", "/") + ".py")


def _called(node: ast.Assign) -> bool:
    """Whether what is assigned may be called: no literal."""
    return isinstance(node.value, ast.Call | ast.Attribute | ast.Lambda | ast.Name)


@lru_cache(maxsize=16)
def _definitions(path: Path) -> Mapping[str, ast.stmt]:
    """What a file defines at its top; nothing if it can't be read."""
    try:
        return dict(_named(ast.parse(path.read_bytes()))) if path.is_file() and path.stat().st_size <= LARGEST else {}
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return {}


def _named(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            yield from ((n.id, node) for n in node.targets if isinstance(n, ast.Name))


def _line(node: ast.stmt, known: Mapping[str, ast.stmt]) -> int:
    classes = [node] if isinstance(node, ast.ClassDef) else [known.get(name) for name in _applied(node)]
    for found in classes:
        for member in found.body if isinstance(found, ast.ClassDef) else ():
            if isinstance(member, ast.FunctionDef) and member.name == "backward":
                return _first_line(member)
    return _first_line(node)


def _first_line(node: ast.stmt) -> int:
    """Where a definition begins: at its first decorator, as Python says it, and reports."""
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _applied(node: ast.stmt) -> Iterator[str]:
    """Names in `NAME.apply`."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and inner.attr == "apply" and isinstance(inner.value, ast.Name):
            yield inner.value.id


# -- lines that texts name ---------------------------------------------------------------------------------------------

_LINE = re.compile(r"([^()\s,;:]+\.py), line (\d+)")
"""A line of code, as details name it."""
_SPELLED = re.compile(r"([^()\s,;:]+\.py):(\d+)")


def spelled(text: str) -> str:
    """The text with each `silu.py, line 14` as `silu.py:14`, which editors and terminals know; the path from here, where the
    file is below."""
    return _LINE.sub(lambda found: f"{_relative(found[1])}:{found[2]}", text)


def named_in(texts: Iterable[str]) -> Iterator[Source]:
    """The lines that spelled texts name, each once."""
    found = {match[0]: match for text in texts for match in _SPELLED.finditer(text)}
    for text, match in found.items():
        path = _loaded(Path(match[1]).name)
        yield Source(text, int(match[2]), path)


def _loaded(name: str) -> str | None:
    """The path of the module that was imported from a file of this name, if it is the only one."""
    files = {file for module in list(sys.modules.values()) if (file := _file(module)) and os.path.basename(file) == name}
    return os.path.abspath(files.pop()) if len(files) == 1 else None


def _file(module: object) -> str | None:
    file = getattr(module, "__dict__", {}).get("__file__")
    return file if isinstance(file, str) else None


def _relative(name: str) -> str:
    path = _loaded(name)
    if path is None:
        return name
    try:
        here = os.path.relpath(path)
    except (OSError, ValueError):  # another drive, or no working directory
        return name
    return name if here.startswith("..") else here
