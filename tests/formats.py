"""The formats of floats that tests speak of."""

from __future__ import annotations

from gradcheck_cli.floats import FORMATS

DOUBLE, SINGLE = FORMATS["float64"], FORMATS["float32"]
