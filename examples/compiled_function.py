# A function as torch.compile runs it: judged by the derivative of what was written, with a compiler that is wrong beside it.
#
# Source: torch.compile with a backend of one's own, https://docs.pytorch.org/docs/stable/torch.compiler_custom_backends.html.
#     The slip is planted: a compiler that scales gradients by a millionth too much.
# Verdict: match, mismatch
# Exit code: 0

import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd

from gradcheck_cli import check_function


def gated(x, w):
    """A gated linear unit."""
    a, b = (x @ w).chunk(2, -1)
    return a * torch.sigmoid(b)


def backward(graph, inputs):
    return make_boxed_func(lambda *given: [1.000001 * g for g in graph(*given)])


careless = aot_autograd(fw_compiler=lambda graph, inputs: make_boxed_func(graph), bw_compiler=backward)
careless.__name__ = "careless"


if __name__ == "__main__":  # the commands below import this file
    # torch's own compiler of C++ is `inductor`, which is meant where no backend is named; this one is faster to wait for.
    # On the command line: gradcheck function compiled_function.py:gated --shape x=2,3 --shape w=3,4 --compile
    given = {"shape": {"x": (2, 3), "w": (3, 4)}, "domain": {"x": (-1, 1), "w": (-1, 1)}, "sample": 1}
    print(check_function(gated, compile="aot_eager", **given))
    print(check_function(gated, compile=careless, **given))
