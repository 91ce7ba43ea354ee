"""Claim: all parameters of MLPs of 0.1, 1 and 10 million, of a LeNet on 28x28 and of an encoder layer (d = 64, 32 tokens) in
float64: 0.3, 1 and 10 s, 1 s, 2 s of one core, a time that grows with the parameters.

    python benchmarks/networks.py [--rounds 3] [-k NAME]

Every run is a process of its own on one core; times are CPU time. Beside the whole check (every layer by itself and in its
place, the input, all parameters): torch's own gradcheck in fast mode on the same loss, input and parameters, which compares
one random projection with a finite difference; and one step of training, forward and backward. Then the same networks with an
error of 1e-6 planted into one of the entries of an activation's backward, and what the two say.

    python benchmarks/networks.py --growth

How the time grows: with the entries of a network of three layers, and with the layers of one size, three sizes each. (Every
layer by the input is a row for each layer, pulled back through all before it: a small part grows with the square of layers.)
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from _timing import table

RUN = """
import json, resource, sys, time
from _timing import single_core
single_core()
import torch
from torch import nn
import gradcheck_cli.networks.model
from gradcheck_cli import check_model
torch.set_num_threads(1)


class Planted(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        gradient = upstream * (x > 0)
        largest = gradient.abs().flatten().argmax()
        gradient.view(-1)[largest] *= 1 + 1e-6
        return gradient


class ReLU(nn.Module):
    def forward(self, x):
        return Planted.apply(x) if planted else x.relu()


name, tool, planted = sys.argv[1], sys.argv[2], sys.argv[3] == "planted"
torch.manual_seed(0)
def perceptron(*sizes):
    layers = [layer for n, m in zip(sizes, sizes[1:]) for layer in (nn.Linear(n, m), ReLU())]
    return nn.Sequential(*layers[:-1]), torch.randn(1, sizes[0])


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), ReLU(), nn.Linear(120, 84), ReLU(), nn.Linear(84, 10),
    ), torch.randn(1, 1, 28, 28)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(64, 4, activation=ReLU(), dropout=0.0, batch_first=True)

    def forward(self, x):
        return self.layer(x).mean(1)


model, x = {
    "MLP 784-128-10": lambda: perceptron(784, 128, 10),
    "MLP 1000-900-100-10": lambda: perceptron(1000, 900, 100, 10),
    "MLP 3000-3000-300-10": lambda: perceptron(3000, 3000, 300, 10),
    **{f"{n} layers of 256": (lambda n=n: perceptron(*[256] * n, 10)) for n in (2, 4, 8)},
    "LeNet 28x28": lenet,
    "encoder layer, d=64": lambda: (Encoder(), torch.randn(1, 32, 64)),
}[name]()
model, x, target = model.double(), x.double(), torch.tensor([3])
loss = lambda y: nn.functional.cross_entropy(y, target)
parameters = list(model.parameters())


def step(x, *parameters):
    return loss(torch.func.functional_call(model, dict(zip([n for n, _ in model.named_parameters()], parameters)), (x,)))


start = time.process_time()
if tool == "gradcheck model":
    report = check_model(model, input=x, loss=loss)
    said = report.verdict.value
elif tool == "torch's, fast mode":
    leaves = [t.detach().requires_grad_() for t in (x, *parameters)]
    said = "passes" if torch.autograd.gradcheck(step, leaves, fast_mode=True, raise_exception=False) else "fails"
else:
    loss(model(x.requires_grad_())).backward()
    said = ""
seconds = time.process_time() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps({"seconds": seconds, "peak": peak, "said": said, "parameters": sum(p.numel() for p in parameters)}))
"""

NETWORKS = ("MLP 784-128-10", "MLP 1000-900-100-10", "MLP 3000-3000-300-10", "LeNet 28x28", "encoder layer, d=64")
GROWTH = {"entries": NETWORKS[:3], "layers": ("2 layers of 256", "4 layers of 256", "8 layers of 256")}
TOOLS = ("gradcheck model", "torch's, fast mode", "forward and backward")


def run(network: str, tool: str, planted: bool) -> dict[str, float | str]:
    command = [sys.executable, "-c", RUN, network, tool, "planted" if planted else "right"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=True)
    found: dict[str, float | str] = json.loads(done.stdout)
    return found


def growth(rounds: int) -> None:
    """The time by the size, three sizes each."""
    rows: list[list[object]] = [["grows with", "network", "parameters", "seconds", "microseconds a parameter", "GB"]]
    for what, networks in GROWTH.items():
        for network in networks:
            found = [run(network, TOOLS[0], False) for _ in range(rounds)]
            seconds, peak, count = (
                statistics.median(float(r[key]) for r in found) for key in ("seconds", "peak", "parameters")
            )
            rows.append([what, network, f"{count:,.0f}", f"{seconds:.2f}", f"{seconds / count * 1e6:.2f}", f"{peak:.2f}"])
    table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-k", dest="word", default="", help="networks whose names hold this")
    parser.add_argument("--growth", action="store_true", help="how the time grows, instead")
    asked = parser.parse_args()
    rounds = asked.rounds
    if asked.growth:
        growth(rounds)
        return
    rows: list[list[object]] = [["network", "parameters", "", "seconds", "GB", "says", "1e-6 planted: seconds", "says"]]
    for network in (name for name in NETWORKS if asked.word in name):
        right: dict[str, list[dict[str, float | str]]] = {tool: [] for tool in TOOLS}
        wrong: dict[str, list[dict[str, float | str]]] = {tool: [] for tool in TOOLS[:2]}
        for _ in range(rounds):
            for tool in TOOLS:
                right[tool].append(run(network, tool, False))
            for tool in wrong:
                wrong[tool].append(run(network, tool, True))
        for tool in TOOLS:
            seconds, peak = (statistics.median(float(r[key]) for r in right[tool]) for key in ("seconds", "peak"))
            planted: list[object] = ["", ""]
            if tool in wrong:
                planted = [f"{statistics.median(float(r['seconds']) for r in wrong[tool]):.2f}", wrong[tool][0]["said"]]
            first = right[tool][0]
            rows.append([network, f"{first['parameters']:,}", tool, f"{seconds:.3f}", f"{peak:.2f}", first["said"], *planted])
    table(rows)


if __name__ == "__main__":
    main()
