"""`gradcheck` and `gradgradcheck`, called like torch's: an existing test suite changes one import.

What is judged is every entry of the gradient of a random combination of the outputs: a failure is followed to the wrong
entry. What can't be certified (an operation that can't be followed, complex or sparse tensors) is handed to torch's own
function of the same name, with an `UndecidedWarning`.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd import gradcheck as _torch_gradcheck
from torch.autograd.gradcheck import GradcheckError as _TorchError
from torch.autograd.gradcheck import _test_batched_grad, _test_batched_grad_forward_ad, _test_undefined_backward_mode

from gradcheck_cli.callables.conditions import try_conditions
from gradcheck_cli.callables.conventions import observe
from gradcheck_cli.callables.explain import explain, upstream
from gradcheck_cli.callables.inputs import shown
from gradcheck_cli.errors import GradcheckToolError, UndecidedWarning
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.maps.check import Found, check_map
from gradcheck_cli.maps.map import Map, Row, Tensors, pull, random_row, size
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.report import Report, versions
from gradcheck_cli.verdict.scope import OfTensor
from gradcheck_cli.verdict.verdicts import Verdict

_DTYPES = frozenset(getattr(torch, name) for name in FORMATS)

_LOG = logging.getLogger("gradcheck_cli")
"""What torch's gradcheck doesn't say: it writes nothing to stdout, so this doesn't either."""

_POSITIONAL = ("func", "inputs")

_UNKNOWN = "tensors that are complex or sparse, or of an unknown dtype, can't be followed"

SEED = 0


class GradcheckError(GradcheckToolError, _TorchError):
    """A gradient is wrong: the report is the message. Whatever catches torch's GradcheckError catches it."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """True if autograd's gradient of `func` is the derivative; else GradcheckError, or False without `raise_exception`.

    Takes what torch.autograd.gradcheck takes; tensors of all floating-point dtypes are judged by the same standard.
    `eps`, `atol`, `rtol`, `fast_mode` and `masked` steer finite differences and have no effect. `nondet_tol` bounds the
    difference of two backward passes. The other arguments ask for further checks and do so.
    """
    options = {name: value for name, value in locals().items() if name not in _POSITIONAL}

    def check() -> bool:
        call = _Call(func, inputs)
        if not call.followed:
            return _hand_over(_torch_gradcheck, (func, inputs), options, _UNKNOWN)
        asked = _Asked(check_backward_ad, check_forward_ad, nondet_tol, check_grad_dtypes)
        undecided = _judge(call, asked)
        if undecided:
            return _hand_over(_torch_gradcheck, (func, inputs), options, undecided)
        if check_batched_forward_grad:
            _test_batched_grad_forward_ad(func, call.arguments)
        if check_backward_ad and check_batched_grad:
            for i, y in enumerate(_differentiable(func(*call.arguments))):
                _test_batched_grad(call.arguments, y, i)
        if check_backward_ad and check_undefined_grad:
            outputs = _differentiable(func(*call.arguments))
            if outputs:
                _test_undefined_backward_mode(func, outputs, call.arguments)
        return True

    return _run(check, raise_exception)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """True if the derivative of the gradient of `func`, by its inputs and by the upstream gradients, is right.

    Upstream gradients that are given and require no gradient are constants. The other arguments are those of `gradcheck`.
    """
    arguments = _tupled(inputs)
    cotangents = _cotangents(func, arguments, grad_outputs, gen_non_contig_grad_outputs)
    moving = [x.requires_grad for x in _tensors((*arguments, *cotangents))]

    def gradient(*args: Any) -> tuple[Tensor, ...]:
        tensors = _tensors(args)
        for x, moves in zip(tensors, moving, strict=True):
            x.requires_grad_(moves)  # forward mode hands over tensors without
        wanted = [x for x in _tensors(args[: len(arguments)]) if x.requires_grad]
        outputs = _differentiable(func(*args[: len(arguments)]))
        found = torch.autograd.grad(outputs, wanted, args[len(arguments) :], create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    gradient.__name__ = f"gradient of {_name(func)}"
    return gradcheck(
        gradient,
        (*arguments, *cotangents),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad and check_rev_over_rev,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _cotangents(func: Callable[..., Any], arguments: Sequence[Any], given: Any, apart: bool) -> tuple[Tensor, ...]:
    """The upstream gradients: given, or drawn, with their entries `apart` in memory if that is asked for."""
    if given is not None:
        return _tupled(given)
    outputs = {str(i): y for i, y in enumerate(_differentiable(func(*arguments)))}
    drawn = random_row(outputs, SEED).cotangents.values()
    return tuple((torch.stack([v, v], -1)[..., 0] if apart else v).requires_grad_() for v in drawn)


def _run(check: Callable[[], bool], raise_exception: bool) -> bool:
    try:
        return check()
    except _TorchError as failure:
        if not raise_exception:
            return False
        if isinstance(failure, GradcheckError):
            raise
        raise GradcheckError(str(failure)) from failure


def _hand_over(function: Callable[..., bool], arguments: Sequence[Any], options: Mapping[str, Any], reason: str) -> bool:
    """Ask torch."""
    text = f"{_name(arguments[0])} was checked by torch's own {function.__name__}, with finite differences: {reason}"
    warnings.warn(text, UndecidedWarning, stacklevel=_caller())
    return function(*arguments, **{**options, "raise_exception": True})


def _caller() -> int:
    """The `stacklevel` with which a function of this module warns its user, be it called by one of ours or two."""
    level, frame = 1, sys._getframe(1)
    while frame.f_code.co_filename == __file__ and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    return level


# -- what is checked ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Own(Map):
    """A map whose leaves are the caller's own tensors: the function may use them without being given them."""

    own: Tensors = field(default_factory=dict)

    def at(self, inputs: Tensors) -> Map:
        """At other inputs there are copies only."""
        return Map(inputs, self.call, self.seed)

    def leaves(self) -> dict[str, Tensor]:
        """The tensors themselves; copies of what is no tensor of the caller."""
        return dict(self.own) if len(self.own) == len(self.inputs) else {**super().leaves(), **self.own}


class _Call:
    """A function with its arguments, as a map of those that require a gradient. ValueError where none does."""

    def __init__(self, func: Callable[..., Any], inputs: Any) -> None:
        self.func, self.arguments = func, _tupled(inputs)
        self.tensors = list({id(x): x for x in _tensors(self.arguments)}.values())
        wanted = [x for x in self.tensors if x.requires_grad]
        if not wanted:
            raise ValueError("gradcheck expects at least one input tensor that requires a gradient; none does")
        named = {"x": wanted[0]} if len(wanted) == 1 else {f"x{i}": x for i, x in enumerate(wanted)}
        self.names = {id(x): name for name, x in named.items()}
        self.followed = all(map(_known, wanted)) and not any(x.is_complex() for x in self.tensors)
        # Entries that share memory can't carry cells of their own: such tensors are copied.
        alone = self.followed and len({x.untyped_storage()._cdata for x in wanted}) == len(wanted)
        alone = alone and not any(0 in x.stride() for x in wanted if x.numel() > 1)
        self.map = _Own({name: x.detach() for name, x in named.items()}, self.outputs, SEED, own=named if alone else {})

    def outputs(self, leaves: Tensors) -> dict[str, Tensor]:
        """What the function returns for these tensors: the outputs that are differentiable, or all if none is."""
        found = _tupled(self.func(*_replaced(self.arguments, self.names, leaves)))
        taken = _differentiable(found) or [y for y in found if isinstance(y, Tensor) and y.is_floating_point()]
        return {"y": taken[0]} if len(taken) == 1 else {f"y{i}": y for i, y in enumerate(taken)}

    def everything(self, leaves: Tensors) -> dict[str, Tensor]:
        """All that it returns, under the same names whatever requires a gradient."""
        found = _tupled(self.func(*_replaced(self.arguments, self.names, leaves)))
        return {"y" if len(found) == 1 else f"y{i}": y for i, y in enumerate(found) if isinstance(y, Tensor)}


def _name(func: Callable[..., Any]) -> str:
    owner = getattr(func, "__self__", None)
    named = owner if isinstance(owner, type) else func  # Exp of Exp.apply
    return str(getattr(named, "__name__", type(func).__name__))


def _differentiable(result: Any) -> tuple[Tensor, ...]:
    """The outputs that require a gradient."""
    return tuple(y for y in _tupled(result) if isinstance(y, Tensor) and y.requires_grad)


def _tupled(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for v in value for t in _tensors(v)] if isinstance(value, tuple | list) else []


def _known(tensor: Tensor) -> bool:
    return tensor.dtype in _DTYPES and tensor.layout is torch.strided and tensor.device.type != "meta"


def _replaced(value: Any, names: Mapping[int, str], leaves: Tensors) -> Any:
    """Nested arguments with the leaves in their places."""
    if isinstance(value, Tensor):
        return leaves[names[id(value)]] if id(value) in names else value
    if isinstance(value, tuple | list):
        found = (_replaced(v, names, leaves) for v in value)
        return value._make(found) if hasattr(value, "_make") else type(value)(found)
    return value


# -- judging ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    backward: bool
    forward: bool
    nondet_tol: float
    dtypes: bool


def _judge(call: _Call, asked: _Asked) -> str:
    """Raise GradcheckError for what is wrong; return why something is undecided, or nothing."""
    map = call.map
    leaves = map.leaves()
    outputs = map(leaves)
    if not outputs or not all(_known(y) for y in outputs.values()):
        return _UNKNOWN
    row = random_row(outputs, SEED)
    found: list[Found] = []
    if asked.backward:
        _deterministic(outputs, leaves, row, asked)
        found.append(check_map(map, [row], Options(seed=SEED)))
    if asked.forward:
        found.append(check_map(map, [], Options(seed=SEED), mode="forward"))
    columns = [column for one in found for column in one.columns]
    if any(column.having(Verdict.MISMATCH).any() for column in columns):
        raise GradcheckError(str(_report(call, row, columns, found)))
    if asked.dtypes:
        wrong = [note for note, about in observe(map, row, {}).notes.items() if about == "dtype"]
        if wrong:
            raise GradcheckError("\n".join(wrong))
    if any(column.having(Verdict.UNDECIDED).any() for column in columns):
        opaque = ", ".join(dict.fromkeys(name for one in found for name in one.opaque))
        return f"{opaque} can't be followed" if opaque else "the exact derivative could not be certified"
    entries = size(map.inputs)
    if entries > Options().most_entries:
        least = max(one.sensitivity for one in found)
        _LOG.info("%s entries by directions; an error of one above %.1g (relative) would have shown", f"{entries:,}", least)
    judged = any(not column.having(Verdict.OUTSIDE_DOMAIN).all() for column in columns)
    if judged and asked.backward:
        _under_conditions(call, asked)
    return "" if judged or not columns else "it has no real value here"


def _under_conditions(call: _Call, asked: _Asked) -> None:
    """Raise GradcheckError where a backward is right as it was run, and wrong as training runs it."""
    map = Map(call.map.inputs, call.everything, SEED)
    outputs = {name: y for name, y in map(map.leaves()).items() if y.requires_grad}
    if outputs:
        row = random_row(outputs, SEED)
        wrong = try_conditions(map, row, {}, slack=asked.nondet_tol, undefined=False)  # that is torch's own check
        if wrong:
            raise GradcheckError(str(_report(call, row, wrong, ())))


def _deterministic(outputs: Tensors, leaves: Tensors, row: Row, asked: _Asked) -> None:
    """Two backward passes of one forward pass must agree, and leave their upstream gradients alone."""
    versions = [v._version for v in row.cotangents.values()]
    first, second = (pull(outputs, leaves, row).gradients for _ in range(2))
    if versions != [v._version for v in row.cotangents.values()]:
        raise GradcheckError("the backward pass writes into its upstream gradient")
    for name, gradient in first.items():
        other = second[name]
        if gradient is None or other is None:
            continue
        if not (torch.equal(gradient, other) or torch.allclose(gradient, other, 0.0, asked.nondet_tol, equal_nan=True)):
            raise GradcheckError(f"two backward passes of one forward pass give different gradients for {name}")


def _report(call: _Call, row: Row, columns: list[Column], found: Sequence[Found]) -> Report:
    map = call.map
    explain(map, [row], columns)
    point = {name: shown(x) for name, x in {**map.inputs, **upstream(row)}.items()}
    for column in columns:
        column.scope = OfTensor(point, [column.label(i) for i in range(len(column))])
    expression = f"{_name(call.func)}({', '.join(call.map.inputs)})"
    stages = [{"name": ", ".join(row.cotangents), "expression": expression, "inputs": list(call.map.inputs)}]
    problem = {"stages": stages, "dtype": sorted({c.dtype for c in columns}), "modes": ["reverse"], "seed": SEED}
    sensitivity = max((one.sensitivity for one in found), default=0.0)
    notes = [f"any error of a single entry above {sensitivity:.1g} (relative) would have shown"] if sensitivity else []
    return Report("gradcheck", problem, columns, versions(), False, notes)
