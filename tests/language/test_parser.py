"""The language: what pasted code means, and the whole message for everything that isn't in it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.errors import InputError
from gradcheck_cli.language.functions import NAMES, NUMBERED, PAIRS, TABLE
from gradcheck_cli.language.parser import MAX_LENGTH, parse, parse_stage
from gradcheck_cli.language.tree import Call, Constant, Node, Variable, walk
from tests.counting import count_calls

X, A = Variable("x"), Variable("A")


def call(function: str, *arguments: Any) -> Call:
    return Call(function, tuple(a if isinstance(a, Node) else Constant(a) for a in arguments))


def at(array: Node, *places: Any) -> Call:
    return call("index", array, places)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("x", X), ("1", Constant(1)), ("1.0", Constant(1.0)), ("-1", Constant(-1)), ("0.1", Constant(0.1)), ("(x)", X),
        ("x+1", call("add", X, 1)), ("x-1-2", call("sub", call("sub", X, 1), 2)), ("-x", call("neg", X)),
        ("x**2", call("pow", X, 2)), ("-x**2", call("neg", call("pow", X, 2))), ("x/2", call("div", X, 2)),
        ("x**0", call("pow", X, 0)), ("x/x", call("div", X, X)), ("+x", X), ("x//2", call("floor_divide", X, 2)),
        ("x % 2", call("remainder", X, 2)), ("pi", call("pi")), ("math.pi*x", call("mul", call("pi"), X)),
        ("torch.sin(x)", call("sin", X)), ("F.silu(x)", call("silu", X)), ("math.sqrt(x)", call("sqrt", X)),
        ("np.exp(x)", call("exp", X)), ("x.sin()", call("sin", X)), ("x.pow(2)", call("pow", X, 2)),
        ("torch.special.erfcx(x)", call("erfcx", X)), ("ln(x)", call("log", X)), ("Abs(x)", call("abs", X)),
        ("arcsin(x)", call("asin", X)), ("expit(x)", call("sigmoid", X)), ("beta", Variable("beta")),
        ("S*N", call("mul", Variable("S"), Variable("N"))),
        ("Max(x, 1, 2)", call("maximum", call("maximum", X, 1), 2)),
        ("where(x > 0, x, 0)", call("where", call("gt", X, 0), X, 0)),
        ("Piecewise((x, x > 0), (0, True))", call("where", call("gt", X, 0), X, 0)),
        ("where(0 < x <= 1, x, 0)", call("where", call("logical_and", call("lt", 0, X), call("le", X, 1)), X, 0)),
        ("where(not x > 0, x, 0)", call("where", call("logical_not", call("gt", X, 0)), X, 0)),
        ("F.gelu(x, approximate='tanh')", call("gelu_tanh", X)), ("F.gelu(x, approximate='none')", call("gelu", X)),
        ("leaky_relu(x, 0.2)", call("leaky_relu", X, 0.2)), ("leaky_relu(x)", call("leaky_relu", X, 0.01)),
        ("leaky_relu(input=x, negative_slope=0.2)", call("leaky_relu", X, 0.2)),
        ("besselj(0, x)", call("besselj", 0, X)), ("sin(\n x)", call("sin", X)),
        ("[x, 2]", call("stack", X, 2, 0)), ("[[1], [x]]", call("stack", call("stack", 1, 0), call("stack", X, 0), 0)),
        ("x[0]", at(X, 0)), ("x[-1]", at(X, -1)), ("x[1:]", at(X, (1, None, None))), ("x[::2]", at(X, (None, None, 2))),
        ("A[0][1]", at(at(A, 0), 1)), ("A[:, 2]", at(A, (None, None, None), 2)), ("x[None, ...]", at(X, None, ...)),
        ("A @ x", call("matmul", A, X)), ("A.T", call("t", A)), ("A.T.sum()", call("sum", call("t", A), (), False)),
        ("A.H", call("conj", call("t", A))), ("A.mT", call("transpose", A, -2, -1)),
        ("x.imag*A.real.sum()", call("mul", call("imag", X), call("sum", call("real", A), (), False))),
        ("x.sum(dim=0)", call("sum", X, 0, False)), ("np.sum(x, axis=(0, 1))", call("sum", X, (0, 1), False)),
        ("torch.max(x)", call("max", X, (), False)), ("max(x, 0)", call("maximum", X, 0)),
        ("x.max(dim=1).values", call("max", X, 1, False)), ("x.var(unbiased=False)", call("var", X, (), 0, False)),
        ("cat([x, A], dim=1)", call("cat", X, A, 1)), ("A.reshape(2, -1)", call("reshape", A, (2, -1))),
        ("F.mse_loss(x, A, reduction='sum')", call("mse_loss", X, A, "sum")),
        ("torch.norm(x, p=inf)", call("norm", X, call("inf"), (), False)), ("softmax(x)", call("softmax", X, -1)),
    ],
)  # fmt: skip
def test_trees(text: str, tree: Node) -> None:
    """Names of torch, NumPy, math and SymPy mean one function; nothing is simplified. Settings are literals."""
    assert parse(text) == tree


ERRORS = [
    ("", "an expression is missing here\n  \n  ^"),
    ("x+", "syntax error: the expression ends too early\n  x+\n    ^"),
    ("(x", "syntax error: '(' was never closed\n  (x\n  ^"),
    ("x)", "syntax error: unmatched ')'\n  x)\n   ^"),
    ("x y", "syntax error: this is not an expression\n  x y\n    ^"),
    ("2x", "syntax error: a number runs into a name: is a '*' missing?\n  2x\n  ^"),
    ("x; y", "syntax error: this is not an expression\n  x; y\n   ^"),
    ("import os", "syntax error: this is not an expression\n  import os\n  ^"),
    ("x^2", "'^' is not a power here: write '**'\n  x^2\n   ^"),
    ("1j*x", "complex numbers are not supported here: this is a formula of real ones\n  1j*x\n  ^"),
    ("sinn(x)", "unknown function 'sinn'; nearest: sin, sinh, sinc\n  sinn(x)\n  ^"),
    ("2*Sigmod(x)", "unknown function 'Sigmod'; nearest: sigmoid, logsigmoid, log_sigmoid\n  2*Sigmod(x)\n    ^"),
    ("qqqqqq(x)", "unknown function 'qqqqqq'; `gradcheck functions` lists the known ones\n  qqqqqq(x)\n  ^"),
    (
        "__import__('os')",
        "syntax error: '__import__' is not part of the language\n  __import__('os')\n  ^",
    ),
    ("x.__class__", "syntax error: an attribute that is not called is not part of the language\n  x.__class__\n  ^"),
    ("x.__class__()", "syntax error: attributes are not part of the language\n  x.__class__()\n  ^"),
    ("a.b.c(x)", "syntax error: attributes are not part of the language\n  a.b.c(x)\n  ^"),
    ("(lambda: x)()", "syntax error: only named functions can be called\n  (lambda: x)()\n   ^"),
    ("lambda: x", "syntax error: a lambda is not part of the language\n  lambda: x\n  ^"),
    ("f'{x}'", "syntax error: an f-string is not part of the language\n  f'{x}'\n  ^"),
    ("[x for x in y]", "syntax error: a comprehension is not part of the language\n  [x for x in y]\n  ^"),
    ("x, 1", "syntax error: a tuple is not part of the language: write a list, [a, b]\n  x, 1\n  ^"),
    ("[]", "an empty list has no shape\n  []\n  ^"),
    ("[x > 0]", "a number is needed here, not a condition\n  [x > 0]\n   ^"),
    ("x[True]", "an index is a whole number, a slice, a list of whole numbers, None or ...\n  x[True]\n    ^"),
    (
        "x[[True, False]]",
        "an index is a list of places, not of truth values: write [0, 2] for [True, False, True]\n  x[[True, False]]\n    ^",
    ),
    ("x.chunk(2)", "torch's chunk returns several tensors: write the place of one behind it, [0]\n  x.chunk(2)\n  ^"),
    ("x.unbind()[y]", "unbind needs a whole number for 'place'\n  x.unbind()[y]\n             ^"),
    ("x[1.5]", "an index is a whole number, a slice, a list of whole numbers, None or ...\n  x[1.5]\n    ^"),
    ("x[::-1]", "an index is read forwards: torch has no steps below 1\n  x[::-1]\n    ^"),
    ("x[-y]", "an index is a whole number, a slice, a list of whole numbers, None or ...\n  x[-y]\n    ^"),
    ("x[(y > 0) + 1]", "a number is needed here, not a condition\n  x[(y > 0) + 1]\n     ^"),
    ("eye(x)", "eye needs a whole number for 'n'\n  eye(x)\n      ^"),
    (
        "tensor([x, 1])",
        "tensor makes a constant of what it is given: write the list itself, or detach it\n  tensor([x, 1])\n         ^",
    ),
    ("x.max(1)[2]", "torch returns values, indices: write one of them before the index, .values\n  x.max(1)[2]\n  ^"),
    ("sort(x)[:1]", "torch returns values, indices: write one of them before the index, .values\n  sort(x)[:1]\n  ^"),
    (
        "np.sort(x)[0]",
        "torch returns values, indices where NumPy returns an array: write .values before the index\n  np.sort(x)[0]\n  ^",
    ),
    ("sort(x).indices", "indices of sort has no derivative, and none is followed\n  sort(x).indices\n  ^"),
    ("svd(A).V", "torch returns U, S, Vh, and no V\n  svd(A).V\n  ^"),
    ("A.svd()[2]", "torch.svd returns V where linalg.svd returns Vh: write `linalg.svd(A)`\n  A.svd()[2]\n  ^"),
    ("torch.lu(A)[0]", "torch.lu returns L and U in one matrix: write `linalg.lu(A)`\n  torch.lu(A)[0]\n  ^"),
    ("linalg.qr(A)", "torch's qr returns Q, R: write .Q or .R behind it\n  linalg.qr(A)\n  ^"),
    (
        "x.max(0)",
        "torch's max with a dimension returns values, indices: write .values behind it; the larger or smaller of two numbers "
        "is maximum(a, b)\n  x.max(0)\n  ^",
    ),
    ("cat(x)", "cat takes a list of arrays: cat([x, y])\n  cat(x)\n      ^"),
    ("sum(x, dim=y)", "sum needs a whole number for 'dim'\n  sum(x, dim=y)\n             ^"),
    ("sum(x, keepdim=1)", "sum needs True or False for 'keepdim'\n  sum(x, keepdim=1)\n                 ^"),
    (
        "mse(x, y, reduction='max')",
        "mse_loss needs one of 'mean', 'sum', 'none', 'batchmean' for 'reduction'\n"
        "  mse(x, y, reduction='max')\n                      ^",
    ),
    ("x << 2", "syntax error: this operator is not part of the language\n  x << 2\n       ^"),
    ("x is y", "syntax error: this comparison is not part of the language\n  x is y\n       ^"),
    (
        "x if x > 0 else 1",
        "syntax error: an if-else is not part of the language: use where(condition, a, b)\n  x if x > 0 else 1\n  ^",
    ),
    ("'a'", "syntax error: a string is not part of the language: a number is needed here\n  'a'\n  ^"),
    ("None", "syntax error: None is not part of the language: a number is needed here\n  None\n  ^"),
    ("...", "syntax error: '...' is not part of the language: a number is needed here\n  ...\n  ^"),
    ("'a", "syntax error: unterminated string literal\n  'a\n  ^"),
    ("sin()", "argument 'x' is missing: sin(x)\n  sin()\n  ^"),
    ("sin(x, y)", "too many arguments: sin(x)\n  sin(x, y)\n         ^"),
    ("sin(x, out=y)", "unknown argument 'out': sin(x)\n  sin(x, out=y)\n             ^"),
    ("sin(*x)", "syntax error: a starred argument is not part of the language\n  sin(*x)\n      ^"),
    ("sin(**x)", "syntax error: ** arguments are not part of the language\n  sin(**x)\n        ^"),
    ("where(x, 1, 2)", "a condition is needed here, such as x > 0\n  where(x, 1, 2)\n        ^"),
    ("1 + (x > 0)", "a number is needed here, not a condition\n  1 + (x > 0)\n       ^"),
    ("polygamma(x, x)", "polygamma needs a whole number for 'n'\n  polygamma(x, x)\n            ^"),
    ("polygamma(-1, x)", "polygamma takes 'n' from 0 to 1000\n  polygamma(-1, x)\n            ^"),
    (
        "leaky_relu(x, x)",
        "leaky_relu needs a number for 'negative_slope', not a variable\n  leaky_relu(x, x)\n                ^",
    ),
    (
        "gelu(x, approximate='foo')",
        "gelu has no approximate='foo'\n  gelu(x, approximate='foo')\n                      ^",
    ),
    ("Piecewise((x, x > 0))", "Piecewise needs a last pair (value, True)\n  Piecewise((x, x > 0))\n  ^"),
    ("1e999*x", "this number is larger than any float\n  1e999*x\n  ^"),
    ("é + $", "syntax error: this is not an expression\n  é + $\n      ^"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS, ids=[text for text, _ in ERRORS])
def test_errors(text: str, message: str) -> None:
    """Every refusal is one line, the text and a caret under the culprit."""
    with pytest.raises(InputError) as caught:
        parse(text)
    assert str(caught.value) == message


BOUNDS = [
    ("x" * 100_000, "the expression has 100,000 characters; at most 20,000 are read"),
    ("(" * 1000 + "x" + ")" * 1000, "syntax error: too many nested parentheses"),
    ("sin(" * 180 + "x" + ")" * 180, "the expression is nested more than 150 levels deep"),
    ("-" * 5000 + "x", "the expression is nested"),
    ("+".join(["sin(x)"] * 1900), "the expression has more than 5,000 operations"),
    ("9" * 5000, "syntax error: a number of thousands of digits"),
    ("9" * 400, "this number is larger than any float"),
]


@pytest.mark.parametrize(("text", "message"), BOUNDS, ids=lambda text: text[:20])
def test_bounds(text: str, message: str) -> None:
    """Whatever is too long, too deep or too large is refused, with no more work than the largest formula takes that is read."""
    with pytest.raises(InputError) as caught:
        parse(text)
    assert caught.value.message.startswith(message)
    assert max(len(line) for line in str(caught.value).splitlines()) < 100

    def refused() -> None:
        with suppress(InputError):
            parse(text)

    assert count_calls(refused) < 150_000


@pytest.mark.parametrize("text", ["9**9**9**9*x", "factorial(10**9)*x", "exp(exp(exp(x)))"])
def test_huge_powers_are_not_computed(text: str) -> None:
    """The parser only builds nodes."""
    assert sum(1 for _ in walk(parse(text))) < 20


def test_long_sums_cost_no_depth() -> None:
    """A sum of a thousand terms is no deeper than one of two."""
    assert isinstance(parse("+".join(["x"] * 2000)), Call)


def test_a_stage_may_have_a_name() -> None:
    """`name = expression`; `==` and keyword arguments are no assignments."""
    assert parse_stage("z = 2*x") == ("z", call("mul", Constant(2), X))
    assert parse_stage("where(x == 1, 2, 3)")[0] is None
    assert parse_stage("leaky_relu(x, negative_slope=0.1)")[0] is None


def test_every_name_of_the_table_is_called() -> None:
    """Each name and alias leads to its row."""
    for name, row_name in NAMES.items():
        row = TABLE[row_name]
        examples = {
            "truth": "x > 0", "integer": "1", "number": "1", "axis": "0", "axes": "0", "sizes": "(0,)", "trailing": "(2,)",
            "counts": "2, 3", "whole": "1", "constants": "[1, 2]", "flag": "True", "reduction": "'sum'",
            "mode": "'reduced'", "padding": "'reflect'", "order": "'fro'",
        }  # fmt: skip
        if row_name in ("index", "index_at"):
            continue  # written with brackets
        if row_name in NUMBERED:
            part = parse(f"{name}(x)[1]" if row.name == "unbind" else f"{name}(x, 2)[1]")
            assert isinstance(part, Call)
            assert part.function == row_name
            continue
        if row.name == "einsum":
            assert (
                parse("einsum('i,i', x, y)")
                == parse("einsum('i,i', [x, y])")
                == Call(name, (X, Variable("y"), Constant("i,i")))
            )
            continue
        if row.parameters and row.parameters[0].variadic:
            rest = [Constant(p.default) for p in row.parameters[1:]]
            assert parse(f"{name}([x, y])") == Call(row_name, (X, Variable("y"), *rest))
            continue
        arguments = [examples.get(p.kind, "x") for p in row.parameters]
        arguments = arguments[:1] if row_name in PAIRS else arguments  # max(x, y) is maximum
        inside = ", ".join(arguments)
        text = row.called(inside) if name == row.name else f"{name}({inside})"
        text = text if row.parameters else name
        tree = parse(text)
        assert isinstance(tree, Call)
        assert tree.function == row_name


@settings(max_examples=500)
@given(st.text(max_size=60) | st.text(alphabet="xyz0123456789.+-*/%^()[]{},=<>!&|@~'\" \n_ejsinwhrtoapM", max_size=80))
@pytest.mark.slow(reason="hundreds of texts")
def test_any_text_is_a_tree_or_an_input_error(text: str) -> None:
    """Nothing but InputError comes out, whatever is typed, and the quoted text is short and printable."""
    for read in (parse, parse_stage):
        try:
            read(text)
        except InputError as problem:
            message = str(problem)
            assert all(c.isprintable() for line in message.split("\n") for c in line)
            assert len(text) <= MAX_LENGTH
