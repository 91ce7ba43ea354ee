"""Numbers for a reader: short, aligned, and their errors in a unit that means something."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_cli.floats import FORMATS
from gradcheck_cli.output.figures import aligned, brief, error, number, point, ulps
from gradcheck_cli.verdict.column import Check, Column
from gradcheck_cli.verdict.scope import OfTensor
from gradcheck_cli.verdict.verdicts import Cause, Verdict

MISMATCH, IMPRECISE, MATCH = Verdict.MISMATCH, Verdict.IMPRECISE, Verdict.MATCH


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (1.0, "float64", "1.0"), (0.1, "float64", "0.1"), (float(np.float32(0.1)), "float32", "0.1"),
        (1e20, "float32", "1e+20"),
        (float(np.float16(0.1)), "float16", "0.1"), (0.10009765625, "bfloat16", "0.1"), (math.nan, "float32", "nan"),
        (-math.inf, "float16", "-inf"), (None, "float64", "-"), (-0.0, "float64", "-0.0"), (-0.0, "bfloat16", "-0.0"),
    ],
)  # fmt: skip
def test_numbers_are_short(value: float | None, dtype: str, text: str) -> None:
    """The shortest decimal of the dtype, not of the double that carries it."""
    assert number(value, dtype) == text


@given(st.floats(width=16) | st.floats(width=32), st.sampled_from(["float16", "bfloat16", "float32"]))
def test_numbers_read_back(x: float, dtype: str) -> None:
    """Rounding the decimal to the dtype gives the number again."""
    value = float(FORMATS[dtype].round(x))
    back = float(FORMATS[dtype].round(float(number(value, dtype))))
    assert back == value or (math.isnan(back) and math.isnan(value))


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0 ulp"), (0.31415, "0.314 ulp"), (1234.5, "1,230 ulp"), (9_999.0, "10,000 ulp")]
)
def test_ulps(value: float, text: str) -> None:
    """Three significant digits and the unit."""
    assert ulps(value) == text


def check(exact: float, autograd: float, off: float | None, verdict: Verdict, cause: Cause | None = None) -> tuple[Check, arb]:
    made = Column.blank(OfTensor({}), 1, of="y", wrt=("x",)).check(0)
    return replace(made, autograd=autograd, error_ulps=off, verdict=verdict, cause=cause), arb(exact)


@pytest.mark.parametrize(
    ("exact", "autograd", "off", "verdict", "cause", "text"),
    [
        (1, 1.0, 0.0, MATCH, None, "0 ulp"),
        (1, 1.0, 1.38, MATCH, None, "1.38 ulp"),
        (1, 1.0 + 2**-43, 512.0, MISMATCH, Cause.KERNEL, "512 ulp"),
        (1, 1.5, 2.0**51, MISMATCH, Cause.KERNEL, "0.5 rel"),
        (1, 3.0, 2.0**53, MISMATCH, Cause.FORMULA, "2 rel"),
        (1, 1.0 + 2**-43, 512.0, MISMATCH, Cause.FORMULA, "1.14e-13 rel"),
        (4, 0.0, 3.0, IMPRECISE, None, "1 rel"),
        (0, 0.25, 1e300, MISMATCH, Cause.FORMULA, "0.25 abs"),
        (0, 1e-20, 1e290, MATCH, None, "1e-20 abs"),
        (1, math.inf, math.inf, MISMATCH, Cause.RANGE, "-"),
        (1, math.nan, None, MISMATCH, Cause.NAN_TRAP, "-"),
    ],
)
def test_a_unit_that_means_something(
    exact: float, autograd: float, off: float | None, verdict: Verdict, cause: Cause | None, text: str
) -> None:
    """Ulps for rounding, while they are few; a relative error for what is wrong or lost; a size where exact is 0."""
    assert error(*check(exact, autograd, off, verdict, cause)) == text


@given(st.floats(), st.floats(), st.sampled_from(list(Verdict)), st.sampled_from([None, *Cause]), st.floats(0))
def test_no_error_is_a_huge_number_of_ulps(
    exact: float, autograd: float, verdict: Verdict, cause: Cause | None, off: float
) -> None:
    """Whatever the numbers: at most 10,000 of them, and never `inf ulp`."""
    text = error(*check(exact, autograd, off, verdict, cause))
    assert not text.endswith("ulp") or float(text.removesuffix(" ulp").replace(",", "")) <= 10_000


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("1.5", "1.25", ("1.5", "1.25", 2)),
        ("12.5", "1.25", ("12.5", " 1.25", None)),
        ("-0.5", "0.5", ("-0.5", " 0.5", None)),
        ("0.0000114787451", "1.1478e-05", ("0.0000114787451", "0.000011478", 11)),
        ("4.0002e-267", "4.0003e-267", ("4.0002e-267", "4.0003e-267", 5)),
        ("4.5e-267", "1.25e-269", ("4.5e-267", "0.0125e-267", None)),
        ("4e-18", "0.0", ("4e-18", "0.0", None)),
        ("6", "6.0", ("6", "6.0", None)),
        ("6", "6.5", ("6", "6.5", 2)),
        ("-", "nan", ("-", "nan", None)),
        ("-1", "nan", ("-1", " nan", None)),
        ("1e300", "1e-300", ("1e300", "1e-300", None)),
    ],
)
def test_digits_stand_under_one_another(one: str, other: str, shown: tuple[str, str, int | None]) -> None:
    """In one notation; and the place of the first digit that differs after some that don't."""
    assert aligned(one, other) == shown


@given(st.floats(1e-300, 1e300), st.floats(-1e-9, 1e-9))
def test_aligned_numbers_are_the_same_numbers(x: float, by: float) -> None:
    """What is shown reads back as the number, whatever the notation."""
    one, other, differs = aligned(repr(x), repr(x * (1 + by)))
    assert (float(one), float(other)) == (x, x * (1 + by))
    starts = [text.partition("e")[0][:differs] for text in (one, other)]
    assert differs is None or starts[0].rstrip("0.") == starts[1].rstrip("0.")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("0.0987336430496937954", "0.098733643"), ("-4.99971169716673831e-10", "-4.9997117e-10"), ("2.5", "2.5"), ("nan", "nan"),
     ("[-1, 1]", "[-1, 1]"), ("123456789012.0", "1.2345679e11")],
)  # fmt: skip
def test_brief_numbers(text: str, shown: str) -> None:
    """Eight digits; what isn't a number stays."""
    assert brief(text) == shown


def test_points_are_short() -> None:
    """Of a large array its shape and a few numbers; under --verbose all of them."""
    y = [[1.0, 2.5], [3.0, 0.1234567890123]]
    values = {"x": 0.1234567890123, "y": y, "z": [float(i) for i in range(9)], "w": "3x4 numbers"}
    assert point(values, "float64") == (
        "x = 0.1234567890123, y = [[1, 2.5], [3, 0.12346]], z = 9 numbers (0, 1, 2, 3, ...), w = 3x4 numbers"
    )
    assert point({"y": y}, "float64", whole=True) == "y = [[1, 2.5], [3, 0.1234567890123]]"
