"""Where a function under test is defined: read from its file, which is never run."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck_cli.output import sources

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
"""

LINES = {"Op": 7, "Op.apply": 7, "Plain": 8, "op": 7, "also": 7, "wrapped": 7, "plain": 16, "missing": None}


@pytest.mark.parametrize("name", LINES)
def test_a_name_leads_to_its_backward(tmp_path: Path, name: str) -> None:
    """The backward of a class, of the class that is applied, else the definition; None for a name that isn't defined there."""
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
