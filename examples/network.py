# Gradients inside a network: its first layer, the ReLU behind it and the third neuron of that, by the input; and a layer whose
# backward is wrong.
#
# Source: https://stackoverflow.com/questions/54754153 "Autograd.grad() for Tensor in pytorch": the gradient of what a layer
#     returns by the input, and the error "grad can be implicitly created only for scalar outputs" on the way. The slip at the
#     end is planted: the backward of a ReLU without its mask.
# Verdict: match, match, match, mismatch
# Exit code: 0

import torch
from torch import nn

from gradcheck_cli import check_model

torch.manual_seed(5)
model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1)).double()
x = torch.randn(4, dtype=torch.float64, requires_grad=True)

# By hand: an output that is a vector has no gradient, one has to take an entry of it at a time.
hidden = model[0](x)
try:
    torch.autograd.grad(hidden, x)
except RuntimeError as error:
    print("by hand:", error)
(third,) = torch.autograd.grad(torch.relu(hidden)[2], x)

# The Jacobian of the first layer is its weight, that of its ReLU is the same without the rows of dead neurons.
first = check_model(model, input=x, layer=0)
print(first)
assert {check.quantity: check.autograd for check in first.checks}["d0.output[1]/dinput[3]"] == model[0].weight[1, 3].item()
active = check_model(model, input=x, layer=1)
print(active)
assert active.ok

# The third neuron behind the ReLU, by the four inputs.
neuron = check_model(model, input=x, layer=1, neuron=2)
print(neuron)
assert [check.autograd for check in neuron.checks] == third.tolist()


class NoMask(torch.autograd.Function):
    """max(x, 0), with a backward that forgets which entries were cut."""

    @staticmethod
    def forward(ctx, x):
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, upstream):
        return upstream


class BadReLU(nn.Module):
    """As a layer."""

    def forward(self, x):
        return NoMask.apply(x)


# Every layer in its place and by itself: the gradients before the slip are wrong, and the layer to blame is named.
model[1] = BadReLU()
bad = check_model(model, input=x)
print(bad)
assert {check.stage for check in bad.checks if check.verdict == "mismatch"} == {"1 BadReLU"}
