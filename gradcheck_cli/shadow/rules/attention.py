"""Rules: attention."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.arguments import outputs_of
from gradcheck_cli.shadow.rules.registry import pulled, root, rule


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
    """The weights' sums of values, and what the weights were made of."""

    def __init__(self, dropout_p: float, is_causal: bool, scale: float | None, **settings: Any) -> None:
        if dropout_p:
            raise NotImplementedError("which weights were dropped isn't known")
        self.causal, self.scale = is_causal, scale
        mask = settings.get("attn_mask", settings.get("attn_bias"))
        self.mask = mask if mask is not None and mask.numel() else None

    def scores(self, query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
        return _scores(query, key, self.causal, mask, self.scale)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *mask: Tensor) -> Tensor:
        """`mask`: where it is differentiated by."""
        return self.scores(query, key, mask[0] if mask else self.mask).softmax(-1) @ _grouped(value, query)


@rule(*KERNELS)
def _attention(query: Tensor, key: Tensor, value: Tensor, result: Any, **settings: Any) -> list[Tensor | None]:
    """The logarithms of the sums, which only the backward reads, are left unknown where they are padded."""
    attention = _Attention(**settings)
    sums, (out, kept, *others) = attention.scores(query, key, attention.mask).logsumexp(-1), outputs_of(result)
    if out is None or kept is None:
        raise NotImplementedError("without a result")
    sums = sums.reshape(kept.shape).to(kept.dtype) if sums.numel() == kept.numel() else torch.full_like(kept, math.nan)
    return [attention(query, key, value), sums, *others]


@rule(*(f"{name}_backward" for name in KERNELS))
def _attention_backward(query: Tensor, key: Tensor, value: Tensor, result: Any, **settings: Any) -> list[Tensor | None]:
    attention, wanted = _Attention(**settings), outputs_of(result)
    upstream = settings.get("grad_out", settings.get("grad_out_"))
    by_mask = [m for m in (attention.mask,) if m is not None and len(wanted) > 3 and wanted[3] is not None]
    found = pulled(attention, [query, key, value, *by_mask], upstream)
    return [f if given is not None and given.numel() else given for f, given in zip([*found, None], wanted, strict=False)]
