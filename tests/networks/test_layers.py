"""Networks as text: what they mean, what is refused, and that the table of layers is whole."""

from __future__ import annotations

import inspect

import pytest

from gradcheck_cli.errors import InputError
from gradcheck_cli.networks.layers import LAYERS, REFUSED, Layer, Network, parse_network
from tests.counting import count_calls


def names(network: Network) -> list[str]:
    return [layer.name for layer in network.layers]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Linear(10, 5) | ReLU()", ["Linear", "ReLU"]),
        ("nn.Linear(10, 5) | torch.nn.ReLU | Tanh", ["Linear", "ReLU", "Tanh"]),
        ("(Linear(1, 2) | ReLU) | Tanh", ["Linear", "ReLU", "Tanh"]),
        ("Linear(1, 2) | (ReLU | Tanh)", ["Linear", "ReLU", "Tanh"]),
        ("  Linear(1,\n 2)\n| ReLU", ["Linear", "ReLU"]),
    ],
)
def test_layers_in_order(text: str, expected: list[str]) -> None:
    """Bars separate layers; prefixes of pasted code, missing parentheses and line breaks are no matter."""
    assert names(parse_network(text)) == expected


def test_arguments_are_literals() -> None:
    """Numbers, strings, True, None, tuples, lists and signs mean what they mean in Python."""
    (layer,) = parse_network("Conv2d(1, 2, (3, 5), padding='same', bias=True, stride=-1, x=[1.5, None])").layers
    assert layer.arguments == (1, 2, (3, 5))
    assert layer.keywords == {"padding": "same", "bias": True, "stride": -1, "x": [1.5, None]}


def test_arguments_are_networks() -> None:
    """A layer takes networks, in bars or in commas."""
    (residual,) = parse_network("Residual(Linear(4, 4) | ReLU())").layers
    assert isinstance(residual.arguments[0], Network)
    assert names(residual.arguments[0]) == ["Linear", "ReLU"]
    (sequential,) = parse_network("Sequential(Linear(4, 4), ReLU)").layers
    assert [names(a) for a in sequential.arguments] == [["Linear"], ["ReLU"]]


def test_a_layer_knows_its_text() -> None:
    """As it was typed, with its place: errors point there."""
    _, second = parse_network("Linear(10, 5) | ELU(alpha = 2)").layers
    assert second == Layer("ELU", (), {"alpha": 2}, "ELU(alpha = 2)", 16)


@pytest.mark.parametrize(
    ("text", "message", "caret"),
    [
        ("", "a network is missing here", 0),
        ("Linear(10, 5) | Liner(5, 5)", "unknown layer 'Liner'; nearest: Linear", 16),
        ("Relu()", "nearest: ReLU", 0),
        ("Frobnicate()", "the names are those of torch.nn; ", 0),
        ("Linear(10, 5", "'(' was never closed", 6),
        ("Linear(10, 5) |", "ends too early", 15),
        ("ReLU() || Tanh()", "this is not a network", 8),
        ("2*x", "a layer is written Name(arguments)", 0),
        ("Linear(10, 5) + ReLU()", "a layer is written Name(arguments)", 0),
        ("os.system('x')", "a layer is written Name(arguments)", 0),
        ("__import__('os').system('x')", "a layer is written Name(arguments)", 0),
        ("Linear(10, __import__('os'))", "unknown layer '__import__'", 11),
        ("Linear(10, 2*5)", "an argument is a literal", 11),
        ("Linear(10, (lambda: 5)())", "a layer is written Name(arguments)", 12),
        ("Linear(10, [i for i in (1,)])", "an argument is a literal", 11),
        ("Linear(*[1, 2])", "an argument is a literal", 7),
        ("Linear(**{})", "** arguments", 9),
        ("Linear(10, 5, dtype='float32')", "dtype belongs to --dtype", 20),
        ("Linear(1e999, 1)", "larger than any float", 7),
        ("MSELoss()", "MSELoss is a loss: it belongs to --loss", 0),
        ("LazyLinear(3)", "write them", 0),
        ("ModuleList()", "write a module in a file", 0),
        ("Residual(" * 60 + "ReLU" + ")" * 60, "more than 50 levels", 459),
        ("ReLU | " * 3000 + "ReLU", "at most 20,000 are read", 0),
        ("Linear(10, 5)\0", "null", 13),
        ("Linear('é', 5) | \udcff", "bytes that aren't UTF-8", 17),
        ("Linear('é', 5) | Liner(5)", "unknown layer 'Liner'", 17),
    ],
)
def test_what_is_refused(text: str, message: str, caret: int) -> None:
    """One line that says why, with a caret under the culprit; nothing is executed."""
    with pytest.raises(InputError) as caught:
        parse_network(text)
    assert message in caught.value.message
    assert caught.value.position == caret


@pytest.mark.parametrize("layer", ["Linear(1,1)", "Residual(ReLU|ReLU)", "GELU('é')"])
def test_the_time_is_that_of_the_length(layer: str) -> None:
    """Twice the layers take twice the calls; the place and the text of each are found without reading the others."""
    short, long = ("|".join([layer] * count) for count in (100, 200))
    assert count_calls(lambda: parse_network(long)) < 2.2 * count_calls(lambda: parse_network(short))
    assert [found.text for found in parse_network(long).layers] == [layer] * 200


def test_every_module_of_torch_has_a_place() -> None:
    """Each public module of torch.nn is a layer, or refused with a reason; and no name is made up but Residual."""
    from torch import nn

    there = {n for n, c in vars(nn).items() if inspect.isclass(c) and issubclass(c, nn.Module)}
    refused = {name for names in REFUSED.values() for name in names}
    newer = {"LinearCrossEntropyLoss"}  # than the lowest torch that we take
    assert there <= {*LAYERS, *refused} - {"Residual"} <= there | newer
    assert not LAYERS.keys() & refused
