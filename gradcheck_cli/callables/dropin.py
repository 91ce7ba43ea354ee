"""`gradcheck` and `gradgradcheck`, called like torch's: an existing test suite changes one import.

What is judged is every entry of the gradient of a random combination of the outputs, and of each output alone where that is
another: a failure is followed to the wrong entry. Where that can't be certified (an operation that can't be followed, entries
that a sparse tensor doesn't hold, a check that takes too long) torch's own function of the same name decides, and it is said:
see `doubts`.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd import gradcheck as _torch_gradcheck
from torch.autograd.gradcheck import GradcheckError as _TorchError
from torch.autograd.gradcheck import (
    _test_batched_grad,
    _test_batched_grad_forward_ad,
    _test_undefined_backward_mode,
    _test_undefined_forward_mode,
)

from gradcheck_cli.callables.conditions import tried, try_conditions
from gradcheck_cli.callables.conventions import ROUNDINGS, observe
from gradcheck_cli.callables.doubts import LOG, say
from gradcheck_cli.callables.explain import explain, upstream
from gradcheck_cli.callables.gradient import Gradient, differentiable, tensors, tupled
from gradcheck_cli.callables.handover import Budget, Seconds, Spent, hand_over, name_of
from gradcheck_cli.callables.inputs import shown
from gradcheck_cli.callables.tolerances import Default, Tolerances, beyond, excused, worthless
from gradcheck_cli.errors import GradcheckToolError, ImpreciseWarning, ToleratedWarning, boundary
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.maps.autograd import REENTRANT, Pulled, derived
from gradcheck_cli.maps.check import Found, check_map
from gradcheck_cli.maps.columns import LEAST
from gradcheck_cli.maps.map import Map, Ran, Row, Tensors, random_row, run, size, uncompiled
from gradcheck_cli.maps.orders import Orders
from gradcheck_cli.maps.parts import apart, inexact, joined, names_of, split, whole
from gradcheck_cli.maps.probe import Options
from gradcheck_cli.shadow.glance import Glance
from gradcheck_cli.shadow.sparse import is_sparse
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.report import Report, versions
from gradcheck_cli.verdict.scope import OfTensor
from gradcheck_cli.verdict.verdicts import Verdict

Strict = bool | Literal["imprecise", "undecided"]
"""What fails that passes elsewhere; True: both."""

_DTYPES = frozenset(getattr(torch, name) for name in FORMATS) | {torch.complex64, torch.complex128}

_OURS = ("func", "inputs", "strict")
"""Arguments that torch's own function isn't given by name."""

_UNKNOWN = "tensors of this layout or dtype can't be followed"

_NOTHING = "it returns no tensor of numbers that has a derivative"

_NOT_HELD = "derivatives by entries that a sparse tensor doesn't hold are left to it (masked=True: they are zeros)"

_EPS, _ATOL, _RTOL, _NONDET = Default(1e-6), Default(1e-5), Default(1e-3), Default(0.0)

_SMALL, _QUICK = 32, 2e-3
"""Entries up to which, and CPU seconds of the function, a check costs no more than a look at what it will meet."""

_LIKELY = 2.5
"""How many times what following operations takes at least a check takes, if balls do it: of 300 functions of kornia's with few
entries and budgets of 0.5 s, the 17 whose least was longer than 0.15 s were given up later in any case."""

SEED = 0


class GradcheckError(GradcheckToolError, _TorchError):
    """A gradient is wrong: the report is the message. Whatever catches torch's GradcheckError catches it."""


@boundary
def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = _EPS,
    atol: float = _ATOL,
    rtol: float = _RTOL,
    raise_exception: bool = True,
    nondet_tol: float = _NONDET,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
    strict: Strict = False,
) -> bool:
    """True if autograd's gradient of `func` is the derivative; else GradcheckError, or False without `raise_exception`.

    Takes what torch.autograd.gradcheck takes; tensors of all floating-point dtypes are judged by the same standard. `rtol`,
    `atol` and `nondet_tol`, where they are given, bound what fails; the defaults don't loosen the judgement. `eps` steers
    finite differences and has no effect, `fast_mode` shortens what is decided by them in the end. Sparse tensors (COO, CSR,
    CSC) are judged by the entries that they hold, and by torch's own check, which `masked` tells about the others. The other
    arguments ask for further checks and do so. `strict`: "imprecise", a gradient that has lost half of its digits fails;
    "undecided", one that can't be certified does, and takes the time that it needs; True: both. Exceptions of `func` and of its
    backward come through.
    """
    return _gradcheck(func, inputs, {name: value for name, value in locals().items() if name not in _OURS}, strict)


def _gradcheck(
    func: Callable[..., Any], inputs: Any, options: dict[str, Any], strict: Strict, gradient: Gradient | None = None
) -> bool:
    """The same, its other arguments as `options`. `gradient`: what `func` is, if it is one."""
    if strict not in (False, True, "imprecise", "undecided"):
        raise ValueError(f"strict: True, False, 'imprecise' or 'undecided', not {strict!r}")
    check_forward_ad, check_backward_ad = options["check_forward_ad"], options["check_backward_ad"]
    check_undefined_grad = options["check_undefined_grad"]

    def check() -> bool:
        call = _Call(func, inputs, gradient)
        tolerances = Tolerances(*(options[name] for name in ("rtol", "atol", "nondet_tol")))
        asked = _Asked(
            check_backward_ad, check_forward_ad, tolerances, options["check_grad_dtypes"], options["fast_mode"], strict
        )
        with _uncollected():
            undecided = _judge(call, asked, options) if call.followed else _UNKNOWN
        if call.sparse and not undecided:  # torch's own knows conventions of theirs, and what isn't held
            if options["masked"]:
                return hand_over(_torch_gradcheck, func, call.arguments, {**options, "raise_exception": True}, None)
            undecided = _NOT_HELD
        if undecided:
            if strict in (True, "undecided"):
                raise GradcheckError(f"undecided: {undecided}")
            return hand_over(_torch_gradcheck, func, call.arguments, {**options, "raise_exception": True}, undecided)
        if check_forward_ad:
            plainly, arguments = call.on_parts()
            if options["check_batched_forward_grad"]:
                _test_batched_grad_forward_ad(plainly, arguments)
            if check_undefined_grad:
                _test_undefined_forward_mode(plainly, plainly(*arguments), arguments)
        if check_backward_ad and options["check_batched_grad"]:
            for i, y in enumerate(differentiable(func(*call.arguments))):
                _test_batched_grad(call.arguments, y, i)
        if check_backward_ad and check_undefined_grad:
            outputs = differentiable(func(*call.arguments))
            if outputs:
                with _but_reentrant():
                    _test_undefined_backward_mode(call.plainly, outputs, call.arguments)
        return True

    return _run(check, options["raise_exception"])


@boundary
def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = _EPS,
    atol: float = _ATOL,
    rtol: float = _RTOL,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = _NONDET,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
    strict: Strict = False,
) -> bool:
    """True if the derivative of the gradient of `func`, by its inputs and by the upstream gradients, is right.

    Upstream gradients that are given and require no gradient are constants. The other arguments are those of `gradcheck`.
    """
    arguments = tupled(inputs)
    gradient = Gradient(func, arguments, _cotangents(func, arguments, grad_outputs, gen_non_contig_grad_outputs))
    options = dict(
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad and check_rev_over_rev,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_batched_forward_grad=False,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )
    return _gradcheck(gradient, (*arguments, *gradient.cotangents), options, strict, gradient)


def _cotangents(func: Callable[..., Any], arguments: Sequence[Any], given: Any, apart: bool) -> tuple[Tensor, ...]:
    """The upstream gradients: given, or drawn, with their entries `apart` in memory if that is asked for."""
    if given is not None:
        return tupled(given)
    outputs = {str(i): y for i, y in enumerate(differentiable(func(*arguments)))}
    drawn = joined(random_row(split(outputs), SEED).cotangents, outputs).values()
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

    @contextmanager
    def beside(self, values: Tensors) -> Iterator[dict[str, Tensor]]:
        """The tensors themselves with other values, as torch's own check does it, and their own again afterwards."""
        before = {name: x.detach().clone() for name, x in self.own.items()}
        try:
            for name, x in self.own.items():
                x.data.copy_(values[name])
            yield {name: self.own[name] if name in self.own else v.requires_grad_() for name, v in values.items()}
        finally:
            for name, x in self.own.items():
                x.data.copy_(before[name])


class _Call:
    """A function with its arguments, as a map of those that require a gradient. ValueError where none does."""

    def __init__(self, func: Callable[..., Any], inputs: Any, gradient: Gradient | None = None) -> None:
        self.func, self.arguments, self.gradient = func, tupled(inputs), gradient
        self._taken: list[int] | None = None
        self.tensors = list({id(x): x for x in tensors(self.arguments)}.values())
        wanted = [x for x in self.tensors if x.requires_grad]
        if not wanted:
            raise ValueError("gradcheck expects at least one input tensor that requires a gradient; none does")
        named = {"x": wanted[0]} if len(wanted) == 1 else {f"x{i}": x for i, x in enumerate(wanted)}
        self.names = {id(x): name for name, x in named.items()}
        self.sparse = any(map(is_sparse, wanted))
        self.followed = all(map(_known, wanted)) and not (self.sparse and gradient is not None)
        # Entries that share memory can't carry cells of their own: such tensors are copied.
        alone = self.followed and not self.sparse and len({x.untyped_storage()._cdata for x in wanted}) == len(wanted)
        alone = alone and not any(x.is_complex() or 0 in x.stride() for x in wanted if x.numel() > 1 or x.is_complex())
        inputs = apart({name: x.detach() for name, x in named.items()})
        self.map = _Own(inputs, self.outputs, SEED, own=named if alone else {})

    def outputs(self, leaves: Tensors) -> dict[str, Tensor]:
        """What the function returns for these tensors: the outputs that are differentiable, or all if none is. Which ones are
        is seen at the first call, for leaves that require a gradient: forward mode knows of none."""
        found = tupled(self.func(*_replaced(self.arguments, self.names, leaves)))
        if self._taken is None:
            tensors = [i for i, y in enumerate(found) if isinstance(y, Tensor)]
            moving = [i for i in tensors if found[i].requires_grad]
            self._taken = moving or [i for i in tensors if inexact(found[i])]
        taken = {name: found[i] for name, i in self._labels()}
        return taken if any(map(is_sparse, taken.values())) else split(taken)

    def _labels(self) -> list[tuple[str, int]]:
        """The names of the outputs, and their numbers."""
        taken = self._taken or []
        return [("y" if len(taken) == 1 else f"y{k}", i) for k, i in enumerate(taken)]

    def orders(self, rows: Sequence[Row], options: Options) -> Orders | None:
        """The truth where the function is a gradient already: the forward pass of what it is the gradient of."""
        if self.gradient is None:
            return None
        gradient = self.gradient
        inputs = apart({self.names[id(x)]: x.detach() for x in gradient.wanted})
        own = {name: x for name, x in self.map.own.items() if name in inputs}

        def below(leaves: Tensors) -> dict[str, Tensor]:
            return split(gradient.outputs(_replaced(gradient.arguments, self.names, leaves)))

        by: dict[str, str] = {}
        for label, i in self._labels():
            x = gradient.wanted[gradient.given[i]]
            by |= dict(zip(names_of(label, x), names_of(self.names[id(x)], x), strict=True))
        return gradient.orders(_Own(inputs, below, SEED, own=own), rows, by, self.names, options)

    def plainly(self, *arguments: Any) -> tuple[Tensor, ...]:
        """The function's tensors, for torch's own checks: they ask every output what only a tensor knows."""
        return tuple(y for y in tupled(self.func(*arguments)) if isinstance(y, Tensor))

    def on_parts(self) -> tuple[Callable[..., tuple[Tensor, ...]], tuple[Any, ...]]:
        """The same and its arguments; where tensors are complex, of their parts: torch's tests of forward mode know no
        others."""
        leaves = self.map.leaves()
        if not any(y.is_complex() for y in (*self.tensors, *self.plainly(*self.arguments))):
            return self.plainly, self.arguments
        return lambda *parts: tuple(self.everything(dict(zip(leaves, parts, strict=True))).values()), tuple(leaves.values())

    def everything(self, leaves: Tensors) -> dict[str, Tensor]:
        """All that it returns, under the same names whatever requires a gradient."""
        found = tupled(self.func(*_replaced(self.arguments, self.names, leaves)))
        return split({"y" if len(found) == 1 else f"y{i}": y for i, y in enumerate(found) if isinstance(y, Tensor)})


@contextmanager
def _but_reentrant() -> Iterator[None]:
    """torch refuses its own tests for reentrant checkpoints, which only backward() runs."""
    try:
        yield
    except RuntimeError as refusal:
        if REENTRANT not in f"{refusal}{refusal.__cause__}":
            raise


def _known(tensor: Tensor) -> bool:
    followed = tensor.layout is torch.strided or is_sparse(tensor)
    return tensor.dtype in _DTYPES and followed and tensor.device.type != "meta"


def _replaced(value: Any, names: Mapping[int, str], leaves: Tensors) -> Any:
    """Nested arguments with the leaves in their places."""
    if isinstance(value, Tensor):
        leaf = whole(leaves, names[id(value)], value) if id(value) in names else None
        return value if leaf is None else leaf
    if isinstance(value, tuple | list):
        found = (_replaced(v, names, leaves) for v in value)
        return value._make(found) if hasattr(value, "_make") else type(value)(found)
    return value


# -- judging ------------------------------------------------------------------------------------------------------------


class _Least(NamedTuple):
    """What following the function takes at least: seconds in all, and the work of one run, see `Options.least`; and how much of
    a run is done before each of its operations, as far as the number of these, and their least work, tell."""

    seconds: float = 0.0
    work: float = 0.0
    shares: Sequence[float] = ()


@dataclass(frozen=True)
class _Asked:
    backward: bool
    forward: bool
    tolerances: Tolerances
    dtypes: bool
    fast: bool
    strict: Strict


def _judge(call: _Call, asked: _Asked, options: Mapping[str, Any]) -> str:
    """Raise GradcheckError for what is wrong; return why something is undecided, or nothing."""
    map = call.map
    leaves, start = map.leaves(), time.thread_time()
    try:
        outputs, pull = run(map, leaves)
    except Exception:  # the function's own, unless it runs with what it was given
        call.func(*call.arguments)
        return _COPIED
    forward, backward = time.thread_time() - start, 0.0
    small = size(map.inputs) <= _SMALL and forward <= _QUICK
    if not outputs:
        return _NOTHING
    if not all(_known(y) and not is_sparse(y) for y in outputs.values()):
        return _UNKNOWN
    row = random_row(outputs, SEED, map.inputs)
    rows, ran = [row], (outputs, pull)
    if asked.backward:
        start = time.thread_time()
        first = _deterministic(outputs, leaves, row, pull, asked)
        backward = time.thread_time() - start
        ran = outputs, lambda other: first if other is row else pull(other)
        rows += _alone(outputs, leaves, row)
    if asked.forward:
        _forwards(map)
    double = all(x.dtype is torch.float64 for x in map.inputs.values())  # else torch's own may have nothing to say
    opaque, least = (None, _Least()) if small else _glance(map)
    if double and opaque:
        return f"{opaque} can't be followed"
    try:
        with _quiet():
            found = _found(call, rows, outputs, leaves, asked, least, (forward, backward), ran)
    except Spent as spent:
        return str(spent)
    columns = [column for one in found for column in one.columns]
    if lost := excused(columns, asked.tolerances):
        LOG.info("underflow, far below the tolerances or the largest entry: %s", ", ".join(lost[:_SHOWN]))
    if any(column.having(Verdict.MISMATCH).any() for column in columns):
        _tolerated(call, asked, rows, columns, found, options)
    if asked.dtypes:
        wrong = [note for note, about in observe(map, row, {}).notes.items() if about == "dtype"]
        if wrong:
            raise GradcheckError("\n".join(wrong))
    if asked.strict in (True, "imprecise") and any(column.having(Verdict.IMPRECISE).any() for column in columns):
        raise GradcheckError(str(_report(call, rows, columns, found)))
    if any(column.having(Verdict.UNDECIDED).any() for column in columns):
        opaque = ", ".join(dict.fromkeys(name for one in found for name in one.opaque))
        return f"{opaque} can't be followed" if opaque else "the exact derivative could not be certified"
    if lost := worthless(columns):
        _worthless(call, lost, options)
    entries = size(map.inputs)
    if entries > Options().most_entries:
        faintest = max(one.sensitivity for one in found)
        LOG.info("%s entries by directions; an error of one above %.1g (relative) would have shown", f"{entries:,}", faintest)
    judged = any(not column.having(Verdict.OUTSIDE_DOMAIN).all() for column in columns)
    if judged and asked.backward:
        _under_conditions(call, asked, outputs)
    return "" if judged or not columns else "it has no real value here"


_COPIED = "it doesn't run with copies of its arguments"

_SHOWN = 4
"""Entries that a note names."""


def _found(
    call: _Call, rows: Sequence[Row], outputs: Tensors, leaves: Tensors, asked: _Asked, least: _Least, seen: Seconds, ran: Ran
) -> list[Found]:
    """What was judged. Raises Spent, at once where it takes more time than there is (`least`: what it takes at least; `seen`:
    what torch's passes took; `ran`: these)."""
    map = call.map
    if asked.strict in (True, "undecided"):  # torch's own check wouldn't decide
        options = Options(seed=SEED)
    else:
        likely = least.seconds if size(map.inputs) >= LEAST else _LIKELY * least.seconds
        budget = Budget(map, outputs, lambda: _pulled(outputs, leaves, rows[0]), asked.fast, likely, seen)
        pace = partial(budget.pace, least.shares)
        options = Options(seed=SEED, checkpoint=budget, ahead=budget.ahead, least=least.work, pace=pace)
    found = []
    if asked.backward:
        found.append(check_map(map, rows, options, orders=call.orders(rows, options), ran=ran))
    if asked.forward:
        found.append(check_map(map, [], options, mode="forward"))
    return found


def _tolerated(
    call: _Call, asked: _Asked, rows: Sequence[Row], columns: list[Column], found: Sequence[Found], options: Mapping[str, Any]
) -> None:
    """Raise GradcheckError unless every mismatch is within the tolerances that the caller gave, by torch's own check too."""
    report = _report(call, rows, columns, found)
    tolerances = asked.tolerances
    if not tolerances.given or beyond(call.map, rows, columns, tolerances):
        raise GradcheckError(str(report))
    try:
        hand_over(_torch_gradcheck, call.func, call.arguments, {**options, "raise_exception": True}, None)
    except _TorchError as refusal:
        raise GradcheckError(str(report)) from refusal
    worst = max(columns, key=lambda c: c.verdict(c.worst()).severity)
    about = f"{worst.label(worst.worst()).quantity} of {name_of(call.func)}"
    say("is not the derivative, but within the tolerances that were given", about, ToleratedWarning)


def _worthless(call: _Call, lost: Sequence[str], options: Mapping[str, Any]) -> None:
    """Say that nothing is left of some entries; raise GradcheckError where torch's own check refuses them too."""
    about = f"{', '.join(lost[:_SHOWN])} of {name_of(call.func)}"
    what = "is right by its formula, but rounding leaves no digit of it"
    try:
        hand_over(_torch_gradcheck, call.func, call.arguments, {**options, "raise_exception": True}, None)
    except _TorchError as refusal:
        raise GradcheckError(f"{about} {what}:\n{refusal}") from refusal
    say(what, about, ImpreciseWarning)


def _pulled(outputs: Tensors, leaves: Tensors, row: Row) -> dict[str, Tensor | None]:
    """The gradients of a row, in which outputs without a cotangent have no part. Raises what a user's backward raises."""
    taken = [name for name in row.cotangents if outputs[name].requires_grad]
    if not taken:
        return dict.fromkeys(leaves)
    found = derived([outputs[n] for n in taken], list(leaves.values()), [row.cotangents[n] for n in taken])
    return dict(zip(leaves, found, strict=True))


def _under_conditions(call: _Call, asked: _Asked, outputs: Tensors) -> None:
    """Raise GradcheckError where a backward is right as it was run, and wrong as training runs it. `outputs`: of a run whose
    graph is there."""
    if not tried(outputs):
        return
    map = Map(call.map.inputs, call.everything, SEED)
    try:
        found = map(map.leaves())
    except Exception:  # whatever a function says that insists on the caller's own tensors, and their memory
        LOG.info("%s doesn't run with copies of its inputs: conditions of its backward aren't tried", name_of(call.func))
        return
    outputs = {name: y for name, y in found.items() if y.requires_grad}
    if outputs:
        row = random_row(outputs, SEED, map.inputs)
        wrong = try_conditions(map, row, {}, slack=asked.tolerances.absolute, undefined=False)  # that is torch's own check
        if wrong:
            raise GradcheckError(str(_report(call, [row], wrong, ())))


def _deterministic(outputs: Tensors, leaves: Tensors, row: Row, pull: Callable[[Row], Pulled], asked: _Asked) -> Pulled:
    """Two backward passes of one forward pass must agree, and leave their upstream gradients alone; returns the first."""
    versions = [v._version for v in row.cotangents.values()]
    first, second = pull(row), _pulled(outputs, leaves, row)
    if versions != [v._version for v in row.cotangents.values()]:
        raise GradcheckError("the backward pass writes into its upstream gradient")
    for name, gradient in first.gradients.items():
        other = second[name]
        if gradient is None or other is None:
            continue
        if torch.equal(gradient, other):
            continue
        if not torch.allclose(gradient, other, 0.0, asked.tolerances.nondet_tol, equal_nan=True):
            raise GradcheckError(f"two backward passes of one forward pass give different gradients for {name}")
    return first


def _alone(outputs: Tensors, leaves: Tensors, row: Row) -> list[Row]:
    """A row for each output whose gradient alone (the others' are undefined then) isn't what it is beside zeros."""
    found = []
    for name, v in row.cotangents.items() if len(row.cotangents) > 1 else ():
        alone = Row(f"<v_{name},{name}>", {name: v})
        beside = Row("", {n: v if n == name else torch.zeros_like(w) for n, w in row.cotangents.items()})
        pairs = zip(_pulled(outputs, leaves, alone).values(), _pulled(outputs, leaves, beside).values(), strict=True)
        if not all(_near(x, y) for x, y in pairs):
            found.append(alone)
    return found


def _near(x: Tensor | None, y: Tensor | None) -> bool:
    """Equal but for some roundings of the largest entry; None is 0."""
    if x is None or y is None:
        return all(z is None or not z.any() for z in (x, y))
    largest = y.abs().nan_to_num(posinf=0.0).max().item() if y.numel() else 0.0
    return torch.allclose(x, y, rtol=0.0, atol=ROUNDINGS * torch.finfo(y.dtype).eps * largest, equal_nan=True)


def _forwards(map: Map) -> None:
    """Raise what forward mode raises, where an operation or a user's function has no rule for it."""
    with forward_ad.dual_level():
        map({name: forward_ad.make_dual(x.detach(), torch.ones_like(x)) for name, x in map.inputs.items()})


def _glance(map: Map) -> tuple[str | None, _Least]:
    """What is seen at once: an operation by which an output can't be followed; what following takes at least."""
    with uncompiled(), Glance() as glance:
        outputs = map(map.leaves()).values()
    count, work = len(glance.before), glance.work
    shares = [max(i / count, before / work if work else 0.0) for i, before in enumerate(glance.before)]
    return next((reason for y in outputs if (reason := glance.reason(y))), None), _Least(glance.seconds, work, shares)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Python looks for no cycles of garbage inside the block: the numbers of a check are many objects, which go by themselves,
    and each look at all that a process holds takes longer than most checks."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _quiet() -> Iterator[None]:
    """What the function warns of was said when it ran for the first time: it runs often."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _report(call: _Call, rows: Sequence[Row], columns: list[Column], found: Sequence[Found]) -> Report:
    map = call.map
    explain(map, rows, columns)
    point = {name: shown(x) for name, x in {**map.inputs, **upstream(rows[0], map.inputs)}.items()}
    for column in columns:
        column.scope = OfTensor(point, [column.label(i) for i in range(len(column))])
    expression = f"{name_of(call.func)}({', '.join(call.map.inputs)})"
    stages = [{"name": ", ".join(rows[0].cotangents), "expression": expression, "inputs": list(call.map.inputs)}]
    problem = {"stages": stages, "dtype": sorted({c.dtype for c in columns}), "modes": ["reverse"], "seed": SEED}
    sensitivity = max((one.sensitivity for one in found), default=0.0)
    notes = [f"any error of a single entry above {sensitivity:.1g} (relative) would have shown"] if sensitivity else []
    return Report("gradcheck", problem, columns, versions(), False, notes)
