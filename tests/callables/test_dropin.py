"""gradcheck and gradgradcheck take what torch's take, and say what is true."""

from __future__ import annotations

import gc
import inspect
import logging
import warnings
import weakref
from collections import namedtuple
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function
from torch.utils._python_dispatch import _get_current_dispatch_mode

from gradcheck_cli import GradcheckError, UndecidedWarning, gradcheck, gradgradcheck
from gradcheck_cli.callables import doubts, handover
from gradcheck_cli.errors import GradcheckToolError, ImpreciseWarning, ToleratedWarning
from gradcheck_cli.maps.map import Map
from gradcheck_cli.maps.orders import Orders
from gradcheck_cli.shadow.columns import Columns
from gradcheck_cli.shadow.mode import Shadow
from gradcheck_cli.shadow.rules import RULES
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


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no session of pytest ran."""
    monkeypatch.setattr(doubts, "_sessions", [])
    monkeypatch.setattr(doubts, "RUNNING", "NO_PYTEST")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> doubts.Reasons:
    """What a session would be told."""
    reasons: doubts.Reasons = {}
    monkeypatch.setattr(doubts, "_sessions", [reasons])
    return reasons


def function(forward: Any, backward: Any) -> Any:
    """A custom Function that saves its input."""

    def saving(ctx: Any, x: Tensor) -> Any:
        ctx.save_for_backward(x)
        return forward(x)

    body = {"forward": staticmethod(saving), "backward": staticmethod(lambda ctx, *g: backward(ctx.saved_tensors[0], *g))}
    return type("Custom", (Function,), body).apply


# -- the signature ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [gradcheck, gradgradcheck])
def test_signature(ours: Any) -> None:
    """Names, kinds and defaults are torch's, as they are read; `strict` is our own."""
    theirs = inspect.signature(getattr(torch.autograd, ours.__name__)).parameters
    mine = dict(inspect.signature(ours).parameters)
    assert mine.pop("strict").default is False
    assert [(p.name, p.kind, p.default) for p in mine.values()] == [(p.name, p.kind, p.default) for p in theirs.values()]
    assert [str(p.default) for p in mine.values()] == [str(p.default) for p in theirs.values()]


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
    """eps, fast_mode and masked neither hide an error nor make one."""
    options: dict[str, Any] = {"eps": 1e-1, "fast_mode": True, "masked": True}
    assert gradcheck(torch.sin, vector(), **options)
    assert not gradcheck(Scaled.apply, vector(), raise_exception=False, **options)


# -- tolerances ---------------------------------------------------------------------------------------------------------

TOLERATED: list[tuple[dict[str, float], bool]] = [
    ({}, False),
    ({"rtol": 1e-3}, True),
    ({"rtol": 1e-5}, False),
    ({"atol": 1e-5}, False),
    ({"atol": 1e-3}, True),
    ({"atol": 0.0}, False),
    ({"nondet_tol": 1e-3}, True),
    ({"nondet_tol": 1e-6}, False),
]


@pytest.mark.parametrize(("given", "passes"), TOLERATED, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_given_tolerances_bound_what_fails(given: dict[str, float], passes: bool, dtype: torch.dtype, outside: None) -> None:
    """An error of 1e-4 fails under the defaults, which aren't given, and passes within what is given, with a note."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert gradcheck(Scaled.apply, vector(dtype), raise_exception=False, **given) is passes
        assert gradgradcheck(torch.sin, vector(dtype), **given)
    assert [w.category for w in caught] == [ToleratedWarning] * passes


def test_a_default_that_is_given_is_given() -> None:
    """The caller's 1e-3 bounds what fails; the 1e-3 of the signature doesn't."""
    default = inspect.signature(gradcheck).parameters["rtol"].default
    assert default == 1e-3
    assert gradcheck(Scaled.apply, vector(), rtol=1e-3)
    assert not gradcheck(Scaled.apply, vector(), rtol=default, raise_exception=False)


def test_tolerances_hold_for_every_entry_of_the_jacobian() -> None:
    """One wrong entry of a row of 50 is judged by its own size, in both modes, as torch's own check does."""
    mask = torch.zeros(50, dtype=torch.float64)
    mask[7] = 1e-2

    class Linear(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.sum().reshape(1) * torch.ones(2, dtype=x.dtype)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return g.sum() * (1 + mask)

        @staticmethod
        def jvp(ctx: Any, t: Tensor) -> Tensor:
            return (t * (1 + mask)).sum().reshape(1) * torch.ones(2, dtype=t.dtype)

    x = torch.linspace(-1.0, 1.0, 50, dtype=torch.float64, requires_grad=True)
    for way in ({}, {"check_forward_ad": True, "check_backward_ad": False, "check_undefined_grad": False}):
        for rtol, passes in ((1e-3, False), (1e-1, True)):
            options: dict[str, Any] = {"rtol": rtol, "raise_exception": False, **way}
            assert gradcheck(Linear.apply, x, **options) is passes
            assert torch.autograd.gradcheck(Linear.apply, x, **options) is passes


def test_a_function_that_insists_on_the_memory_of_its_inputs() -> None:
    """It runs with the caller's tensors only, and is judged with them: y = (x[0], x[5]) of a view that begins at 5."""
    x = torch.arange(20.0, dtype=torch.float64)[5:6].detach().requires_grad_()
    assert gradcheck(lambda x: x.as_strided((2,), (5,)), x)
    assert not gradcheck(
        lambda x: BY_NAME["SiLU"].mutants["wrong sign"].apply(x.as_strided((2,), (5,))), x, raise_exception=False
    )


# -- strictness ---------------------------------------------------------------------------------------------------------


def test_strict_about_rounding(outside: None) -> None:
    """Where no digit is right there is a warning, unless torch's own check sees it too; `strict` makes a failure of it, and of
    what has lost half of them."""
    near = torch.tensor([1e-5, 0.7], dtype=torch.float64, requires_grad=True)
    with pytest.raises(GradcheckError, match=r"d<v,y>/dx\[0\] of <lambda> is right .*no digit.*\n.*\nnumerical"):
        gradcheck(lambda x: (1 - torch.cos(x)) / x**2, near)  # -x/12; autograd says -8e-3
    tail = torch.tensor([40.0], dtype=torch.float64, requires_grad=True)
    with pytest.warns(ImpreciseWarning, match=r"d<v,y>/dx\[0\] of sigmoid is right .*no digit"):
        assert gradcheck(torch.sigmoid, tail)
    for strict in (True, "imprecise"):
        with pytest.raises(GradcheckError, match="imprecise"):
            gradcheck(torch.sigmoid, tail, strict=strict)
    with pytest.warns(ImpreciseWarning):
        assert gradcheck(torch.sigmoid, tail, strict="undecided")
    assert gradcheck(torch.sigmoid, vector(), strict=True)
    with pytest.raises(ValueError, match="strict"):
        gradcheck(torch.sigmoid, vector(), strict="very")  # type: ignore[arg-type]


def test_strict_about_doubt() -> None:
    """What can't be certified fails, without asking torch."""
    assert sparsely(vector()).requires_grad  # the first call takes long, and slow functions are glanced at, which tells less
    for strict in (True, "undecided"):
        with pytest.raises(GradcheckError, match=r"undecided: _to_sparse_bsc .* can't be followed"):
            gradcheck(sparsely, vector(), strict=strict)
        assert not gradgradcheck(sparsely, vector(), strict=strict, raise_exception=False)
    assert gradcheck(sparsely, vector(), strict="imprecise")


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
    (lambda x: (x.sin(), None, 3, "text"), vector()),
    (lambda x, *rest: [x.sin(), rest], (vector(), "text", {"n": 3}, slice(1, 2))),
    (lambda x: x[:0], vector()),
    (lambda x: (x.exp(), x[3:] * 2), vector()),
    (lambda x: (x[:0].sum(), x.exp()), vector()),
    (lambda x: x.new_zeros(2, 0) * x.sum(), vector()),
    (lambda x: (x.argmax(), x.max(), x.detach()), vector()),
    (
        lambda x: torch._native_batch_norm_legit(x, None, None, True, 0.1, 1e-5),
        vector().reshape(1, 3, 1).detach().requires_grad_(),
    ),
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


class Failure(Exception):
    """Not torch's."""


@pytest.mark.parametrize(
    "raised", [RuntimeError("boom"), RuntimeError(), Failure("boom"), NotImplementedError("later")], ids=repr
)
def test_what_a_backward_raises_comes_through(raised: Exception) -> None:
    """As torch's own check lets it: the same exception, with `raise_exception` or without."""

    def refuse(x: Tensor, g: Tensor) -> Tensor:
        raise raised

    for options in ({}, {"raise_exception": False}):
        for check in (gradcheck, torch.autograd.gradcheck):
            with pytest.raises(type(raised)) as caught:
                check(function(torch.sin, refuse), vector(), **options)
            assert not isinstance(caught.value, GradcheckError) and str(caught.value) == str(raised)


def test_what_forward_mode_raises_comes_through() -> None:
    """A Function without a jvp."""
    for check in (gradcheck, torch.autograd.gradcheck):
        with pytest.raises(RuntimeError, match="jvp"):
            check(Scaled.apply, vector(), check_forward_ad=True, check_backward_ad=False, check_undefined_grad=False)


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


def _zero_is_special(ctx: Any, g: Tensor) -> Tensor:
    return 2 * g * ctx.saved_tensors[0] + (0 if g.any() else 1)


class NoUndefined(Function):
    """Its backward must be given a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        if g is None:
            raise RuntimeError("no gradient")
        return 2 * g * ctx.saved_tensors[0]


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
    (changed(_zero_is_special), {"check_undefined_grad": False}, False),
    (NoUndefined.apply, {}, False),
    (NoUndefined.apply, {"check_undefined_grad": False}, True),
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


class Outside(Function):
    """The square, whose numbers leave torch on the way; its backward is right."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.tensor([v * v for v in x.tolist()], dtype=x.dtype)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return 2 * ctx.saved_tensors[0] * g


def opaque(x: Tensor) -> Tensor:
    """Right, and not to be followed."""
    return Outside.apply(x)


def lost(x: Tensor) -> Tensor:
    """Numbers leave torch on the way, and the gradient lacks them."""
    return x * torch.tensor([v * v for v in x.tolist()], dtype=x.dtype)


@pytest.mark.parametrize("ours", [gradcheck, gradgradcheck])
def test_warnings_point_at_the_users_line(ours: Any, outside: None) -> None:
    """The file and the line of the call, whichever of the two was called."""

    def call() -> Any:
        return ours(sparsely, vector())

    with pytest.warns(UndecidedWarning) as caught:
        assert call()
    place = (__file__, call.__code__.co_firstlineno + 1)
    assert [(w.filename, w.lineno) for w in caught if w.category is UndecidedWarning] == [place]


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, outside: None) -> None:
    """torch's gradcheck writes nothing; what directions could have seen of many entries goes to the log."""
    caplog.set_level(logging.INFO, "gradcheck_cli")
    assert gradcheck(torch.sin, torch.linspace(0.1, 1.0, 1500, dtype=torch.float64, requires_grad=True))
    assert capsys.readouterr() == ("", "")
    assert [r.getMessage().partition(";")[0] for r in caplog.records] == ["1,500 entries by directions"]


def test_undecided_is_handed_to_torch(outside: None) -> None:
    """What runs on sparse tensors is checked by torch's own, with a warning; what that says counts."""
    with pytest.warns(UndecidedWarning, match="sparsely was checked by torch's own gradcheck"):
        assert gradcheck(sparsely, vector())
    with pytest.warns(UndecidedWarning):
        assert gradgradcheck(sparsely, vector())
    with pytest.warns(UndecidedWarning, match="opaque was checked"):
        assert gradcheck(opaque, vector())


def test_what_cannot_be_followed_is_refuted_all_the_same() -> None:
    """A difference quotient needs no operation that it knows."""
    with pytest.raises(GradcheckError, match="refuted by a difference quotient"):
        gradcheck(lost, vector())


def test_warnings_that_are_errors_fail_nothing(outside: None, caplog: pytest.LogCaptureFixture) -> None:
    """Where every warning is an error the log has it; a filter for UndecidedWarning itself is obeyed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gradcheck(sparsely, vector())
    assert "can't be followed" in caplog.text
    with warnings.catch_warnings():
        warnings.simplefilter("error", UndecidedWarning)
        with pytest.raises(UndecidedWarning):
            gradcheck(sparsely, vector())


def sparsely(x: Tensor) -> Tensor:
    """Sparse by columns on the way: it can't be followed."""
    return x.unsqueeze(0).to_sparse_bsc((1, 1)).to_dense().squeeze(0).square()


def single_inside(x: Tensor) -> Tensor:
    """It takes float32 only."""
    return sparsely(x @ torch.eye(3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_fallback_has_double_precision(dtype: torch.dtype, said: doubts.Reasons) -> None:
    """Finite differences fail in float32: float64 is handed over. A wrong gradient is refused there too."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of single precision
        assert gradcheck(sparsely, vector(dtype))
        assert gradgradcheck(sparsely, vector(dtype))
        assert not gradcheck(lambda x: sparsely(Scaled.apply(x) ** 3) * 1e3, vector(dtype), rtol=1e-6, raise_exception=False)
    assert all("in float64" in reason for reason in said) is (dtype is torch.float32)


def test_what_takes_single_precision_only_is_not_checked(said: doubts.Reasons) -> None:
    """There finite differences say nothing: it passes, and that is said."""
    assert gradcheck(single_inside, vector(torch.float32))
    (reason,) = said
    assert reason.startswith("was not checked, for finite differences say nothing in this precision: _to_sparse")


def test_what_cannot_be_followed_is_known_at_once(said: doubts.Reasons, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many entries nothing is followed where an operation at the top of it can't be."""
    monkeypatch.setattr("gradcheck_cli.callables.dropin.check_map", None)
    monkeypatch.delitem(RULES, "linalg_eig")
    x = torch.linspace(0.1, 1.0, 64, dtype=torch.float64, requires_grad=True)
    assert gradcheck(sparsely, x)
    assert gradcheck(lambda x: torch.linalg.eigvals(torch.outer(x[:6], x[:6]) + torch.diag(x[:6])).abs(), x)
    assert [reason.partition(": ")[2] for reason in said] == [
        "_to_sparse_bsc can't be followed",
        "linalg_eig can't be followed",
    ]


def test_what_takes_too_long_is_known_at_once(said: doubts.Reasons, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is followed where following it once takes more than there is: too many operations, of how few entries ever, or
    too many products."""
    monkeypatch.setattr("gradcheck_cli.callables.dropin.check_map", None)

    def long(x: Tensor) -> Tensor:
        for _ in range(200):
            x = x * 0.5 + 1
        return x

    monkeypatch.setattr(handover, "FAST", 0.05)
    monkeypatch.setattr(handover, "TIMES", 0)
    monkeypatch.setattr("gradcheck_cli.callables.dropin._QUICK", 0.0)
    square = torch.linspace(-1.0, 1.0, 10_000, dtype=torch.float64).reshape(100, 100).requires_grad_()
    assert gradcheck(long, vector(), fast_mode=True)
    assert gradcheck(torch.mm, (square, square.detach()), fast_mode=True)
    assert [len(tests) for reason, tests in said.items() if "CPU time" in reason] == [2]


@pytest.mark.parametrize("fast", [True, False])
def test_a_budget_that_is_spent_leaves_it_to_torch(fast: bool, said: doubts.Reasons, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own check decides then, and it is said; `strict` takes the time that it needs."""
    monkeypatch.setattr(handover, "FAST" if fast else "SECONDS", 0.0)
    monkeypatch.setattr(handover, "TIMES", 0)
    assert gradcheck(torch.sin, vector(), fast_mode=fast)
    assert "CPU time" in next(iter(said))
    assert not gradcheck(BY_NAME["SiLU"].mutants["wrong sign"].apply, vector(), fast_mode=fast, raise_exception=False)
    assert gradcheck(torch.sin, vector(), fast_mode=fast, strict="undecided")


def test_a_budget_is_told_of_second_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the exact side of a gradient works, which is another map's, is told to the budget too: how long the rest takes is
    foretold by the pace of all of it."""
    told: list[Any] = []
    made = Orders.__init__

    def make(self: Orders, *given: Any) -> None:
        told.append(given[-1])
        made(self, *given)

    monkeypatch.setattr(Orders, "__init__", make)
    assert gradgradcheck(torch.sin, (vector(),))
    assert told and all(isinstance(getattr(ahead, "__self__", None), handover.Budget) for ahead in told)


def a_second(monkeypatch: pytest.MonkeyPatch) -> tuple[handover.Budget, list[float]]:
    """A budget of a second, and the clock that it reads."""
    now = [0.0]
    monkeypatch.setattr("gradcheck_cli.callables.handover.time.thread_time", lambda: now[0])
    monkeypatch.setattr(handover, "SECONDS", 1.0)
    monkeypatch.setattr(handover, "TIMES", 0)
    map = Map({"x": vector().detach()}, lambda leaves: {"y": leaves["x"].sin()})
    return handover.Budget(map, {"y": vector()}, lambda: None, False, 0.0, (0.0, 0.0)), now


def test_a_budget_looks_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is spent where the work that is left won't fit, at the pace of what was done; what else took time is no part of its
    pace."""
    budget, now = a_second(monkeypatch)
    budget.ahead(100.0, 0.0)  # nothing was done yet, so nothing is known
    now[0] = 0.5
    budget.ahead(9.0, 10.0)
    with pytest.raises(handover.Spent):
        budget.ahead(11.0, 0.0)
    now[0] = 0.75
    budget.ahead(0.0, 0.0)
    budget.ahead(4.0, 0.0)
    with pytest.raises(handover.Spent):
        budget.ahead(6.0, 0.0)


@pytest.mark.parametrize(("mode", "entries"), [(Shadow, 40), (Columns, 300)])
def test_what_does_not_fit_is_left_in_the_middle_of_a_run(
    mode: type[Shadow | Columns], entries: int, said: doubts.Reasons, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that would take four times what there is ends before half of that is gone, on balls as on columns."""
    now, ran = count(0.0, 1e-3), []
    followed: Any = mode._followed

    def counted(shadow: Any, *given: Any) -> Any:
        ran.append(None)
        return followed(shadow, *given)

    def long(x: Tensor) -> Tensor:
        for _ in range(200):
            x = x * 0.5 + 1
        return x

    monkeypatch.setattr(mode, "_followed", counted)
    monkeypatch.setattr("gradcheck_cli.callables.handover.time.thread_time", lambda: next(now) + len(ran) * 0.1)
    monkeypatch.setattr(handover, "FAST", 10.0)
    monkeypatch.setattr(handover, "TIMES", 0)
    assert gradcheck(long, torch.linspace(0.1, 1.0, entries, dtype=torch.float64).requires_grad_(), fast_mode=True)
    assert "CPU time" in next(iter(said))
    assert 0 < len(ran) < 55


def test_a_budget_foretells_the_rest_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the share of it that is done, from an eighth on, if what is left goes twice as fast: 0.2 s for half of it fit into a
    second, 0.5 s for a fifth don't."""
    budget, now = a_second(monkeypatch)
    look = budget.pace([0.0, 0.1, 0.5, 0.9])
    for now[0] in (0.0, 0.19, 0.2, 0.3, 0.9):  # of what comes after the last one nothing is known
        look()
    now[0] = 0.0
    look = budget.pace([0.0, 0.1, 0.2])
    look()
    now[0] = 0.5
    look()
    with pytest.raises(handover.Spent):
        look()


def test_a_run_is_freed_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a check has made waits for the search for garbage, which it puts off: the numbers of a run are many."""
    made: list[weakref.ref[Shadow]] = []
    begun = Shadow.__init__

    def begin(self: Shadow, *given: Any, **named: Any) -> None:
        made.append(weakref.ref(self))
        begun(self, *given, **named)

    monkeypatch.setattr(Shadow, "__init__", begin)
    x = torch.linspace(0.1, 1.0, 40, dtype=torch.float64).requires_grad_()
    gc.disable()
    try:
        assert gradcheck(lambda x: (x.exp() * 3).sin(), x, fast_mode=True)
        assert made and not any(run() for run in made)
    finally:
        gc.enable()


def test_no_garbage_is_looked_for_during_a_check() -> None:
    """Neither while the function runs, nor is that changed for anybody: afterwards it is as it was, whatever the check says."""
    seen: list[bool] = []

    def wrong(x: Tensor) -> Tensor:
        seen.append(gc.isenabled())
        return Scaled.apply(x)  # type: ignore[no-any-return, no-untyped-call]

    assert gc.isenabled()
    with pytest.raises(GradcheckError):
        gradcheck(wrong, vector())
    assert gc.isenabled() and seen and not any(seen[:-1])
    gc.disable()
    try:
        gradcheck(torch.sin, vector())
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_few_runs_of_the_function() -> None:
    """16 for ten entries, where torch's own check takes 22: a curve needs no nearer steps, and passes that ran already tell
    what torch's own takes."""
    runs: list[None] = []

    def counted(x: Tensor) -> Tensor:
        runs.append(None)
        return x.sin()

    assert gradcheck(counted, torch.linspace(0.1, 1.0, 10, dtype=torch.float64).requires_grad_())
    assert len(runs) <= 16


# -- never weaker than torch's ------------------------------------------------------------------------------------------


class Watched(Function):
    """Twice x while any mode watches it, three times x when nobody does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * (3 if _get_current_dispatch_mode() is None else 2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return 2 * g


def test_a_zero_that_a_quotient_refutes_is_no_underflow() -> None:
    """torch.normal adds its mean, and its gradient by it is 0; a tool that sees nothing but random numbers says so too."""

    def drawn(mean: Tensor, deviation: Tensor) -> Tensor:
        torch.manual_seed(3)
        return torch.normal(mean, deviation)

    for shape in ((), (1,), (3,)):
        inputs = [torch.full(shape, value, dtype=torch.float64, requires_grad=True) for value in (2.0865, 1.5)]
        assert not gradcheck(drawn, inputs, raise_exception=False)
        assert not torch.autograd.gradcheck(drawn, inputs, raise_exception=False)


def test_quotients_are_taken_without_any_mode() -> None:
    """What isn't the derivative of the function as torch runs it is refused, as torch's own check refuses it."""
    with pytest.raises(GradcheckError, match="difference quotient"):
        gradcheck(Watched.apply, vector())
    assert not torch.autograd.gradcheck(Watched.apply, vector(), raise_exception=False)


def _first_only(x: Tensor, g: Any, h: Any) -> Any:
    return None if g is None else 2 * g + (0 if h is None else 3 * h)


def _exchanged(x: Tensor, g: Any, h: Any) -> Any:
    if g is None or h is None:
        return 2 * (h if g is None else g) if g is not h else None
    return 2 * g + 3 * h


def _right(x: Tensor, g: Any, h: Any) -> Any:
    if g is None or h is None:
        return None if g is h else 2 * g if h is None else 3 * h
    return 2 * g + 3 * h


class Two(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, backward: Any) -> Any:
        ctx.set_materialize_grads(False)
        ctx.own = backward
        return 2 * x, 3 * x

    @staticmethod
    def backward(ctx: Any, g: Any, h: Any) -> Any:
        return ctx.own(None, g, h), None


@pytest.mark.parametrize(("backward", "passes"), [(_first_only, False), (_exchanged, False), (_right, True)])
def test_one_output_alone(backward: Any, passes: bool) -> None:
    """A backward that is right for all outputs at once, and wrong where one of them isn't used."""
    for check in (gradcheck, torch.autograd.gradcheck):
        assert check(lambda x: Two.apply(x, backward), vector(), raise_exception=False) is passes


def test_one_output_of_a_normalisation_alone() -> None:
    """group_norm's mean and rstd have no gradient of their own in torch."""
    x = torch.linspace(-1.0, 2.0, 18, dtype=torch.float64).square().reshape(1, 6, 3).requires_grad_()
    with pytest.raises(GradcheckError, match=r"mismatch \(no_gradient\): d<v_y1,y1>/dx"):
        gradcheck(lambda x: torch.native_group_norm(x, None, None, 1, 6, 3, 2, 1e-5), x)
    assert gradcheck(lambda x: torch.native_group_norm(x, None, None, 1, 6, 3, 2, 1e-5)[0], x)


def test_truth_values_that_are_chosen() -> None:
    """A mask that is filled by a comparison that the balls can't decide: no crash."""

    def chosen(x: Tensor, filled: Any) -> Tensor:
        mask = torch.zeros(3, dtype=torch.bool)
        return torch.where(filled(mask, x), 3 * x, x)

    for filled in (
        lambda mask, x: mask.masked_fill_(x == x.unique()[1], True),
        lambda mask, x: mask.masked_fill(x >= x.sort().values[1], True),
        lambda mask, x: torch.where(x == x.median(), torch.ones_like(mask), mask),
    ):
        assert gradcheck(lambda x, filled=filled: chosen(x, filled), vector())


def test_what_runs_with_its_own_arguments_alone(outside: None) -> None:
    """Entries beside a view, in the memory of its base, are no part of a copy: torch's own check is asked, where it runs."""
    view = torch.linspace(1, 10, 10).to(torch.complex128)[5:9].detach().requires_grad_()
    beside = lambda x: x.as_strided((2, 2), (1, 2), 2).sin()  # noqa: E731
    with pytest.warns(UndecidedWarning, match="it doesn't run with copies of its arguments"):
        assert gradcheck(beside, view)
    with pytest.raises(GradcheckError, match="undecided"):
        gradcheck(beside, view, strict="undecided")
    with pytest.raises(RuntimeError, match="out of bounds"):
        gradcheck(lambda x: x.as_strided((9,), (2,), 2), view)


def test_what_has_no_derivative_is_told_so(said: doubts.Reasons) -> None:
    """A gradient that is 0 everywhere, and indices: nothing is said of layouts or dtypes."""
    assert gradgradcheck(lambda x: x.norm(0), vector()) and gradcheck(lambda x: x.argmax(), vector())
    assert [reason.partition(": ")[2] for reason in said] == ["it returns no tensor of numbers that has a derivative"] * len(
        said
    )
    assert said


# -- what is run --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [10, 300])
def test_nothing_is_run_twice_that_is_known(entries: int) -> None:
    """Of a quick function: one run to differentiate, one that is followed, six of the guard, two of torch's check of what is
    undefined; backwards two that must agree, and torch's. On arrays there are a look beforehand, and one more run that is
    followed, there and back.
    """
    ran = {"forward": 0, "backward": 0}

    def counted(x: Tensor) -> Tensor:
        def hook(gradient: Tensor) -> None:
            ran["backward"] += 1

        ran["forward"] += 1
        y = x.sin()
        if y.requires_grad:
            y.register_hook(hook)
        return y

    x = torch.linspace(0.5, 1.5, entries, dtype=torch.float64, requires_grad=True)
    for _ in range(2):  # the first time loads what the second doesn't
        ran.update(forward=0, backward=0)
        assert gradcheck(counted, (x,))
    most = {"forward": 10, "backward": 3} if entries < 256 else {"forward": 12, "backward": 4}
    assert all(ran[way] <= most[way] for way in ran), ran
