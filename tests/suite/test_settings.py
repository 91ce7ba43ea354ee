"""[tool.gradcheck] of pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck_cli.errors import InputError
from gradcheck_cli.suite.settings import Settings, find
from tests.suite.processes import here, spec

TEXT = """
[tool.gradcheck]
paths = ["checks"]
workers = 1
timeout = 20
[tool.gradcheck.defaults]
sample = 3
"""


def test_the_nearest_table_counts(tmp_path: Path) -> None:
    """In the folder or above it; a pyproject.toml without one is passed over."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(TEXT)
    (tmp_path / "a" / "pyproject.toml").write_text('[project]\nname = "gradcheck"\n')
    assert find(inner) == Settings(tmp_path, ("checks",), {"sample": 3}, {"workers": 1, "timeout": 20})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.gradcheck]\npath = []", r"pyproject.toml:2: unknown key 'path'; nearest: paths"),
        ("[tool.gradcheck]\nworkers = '2'", r"pyproject.toml:2: 'workers' must be a whole number"),
        ("[tool.gradcheck]\nresults = 'x'", r"pyproject.toml:2: unknown key 'results'"),
        ("[tool]\ngradcheck.scheduler = 'x'", r"pyproject.toml:2: unknown key 'scheduler'"),
        ("[tool.gradcheck.defaults]\nsampel = 2", r"pyproject.toml:2: unknown key 'sampel'; nearest: sample"),
        ("[tool.gradcheck]\ndefaults = 2", r"pyproject.toml:2: 'defaults' must be a table"),
        ("gradcheck = ", r"pyproject.toml:1: no valid TOML"),
    ],
)
def test_a_slip_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    """And what writes files or names hosts isn't a setting: the file may come with a pull request."""
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        find(tmp_path)


def test_a_bare_run_takes_paths_and_defaults(tmp_path: Path) -> None:
    """From any folder below; without a table there is nothing to run."""
    assert here(tmp_path)[0] == 2
    (tmp_path / "pyproject.toml").write_text(TEXT)
    spec(tmp_path, 'grad = "x**2"', name="checks/a.toml")
    (tmp_path / "below").mkdir()
    code, out, err = here(tmp_path / "below", "--format", "jsonl")
    assert code == 0 and '"counts": {"match": 3}' in out, err
