"""Lessons: their numbers are the derivatives, the torch code runs as it is printed, and bad input is one line."""

from __future__ import annotations

import ast
import contextlib
import io
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mpmath import mp

import gradcheck_cli
from gradcheck_cli import InputError, Lesson, check_grad, explain
from gradcheck_cli.derivation.at import At
from gradcheck_cli.language.functions import ROWS
from gradcheck_cli.language.parser import parse
from gradcheck_cli.lessons.code import preamble, source
from gradcheck_cli.lessons.lesson import digits


def printed(code: str) -> dict[str, Any]:
    """What the code prints, `name = value`, in order; it runs as it stands."""
    output, before = io.StringIO(), torch.get_default_dtype()
    try:
        with contextlib.redirect_stdout(output):
            exec(compile(code, "lesson", "exec"), {"__name__": "lesson"})
    finally:
        torch.set_default_dtype(before)
    lines = [line.partition(" = ") for line in output.getvalue().splitlines()]
    return {name: ast.literal_eval(value) for name, _, value in lines}


CHAINS: list[tuple[list[str], dict[str, Any]]] = [
    (["2*x", "z**2+2*z+2"], {"at": "x=1"}),
    (["z = 2*x", "w = sin(z)+x", "y = w*z"], {"at": "x=1"}),
    (["x**2 + y**3"], {"at": "x=2,y=3"}),
    (["exp(-x**2/2)/sqrt(2*pi)"], {"at": "x=0.7"}),
    (["relu(3*x) + abs(x)*silu(x)"], {"at": "x=-1.5"}),
    (["sum(x*y)"], {"at": "x=[1,2],y=[3,4]"}),
    (["z = W@x", "sum(tanh(z)**2)"], {"at": "W=[[0.1,0.2],[0.3,0.4]],x=[1,-1]"}),
    (["cross_entropy(x, [0])"], {"at": "x=[[1,2,3]]"}),
    (["torch*math + name"], {"at": "torch=2,math=3,name=1"}),
    (["x**x", "where(z > 1, log(z), z - 1)"], {}),
    (["max(x, 3)*x"], {"wrt": "x", "at": "x=2"}),
    (["sum(x*y)"], {"wrt": "y", "at": "x=[1,2],y=[3,4]"}),
]


@pytest.mark.parametrize(("texts", "asked"), CHAINS, ids=lambda v: str(v))
def test_the_code_prints_what_the_lesson_says(texts: list[str], asked: dict[str, Any]) -> None:
    """Every derivative that the lesson comes to is what the printed program prints."""
    lesson = explain(texts, **asked)
    found = printed(lesson.code())
    assert lesson.derivatives and found
    for name, exact in lesson.derivatives.items():
        value = found[name if name in found else name.split("[")[0]]
        for place in re.findall(r"\d+", name.partition("[")[2]):
            value = value[int(place)]
        assert exact is not None and math.isclose(value, float(exact), rel_tol=1e-12), name
    assert str(lesson) == lesson.render("text") and repr(lesson).startswith("<Lesson: ")


def test_hooks_fire_as_the_lesson_tells() -> None:
    """From the output back: 1, 6, 12, in the text and in torch; the product is written out, and the formula."""
    lesson = explain(["2*x", "z**2+2*z+2"], at={"x": 1.0})
    assert list(printed(lesson.code()).items()) == [
        ("dy/dy", 1.0), ("dy/dz", 6.0), ("dy/dx", 12.0), ("z.grad", 6.0), ("x.grad", 12.0),
    ]  # fmt: skip
    text = str(lesson)
    assert "z = 2*x = 2*1 = 2" in text and "(z**2)' = 2*z = 4" in text
    assert text.index("dy/dy = 1") < text.index("dy/dz = 1 * 6 = 6") < text.index("dy/dx = dy/dz * dz/dx = 6 * 2 = 12")
    assert "dy/dx = 1 * 6 * 2 = 12" in text and "dy/dx = 8*x + 4" in text


def test_skip_connections_are_sums() -> None:
    """Over the ways from an input to the output."""
    text = str(explain(["z = 2*x", "w = sin(z)+x", "y = w*z"], at="x=1"))
    assert "dy/dx = dy/dw * ∂w/∂x + dy/dz * dz/dx ≈ 2 * 1 + 1.0770038 * 2 ≈ 4.1540075" in text
    assert "2 ways from x to y, through w and through z: their sum" in text


@pytest.mark.parametrize(
    ("text", "wrt", "at", "value"),
    [
        ("x**2+x*y**2", "x,y", "x=2,y=3", 6.0), ("x*y*z", "x,y,z", "x=1,y=2,z=3", 1.0), ("x + y", "x,y", None, 0.0),
        ("sin(x)*exp(y)", "x,x,y", "x=0.5,y=1", -math.sin(0.5) * math.e), ("sum(x**3)", "x[0],x[0]", "x=[2,5]", 12.0),
        ("2*x | z**2", "x,x", "x=1", 8.0), ("x**2", "x,x,x", "x=1", 0.0),
    ],
)  # fmt: skip
def test_mixed_partials(text: str, wrt: str, at: str | None, value: float) -> None:
    """One name after the other, by nested autograd.grad; what a derivative doesn't depend on is 0, which torch refuses."""
    lesson = explain(text, wrt=wrt, at=at)
    ((name, exact),) = lesson.derivatives.items()
    assert math.isclose(float(exact or "nan"), value, abs_tol=1e-15)
    assert math.isclose(printed(lesson.code())[name], value, rel_tol=1e-12, abs_tol=1e-15)
    assert "create_graph=True" in lesson.code() or "would raise" in lesson.code()


@pytest.mark.parametrize(("wrt", "value"), [("x,y", -1), ("y,x", 1)])
def test_a_mixed_partial_where_no_rule_holds(wrt: str, value: int) -> None:
    """Peano's function: -1 and 1 by hand, and no step says anything else with an "="."""
    name = "d2f/d" + wrt.replace(",", "d")
    text = str(explain("f = where(x==0 and y==0, 0, x*y*(x**2-y**2)/(x**2+y**2))", wrt=wrt, at="x=0,y=0"))
    assert f"{name} is {value}: " in text
    assert f"{name} = " not in text.replace(f'"{name} =', "")


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("relu(x)", "x=2", "relu(t)' = where(t > 0, 1, 0), here at t = 2"),
        ("where(x > 1, x**2, x)", "x=3", "piecewise: x > 1 holds here, so it is x**2"),
        ("where(x > 1, x**2, x)", "x=0", "piecewise: x > 1 does not hold here, so it is x"),
        ("abs(x)", "x=0", "dy/dx doesn't exist: the slope is -1 from the left and 1 from the right"),
        ("max(x, 1)", "x=1", "dy/dx doesn't exist: the slope is 0 from the left and 1 from the right"),
        ("where(x > 1, x**2, 2*x - 1)", "x=1", "dy/dx is 2: the limit of the difference quotients from both sides"),
        ("log(x)", "x=-1", "dy/dx doesn't exist: the function has no real value here."),
        ("zeta(x, 2)", "x=3", "no formula is known for the derivative of zeta by its argument 'x'"),
        ("x/3", "x=1", "dy/dx = 1/3 ≈ 0.33333333"),
        ("0.1*x", "x=3", "y = 0.1*x = 0.1*3 = 0.3"),
        ("sigmoid(x)", "x=40", "≈ 1\n"),
    ],
)
def test_what_a_lesson_says(text: str, at: str, says: str) -> None:
    """Of choices that the point decides, of kinks, of the domain, and of numbers that are rounded."""
    assert says in re.sub(r"\s*\n\s+", " ", str(explain(text, at=at))) + "\n" or says in str(explain(text, at=at))


LONG = "+".join(f"sin({i}*x**2+{i})*exp(-x/{i + 1})/(1+x**{i % 5 + 1})" for i in range(1, 16))


@pytest.mark.parametrize(
    ("texts", "asked"),
    [
        ([LONG], {}),
        ([f"s{i} = sin({f's{i - 1}' if i else 'x'}) + x" for i in range(60)], {}),
        (["+".join(f"x{i}**2*x{i + 1}" for i in range(60))], {}),
        (["mean(tanh(A@B)**2)"], {"shape": ["A=4,4", "B=4,4"]}),
    ],
    ids=["a long formula", "many stages", "many inputs", "matrices"],
)  # fmt: skip
def test_a_lesson_is_short(texts: list[str], asked: dict[str, Any]) -> None:
    """At most 120 lines, code aside of at most 110 characters, unless all is asked for; what is left out is said."""
    lines = str(explain(texts, **asked)).splitlines()
    assert len(lines) <= 120 and max(len(line) for line in lines if not line.startswith("    ")) <= 110
    assert any("verbose=True" in line for line in lines)


def test_too_large_for_a_lesson() -> None:
    """It is refused at once."""
    with pytest.raises(InputError, match="derivatives of stages are too many for a lesson"):
        explain("mean(tanh(A@B)**2)", shape=["A=10,10", "B=10,10"])


@pytest.mark.parametrize(
    ("arguments", "message", "place"),
    [
        (["sin(x"], "syntax error: '(' was never closed", 3),
        (["x*y", "--wrt", "x,w"], "'w' is not an input (there is x, y)", 2),
        (["x", "--at", "x=linspace(0,1,3)"], "a lesson is about one point, and here are 3", 0),
        (["x", "--at", "y=1"], "'y' is not an input", 0),
        (["[x, x]", "--wrt", "x,x"], "a mixed derivative is explained of one", None),
        (["x", "--format", "pdf"], "unknown format 'pdf': choose from text, markdown, latex, html", None),
        (["x", "--wrt", "x,x,x,x,x,x,x"], "derivatives up to order 6 are explained, not 7", 0),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    arguments: list[str], message: str, place: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the text and a caret under the culprit; exit code 2."""
    from gradcheck_cli.cli.app import run

    assert run(["explain", *arguments]) == 2
    first, *rest = capsys.readouterr().err.splitlines()
    assert message in first
    assert place is None or (len(rest) == 2 and rest[1].index("^") == place + 2)


def test_every_function_as_torch_code() -> None:
    """The code of a row computes what the row's operation does in a check."""
    from gradcheck_cli.algebra.tensors import TensorAlgebra, compiled
    from tests.derivation.test_steps import called

    values = {"x": 0.62, "y": 0.37, "z": 0.55}
    compared = 0
    for row in ROWS:
        if row.parameters and not row.truth:
            tree = called(row)
            names = sorted({n for n in values if re.search(rf"\b{n}\b", source(tree))})
            tensors = {n: torch.tensor(values[n], dtype=torch.float64) for n in names}
            (wanted,) = compiled(tree, names, TensorAlgebra(torch.float64, "cpu", {}), None)(*tensors.values())
            printed_ = f"{source(tree)}"
            before = torch.get_default_dtype()
            torch.set_default_dtype(torch.float64)
            try:
                found = eval(printed_, {"torch": torch, "math": math}, dict(tensors))
            finally:
                torch.set_default_dtype(before)
            assert torch.equal(torch.nan_to_num(found.double()), torch.nan_to_num(wanted.double())), row.name
            compared += 1
    assert compared > 100
    assert "import math" in preamble(["math.sqrt(2)"]) and "import math" not in preamble(["x"])


COMPLEX: list[tuple[list[str], dict[str, Any], Any]] = [
    (["conj(z)*z**2"], {"z": 5 + 10j}, lambda z: z.conjugate() * z**2),
    (["abs(z)**2"], {"z": 3 - 4j}, lambda z: abs(z) ** 2),
    (["1j*log(z) + exp(conj(z))"], {"z": -1 + 2j}, lambda z: 1j * mp.log(z) + mp.exp(z.conjugate())),
    (["w = z**2", "imag(w)*real(z)"], {"z": 1 + 2j}, lambda z: (z**2).imag * z.real),
    (["sin(z)/(1 + z)"], {"z": 0.5 - 1j}, lambda z: mp.sin(z) / (1 + z)),
    (["relu(z.real)*z"], {"z": 1 + 1j}, lambda z: z.real * z),
]
"""The last one has no formula in z and conj(z): it is worked out by its parts."""


@pytest.mark.parametrize(("texts", "at", "function"), COMPLEX, ids=range(len(COMPLEX)))
def test_complex_numbers(texts: list[str], at: dict[str, complex], function: Callable[[Any], Any]) -> None:
    """d/dz and d/dz*, where the lesson has them, are mpmath's quotients of the plain function; torch's gradient, which the
    program prints, is conj(df/dz) + df/dz*."""
    lesson = explain(texts, at=at)
    with mp.workdps(40):
        z, h = mp.mpc(at["z"]), mp.mpf(10) ** -15
        x, y = ((function(z + step) - function(z - step)) / (2 * h) for step in (h, 1j * h))
        plain, conjugate = (x - 1j * y) / 2, (x + 1j * y) / 2
        gradient = complex(plain.conjugate() + conjugate)
    (printed_,) = (value for name, value in printed(lesson.code()).items() if name.endswith("/dz"))
    assert abs(complex(printed_) - gradient) < 1e-12 * abs(gradient)
    numbers = {
        name: complex(value.strip("()"))
        for name, value in re.findall(r"(∂\w+/∂z\*?|z\.grad) [=≈] (\S+)\s+(?:at the point|its parts)", str(lesson))
    }
    if "relu" in texts[0]:
        assert "each by itself" in str(lesson)
        return
    assert abs(numbers.pop("z.grad") - gradient) < 1e-6 * abs(gradient)
    assert numbers
    for name, number in numbers.items():
        assert abs(number - complex(conjugate if name.endswith("*") else plain)) < 1e-6 * abs(gradient)


def test_a_lesson_about_complex_numbers_by_itself() -> None:
    """Without a point, inputs are complex where the formula speaks of complex numbers; a lesson is written in each format; at a
    kink nothing is claimed; arrays go by their parts."""
    assert "z = (2+3j)" in explain("conj(z)*z").title
    assert "z = 2 " in f"{explain('z**2').title} "
    assert "holomorphic" in str(explain("1j*exp(z)"))
    for form in ("markdown", "latex", "html"):
        assert "conj" in explain("conj(z)*z**2", at="z=1+1j").render(form) or form == "latex"
    kink = explain("abs(z)", at="z=0j")
    assert "no rule holds" in str(kink) and set(kink.derivatives.values()) == {None}
    array = explain("sum(abs(z)**2)", at={"z": [1 + 1j, 2]})
    assert printed(array.code())["dy/dz"] == pytest.approx([2 + 2j, 4])


@pytest.mark.parametrize(
    "text",
    [
        "qr(A).Q[0,1]", "lu(A).L[1,0] + lu(A)[2][1,1]", "svd(A).S[0]", "slogdet(A).sign*A[0,0]", "sum(sort(A).values*[1, 2])",
        "median(A) + A.median(0).values[0]", "A.max(1)[0].sum() + max(A)", "var_mean(A, 0)[0].sum()", "matrix_exp(A)[0,0]",
        "topk(A[0], 1)[0][0]", "einsum('ij,jk->', A, A)*len(A)/A.numel()",
        "A.gather(1, [[1], [0]]).sum()*A.shape[1]", "F.pad(A, (1, 0), value=2).prod() + roll(A, 1, 0)[0,0]",
        "A.repeat(2, 1).sum() + A[0].expand(3, -1).prod()", "A.index_select(0, [1]).sum() + (one_hot([1, 0], 2)*A).sum()",
        "prelu(-A, A[0,0]).sum() + quantile(A, 0.3)",
    ],
)  # fmt: skip
def test_one_of_several_tensors_as_torch_code(text: str) -> None:
    """The code of a lesson takes the tensor that the formula takes, and prints the certified derivative."""
    at = {"A": [[1.5, 2.0], [3.0, 5.0]]}
    found = printed(explain(text, at=at).code())["dy/dA"]
    exact = [float(check.exact or "nan") for check in check_grad(text, at=at).checks]
    assert np.allclose(np.ravel(found), exact, rtol=1e-11, atol=1e-14), text


def test_numbers_are_right_in_every_digit() -> None:
    """`=` stands where the number is all that is shown, `≈` elsewhere."""
    at = At({"x": parse_ball(0.1), "y": parse_ball(3.0)})

    def shown(text: str) -> tuple[str, Any] | None:
        found = digits(at(parse(text)), at.fraction(parse(text)))
        return None if found is None else (found[0], found[1].value)

    assert shown("2*x") == ("=", 0.2) and shown("y/4") == ("=", 0.75) and shown("sqrt(y + 1)") == ("=", 2)
    assert shown("1/y") == ("≈", 0.33333333) and shown("exp(y)") == ("≈", 20.085537) and shown("sigmoid(40*y)") == ("≈", 1)
    assert shown("x - x") == ("=", 0) and shown("log(x - 1)") is None and shown("y**30") == ("≈", 205891130000000)


def parse_ball(value: float) -> Any:
    from gradcheck_cli.algebra.number import exactly

    return exactly(value)


def test_it_is_exported() -> None:
    """As the other twins."""
    assert {"explain", "Lesson"} <= set(gradcheck_cli.__all__) and isinstance(explain("x"), Lesson)


@pytest.mark.parametrize(
    ("text", "at", "wrong", "says"),
    [
        ("max(x,0)+min(x,0)", "x=0", ("= 2", "' = 1"), "dy/dx is 1: the limit of the difference quotients"),
        ("where(x==1, 1, x**2)", "x=1", ("dy/dx = 0",), "dy/dx is 2: the limit"),
        ("where(sign(x)==0, 5*x, x)", "x=0", ("dy/dx = (5", "dy/dx = 5"), "dy/dx is 1: the limit"),
        ("(x-1)*where(x==1, 5, 2)", "x=1", ("= 5",), "dy/dx is 2: the limit"),
        ("max(x, 2*x-1)", "x=1", ("dy/dx = ",), "the slope is 1 from the left and 2 from the right"),
        (
            "x*where(x>1, 2, 3)",
            "x=1",
            ("dy/dx = ",),
            "dy/dx doesn't exist: the function jumps here, and its value is the limit from the left.",
        ),
        (
            "where(x>1, 2, 3)",
            "x=1",
            ("dy/dx = ",),
            "dy/dx doesn't exist: the function jumps here, and its value is the limit from the left.",
        ),
        (
            "where(x>1, x**2, 2*x)",
            "x=1",
            ("dy/dx = ",),
            "dy/dx doesn't exist: the function jumps here, and its value is the limit from the left.",
        ),
        ("sqrt(x)", "x=0", ("no slope settles",), "the slope grows without bound, to inf, from the right"),
        ("x**x", "x=0", ("no slope settles",), "the slope falls without bound, to -inf, from the right"),
        ("where(x==0, 0, x**2*sin(1/x))", "x=0", ("1/0", "dy/dx = "), "dy/dx is 0: the limit of the difference quotients"),
    ],
)
def test_no_number_where_no_rule_holds(text: str, at: str, wrong: tuple[str, ...], says: str) -> None:
    """No step gives a number that the result contradicts; the result says what there is by hand: limits of quotients, a kink,
    a jump, an infinite slope; and the code is said to print a convention."""
    told = " ".join(str(explain(text, at=at)).split("import torch")[0].split())
    steps = told.partition("The derivative, from the inside out")[2].partition("The result")[0]
    assert says in told and "what torch prints there is a convention" in told
    assert not any(piece in steps or piece in told for piece in wrong)


def test_no_mixed_partial_goes_on_from_a_kink() -> None:
    """The formula at the point is one piece's; the code prints what torch has, for every name."""
    lesson = explain("where(x>0, x**2, -x**2)", wrt="x,x", at="x=0")
    assert "d2y/dxdx = " not in str(lesson).split("import torch")[0] and "d2y/dxdx doesn't exist" in str(lesson)
    assert "d2y/dxdx" in printed(lesson.code())
    assert "would raise" in explain("max(x, 1)", wrt="x,x", at="x=1").code()  # torch keeps no graph of a mask
    printed(explain("max(x, 1)", wrt="x,x", at="x=1").code())
    unknown = str(explain("zeta(x, 2)", wrt="x,x", at="x=3"))  # by the series: sum of log(k)**2/k**3 over k >= 2, 0.23974692
    assert "no formula is known" in unknown and "d2y/dxdx is 0.23974692" in unknown


def test_entries_beside_a_kink() -> None:
    """Each that has a derivative is told; no line is blank twice."""
    text = str(explain("sum(abs(x))", at="x=[-1,0,2]"))
    assert "dy/dx[0] = -1\n" in text and "dy/dx[2] = 1\n" in text and "dy/dx[1] doesn't exist" in text
    assert "\n\n\n" not in str(explain("max(x,y)", at="x=1,y=1")) + text


def test_what_is_left_out_is_told_by_its_number() -> None:
    """Nothing that the way back uses is missing: the derivatives whose steps are left out, and a rule too long to be written
    out stands with its numbers. d(softmax(x)[0])/dx[0] = s*(1 - s), with e**1 = 2.7182818 and their sum 30.192875."""
    text = str(explain("norm(W@x)", at="W=[[1,2],[3,4]],x=[1,2]"))
    assert "∂t1/∂W[0,0] = 10\n" in text and text.index("∂t1/∂W[0,0] = 10\n") < text.index("Back: the chain rule")
    text = str(explain("softmax(x)[0]", at="x=[1,2,3]"))
    assert "∂y/∂x[0] ≈ (2.7182818*30.192875 - 2.7182818*2.7182818)/30.192875**2 ≈ 0.081925069" in text
    assert "0**0 = 1" in str(explain("x**x", at="x=0"))


@pytest.mark.parametrize(
    ("text", "at", "why"),
    [
        (
            "sqrt(x)",
            "x=0",
            "the slope grows without bound, to inf, from the right",
        ),
        (
            "x**x",
            "x=0",
            "the slope falls without bound, to -inf, from the right",
        ),
        ("where(x > 1, x**2, 2*x)", "x=1", "the function jumps here"),
        ("abs(x)", "x=0", "the slope is -1 from the left and 1 from the right"),
    ],
)
def test_why_there_is_no_derivative(text: str, at: str, why: str) -> None:
    """A derivative that doesn't exist is missing for a reason that is true."""
    assert f"dy/dx doesn't exist: {why}" in " ".join(str(explain(text, at=at)).split())


@pytest.mark.parametrize(
    ("texts", "inside"),
    [
        ("log(x-3)", lambda x: x > 3), ("log(x-5)", lambda x: x > 5), ("sqrt(x**2-9)", lambda x: abs(x) > 3),
        ("asin(2*x+5)", lambda x: -3 < x < -2), ("acos(x)+sqrt(x-1)", lambda x: x == 1),
        (["u=x**2", "y=log(u-9)"], lambda x: abs(x) > 3), ("log(x-40)", lambda x: x > 40), ("log(x)", lambda x: x == 2),
    ],
)  # fmt: skip
def test_the_point_that_is_chosen_lies_within_the_domain(texts: Any, inside: Callable[[float], bool]) -> None:
    """And the derivative exists there, where it does anywhere; a plain point where one does."""
    lesson = explain(texts)
    (x,) = [float(value) for name, value in lesson.values.items() if name == "x"]
    assert inside(x)
    assert all(value is not None for value in lesson.derivatives.values()) is ("acos" not in texts)


def test_several_inputs_are_chosen_within_the_domain() -> None:
    """Together."""
    values = {name: float(str(value)) for name, value in explain("log(x-y-7)").values.items() if name in "xy"}
    assert values["x"] - values["y"] > 7
