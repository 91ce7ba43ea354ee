"""A target is loaded as Python would import it, or refused with one line and a caret."""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from gradcheck_cli.callables.loading import Parameter, load, target
from gradcheck_cli.errors import InputError

SOURCE = """
import torch
from torch.autograd import Function
from neighbour import two

print("imported")

class Old(Function):
    @staticmethod
    def forward(ctx, x, beta=1.0):
        return x * 2
    @staticmethod
    def backward(ctx, g):
        return g * 2, None

class New(Function):
    @staticmethod
    def forward(x, n):
        return x * n
    @staticmethod
    def setup_context(ctx, inputs, output):
        pass
    @staticmethod
    def backward(ctx, g):
        return g, None

old = Old.apply
layer = torch.nn.Linear(2, 3)
number = 3

def double(x, *, scale, offset=0):
    return x * two + scale

def several(*tensors):
    return sum(tensors)

class Nested:
    inner = staticmethod(double)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file to load and one that it imports; what the test imports is forgotten."""
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "neighbour.py").write_text("two = 2\n")
    modules, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Old", (Parameter("x"), Parameter("beta", default=1.0))),
        ("old", (Parameter("x"), Parameter("beta", default=1.0))),
        ("New", (Parameter("x"), Parameter("n"))),
        ("layer", (Parameter("input"),)),
        ("double", (Parameter("x"), Parameter("scale", positional=False), Parameter("offset", False, 0))),
        ("Nested.inner", (Parameter("x"), Parameter("scale", positional=False), Parameter("offset", False, 0))),
        ("several", None),
    ],
)
def test_parameters(folder: Path, name: str, parameters: tuple[Parameter, ...] | None) -> None:
    """The parameters are those that a caller gives: without ctx, in both styles of autograd.Function."""
    text = f"{folder}/mine.py:{name}"
    assert target(load(text), text).parameters == parameters


def test_an_autograd_function_is_applied(folder: Path) -> None:
    """A subclass of Function, and its apply, are the same target."""
    found = [target(load(f"{folder}/mine.py:{name}"), "x:Old") for name in ("Old", "old")]
    assert found[0].function is found[1].function
    assert found[0].call(torch.ones(1)).item() == 2


def test_builtins_are_targets() -> None:
    """torch's own functions load from their module; Python doesn't know their parameters."""
    found = target(load("torch:sin"), "torch:sin")
    assert found.call is torch.sin
    assert found.parameters is None


def test_the_module_is_a_proper_one(folder: Path) -> None:
    """What was loaded can be pickled and its source found, and a second load gives the same object."""
    function = load(f"{folder}/mine.py:double")
    assert pickle.loads(pickle.dumps(function)) is function
    assert inspect.getsource(function).startswith("def double")
    assert load(f"{folder}/mine.py:double") is function


def test_prints_go_to_stderr(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the file prints doesn't mix with the report."""
    load(f"{folder}/mine.py:double")
    assert capsys.readouterr() == ("", "imported\n")


def test_a_file_named_as_a_module(folder: Path) -> None:
    """A file called random.py is loaded, and random stays what it is."""
    (folder / "random.py").write_text("def f(x):\n    return x\n")
    assert load(f"{folder}/random.py:f")(3) == 3
    import random

    assert hasattr(random, "randint")


REFUSED = [
    ("mine.py", "the name is missing: a target is FILE.py:NAME or package.module:NAME", 7),
    ("mine.py:", "a name is missing: a target is FILE.py:NAME or package.module:NAME", 8),
    ("mine.py:a b", "'a b' is no name: a target is FILE.py:NAME or package.module:NAME", 8),
    ("mine:py:x", "'mine:py' is neither a .py file nor a module: a target is FILE.py:NAME or package.module:NAME", 0),
    ("mino.py:old", "there is no file 'mino.py': did you mean 'mine.py'", 0),
    (f"{'n' * 300}.py:f", "can't read the code: File name too long", 0),
    ("nowhere.at.all:f", "there is no module 'nowhere'", 0),
    ("mine.py:Olt", "mine.py has no 'Olt': did you mean 'Old'", 8),
    ("mine.py:zzz", "mine.py has no 'zzz' (there is Nested, New, Old, double, several)", 8),
    ("mine.py:Nested.inna", "mine.py has no 'inna': did you mean 'inner'", 15),
    ("mine.py:number", "number is not callable: it is of type int", 8),
    ("mine.py:Nested", "Nested is a class: name a function, a torch.autograd.Function or an instance of a Module", 8),
    ("broken.py:f", "broken.py can't be imported: ZeroDivisionError: division by zero (broken.py, line 3)", 0),
    ("syntax.py:f", "syntax.py can't be imported: SyntaxError: '(' was never closed (syntax.py, line 2)", 0),
    ("leaves.py:f", "leaves.py can't be imported: SystemExit: 4 (leaves.py, line 1)", 0),
    ("needs.py:f", "needs.py can't be imported: ModuleNotFoundError: No module named 'not_there' (needs.py, line 1)", 0),
]


@pytest.mark.parametrize(("text", "message", "position"), REFUSED, ids=lambda v: v if isinstance(v, str) else None)
def test_refused(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str, position: int) -> None:
    """Every error is an InputError of one line that points at the culprit."""
    files = {
        "broken.py": "def g():\n    pass\nx = 1/0\n",
        "syntax.py": "x = 1\ny = (\n",
        "leaves.py": "raise SystemExit(4)\n",
        "needs.py": "import not_there\n",
    }
    for name, source in files.items():
        (folder / name).write_text(dedent(source))
    monkeypatch.chdir(folder)
    with pytest.raises(InputError) as caught:
        target(load(text), text)
    assert caught.value.message == message
    assert caught.value.text in (text, text.partition(":")[0]) and caught.value.position == position
