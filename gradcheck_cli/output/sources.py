"""Where a target FILE.py:NAME is defined: found by reading the file, never by running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

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
                return member.lineno
    return node.lineno


def _applied(node: ast.stmt) -> Iterator[str]:
    """Names in `NAME.apply`."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute) and inner.attr == "apply" and isinstance(inner.value, ast.Name):
            yield inner.value.id
