"""Where a function under test is defined: read from its file, which is never run."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from gradcheck_cli.output import sources
from gradcheck_cli.output.page import draw
from gradcheck_cli.output.parts import Source
from gradcheck_cli.output.sources import named_in, spelled
from gradcheck_cli.output.text import _linked

FILE = """\
raise SystemExit("this file is only read")
class Base:
    def backward(ctx, g): ...
class Op(Base):
    def forward(ctx, x): ...

    def backward(ctx, g): ...
class Plain:
    pass
op = Op.apply
other = also = Op.apply
def wrapped(x):
    def inner(y):
        return y
    return Op.apply(inner(x))
def plain(x):
    return torch.sin(x)
class Static(Op):
    @staticmethod
    def backward(ctx, g): ...
"""

LINES = {"Op": 7, "Op.apply": 7, "Plain": 8, "op": 7, "also": 7, "wrapped": 7, "plain": 16, "Static": 19, "missing": None}


@pytest.mark.parametrize("name", LINES)
def test_a_name_leads_to_its_backward(tmp_path: Path, name: str) -> None:
    """The backward of a class, of the class that is applied, else the definition; None for a name that isn't defined there. The
    line is that of its first decorator, which Python's own co_firstlineno, and so the report, calls its first."""
    (tmp_path / "ops.py").write_text(FILE)
    line = LINES[name]
    assert sources.backward(f"ops.py:{name}", tmp_path) == (line and (tmp_path / "ops.py", line))


@pytest.mark.parametrize(
    "content", [b"def f(:", b"\x00", b"\xff\xfe", b"(" * 10_000, None], ids=["syntax", "zero", "encoding", "nested", "absent"]
)
def test_what_can_not_be_read_is_nowhere(tmp_path: Path, content: bytes | None) -> None:
    """A file that is no Python, or that isn't there, gives no place and no error."""
    if content is not None:
        (tmp_path / "ops.py").write_bytes(content)
    assert sources.backward("ops.py:f", tmp_path) is None


def test_others_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules aren't looked for (that would import packages), folders aren't files, and large files aren't read."""
    (tmp_path / "dir.py").mkdir()
    (tmp_path / "ops.py").write_text(FILE)
    monkeypatch.setattr(sources, "LARGEST", 10)
    assert [sources.backward(target, tmp_path) for target in ("os:path", "dir.py:f", "ops.py:Op", "Linear(2, 3)")] == [None] * 4


def test_lines_that_texts_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`silu.py, line 14` is written `silu.py:14`, with the folder where it is below the working directory, and its path is that
    of the module that was imported from it; none where two were, or none."""
    (tmp_path / "inner").mkdir()
    for name, file in (("a_module", "inner/silu_of_mine.py"), ("b_module", "twice.py"), ("c_module", "inner/twice.py")):
        module = ModuleType(name)
        module.__file__ = str(tmp_path / file)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.chdir(tmp_path)
    text = spelled("the backward of A (silu_of_mine.py, line 14); twice.py, line 3: sqrt; nowhere.py, line 5")
    assert text == "the backward of A (inner/silu_of_mine.py:14); twice.py:3: sqrt; nowhere.py:5"
    assert list(named_in([text, text])) == [
        Source("inner/silu_of_mine.py:14", 14, str(tmp_path / "inner" / "silu_of_mine.py")),
        Source("twice.py:3", 3, None), Source("nowhere.py:5", 5, None),
    ]  # fmt: skip


def test_a_line_is_a_link_in_colours() -> None:
    """OSC 8, of the file; plain text otherwise."""
    source = Source("silu.py:14", 14, "/folder/silu.py")
    line = _linked("blamed: silu.py:14, and silu.py:140", [source])
    link = r"\x1b\]8;[^;]*;file:///folder/silu\.py#14\x1b\\silu\.py:14\x1b\]8;;\x1b\\, and silu"
    assert re.search(link, draw([line], color=True))
    assert draw([line]) == "blamed: silu.py:14, and silu.py:140"
