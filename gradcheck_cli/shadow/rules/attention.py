"""Rules: attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.arguments import outputs_of
from gradcheck_cli.shadow.rules.registry import paused, pulled, root, rule


def _grouped(shared: Tensor, query: Tensor) -> Tensor:
    """Keys or values for each head of the queries, several of which may share one."""
    return shared.repeat_interleave(query.shape[-3] // shared.shape[-3], -3) if shared.shape[-3] != query.shape[-3] else shared


def _scores(query: Tensor, key: Tensor, causal: bool, mask: Tensor | None, scale: float | None) -> Tensor:
    scores = query @ _grouped(key, query).mT
    scores = scores / root(query.new_full((), query.shape[-1]), 2) if scale is None else scores * scale
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is None:
        return scores
    return scores.masked_fill(~mask, -math.inf) if mask.dtype is torch.bool else scores + mask


KERNELS = (
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
)  # fmt: skip
"""One function of torch's, by the kernels of several devices and libraries. Each calls the mask its own name."""


class _Attention:
    """The weights' sums of values, and what the weights were made of. `seeds`: two numbers of torch's generator, from which the
    kernel that was called `name` drew what it dropped."""

    def __init__(
        self, name: str, dropout_p: float, is_causal: bool, scale: float | None, seeds: Sequence[Tensor | None], **settings: Any
    ) -> None:
        mask = settings.get("attn_mask", settings.get("attn_bias"))
        self.mask = mask if mask is not None and mask.numel() else None
        self.causal, self.scale, self.dropped, self.seeds = is_causal, scale, dropout_p, seeds
        if dropout_p and (_DRAWN not in name or dropout_p >= 1):
            raise NotImplementedError("which weights were dropped isn't known")

    def scores(self, query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
        return _scores(query, key, self.causal, mask, self.scale)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *mask: Tensor) -> Tensor:
        """`mask`: where it is differentiated by."""
        weights = self.scores(query, key, mask[0] if mask else self.mask).softmax(-1)
        if self.dropped:
            weights = torch.where(self._kept(weights), weights, 0.0) * (1 / (1 - self.dropped))
        return weights @ _grouped(value, query)

    def _kept(self, weights: Tensor) -> Tensor:
        """Which weights weren't dropped: the kernel's own numbers once more, as torch's tests of it draw them."""
        with paused():
            seed, offset = (0 if s is None else int(s) for s in self.seeds)
            drawn = torch.empty(weights.shape, dtype=torch.float32, device=weights.device)
            torch.ops.aten._fill_mem_eff_dropout_mask_(drawn, self.dropped, seed, offset)
            return drawn > self.dropped


_DRAWN = "efficient_attention"
"""The kernel whose numbers can be drawn again."""


@rule(*KERNELS)
def _attention(query: Tensor, key: Tensor, value: Tensor, result: Any, name: str = "", **settings: Any) -> list[Tensor | None]:
    """The logarithms of the sums, which only the backward reads, are left unknown where they are padded."""
    attention = _Attention(name, seeds=outputs_of(result)[-2:], **settings)
    _, kept, *others = outputs_of(result)
    if kept is None:
        raise NotImplementedError("without the sums of weights")
    sums = attention.scores(query, key, attention.mask).logsumexp(-1)
    sums = sums.reshape(kept.shape).to(kept.dtype) if sums.numel() == kept.numel() else torch.full_like(kept, math.nan)
    return [attention(query, key, value), sums, *others]


@rule(*(f"{name}_backward" for name in KERNELS))
def _attention_backward(
    query: Tensor, key: Tensor, value: Tensor, result: Any, name: str = "", philox_seed: Tensor | None = None,
    philox_offset: Tensor | None = None, **settings: Any,
) -> list[Tensor | None]:  # fmt: skip
    attention, wanted = _Attention(name, seeds=[philox_seed, philox_offset], **settings), outputs_of(result)
    upstream = settings.get("grad_out", settings.get("grad_out_"))
    by_mask = [m for m in (attention.mask,) if m is not None and len(wanted) > 3 and wanted[3] is not None]
    found = pulled(attention, [query, key, value, *by_mask], upstream)
    return [f if given is not None and given.numel() else given for f, given in zip([*found, None], wanted, strict=False)]
