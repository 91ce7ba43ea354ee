"""Functions of several arguments and results, made of their two halves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd import Function


def custom(forward: Callable[..., Any], backward: Callable[..., Any], name: str = "Custom") -> Any:
    """A Function of any number of arguments and results: `backward(*upstreams, *arguments, *results)`."""

    def forwards(ctx: Any, *given: Tensor) -> Any:
        found = forward(*given)
        ctx.save_for_backward(*given, *(found if isinstance(found, tuple) else (found,)))
        return found

    def backwards(ctx: Any, *upstream: Tensor) -> Any:
        return backward(*upstream, *ctx.saved_tensors)

    return type(name, (Function,), {"forward": staticmethod(forwards), "backward": staticmethod(backwards)})
