"""Whose an operation is, in the words of the code that is checked: torch's own node of the graph tells which forward operation
a backward belongs to, and the stack in which line that was.

What a selection (`where`, a mask, an index) leaves out goes on through the backward pass as zeros: they are followed, so that a
nan that comes of one of them is told from a nan that a formula has of its own.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FEW = 4096
"""Entries of tensors up to which zeros are followed."""

SELECTING = frozenset({
    "where", "masked_fill", "masked_scatter", "masked_select", "index", "index_select", "gather", "take", "select", "slice",
    "narrow", "split", "unbind", "diagonal", "tril", "triu", "clamp", "clamp_min", "clamp_max", "relu", "threshold",
    "maximum", "minimum", "fmax", "fmin", "max", "min", "amax", "amin", "nan_to_num", "index_put", "scatter", "index_fill",
    "copysign", "hardtanh", "leaky_relu", "elu",
})  # fmt: skip
"""Operations that hand some of their numbers on and leave out others."""


class Origin(NamedTuple):
    """What an operation belongs to. `operation`: the forward operation, as a user calls it; `where`: its line, "file.py, line
    3". `inner`: the operation itself, where it is one of a derivative's; `node`: the number of the backward; `function`: the
    custom Function whose it is, `where` being the line in it."""

    operation: str
    where: str | None = None
    inner: str | None = None
    function: str | None = None
    node: int | None = None

    @property
    def told(self) -> str | None:
        """Where it is; None where there is nothing to say besides the name of the operation."""
        at = f" ({self.where})" if self.where else ""
        if self.function:
            return f"{self.operation} in the backward of {self.function}{at}"
        if self.inner:
            return f"the {'derivative' if self.node is None else 'backward'} of {self.operation}{at}"
        return f"{self.operation}{at}" if at else None


class Selection(NamedTuple):
    """What was left out, and by what: zeros, by their place in a storage (kept, so that no address is used again)."""

    storage: Any
    left_out: Tensor
    by: Origin

    def of(self, tensor: Tensor) -> Tensor:
        """Which entries of a tensor in that storage."""
        return self.left_out.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


class Calls(TorchFunctionMode):
    """Listens to what Python calls: in forward mode no node tells which operation a derivative belongs to."""

    def __init__(self, origins: Origins) -> None:
        super().__init__()
        self._origins = origins

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outer, name = self._origins.called, getattr(func, "__name__", "")
        self._origins.called = plain_name(_OPERATORS.get(name, name)) or None
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self._origins.called = outer


class Origins:
    """What is known of one run. `entered` before each operation, `ran` after it. `selections`: what they leave out is followed;
    `missed`: it would have been asked for, and wasn't."""

    def __init__(self, selections: bool = True) -> None:
        self.selections, self.missed = selections, False
        self.called: str | None = None
        """What Python has called, where somebody listens to that."""
        self._forward: dict[int, Origin] = {}
        self._selected: dict[int, Selection] = {}

    def entered(self, name: str) -> None:
        """An operation is about to run: the node that torch has just made for it is its own."""
        node = _node()
        number = torch._C._autograd._get_sequence_nr() - 1
        if number not in self._forward:
            self._forward[number] = self._of(node, name)

    @property
    def node(self) -> int | None:
        """The number of the node whose backward is running."""
        node = _node()
        return None if node is None else node._sequence_nr()

    def of(self, name: str) -> Origin:
        """Whose the operation is that runs."""
        return self._of(_node(), name)

    def _of(self, node: Any, name: str) -> Origin:
        if node is None:
            own = plain_name(name)
            return Origin(self.called or own, place(), None if self.called in (None, own) else own)
        function, number = getattr(node, "_forward_cls", None), node._sequence_nr()
        if function is not None and not function.__module__.startswith("torch."):
            return Origin(plain_name(name), place(), plain_name(name), function.__name__, number)
        known = self._forward.get(number)
        if known is None:
            return Origin(plain_name(name), None, plain_name(name), None, number)
        return known._replace(inner=plain_name(name), node=number)

    def equal_values(self, name: str, outputs: Sequence[Tensor | None]) -> list[str]:
        """What to say of a decomposition whose values are equal: its vectors are not unique."""
        if name not in _DECOMPOSITIONS:
            return []
        what, which = _DECOMPOSITIONS[name]
        values = outputs[which] if _node() is None else None
        if values is None or values.numel() < 2:
            return []
        text = _degenerate(values.detach(), what)
        return [EQUAL.format(self.of(name).told or plain_name(name), text)] if text else []

    # -- what a selection leaves out ------------------------------------------------------------------------------------

    def ran(self, name: str, arguments: Iterable[Tensor], outputs: Iterable[Tensor | None]) -> None:
        """Follow the zeros that a selection has made through an operation of a backward."""
        node = _node() if self.selections else None
        if node is None:
            return
        runs = self._of(node, name)
        selecting = runs.function is None and runs.operation in SELECTING
        given = [t for t in arguments if _followed(t)] if selecting or self._selected else []
        for output in outputs if given else ():
            if output is None or not _followed(output):
                continue
            zeros = output.detach() == 0
            left_out, by = zeros & False, runs
            for tensor in given:
                selection = self._known(tensor)
                if selection is not None:
                    left_out |= zeros & (selection.of(tensor) if tensor.shape == output.shape else selection.of(tensor).any())
                    by = selection.by
            if selecting and not left_out.any():
                for tensor in given:
                    other = tensor.detach() != 0
                    left_out |= zeros & (other if tensor.shape == output.shape else other.any())
            if left_out.any():
                storage = output.untyped_storage()
                everything = torch.zeros(storage.nbytes() // output.element_size(), dtype=torch.bool, device=output.device)
                found = Selection(storage, everything, by)
                found.of(output).copy_(left_out)
                self._selected[storage._cdata] = found

    def leaving_out(self, arguments: Iterable[Tensor], output: Tensor) -> Callable[[int], Origin | None]:
        """The selection that left out what an entry of a result was made from, if one did."""
        known = [(tensor, self._known(tensor)) for tensor in arguments if _followed(tensor)] if self._selected else []
        zeros = [
            (found.of(tensor).reshape(-1).tolist() if tensor.shape == output.shape else bool(found.of(tensor).any()), found.by)
            for tensor, found in known
            if found is not None
        ]

        def left_out(entry: int) -> Origin | None:
            self.missed = self.missed or not self.selections
            return next((by for zero, by in zeros if (zero if isinstance(zero, bool) else zero[entry])), None)

        return left_out

    def _known(self, tensor: Tensor) -> Selection | None:
        found = self._selected.get(tensor.untyped_storage()._cdata)
        return found if found is not None and found.storage.nbytes() == len(found.left_out) * tensor.element_size() else None


def _followed(tensor: Tensor) -> bool:
    return (
        tensor.is_floating_point()
        and 0 < tensor.numel() <= FEW
        and tensor.layout is torch.strided
        and not tensor._is_zerotensor()
        and tensor.device.type != "meta"
    )


def _node() -> Any:
    """The node whose backward is running."""
    return torch._C._current_autograd_node()


# -- why a result is no number ----------------------------------------------------------------------------------------------

MASKED = (
    "a row of its argument is -inf throughout (masked altogether), and a softmax of that is 0/0: leave an entry in every "
    "row, or mask such a row with a large finite number"
)
REPEATED = (
    "its backward divides by differences of {what}, and two of them are equal ({value:.6g}): the vectors are not unique "
    "there and have no derivative; where the result needs none of them, write it without"
)
VANISHING = "its backward divides by {what}, and one of them is 0"
SELECTED = "{by} leaves this out, but its backward multiplies what {operation} gives by 0, and 0*inf is nan: {remedy}"
SAFE = "put a safe argument into {operation} there, with a second where: where(c, f(where(c, x, safe)), g(x))"
BEFORE = "select before {operation}, not after it"
DIVIDES = (
    "autograd's own formula has no value here, in exact arithmetic either: where it divides by what may be 0, write it "
    "without the division"
)
SINGULAR = (
    "the slope of {operation} has no finite value here, and autograd multiplies it by 0: write the function without "
    "{operation} at this point"
)
NO_VALUE = "{operation} has no finite value here, and autograd multiplies by it: keep its argument inside of its domain"
OFF = ", or keep off it with a small eps > 0: {}"
_OFF = {
    **dict.fromkeys(("norm", "dist", "cdist", "pdist", "pairwise_distance"), "sqrt(sum(x**2) + eps)"),
    "hypot": "sqrt(x**2 + y**2 + eps)",
    **{name: f"{name}(x + eps)" for name in ("sqrt", "rsqrt", "log", "log2", "log10")},
    "pow": "(x + eps)**p",
    "std": "sqrt(var(x) + eps)",
    **{name: f"{name}(clamp(x, -1 + eps, 1 - eps))" for name in ("acos", "asin", "atanh", "erfinv")},
    "acosh": "acosh(clamp(x, 1 + eps))",
    "logit": "logit(x, eps)",
}
"""How an operation is kept off the point where its slope isn't finite."""

_INDICES = frozenset({"index", "index_select", "gather", "take", "select", "slice", "narrow", "split", "unbind", "diagonal"})
_ROWS = frozenset({"softmax", "log_softmax", "safe_softmax", "logsumexp", "scaled_dot_product_attention"})
EQUAL = "{}: {}"
_DECOMPOSITIONS = {
    "_linalg_svd": ("singular values", 1),
    "_linalg_eigh": ("eigenvalues", 0),
    "linalg_eig": ("eigenvalues", 0),
}
"""What an operation returns values of, and which of its results these are."""

_SPECTRA = {"_saved_S": "singular values", "_saved_eigenvalues": "eigenvalues"}
_DIVISIONS = frozenset({"div", "reciprocal"})
_ROUNDINGS = 8


def reason(operation: str, arguments: Mapping[str, Any]) -> str | None:
    """Why the numbers that an operation was given leave it without a value, where that is known."""
    if plain_name(operation) in _ROWS and _masked(arguments):
        return MASKED
    node = _node()
    saved = ((getattr(node, name, None), what) for name, what in _SPECTRA.items())
    return next((_degenerate(v.detach(), what) for v, what in saved if isinstance(v, Tensor) and v.numel() > 1), None)


def selected(origin: Origin, by: Origin) -> str:
    """What to do about an operation whose result a selection leaves out."""
    remedy = (BEFORE if by.operation in _INDICES else SAFE).format(operation=origin.operation)
    said = f"{by.operation} ({by.where})" if by.where else by.operation
    return SELECTED.format(by=said, operation=origin.operation, remedy=remedy)


def advice(origin: Origin) -> str:
    """What to do about a result that isn't finite in exact arithmetic either."""
    if origin.function is not None or (origin.inner is not None and origin.operation in _DIVISIONS):
        return DIVIDES
    said = (NO_VALUE if origin.inner is None else SINGULAR).format(operation=origin.operation)
    off = _OFF.get(origin.operation)
    return said if off is None else said + OFF.format(off)


def _masked(arguments: Mapping[str, Any]) -> bool:
    """Whether a row of softmax is -inf."""
    x, dim = next(a for a in arguments.values() if isinstance(a, Tensor)), arguments.get("dim", -1)
    return bool(x.dim() and (x.detach() == -torch.inf).all(dim[0] if isinstance(dim, (list, tuple)) else dim).any())


def _degenerate(values: Tensor, what: str) -> str | None:
    """Which of the numbers that a decomposition divides by are equal, or 0."""
    ordered = values.real.sort(dim=-1).values if values.is_complex() else values.sort(dim=-1).values
    slack = _ROUNDINGS * torch.finfo(ordered.dtype).eps * ordered.abs().max()
    equal = (ordered.diff(dim=-1) <= slack).nonzero()
    if len(equal):
        return REPEATED.format(what=what, value=float(ordered[tuple(equal[0])]))
    return VANISHING.format(what=what) if bool((ordered.abs() <= slack).any()) else None


# -- names and lines --------------------------------------------------------------------------------------------------------

_NAMES = {"linalg_vector_norm": "norm", "rsub": "sub", "to_copy": "to", "linalg_eigh": "eigh", "linalg_svd": "svd"}


_OPERATORS = {
    "__truediv__": "div", "__rtruediv__": "div", "__rdiv__": "div", "__rpow__": "pow", "__rmul__": "mul", "__radd__": "add",
    "__rsub__": "sub", "true_divide": "div", "divide": "div", "multiply": "mul",
}  # fmt: skip


def plain_name(operation: str) -> str:
    """An operation under the name that a user calls it by."""
    name = operation.strip("_").removesuffix("_ex")
    if name.startswith("scaled_dot_product"):
        return "scaled_dot_product_attention"
    for prefix in ("linalg_", "special_", "native_", "unsafe_", "fft_"):
        name = _NAMES.get(name, name).removeprefix(prefix)
    return _NAMES.get(name, name)


_HERE = str(Path(__file__).parent.parent)
_SHADOW = str(Path(__file__).parent)
_HANDLERS = ("watched", "__torch_function__")
"""What torch hands operations to, in this folder or elsewhere."""

_MODULE = torch.nn.modules.module.__file__
_NOT_THE_USERS = (str(Path(torch.__file__).parent), sysconfig.get_path("stdlib"), "<")


def line_of(file: str, number: int) -> str:
    """What a line of a file is called."""
    return f"{os.path.basename(file)}, line {number}"


def place(frame: FrameType | None = None) -> str | None:
    """The line of the user's code that is running, "file.py, line 3"; None where none is. `frame`: the innermost one that
    counts."""
    frame, called = frame or sys._getframe(1), False
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_SHADOW) or (file.startswith(_HERE) and frame.f_code.co_name in _HANDLERS):
            pass
        elif file.startswith(_HERE):
            called = True
        elif file == _MODULE:
            called = False  # a hook of ours runs where the user's code calls a module
        elif called and not file.startswith(_NOT_THE_USERS):
            return None  # who called is not who wrote it
        elif not file.startswith(_NOT_THE_USERS) or "site-packages" in file.removeprefix(_NOT_THE_USERS[0]):
            return line_of(file, frame.f_lineno)
        frame = frame.f_back
    return None
