# A nan in the middle of a network: an activation written with where(), whose other branch overflows.
#
# Source: https://github.com/pytorch/pytorch/issues/68425, the trap that is asked for again and again: where() leaves a branch
#     out of the value, and not out of the gradient.
# Verdict: mismatch, match
# Exit code: 0

import torch
from torch import nn

from gradcheck_cli import check_model


class HomemadeELU(nn.Module):
    """x where x is positive, else exp(x) - 1."""

    def forward(self, x):
        return torch.where(x > 0, x, torch.exp(x) - 1)


class SafeELU(nn.Module):
    """The same; exp never sees what is positive."""

    def forward(self, x):
        return torch.where(x > 0, x, torch.exp(x.clamp(max=0)) - 1)


def network(activation=HomemadeELU):
    """Three pixels, two outputs."""
    return nn.Sequential(nn.Linear(3, 4), activation(), nn.Linear(4, 2))


def mended():
    """The network after the repair."""
    return network(SafeELU)


if __name__ == "__main__":  # the commands of the manual import this file
    # On the command line: gradcheck model nan_network.py:network --at "input=[120,200,255]" --dtype float32 --seed 7
    for build in (network, mended):
        torch.manual_seed(7)
        report = check_model(build(), input=torch.tensor([120.0, 200.0, 255.0]))
        print(report)
    assert report.ok
