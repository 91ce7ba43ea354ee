"""Points: what is accepted, the arrays that come out, and the whole message for what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.algebra.constants import nearest_double
from gradcheck_cli.errors import InputError
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.language.points import parse_points
from gradcheck_cli.language.sampling import linspace
from gradcheck_cli.language.spaces import MAX_POINTS, PointSpec

F64, F32, F16, BF16 = (FORMATS[name] for name in ("float64", "float32", "float16", "bfloat16"))


def read(at: Any, *names: str, **options: Any) -> PointSpec:
    return parse_points(at, names or ("x",), evaluate=nearest_double, **options)


def arrays(at: Any, *names: str, **options: Any) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in read(at, *names, **options).values(F64).items()}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), ("0.1", 0.1), ("-1e-3", -1e-3), ("1/3", 1 / 3), ("-(1/4)", -0.25), ("2*3+1", 7.0),
        ("inf", math.inf), ("-inf", -math.inf), ("-0.0", -0.0), ("pi/4", math.pi / 4), ("sqrt(2)", math.sqrt(2)),
        ("2**-3", 0.125),
        ("exp(1)", math.e), ("e", math.e), ("sin(pi)", 0.0), ("log(8)/log(2)", 3.0), ("1e-400", 0.0), (" 2 ", 2.0),
        ("torch.pi", math.pi), ("0.1+0.2", 0.1 + 0.2), ("5e-324/2", 0.0),
    ],
)  # fmt: skip
def test_a_value_is_thenearest_double(text: str, value: float) -> None:
    """A literal is the double that Python reads, a constant expression the double nearest to its exact value."""
    (result,) = arrays(f"x={text}")["x"]
    assert result == value
    assert math.copysign(1, result) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("x=1,y=2", {"x": [1], "y": [2]}),
        ("y=2 , x=1", {"x": [1], "y": [2]}),
        (["x=1,y=2", "x=1,y=2"], {"x": [1, 1], "y": [2, 2]}),
        ("x=linspace(0,1,3),y=max(1,2)", {"x": [0, 0.5, 1], "y": [2, 2, 2]}),
        ("x=linspace(0,1,2),y=linspace(5,7,3)", {"x": [0, 0, 0, 1, 1, 1], "y": [5, 6, 7, 5, 6, 7]}),
        ("x=logspace(1,100,3),y=0", {"x": [1, 10, 100], "y": [0, 0, 0]}),
        ("x=logspace(-1,-100,3),y=0", {"x": [-1, -10, -100], "y": [0, 0, 0]}),
        ({"x": 1, "y": 2.5}, {"x": [1], "y": [2.5]}),
        ({"x": "1/2", "y": np.float32(3)}, {"x": [0.5], "y": [3]}),
        ([{"x": 1, "y": 2}, "x=3,y=4"], {"x": [1, 3], "y": [2, 4]}),
    ],
)
def test_points(at: Any, expected: dict[str, list[float]]) -> None:
    """Texts make grids, several points follow each other; duplicates stay."""
    assert arrays(at, "x", "y") == expected
    assert read(at, "x", "y").explicit
    assert read(at, "x", "y").count(F64) == len(expected["x"])


@pytest.mark.parametrize(
    ("at", "shapes", "expected"),
    [
        ("x=[2,4],y=pi", {"x": (2,), "y": ()}, {"x[0]": [2], "x[1]": [4], "y": [math.pi]}),
        ("x=[[1,1/2]],y=linspace(0,1,2)", {"x": (1, 2), "y": ()}, {"x[0,0]": [1, 1], "x[0,1]": [0.5, 0.5], "y": [0, 1]}),
        ({"x": [2, 4], "y": 1}, {"x": (2,), "y": ()}, {"x[0]": [2], "x[1]": [4], "y": [1]}),
        ({"x": np.array([[2], [4]]), "y": 1}, {"x": (2, 1), "y": ()}, {"x[0,0]": [2], "x[1,0]": [4], "y": [1]}),
        ({"x": [np.float32(2), 4], "y": "[1]"}, {"x": (2,), "y": (1,)}, {"x[0]": [2], "x[1]": [4], "y[0]": [1]}),
        ({"x": [1, "pi/4"], "y": "1/2"}, {"x": (2,), "y": ()}, {"x[0]": [1], "x[1]": [math.pi / 4], "y": [0.5]}),
        ([{"x": [2, 4], "y": 1}, {"x": (3, 5), "y": 0}], {"x": (2,), "y": ()}, {"x[0]": [2, 3], "x[1]": [4, 5], "y": [1, 0]}),
    ],
)
def test_lists_are_arrays(at: Any, shapes: dict[str, Any], expected: dict[str, list[float]]) -> None:
    """A list is a vector and a list of lists a matrix, in text and in Python; each entry has a name of its own."""
    spec = read(at, "x", "y")
    assert spec.shapes == shapes
    assert {name: values.tolist() for name, values in spec.values(F64).items()} == expected


def test_shapes_are_drawn() -> None:
    """`shape` says what is an array; a domain holds for all its entries."""
    spec = read(None, "A", "x", shape=["A=2,2", "x=3"], domain="A=0:1", sample=8)
    values = spec.values(F64)
    assert list(values) == ["A[0,0]", "A[0,1]", "A[1,0]", "A[1,1]", "x[0]", "x[1]", "x[2]"]
    assert all(0 <= v <= 1 for name, column in values.items() if name[0] == "A" for v in column)
    assert read(None, "A", "x", shape={"A": (2, 2), "x": 3}).shapes == spec.shapes


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("x", "a shape is written name=sizes, such as x=3,4\n  x\n  ^"),
        ("x=0", "a shape is written name=sizes, such as x=3,4\n  x=0\n    ^"),
        ("x=2,-1", "a shape is written name=sizes, such as x=3,4\n  x=2,-1\n    ^"),
        ("y=2", "'y' is not an input (the only input is x)\n  y=2\n  ^"),
        ("x=200,200", "x has 40,000 entries; at most 10,000 are checked\n  x=200,200\n    ^"),
        (["x=2", "x=3"], "'x' is given twice\n  x=3\n  ^"),
        ({"x": (2, 0)}, "the shape of 'x' is a tuple of positive whole numbers: (2, 0)"),
    ],
)
def test_bad_shapes(shape: Any, message: str) -> None:
    """Every refusal is one line, the text and a caret under the culprit."""
    with pytest.raises(InputError) as caught:
        read(None, shape=shape)
    assert str(caught.value) == message


def test_points_are_rounded_to_the_format() -> None:
    """The float that torch sees is the point."""
    assert read("x=0.1").values(F32)["x"].tolist() == [float(np.float32(0.1))]
    assert read("x=1e39").values(F32)["x"].tolist() == [math.inf]


@pytest.mark.parametrize("form", [F16, BF16], ids=lambda f: f.name)
def test_all_is_every_finite_float(form: Any) -> None:
    """`all` has every finite pattern once, in a grid with other names too."""
    spec = read("x=all,y=1", "x", "y")
    values = spec.values(form)
    assert len(values["x"]) == {"float16": 63_488, "bfloat16": 65_280}[form.name]
    assert np.isfinite(values["x"]).all()
    assert len(np.unique(values["x"])) == len(values["x"]) - 1  # both zeros
    assert set(values["y"]) == {1.0}


ERRORS: list[tuple[Any, str]] = [
    ("x=1", "the point gives no value for y\n  x=1\n     ^"),
    (["x=1", "y=2"], "the point gives no value for y; one point is one text, such as x=1,y=1\n  x=1\n     ^"),
    ("x=1 y=2", "a point is written name=value, such as x=1, and several with commas: x=1,y=2\n  x=1 y=2\n      ^"),
    ("x=1; y = 2", "a point is written name=value, such as x=1, and several with commas: x=1,y= 2\n  x=1; y = 2\n       ^"),
    ("z=1,y=2", "'z' is not an input (the inputs are x, y)\n  z=1,y=2\n  ^"),
    (
        "x=1,y=2;x=3,y=4",
        "a point is written name=value, such as x=1, and several points one by one: --at x=1,y=2 --at x=3,y=4"
        "\n  x=1,y=2;x=3,y=4\n          ^",
    ),
    (
        "x=1,y=2,x=3,y=4",
        "'x' is given twice, and several points one by one: --at x=1,y=2 --at x=3,y=4\n  x=1,y=2,x=3,y=4\n          ^",
    ),
    (
        "x=1, 2",
        "a point is written name=value, such as x=1; several points are --at x=1 --at x=2, and an array is x=[1,2]"
        "\n  x=1, 2\n       ^",
    ),
    ("x=1,y=2,x=3", "'x' is given twice\n  x=1,y=2,x=3\n          ^"),
    ("x=foo,y=1", "a number is needed here, not a variable\n  x=foo,y=1\n    ^"),
    ("x=2*y,y=1", "a number is needed here, not a variable\n  x=2*y,y=1\n      ^"),
    ("x=1+2i,y=1", "complex numbers are not supported here: this is a formula of real ones\n  x=1+2i,y=1\n      ^"),
    ("x=1j,y=1", "complex numbers are not supported here: this is a formula of real ones\n  x=1j,y=1\n    ^"),
    ("x=[2,[4]],y=1", "the entries of a list have one shape: () and (1,) are two\n  x=[2,[4]],y=1\n       ^"),
    ("x=[],y=1", "an empty list has no shape\n  x=[],y=1\n    ^"),
    ("x=[1,y],y=1", "a number is needed here, not a variable\n  x=[1,y],y=1\n       ^"),
    ("x=[1,sqrt(-1)],y=1", "this has no real value, or none that can be computed\n  x=[1,sqrt(-1)],y=1\n       ^"),
    ("x=sum([1,2]),y=1", "a number is needed here, not an array\n  x=sum([1,2]),y=1\n    ^"),
    (["x=[1,2],y=1", "x=1,y=1"], "x has shape () here, and shape (2,) before\n  x=1,y=1\n    ^"),
    ("x=,y=1", "a value is missing: a point is written name=value, such as x=1\n  x=,y=1\n    ^"),
    ("x", "a point is written name=value, such as x=1,y=1\n  x\n  ^"),
    ("", "a point is written name=value, such as x=1\n  \n  ^"),
    ("x=1,", "a point is written name=value, such as x=1\n  x=1,\n      ^"),
    ("x=1,y==2", "a point is written name=value, such as x=1\n  x=1,y==2\n        ^"),
    ("x=nan,y=1", "nan is not a point\n  x=nan,y=1\n    ^"),
    ("x=0/0,y=1", "this has no real value, or none that can be computed\n  x=0/0,y=1\n    ^"),
    ("x=sqrt(-1),y=1", "this has no real value, or none that can be computed\n  x=sqrt(-1),y=1\n    ^"),
    ("x=1e999,y=1", "this number is larger than any float\n  x=1e999,y=1\n    ^"),
    ("x=exp(1000),y=1", "this number is larger than any float\n  x=exp(1000),y=1\n    ^"),
    ("x=1<2,y=1", "a number is needed here, not a condition\n  x=1<2,y=1\n    ^"),
    ("x=1^2,y=1", "'^' is not a power here: write '**'\n  x=1^2,y=1\n     ^"),
    (
        "x=linspace(1,2),y=1",
        "linspace takes three numbers: linspace(first, last, how many)\n  x=linspace(1,2),y=1\n             ^",
    ),
    (
        "x=linspace(1,2,0.5),y=1",
        "linspace needs a whole number of points, at least 1\n  x=linspace(1,2,0.5),y=1\n                 ^",
    ),
    ("x=linspace(1,inf,3),y=1", "linspace needs finite ends\n  x=linspace(1,inf,3),y=1\n               ^"),
    (
        "x=logspace(0,2,3),y=1",
        "logspace needs two ends of one sign, neither 0\n  x=logspace(0,2,3),y=1\n             ^",
    ),
    (
        "x=linspace(0,1,1e7),y=1",
        "10,000,000 points are too many: at most 5,000,000 are checked\n  x=linspace(0,1,1e7),y=1\n                 ^",
    ),
    (
        "x=linspace(0,1,3000),y=linspace(0,1,3000)",
        "9,000,000 points are too many: at most 5,000,000 are checked\n  x=linspace(0,1,3000),y=linspace(0,1,3000)\n  ^",
    ),
    (
        "x=all,y=linspace(0,1,100)",
        "6,553,600 points are too many: at most 5,000,000 are checked\n  x=all,y=linspace(0,1,100)\n  ^",
    ),
    (
        "x=__import__('os'),y=1",
        "syntax error: '__import__' is not part of the language\n  x=__import__('os'),y=1\n    ^",
    ),
    (
        "x=linspace(0,1,inf),y=1",
        "infinitely many points are too many: at most 5,000,000 are checked\n  x=linspace(0,1,inf),y=1\n                 ^",
    ),
    (
        "x=logspace(1,2,1e300),y=1",
        "about 1e+299 points are too many: at most 5,000,000 are checked\n  x=logspace(1,2,1e300),y=1\n                 ^",
    ),
    (
        "x=\ud800,y=1",
        "this is no text: bytes that aren't UTF-8, or half a character\n  x= ,y=1\n    ^",
    ),
    ({"x": 1}, "the point gives no value for y"),
    ({"x": 1j, "y": 1}, "the value of 'x' is complex; functions here are real"),
    ({"x": None, "y": 1}, "the value of 'x' is not a number: 'None'"),
    ({"x": ["a"], "y": 1}, "a number is needed here, not a variable\n  a\n  ^"),
    ({"x": float("nan"), "y": 1}, "the value of 'x' is not a number: 'nan'"),
    ({"x": 10**400, "y": 1}, "the value of 'x' is larger than any float"),
    ({"x": [[1], 2], "y": 1}, "the value of 'x' is not an array: the entries of its lists differ in shape"),
    ({"x": "linspace(0,1,2)", "y": "linspace(0,1,3)"}, "sequences of different lengths run side by side: 2, 3"),
    ({"x": [], "y": 1}, "the value of 'x' is not an array: an empty list has no entries"),
    (
        {"x": [0] * 10_001, "y": 1},
        "x has 10,001 entries; at most 10,000 are checked; an array is one point: many points are a list, at=[...]",
    ),
    ([1], "a point is written name=value, such as x=1,y=1"),
    (1.5, "a point is written name=value, such as x=1,y=1"),
]


@pytest.mark.parametrize(("at", "message"), ERRORS, ids=lambda value: str(value)[:30])
def test_bad_points(at: Any, message: str) -> None:
    """Every refusal is one line, the text and a caret under the culprit."""
    with pytest.raises(InputError) as caught:
        read(at, "x", "y")
    assert str(caught.value) == message


def test_the_nearest_name_is_proposed() -> None:
    """A misspelt input is answered with the one that is meant."""
    with pytest.raises(InputError, match=r"'betta' is not an input; did you mean 'beta'\? \(the only input is beta\)"):
        read("betta=1", "beta")


def test_all_is_for_32_bits() -> None:
    """float64 has too many floats to go through, and no more than one input takes every float32."""
    with pytest.raises(InputError) as caught:
        read("x=all").count(FORMATS["float64"])
    assert str(caught.value) == (
        "'all' means every float of a dtype of at most 32 bits; float64 has too many: use linspace or --sample\n  x=all\n    ^"
    )
    with pytest.raises(InputError, match="every float of float32 goes with one value of each other input"):
        read("x=all,y=linspace(0,1,2)", "x", "y").count(F32)
    assert read("x=all,y=1", "x", "y").count(F32) == 4_278_190_080 == F32.finite
    with pytest.raises(InputError, match="4,278,190,080 points are too many"):
        read("x=all").values(F32)


@pytest.mark.parametrize(
    ("first", "last"), [(1, 1.00001), (-1e-44, 1e-44), (0, 3e-45), (-3e-45, 0), (-2, -1.99999), (2.0**128 - 2.0**112, "inf")]
)
def test_all_between_two_numbers(first: float, last: float) -> None:
    """`all(a,b)` has every float from a to b once, in order, both zeros, and its blocks are the same points."""
    spec = read(f"x=all({first},{last})")
    values = spec.values(F32)["x"]
    number = np.float32(first)
    one_by_one = [] if number < first else [number]
    while len(one_by_one) < len(values) and (number := np.nextafter(number, np.float32(np.inf))) <= np.float32(last):
        one_by_one.append(number)
    zeros = int((values == 0).sum())
    assert zeros in (0, 2) and (np.diff(values) >= 0).all()
    assert sorted({float(v) for v in one_by_one}) == sorted({float(v) for v in values if v != 0} | ({0.0} if zeros else set()))
    assert spec.count(F32) == len(values) > 3
    parts = [part.values(F32)["x"] for part in spec.blocks(F32, 5)]
    assert max(map(len, parts)) <= 5 and np.array_equal(np.concatenate(parts).view(np.int64), values.view(np.int64))
    start, end = spec.ends(F32)
    assert (start["x"], end["x"]) == (values[0], values[-1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x=all(1)", "all takes no number, which is every float, or two: all(first, last)\n  x=all(1)\n        ^"),
        ("x=all(2,1)", "there is no float from 2.0 to 1.0: the first end comes first\n  x=all(2,1)\n        ^"),
        ("x=all(a,1)", "a number is needed here, not a variable\n  x=all(a,1)\n        ^"),
    ],
)
def test_ends_of_all(text: str, message: str) -> None:
    """What `all` is given is two numbers in their order."""
    with pytest.raises(InputError) as caught:
        read(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "the seed must not be negative: -1"),
        ({"sample": 0}, "the number of samples must be at least 1: 0"),
        ({"domain": "x=5:0"}, "the domain 5.0:0.0 is empty: the first end must be less than the last\n  x=5:0\n    ^"),
        ({"domain": "x=1:1"}, "the domain 1.0:1.0 is empty: the first end must be less than the last\n  x=1:1\n    ^"),
        ({"domain": "x=5"}, "a domain is written name=a:b, such as x=0:5\n  x=5\n    ^"),
        ({"domain": "x=0:1:2"}, "a domain is written name=a:b, such as x=0:5\n  x=0:1:2\n    ^"),
        ({"domain": "y=0:1"}, "'y' is not an input (the only input is x)\n  y=0:1\n  ^"),
        ({"domain": "x=a:1"}, "a number is needed here, not a variable\n  x=a:1\n    ^"),
        ({"shape": "x=" + "1" * 30}, f"x has about 1e+17 entries; at most 10,000 are checked\n  x={'1' * 30}\n    ^"),
        (
            {"shape": "x=" + ",".join(["5000000"] * 8)},
            f"x has about 1e+53 entries; at most 10,000 are checked\n  x={','.join(['5000000'] * 8)}\n    ^",
        ),
        ({"domain": {"x": 3}}, "the domain of 'x' is a pair of numbers (a, b): 3"),
        (
            {"domain": "x=0:1", "at": "x=1"},
            "a domain says where to sample, but the points are given: add --sample, or leave one out",
        ),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """Seeds, counts and domains are checked before anything is drawn."""
    at = options.pop("at", None)
    with pytest.raises(InputError) as caught:
        read(at, **options)
    assert str(caught.value) == message


def test_a_domain_without_a_float() -> None:
    """A domain between two floats of the format is refused when the format is known."""
    with pytest.raises(InputError, match=r"no bfloat16 number lies in the domain of 'x', 0\.1:0\.1000001"):
        read(None, domain="x=0.1:0.1000001").values(BF16)


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda f: f.name)
@pytest.mark.parametrize("domain", [None, "x=0:5", "x=1e-3:1e6", "x=-1:1,y=0:", "x=:-2", "x=-inf:inf", "x=0.1:0.3"])
def test_samples(form: Any, domain: str | None) -> None:
    """As many as asked for, floats of the format inside of the domain, the same for the same seed only."""
    spec = read(None, "x", "y", sample=200, domain=domain, seed=3)
    values = spec.values(form)
    again = read(None, "x", "y", sample=200, domain=domain, seed=3).values(form)
    other = read(None, "x", "y", sample=200, domain=domain, seed=4).values(form)
    for name in ("x", "y"):
        assert len(values[name]) == 200
        assert np.isfinite(values[name]).all()
        assert (form.round(values[name]) == values[name]).all()
        low, high = spec.domain.get(name, (-math.inf, math.inf))
        assert ((low <= values[name]) & (values[name] <= high)).all()
        assert (values[name] == again[name]).all()
        assert (values[name] != other[name]).any()
    assert len(np.unique(values["x"])) > 80


def test_the_simplest_samples_come_first() -> None:
    """Special values, then short decimals, and the float's bit patterns last: huge and tiny ones."""
    values = read(None).values(F64)["x"]
    assert values.shape == (20,)
    assert values[:3].tolist() == [0.0, 1.0, -1.0]
    assert all(len(repr(v)) <= 5 for v in values[:7].tolist())
    assert (np.abs(np.log10(np.abs(values[-4:]))) > 10).any()
    assert (np.abs(values[3:-4]) < 1e4).all()


def test_ordinary_samples_lie_inside_of_the_domain() -> None:
    """Where some points are said to be of no use, others stand in their place, of the same format everywhere; what is special,
    or drawn over the bit patterns, stays, and so does everything where all of it is of use, or nothing is."""
    spec = read(None, "x", "y", sample=40)
    before = spec.values(F64)
    for form in (F64, F16):
        values = spec.values(form, lambda p: abs(p["x"]) <= 1 and p["y"] > 0)
        inside = (np.abs(values["x"]) <= 1) & (values["y"] > 0)
        assert inside[10:32].all() and not inside[:10].all() and not inside[32:].all()
    picked = spec.values(F64, lambda p: abs(p["x"]) <= 1 and p["y"] > 0)
    for kept in (slice(0, 10), slice(32, 40)):
        assert all((picked[name][kept] == before[name][kept]).all() for name in before)
    for useful in (True, False):
        same = spec.values(F64, lambda p, useful=useful: useful)  # type: ignore[misc]
        assert all((same[name] == before[name]).all() for name in before)


def test_names_stand_in_the_order_of_the_point() -> None:
    """As they were written, in texts and in mappings; in a grid the first of them runs slowest."""
    assert list(read("x=1,y=2", "y", "x").values(F64)) == ["x", "y"]
    assert list(read({"b": 1, "a": [1, 2]}, "a", "b").values(F64)) == ["b", "a[0]", "a[1]"]
    grid = read("x=linspace(0,1,2),y=linspace(0,1,2)", "y", "x").values(F64)
    assert grid["x"].tolist() == [0, 0, 1, 1]


def test_ends_of_the_domain_are_samples() -> None:
    """Both ends of a closed domain are checked, at the nearest float inside."""
    assert {0.0, 5.0} <= set(read(None, domain="x=0:5").values(F64)["x"])
    inside = read(None, domain="x=0.1:0.3").values(F16)["x"]
    assert 0.1 <= inside.min() < 0.1001
    assert 0.2995 < inside.max() <= 0.3


def test_points_and_samples_together() -> None:
    """With --sample the named points come first."""
    values = read("x=7", sample=3).values(F64)["x"]
    assert len(values) == 4
    assert values[0] == 7


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(sorted(FORMATS)))
def test_ordinals_are_the_order_of_the_floats(x: float, name: str) -> None:
    """A float's number leads back to it, and the next number to the next float."""
    form = FORMATS[name]
    value = np.clip(form.round(np.array([x])), -form.largest, form.largest)
    (ordinal,) = form.ordinals(value)
    (here,) = form.from_ordinals(np.array([ordinal]))
    assert here == value[0]
    if here < form.largest:
        (above,) = form.from_ordinals(np.array([ordinal + 1]))
        middle = form.round(here + (above - here) / 2)
        assert here < above
        assert middle in (here, above)


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(1, 100))
def test_linspace_between_whole_numbers_is_exact(a: int, b: int, steps: int) -> None:
    """Equal whole steps give whole numbers."""
    values = linspace(float(a), float(a + b * steps), steps + 1)
    assert values.tolist() == [a + b * i for i in range(steps + 1)]


@settings(max_examples=300)
@given(st.text(max_size=40) | st.text(alphabet="xy=,:()[]0123456789.-+*/lipnsaceof ", max_size=60))
def test_any_text_is_a_point_or_an_input_error(text: str) -> None:
    """Nothing but InputError comes out, whatever is typed."""
    for option in ("at", "domain"):
        try:
            at, domain = (text, None) if option == "at" else (None, text)
            spec = parse_points(at, ("x", "y"), domain=domain)
            assert spec.count(F64) <= MAX_POINTS
        except InputError as problem:
            assert problem.message  # noqa: PT017


@pytest.mark.parametrize("text", ["x=1;x=2", "x=1 x=2", "x=1,x=2", "x=1,y=2; x=3,y=4", "x=1; y=2; x=3; y=4"])
def test_the_advice_is_accepted(text: str) -> None:
    """What an error says to write for several points is read, as those points."""
    names = ("x", "y") if "y" in text else ("x",)
    with pytest.raises(InputError, match="several points one by one: ") as caught:
        read(text, *names)
    advice = str(caught.value).splitlines()[0].partition("one by one: ")[2]
    assert read([part.strip() for part in advice.split("--at ")[1:]], *names).count(FORMATS["float64"]) == 2
