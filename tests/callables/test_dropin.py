"""gradcheck and gradgradcheck take what torch's take, and say what is true."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from gradcheck_cli import GradcheckError, UndecidedWarning, gradcheck, gradgradcheck
from gradcheck_cli.errors import GradcheckToolError
from tests.custom_functions import SUBJECTS

BY_NAME = {s.name: s for s in SUBJECTS}
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def vector(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor([0.5, -1.25, 2.0], dtype=dtype, requires_grad=True)


class Scaled(Function):
    """x with a gradient that is 1e-4 too large: torch's gradcheck accepts it at its defaults."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * (1 + 1e-4)


class Keeping(Function):
    """Its sigmoid is a constant to the second derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        s = torch.sigmoid(x)
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, s = ctx.saved_tensors
        return g * (s + x * s * (1 - s))


# -- the signature ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [gradcheck, gradgradcheck])
def test_signature(ours: Any) -> None:
    """Names, kinds and defaults are torch's."""
    theirs = inspect.signature(getattr(torch.autograd, ours.__name__)).parameters
    mine = inspect.signature(ours).parameters
    assert [(p.name, p.kind, p.default) for p in mine.values()] == [(p.name, p.kind, p.default) for p in theirs.values()]


def test_the_error_is_torchs_too() -> None:
    """What catches torch's error, or ours, catches it; the message is the report."""
    from torch.autograd.gradcheck import GradcheckError as Theirs

    with pytest.raises(Theirs) as caught:
        gradcheck(Scaled.apply, vector())
    assert isinstance(caught.value, GradcheckError) and isinstance(caught.value, GradcheckToolError)
    assert "mismatch (formula): d<v,y>/dx[" in str(caught.value)
    assert "a constant factor: autograd is 1.0001 times exact" in str(caught.value)
    assert torch.autograd.gradcheck(Scaled.apply, vector())


def test_raise_exception() -> None:
    """False instead of an exception."""
    assert gradcheck(Scaled.apply, vector(), raise_exception=False) is False
    assert gradgradcheck(Keeping.apply, vector(), raise_exception=False) is False


def test_what_steers_finite_differences_has_no_effect() -> None:
    """eps, atol, rtol, fast_mode and masked neither hide an error nor make one."""
    options: dict[str, Any] = {"eps": 1e-1, "atol": 1e3, "rtol": 1e3, "fast_mode": True, "masked": True}
    assert gradcheck(torch.sin, vector(), **options)
    assert not gradcheck(Scaled.apply, vector(), raise_exception=False, **options)


# -- inputs and outputs -------------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "x y")

ACCEPTED: list[tuple[Any, Any]] = [
    (torch.sin, vector()),
    (torch.sin, (vector(),)),
    (torch.sin, [vector()]),
    (torch.mul, (vector(), vector())),
    (lambda x, n, flag: x**n if flag else x, (vector(), 3, True)),
    (lambda x, nothing: x.exp(), (vector(), None)),
    (lambda x, i: x[i], (vector(), torch.tensor([2, 0]))),
    (lambda x, c: x * c, (vector(), torch.ones(3, dtype=torch.float64))),
    (lambda pair: pair[0] * pair[1], ([vector(), vector()],)),
    (lambda pair: pair.x * pair.y, (Pair(vector(), vector()),)),
    (lambda x: (x.sin(), x.cos()), vector()),
    (lambda x: [x.sin(), x.detach()], vector()),
    (lambda x: (x.sin(), (x > 0)), vector()),
    (lambda x: torch.ones(2, dtype=x.dtype), vector()),
    (lambda x: x.reshape(3, 1).expand(3, 4), vector()),
    (torch.sin, torch.zeros((), dtype=torch.float64, requires_grad=True)),
    (lambda x: x * 2, torch.ones(2, 0, dtype=torch.float64, requires_grad=True)),
    (lambda x: x.t() @ x, torch.arange(6, dtype=torch.float64).reshape(2, 3).requires_grad_()),
    (torch.nn.Linear(3, 2).double(), vector()),
]


def _outputs(function: Any, inputs: Any) -> Any:
    found = function(*inputs) if isinstance(inputs, tuple | list) else function(inputs)
    return found if isinstance(found, tuple | list) else [found]


@pytest.mark.parametrize(("function", "inputs"), ACCEPTED, ids=range(len(ACCEPTED)))
def test_inputs(function: Any, inputs: Any) -> None:
    """Every nesting, other arguments, outputs that aren't differentiable."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UndecidedWarning)
        assert gradcheck(function, inputs)
        if any(y.requires_grad for y in _outputs(function, inputs)):
            assert gradgradcheck(function, inputs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(dtype: torch.dtype) -> None:
    """Short formats are judged by their own rounding: right code passes, a wrong factor doesn't."""
    assert gradcheck(torch.tanh, vector(dtype))
    wrong = BY_NAME["Tanh"].mutants["scaled by 1.01"]
    assert dtype is torch.bfloat16 or not gradcheck(wrong.apply, vector(dtype), raise_exception=False)


def test_tensors_of_the_closure() -> None:
    """A function that uses its tensors without being given them, as tests of modules do."""
    layer = torch.nn.Linear(3, 2).double()
    assert gradcheck(lambda x, *parameters: layer(x), (vector(), *layer.parameters()))
    wrong = BY_NAME["SiLU"].mutants["wrong sign"]
    weight = vector()
    assert not gradcheck(lambda w: wrong.apply(weight), (weight,), raise_exception=False)


def test_nothing_to_differentiate() -> None:
    """ValueError where no input requires a gradient, as torch has it."""
    with pytest.raises(ValueError, match="at least one input tensor"):
        gradcheck(torch.sin, torch.ones(3))


def test_what_the_function_raises_is_not_hidden() -> None:
    """An error of the function itself comes out as it is."""
    with pytest.raises(ZeroDivisionError):
        gradcheck(lambda x: x / (1 // 0), vector())


class Silent(Function):
    """Its backward raises, and says nothing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sin()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise RuntimeError


def test_an_exception_without_a_message_is_a_verdict() -> None:
    """There is no gradient; the text is the exception's type."""
    with pytest.raises(GradcheckError, match=r"mismatch \(no_gradient\)(.|\n)*torch: RuntimeError"):
        gradcheck(Silent.apply, (vector().requires_grad_(),))


def test_inputs_are_left_alone() -> None:
    """No gradient is left in .grad, no value changes."""
    x = vector()
    before = x.detach().clone()
    gradcheck(torch.sin, x)
    assert x.grad is None
    assert torch.equal(x.detach(), before)


# -- further checks -----------------------------------------------------------------------------------------------------


def changed(backward: Any) -> Any:
    return type("Changed", (BY_NAME["Square"].function,), {"backward": staticmethod(backward)}).apply


RUNS = [0]


def _restless(ctx: Any, g: Tensor) -> Tensor:
    RUNS[0] += 1
    return 2 * g * ctx.saved_tensors[0] * (1 + RUNS[0] * 1e-13)


def _no_undefined(ctx: Any, g: Tensor) -> Tensor:
    assert g is not None
    return 2 * g * ctx.saved_tensors[0] + (0 if g.any() else 1)


class WrongJvp(Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return 2 * g * ctx.saved_tensors[0]

    @staticmethod
    def jvp(ctx: Any, t: Tensor) -> Any:
        return t * ctx.saved_tensors[0]


FURTHER: list[tuple[Any, dict[str, Any], bool]] = [
    (changed(_restless), {}, False),
    (changed(_restless), {"nondet_tol": 1e-6}, True),
    (changed(_no_undefined), {}, False),
    (changed(_no_undefined), {"check_undefined_grad": False}, True),
    (changed(lambda ctx, g: (2 * g * ctx.saved_tensors[0]).float()), {"check_grad_dtypes": True}, False),
    (changed(lambda ctx, g: 2 * g * ctx.saved_tensors[0] if g.sum() else g), {"check_batched_grad": True}, False),
    (torch.sin, {"check_batched_grad": True, "check_batched_forward_grad": True, "check_forward_ad": True}, True),
    (WrongJvp.apply, {}, True),
    (WrongJvp.apply, {"check_forward_ad": True}, False),
    (Scaled.apply, {"check_backward_ad": False, "check_undefined_grad": False}, True),
]


@pytest.mark.filterwarnings("ignore:Backwards compatibility")  # torch says so beside its own error
@pytest.mark.parametrize(("function", "options", "passes"), FURTHER, ids=range(len(FURTHER)))
def test_further_checks(function: Any, options: dict[str, Any], passes: bool) -> None:
    """Arguments that ask for a further check do it, those that leave one out do that."""
    assert gradcheck(function, vector(), raise_exception=False, **options) is passes


# -- second order -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Square", "SinSquare", "Softmax", "MatMul", "Polar", "ReLU", "Sum", "Difference"])
def test_second_order(name: str) -> None:
    """Right double backwards pass, with upstream gradients drawn or given."""
    subject = BY_NAME[name]
    inputs = tuple(x.requires_grad_(x.is_floating_point()) for x in subject.tensors().values())
    assert gradgradcheck(subject.function.apply, inputs)
    assert gradgradcheck(subject.function.apply, inputs, gen_non_contig_grad_outputs=True)


def test_second_order_with_given_upstream() -> None:
    """grad_outputs that require no gradient aren't differentiated by."""
    assert gradgradcheck(torch.sin, vector(), vector())
    assert gradgradcheck(torch.sin, vector(), vector().detach())
    assert gradgradcheck(torch.sin, vector(), check_fwd_over_rev=True)


def test_a_saved_intermediate_is_caught() -> None:
    """Sigmoid keeps its output, which is fine; SiLU that keeps the sigmoid has a wrong second derivative."""

    assert gradcheck(Keeping.apply, vector())
    assert not gradgradcheck(Keeping.apply, vector(), raise_exception=False)
    assert gradgradcheck(BY_NAME["Sigmoid"].function.apply, vector())


# -- what can't be certified --------------------------------------------------------------------------------------------


def opaque(x: Tensor) -> Tensor:
    """Numbers leave torch on the way, and make no difference."""
    return x + torch.tensor([v * v for v in x.tolist()], dtype=x.dtype) - x.detach() ** 2


def lost(x: Tensor) -> Tensor:
    """Numbers leave torch on the way, and the gradient lacks them."""
    return x * torch.tensor([v * v for v in x.tolist()], dtype=x.dtype)


@pytest.mark.parametrize("ours", [gradcheck, gradgradcheck])
def test_warnings_point_at_the_users_line(ours: Any) -> None:
    """The file and the line of the call, whichever of the two was called."""
    z = torch.tensor([1 + 2j], dtype=torch.complex128, requires_grad=True)

    def call() -> Any:
        return ours(torch.sin, z)

    with pytest.warns(UndecidedWarning) as caught:
        assert call()
    place = (__file__, call.__code__.co_firstlineno + 1)
    assert [(w.filename, w.lineno) for w in caught if w.category is UndecidedWarning] == [place]


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """torch's gradcheck writes nothing; what directions could have seen of many entries goes to the log."""
    caplog.set_level(logging.INFO, "gradcheck_cli")
    assert gradcheck(torch.sin, torch.linspace(0.1, 1.0, 1500, dtype=torch.float64, requires_grad=True))
    assert capsys.readouterr() == ("", "")
    assert [r.getMessage().partition(";")[0] for r in caplog.records] == ["1,500 entries by directions"]


def test_undecided_is_handed_to_torch() -> None:
    """Complex tensors are checked by torch's own, with a warning; what that says counts."""
    z = torch.tensor([1 + 2j, 0.5 - 1j], dtype=torch.complex128, requires_grad=True)
    with pytest.warns(UndecidedWarning, match="sin was checked by torch's own gradcheck"):
        assert gradcheck(torch.sin, z)
    with pytest.warns(UndecidedWarning):
        assert gradgradcheck(torch.sin, z)
    with pytest.warns(UndecidedWarning, match="opaque was checked"):
        assert gradcheck(opaque, vector())


def test_what_cannot_be_followed_is_refuted_all_the_same() -> None:
    """A difference quotient needs no operation that it knows."""
    with pytest.raises(GradcheckError, match="refuted by a difference quotient"):
        gradcheck(lost, vector())
