"""Claim: a suite that others wrote passes: PyTorch's own database of operations, through the drop-in.

    pip install expecttest
    python benchmarks/opinfo.py [--order 2] [--forward] [--dtype float32] [--samples 8] [--part 1/4] [--device cuda] [NAME...]

Every entry that supports autograd in the dtype is checked by `gradcheck` (`--order 2`: by `gradgradcheck`, `--forward`: in
forward mode alone, at order 2 forward over reverse, where the entry supports it) on its own sample inputs, at its first samples
with up to 1,000 numbers that are differentiated by. An entry is *verified* where every sample is; *opaque* where an operation
can't be followed or is complex (torch's own check was asked), *undecided* where the exact value could not be certified,
*mismatch* where a derivative was refuted. `--part`: of the entries, every fourth.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.autograd.gradcheck import GradcheckError
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree

from gradcheck_cli import UndecidedWarning, gradcheck, gradgradcheck

LARGEST = 1000
"""Numbers that a sample may be differentiated by."""

PATIENCE = 60
"""Seconds for one entry."""

EXPLAINED = {
    "as_strided_scatter": "the gradient reaches the entries that are overwritten: y = [s] and torch says dy/dx = 1",
    "__rpow__": "a power of a negative number is nan, which the finite differences of torch don't take",
    "cfloat": "torch's own check, in complex64, of a conversion that torch differences in single precision",
    "chalf": "the same",
    "sparse_mm_reduce": "torch's own check of a sparse argument",
    "sparse_sampled_addmm": "sparse arguments and results, which torch refuses to check too",
    "to_sparse": "a sparse tensor on the way; torch differentiates no complex one",
    "nn_functional_binary_cross_entropy": "order 2: the double backward adds 1e-12 where the backward takes a maximum with it",
    "mvlgamma_mvlgamma_p_1": "order 2: torch's trigamma",
    "mvlgamma_mvlgamma_p_3": "order 2: torch's trigamma",
    "mvlgamma_mvlgamma_p_5": "order 2: torch's trigamma",
    "lgamma": "order 2: torch's trigamma",
    "masked_logaddexp": "order 2: nan at masked entries, which are -inf, where the derivative is 0",
    "native_layer_norm": "order 2: torch's double backward raises where the statistics are differentiated too",
    "nn_functional_linear_cross_entropy_chunked": "order 2: torch's own check of its double backward",
    "nn_functional_linear_cross_entropy_chunked_none": "order 2: its backward has no derivative in torch",
    "native_group_norm": "its mean and deviation have no gradient where they are used alone: torch's own check refuses it too",
    "nn_functional_ctc_loss": "torch's gradient is that of softmax(x) put before: right where log_softmax comes before",
    "normal": "the gradients by the mean and the deviation, which torch's normal uses, are 0: torch's own check refuses it too",
    "normal_number_mean": "the same",
    "digamma": "torch's trigamma is right to 4e-10 only, in float64",
    "nn_functional_hardsigmoid": "torch divides by 6 in float32, in float64 too",
    "logcumsumexp": "forward: torch's jvp adds 1e-13 to the sum that it divides by",
    "cholesky_inverse": "forward: torch's jvp of the triangle that is read is another function's",
    "as_strided_partial_views": "forward: it reads memory beside its argument, which copies of that haven't",
    "nn_functional_max_unpool1d": "where two indices are equal the last value wins; the gradient reaches both",
    "nn_functional_max_unpool2d": "the same",
    "nn_functional_max_unpool3d": "the same",
}
"""What is known of the mismatches, each shown by hand."""


CHECKS: dict[tuple[int, bool], Callable[..., bool]] = {
    (1, False): gradcheck,
    (1, True): partial(gradcheck, check_forward_ad=True, check_backward_ad=False),
    (2, False): gradgradcheck,
    (2, True): partial(gradgradcheck, check_fwd_over_rev=True, check_rev_over_rev=False),
}
"""(order, in forward mode) -> the check."""

NEEDED: dict[tuple[int, bool], tuple[str, ...]] = {
    (1, False): (),
    (1, True): ("supports_forward_ad",),
    (2, False): ("supports_gradgrad",),
    (2, True): ("supports_gradgrad", "supports_fwgrad_bwgrad"),
}
"""What an entry says of itself, where it takes part."""


class Late(BaseException):
    """An entry takes too long."""


def _alarm(*_: Any) -> None:
    raise Late


def samples(
    op: Any, dtype: torch.dtype, count: int, device: str = "cpu", largest: int = LARGEST
) -> Iterator[tuple[Callable[..., Any], tuple[torch.Tensor, ...]]]:
    """Functions of the tensors that are differentiated by, with these tensors."""
    found = 0
    torch.manual_seed(0)
    for sample in op.sample_inputs(device, dtype, requires_grad=True):
        flat, spec = pytree.tree_flatten((sample.input, sample.args, sample.kwargs))
        places = [i for i, t in enumerate(flat) if isinstance(t, torch.Tensor) and t.requires_grad]
        if not 0 < sum(flat[i].numel() for i in places) <= largest:
            continue
        inputs = tuple(flat[i].detach().requires_grad_() for i in places)

        def results(
            *leaves: torch.Tensor, sample: Any = sample, flat: Any = flat, spec: Any = spec, places: Any = places
        ) -> list[Any]:
            # what isn't differentiated by may be written to (running statistics): every call gets its own
            given = dict(zip(places, leaves, strict=True))
            own = [given.get(i, t.clone() if isinstance(t, torch.Tensor) and i not in given else t) for i, t in enumerate(flat)]
            first, args, kwargs = pytree.tree_unflatten(own, spec)
            result = op.gradcheck_wrapper(op.get_op(), first, *args, **kwargs)
            result = sample.output_process_fn_grad(result) if sample.output_process_fn_grad else result
            return pytree.tree_leaves(result)

        kept = [i for i, y in enumerate(results(*inputs)) if isinstance(y, torch.Tensor) and y.requires_grad]
        if not kept:
            continue

        def function(*leaves: torch.Tensor, results: Any = results, kept: Any = kept) -> tuple[torch.Tensor, ...]:
            found = results(*leaves)
            return tuple(found[i] for i in kept)

        yield function, inputs
        found += 1
        if found == count:
            return


def judged(op: Any, check: Callable[..., bool], dtype: torch.dtype, count: int, device: str) -> tuple[str, str]:
    """The outcome of an entry, and what there is to say about it."""
    outcome, text = "no sample", ""
    signal.alarm(PATIENCE)
    try:
        for function, inputs in samples(op, dtype, count, device):
            outcome = "verified" if outcome == "no sample" else outcome
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UndecidedWarning)
                check(function, inputs, nondet_tol=op.gradcheck_nondet_tol)
            doubts = [str(w.message) for w in caught if issubclass(w.category, UndecidedWarning)]
            if doubts:
                text = doubts[0]
                outcome = "opaque" if "followed" in text else "undecided"
    except Late:
        outcome, text = "late", f"more than {PATIENCE} s"
    except Exception as failure:
        refuted = isinstance(failure, GradcheckError)
        outcome = "mismatch" if refuted else "error"
        text = "\n".join(line for line in str(failure).splitlines() if line.strip())[-1200:]
    finally:
        signal.alarm(0)
    return outcome, text


def main() -> None:
    """Print the outcome of every entry that isn't verified, and the counts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--order", type=int, default=1)
    parser.add_argument("--forward", action="store_true")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    signal.signal(signal.SIGALRM, _alarm)
    warnings.simplefilter("ignore")  # what torch says about its own operations
    dtype = getattr(torch, asked.dtype)
    ops = [op for op in op_db if op.supports_autograd and op.supports_dtype(dtype, asked.device)]
    ops = [op for op in ops if all(getattr(op, ability) for ability in NEEDED[asked.order, asked.forward])]
    ops = [op for op in ops if not asked.names or {op.name, op.formatted_name} & set(asked.names)]
    part, parts = map(int, asked.part.split("/"))
    ops = ops[part - 1 :: parts]
    check = CHECKS[asked.order, asked.forward]
    counts: Counter[str] = Counter()
    start = time.monotonic()
    for op in ops:
        outcome, text = judged(op, check, dtype, asked.samples, asked.device)
        counts[outcome] += 1
        if outcome != "verified":
            print(f"{op.formatted_name}: {outcome}: {EXPLAINED.get(op.formatted_name, text)}", flush=True)
    listed = ", ".join(f"{n} {outcome}" for outcome, n in counts.most_common())
    mode = f"order {asked.order}{', forward' if asked.forward else ''}, {asked.dtype}, {asked.device}"
    print(f"{mode}, {len(ops)} entries in {time.monotonic() - start:.0f} s: {listed}")


if __name__ == "__main__":
    sys.exit(main())
