"""Networks: a wrong layer is refuted and blamed wherever it stands, a right network never; and nothing of it changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradcheck_cli import InputError, Report, check_model
from gradcheck_cli.cli import app as application
from gradcheck_cli.maps.map import direction_of, random_row
from gradcheck_cli.networks.hooks import Subject
from gradcheck_cli.verdict.verdicts import Verdict

pytestmark = pytest.mark.slow(reason="whole checks of networks, layer by layer")


def layer(backward: Callable[[Tensor, Tensor], Tensor]) -> type[nn.Module]:
    """A module x*sigmoid(x) with a backward of its own, a function of the upstream gradient and x."""

    class Swish(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * torch.sigmoid(x)

        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> Any:
            return backward(upstream, *ctx.saved_tensors)

    return type("Swish", (nn.Module,), {"forward": lambda self, x: Swish.apply(x)})


def right(upstream: Tensor, x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return upstream * (s + x * s * (1 - s))


Good = layer(right)
Missing = layer(lambda v, x: v * torch.sigmoid(x) * (1 + x))
Tiny = layer(lambda v, x: right(v, x) * (1 + 1e-12))
Dropped = layer(lambda v, x: right(torch.ones_like(v), x))
Twice = layer(lambda v, x: 2 * right(v, x))
Half = layer(lambda v, x: right(v, x) / 2)


def one_entry(upstream: Tensor, x: Tensor) -> Tensor:
    gradient = right(upstream, x)
    return gradient * torch.ones(gradient.numel()).index_fill(0, torch.tensor([1]), 1.01).reshape(gradient.shape)


Single = layer(one_entry)


class WrongWeight(nn.Linear):
    """Right by its input, wrong by its weight."""

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return w @ x

        @staticmethod
        def backward(ctx: Any, v: Tensor) -> Any:
            x, w = ctx.saved_tensors
            return w.T @ v, torch.outer(x, v).T.flip(0)

    def forward(self, x: Tensor) -> Tensor:
        """W x + b."""
        return self.Product.apply(x, self.weight) + self.bias


class Block(nn.Module):
    """The slip stands in the module's own forward, its layers are right."""

    def __init__(self, wrong: type[nn.Module]) -> None:
        super().__init__()
        self.lin, self.act = nn.Linear(3, 3), [wrong()]  # in a list: not a submodule

    def forward(self, x: Tensor) -> Tensor:
        """x + f(x)."""
        return x + self.act[0](self.lin(x))


def blamed(report: Report) -> set[str | None]:
    return {check.stage for check in report.checks if check.verdict is Verdict.MISMATCH}


def network(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(*layers).double()


# -- who is to blame ----------------------------------------------------------------------------------------------------


WRONG = {"right": Good, "missing factor": Missing, "1e-12": Tiny, "no upstream": Dropped, "twice": Twice, "one entry": Single}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.slow(reason="many networks")
def test_a_wrong_layer_is_blamed(name: str, place: int) -> None:
    """First, in the middle or last: the layer is named, and its right original is never refuted."""
    layers: list[nn.Module] = [nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)]
    layers[place] = WRONG[name]()
    report = check_model(network(*layers), input=3)
    assert report.exit_code == (name != "right"), str(report)
    assert blamed(report) == (set() if name == "right" else {f"{place} Swish"})


def test_one_wrong_rule_in_several_layers() -> None:
    """Is one finding, which names them."""
    report = check_model(network(nn.Linear(3, 3), Twice(), nn.Linear(3, 3), Twice()), input=3)
    assert str(report).count("mismatch (formula)") == 1
    assert "blamed: stages 1 Swish, 3 Swish" in str(report) or "blamed: stages 3 Swish, 1 Swish" in str(report)


def test_errors_that_cancel() -> None:
    """A factor of 2 and one of 1/2: the network's gradient is right, and both layers are refuted."""
    report = check_model(network(nn.Linear(3, 3), Twice(), Half()), input=3)
    mismatched = {check.of for check in report.checks if check.verdict is Verdict.MISMATCH and check.kind == "local"}
    assert mismatched == {"<v,1>", "<v,2>"}
    assert {c.verdict for c in report.checks if c.wrt[0].startswith("0.weight")} == {Verdict.MATCH}


@pytest.mark.slow(reason="many networks")
def test_a_wrong_layer_behind_a_zero() -> None:
    """Nothing of it reaches the output, and yet it is refuted."""
    model = network(nn.Linear(3, 3), Missing(), nn.Linear(3, 2, bias=False), nn.ReLU())
    with torch.no_grad():
        model[2].weight.zero_()
    assert blamed(check_model(model, input=3)) == {"1 Swish"}


def test_a_wrong_gradient_of_a_parameter() -> None:
    """Right by the input, wrong by the weight."""
    report = check_model(network(nn.Tanh(), WrongWeight(3, 2)), input=3)
    assert blamed(report) == {"1 WrongWeight"}
    wrong = [check.wrt[0] for check in report.checks if check.verdict is Verdict.MISMATCH]
    assert all(name.startswith("1.weight[") for name in wrong)


def test_a_slip_between_the_layers() -> None:
    """Where every layer is right by itself, the module around them is named; of a network without modules, the network."""
    report = check_model(nn.Sequential(Block(Missing), nn.Linear(3, 2)).double(), input=3)
    assert blamed(report) == {"0 Block"}
    assert blamed(check_model(Block(Missing).double(), input=3)) == {"Block itself"}
    assert check_model(nn.Sequential(Block(Good), nn.Linear(3, 2)).double(), input=3).ok


def test_what_a_small_layer_applies_is_written_out() -> None:
    """Both formulas stand with the layer's own derivative, in its own names."""
    report = check_model(network(nn.Linear(2, 2), Missing()), input=2)
    shown = [check for check in report.checks if check.autograd_formula]
    assert {check.of for check in shown} == {"<v,1>"}
    assert "x[" in str(shown[0].formula)
    assert "1." not in str(shown[0].autograd_formula)


def test_a_cut_graph() -> None:
    """What is detached on the way is found: no gradient."""

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.lin(x).detach())

    report = check_model(Cut().double(), input=3)
    assert {c.cause for c in report.checks if c.verdict is Verdict.MISMATCH} == {"no_gradient"}
    assert blamed(report) == {"Cut itself"}


class Gate(nn.Module):
    """A gate that isn't learnt: it is made under no_grad()."""

    def __init__(self) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            gate = torch.sigmoid(self.gate(x))
        return self.value(x) * gate


class Leaving(nn.Module):
    """A layer that works in NumPy."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.from_numpy(self.first(x).relu().detach().numpy()))


@pytest.mark.parametrize(
    ("kind", "cut"), [(Gate, "an operation under torch.no_grad()"), (Leaving, ".detach() or .data")], ids=lambda v: str(v)[:9]
)
def test_one_cut_is_one_finding(kind: Any, cut: str) -> None:
    """Whatever it is differentiated by, and however it was refuted; constants that nobody cut off aren't named beside it."""
    report = check_model(kind().double(), input=(2, 3))
    wrong = [c for c in report.checks if c.verdict is Verdict.MISMATCH]
    assert len({c.wrt for c in wrong}) > 3
    for check in wrong:
        assert str(check.detail).startswith(f"cut from the graph by {cut} (test_model.py, line ")
        assert "), " not in str(check.detail).partition(": with that")[0]
    assert str(report).count("mismatch (no_gradient)") == 1


# -- what is differentiated ---------------------------------------------------------------------------------------------


def test_every_layer_has_its_rows() -> None:
    """In its place by its output, its parameters and the input, from the output back; and by itself."""
    report = check_model("Linear(2, 3) | Tanh", input=2)
    assert [column.scope.title for column in report.columns if column.kind == "total"] == ["1 Tanh", "0 Linear", "x"]
    assert [column.scope.title for column in report.columns if column.kind == "local"] == ["1 Tanh", "0 Linear"]
    found = {(c.kind, c.of, c.wrt[0].partition("[")[0]) for c in report.checks}
    assert found == {
        ("total", "<v,y>", "1.output"), ("total", "<v,1>", "x"), ("total", "<v,y>", "0.output"), ("total", "<v,y>", "0.weight"),
        ("total", "<v,y>", "0.bias"), ("total", "<v,0>", "x"), ("total", "<v,y>", "x"), ("local", "<v,1>", "1.input"),
        ("local", "<v,0>", "0.input"), ("local", "<v,0>", "0.weight"), ("local", "<v,0>", "0.bias"),
    }  # fmt: skip


def test_the_jacobian_of_a_layer() -> None:
    """Every entry of a layer's output by the input: for a linear one, its weight."""
    report = check_model("Linear(4, 3) | ReLU", layer=0)
    torch.manual_seed(0)
    weight = nn.Linear(4, 3).weight.double()
    found = {check.quantity: check.autograd for check in report.checks}
    assert found == {f"d0.output[{i}]/dx[{j}]": weight[i, j].item() for i in range(3) for j in range(4)}


@pytest.mark.parametrize(
    ("options", "quantities"),
    [
        ({"layer": "0", "neuron": "2"}, ["d0.output[2]/dx[0]", "d0.output[2]/dx[1]"]),
        ({"neuron": 2}, ["dy[2]/dx[0]", "dy[2]/dx[1]"]),
        ({"neuron": -1}, ["dy[2]/dx[0]", "dy[2]/dx[1]"]),
        ({"neuron": (1,), "wrt": "parameters"}, None),
        ({"layer": 1, "cotangent": "random"}, ["d<v,1.output>/dx[0]", "d<v,1.output>/dx[1]"]),
        ({"layer": "1", "cotangent": [1, 0, -1]}, ["d<v,1.output>/dx[0]", "d<v,1.output>/dx[1]"]),
        ({"layer": "1", "cotangent": "[1, 0, -1]"}, ["d<v,1.output>/dx[0]", "d<v,1.output>/dx[1]"]),
    ],
)
def test_rows(options: dict[str, Any], quantities: list[str] | None) -> None:
    """One neuron, or one combination, by the input unless something else is asked for."""
    report = check_model("Linear(2, 3) | Tanh", **options)
    found = [check.quantity for check in report.checks]
    if quantities is None:
        weights = [f"weight[{i},{j}]" for i in range(3) for j in range(2)]
        quantities = [f"dy[1]/d0.{name}" for name in (*weights, "bias[0]", "bias[1]", "bias[2]")]
    assert found == quantities
    assert report.ok


class Quantised(nn.Module):
    """Its first layer isn't the first that is called."""

    def __init__(self) -> None:
        super().__init__()
        self.codes, self.inner = nn.Embedding(6, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.inner(x)
        return z * self.codes(torch.cdist(z, self.codes.weight).argmin(-1))


@pytest.mark.parametrize("options", [{"input": (3, 4)}, {"at": "x=[[0.5,-1.25,2,0]]"}, {"at": "x=[[1,2,3,4]]"}], ids=str)
def test_an_embedding_that_is_called_later(options: dict[str, Any]) -> None:
    """Numbers are tried where indices don't run; what isn't whole is no index."""
    report = check_model(Quantised(), dtype="float64", **options)
    assert report.verdict is Verdict.MATCH and any(c.wrt and c.wrt[0].startswith("x[") for c in report.checks)


class Beside(nn.Linear):
    """A layer that returns something of its input too."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x), x.mean()


@pytest.mark.parametrize("wrt", ["all", "input", "parameters"])
def test_an_output_that_depends_on_no_parameter(wrt: str) -> None:
    """It has no gradient by them, which is no error."""
    assert check_model(Beside(3, 2), input=(2, 3), wrt=wrt).verdict is Verdict.MATCH


def test_the_layers_are_judged_where_a_row_is_wrong() -> None:
    """So that the layer to blame is named there too."""
    report = check_model(network(nn.Linear(3, 3), Missing(), nn.Linear(3, 2)), input=3, neuron=0)
    assert blamed(report) == {"1 Swish"}


@pytest.mark.parametrize("loss", ["mean(y**2)", lambda y: (y**2).mean()], ids=["formula", "callable"])
def test_a_loss(loss: Any) -> None:
    """A formula or a callable ends the network in one number."""
    report = check_model("Linear(3, 2) | Tanh", loss=loss, wrt="parameters")
    assert report.ok
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    x = torch.randn(3)
    model.double()(x.double()).square().mean().backward()
    found = {check.quantity: check.autograd for check in report.checks}
    assert found["dloss/d0.weight[1,2]"] == model[0].weight.grad[1, 2].item()
    assert not any(quantity.endswith("/dx[0]") for quantity in found)


def test_cross_entropy() -> None:
    """The usual loss of a classifier, in the language of formulas."""
    assert check_model("Linear(3, 4)", loss="cross_entropy(y, 2)").ok


def test_the_seed_is_that_of_torch() -> None:
    """Weights, then the input, as torch.manual_seed gives them; another seed, another network."""
    torch.manual_seed(3)
    model = nn.Linear(3, 2)
    x = torch.randn(3)
    first = check_model("Linear(3, 2)", seed=3, neuron=0)
    assert [c.value for c in first.checks] == x.double().tolist()
    assert [c.autograd for c in first.checks] == model.weight[0].double().tolist()
    assert [c.value for c in check_model("Linear(3, 2)", neuron=0).checks] != x.double().tolist()


def test_the_mask_of_a_run() -> None:
    """Dropout has one mask in training, for the network and for the layer: what it drops has the derivative 0 in both."""
    report = check_model("Linear(8, 8) | Dropout(0.5)", train=True, seed=1)
    assert report.ok
    place = {c.quantity: c.autograd for c in report.checks if c.wrt[0].startswith("0.output")}
    own = {c.quantity: c.autograd for c in report.checks if c.wrt[0].startswith("1.input")}
    assert [v == 0 for v in place.values()] == [v == 0 for v in own.values()]
    assert 0 < sum(v == 0 for v in own.values()) < 8


def test_several_tensors_in_and_out() -> None:
    """All floating-point inputs and outputs count, those of nested results too; whole numbers and settings stay."""

    class Pair(nn.Module):
        def forward(self, a: Tensor, b: Tensor, which: Tensor, scale: float = 2.0) -> dict[str, Any]:
            return {"s": scale * a + b, "rest": (a[which] * b.sum(), which, None)}

    a, b = torch.tensor([1.0, 2.0]).double(), torch.tensor([3.0, 4.0]).double()
    report = check_model(Pair(), input=(a, b, torch.tensor([1])))
    assert report.ok
    assert {c.wrt[0].partition("[")[0] for c in report.checks} == {"a", "b"}
    assert {c.of for c in report.checks} == {"<v,y.s,y.rest.0>"}
    assert check_model(Pair(), input={"b": b, "a": a, "which": torch.tensor([0])}).ok


def test_a_module_that_is_called_twice() -> None:
    """Each call is a layer; the shared parameter gets the gradient of both."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin, self.act = nn.Linear(2, 2), nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.lin(self.act(self.lin(x))))

    report = check_model(Shared().double(), input=2)
    assert report.ok
    titles = [c.scope.title for c in report.columns if c.kind == "local"]
    assert titles == ["act:2 Tanh", "lin:2 Linear", "act Tanh", "lin Linear"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.slow(reason="whole networks in short formats")
def test_short_formats(dtype: str) -> None:
    """The same point and weights in a shorter format; nothing is alarmed, and the slip is found."""
    assert check_model("Linear(3, 3) | GELU | LayerNorm(3)", dtype=dtype).exit_code == 0
    assert blamed(check_model(network(nn.Linear(3, 3), Missing()), input=3, dtype=dtype)) == {"1 Swish"}


def test_a_large_network_with_ties() -> None:
    """Pooling behind a ReLU meets equal numbers by the hundred: they are left out and told, everything else is judged."""
    report = check_model("Conv2d(1, 2, 3) | ReLU | MaxPool2d(2) | Flatten(0)", input="1,26,26", wrt="parameters")
    assert report.ok
    assert any("2.input" in note and "left out" in note for note in report.notes)


# -- nothing changes ----------------------------------------------------------------------------------------------------


def test_the_module_stays_as_it_is() -> None:
    """Parameters, buffers, gradients, modes, hooks and torch's generator are as before; so is the second report."""
    model = network(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    model[1].eval()
    x = torch.randn(5, 3, dtype=torch.float64)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    state, modes = torch.get_rng_state(), [m.training for m in model.modules()]
    first, second = (check_model(model, input=x, train=True) for _ in range(2))
    assert first.exit_code == 0
    assert first.to_dict() == second.to_dict()
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


# -- the command --------------------------------------------------------------------------------------------------------

FILE = """
import torch
from torch import nn

def build():
    return nn.Sequential(nn.Linear(3, 2), nn.ReLU())

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 2)
    def forward(self, x):
        return self.lin(x)

net = Net()
number = 3

def broken():
    raise ValueError("no weights")

class Fails(nn.Module):
    def forward(self, x):
        raise KeyError("shape")

class Words(nn.Module):
    def forward(self, x):
        return "words"
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "net.py"
    path.write_text(FILE)
    return str(path)


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = application.run(["model", *arguments])
    return code, *capsys.readouterr()


@pytest.mark.parametrize("name", ["build", "Net", "net"])
def test_a_file(file: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A function that returns a module, a class of one, or a module."""
    code, out, _ = command(capsys, f"{file}:{name}", "--quiet")
    count = 34 if name == "build" else 27
    assert (code, out) == (0, f"verdict: match ({count} checks: {count} match), seed 0\n")


def test_the_text_shows_a_row_a_layer(capsys: pytest.CaptureFixture[str]) -> None:
    """The worst entry of each, with counts."""
    code, out, _ = command(capsys, "Linear(10, 5) | ReLU()")
    assert code == 0
    assert "model: 0 = Linear(10, 5) | 1 = ReLU()" in out
    assert [line.split("  ")[0] for line in out.splitlines() if line.endswith(" match")] == [
        "1 ReLU", "0 Linear", "x", "1 ReLU", "0 Linear"
    ]  # fmt: skip


def test_long_names_of_layers_leave_a_row_a_layer() -> None:
    """Without their kind where there is hardly any room; of a parameter's own row the index is said."""
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 4).double())
    text = str(check_model(nn.Sequential(normed), input=(3, 3)))
    rows = [line.split() for line in text.splitlines() if line.endswith(" match")]
    assert ["0.parametrizations.weight.0", "by"] in [row[:2] for row in rows]
    (own,) = [row for row in rows if row[0] == "0.parametrizations.weight.original1"]
    assert own[1] == "at" and own[2].startswith("[") and "worst derivative" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_the_options_arrive(capsys: pytest.CaptureFixture[str]) -> None:
    """As JSON, with what was asked for."""
    code, out, _ = command(
        capsys, "Linear(3, 2) | Dropout(0.5)", "--at", "x=[1,pi,-2]", "--layer", "0", "--neuron", "1", "--wrt", "all",
        "--train", "--seed", "5", "--dtype", "float32", "--format", "json",
    )  # fmt: skip
    found = json.loads(out)
    assert code == 0
    assert (found["command"], found["problem"]["dtype"], found["problem"]["seed"]) == ("model", ["float32"], 5)
    assert found["problem"]["training"] is True
    assert found["checks"][0]["point"] == {"x": [1.0, 3.1415927410125732, -2.0]}
    assert [c["quantity"] for c in found["checks"]][:4] == [
        "d0.output[1]/dx[0]", "d0.output[1]/dx[1]", "d0.output[1]/dx[2]", "d0.output[1]/d0.weight[0,0]"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Liner(3, 2)"], "unknown layer 'Liner'; nearest: Linear"),
        (["Linear(3)"], "Linear(3): Linear missing 1 required positional argument: 'out_features'"),
        (["Linear(3, 2) | Linear(5, 2)"], "layer 1 fails for x of shape (3,): RuntimeError: mat1 and mat2 shapes"),
        (["Conv2d(1, 2, 3)"], "Conv2d takes (1, H, W): give the shape of the input, such as --input 1,28,28"),
        (["Linear(100000, 100000)"], "10,000,100,000 parameters; at most 5,000,000"),
        (["Linear(3, 2)", "--input", "5"], "layer 0 fails for x of shape (5,)"),
        (["Linear(3, 2)", "--input", "a,b"], "the shape of an input is written as sizes"),
        (["Linear(3, 2)", "--input", "0"], "an input without entries"),
        (["Linear(3, 2)", "--input", "10000,10000"], "100,000,000 entries; at most"),
        (["Linear(3, 2)", "--input", "z=3"], "'z' is not an input of the network (it takes x)"),
        (["Linear(3, 2)", "--input", "1" * 5000], "an input of about 1e+17 entries; at most 1,000,000"),
        (["Linear(3, 2)", "--input", "x=2," + "9" * 5000], "an input of about 1e+18 entries; at most 1,000,000"),
        (["\ud800"], "this is no text: bytes that aren't UTF-8"),
        (["Linear(3, 2)", "--at", "x=[1,2]"], "layer 0 fails for x of shape (2,)"),
        (["Linear(3, 2)", "--at", "x=[1,[2]]"], "the entries of a list have one shape"),
        (["Linear(3, 2)", "--input", "3", "--at", "[1,2,3]"], "2 inputs are too many"),
        (["Linear(3, 2)", "--layer", "1"], "there is no layer '1': there is 0"),
        (["Linear(3, 2)", "--neuron", "2"], "there is no neuron 2: y has shape (2,)"),
        (["Linear(3, 2)", "--neuron", "x"], "the index of an output entry"),
        (["Linear(3, 2)", "--cotangent", "[1,2,3]"], "the cotangent has shape (3,), y has shape (2,)"),
        (["Linear(3, 2)", "--wrt", "weights"], "unknown wrt 'weights': choose from input, parameters, all"),
        (["Embedding(3, 2)", "--wrt", "input"], "no input of floating-point numbers"),
        (["Tanh", "--wrt", "parameters"], "the network has no parameter"),
        (["Linear(3, 2)", "--loss", "mean(z)"], "a loss is a formula of y alone"),
        (["Linear(3, 2)", "--loss", "2*y"], "a loss is one number, and this has shape (2,)"),
        (["Linear(3, 2)", "--loss", "sum(y)", "--neuron", "0"], "leave out layer, neuron and cotangent"),
        (["Linear(40, 40)", "--layer", "0", "--input", "40,40"], "1,600 rows; at most 1,000"),
        (["FILE:nothing"], "has no 'nothing'"),
        (["FILE:number"], "gives no torch.nn.Module but int"),
        (["FILE:broken"], "calling it without arguments fails: ValueError: no weights"),
        (["FILE:Fails"], "the network fails for x of shape (4,): KeyError: 'shape'"),
        (["FILE:Words"], "returns no floating-point tensor"),
        (["missing.py:net"], "there is no file 'missing.py'"),
    ],
)  # fmt: skip
def test_bad_input(file: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One clear line, and exit code 2."""
    code, out, err = command(capsys, *(a.replace("FILE", file) for a in arguments))
    assert (code, out) == (2, "")
    assert message in err.splitlines()[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": torch.zeros(3, 0)}, "without entries"),
        ({"input": "words"}, "the shape of an input"),
        ({"at": {"x": "words"}}, "a number is needed"),
        ({"loss": 3}, "a loss is a formula of y"),
        ({"seed": -1}, "the seed must not be negative"),
        ({"neuron": 1.5}, "the index of an output entry"),
        ({"dtype": "float65"}, "unknown dtype 'float65'"),
        ({"timeout": -1}, "timeout must be a positive number"),
    ],
)
def test_bad_input_in_python(options: dict[str, Any], message: str) -> None:
    """The same from Python."""
    with pytest.raises(InputError, match=message):
        check_model("Linear(3, 2)", **options)


# -- along a direction, and on a device ---------------------------------------------------------------------------------


def dual(slip: float) -> type[nn.Module]:
    """A module x*x whose derivative is off by a factor, in forward mode only."""

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return x * x

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> Any:
            return 2 * ctx.saved_tensors[0] * upstream

        @staticmethod
        def jvp(ctx: Any, tangent: Tensor) -> Any:  # type: ignore[override]
            return 2 * ctx.saved_tensors[0] * tangent * slip

    return type("Squares", (nn.Module,), {"forward": lambda self, x: Square.apply(x)})


def test_a_closed_form_along_a_direction() -> None:
    """W x + b along (u, dW, db) is W u + dW x + db: the whole, the layer in its place, and the layer by itself."""
    linear = nn.Linear(2, 1).double()
    with torch.no_grad():
        linear.weight[:] = torch.tensor([[2.0, -3.0]])
        linear.bias[:] = 0.5
    report = check_model(nn.Sequential(linear), input=(2,), mode="forward")
    assert report.ok
    x = torch.tensor(report.checks[0].point["input"], dtype=torch.float64)
    inputs = {"input": x, "0.weight": linear.weight.detach(), "0.bias": linear.bias.detach()}
    moved = direction_of(inputs, 0)
    expected = (linear.weight @ moved["input"] + moved["0.weight"] @ x + moved["0.bias"]).item()
    totals = {c.quantity: c.autograd for c in report.checks if c.kind == "total"}
    assert totals == {
        "(J u of y)[0]": pytest.approx(expected, rel=1e-14),
        "(J u of 0.output)[0]": pytest.approx(expected, rel=1e-14),
    }


@pytest.mark.parametrize("options", [{}, {"loss": "mean(y**2)"}, {"layer": "2"}, {"neuron": 1}, {"wrt": "parameters"}])
def test_a_wrong_jvp_is_blamed(options: dict[str, Any]) -> None:
    """A slip that only forward mode has: found there, blamed on its layer, and not seen backwards."""
    network = nn.Sequential(nn.Linear(2, 3), dual(1 + 1e-9)(), nn.Linear(3, 2)).double()
    report = check_model(network, input=(2,), mode="forward", **options)
    wrong = [c for c in report.checks if not c.verdict.passes]
    assert {c.kind for c in wrong} == {"total", "local"}
    assert {(c.cause and c.cause.value, c.stage) for c in wrong} == {("formula", "1 Squares")}
    assert all(c.of.startswith("(J u of ") and c.mode == "forward" for c in report.checks)
    assert check_model(network, input=(2,), mode="reverse", **options).ok
    right = nn.Sequential(nn.Linear(2, 3), dual(1.0)(), nn.Linear(3, 2)).double()
    assert check_model(right, input=(2,), mode="forward", **options).ok


def test_one_neuron_along_a_direction() -> None:
    """With --neuron it is that entry alone, and none that isn't there."""
    (check,) = check_model("Linear(3, 4) | Tanh", neuron=(-1,), mode="forward").checks
    assert check.quantity == "(J u of y[3])"
    with pytest.raises(InputError, match="there is no neuron 4"):
        check_model("Linear(3, 4) | Tanh", neuron=4, mode="forward")


def test_modes_leave_each_other_alone() -> None:
    """Several modes give the checks of each, in the order of the table, whatever order they are asked in."""
    text = "Linear(3, 4) | ReLU | Linear(4, 2)"
    both = check_model(text, mode="forward,reverse").to_dict()
    singly = [check_model(text, mode=mode).to_dict() for mode in ("reverse", "forward")]
    assert both["checks"] == [check for one in singly for check in one["checks"]]


def test_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    """The device of every command; one that torch can't use, or that holds no numbers, is refused in one line."""
    assert check_model("Linear(3, 2)", device="cpu").to_dict() == check_model("Linear(3, 2)").to_dict()
    for device, reason in (
        ("meta", "Cannot copy out of meta tensor"),
        ("nonsense", "Expected one of cpu"),
        ("hpu", "No module"),
    ):
        for arguments in (["model", "Linear(3, 2)"], ["function", "torch:sin"], ["chain", "sin(x)"]):
            assert application.run([*arguments, "--device", device]) == 2
            out, err = capsys.readouterr()
            assert not out and len(err.splitlines()) == 1
            assert err.startswith(f"gradcheck: error: torch can't use the device '{device}': {reason}")


def test_everything_is_brought_to_the_device() -> None:
    """A network's parameters, buffers and outputs are on the device of its inputs: here one that only holds shapes."""
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    subject = Subject(network, {"input": torch.ones(4, 3, device="meta")}, training=True, device="meta")
    outputs = subject.run({**subject.parameters(), **subject.floats()})
    tensors = [*subject.parameters().values(), *outputs.values(), *random_row(outputs, 0).cotangents.values()]
    assert {t.device.type for t in tensors} == {"meta"}
    assert {p.device.type for p in network.parameters()} == {"cpu"}


def test_a_cotangent_runs_backwards() -> None:
    """Forward mode takes none; beside a mode that does it is that one's."""
    with pytest.raises(InputError, match="a cotangent is for modes that run backwards, and forward runs forwards"):
        check_model("Linear(3, 2)", cotangent="ones", mode="forward")
    report = check_model("Linear(3, 2)", cotangent="ones", mode="all")
    assert {c.of for c in report.checks if c.kind == "total" and c.mode == "reverse"} >= {"<1,y>"}


class Scaled(nn.Module):
    """Ends in a function that torch has no kernel for in 16 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.erfcx(self.linear(x))


def test_a_dtype_without_a_kernel_loses_a_row() -> None:
    """The others are judged; where there is no other, that is an error."""
    report = check_model(Scaled, input="1,2", dtype="float16,float64")
    assert {(c.dtype, c.verdict.value) for c in report.checks} == {("float16", "outside_domain"), ("float64", "match")}
    assert [c.detail for c in report.checks if c.dtype == "float16" and "for 'Half'" in (c.detail or "")]
    with pytest.raises(InputError, match="not implemented for 'Half'"):
        check_model(Scaled, input="1,2", dtype="float16")
