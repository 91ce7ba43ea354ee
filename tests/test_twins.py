"""In Python a value is taken as a person has it: a number, a tensor, an array, torch's own names; else it is told how."""

from __future__ import annotations

import copy
import pickle
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
import torch

from gradcheck_cli import (
    InputError,
    Report,
    check_chain,
    check_function,
    check_grad,
    check_hessian,
    check_jacobian,
    check_mixed,
    check_model,
    explain,
    gradcheck,
)
from gradcheck_cli.verdict.reports import Reports


def points(report: Any) -> list[Any]:
    """The points of a report, each once."""
    found: list[Any] = []
    for check in report.checks:
        found += [check.point] if check.point not in found else []
    return found


X = {"x": 1.5}
V = {"x": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (1.5, [X]), (0, [{"x": 0.0}]), ("1.5", [X]), ("3/2", [X]), (np.float64(1.5), [X]), (torch.tensor(1.5), [X]),
        ([1.5, 2], [X, {"x": 2.0}]), (["1.5", "x=2"], [X, {"x": 2.0}]), ((1.5,), [X]), ("[1,2]", [V]),
        (np.array([1.0, 2.0]), [V]), (torch.tensor([1.0, 2.0]), [V]), ({"x": torch.tensor([1.0, 2.0])}, [V]),
        ([[1, 2]], [V]), ("linspace(0,1,2)", [{"x": 0.0}, {"x": 1.0}]),
    ],
    ids=str,
)  # fmt: skip
def test_a_point_of_the_only_input_needs_no_name(at: Any, expected: list[Any]) -> None:
    """A number, a text, an array (one value), or a list of these (several points)."""
    assert points(check_chain("x**2", at=at)) == expected


@pytest.mark.parametrize("at", [1.5, [1, 2], "1.5", torch.ones(2)], ids=str)
def test_a_point_of_several_inputs_needs_names(at: Any) -> None:
    """The answer shows them."""
    with pytest.raises(InputError, match="such as x=1,y=1"):
        check_chain("x*y", at=at)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"dtype": torch.float32}, ["float32"]), ({"dtype": [np.float32, "double"]}, ["float32", "float64"]),
        ({"dtype": float}, ["float64"]), ({"dtype": "float"}, ["float32"]),
        ({"dtype": "torch.bfloat16,half"}, ["bfloat16", "float16"]),
        ({"dtypes": np.dtype("float16")}, ["float16"]),
    ],
    ids=str,
)  # fmt: skip
def test_dtypes(given: dict[str, Any], expected: list[str]) -> None:
    """Torch's own, NumPy's, and what they are called; `float` has 32 bits in torch, and Python's own float is a double."""
    assert check_chain("x", at=1, **given).problem["dtype"] == expected


@pytest.mark.parametrize(("mode", "expected"), [(("reverse",), "reverse"), ("backward", "reverse"), ("jvp", "forward")])
def test_modes(mode: Any, expected: str) -> None:
    """By other names too."""
    assert check_chain("x", at=1, mode=mode).problem["modes"] == [expected]


@pytest.mark.parametrize(
    "given",
    [{"shape": 2}, {"shape": (2,)}, {"shape": "2"}, {"shape": {"x": torch.ones(2).shape}}, {"shapes": "x=2"}],
    ids=str,
)
def test_shapes(given: dict[str, Any]) -> None:
    """Sizes alone are those of the only input."""
    assert [len(p["x"]) for p in points(check_jacobian("x**2", sample=1, **given))] == [2]


def test_shapes_in_one_text() -> None:
    """Each name begins the next one."""
    (point,) = points(check_grad("sum(A)*sum(b)", shape="A=2,3,b=2", sample=1))
    assert np.shape(point["A"]) == (2, 3) and np.shape(point["b"]) == (2,)
    with pytest.raises(InputError, match="a shape is written name=sizes, such as A=3,b=3"):
        check_grad("sum(A)*sum(b)", shape=(2,))


@pytest.mark.parametrize("domain", [(0.25, 0.5), [0.25, 0.5], "0.25:0.5", ["0.25:0.5"], {"x": (0.25, 0.5)}], ids=str)
def test_domains(domain: Any) -> None:
    """Of the only input."""
    assert all(0.25 <= p["x"] <= 0.5 for p in points(check_chain("x", domain=domain, sample=4)))


def test_a_tolerance_is_both() -> None:
    """`tol` is rtol and atol: off by 1e-3 of a large number, and by 1e-3 of nothing."""
    wrong = {"sin": lambda x: torch.sin(x) * (1 + 1e-4)}
    assert (
        check_grad("sin(x)", at=1, callables=wrong, tol=1e-3).ok
        and not check_grad("sin(x)", at=1, callables=wrong, tol=1e-6).ok
    )
    with pytest.raises(TypeError, match="got multiple values for 'rtol'"):
        check_grad("x", tol=1, rtol=1)


@pytest.mark.parametrize(
    ("name", "value"), [("rtol", "1e-3"), ("timeout", "5"), ("sample", 2.5), ("seed", "1"), ("ulps", float("nan"))]
)
def test_what_is_no_number_is_told(name: str, value: Any) -> None:
    """In words, before anything runs."""
    with pytest.raises(InputError, match=f"{name} must be a "):
        check_chain("x", at=1, **{name: value})


@pytest.mark.parametrize(
    "claim", ["2*x", "x=2*x", "dy/dx=2*x", "dy / dx = 2*x", "d/dx = 2*x", {"x": "2*x"}, ["x=2*x"], "∂y/∂x=2*x"], ids=str
)
def test_a_claim_of_a_single_stage(claim: Any) -> None:
    """With a name, as a quotient, as a mapping, or alone."""
    report = check_chain("x**2", at=3, claim=claim)
    assert report.counts == {"match": 3} and [c.claim for c in report.checks if c.claim] != []
    assert not check_chain("x**2", at=3, claim={"x": "3*x"}).ok


def test_several_claims_in_one_text() -> None:
    """A comma is between two where a name follows it; within brackets it is part of a formula."""
    report = check_grad("x**2*u + max(u, 1)", at="x=3,u=2", claim="dy/du=x**2+where(u > 1, 1, 0), x = min(2*x*u, 100)")
    claims = [(c.wrt, c.verdict.value) for c in report.checks if c.claim]
    assert claims == [(("u",), "match"), (("x",), "match")]


def test_higher_claims() -> None:
    """d2f/dxdy, and d2f/dx2."""
    assert check_mixed("x**2*y", "x,y", at="x=1,y=2", claim="d2f/dxdy = 2*x").ok
    assert not check_mixed("x**2*y", "x,y", at="x=1,y=2", claim="d2f/dxdy = 3*x").ok


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check_chain(["2*x", "z**2"], at=1, claim="8*x"), "where name is one of y, z, x"),
        (lambda: check_chain(["2*x", "z**2"], at=1, claim="dz/dx=2"), "the output is called 'y'"),
        (lambda: check_chain(["2*x", "z**2"], at=1, claim="dy/dq=2"), "'dy/dq' is not asked for; there is dy/d"),
        (lambda: check_grad("x*y", at="x=1,y=1", claim="y"), "where name is one of x, y"),
        (lambda: check_jacobian(["x", "2*x"], at=1, claim="1"), "a claim is about one output"),
    ],
)
def test_a_claim_that_may_mean_several_is_told(call: Callable[[], Any], words: str) -> None:
    """With the names that there are."""
    with pytest.raises(InputError, match=words.replace("(", r"\(")):
        call()


def test_a_function_of_tensors() -> None:
    """The point of its only parameter needs no name; as many tensors as parameters are one point, in their order."""
    assert points(check_function(lambda a: a * a, at=torch.ones(2, dtype=torch.float64)))[0]["a"] == [1.0, 1.0]
    assert points(check_function(lambda a: a * a, at=(torch.ones(2),)))[0]["a"] == [1.0, 1.0]
    assert points(check_function(lambda a, b: a * b, at=(torch.ones(2), 2 * torch.ones(2))))[0]["b"] == [2.0, 2.0]
    with pytest.raises(InputError, match=r"takes a, b: give the point by names, such as at=\{'a': \.\.\.\}"):
        check_function(lambda a, b: a * b, at=torch.ones(2))


def test_a_network() -> None:
    """Its input alone, as a tensor or numbers; its shape; a device of torch."""
    net = torch.nn.Linear(2, 1)
    assert check_model(net, at=torch.ones(2), device=torch.device("cpu")).ok
    assert check_model("Linear(2, 1)", at=[1, 2]).ok
    assert check_model("Linear(2, 1)", shape=(3, 2)).problem["inputs"] == {"x": [3, 2]}


def test_what_stands_without_a_name_is_told() -> None:
    """As torch.autograd.gradcheck(f, inputs) is called."""
    with pytest.raises(TypeError, match=r"check_function\(\) takes function; options are named: at=\.\.\."):
        check_function(torch.sin, torch.ones(2))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"check_chain\(\) takes expressions \(several in a list\)"):
        check_chain("2*x", "z**2")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'expression'; nearest: expressions"):
        check_chain("x", expression="x")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check_chain(torch.sin), "check_function checks a function"),  # type: ignore[arg-type]
        (lambda: check_grad(3), "an expression is a text, such as 'x\\*\\*2', not int"),  # type: ignore[arg-type]
        (lambda: check_function(torch.sin(torch.ones(1))), "give the function itself, not what it returns"),
        (lambda: check_function(torch.nn.Linear), "Linear is a network: gradcheck model Linear"),
        (lambda: check_model(torch.sin), "a function of tensors is checked by check_function"),
    ],
)
def test_what_is_no_target_is_told(call: Callable[[], Any], words: str) -> None:
    """With what checks it."""
    with pytest.raises(InputError, match=words):
        call()


def test_a_parameter_of_the_function_is_no_option() -> None:
    """Where it belongs is told."""
    with pytest.raises(TypeError, match=r"'beta'; what the function itself takes stands in settings=\{'beta': ...\}"):
        check_function(torch.nn.functional.softplus, at=1.5, beta=3.0)  # type: ignore[call-arg]


def test_an_input_is_no_option() -> None:
    """`check_grad("x**2", x=1)` is answered with where the point belongs."""
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'x'; a point is given by at=\{'x': 1\}"):
        check_grad("x**2", x=1)  # type: ignore[call-arg]


def test_an_expression_of_sympy_is_what_it_prints() -> None:
    """Beside a text."""
    import sympy

    x, y = sympy.symbols("x y")
    assert check_grad(sympy.exp(-(x**2)) * sympy.Max(y, 1), at={"x": 1, "y": 2}).counts == {"match": 2}  # type: ignore[arg-type]


def test_a_report_is_true_where_it_passes() -> None:
    """`assert check_function(f)` fails where the check does; torch's own gradcheck gives a truth value."""
    assert check_grad("x**2", at=1)
    assert not check_grad("relu(x) - relu(-x)", at=0)


def test_a_name_that_isn_t_there_is_told_the_nearest() -> None:
    """Of the package."""
    import gradcheck_cli

    with pytest.raises(AttributeError, match="has no attribute 'check_gradient'; nearest: check_grad, "):
        gradcheck_cli.check_gradient  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    "given",
    [
        {"at": {1: 2}}, {"at": ...}, {"at": "1k"}, {"at": b"1"}, {"at": [None]}, {"shape": 2.5}, {"shape": True},
        {"shape": (2.5,)}, {"shape": {"x": "2"}}, {"domain": 5}, {"domain": (0,)}, {"domain": np.array([0, 1, 2])},
        {"dtype": torch.int32}, {"dtype": 5}, {"claim": {"x": None}}, {"claim": ","}, {"claim": "dy/dz=1"}, {"mode": 3},
    ],
    ids=repr,
)  # fmt: skip
def test_nothing_ends_in_a_traceback(given: dict[str, Any]) -> None:
    """What can't be meant is an InputError, whatever type it is of."""
    with pytest.raises(InputError):
        check_chain("x**2", **({"at": 1} if "claim" in given else {}), **given)


@pytest.mark.parametrize(
    "made",
    [
        lambda: check_chain(["z = log(1 + exp(x))", "abs(z)"], at=[1, 800]),  # with remedies
        lambda: check_chain("log(x)", at=[-1, 0, 1], claim="2/x"),
        lambda: check_mixed("sin(x*y)", "x,y", at="x=1,y=2"),
        lambda: check_grad("sum(x**2)", at={"x": [1, 2]}),
        lambda: check_jacobian(["x*y", "x+y"], at="x=1,y=0"),
        lambda: check_hessian("x**3", at=1e300),
        lambda: check_function(torch.atan2, at={"input": torch.ones(2), "other": torch.zeros(2)}),
        lambda: check_model(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())),
    ],
)  # fmt: skip
def test_a_report_is_pickled_and_copied(made: Callable[[], Report]) -> None:
    """With all that it says, of every kind: results are cached, and go from one process to another."""
    report = made()
    for one in (pickle.loads(pickle.dumps(report)), copy.deepcopy(report), copy.copy(report)):
        assert str(one) == str(report) and one.to_dict() == report.to_dict() and one.remedies == report.remedies
        assert one._repr_html_() == report._repr_html_()


def test_several_reports_and_a_lesson_are_pickled_and_copied(tmp_path: Path) -> None:
    """As a report is."""
    (tmp_path / "both.py").write_text("def f(x):\n    return x.exp()\n\ndef g(x):\n    return x.detach() * x\n")
    report = check_function(str(tmp_path / "both.py"))
    assert isinstance(report, Reports) and len(report.reports) == 2
    for one in (pickle.loads(pickle.dumps(report)), copy.deepcopy(report)):
        assert str(one) == str(report) and one.to_dict() == report.to_dict()
    lesson = explain("log(sin(x))*x", at=1)
    for other in (pickle.loads(pickle.dumps(lesson)), copy.deepcopy(lesson)):
        assert str(other) == str(lesson) and other == lesson


def failing(x: torch.Tensor) -> torch.Tensor:
    """A line of the user's that raises."""
    return x @ torch.ones(7)


@pytest.mark.parametrize(
    "call",
    [
        lambda: check_chain("sin(x"),
        lambda: check_function(failing, at={"x": torch.ones(3)}),
        lambda: check_model("Linear(2)"),
        lambda: explain("2*"),
        lambda: gradcheck(lambda x: x.detach() * x, torch.ones(1, dtype=torch.float64, requires_grad=True)),
        lambda: check_grad("x*y").plot(matplotlib.figure.Figure().subplots()),
    ],
)
def test_an_error_shows_no_frame_of_ours(call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """But the one that raises it: what is the user's is seen at once; all of them where GRADCHECK_TRACEBACK asks for that."""

    def frames() -> list[str]:
        try:
            call()
        except Exception as problem:
            return [f.filename for e in (problem, problem.__cause__) if e for f in traceback.extract_tb(e.__traceback__)]
        return pytest.fail("it doesn't raise")

    assert sum("gradcheck_cli" in name for name in frames()) <= 1
    monkeypatch.setenv("GRADCHECK_TRACEBACK", "1")
    assert sum("gradcheck_cli" in name for name in frames()) > 2


def test_the_line_of_the_user_that_raises_is_shown() -> None:
    """As the cause of the error."""
    with pytest.raises(InputError) as caught:
        check_function(failing, at={"x": torch.ones(3)})
    cause = caught.value.__cause__
    assert cause is not None
    assert [f.name for f in traceback.extract_tb(cause.__traceback__)] == ["failing"]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: check_chain(None), InputError, "an expression is a text, such as .*, not NoneType"),
        (lambda: check_grad(None), InputError, "an expression is a text, such as .*, not NoneType"),
        (lambda: check_mixed(None, wrt="x"), InputError, "an expression is a text, such as .*, not NoneType"),
        (lambda: check_chain(["2*x", None]), InputError, "an expression is a text, such as .*, not NoneType"),
        (lambda: check_mixed("x*y", wrt=3), InputError, "wrt: names of inputs are wanted, such as 'x,y', not int"),
        (lambda: explain(None), InputError, "an expression is a text, such as .*, not NoneType"),
        (lambda: explain("x*y", wrt=3), InputError, "wrt: names of inputs are wanted"),
        (lambda: explain(torch.sin, at=1), InputError, "not builtin_function_or_method: check_function checks a function"),
        (lambda: explain("sin(x)", att=1), TypeError, r"explain\(\) got an unexpected keyword argument 'att'; nearest: at"),
        (lambda: check_chain("x", at=1).plot("x.png"), InputError, r"plot\(\).savefig\('x.png'\) writes a file"),
        (lambda: check_chain("x", at=1, progress=3), InputError, "progress: a function is wanted, not int"),
        (lambda: check_chain("x", at=1, callables={"sin": 3}), InputError, "callables: 'sin': a function is wanted, not int"),
        (lambda: check_chain("x", at=1, strict="no"), InputError, "strict must be true or false: 'no'"),
        (lambda: check_chain("x**2", at=1, claim=lambda x: 2 * x), InputError, "a claim is a formula, as a text such as"),
        (lambda: check_chain("x**2", at=1, claim={"x": abs}), InputError, "a claim is a formula, as a text such as"),
        (lambda: check_model(None), InputError, "a network is wanted, .*, not NoneType"),
        (lambda: check_function(3), InputError, "a function is wanted, not int"),
        (lambda: check_function(torch.sin, settings=3), InputError, "arguments by their names are wanted"),
        (lambda: check_function(torch.sin, formula=abs), InputError, "formula must be a text, not builtin"),
        (lambda: check_chain("sin(x)", at=np.zeros(100_000)), InputError, "an array is one point: many points are a list"),
    ],
)  # fmt: skip
def test_what_is_wanted_is_said(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    """In one sentence, of values that no type checker would let pass."""
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("flag", [True, False, 0, 1, np.bool_(1)])
def test_flags(flag: Any) -> None:
    """Python's, NumPy's, and their numbers."""
    assert check_chain("x", at=1, strict=flag, verbose=flag).strict is bool(flag)


def test_an_empty_list_is_no_value() -> None:
    """As the docstrings say: the default holds."""
    assert check_chain("sin(x)", at=[], dtype=[], mode=[]).counts == check_chain("sin(x)").counts
    assert "an empty list" in (check_chain.__doc__ or "")


def test_each_option_is_described_by_itself() -> None:
    """torch.float32 is a dtype, and no mode."""
    rows = {row.split()[0]: row for row in re.split(r"\n(?=\S)", check_chain.__doc__ or "")}
    assert "torch.float32" in rows["dtype"] and "torch.float32" not in rows["mode"]
