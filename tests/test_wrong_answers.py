"""docs/wrong-answers.md: every wrong answer has a right one and a test that exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "wrong-answers.md").read_text(encoding="utf-8")

_CELLS = re.compile(r"(?<!\\)\|")


def rows() -> Iterator[tuple[str, ...]]:
    """The rows of the page's tables, below their headings."""
    for line in PAGE.splitlines():
        if line.startswith("|") and not line.startswith(("| asked", "|---")):
            yield tuple(cell.strip() for cell in _CELLS.split(line)[1:-1])


@cache
def functions_of(path: Path) -> frozenset[str]:
    """The names of the functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


@pytest.mark.parametrize("row", [*rows()], ids=lambda row: row[0][:40])
def test_each_wrong_answer_is_held_by_a_test(row: tuple[str, ...]) -> None:
    """Four cells, none of them empty, and the last one names a test that is there."""
    asked, said, right, held = row
    assert asked and said and right and said != right
    found = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", held)
    assert found is not None
    assert found[2] in functions_of(ROOT / found[1])


def test_the_page_is_read() -> None:
    """It has rows, and whoever adds to the code is told of it."""
    assert len([*rows()]) > 80
    assert "docs/wrong-answers.md" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
