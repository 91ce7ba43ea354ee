"""The pictures of docs/ are those that the commands beside them draw."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests import shown

PICTURES = {name: command for command, name in shown.pictured()}
DRAWN = runpy.run_path(str(shown.DOCS / "pictures" / "draw.py"))["PICTURES"]


def test_every_picture_is_drawn_by_a_command() -> None:
    """Each that a page shows, with words for those who can't see it, is drawn by one, or by draw.py; none is left over."""
    pages = "".join(page.read_text(encoding="utf-8") for page in shown.DOCS.glob("*.md"))
    made = set(PICTURES) | set(DRAWN)
    assert len(PICTURES) > 3
    assert set(re.findall(r"!\[[^\]]{20,}\]\(pictures/([-\w.]+)\)", pages)) == made
    assert {path.name for path in (shown.DOCS / "pictures").glob("*.svg")} == made


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawing_is_what_its_program_draws(name: str) -> None:
    """To the byte."""
    assert (shown.DOCS / "pictures" / name).read_text(encoding="utf-8") == DRAWN[name]()


@pytest.mark.slow(reason="a command")
def test_a_picture_is_what_is_drawn(tmp_path: Path) -> None:
    """But for the digits, one of them; `python -m tests.shown` draws all of them anew."""
    name = "where.svg"
    stored = (shown.DOCS / "pictures" / name).read_text(encoding="utf-8")
    assert shown.outline(shown.drawn(PICTURES[name], name, tmp_path)) == shown.outline(stored)
