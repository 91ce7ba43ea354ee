# The point at which training broke, from a file: the logits of a step whose loss had a gradient of nan.
#
# Source: "Loss becomes NaN", as in https://github.com/pytorch/pytorch/issues/40497; log(softmax(x)), and what torch has for it.
#     The numbers are made up. data/step.npy is what numpy.save("step.npy", logits.detach().numpy()) leaves.
# Verdict: mismatch, match
# Exit code: 0

from pathlib import Path

import torch

from gradcheck_cli import check_function

STEP = Path(__file__).with_name("data") / "step.npy"


def loss(x):
    """The cross entropy of the first class, written by hand."""
    return -torch.log(torch.exp(x) / torch.exp(x).sum(1, keepdim=True))[:, 0].mean()


def stable(x):
    """The same by torch."""
    return -torch.log_softmax(x, 1)[:, 0].mean()


if __name__ == "__main__":  # the commands below import this file
    # The file has float32, and so has the check.
    # On the command line: gradcheck function point_in_a_file.py:loss --at "x=@data/step.npy"
    print(check_function(loss, at=f"x=@{STEP}"))
    print(check_function(stable, at=f"x=@{STEP}", reference=loss))
