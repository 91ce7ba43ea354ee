"""The user's own limits, which replace the built-in judgement."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The user's own limits, which replace the built-in judgement; None where not given."""

    rtol: float | None = None
    atol: float | None = None
    ulps: float | None = None

    @property
    def given(self) -> bool:
        return not (self.rtol is None and self.atol is None and self.ulps is None)

    def allow(self, difference: float, exact: float, error_ulps: float) -> bool:
        """`|autograd - exact| <= atol + rtol*|exact|`, or at most `ulps` ulps; whichever was given."""
        if self.ulps is not None and error_ulps <= self.ulps:
            return True
        if self.rtol is None and self.atol is None:
            return False
        return difference <= (self.atol or 0.0) + (self.rtol or 0.0) * abs(exact)
