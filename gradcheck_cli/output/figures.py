"""Numbers for a reader: short, in units that mean something, and aligned where two are to be compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from gradcheck_cli.floats import FORMATS
from gradcheck_cli.language.spaces import imag_of, real_of
from gradcheck_cli.verdict.column import Check, Column
from gradcheck_cli.verdict.numbers import decimal
from gradcheck_cli.verdict.verdicts import Cause, Verdict

LEGIBLE = 60
"""Characters of an exact value that are shown: the exponent of what is far beyond every format may have hundreds."""
BRIEF, LEAST = 8, 5
"""Significant digits of a number in a table that has no room for all of them, or hardly any."""
MANY = 10_000.0
"""Ulps, from which on a relative error says more."""
FEW = 6
"""Numbers of an array that are shown whole; of a larger one its shape and the first `FEW - 2`."""
ROUGH = 5
"""Significant digits of the numbers that are shown of a larger array."""

_WRONG = (Cause.FORMULA, Cause.CONVERGENCE, Cause.NO_GRADIENT, Cause.CLAIM, Cause.VALUE, Cause.KINK, Cause.CONVENTION)
"""Causes that are no matter of rounding: ulps say nothing of them."""


def number(value: float | None, dtype: str = "float64") -> str:
    """The shortest decimal that reads back as the same float of the dtype; a dash for None."""
    if value is None:
        return "-"
    if not math.isfinite(value) or dtype == "float64":
        return repr(float(value))
    if dtype == "float32":
        return str(np.float32(value))
    format = FORMATS[dtype]
    texts = (f"{value:.{digits}g}" for digits in range(1, 17))
    return repr(float(next((t for t in texts if float(format.round(float(t))) == value), repr(value))))


def exact(check: Check, ball: Any) -> str:
    """The exact value with two digits more than the dtype holds; where there is none, the one-sided ones."""
    value = decimal(ball, math.ceil(FORMATS[check.dtype].bits * math.log10(2)) + 2)
    if value is not None:
        return value if len(value) <= LEGIBLE else f"{value[:LEGIBLE]}..."
    if check.verdict is Verdict.OUTSIDE_DOMAIN:
        return "undefined"
    sides = sorted({side for side in (check.left, check.right) if side is not None}, key=float)
    return f"[{', '.join(sides)}]" if len(sides) > 1 else "".join(sides) or "-"


def judged(check: Check) -> str:
    """Autograd's value, or the claim's; a dash where it wasn't asked."""
    if check.autograd is None:
        return "none" if check.cause is Cause.NO_GRADIENT else "-"
    return number(check.autograd, check.dtype)


def brief(text: str, digits: int = BRIEF) -> str:
    """A number with fewer digits; any other text as it is."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    if not value.is_finite() or len(value.as_tuple().digits) <= digits:
        return text
    forms = (f"{value:.{digits}g}", f"{value:.{digits - 1}e}")
    return min((_trimmed(form.replace("e+", "e")) for form in forms), key=len)


def _trimmed(text: str) -> str:
    """Without zeros at the end of a fraction."""
    mantissa, e, exponent = text.partition("e")
    return (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa) + e + exponent


def short(value: float) -> str:
    """`7.5`, `16`"""
    return f"{value:.1f}".removesuffix(".0")


# -- errors ------------------------------------------------------------------------------------------------------------


def ulps(error: float) -> str:
    """`0.31 ulp`, `2,290 ulp`: three digits."""
    return f"{error:.3g} ulp" if error < 1000 else f"{float(f'{error:.3g}'):,.0f} ulp"


def relative(ball: Any, value: float | None) -> float | None:
    """The distance of a float from a ball, relative to it; None where that has no meaning."""
    if ball is None or value is None or not math.isfinite(value) or not ball.is_finite() or ball.contains(0):
        return None
    found = float(abs(ball.mid() - value) / abs(ball.mid()))
    return found if math.isfinite(found) else None


def absolute(ball: Any, value: float | None) -> float | None:
    """How far a float is off where exact is 0; None elsewhere."""
    return abs(value) if ball is not None and value is not None and math.isfinite(value) and ball.contains(0) else None


def error(check: Check, ball: Any) -> str:
    """In the unit that means something: ulps for rounding, a relative error for what is wrong, a size beside 0; a dash where
    there is none."""
    off = check.error_ulps
    if off == 0:
        return "0 ulp"
    size = absolute(ball, check.autograd)
    if size is not None:
        return f"{size:.3g} abs"
    if off is not None and off < MANY and check.cause not in _WRONG and check.verdict is not Verdict.IMPRECISE:
        return ulps(off)
    share = relative(ball, check.autograd)
    return "-" if share is None else f"{share:.3g} rel"


def explained(check: Check, ball: Any, rounded: float | None = None) -> str:
    """The error in words: its two parts where they are known, and what is left of the digits; empty where nothing is known.
    `rounded`: how far rounding may lead, which is at least a roundoff of what was added up."""
    formula, rounding = (None, None) if check.cause is Cause.NO_GRADIENT else (check.formula_error, check.rounding_error)
    if formula:
        return (
            f"formula error {formula:.3g}"
            + (f", rounding error {rounding:.3g}" if rounding is not None else "")
            + " (relative)"
        )
    parts = []
    size, share, text = absolute(ball, check.autograd), relative(ball, check.autograd), error(check, ball)
    if size is None and check.error_ulps and text.endswith("ulp"):
        parts.append(f"off by {text}")
    if formula == 0:
        parts.append("formula: right")
    if size:
        terms = (rounded or 0.0) / FORMATS[check.dtype].unit_roundoff
        added = f" and about {terms:.2g} was added up" if terms else ""
        parts.append(f"off by {size:.3g}, where exact is 0{added}")
    elif formula == 0 and rounding:
        held = FORMATS[check.dtype].bits * math.log10(2)
        right = short(min(max(0.0, -math.log10(rounding)), held))
        parts.append(f"rounding error {rounding:.3g} (relative): {right} of {short(held)} digits are right")
    elif share:
        parts.append(f"relative error {share:.3g}")
    return ", ".join(parts)


# -- two numbers -------------------------------------------------------------------------------------------------------

_PLAIN = range(-5, 16)
"""Exponents of numbers that are written without one."""
_CLOSE = 3
"""Decimal exponents by which two numbers may differ that are written with the same one."""


def aligned(one: str, other: str) -> tuple[str, str, int | None]:
    """Two numbers in one notation, digit under digit; and the place of the first digit in which they differ, None where they
    have none in common (or all)."""
    try:
        values = [Decimal(one), Decimal(other)]
    except InvalidOperation:
        values = []
    if not values or not all(v.is_finite() and v for v in values):
        return (*_signed(one, other), None)
    exponents = [v.adjusted() for v in values]
    if all(e in _PLAIN for e in exponents):
        texts = [format(v, "f") for v in values]
        tail = ""
    elif abs(exponents[0] - exponents[1]) <= _CLOSE:
        texts = [format(v.scaleb(-exponents[0]), "f") for v in values]
        tail = f"e{exponents[0]}"
    else:
        return (*_signed(one, other), None)
    points = [len(text.partition(".")[0]) for text in texts]
    texts = [" " * (max(points) - point) + text for text, point in zip(texts, points, strict=True)]
    return texts[0] + tail, texts[1] + tail, _differ(*texts)


def _differ(one: str, other: str) -> int | None:
    """Where two aligned numbers differ, after digits that they share."""
    width = max(len(one), len(other))
    padded = [text + ("." if "." not in text else "") for text in (one, other)]
    padded = [text.ljust(width + 1, "0") for text in padded]
    place = next((i for i, (a, b) in enumerate(zip(*padded, strict=False)) if a != b), None)
    shared = padded[0][: place or 0]
    return place if any(c in "123456789" for c in shared) else None


def _signed(one: str, other: str) -> tuple[str, str]:
    """A blank before the one that has no sign, where the other has one."""
    signs = [text[:1] == "-" and text != "-" for text in (one, other)]
    return (one if signs[0] or not any(signs) else f" {one}"), (other if signs[1] or not any(signs) else f" {other}")


# -- points ------------------------------------------------------------------------------------------------------------


def point(values: Mapping[str, Any], dtype: str, *, whole: bool = False) -> str:
    """`x = 1, y = [0.5, 2]`; of arrays no more than a few digits, and of large ones the shape and a few numbers, unless they
    are wanted `whole`."""
    return ", ".join(f"{name} = {_place(value, dtype, whole)}" for name, value in whole_numbers(values, dtype).items())


def whole_numbers(values: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """The same, where `z.real` and `z.imag` are both there, `z`: 5+10j."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        base, _, part = name.rpartition(".")
        real, imag = values.get(real_of(base)), values.get(imag_of(base))
        if part in ("real", "imag") and real is not None and imag is not None and not isinstance(value, str):
            found.setdefault(base, _complex(real, imag, dtype))
        else:
            found[name] = value
    return found


def _complex(real: Any, imag: Any, dtype: str) -> Any:
    """A complex number as a text; a nested list of them."""
    if isinstance(real, (list, tuple)):
        return [_complex(*pair, dtype) for pair in zip(real, imag, strict=True)]
    second = _plain(imag, dtype)
    return f"{_plain(real, dtype)}{'' if second.startswith('-') else '+'}{second}j"


def _place(value: Any, dtype: str, whole: bool) -> str:
    """A number, a nested list of them, or the words that stand for a large tensor."""
    if isinstance(value, str):
        return value
    if not isinstance(value, (list, tuple)):
        return _plain(value, dtype)
    numbers = list(_flat(value))
    if whole or len(numbers) <= FEW:
        return _listed(value, dtype, whole)
    first = ", ".join(_listed(v, dtype, False) for v in numbers[: FEW - 2])
    return f"{'x'.join(map(str, _shape(value)))} numbers ({first}, ...)"


def _listed(value: Any, dtype: str, whole: bool) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_listed(v, dtype, whole) for v in value)}]"
    if isinstance(value, str):
        return value
    text = _plain(value, dtype)
    return text if whole or len(text) <= ROUGH + 2 else f"{value:.{ROUGH}g}"


def _plain(value: Any, dtype: str) -> str:
    return number(float(value), dtype).removesuffix(".0")


def _flat(value: Any) -> Iterable[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, (list, tuple)):
        shape.append(len(value))
        value = value[0] if value else None
    return shape


# -- words -------------------------------------------------------------------------------------------------------------


def named(check: Check) -> str:
    """`mismatch (formula)`"""
    return check.verdict.value + (f" ({check.cause.value})" if check.cause else "")


def party(column: Column) -> str:
    """Whose value is judged: autograd's, or the user's claim."""
    return "autograd" if column.claim is None else "claimed"


def weight(error: float) -> float:
    """An error in ulps, to be ordered by: none is less than any."""
    return -1.0 if math.isnan(error) else float(error)


def value(ball: Any) -> float | None:
    """The float nearest to a ball's midpoint."""
    return None if ball is None or not ball.is_finite() else float(ball.mid())
