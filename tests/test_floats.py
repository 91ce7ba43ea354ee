"""Formats: ulps and rounding are those of NumPy's and torch's own floats, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from gradcheck_cli.floats import FORMATS, Format

NUMPY: dict[str, Any] = {"float64": np.float64, "float32": np.float32, "float16": np.float16}
BITS = {"float16": (np.uint16, 10), "float32": (np.uint32, 23), "float64": (np.uint64, 52), "bfloat16": (np.uint16, 7)}


def patterns(name: str, count: int = 50_000) -> Any:
    """Finite floats of a format drawn over its bit patterns, so that every size is met, as doubles."""
    rng = np.random.default_rng(20240501)
    kind = BITS[name][0]
    bits = rng.integers(0, np.iinfo(kind).max, count, dtype=kind, endpoint=True)
    if name == "bfloat16":
        values = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16).double().numpy()
    else:
        with np.errstate(invalid="ignore"):
            values = bits.view(NUMPY[name]).astype(np.float64)
    return values[np.isfinite(values)]


def rounded(name: str, values: Any) -> Any:
    """NumPy's or torch's conversion, as doubles."""
    if name == "bfloat16":
        return torch.from_numpy(values).to(torch.bfloat16).double().numpy()
    with np.errstate(over="ignore"):
        return values.astype(NUMPY[name]).astype(np.float64)


def same(x: Any, y: Any) -> bool:
    """Equal everywhere, the signs of zeros and the places of nan included."""
    return bool(np.array_equal(x, y, equal_nan=True) and np.array_equal(np.signbit(x), np.signbit(y)))


by_format = pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)


@by_format
def test_range_is_that_of_torch(form: Format) -> None:
    """Largest, smallest normal, smallest subnormal and unit roundoff agree with torch.finfo."""
    info = torch.finfo(getattr(torch, form.name))
    assert form.largest == info.max
    assert form.width == info.bits
    assert form.smallest_normal == info.smallest_normal
    assert form.unit_roundoff == info.eps / 2
    assert form.smallest_subnormal == info.smallest_normal * info.eps > 0


@pytest.mark.parametrize("name", NUMPY)
def test_ulp_is_the_gap(name: str) -> None:
    """The ulp of a float is the gap that NumPy sees beyond its size, at bit patterns of every size."""
    values = patterns(name)
    values = values[np.abs(values) < FORMATS[name].largest]
    gaps = np.spacing(np.abs(values).astype(NUMPY[name])).astype(np.float64)
    assert np.array_equal(FORMATS[name].ulp(values), gaps)


@by_format
def test_ulp_at_the_edges(form: Format) -> None:
    """At and below the smallest normal number the ulp is the smallest subnormal; at 1 twice the roundoff."""
    tiny = form.smallest_subnormal
    assert form.ulp([0.0, -0.0, tiny, form.smallest_normal, -form.smallest_normal]).tolist() == [tiny] * 5
    assert form.ulp([1.0, 1.5, -2.0]).tolist() == [2 * form.unit_roundoff] * 2 + [4 * form.unit_roundoff]
    assert form.ulp(np.nextafter(1.0, 0)) == form.unit_roundoff
    below = 2.0**form.maximum_exponent * (2 - 2.0 ** (2 - form.bits))  # the largest float's lower neighbour
    assert form.ulp(form.largest) == form.largest - below
    assert np.isnan(form.ulp([np.inf, -np.inf, np.nan])).all()


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_round_is_the_conversion_of_the_library(name: str) -> None:
    """Random doubles, ties, neighbours of ties, and the edge of overflow round as NumPy and torch round them."""
    form = FORMATS[name]
    floats = patterns(name)
    # torch goes to bfloat16 through float32: doubles that float32 holds exactly are rounded once
    near = floats * (1 + np.linspace(-1, 1, len(floats)) * 2 * form.unit_roundoff)
    halfway = floats + form.ulp(floats) / 2
    edge = form.largest + form.ulp(form.largest) * np.array([0.25, 0.4999, 0.5, 0.75, 1.0])
    values = np.concatenate([floats, near, halfway, np.nextafter(halfway, 0), np.nextafter(halfway, np.inf), edge, -edge])
    small = np.concatenate([values, [0.0, -0.0, np.inf, -np.inf, np.nan, form.smallest_subnormal / 2, 1e-320, -1e300]])
    if name == "bfloat16":
        with np.errstate(over="ignore"):
            small = small.astype(np.float32).astype(np.float64)
    assert same(form.round(small), rounded(name, small))


@by_format
def test_floats_stay(form: Format) -> None:
    """A float of the format is its own nearest."""
    values = patterns(form.name)
    assert same(form.round(values), values)


@pytest.mark.parametrize(("name", "count"), [("float16", 63_488), ("bfloat16", 65_280)])
def test_every_float(name: str, count: int) -> None:
    """All finite floats of a 16-bit format: 2**16 patterns without the exponent of infinities and nans, in order."""
    values = FORMATS[name].every_float()
    mantissa = BITS[name][1]
    assert len(values) == count == 2**16 - 2 * 2**mantissa
    assert np.all(np.diff(values) >= 0)
    assert values[-1] == -values[0] == FORMATS[name].largest
    assert len(np.unique(values)) == count - 1  # the two zeros
    assert np.signbit(values[values == 0]).sum() == 1
    assert same(rounded(name, values), values)


def test_every_float_of_a_shorter_format() -> None:
    """A format of 8 bits needs no case of its own: all patterns of torch's, in order."""
    values = Format("float8_e5m2", 3, -14, 15).every_float()
    expected = torch.arange(256).to(torch.uint8).view(torch.float8_e5m2).double().numpy()
    assert len(values) == 256 - 8
    assert same(values, np.sort(expected[np.isfinite(expected)], kind="stable"))


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_every_float_of_a_wide_format_is_refused(name: str) -> None:
    """Wide formats are not listed."""
    with pytest.raises(ValueError, match=name):
        FORMATS[name].every_float()


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda f: f.name)
def test_the_gap_of_one_number_is_that_of_an_array(form: Format) -> None:
    """`gap` is `ulp` of a single number: at powers of two and beside them, at 0, at the ends of the range and beyond."""
    ends = [0.0, form.smallest_subnormal, form.smallest_normal, form.largest, 1e300, 5e-324, math.inf, -math.inf, math.nan]
    values = [s * v for v in ends + [2.0**k * m for k in range(-30, 30, 7) for m in (1.0, 1 - 2.0**-53, 1.5)] for s in (1, -1)]
    np.testing.assert_array_equal([form.gap(v) for v in values], form.ulp(values))
