"""check_function: inputs by name, orders, modes, formulas, and what can't be asked."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_cli import InputError, check_function
from gradcheck_cli.callables.function import Question, cases
from gradcheck_cli.callables.inputs import Wanted
from gradcheck_cli.callables.loading import target
from tests.custom_functions import SUBJECTS

BY_NAME = {s.name: s for s in SUBJECTS}
SILU = BY_NAME["SiLU"]


def quantities(report: Any) -> list[str]:
    return [c.quantity for c in report.checks]


def two(x: Tensor, y: Tensor, scale: float = 2.0) -> tuple[Tensor, dict[str, Tensor]]:
    """Two outputs, nested, and a setting."""
    return (x * y).sum() * scale, {"z": x.exp()}


def flow(x: Tensor) -> Tensor:
    """Control flow that depends on the data."""
    for _ in range(3):
        x = x.sin() if x.sum() > 1 else x.exp()
    return x


class Outside(Function):
    """Computes outside of torch, as an extension does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.tensor([math.sin(v) for v in x.tolist()], dtype=x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * ctx.saved_tensors[0].cos()


# -- inputs -------------------------------------------------------------------------------------------------------------


def test_a_text_gives_points() -> None:
    """Points by parameter name: numbers are tensors without dimensions, lists are vectors."""
    report = check_function(torch.mul, at=["x=[1,2],y=pi", "x=[3,4],y=1"])
    assert report.ok
    points = [tuple(map(str, (c.point["x"], c.point["y"]))) for c in report.checks]
    assert list(dict.fromkeys(points)) == [("[1.0, 2.0]", str(math.pi)), ("[3.0, 4.0]", "1.0")]


def test_tensors_keep_their_dtype() -> None:
    """What is given as a tensor is checked in its own dtype, unless another one is asked for."""
    x = torch.tensor([0.5, 1.5], dtype=torch.float32)
    assert {c.dtype for c in check_function(torch.sin, at={"x": x}).checks} == {"float32"}
    assert {c.dtype for c in check_function(torch.sin, at={"x": x}, dtype="float64,bfloat16").checks} == {"float64", "bfloat16"}
    assert {c.dtype for c in check_function(torch.sin, at={"x": [0.5, 1.5]}).checks} == {"float64"}


def test_integer_tensors_are_handed_over() -> None:
    """Labels and indices aren't differentiated by."""
    entropy = BY_NAME["CrossEntropy"]
    report = check_function(entropy.function, at=entropy.tensors())
    assert report.ok
    assert {c.wrt[0].partition("[")[0] for c in report.checks} == {"logits"}


def test_settings_are_handed_over() -> None:
    """A literal for what is no tensor; parameters with defaults stay otherwise."""
    swish = BY_NAME["Swish"].function
    assert check_function(swish, at="x=[1,2]", settings="beta=0.5", formula="x*sigmoid(x/2)").ok
    assert check_function(swish, at="x=[1,2]", formula="x*sigmoid(1.5*x)").ok
    assert check_function(torch.softmax, at="x=[1,2,3]", settings={"dim": 0}).ok
    assert check_function(two, at="x=[1,2],y=[3,4]", settings="scale=3").ok


def test_labels_as_a_setting() -> None:
    """tensor([...]) makes a tensor of a literal."""
    entropy = BY_NAME["CrossEntropy"].function
    assert check_function(entropy, shape="logits=2,3", settings="target=tensor([2, 0])").ok


@pytest.mark.parametrize(
    ("function", "shape"),
    [(torch.sin, (3,)), (lambda x, y: x @ y.t() @ x, (3, 3)), (lambda x: x if x > 0 else x**2, ())],
    ids=["vector", "matrix", "number"],
)
def test_inputs_are_drawn(function: Any, shape: Sequence[int]) -> None:
    """Without points and shapes: seeded vectors, or matrices or numbers where the function refuses these."""
    report = check_function(function, sample=2, seed=5)
    assert report.ok
    assert {torch.tensor(c.point["x"]).shape for c in report.checks} == {torch.Size(shape)}
    again = check_function(function, sample=2, seed=5)
    assert [c.point for c in report.checks] == [c.point for c in again.checks]


def test_outputs_of_any_nesting() -> None:
    """Several outputs, in tuples and mappings, make one combination; the result's name is none of the parameters'."""
    report = check_function(two, at="x=[1,2],y=[3,4]")
    assert report.ok
    assert quantities(report)[0] == "d<v,f0,f1z>/dx[0]"


def test_control_flow() -> None:
    """Each point is followed as it runs."""
    assert check_function(flow, at=["x=[0.1,0.2]", "x=[3,4]"]).ok


def test_a_single_number_has_both_cotangents() -> None:
    """A missing upstream gradient is right for 1, and only for it."""
    right = check_function(SILU.function, at="x=1.5")
    assert quantities(right) == ["dy/dx", "d<v,y>/dx"]
    wrong = check_function(SILU.mutants["missing upstream"], at="x=1.5")
    assert [c.verdict.value for c in wrong.checks] == ["match", "mismatch"]


def test_verbose_shows_the_jacobian() -> None:
    """Every output entry by itself too."""
    report = check_function(torch.sin, at="x=[1,2]", verbose=True)
    assert quantities(report)[:4] == ["dy[0]/dx[0]", "dy[0]/dx[1]", "dy[1]/dx[0]", "dy[1]/dx[1]"]


# -- what is found ------------------------------------------------------------------------------------------------------


def test_both_formulas_and_the_slip() -> None:
    """The worst entry has the exact formula, the one that autograd applies, and the slip."""
    report = check_function(SILU.mutants["missing factor"], at="x=1.5")
    check = report.checks[0]
    assert check.cause == "formula"
    assert check.formula == "x/(exp(x) + 2 + exp(-x)) + 1/(1 + exp(-x))"
    assert check.autograd_formula == "(x + 1)/(1 + exp(-x))"
    said, _, where = str(check.detail).partition("; ")
    assert said == "the factor 1 - sigmoid(x) is missing in the term through sigmoid(x) in x*sigmoid(x)"
    assert where.startswith("the backward of SiLU_missing_factor (__init__.py, line ")


@pytest.mark.parametrize("name", ["Square", "SinSquare", "Softmax", "MatMul", "LogSumExp", "Polar", "Multiply"])
def test_second_order(name: str) -> None:
    """The double backward of Functions that keep inputs and outputs only is right, by inputs and upstream gradients."""
    subject = BY_NAME[name]
    report = check_function(subject.function, at=subject.tensors(), order=2)
    assert report.ok, str(report)
    assert any(q.startswith("d<w,g>/dgrad_") for q in quantities(report))


def test_forward_mode() -> None:
    """Forward mode is checked where it is asked for; all is every mode in which functions of tensors are differentiated."""
    report = check_function(torch.sin, at="x=[1,2]", mode="all")
    assert report.ok
    assert {c.mode for c in report.checks} == {"reverse", "forward"}


def test_a_formula_judges_the_values() -> None:
    """The function computes something else than it ought to: cause value."""
    report = check_function(SILU.function, at="x=[1,2]", formula="x*tanh(x)")
    assert {c.cause for c in report.checks} == {"value"} and not report.ok
    derivatives = [c for c in report.checks if c.kind != "value"]
    assert derivatives and all("another function" in str(c.detail) and "backward" not in str(c.detail) for c in derivatives)
    wrong = BY_NAME["SiLU"].mutants["wrong sign"]
    assert "backward" in str(check_function(wrong, at="x=[1,2]", formula="x*sigmoid(x)").checks[-1].detail)


def test_outside_of_torch() -> None:
    """What computes outside of torch is undecided, and decided with a formula."""
    point = "x=[1,2]"
    assert check_function(Outside, at=point).verdict == "undecided"
    assert check_function(Outside, at=point, formula="sin(x)").ok
    wrong = type("Wrong", (Outside,), {"backward": staticmethod(lambda ctx, g: -g * ctx.saved_tensors[0].cos())})
    assert check_function(wrong, at=point, formula="sin(x)").verdict == "mismatch"


def test_a_function_may_print(capsys: pytest.CaptureFixture[str]) -> None:
    """check_function itself leaves stdout alone."""
    check_function(lambda x: print("here") or x * 2, at="x=1")  # type: ignore[func-returns-value]
    assert "here" in capsys.readouterr().out


# -- what can't be asked ------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (lambda x: x.long(), {"at": "x=[1,2]"}, "returns int64 only: there is nothing to differentiate"),
    (lambda x: None, {"at": "x=1"}, "returns no tensor"),
    (lambda x: x[:0], {"at": "x=[1,2]"}, "returns a tensor without entries: there is nothing to differentiate"),
    (lambda: torch.ones(2), {}, "takes no arguments: there is nothing to differentiate by"),
    (torch.matmul, {"shape": ["x=2,3", "y=4,2"]}, "matmul fails with x (2, 3), y (4, 2): RuntimeError: mat1 and mat2 shapes"),
    (two, {"at": "x=[1,2]"}, "the point gives no value for y"),
    (two, {"at": {"x": [1, 2]}}, "the point gives no value for y"),
    (two, {"at": {"x": torch.ones(2), "y": torch.ones(2), "q": torch.ones(2)}}, "'q' is not a parameter of two"),
    (two, {"at": "x=[1,2],y=[1,2],q=1"}, "'q' is not an input"),
    (two, {"settings": "q=1"}, "'q' is not a parameter of two (it has x, y, scale)"),
    (two, {"settings": "scale"}, "a setting is written NAME=VALUE, such as dim=1"),
    (two, {"settings": "scale=exit()"}, "a setting is a literal (2, 0.5, True, 'mean', (1, 2), None), or tensor([0, 2])"),
    (torch.sin, {"at": {"x": torch.ones(2, dtype=torch.int64)}}, "no input is a floating-point tensor"),
    (torch.sin, {"at": {"x": torch.ones(2, dtype=torch.complex32)}}, "the value of 'x' is of 16-bit parts"),
    (torch.sin, {"at": {"x": object()}}, "the value of 'x' is no tensor, number or list of numbers"),
    (torch.sin, {"order": 0}, "the order of a function must be from 1 to 4"),
    (torch.sin, {"order": 5}, "the order of a function must be from 1 to 4"),
    (torch.sin, {"mode": "func"}, "unknown mode 'func': choose from reverse, forward, or all"),
    (torch.sin, {"sample": 0}, "the number of samples must be at least 1: 0"),
    (torch.sin, {"at": "x=[1,2]", "formula": "sin(z)"}, "'z' is not an input (there is x)"),
    (torch.sin, {"at": "x=[1,2]", "formula": "sum(x)"}, "the formula has shape (), the function's result (2,)"),
    (two, {"at": "x=[1,2],y=[1,2]", "formula": "x"}, "a formula is for one output; here are 2"),
    (lambda q: q.nothing, {}, "it fails at tensors of shape (3,), (3, 3), () (AttributeError"),
    (3, {}, "a function is wanted, not int"),
]


@pytest.mark.parametrize(("function", "options", "text"), REFUSED, ids=lambda v: v[:40] if isinstance(v, str) else "")
def test_refused(function: Any, options: dict[str, Any], text: str) -> None:
    """Bad input is an InputError of one line."""
    with pytest.raises(InputError) as caught:
        check_function(function, **options)
    assert text in caught.value.message
    assert "\n" not in caught.value.message


def test_every_tensor_is_brought_to_the_device() -> None:
    """Inputs and settings are on the device of the question: here one that only holds shapes."""

    def picked(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        assert x.device.type == index.device.type == "meta"
        return x[index]

    wanted = Wanted(at="x=[1,2,3]", settings={"index": torch.tensor([0, 2])})
    (case,), _ = cases(Question(target(picked, "picked"), wanted, device="meta"))
    assert [y.device.type for y in case.map(case.map.leaves()).values()] == ["meta"]


def below_one(x: Tensor) -> Tensor:
    """Takes no number above 1."""
    if (x > 1).any():
        raise ValueError("x is above 1")
    return x * x


def asserting(x: Tensor) -> Tensor:
    """The same, by an assertion."""
    assert (x <= 1).all(), "x is above 1"
    return x * x


@pytest.mark.parametrize("function", [below_one, asserting])
def test_a_point_at_which_it_raises_loses_its_row(function: Any) -> None:
    """The other points are judged, and the words are the function's own; where it raises everywhere, that is an error."""
    report = check_function(function, at=["x=0.5", "x=2"])
    found = {(c.point["x"], c.verdict.value) for c in report.checks}
    assert found == {(0.5, "match"), (2.0, "outside_domain")}
    assert [c.detail for c in report.checks if c.point["x"] == 2] == ["the function has no value here: x is above 1"]
    assert report.exit_code == 0
    with pytest.raises(InputError, match="x is above 1"):
        check_function(function, at=["x=3", "x=2"])


def scaled_tail(x: Tensor) -> Tensor:
    """Which torch has no kernel for in 16 bits."""
    return torch.special.erfcx(x)


@pytest.mark.parametrize("at", [None, "x=[0.5,1,2]"])
def test_a_dtype_without_a_kernel_loses_its_row(at: str | None) -> None:
    """Given points and sampled ones alike."""
    report = check_function(scaled_tail, at=at, sample=None if at else 1, dtype="float16,float32")
    assert {(c.dtype, c.verdict.value) for c in report.checks} == {("float32", "match"), ("float16", "outside_domain")}
    assert any("not implemented for 'Half'" in (c.detail or "") for c in report.checks)


def test_a_slip_at_one_point_is_an_error() -> None:
    """A name that isn't there is no domain: nothing is passed over."""

    def slip(x: Tensor) -> Tensor:
        return x * x if x < 1 else x * x.missing  # type: ignore[attr-defined,no-any-return]

    with pytest.raises(InputError, match="AttributeError"):
        check_function(slip, at=["x=0.5", "x=2"])


class Slipped(Function):
    """sin, in whose backward a name is missing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return g * cosine(x)  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_slip_in_a_backward_is_told_with_its_line(mode: str) -> None:
    """It is no word of torch's: the kind of the error, the file and the line; torch's own words have none."""
    line = inspect.getsourcelines(Slipped.backward)[1] + 3
    report = check_function(Slipped, at=1.5, mode=mode)
    said = "; ".join(str(c.detail) for c in report.checks)
    if mode == "reverse":
        assert f"the code raises NameError: name 'cosine' is not defined (test_function.py, line {line})" in said
    else:
        assert "torch: " in said and "line" not in said
    assert all((c.verdict, c.cause) == ("mismatch", "no_gradient") for c in report.checks)


def test_a_jvp_is_told_with_its_own_formula() -> None:
    """By the symbols of the direction, which is shown with the point, and with a jvp's sentence."""
    report = check_function(Halved, at=1.5)
    wrong = next(c for c in report.checks if c.verdict == "mismatch")
    assert (wrong.formula, wrong.autograd_formula) == ("u*cos(x)", "u*cos(x)/2") and "u" in wrong.point
    assert wrong.sentence.endswith("a slip in a custom jvp; compare the two formulas.")


class Halved(Function):
    """sin, whose jvp is half of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        return g * ctx.saved_tensors[0].cos()

    @staticmethod
    def jvp(ctx: Any, t: Tensor) -> Any:  # type: ignore[override]
        return t * ctx.saved_tensors[0].cos() / 2


class Weighted(Function):
    """v*w**2; the backward forgets a 2 by w."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(v, w)
        return v * w**2

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        v, w = ctx.saved_tensors
        return g * w * w, g * v * w


def test_an_input_may_be_called_as_seeded_numbers_are() -> None:
    """These are called otherwise then, are shown with the point, and no formula confuses them."""
    report = check_function(Weighted, at={"v": [3.0, 0.5], "w": [1.5, 2.0]}, order=2)
    wrong = next(c for c in report.checks if c.quantity.startswith("d<v_y,y>/dw") and c.autograd_formula)
    assert wrong.point["v"] == [3, 0.5] and len(wrong.point["v_y"]) == 2
    index = wrong.quantity[-3:]
    expected = (f"2*v{index}*v_y{index}*w{index}", f"v{index}*v_y{index}*w{index}")
    assert (wrong.formula, wrong.autograd_formula) == expected
    again = [c for c in report.checks if c.of == "<w,g>"]
    assert not again and any(c.of == "<w_g,g>" for c in report.checks)
    along = check_function(lambda u: u.sin(), at={"u": [0.5]}, mode="forward")
    assert {"u", "u_u"} <= along.checks[0].point.keys()
