"""Every layer of the table is seen to work: its derivatives are found right, and torch's own defects are found."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from gradcheck_cli import check_model
from gradcheck_cli.networks.layers import LAYERS, Network, parse_network

Options = dict[str, Any]

INPUTS = {1: "2,3", 2: "1,3,3", 3: "1,2,2,2"}
"""A small image of so many dimensions."""

TRAIN: Options = {"train": True}

WHOLE: Options = {"layer": "0", "cotangent": "random", "wrt": "all"}
"""Not the layers inside: they are tried by themselves."""

CASES: list[tuple[str, Options]] = [
    # -- layers with weights
    ("Linear(3, 2)", {}), ("Linear(3, 2, bias=False)", {}), ("Bilinear(2, 3, 2)", {}), ("Embedding(5, 3)", {}),
    ("EmbeddingBag(5, 3)", {}), ("Conv1d(2, 3, 2)", {"input": "2,3"}), ("Conv2d(1, 2, 2)", {"input": "1,3,3"}),
    ("Conv2d(2, 4, 3, stride=2, padding=1, groups=2, dilation=2)", {"input": "2,3,3"}),
    ("Conv2d(1, 2, 3, padding=1, padding_mode='circular')", {"input": "1,3,3"}), ("Conv3d(1, 2, 2)", {"input": "1,2,2,2"}),
    ("ConvTranspose1d(2, 3, 2, stride=2)", {"input": "2,3"}), ("ConvTranspose2d(1, 2, 2)", {"input": "1,3,3"}),
    ("ConvTranspose3d(1, 1, 2)", {"input": "1,2,2,2"}), ("RNN(2, 3)", {}), ("RNN(2, 3, nonlinearity='relu')", {}),
    ("LSTM(2, 3)", {}), ("LSTM(2, 2, num_layers=2, bidirectional=True, proj_size=1)", {}), ("GRU(2, 3)", {}),
    ("RNNCell(2, 3)", {}), ("LSTMCell(2, 3)", {}), ("GRUCell(2, 3)", {}), ("MultiheadAttention(4, 2)", {}),
    ("Linear(4, 4) | MultiheadAttention(4, 2)", {"input": "2,4"}), ("TransformerEncoderLayer(2, 1, 2)", {"input": "2,2"}),
    ("Transformer(2, 1, 1, 1, 2)", {"input": ["2,2", "2,2"], **WHOLE}),
    ("TransformerDecoderLayer(2, 1, 2)", {"input": ["2,2", "2,2"], **WHOLE}),
    # -- what takes networks
    ("Sequential(Linear(3, 2), Tanh())", {}), ("Residual(Linear(3, 3) | Tanh())", {}),
    ("TransformerEncoder(TransformerEncoderLayer(2, 1, 2), 1)", {"input": "2,2", **WHOLE}),
    ("TransformerDecoder(TransformerDecoderLayer(2, 1, 2), 1)", {"input": ["2,2", "2,2"], **WHOLE}),
    # -- normalization
    ("BatchNorm1d(3)", {}), ("BatchNorm1d(3)", TRAIN), ("BatchNorm2d(2)", {}), ("BatchNorm2d(2)", TRAIN),
    ("BatchNorm3d(1)", {}), ("BatchNorm3d(1)", TRAIN), ("InstanceNorm1d(2)", {}), ("InstanceNorm2d(2)", {}),
    ("InstanceNorm2d(2, affine=True, track_running_stats=True)", {}), ("InstanceNorm3d(1)", {}), ("LayerNorm(4)", {}),
    ("LayerNorm([2, 3])", {}), ("RMSNorm(4)", {}), ("GroupNorm(2, 4)", {}), ("LocalResponseNorm(2)", {"input": "1,3,4"}),
    # -- entry by entry, or along the last axis
    *((name, {}) for name in (
        "CELU", "ELU", "GELU", "GELU('tanh')", "GLU", "Hardshrink", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid",
        "LogSoftmax(-1)", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax(-1)", "Softmin(-1)",
        "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold(0.1, 20)", "Identity", "Flatten(0)",
        "Dropout", "AlphaDropout", "FeatureAlphaDropout",
    )),
    ("ReLU(inplace=True)", {}), ("Linear(3, 3) | ReLU(inplace=True) | Tanh()", {}), ("RReLU", TRAIN),
    ("Dropout(0.4)", TRAIN), ("AlphaDropout(0.3)", TRAIN), ("FeatureAlphaDropout(0.3)", {"input": "2,3", **TRAIN}),
    # -- images and the like
    *((f"Dropout{d}d(0.4)", {"input": f"2,{INPUTS[d]}", **TRAIN}) for d in INPUTS),
    *((f"{kind}Pad{d}d(1)", {"input": INPUTS[d]}) for kind in ("Circular", "Reflection", "Replication") for d in INPUTS),
    *((f"ZeroPad{d}d(1)", {"input": INPUTS[d]}) for d in INPUTS),
    *((f"ConstantPad{d}d(1, 2.5)", {"input": INPUTS[d]}) for d in INPUTS),
    *((f"{kind}{d}d(2)", {"input": INPUTS[d]}) for kind in ("AvgPool", "MaxPool") for d in INPUTS),
    *((f"Adaptive{kind}Pool{d}d(2)", {"input": INPUTS[d]}) for kind in ("Avg", "Max") for d in INPUTS),
    *((f"LPPool{d}d(2, 2)", {"input": INPUTS[d]}) for d in INPUTS),
    ("MaxPool2d(3, stride=1, padding=1)", {"input": "1,3,3"}), ("FractionalMaxPool2d(2, output_size=2)", {"input": "1,4,4"}),
    ("FractionalMaxPool3d(2, output_size=1)", {"input": "1,3,3,3"}), ("Softmax2d", {"input": "2,2,2"}),
    ("Upsample(scale_factor=2)", {"input": "1,1,2,2"}), ("Upsample(scale_factor=2, mode='bilinear')", {"input": "1,1,2,2"}),
    ("UpsamplingBilinear2d(scale_factor=2)", {"input": "1,1,2,2"}),
    ("UpsamplingNearest2d(scale_factor=2)", {"input": "1,1,2,2"}), ("PixelShuffle(2)", {"input": "4,1,2"}),
    ("PixelUnshuffle(2)", {"input": "1,2,4"}), ("ChannelShuffle(2)", {"input": "1,4,1,2"}), ("Fold(3, 2)", {"input": "4,4"}),
    ("Unfold(2)", {"input": "1,1,3,3"}), ("Unflatten(0, (2, 2))", {"input": "4"}),
    # -- of two tensors
    ("CosineSimilarity(0)", {}), ("PairwiseDistance()", {}),
]  # fmt: skip

DEFECTS: list[tuple[str, Options, str]] = [
    ("Hardsigmoid", {}, "kernel"),
    ("CrossMapLRN2d(3, alpha=1)", {"input": "1,4,1,2"}, "formula"),
]
"""Layers whose backward in torch 2.13 is wrong: 1/6 is a float of 32 bits in one, the other loses terms (torch's own gradcheck,
with alpha=1, says so too)."""


def written(text: str) -> set[str]:
    """The names in a network."""
    found: set[str] = set()
    waiting: list[Any] = [parse_network(text)]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Network):
            for layer in item.layers:
                found.add(layer.name)
                waiting += [*layer.arguments, *layer.keywords.values()]
    return found


def test_every_layer_is_tried() -> None:
    """The cases here are the whole table."""
    assert set().union(*(written(text) for text, *_ in (*CASES, *DEFECTS))) == set(LAYERS)


@pytest.mark.parametrize(("text", "options"), CASES, ids=[f"{text}{'-train' * ('train' in o)}" for text, o in CASES])
@pytest.mark.slow(reason="every kind of layer")
def test_a_layer_is_right(text: str, options: Options) -> None:
    """Torch differentiates it right, by its inputs and its parameters, and it is found so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's advice on settings
        report = check_model(text, **options)
    assert report.exit_code == 0, str(report)
    assert report.counts.get("match", 0) > 0


@pytest.mark.parametrize(("text", "options", "cause"), DEFECTS, ids=[text for text, *_ in DEFECTS])
def test_a_defect_of_torch_is_found(text: str, options: Options, cause: str) -> None:
    """What is wrong in torch is not passed."""
    report = check_model(text, **options)
    assert report.exit_code == 1
    assert {check.cause for check in report.checks if check.verdict == "mismatch"} == {cause}


def test_what_one_layer_overwrites_of_another() -> None:
    """ELU(inplace=True) overwrites what ReLU's backward needs: torch refuses to differentiate the network as it stands, though
    it wouldn't where the layers are looked into."""
    wrong = [c for c in check_model("Linear(3, 3) | ReLU(inplace=True) | ELU(inplace=True)").checks if c.verdict == "mismatch"]
    assert {c.cause for c in wrong} == {"no_gradient"}
    assert "has been modified by an inplace operation" in str(wrong[0].detail)
