"""What every dispatch mode here has in common: it sees the operations of user code, and nobody sees its own.

torch keeps the modes of its tracers (`make_fx`, which `torch.func.linearize` and the operators of higher order trace with)
below all others. What a mode runs beside an operation would become part of such a trace, or be refused by it; so the tracer
sees the operation alone. An operator of higher order (`torch.cond`, `scan`, `while_loop`) is what its body does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._ops import HigherOrderOperator, OpOverload
from torch.utils._python_dispatch import TorchDispatchMode, _push_mode
from torch.utils._pytree import tree_map_only

from gradcheck_cli.shadow.complexes import is_flagged
from gradcheck_cli.shadow.intake import Intake
from gradcheck_cli.shadow.overloads import Overload, overload

_MODES = torch._C._TorchDispatchModeKey
_active, _others = torch._C._get_dispatch_mode, torch._C._len_torch_dispatch_stack
_ORDINARY = torch.Tensor.__torch_dispatch__


class Watching(TorchDispatchMode):
    """`watched` is called for every operation that has numbers. `intake`: what is told of each of them besides."""

    supports_higher_order_operators = True
    intake: Intake | None = None

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled, and what torch wraps around each call to skip it costs more than the call

    @contextmanager
    def told_to(self, intake: Intake | None) -> Iterator[None]:
        """What runs inside the block is told to an intake."""
        self.intake = intake
        try:
            yield
        finally:
            self.intake = None

    def watched(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """An operation is about to run: `func` runs it, `known` is what the tables know of it. Returns what it returned."""
        raise NotImplementedError

    def _resolved(self, value: Any) -> Any:
        """A tensor that torch keeps as the conjugate, or the negative, of its memory: written out."""
        if isinstance(value, (list, tuple)):
            return [self._resolved(v) for v in value]
        if not isinstance(value, torch.Tensor) or not is_flagged(value):
            return value
        with self:
            if value.is_neg():
                value = torch.ops.aten.neg(torch._neg_view(value))
            return torch.ops.aten.conj_physical(torch._conj(value)) if value.is_conj() else value

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if types or _others() or type(func) is not OpOverload:
            return self._unusual(func, types, args, kwargs or {})
        try:
            return self._taken_in(overload(func), func, args, kwargs or {})
        except RuntimeError as problem:
            if APART not in str(problem):
                raise
        return self._taken_in(overload(func), func, _together(args), kwargs or {})

    def _taken_in(self, known: Overload, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        intake = self.intake
        if intake is None:
            return self.watched(known, func, args, kwargs)
        intake.take((args, kwargs))
        before = len(intake.found)
        self.intake = intake if known.foreign else None  # whatever runs within one of torch's own, it is one operation
        try:
            result = self.watched(known, func, args, kwargs)
        finally:
            self.intake = intake
        if len(intake.found) > before:  # made by none of those within
            intake.within.add(known.name)
        intake.know(result)
        return result

    def _unusual(self, func: Any, types: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """An operator of higher order, or an operation that a mode below this one, or a class of tensors, has a say in."""
        if isinstance(func, HigherOrderOperator):
            with self:
                return _body(func)(*args, **kwargs)
        if _active(_MODES.FAKE) is not None:  # shapes alone
            return func(*args, **kwargs)
        if any(map(wraps, types)):  # it runs operations on what it consists of
            return NotImplemented
        if _active(_MODES.PROXY) is None:
            return self._taken_in(overload(func), func, args, kwargs)
        return self._traced(func, args, kwargs)

    def _traced(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """An operation that a tracer waits for."""
        tracer: Any = torch._C._unset_dispatch_mode(_MODES.PROXY)

        def traced(*args: Any, **kwargs: Any) -> Any:
            _push_mode(tracer)
            try:
                return func(*args, **kwargs)
            finally:
                torch._C._unset_dispatch_mode(_MODES.PROXY)

        try:
            return self._taken_in(overload(func), traced, args, kwargs)
        finally:
            _push_mode(tracer)


APART = "all tensors to be on the same device"


def _together(args: Any) -> Any:
    """The arguments where the first of them lies: in a mode `ctc_loss` hands over lengths that lie on the CPU (torch 2.13)."""
    place = next(arg.device for arg in args if isinstance(arg, torch.Tensor))
    return tree_map_only(torch.Tensor, lambda tensor: tensor.to(place), args)


def wraps(kind: type) -> bool:
    """Whether a class of tensors says itself what operations on it do."""
    return getattr(kind, "__torch_dispatch__", _ORDINARY) is not _ORDINARY


def _cond(predicate: Any, then: Any, otherwise: Any, operands: Any) -> Any:
    return (then if predicate else otherwise)(*operands)


def _scan(step: Any, init: Any, xs: Any, additional_inputs: Any = ()) -> Any:
    from torch._higher_order_ops.scan import generic_scan

    return generic_scan(step, init, xs, additional_inputs=additional_inputs)


_BODIES = {"cond": _cond, "scan": _scan}
"""Those whose kernels of torch's refuse to run under a mode: what these do."""


def _body(operator: HigherOrderOperator) -> Any:
    kernel = torch._C.DispatchKey.CompositeExplicitAutograd
    return _BODIES.get(operator.name()) or operator.py_kernels[kernel]
