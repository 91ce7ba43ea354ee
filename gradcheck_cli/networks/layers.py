"""Networks as text, `Linear(10, 5) | ReLU()`: the names of torch.nn, parsed and never executed.

A network is layers separated by `|`; a layer is `Name(arguments)`, or `Name` alone where nothing must be given. Arguments are
literals (numbers, strings, True, False, None, lists, tuples) or networks again: `Residual(Linear(4, 4) | ReLU())` is
x + f(x), `TransformerEncoder(TransformerEncoderLayer(8, 2), 2)` is torch's. Nothing here imports torch.
"""

from __future__ import annotations

import ast
import difflib
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gradcheck_cli.errors import NO_TEXT, InputError, half_character
from gradcheck_cli.language.syntax import Columns

MAX_LENGTH = 20_000
MAX_DEPTH = 50
PREFIXES = frozenset({"nn", "torch.nn"})
"""What pasted code carries before a name."""

LAYERS: Mapping[str, str] = MappingProxyType({
    # -- what takes networks
    "Sequential": "...", "Residual": "...", "TransformerEncoder": "...", "TransformerDecoder": "...",
    # -- layers with weights
    "Linear": "in_features",
    "Bilinear": "in1_features; in2_features",
    "Embedding": "4 below num_embeddings",
    "EmbeddingBag": "4 below num_embeddings",
    "Conv1d": "in_channels, L", "ConvTranspose1d": "in_channels, L",
    "Conv2d": "in_channels, H, W", "ConvTranspose2d": "in_channels, H, W",
    "Conv3d": "in_channels, D, H, W", "ConvTranspose3d": "in_channels, D, H, W",
    "RNN": "4, input_size", "LSTM": "4, input_size", "GRU": "4, input_size",
    "RNNCell": "input_size", "LSTMCell": "input_size", "GRUCell": "input_size",
    "MultiheadAttention": "4, embed_dim; 4, kdim; 4, vdim",
    "Transformer": "4, d_model; 4, d_model",
    "TransformerEncoderLayer": "4, self_attn.embed_dim",
    "TransformerDecoderLayer": "4, self_attn.embed_dim; 4, self_attn.embed_dim",
    # -- normalization
    "BatchNorm1d": "num_features", "BatchNorm2d": "num_features, 2, 2", "BatchNorm3d": "num_features, 2, 2, 2",
    "InstanceNorm1d": "num_features, 4", "InstanceNorm2d": "num_features, 2, 2", "InstanceNorm3d": "num_features, 2, 2, 2",
    "LayerNorm": "normalized_shape", "RMSNorm": "normalized_shape", "GroupNorm": "num_channels, 4",
    "LocalResponseNorm": "C, L", "CrossMapLRN2d": "C, H, W",
    # -- entry by entry, or along the last axis
    "CELU": "...", "ELU": "...", "GELU": "...", "GLU": "...", "Hardshrink": "...", "Hardsigmoid": "...", "Hardswish": "...",
    "Hardtanh": "...", "LeakyReLU": "...", "LogSigmoid": "...", "LogSoftmax": "...", "Mish": "...", "PReLU": "...",
    "RReLU": "...", "ReLU": "...", "ReLU6": "...", "SELU": "...", "SiLU": "...", "Sigmoid": "...", "Softmax": "...",
    "Softmin": "...", "Softplus": "...", "Softshrink": "...", "Softsign": "...", "Tanh": "...", "Tanhshrink": "...",
    "Threshold": "...", "Dropout": "...", "AlphaDropout": "...", "FeatureAlphaDropout": "...", "Identity": "...",
    "Flatten": "...",
    # -- images and the like
    "Softmax2d": "C, H, W", "Dropout1d": "C, L", "Dropout2d": "C, H, W", "Dropout3d": "C, D, H, W",
    "AvgPool1d": "C, L", "AvgPool2d": "C, H, W", "AvgPool3d": "C, D, H, W",
    "MaxPool1d": "C, L", "MaxPool2d": "C, H, W", "MaxPool3d": "C, D, H, W",
    "LPPool1d": "C, L", "LPPool2d": "C, H, W", "LPPool3d": "C, D, H, W",
    "FractionalMaxPool2d": "C, H, W", "FractionalMaxPool3d": "C, D, H, W",
    "AdaptiveAvgPool1d": "C, L", "AdaptiveAvgPool2d": "C, H, W", "AdaptiveAvgPool3d": "C, D, H, W",
    "AdaptiveMaxPool1d": "C, L", "AdaptiveMaxPool2d": "C, H, W", "AdaptiveMaxPool3d": "C, D, H, W",
    "CircularPad1d": "C, L", "CircularPad2d": "C, H, W", "CircularPad3d": "C, D, H, W",
    "ConstantPad1d": "C, L", "ConstantPad2d": "C, H, W", "ConstantPad3d": "C, D, H, W",
    "ReflectionPad1d": "C, L", "ReflectionPad2d": "C, H, W", "ReflectionPad3d": "C, D, H, W",
    "ReplicationPad1d": "C, L", "ReplicationPad2d": "C, H, W", "ReplicationPad3d": "C, D, H, W",
    "ZeroPad1d": "C, L", "ZeroPad2d": "C, H, W", "ZeroPad3d": "C, D, H, W",
    "Upsample": "C, H, W", "UpsamplingBilinear2d": "C, H, W", "UpsamplingNearest2d": "C, H, W",
    "PixelShuffle": "C, H, W", "PixelUnshuffle": "C, H, W", "ChannelShuffle": "C, H, W",
    "Fold": "C, L", "Unfold": "C, H, W", "Unflatten": "N, C",
    # -- of two tensors
    "CosineSimilarity": "4; 4", "PairwiseDistance": "4; 4",
})  # fmt: skip
"""The layers, and what an input of theirs looks like, without a batch: sizes as numbers or as attributes of the layer. A
capital letter is a size that only the user knows; `...` is any shape; `;` separates the tensors of a layer that takes several;
`below` an attribute: whole numbers, for an index."""

REFUSED: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "is a loss: it belongs to --loss": (
        "AdaptiveLogSoftmaxWithLoss", "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "CosineEmbeddingLoss", "CrossEntropyLoss",
        "GaussianNLLLoss", "HingeEmbeddingLoss", "HuberLoss", "KLDivLoss", "L1Loss", "LinearCrossEntropyLoss", "MSELoss",
        "MarginRankingLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss", "MultiMarginLoss", "NLLLoss", "NLLLoss2d",
        "PoissonNLLLoss", "SmoothL1Loss", "SoftMarginLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss",
    ),
    "is no layer by itself: write a module in a file, FILE.py:NAME": (
        "Container", "DataParallel", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "Module", "ModuleDict", "ModuleList",
        "ParameterDict", "ParameterList", "RNNBase", "RNNCellBase", "SyncBatchNorm",
    ),
    "finds its sizes when it is called first: write them": (
        "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d",
        "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
        "LazyInstanceNorm3d", "LazyLinear",
    ),
})  # fmt: skip
"""Modules of torch.nn that can't stand in a network, by the reason that the user is told."""


@dataclass(frozen=True)
class Layer:
    """`Name(arguments)` as written. An argument is a literal, or a network again."""

    name: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    position: int = 0


@dataclass(frozen=True)
class Network:
    """Layers, the first one first."""

    layers: tuple[Layer, ...]


def parse_network(text: str) -> Network:
    """The network that a text describes; InputError, with a caret under the culprit, for anything else."""
    return _Translation(text).network()


class _Translation:
    """One run over one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.source = text.replace("\n", " ").replace("\r", " ").replace("\t", " ").replace("\f", " ").lstrip(" ")
        self.lead = len(text) - len(self.source)
        self.columns = Columns(self.source)

    def error(self, message: str, node: ast.AST | None = None) -> InputError:
        return InputError(message, self.text, self.position(node))

    def position(self, node: ast.AST | None) -> int:
        return self.lead + self.columns(getattr(node, "col_offset", 0))

    def network(self) -> Network:
        if not self.source:
            raise self.error("a network is missing here: write layers such as 'Linear(10, 5) | ReLU()'")
        if len(self.source) > MAX_LENGTH:
            raise self.error(f"the network has {len(self.source):,} characters; at most {MAX_LENGTH:,} are read")
        if "\0" in self.source:
            raise InputError("a null character", self.text, self.text.index("\0"))
        half = half_character(self.text)
        if half is not None:
            raise InputError(NO_TEXT, self.text, half)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # SyntaxWarning; the tree decides
                body = ast.parse(self.source, mode="eval").body
            return self.chain(body, 0)
        except SyntaxError as problem:
            column = problem.offset - 1 if problem.offset else len(self.source)
            rest = self.source[column:]
            message = (problem.msg or "").split(" (")[0].split(". ")[0]
            if message.startswith("invalid"):
                message = "the text ends too early" if not rest.strip("|=,( ") else "this is not a network"
            raise InputError(f"syntax error: {message}", self.text, self.lead + min(column, len(self.source))) from None
        except (RecursionError, MemoryError):
            raise self.error("the network is nested too deeply") from None
        except ValueError as problem:  # a number of thousands of digits
            raise self.error(str(problem).split(";")[0]) from None

    def chain(self, node: ast.AST, depth: int) -> Network:
        """`a | b | c`: a long left spine, walked in a loop."""
        later: list[ast.AST] = []
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            later.append(node.right)
            node = node.left
        return Network(tuple(layer for n in (node, *reversed(later)) for layer in self.layers(n, depth)))

    def layers(self, node: ast.AST, depth: int) -> tuple[Layer, ...]:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):  # in parentheses
            return self.chain(node, depth).layers
        return (self.layer(node, depth),)

    def layer(self, node: ast.AST, depth: int) -> Layer:
        if depth > MAX_DEPTH:
            raise self.error(f"the network is nested more than {MAX_DEPTH} levels deep", node)
        called = node.func if isinstance(node, ast.Call) else node
        name = self.name(called)
        arguments: list[Any] = []
        keywords: dict[str, Any] = {}
        if isinstance(node, ast.Call):
            arguments = [self.argument(a, depth + 1) for a in node.args]
            for keyword in node.keywords:
                if keyword.arg is None:
                    raise self.error("** arguments are not part of the language", keyword.value)
                if keyword.arg in ("device", "dtype"):
                    raise self.error(f"{keyword.arg} belongs to --{keyword.arg}", keyword.value)
                keywords[keyword.arg] = self.argument(keyword.value, depth + 1)
        end = getattr(node, "end_col_offset", 0)
        text = self.source[self.columns(getattr(node, "col_offset", 0)) : self.columns(end)]
        return Layer(name, tuple(arguments), keywords, text, self.position(node))

    def name(self, node: ast.AST) -> str:
        prefix, name = "", ""
        match node:
            case ast.Name(id=name):
                pass
            case ast.Attribute(attr=name, value=value):
                prefix = ast.unparse(value)
        if not name or (prefix and prefix not in PREFIXES):
            raise self.error("a layer is written Name(arguments), such as Linear(10, 5); | separates layers", node)
        if name in LAYERS:
            return name
        for reason, names in REFUSED.items():
            if name in names:
                raise self.error(f"{name} {reason}", node)
        folded = {n.lower(): n for n in LAYERS}
        near = [folded[m] for m in difflib.get_close_matches(name.lower()[:60], folded, n=3, cutoff=0.6)]
        hint = f"; nearest: {', '.join(near)}" if near else " (the names are those of torch.nn; your own is FILE.py:NAME)"
        raise self.error(f"unknown layer {name!r}{hint}", node)

    def argument(self, node: ast.AST, depth: int) -> Any:
        """A literal as Python means it, or a network."""
        if depth > MAX_DEPTH:
            raise self.error(f"the network is nested more than {MAX_DEPTH} levels deep", node)
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                if isinstance(value, int | float) and not abs(value) < math.inf:
                    raise self.error("this number is larger than any float", node)
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -value
            case ast.Tuple(elts=items):
                return tuple(self.argument(i, depth + 1) for i in items)
            case ast.List(elts=items):
                return [self.argument(i, depth + 1) for i in items]
            case ast.Call() | ast.Name() | ast.BinOp(op=ast.BitOr()):
                return self.chain(node, depth)
        raise self.error("an argument is a literal (a number, a string, True, None, a list) or a layer", node)
