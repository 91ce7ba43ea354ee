"""Formulas typeset: what is shown means what was written, in both notations, and no text leaves its place."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.language.functions import TABLE, Function
from gradcheck_cli.language.parser import definition, parse
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Constant, Node, Variable
from gradcheck_cli.output.typeset import Derivative, Equation, latex, mathml
from tests.every import every

_SIGNS = {"−": "-", "\u2062": "*", "·": "*", "×": "*", "\u2061": "", "⌊": "floor(", "⌋": ")"}
_CALLS = {"π": "pi", "max": "maximum", "min": "minimum"}


def read(element: ElementTree.Element) -> str:
    """What the signs on the page say, by the rules of school: Python's text of it. Knows nothing of how it was drawn."""
    parts = [read(child) for child in element]
    match element.tag:
        case "mfrac":
            return f"(({parts[0]})/({parts[1]}))"
        case "msup":
            return f"{parts[0]}**({parts[1]})" if re.fullmatch(r"[\w.]+|\(.*\)", parts[0]) else f"({parts[0]})**({parts[1]})"
        case "msqrt":
            return f"sqrt({''.join(parts)})"
        case "mn" | "mi" | "mo":
            text = (element.text or "").replace("−", "-")
            return _SIGNS.get(text, _CALLS.get(text, text))
    return "".join(parts)


def value(text: str) -> float:
    names = {name: getattr(math, name) for name in ("sin", "sqrt", "floor", "e", "pi")}
    names["exp"] = lambda x: math.e**x  # as it is drawn, to the last digit: a sine of a large number needs that
    text = re.sub(r"(?<![\w.])(?<!e-)(\d+)(?![\w.])", r"\1.0", text)  # no powers of whole numbers that never end
    try:
        found = eval(text, {"__builtins__": {}, **names, "x": 1.3, "y": 0.7, "z": 2.0})
    except (ArithmeticError, ValueError, TypeError):
        return math.nan
    return math.nan if isinstance(found, complex) else float(found)


leaves = st.one_of(
    st.sampled_from([Variable("x"), Variable("y"), Variable("z")]),
    st.sampled_from([Constant(2), Constant(0.5), Constant(3), Constant(1e-10), Call("e", ())]),
)


def trees() -> st.SearchStrategy[Node]:
    two = st.sampled_from(["add", "sub", "mul", "div", "pow"])
    one = st.sampled_from(["neg", "sqrt", "exp", "sin", "floor"])

    def grow(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        return st.one_of(st.builds(Call, two, st.tuples(inner, inner)), st.builds(Call, one, st.tuples(inner)))

    return st.recursive(leaves, grow, max_leaves=8)


@given(trees())
@settings(max_examples=300, deadline=None)
def test_the_page_says_what_was_written(tree: Node) -> None:
    """The value of what MathML shows, read by the rules of school, is the value of the formula: brackets, signs, dots."""
    if re.search(r"sin\(.*\)\*\*", show(tree) or ""):
        return  # sin²(x) has its exponent at the name: a test of its own
    shown = mathml(tree)
    if not shown.startswith("<math"):
        return
    expected, found = value(show(tree) or ""), value(read(ElementTree.fromstring(shown)))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-300, nan_ok=True), shown


@every(TABLE.values(), lambda row: row.name)
def test_every_row_is_typeset(row: Function) -> None:
    """A call of every row of the table, its definition, domain and kinks: well-formed MathML, balanced LaTeX."""
    call: Node = Call(
        row.name, tuple(Constant(p.default) if p.default is not None else Variable(p.name) for p in row.parameters)
    )
    if row.name in ("index", "index_at"):
        call = parse("x[0, 1:]" if row.name == "index" else "x[[0, 2], t, 1:]")
    formulas = [call, *([definition(row.name)] if row.definition else []), *filter(None, (row.domain, row.kinks))]
    for formula in formulas:
        assert ElementTree.fromstring(mathml(formula)).tag == "math", formula
        text = latex(formula)
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}"), text
        left, right = (len(re.findall(rf"\\{side}(?![a-z])", text)) for side in ("left", "right"))
        assert left == right, text
        assert "texttt" not in text, text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x/(1 + exp(-x))", r"\frac{x}{1 + e^{-x}}"),
        ("z**2+2*z+2", r"z^{2} + 2 \, z + 2"),
        ("x - x", "x - x"),
        ("x**0 + x/x", r"x^{0} + \frac{x}{x}"),
        ("sin(x)**2", r"\sin^{2}\left(x\right)"),
        ("-x/2", r"-\frac{x}{2}"),
        ("x - -y", r"x - \left(-y\right)"),
        ("x**(1/3)", "x^{1/3}"),
        ("(x**y)**z", r"{\left(x^{y}\right)}^{z}"),
        ("1e-10*x", r"10^{-10} \, x"),
        ("2*3", r"2 \cdot 3"),
        ("x*(y + 1)", r"x \cdot \left(y + 1\right)"),
        ("beta_max*x[0]", r"\beta_{\mathrm{max}} \, x_{0}"),
        ("loss*rate", r"\mathrm{loss} \cdot \mathrm{rate}"),
        ("0 < x < 1", "0 < x < 1"),
        ("abs(x)", r"\left|x\right|"),
        ("where(x <= 0, exp(x), 1 + x)", r"\begin{cases}e^{x} & \text{if }x \le 0 \\ 1 + x & \mathrm{otherwise}\end{cases}"),
        ("where(x > 0, x, 0) + 1", r"\left(\begin{cases}x & \text{if }x > 0 \\ 0 & \mathrm{otherwise}\end{cases}\right) + 1"),
        ("exp(where(x > 0, x, 0))", r"\exp\left(\begin{cases}x & \text{if }x > 0 \\ 0 & \mathrm{otherwise}\end{cases}\right)"),
        ("softmax(x, dim=1)", r"\operatorname{softmax}\left(x, \mathrm{dim} = 1\right)"),
        ("sum(x**2, dim=1)", r"\sum_{\mathrm{dim} = 1}x^{2}"),
        ("A.T @ x", r"A^{\top } \, x"),
        ("norm(x, 1)", r"\left\|x\right\|_{1}"),
        ("besselj(0, x)", r"J_{0}\left(x\right)"),
    ],
)
def test_as_a_mathematician_writes(text: str, expected: str) -> None:
    """The terms in the order in which they were written, nothing simplified."""
    assert latex(text) == expected


def test_names_that_would_look_the_same_are_written_out() -> None:
    """x1 is drawn as x with an index, unless another name would be drawn so, or x has entries of its own."""
    assert latex("x1 + y") == "x_{1} + y"
    assert latex("x1 + x_1") == r"\mathrm{x1} + \mathrm{x\_1}"
    assert latex("x1 + x[1]") == r"\mathrm{x1} + x_{1}"


def test_derivatives_and_equations() -> None:
    """A derivative is a fraction; names of a report (`<v,y>`, `0.weight[1,2]`) are drawn too."""
    assert latex(Derivative("y", ("x", "x"))) == r"\frac{\mathrm{d}^{2}y}{\mathrm{d}x\mathrm{d}x}"
    assert latex(Derivative("<v,y>", ("x[0]",))) == r"\frac{\mathrm{d}\left\langle v, y\right\rangle }{\mathrm{d}x_{0}}"
    assert latex(Equation((Derivative("y", ("0.weight[1,2]",)), "2*x"))).endswith(
        r"{\mathrm{d}\mathrm{0.weight}_{1, 2}} = 2 \, x"
    )
    assert ElementTree.fromstring(mathml(Derivative("<v,y>", ("x[0]",)))).tag == "math"


HOSTILE = ["<script>alert(1)</script>", "\u202egnp", r"\input{/etc/passwd}", '" onload="x', "x" * 5_000, "+".join("x" * 600)]


@pytest.mark.parametrize("text", [*HOSTILE, "(" * 300 + "x" + ")" * 300, "-" * 3_000 + "x", "x if"])
def test_what_is_no_formula_is_code(text: str) -> None:
    """Text that isn't a formula, or is too long for one, is shown as it is, escaped, in both notations."""
    shown = mathml(text)
    assert shown.startswith("<code>") or len(text) == 601, shown[:80]
    assert "<script" not in shown and "\u202e" not in shown and "<math" not in shown
    paper = latex(text)
    assert not re.search(r"\\(?!texttt|text\w+\{\}|[#$%&_{}])", paper), paper[:80]
    assert "\u202e" not in paper


@pytest.mark.parametrize("name", [*HOSTILE[:4], "a.b[0]", "<v,<script>>", "[", "]", "x[", ""])
def test_a_name_stays_in_its_place(name: str) -> None:
    """Names of layers and files come from the user: nothing in them is markup or a command."""
    shown = mathml(Derivative(name, (name, "x")))
    assert ElementTree.fromstring(shown).tag == "math"
    assert "<script" not in shown and "\u202e" not in shown
    assert "\\input" not in latex(Derivative(name, ("x",)))
