"""A look at what a map's forward pass meets, before anything is followed: tensors, not their entries, and no number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.utils.flop_counter import flop_registry

from gradcheck_cli.algebra import effort
from gradcheck_cli.shadow.arguments import run, tensors_of, through
from gradcheck_cli.shadow.memory import FLOATS
from gradcheck_cli.shadow.overloads import Overload
from gradcheck_cli.shadow.rules import RULES
from gradcheck_cli.shadow.sparse import MADE, is_sparse
from gradcheck_cli.shadow.watching import Watching

_EACH = "_foreach_"

OPERATION, STEP = 2e-4, 1.5e-6
"""Seconds that following an operation, and each of its additions or of its other results, takes at least: forward in two layers
and backward in one, on a fast machine (measured: 2.9e-4 s, and from 1.9e-6 s for products to 2e-5 s for functions)."""


class Glance(Watching):
    """`reason(tensor)`: the operation that a floating-point tensor was made by or from and that has no row, rule or
    decomposition, or has results of a strange layout; None where there is none. What a rule refuses isn't seen.

    `seconds`: what it takes at least to follow all operations once; `work`: what a run in one layer takes at least, at few
    bits, see `algebra.effort`; `before`: how much of that comes before each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = self.work = 0.0
        self.before: list[float] = []
        self._reasons: dict[int, tuple[Any, str]] = {}
        self._made: set[int] | None = None  # within another library's operation: what its own operations made

    def reason(self, tensor: Tensor) -> str | None:
        return self._reasons[key][1] if (key := _key(tensor)) in self._reasons else None

    def watched(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        self.before.append(self.work)
        tensors = tensors_of((*args, *kwargs.values()))
        inherited = next(filter(None, map(self.reason, tensors)), None) if self._reasons else None
        if known.foreign and tensors and all(map(_plain, tensors)):
            return self._through(known, inherited, tensors, args, kwargs)
        described = inherited or known.view or known.base in MADE or any(map(is_sparse, tensors))
        new = None if described or _followed(known, args, kwargs) else known.name
        result = run(func, args, kwargs)
        if not known.view:
            steps = _steps(known.func, args, kwargs, result)
            self.seconds += OPERATION + STEP * steps
            self.work += effort.OPERATION + steps
        for output in tensors_of((result,)):
            strange, numbers = not (_plain(output) or is_sparse(output)), output.is_floating_point() or output.is_complex()
            reason = inherited or (new if numbers or strange else None) or (known.name if strange else None)
            if reason and output.device.type != "meta" and (strange or numbers):
                self._reasons[_key(output)] = (output, reason)  # kept, so that no address is used again
            elif self._made is not None:
                self._made.add(_key(output))
        return result

    def _through(self, known: Overload, inherited: str | None, tensors: list[Tensor], args: Any, kwargs: Any) -> Any:
        """Another library's operation by its kernel, as it is followed later."""
        before, self._made = self._made, set()
        with self:
            result = through(known, tensors, args, kwargs)
        made, self._made = self._made, before
        for output in tensors_of((result,)):
            if self.reason(output) is None and (inherited or _key(output) not in made):
                self._reasons[_key(output)] = (output, inherited or known.name)
        if before is not None:
            before |= made
        return result


def _steps(func: Any, args: Any, kwargs: Any, result: Any) -> int:
    """Of products the additions; else the results."""
    count = flop_registry.get(getattr(func, "overloadpacket", None))
    if count is not None:
        return int(count(*args, **kwargs, out_val=result)) // 2
    return sum(t.numel() for t in tensors_of((result,)))


def _followed(known: Overload, args: Any, kwargs: Any) -> bool:
    if known.choose(known.bind(args, kwargs)) is not None or known.name in RULES or known.base in RULES:
        return True
    function = known.functional
    if function is None:
        return False
    return known.base.startswith(_EACH) or function in decomposition_table or bool(function._can_decompose())


def _plain(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and (
        tensor.dtype.to_real() in FLOATS or not (tensor.is_floating_point() or tensor.is_complex())
    )


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else id(tensor)
