"""The words of slips."""

from __future__ import annotations

import pytest

from gradcheck_cli.verdict.slips import Slip


@pytest.mark.parametrize(
    ("text", "slip"),
    [
        ("a sum for a mean: autograd is 3 times exact", Slip.SUM_FOR_MEAN),
        ("only w[1,0] of 24 entries is wrong", Slip.SOME_ENTRIES),
        ("the piece where x <= 0 is wrong: there autograd is 0", Slip.PIECES),
        ("the backward returns 0", Slip.ZERO_GRADIENT),
    ],
)
def test_a_slip_of_a_custom_function_is_the_same_word(text: str, slip: Slip) -> None:
    """Told of the whole, or of one Function in it."""
    assert Slip.of(text) is slip
    assert Slip.of(f"the backward of Norm (norm.py, line 3) is wrong by itself: {text}") is slip
