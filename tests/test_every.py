"""One test of all rows fails as one for each would."""

from __future__ import annotations

import pytest

from tests.every import every


def test_every_row_that_fails_is_named() -> None:
    """With what was wrong with it, and none besides; marks and words are those of the claim. No row is no proof."""

    @pytest.mark.slow(reason="none")
    def claim(row: int) -> None:
        """Odd."""
        assert row % 2, f"{row} is even"

    made = every([1, 2, 3, 4])(claim)
    with pytest.raises(AssertionError, match=r"^2: AssertionError: 2 is even[^1]*4: AssertionError: 4 is even") as caught:
        made()
    assert "3: " not in str(caught.value)
    assert (made.__name__, made.__doc__, made.pytestmark) == ("claim", "Odd.", claim.pytestmark)  # type: ignore[attr-defined]
    every([1, 3])(claim)()
    with pytest.raises(AssertionError, match="no row"):
        every([])(claim)()
