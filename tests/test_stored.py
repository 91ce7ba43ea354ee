"""Tensors in files: what a text names, what is read, what is refused with a caret, and where points may lie so."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradcheck_cli import InputError, check_function, check_grad, check_model
from gradcheck_cli.cli.app import run
from gradcheck_cli.stored import files_in, moved, tensor_in
from gradcheck_cli.suite import seals
from gradcheck_cli.suite.alone import alone
from gradcheck_cli.suite.execute import execute
from gradcheck_cli.suite.spec import load
from gradcheck_cli.verdict.verdicts import Verdict

safetensors = pytest.importorskip("safetensors.torch")

MATRIX = [[1.5, -2.0], [0.25, 4.0]]
STATE = {"model": {"w": torch.tensor(MATRIX), "b": torch.zeros(2)}, "steps": [torch.tensor([3, 1])], "lr": 0.1}


class Unreadable:
    """An object that runs something where a pickle is read."""

    def __reduce__(self) -> Any:
        raise AssertionError("never pickled")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files of all kinds, where the process is."""
    monkeypatch.chdir(tmp_path)
    np.save("w.npy", np.array(MATRIX, dtype=np.float32))
    np.save("big.npy", np.array(MATRIX, dtype=">f8"))
    np.savez("several.npz", w=np.array(MATRIX), b=np.zeros(2))
    torch.save(torch.tensor(MATRIX, dtype=torch.bfloat16), "w.pt")
    torch.save(STATE, "state.pth")
    torch.save(torch.tensor(MATRIX), "old.pt", _use_new_zipfile_serialization=False)
    safetensors.save_file({"w": torch.tensor(MATRIX), "b": torch.zeros(2)}, "m.safetensors")
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save("words.npy", np.array(["a"]))
    np.save("nothing.npy", np.zeros((0, 2)))
    np.save("complex.npy", np.array([1 + 2j]))
    Path("pickle.npy").write_bytes(pickle.dumps([1]))
    Path("pickle.pt").write_bytes(pickle.dumps(print))
    torch.save(torch.eye(2).to_sparse(), "sparse.pt")
    for name in ("junk.npy", "junk.npz", "junk.pt", "junk.safetensors"):
        Path(name).write_text("no tensor at all, " * 9)
    Path("folder.npy").mkdir()
    return tmp_path


# -- what is read -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["@w.npy", "@big.npy", "@several.npz:w", "@w.pt", "@old.pt", "@state.pth:model.w", "@m.safetensors:w", "@./w.npy"],
)
def test_a_tensor_is_what_was_written(folder: Path, value: str) -> None:
    """Of each kind of file, whatever the order of its bytes."""
    assert tensor_in(value, value, 0).tolist() == MATRIX


def test_a_number_in_a_list_has_its_place_as_name(folder: Path) -> None:
    """In nested lists and dictionaries."""
    assert tensor_in("@state.pth:steps.0", "@state.pth:steps.0", 0).tolist() == [3, 1]


REFUSED = {
    "@objects.npy": "holds Python objects",
    "@pickle.npy": "holds Python objects",
    "@pickle.pt": "reading it might run code",
    "@words.npy": "holds entries of type <U1",
    "@nothing.npy": "holds a tensor of no entries",
    "@sparse.pt": "a dense one is wanted",
    "@several.npz": "holds 2 tensors: say which, :NAME (there is w, b)",
    "@state.pth": "holds 3 tensors: say which, :NAME (there is model.w, model.b, steps.0)",
    "@state.pth:model.v": "holds no tensor 'model.v': did you mean 'model.",
    "@m.safetensors:nobody": "holds no tensor 'nobody' (there is b, w)",
    "@w.npy:w": "holds one array, which has no name",
    "@w.pt:w": "holds one tensor, which has no name",
    "@v.npy": "there is no file 'v.npy': did you mean 'w.npy'",
    "@folder.npy": "it is a directory",
    "@w.txt": "a tensor in a file is @FILE.npy",
    "@": "a tensor in a file is @FILE.npy",
    "@w\0.npy": "no file can be called so",
    "@junk.npy": "is no array",
    "@junk.npz": "junk.npz",
    "@junk.pt": "junk.pt",
    "@junk.safetensors": "can't be read: SafetensorError",
}


@pytest.mark.parametrize("value", REFUSED)
def test_what_is_no_tensor_is_refused(folder: Path, value: str) -> None:
    """With a caret under the file, or under the name in it; nothing in it runs."""
    text = f"y=2,x={value}"
    with pytest.raises(InputError) as problem:
        tensor_in(value, text, 6)
    assert REFUSED[value] in problem.value.message
    if problem.value.text == text:
        assert problem.value.position == (
            6 if "no tensor '" not in str(problem.value) and ":w" not in value else text.index(":", 6) + 1
        )


@pytest.mark.parametrize(
    ("bound", "words"), [("MAX_NUMBERS", "4 entries; at most 3 are read"), ("MAX_BYTES", "is larger than")]
)
@pytest.mark.parametrize("value", ["@w.npy", "@w.pt", "@m.safetensors:w", "@several.npz:w"])
def test_sizes_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch, value: str, bound: str, words: str) -> None:
    """Of a file, and of a tensor."""
    monkeypatch.setattr(f"gradcheck_cli.stored.{bound}", 3)
    with pytest.raises(InputError, match=words):
        tensor_in(value, value, 0)


def test_a_missing_library_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    with pytest.raises(InputError, match=r"pip install 'gradcheck-cli\[safetensors\]'"):
        tensor_in("@m.safetensors:w", "@m.safetensors:w", 0)


# -- where points may lie in files --------------------------------------------------------------------------------------


def test_a_function_takes_them_in_their_own_dtype(folder: Path) -> None:
    """Alone, by name, beside numbers; whole numbers are handed over as they are; --dtype converts."""
    assert {c.dtype for c in check_function(torch.tanh, at="@w.npy").checks} == {"float32"}
    assert {c.dtype for c in check_function(lambda x: x.sin(), at="x=@w.pt").checks} == {"bfloat16"}
    assert {c.dtype for c in check_function(lambda x: x.sin(), at={"x": "@w.npy"}, dtype="float64").checks} == {"float64"}

    def scaled(x: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return (x * k).sum()

    report = check_function(scaled, at="x=@state.pth:model.w, k=pi/4")
    assert report.verdict is Verdict.MATCH and report.checks[0].point["x"] == MATRIX

    def chosen(x: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        return x.flatten()[i]

    assert check_function(chosen, at="x=@w.npy,i=@state.pth:steps.0").verdict is Verdict.MATCH


def test_a_network_and_a_formula_take_them(folder: Path) -> None:
    """The numbers are the file's."""
    for at in ("@w.npy", "x=@w.npy", {"x": "@w.npy"}):
        report = check_model("Linear(2, 2)", at=at)
        assert report.verdict is Verdict.MATCH and report.checks[0].point["x"] == MATRIX
    report = check_grad("sum(A**2)*k", at="k=2,A=@big.npy")
    assert [float(str(c.exact)) for c in report.checks[:4]] == [4 * v for row in MATRIX for v in row]
    assert check_grad("sum(x)", at="x=@complex.npy").checks[0].point == {"x.real": [1.0], "x.imag": [2.0]}


def test_the_caret_is_under_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line, exit code 2; of functions, networks and formulas alike."""
    for words in (["function", "torch:tanh"], ["model", "Linear(2, 2)"], ["grad", "input"]):
        assert run([*words, "--at", "input=@v.npy"]) == 2
        *_, text, caret = capsys.readouterr().err.rstrip().split("\n")
        assert text[caret.index("^")] == "@", text


# -- specs --------------------------------------------------------------------------------------------------------------


def test_a_spec_names_files_beside_it(folder: Path) -> None:
    """Whatever the working directory is; the command that asks for the same names them from here; the seal holds them."""
    below = folder / "below"
    below.mkdir()
    np.save(below / "p.npy", np.array([0.5, 2.0]))
    for at in ('"x=@p.npy"', '{x = "@p.npy"}', '["x=@p.npy"]'):
        (below / "c.toml").write_text(f'[[check]]\ngrad = "sum(x**2)"\nat = {at}\n')
        (spec,) = load(below / "c.toml", "below/c.toml")
        outcome = execute(spec, below / "c.toml")
        assert (outcome.status, outcome.verdict) == ("passed", "match"), outcome.error
        assert "@below/p.npy" in str(alone(outcome))
        before = seals.code_of(spec)
        np.save(below / "p.npy", np.array([0.5, 2.5]))
        assert before and seals.code_of(spec) != before
        np.save(below / "p.npy", np.array([0.5, 2.0]))
    (below / "p.npy").unlink()
    assert seals.code_of(spec) is None


def test_files_are_found_in_points() -> None:
    """And given other places; nothing else changes."""
    point = {"x": "@a.npy", "y": 2, "z": "x@b.npy"}
    assert files_in([point, "x=@c.pt:w, y=@d.safetensors:k", 3.0]) == ["a.npy", "c.pt", "d.safetensors"]
    assert moved(point, lambda file: f"f/{file}") == {**point, "x": "@f/a.npy"}
    assert moved("x=@c.pt:w,y=1", lambda file: f"f/{file}") == "x=@f/c.pt:w,y=1"
    assert json.dumps(moved([1, 2.5], str)) == "[1, 2.5]"
