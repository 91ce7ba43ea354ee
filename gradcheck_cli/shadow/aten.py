"""The table of ATen operations: what each computes, in the language of formulas, with ATen's own argument names.

An operation whose arguments are those of a row of the function table, in that order, needs no row here. Views need none
either: the shadow's memory sees through them. What remains are backward formulas, constructors and copies.

Columns
-------
name    ATen's name, without overload and without the underscore of in-place operations.
texts   what the kernel computes in exact arithmetic, a formula for each output, including its conventions at ties
        (`threshold_backward` is 0 at the threshold).
steps   the same, as the kernel computes it, where that rounds differently (`1 + erf(...)` cancels, `erfc` doesn't).
when    arguments that must have this value for the row to apply: a string or number, a truth value, None, or "bool" for a
        tensor of truth values. A row also is passed over where an argument that it uses is None. The first that fits is taken.
view    the result is a view or holds no values: nothing to do.
data    the result doesn't depend on the arguments' values (random numbers, ranges): its floats stand for themselves.
moves   the arguments (tensors, lists of tensors, fill values) whose entries the operation moves, copies, selects or pads with
        zeros, and no more: see `shadow.movers`.
fold    entries of different places meet: the name of a function of `shadow.folds`; `step` is what it does with two of them.

What takes several steps is written in torch's own operations, in `shadow.rules`; operations without a row or a rule are followed
through torch's own decomposition into others, if there is one.

Source: aten/src/ATen/native/native_functions.yaml for the arguments, tools/autograd/derivatives.yaml and the kernels under
aten/src/ATen/native/cpu for the formulas (pytorch/pytorch, v2.13).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from flint import ctx

from gradcheck_cli.algebra.program import Program
from gradcheck_cli.language import syntax
from gradcheck_cli.language.functions import TABLE
from gradcheck_cli.language.parser import is_truth, parse
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, substitute, variables, walk

Cell = Any


@dataclass(frozen=True, eq=False)
class Operation:
    """One row; the columns are explained at the top of this file. `integers`: arguments that select a function (the order of
    polygamma), handed over as ints. `formulas`, `stepped`: what stands for `texts` and `steps`, where that isn't text."""

    name: str
    texts: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    when: Mapping[str, Any] = field(default_factory=dict)
    view: bool = False
    data: bool = False
    moves: tuple[str, ...] = ()
    fold: str = ""
    step: str = ""
    integers: frozenset[str] = frozenset()
    formulas: tuple[Node, ...] = ()
    stepped: tuple[Node, ...] = ()

    @cached_property
    def trees(self) -> tuple[Node, ...]:
        """One for each output."""
        return self.formulas or tuple(_parsed(t) for t in self.texts)

    @cached_property
    def stepwise(self) -> tuple[Node, ...]:
        """One for each output, as the kernel computes it."""
        return self.stepped or tuple(_parsed(t) for t in self.steps) or self.trees

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """Which of ATen's arguments the formulas use."""
        return tuple(dict.fromkeys(n for tree in (*self.trees, *self.stepwise) for n in variables(tree)))

    @cached_property
    def entries(self) -> tuple[str, ...]:
        """`arguments` without `integers`: the inputs of the compiled formula."""
        return tuple(n for n in self.arguments if n not in self.integers)

    @cached_property
    def truths(self) -> frozenset[str]:
        """Arguments used as truth values."""
        return frozenset(n for tree in self.trees for n in _used(tree, True))

    @cached_property
    def numbers(self) -> frozenset[str]:
        """Arguments used as numbers (an argument that is only copied is neither)."""
        return frozenset(n for tree in self.trees for n in _used(tree, False))

    @cached_property
    def given(self) -> tuple[str, ...]:
        """What each formula gives, see `results`."""
        return tuple(map(results, self.trees))

    @cached_property
    def compares(self) -> bool:
        """The row compares its arguments: a number among them is the float that code compares with, whatever its author meant."""
        (tree,) = self.trees if len(self.trees) == 1 else (None,)
        return isinstance(tree, Call) and results(tree) == "truth" and not self.truths and not self.whole

    @cached_property
    def whole(self) -> bool:
        """The row is no formula for each entry: it knows every argument of the operation."""
        return self.data or bool(self.moves or self.fold)

    def combine(self, layer: Any) -> Callable[[Cell, Cell], Cell]:
        """`step` as a function of two cells, x and y, at the present precision."""
        key = ("step", self.step)
        if key not in layer.programs:
            layer.programs[key] = Program([_parsed(self.step)], ("x", "y"), layer, lambda: ctx.prec)
        run: Callable[..., tuple[Cell, ...]] = layer.programs[key].bind()
        return lambda x, y: run(x, y)[0]

    def compiled(self, layer: Any, settings: tuple[int, ...]) -> Program:
        """The outputs' cells as a program of the entries' cells."""
        key = (self, settings)
        if key not in layer.programs:
            values = {n: Constant(v) for n, v in zip(sorted(self.integers), settings, strict=True)}
            trees = [substitute(t, values) if values else t for t in (self.stepwise if layer.stepwise else self.trees)]
            layer.programs[key] = Program(trees, self.entries, layer, lambda: ctx.prec)
        program: Program = layer.programs[key]
        return program

    def program(self, layer: Any, settings: tuple[int, ...]) -> Callable[..., tuple[Cell, ...]]:
        """The same as a function, at the present precision."""
        return self.compiled(layer, settings).bind()


MASKS = frozenset({"mask", "condition", "self", "other", "pred"})
"""Arguments of ATen that may be truth values."""


@cache
def _parsed(text: str) -> Node:
    return parse(text, truths=MASKS, imaginary=frozenset())


def _used(tree: Node, truth: bool) -> set[str]:
    """The variables that are an argument of something that takes truth values (numbers)."""
    found: set[str] = set()
    for item in walk(tree):
        if isinstance(item, Call):
            if item.function == syntax.WHERE and not truth:
                continue  # its branches are handed on, whatever they are
            bound = TABLE[item.function].bind(item.arguments)
            found.update(t.name for p, t in bound if isinstance(t, Variable) and (p.kind == "truth") == truth)
    return found


def results(tree: Node) -> str:
    """What a formula gives: "truth", "number", or "either" where it hands its arguments on."""
    if isinstance(tree, Call) and tree.function != syntax.WHERE:
        return "truth" if is_truth(tree) else "number"
    return "either"


def _op(name: str, *texts: str, **columns: Any) -> Operation:
    return Operation(name, texts, **columns)


_VIEWS = (
    "alias", "detach", "view", "_unsafe_view", "reshape", "_reshape_alias", "expand", "expand_as", "permute", "view_as_real", "view_as_complex", "_conj", "_neg_view", "transpose", "t",
    "squeeze", "unsqueeze", "select", "slice", "diagonal", "unfold", "as_strided", "narrow", "view_as", "split", "chunk",
    "unbind", "split_with_sizes", "lift_fresh", "lift", "is_same_size", "_has_same_storage_numel", "empty", "empty_like",
    "empty_strided", "empty_permuted", "new_empty", "new_empty_strided", "_efficientzerotensor", "resolve_conj", "resolve_neg",
    "broadcast_to", "broadcast_in_dim", "view_of", "set_", "resize_",
    "_sparse_coo_tensor_with_dims_and_tensors", "_indices", "_values", "record_stream", "_linalg_check_errors", "_assert_async", "_unsafe_index_check",
)  # fmt: skip

_DATA = (
    "arange", "linspace", "logspace", "eye", "bernoulli", "normal", "rand", "rand_like", "randn", "randn_like", "uniform",
    "exponential", "geometric", "log_normal", "cauchy", "random", "randint", "randint_like", "poisson", "binomial",
    "multinomial", "randperm", "hann_window", "hamming_window", "blackman_window", "bartlett_window", "kaiser_window",
)  # fmt: skip

# fmt: off
_MOVES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("tensors",): ("cat", "stack", "block_diag"),
    ("grad_output",): ("slice_backward", "select_backward", "diagonal_backward"),
    ("self",): (
        "tril", "triu", "flip", "roll", "rot90", "repeat", "diag_embed", "index", "_unsafe_index", "index_select", "gather",
        "take", "masked_select", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
        "replication_pad2d", "replication_pad3d", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
        "max_unpool2d", "max_unpool3d", "im2col", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
        "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
        "alias_copy", "diagonal_copy", "expand_copy", "narrow_copy",
        "permute_copy", "_reshape_copy", "select_copy", "slice_copy", "split_copy", "split_with_sizes_copy", "squeeze_copy", "t_copy",
        "transpose_copy", "unbind_copy", "unfold_copy", "unsqueeze_copy", "view_copy", "unsafe_split",
        "unsafe_split_with_sizes",
    ),
    ("input",): ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
    ("weight",): ("embedding",),
    ("self", "value"): ("constant_pad_nd", "index_fill"),
    ("self", "src"): ("slice_scatter", "select_scatter", "diagonal_scatter"),
    ("self", "source"): ("index_copy", "masked_scatter"),
    ("self", "fill"): ("_unsafe_masked_index",),
}
# fmt: on
"""The arguments whose entries move -> the operations."""

_ZEROS = ["zeros", "zeros_like", "new_zeros", "zero", "_new_zeros_with_same_feature_meta"]

OPERATIONS: tuple[Operation, ...] = (
    *(_op(name, view=True) for name in _VIEWS),
    # -- data, and what only moves ------------------------------------------------------------------------------------
    *(_op(name, data=True) for name in _DATA),
    *(_op(name, moves=moves) for moves, names in _MOVES.items() for name in names),
    _op("scatter", moves=("self", "src"), when={"value": None, "reduce": None}),
    _op("scatter", moves=("self", "value"), when={"src": None, "reduce": None}),
    _op("index_put", moves=("self", "values"), when={"accumulate": False}),
    _op("_unsafe_index_put", moves=("self", "values"), when={"accumulate": False}),
    _op("put", moves=("self", "source"), when={"accumulate": False}),
    # -- sums, products, extremes -------------------------------------------------------------------------------------
    _op("sum", fold="total"),
    _op("mean", fold="mean"),
    _op("prod", fold="reduce", step="x*y"),
    *(_op(name, fold="extreme", step="maximum(x, y)", when={"other": None}) for name in ("amax", "max")),
    *(_op(name, fold="extreme", step="minimum(x, y)", when={"other": None}) for name in ("amin", "min")),
    *(_op(name, fold="place") for name in ("argmax", "argmin")),
    *(_op(name, fold=name) for name in ("sort", "topk", "kthvalue", "median", "nanmedian", "mode")),
    *(_op(name, fold="buckets", when={"sorter": None}) for name in ("bucketize", "searchsorted")),
    _op("any", fold="some", step="or"),
    _op("all", fold="some", step="and"),
    *(_op(name, fold="kind") for name in ("isnan", "isposinf", "isneginf")),
    _op("cumsum", fold="scan", step="x + y"),
    _op("cumprod", fold="scan", step="x*y"),
    _op("cummax", fold="scan", step="maximum(x, y)"),
    _op("cummin", fold="scan", step="minimum(x, y)"),
    _op("logcumsumexp", fold="scan", step="logaddexp(x, y)"),
    *(_op(name, fold="product") for name in ("mm", "bmm", "mv", "dot", "vdot")),
    *(_op(name, fold="scatter") for name in ("scatter_add", "index_add")),
    *(_op(name, fold="scatter", when={"accumulate": True}) for name in ("index_put", "_unsafe_index_put", "put")),
    *(
        _op(name, fold="scatter_reduce", step=step, when={"reduce": kind})
        for kind, step in (("sum", ""), ("mean", ""), ("prod", "x*y"), ("amax", "maximum(x, y)"), ("amin", "minimum(x, y)"))
        for name in ("scatter_reduce", "index_reduce")
    ),
    _op("convolution", fold="convolution"),
    _op("convolution_backward", fold="convolution_backward"),
    # -- constructors and copies ------------------------------------------------------------------------------------
    *(_op(name, "0") for name in _ZEROS),
    *(_op(name, "1") for name in ("ones", "ones_like", "new_ones")),
    *(_op(name, "fill_value") for name in ("full", "full_like", "new_full")),
    _op("fill", "value"),
    _op("scalar_tensor", "s"),
    *(_op(name, "self") for name in ("clone", "_to_copy", "to", "contiguous", "positive")),
    _op("convert_element_type", "a"),
    _op("copy", "src"),
    _op("masked_fill", "where(mask, value, self)"),
    _op("where", "where(pred, a, b)"),
    # -- truth values -----------------------------------------------------------------------------------------------
    _op("bitwise_and", "self and other", when={"self": "bool", "other": "bool"}),
    _op("bitwise_or", "self or other", when={"self": "bool", "other": "bool"}),
    _op("bitwise_not", "not self", when={"self": "bool"}),
    *(
        _op(name, "(self and not other) or (other and not self)", when={"self": "bool", "other": "bool"})
        for name in ("bitwise_xor", "logical_xor")
    ),
    # -- arithmetic -------------------------------------------------------------------------------------------------
    _op("add", "self + other", when={"alpha": 1}),
    _op("add", "self + alpha*other"),
    _op("sub", "self - other", when={"alpha": 1}),
    _op("sub", "self - alpha*other"),
    _op("rsub", "other - self", when={"alpha": 1}),
    _op("rsub", "other - alpha*self"),
    _op("addcmul", "self + tensor1*tensor2", when={"value": 1}),
    _op("addcmul", "self + value*tensor1*tensor2"),
    _op("addcdiv", "self + tensor1/tensor2", when={"value": 1}),
    _op("addcdiv", "self + value*tensor1/tensor2"),
    _op("div", "self/other", when={"rounding_mode": None}),
    _op("div", "floor(self/other)", when={"rounding_mode": "floor"}),
    _op("div", "trunc(self/other)", when={"rounding_mode": "trunc"}),
    _op("sgn", "sign(self)"),
    *(_op(name, "conj(self)") for name in ("conj_physical", "_conj_physical")),
    _op("complex", "real + 1j*imag"),
    _op("polar", "abs*cos(angle) + 1j*(abs*sin(angle))"),
    _op("signbit", "self < 0"),
    _op("clamp", "minimum(maximum(self, min), max)"),
    _op("clamp", "maximum(self, min)", when={"max": None}),
    _op("clamp", "minimum(self, max)", when={"min": None}),
    _op(
        "lerp", "self + weight*(end - self)",
        steps=("where(abs(weight) < 0.5, self + weight*(end - self), end - (end - self)*(1 - weight))",),
    ),
    _op("ldexp", "self*2**other"),
    # -- functions whose kernel takes more settings than the function table, or rounds in its own way ------------------
    _op("gelu", "gelu(self)", steps=("self*0.5*(1 + erf(self/sqrt(2)))",), when={"approximate": "none"}),
    _op(
        "gelu", "gelu_tanh(self)", when={"approximate": "tanh"},
        steps=("0.5*self*(1 + tanh(sqrt(2/pi)*(self + 0.044715*(self*self*self))))",),
    ),
    _op("elu", "where(self > 0, scale*self, scale*alpha*expm1(input_scale*self))"),
    _op("softplus", "where(self*beta > threshold, self, log1p(exp(self*beta))/beta)"),
    _op("log_sigmoid_forward", "logsigmoid(self)", "exp(-abs(self))"),
    _op("logit", "logit(self)", when={"eps": None}, steps=("log(self/(1 - self))",)),
    _op(
        "logit", "logit(minimum(maximum(self, eps), 1 - eps))",
        steps=("log(minimum(maximum(self, eps), 1 - eps)/(1 - minimum(maximum(self, eps), 1 - eps)))",),
    ),
    _op("erf_inv", "erfinv(self)"),
    _op("igamma", "gammainc(self, other)"),
    _op("igammac", "gammaincc(self, other)"),
    # -- backward formulas ------------------------------------------------------------------------------------------
    _op("sigmoid_backward", "grad_output*conj(1 - output)*conj(output)"),
    _op("tanh_backward", "grad_output*conj(1 - output**2)"),
    _op("threshold_backward", "where(self <= threshold, 0, grad_output)"),
    _op("logit_backward", "grad_output/(self*(1 - self))", when={"eps": None}),
    _op("logit_backward", "where(self < eps or self > 1 - eps, 0, grad_output/(self*(1 - self)))"),
    _op(
        "log_sigmoid_backward", "grad_output*sigmoid(-self)",
        # the kernel takes exp(-abs(self)) from a buffer
        steps=("grad_output*(where(self < 0, 1, 0) - where(self < 0, 1, -1)*(exp(-abs(self))/(1 + exp(-abs(self)))))",),
    ),
    _op(
        "softplus_backward",
        "where(self*beta > threshold, grad_output, grad_output*exp(self*beta)/(exp(self*beta) + 1))",
    ),
    _op("leaky_relu_backward", "where(self > 0, grad_output, grad_output*negative_slope)"),
    _op("hardtanh_backward", "where(self <= min_val or self >= max_val, 0, grad_output)"),
    _op("hardsigmoid_backward", "where(self > -3 and self < 3, grad_output/6, 0)"),
    _op("hardswish_backward", "where(self <= -3, 0, where(self < 3, grad_output*(self/3 + 0.5), grad_output))"),
    _op("hardshrink_backward", "where(self >= -lambd and self <= lambd, 0, grad_out)"),
    _op("softshrink_backward", "where(self >= -lambd and self <= lambd, 0, grad_output)"),
    _op(
        "elu_backward", "where(self_or_result <= 0, grad_output*input_scale*(self_or_result + alpha*scale), grad_output*scale)",
        when={"is_result": True},
    ),
    _op(
        "elu_backward",
        "where(self_or_result <= 0, grad_output*input_scale*alpha*scale*exp(self_or_result*input_scale), grad_output*scale)",
        when={"is_result": False},
    ),
    _op(
        "gelu_backward", "grad_output*(ndtr(self) + self*exp(-self**2/2)/sqrt(2*pi))", when={"approximate": "none"},
        steps=("grad_output*(0.5*(1 + erf(self/sqrt(2))) + self*(exp(self*self*-0.5)/sqrt(2*pi)))",),
    ),
    _op(
        "gelu_backward",
        "grad_output*((1 + tanh(sqrt(2/pi)*(self + 0.044715*self**3)))/2 + self/2*"
        "(1 - tanh(sqrt(2/pi)*(self + 0.044715*self**3))**2)*sqrt(2/pi)*(1 + 3*0.044715*self**2))",
        when={"approximate": "tanh"},
    ),
    _op("silu_backward", "grad_output*sigmoid(self)*(1 + self*(1 - sigmoid(self)))"),
    _op("mish_backward", "grad_output*(tanh(log1p(exp(self))) + self*sigmoid(self)*(1 - tanh(log1p(exp(self)))**2))"),
)  # fmt: skip

KINDS = {name: _op(name, fold="kind") for name in ("eq", "ne")}
"""Comparisons of a tensor with itself, which ask for nan, or with an infinity."""
