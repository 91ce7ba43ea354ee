"""Other ways to run: by torch.compile, under autocast. The code as it was written is the truth of each.

Compilers that are wrong on purpose are made here: one that scales what it computes, one that scales gradients alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch.autograd import Function

from gradcheck_cli import InputError, check_function, check_model
from gradcheck_cli.cli.app import run
from gradcheck_cli.cli.words import meant
from gradcheck_cli.maps.compiling import name_of
from gradcheck_cli.shadow.watching import Watching
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from gradcheck_cli.verdict.work import Recorder, supervise

AT = {"x": torch.tensor([0.3, -1.7, 2.6], dtype=torch.float64)}
MANY = {"x": torch.linspace(0.1, 3, 400, dtype=torch.float64)}
"""As many as columns settle."""

Graph = Callable[..., Any]


def smooth(x: Tensor) -> Tensor:
    return torch.tanh(x) * x


def scaled(graph: Graph, inputs: Sequence[Any]) -> Graph:
    """A compiler whose code is off by a thousandth."""
    return lambda *given: [y * 1.001 for y in graph(*given)]


def off_by_roundings(graph: Graph, inputs: Sequence[Any]) -> Graph:
    """A compiler whose code rounds another way."""
    return lambda *given: [y * (1 + 2**-52) for y in graph(*given)]


def _as_it_is(graph: Graph, inputs: Sequence[Any]) -> Graph:
    from functorch.compile import make_boxed_func

    return make_boxed_func(graph)  # type: ignore[no-any-return]


def _scaled_backward(graph: Graph, inputs: Sequence[Any]) -> Graph:
    from functorch.compile import make_boxed_func

    return make_boxed_func(lambda *given: [g * 1.000001 for g in graph(*given)])  # type: ignore[no-any-return]


wrong_backward = aot_autograd(fw_compiler=_as_it_is, bw_compiler=_scaled_backward)
"""A compiler whose gradients alone are off by a millionth."""


def failing(graph: Graph, inputs: Sequence[Any]) -> Graph:
    raise NotImplementedError("no such instruction")


class Steep(Function):
    """A sine whose backward is wrong as it was written."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * ctx.saved_tensors[0].cos() * 1.01


def wrong(report: Report) -> dict[str, set[Cause | None]]:
    """The causes of mismatches, by mode."""
    found: dict[str, set[Cause | None]] = {}
    for c in report.checks:
        if c.verdict is Verdict.MISMATCH:
            found.setdefault(c.mode, set()).add(c.cause)
    return found


# -- torch.compile ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_compiled_function_stands_beside_the_plain_one(mode: str) -> None:
    """Values and derivatives, each right; the head says how it was run."""
    report = check_function(smooth, at=AT, compile="eager", mode=mode)
    assert report.verdict is Verdict.MATCH, str(report)
    assert [c.mode for c in report.checks].count(f"{mode} (eager)") >= 3
    assert [c.mode for c in report.checks].count(mode) == 3
    assert "run by torch.compile (eager) too" in str(report)


@pytest.mark.parametrize("at", [AT, MANY], ids=["balls", "columns"])
def test_a_compiled_function_is_watched_no_more_than_the_plain_one(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is watched it runs as it was written, which was seen before; so where its code rounds another way, which is no
    mismatch."""
    seen = [0]
    watched = Watching.__torch_dispatch__

    def counted(self: Watching, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        seen[-1] += 1
        return watched(self, func, types, args, kwargs)

    monkeypatch.setattr(Watching, "__torch_dispatch__", counted)
    for backend in (None, off_by_roundings):
        report = check_function(smooth, at=at, compile=backend)
        assert report.verdict is Verdict.MATCH, str(report)
        seen.append(0)
    plain, compiled, _ = seen
    assert 0 < compiled <= 1.2 * plain


@pytest.mark.parametrize("at", [AT, MANY], ids=["balls", "columns"])
def test_a_wrong_compiler_is_named(at: Any) -> None:
    """Its values and its gradients are wrong; those of the code as it was written are right, and shown."""
    report = check_function(smooth, at=at, compile=scaled)
    assert wrong(report) == {"reverse (scaled)": {Cause.VALUE, Cause.FORMULA}}
    texts = [str(c.detail) for c in report.checks if c.cause is Cause.FORMULA]
    assert all("without torch.compile it is right" in text and "scaled makes it wrong" in text for text in texts)


@pytest.mark.parametrize("at", [AT, MANY], ids=["balls", "columns"])
def test_a_wrong_gradient_behind_a_right_value(at: Any) -> None:
    """Off by a millionth: more than rounding of the operations that were compiled explains."""
    report = check_function(smooth, at=at, compile=wrong_backward)
    assert set(wrong(report)) == {f"reverse ({name_of(wrong_backward)})"}
    assert not any(c.cause is Cause.VALUE for c in report.checks)


def test_wrong_code_is_not_blamed_on_the_compiler() -> None:
    """Both are wrong, by the same number."""
    report = check_function(Steep.apply, at=AT, compile="eager")
    assert set(wrong(report)) == {"reverse", "reverse (eager)"}
    texts = [str(c.detail) for c in report.checks if c.mode == "reverse (eager)" and c.cause is Cause.FORMULA]
    assert texts and all("without torch.compile it is the same" in text for text in texts)


def test_a_reference_is_the_truth_of_both() -> None:
    """Of code that is wrong as it was written, compiled or not."""
    report = check_function(lambda x: 1.5 * smooth(x), at=AT, compile="eager", reference=smooth)
    assert set(wrong(report)) == {"reverse", "reverse (eager)"}
    assert all(Cause.VALUE in causes for causes in wrong(report).values())


def test_graph_breaks_are_told() -> None:
    """How many, and why."""

    def breaks(x: Tensor) -> Tensor:
        y = x.sin()
        return y * 2 if y.sum().item() > 0 else y.exp()

    report = check_function(breaks, at=AT, compile="eager")
    assert report.verdict is Verdict.MATCH
    assert any("broke the graph 1 times, into" in note and "item" in note for note in report.notes)


def test_a_network_as_compiled(tmp_path: Any) -> None:
    """The whole, by inputs and parameters; a wrong compiler is found, and the layers are right."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    report = check_model(net, input=(2, 3), compile="eager")
    assert report.verdict is Verdict.MATCH, str(report)
    assert {c.wrt[0].partition("[")[0] for c in report.checks if c.mode == "reverse (eager)" and c.wrt} >= {
        "0.weight",
        "2.bias",
    }
    assert set(wrong(check_model(net, input=(2, 3), compile=scaled))) == {"reverse (scaled)"}


@pytest.mark.slow(reason="inductor compiles C++")
def test_one_output_as_compiled() -> None:
    """Of a neuron the row of the compiled network is judged too; a layer of one that is compiled isn't seen."""
    wrong_one = check_model("Linear(3, 2) | Tanh", neuron=1, at=[0.3, -1.7, 2.6], compile=scaled)
    assert set(wrong(wrong_one)) == {"reverse (scaled)"}
    assert {c.of for c in wrong_one.checks if c.wrt} == {"y[1]"}
    with pytest.raises(InputError, match="what is compiled is the whole network"):
        check_model("Linear(3, 2) | Tanh", layer="0", compile="eager")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_inductor(dtype: str) -> None:
    """Torch's own compiler: right; its time is told, and not counted."""
    report = check_function(smooth, at=AT, dtype=dtype, compile=True)
    assert report.verdict is Verdict.MATCH, str(report)
    assert {c.mode for c in report.checks} == {"reverse", "reverse (inductor)"}


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("inducter", "torch.compile has no backend 'inducter'; nearest: inductor"),
        (failing, "torch.compile (failing) fails, the function itself runs: BackendCompilerFailed"),
        (3, "the name of a backend is wanted, such as 'inductor', not int"),
    ],
)
def test_what_does_not_compile(backend: Any, words: str) -> None:
    """One line that says it; for functions and networks."""
    with pytest.raises(InputError) as problem:
        check_function(smooth, at=AT, compile=backend)
    assert words in str(problem.value)
    try:
        report = check_model("Linear(2, 2)", compile=backend)
    except InputError:
        return
    nothing = "torch.compile captured nothing: the function runs as it was written"  # so torch 2.6, of a network
    assert backend is failing and nothing in report.notes


def test_the_word_may_stand_alone() -> None:
    """--compile is --compile=inductor, --autocast is --autocast=bfloat16, wherever they stand; a value is kept."""
    assert meant(["function", "f.py:f", "--compile"], ["function"])[2:] == ["--compile=inductor"]
    assert meant(["function", "--compile", "-q", "f.py:f"], ["function"])[1:] == ["--compile=inductor", "-q", "f.py:f"]
    assert meant(["function", "f.py:f", "--compile", "eager"], ["function"])[2:] == ["--compile", "eager"]
    assert meant(["model", "Tanh()", "--autocast"], ["model"])[2:] == ["--autocast=bfloat16"]
    assert check_function(smooth, at=AT, compile=False).to_dict()["problem"].get("compile") is None


def test_what_is_not_counted_extends_the_time() -> None:
    """The time limit holds for the rest, and for what isn't counted there is another."""
    recorder = Recorder()
    done: list[bool] = []

    def work() -> None:
        with recorder.uncounted():
            time.sleep(0.3)
        done.append(True)

    assert not supervise(work, recorder.stop, 0.1, lambda: None, recorder.seconds_uncounted) and done
    assert supervise(lambda: time.sleep(0.3), recorder.stop, 0.1, lambda: None)


# -- autocast -----------------------------------------------------------------------------------------------------------


def product(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(x @ w)


class Product(Function):
    """A product whose backward, under autocast too, is off by a hundredth."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        g = g.to(x.dtype)
        return 1.01 * (g @ w.mT), x.mT @ g


GIVEN: dict[str, Any] = {"shape": {"x": (2, 3), "w": (3, 2)}, "dtype": "float32", "sample": 1, "domain": "x=-1:1"}


@pytest.mark.parametrize("dtype", [True, "bf16", "float16", torch.float16])
def test_what_the_cast_loses_is_told(dtype: Any) -> None:
    """Judged as it runs: no mismatch, and the cast is named where the digits are lost."""
    report = check_function(product, autocast=dtype, **GIVEN)
    assert report.verdict is Verdict.IMPRECISE
    name = "float16" if "16" in str(dtype) and "bf" not in str(dtype) else "bfloat16"
    assert f"run under torch.autocast to {name}" in str(report)
    texts = [str(c.detail) for c in report.checks if c.verdict is Verdict.IMPRECISE]
    assert texts and all(f"autocast rounds to {name}" in text for text in texts)


def test_a_wrong_backward_under_autocast() -> None:
    """Is no rounding."""
    assert wrong(check_function(Product.apply, autocast=True, **GIVEN)) == {"reverse": {Cause.FORMULA}}


class Scaled(torch.nn.Module):
    """A module of a user's own, which is no sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor([0.5, -2.0]))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.scale).tanh()


def test_a_module_of_ones_own_is_compiled() -> None:
    """What torch.compile returns has no truth value where the module has no length."""
    report = check_model(Scaled(), input=(3, 2), compile="eager")
    assert report.verdict is Verdict.MATCH and {c.mode for c in report.checks} == {"reverse", "reverse (eager)"}


def test_a_network_under_autocast() -> None:
    """Each layer, and the whole; beside a reference that isn't under it."""
    report = check_model("Linear(3, 4) | Tanh | Linear(4, 2)", input=(2, 3), dtype="float32", autocast="float16")
    assert report.verdict is Verdict.IMPRECISE
    assert any("autocast rounds to float16" in str(c.detail) for c in report.checks)
    assert not wrong(check_function(product, autocast=True, reference=product, **GIVEN))


def test_a_format_that_it_has_not(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and a caret."""
    assert run(["model", "Linear(2, 2)", "--autocast", "float8"]) == 2
    assert "torch.autocast computes in bfloat16 or float16" in capsys.readouterr().err
