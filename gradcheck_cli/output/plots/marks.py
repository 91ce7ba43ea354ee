"""THE table of marks: how each verdict, and each cause of a mismatch, is drawn: by shape and shade first, by colour besides.

Columns of a mark
-----------------
name      the verdict's word, or the cause's; of a mismatch whose cause nobody names, its own
marker    matplotlib's name of the shape that stands at its points; empty: none, for the place itself says it
color     see the palette
shade     matplotlib's name of the hatching of the ranges in which it holds; empty: they aren't shaded
words     what the legend says

The palette is Okabe and Ito's, which people with any colour blindness tell apart, in tones that are read on white and on black.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradcheck_cli.verdict.column import VERDICTS, Column
from gradcheck_cli.verdict.verdicts import Cause, Verdict

BLUE, ORANGE, GREEN, PURPLE, SKY, RED, GREY = "#0a7cc4", "#d98a00", "#009e73", "#c0679b", "#3aa3dd", "#d55e00", "#8a8f98"

LINES = (BLUE, GREEN, PURPLE, ORANGE, SKY, GREY)
"""Colours of derivatives, in order: each has a shape and a line style too."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A row. See the head of this file for the columns."""

    name: str
    marker: str
    color: str
    shade: str
    words: str


MARKS: tuple[Mark, ...] = (
    Mark(Verdict.MATCH, "", GREY, "", "match"),
    Mark(Verdict.IMPRECISE, "", ORANGE, "", "imprecise"),
    Mark(Verdict.NONDIFFERENTIABLE, "|", GREY, "", "kink: no derivative here"),
    Mark(Verdict.OUTSIDE_DOMAIN, "", GREY, "////", "outside the domain"),
    Mark(Verdict.UNDECIDED, "$?$", PURPLE, "....", "undecided"),
    Mark(Verdict.MISMATCH, "X", RED, "", "mismatch"),
    Mark(Cause.FORMULA, "X", RED, "", "mismatch: wrong formula"),
    Mark(Cause.RANGE, "v", RED, "\\\\\\\\", "mismatch: overflow or underflow (range)"),
    Mark(Cause.NAN_TRAP, "*", RED, "xxxx", "mismatch: nan_trap"),
    Mark(Cause.KINK, "^", RED, "", "mismatch: conventions at a kink"),
    Mark(Cause.KERNEL, "P", RED, "", "mismatch: a kernel of torch"),
    Mark(Cause.CONVERGENCE, "<", RED, "", "mismatch: an iteration that ended early"),
    Mark(Cause.NO_GRADIENT, "s", RED, "", "mismatch: no gradient"),
    Mark(Cause.CLAIM, "D", RED, "", "mismatch: the claim"),
    Mark(Cause.VALUE, "d", RED, "", "mismatch: the value itself"),
    Mark(Cause.TOLERANCE, "p", RED, "", "mismatch: beyond the tolerance"),
    Mark(Cause.CONVENTION, "h", RED, "", "mismatch: a rule of autograd broken"),
)

CODES: Mapping[str, int] = {mark.name: code for code, mark in enumerate(MARKS)}

Codes = npt.NDArray[np.uint8]

_OF_VERDICTS = np.array([CODES[verdict] for verdict in VERDICTS], dtype=np.uint8)


def codes(column: Column) -> Codes:
    """The row of the table for each entry of a column."""
    found: Codes = _OF_VERDICTS[column.verdicts]
    for index, detail in column.details.items():
        if detail.cause is not None and found[index] == CODES[Verdict.MISMATCH]:
            found[index] = CODES[detail.cause]
    return found
