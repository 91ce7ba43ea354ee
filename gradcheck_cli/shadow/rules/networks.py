"""Rules: normalisation, losses and what else acts on entries in several steps."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gradcheck_cli.shadow.rules.registry import decomposition, number, paused, pulled, reduced, rule

aten = torch.ops.aten

# -- normalisation ------------------------------------------------------------------------------------------------------------


def _across(x: Tensor, channels: Tensor) -> Tensor:
    """A tensor of one entry a channel, to be combined with `x`."""
    return channels.reshape([-1 if a == 1 else 1 for a in range(x.ndim)])


def _batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, var: Tensor | None, training: bool,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    x, axes = _wide(input, weight), [a for a in range(input.ndim) if a != 1]
    if training or mean is None or var is None:
        mean = x.mean(axes)
        var = (x - _across(x, mean)).square().mean(axes)
    scale = (var + eps).rsqrt()
    found = (x - _across(x, mean)) * _across(x, scale)
    if weight is not None:
        found = found * _across(x, weight)
    found = found if bias is None else found + _across(x, bias)
    return found.to(input.dtype), mean, scale


def _wide(x: Tensor, weight: Tensor | None) -> Tensor:
    """In the format of the weight, in which kernels compute."""
    return x if weight is None else x.to(weight.dtype)


@rule("native_batch_norm", "_native_batch_norm_legit")
def _native_batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, training: bool, eps: float, result: Any,
    running_mean: Tensor | None = None, running_var: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    found, mean, scale = _batch_norm(input, weight, bias, running_mean, running_var, training, eps)
    return (found, mean, scale) if training else (found, result[1], result[2])


@rule("_batch_norm_with_update")
def _batch_norm_with_update(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor, running_var: Tensor, eps: float,
    result: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    return *_batch_norm(input, weight, bias, running_mean, running_var, True, eps), result[3]


@rule("cudnn_batch_norm")
def _cudnn_batch_norm(
    input: Tensor, weight: Tensor, bias: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    training: bool, epsilon: float, result: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    found, mean, scale = _batch_norm(input, weight, bias, running_mean, running_var, training, epsilon)
    return (found, mean, scale, result[3]) if training else (found, *result[1:])


@rule("native_batch_norm_backward", "batch_norm_backward")
def _batch_norm_backward(
    grad_out: Tensor, input: Tensor, weight: Tensor | None, running_mean: Tensor | None, running_var: Tensor | None,
    save_mean: Tensor, eps: float, result: Any, train: bool = True, save_invstd: Tensor | None = None,
    save_var: Tensor | None = None, update: bool = True,
) -> list[Tensor | None]:  # fmt: skip
    axes = [a for a in range(input.ndim) if a != 1]
    training = train and update
    if training or running_mean is None or running_var is None:
        mean, scale = save_mean, save_invstd if save_invstd is not None else save_var
    else:
        mean, scale = running_mean, (running_var + eps).rsqrt()
    if scale is None:
        raise NotImplementedError("the forward pass has kept no deviation")
    x, g = _wide(input, weight), _wide(grad_out, weight)
    centred = (x - _across(x, mean)) * _across(x, scale)
    total, inner = g.sum(axes), (g * centred).sum(axes)
    count = x.numel() // max(x.shape[1], 1)
    through = g
    if training:
        through = g - _across(x, total / count) - centred * _across(x, inner / count)
    factor = scale if weight is None else scale * weight
    found = [(through * _across(x, factor)).to(input.dtype), inner, total]
    return [None if given is None else f for f, given in zip(found, result, strict=True)]  # some come unasked for


@rule("cudnn_batch_norm_backward")
def _cudnn_batch_norm_backward(
    input: Tensor, grad_output: Tensor, weight: Tensor, save_mean: Tensor, save_var: Tensor, epsilon: float, result: Any
) -> list[Tensor | None]:
    """Of a batch that is normalised by its own deviation."""
    return _batch_norm_backward(grad_output, input, weight, None, None, save_mean, epsilon, result, save_var=save_var)


@rule("native_layer_norm")
def _layer_norm(
    input: Tensor, normalized_shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    axes = list(range(-len(normalized_shape), 0))
    mean = input.mean(axes, keepdim=True)
    centred = input - mean
    scale = (centred.square().mean(axes, keepdim=True) + eps).rsqrt()
    found = centred * scale
    if weight is not None:
        found = found * weight
    return found if bias is None else found + bias, mean, scale


@rule("native_layer_norm_backward")
def _layer_norm_backward(
    grad_out: Tensor, input: Tensor, normalized_shape: list[int], mean: Tensor, rstd: Tensor, weight: Tensor | None,
    output_mask: list[bool],
) -> list[Tensor | None]:  # fmt: skip
    axes = list(range(-len(normalized_shape), 0))
    outer = list(range(input.ndim - len(normalized_shape)))
    centred = (input - mean) * rstd
    grad = grad_out if weight is None else grad_out * weight
    found: list[Tensor | None] = [None, None, None]
    if output_mask[0]:
        inner = (grad * centred).mean(axes, keepdim=True)
        found[0] = rstd * (grad - grad.mean(axes, keepdim=True) - centred * inner)
    if output_mask[1]:
        found[1] = (grad_out * centred).sum(outer) if outer else grad_out * centred
    if output_mask[2]:
        found[2] = grad_out.sum(outer) if outer else grad_out.clone()
    return found


@rule("_weight_norm_interface_backward")
def _weight_norm_backward(
    grad_w: Tensor, saved_v: Tensor, saved_g: Tensor, saved_norms: Tensor, dim: int
) -> tuple[Tensor, Tensor]:
    axes = [a for a in range(saved_v.ndim) if a != dim % saved_v.ndim]
    inner = (grad_w * saved_v).sum(axes, keepdim=True) / saved_norms
    return (grad_w - saved_v * (inner / saved_norms)) * (saved_g / saved_norms), inner


# -- losses and dropout -------------------------------------------------------------------------------------------------------


@rule("mse_loss")
def _mse_loss(self: Tensor, target: Tensor, reduction: int) -> Tensor:
    return reduced((self - target).square(), reduction)


_CLAMPED = -100.0
"""The least logarithm in binary_cross_entropy, as torch documents it."""


@rule("binary_cross_entropy")
def _binary_cross_entropy(self: Tensor, target: Tensor, weight: Tensor | None, reduction: int) -> Tensor:
    least = math.exp(_CLAMPED)  # asked of x itself, so that there is a value at 0
    first = torch.where(self > least, self.log(), _CLAMPED)
    other = torch.where(1 - self > least, (-self).log1p(), _CLAMPED)
    losses = -(target * first + (1 - target) * other)
    return reduced(losses if weight is None else losses * weight, reduction)


def _chosen(scores: Tensor, target: Tensor, ignored: int) -> tuple[int, Tensor, Tensor]:
    """The axis of the classes, a class for each entry, and which entries count."""
    with paused():
        kept = target != ignored
        return (1 if scores.ndim > 1 else 0), torch.where(kept, target, 0), kept


@rule("nll_loss_forward", "nll_loss2d_forward")
def _nll_loss(
    self: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int, result: Any
) -> tuple[Tensor, Tensor]:
    axis, classes, kept = _chosen(self, target, ignore_index)
    losses = -self.gather(axis, classes.unsqueeze(axis)).squeeze(axis)
    count = kept.to(self.dtype)
    if weight is not None:
        count = torch.where(kept, weight[classes], 0.0)
        losses = losses * count
    losses = torch.where(kept, losses, 0.0)
    total = count.sum()
    if reduction == 0:
        return losses, number(result[1])
    return losses.sum() / total if reduction == 1 else losses.sum(), total


@rule("nll_loss_backward", "nll_loss2d_backward")
def _nll_loss_backward(
    grad_output: Tensor, self: Tensor, target: Tensor, weight: Tensor | None, reduction: int, ignore_index: int,
    total_weight: Tensor,
) -> Tensor:  # fmt: skip
    axis, classes, kept = _chosen(self, target, ignore_index)
    grad = -(grad_output / total_weight if reduction == 1 else grad_output)
    grad = (grad if weight is None else grad * weight[classes]).expand(target.shape)
    return torch.zeros_like(self).scatter(axis, classes.unsqueeze(axis), torch.where(kept, grad, 0.0).unsqueeze(axis))


@rule("multi_margin_loss_backward")
def _multi_margin_backward(grad_output: Tensor, self: Tensor, **settings: Any) -> Tensor:
    forward = decomposition(aten.multi_margin_loss.default)
    return pulled(lambda x: forward(x, **settings), [self], grad_output)[0]


def _multilabel_margin(x: Tensor, target: Tensor, chosen: Tensor, reduction: int) -> Tensor:
    """Every target, up to the first -1, against every class that is none."""
    x, target, chosen = (t if t.ndim > 1 else t.reshape(1, -1) for t in (x, target, chosen))
    with paused():
        valid = ((target >= 0).cumprod(1) > 0).to(x.dtype)
        others = 1 - chosen.detach()
    losses = x.new_zeros(len(x))
    for k in range(target.shape[1]):
        margin = 1 - x.gather(1, target[:, k : k + 1].clamp(min=0)) + x
        losses = losses + (torch.relu(margin) * others).sum(1) * valid[:, k]
    return reduced(losses / x.shape[1], reduction)


@rule("multilabel_margin_loss_forward")
def _multilabel_margin_forward(self: Tensor, target: Tensor, reduction: int, result: Any) -> tuple[Tensor, Tensor]:
    found = _multilabel_margin(self, target, result[1], reduction)
    return found.reshape(result[0].shape), number(result[1])


@rule("multilabel_margin_loss_backward")
def _multilabel_margin_backward(grad_output: Tensor, self: Tensor, target: Tensor, reduction: int, is_target: Tensor) -> Tensor:
    def forward(x: Tensor) -> Tensor:
        return _multilabel_margin(x, target, is_target, reduction).reshape(grad_output.shape)

    return pulled(forward, [self], grad_output)[0]


@rule("soft_margin_loss_backward")
def _soft_margin_backward(grad_output: Tensor, self: Tensor, target: Tensor, reduction: int) -> Tensor:
    scale = 1 / self.numel() if reduction == 1 else 1.0
    found = -target * torch.sigmoid(-target * self) * grad_output
    return found / self.numel() if scale != 1 else found


@rule("native_dropout")
def _dropout(input: Tensor, p: float, train: bool | None, result: Any) -> tuple[Tensor, Tensor]:
    if train is False or p == 0:
        return input.clone(), result[1]
    with paused():
        mask = result[1].detach()
    return torch.where(mask, input, 0.0) * (1 / (1 - p)) if p < 1 else torch.zeros_like(input), result[
        1
    ]  # the backward's float


@rule("rrelu_with_noise")
def _rrelu(self: Tensor, noise: Tensor, lower: float, upper: float, training: bool) -> Tensor:
    if not training:
        return torch.where(self > 0, self, self * ((lower + upper) / 2))
    with paused():
        factors = noise.detach().clone()
    return torch.where(self > 0, self, self * factors)


@rule("angle")
def _angle(self: Tensor) -> Tensor:
    return torch.where(self.isnan(), self, torch.where(self < 0, torch.full_like(self, math.pi), 0.0))


@rule("frexp")
def _frexp(self: Tensor, result: Any) -> tuple[Tensor, Tensor]:
    with paused():
        power = torch.ldexp(torch.ones_like(self.detach()), -result[1])
    return self * power, result[1]
