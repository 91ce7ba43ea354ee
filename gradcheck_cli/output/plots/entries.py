"""The error of every entry, where no input varies: a row a derivative, a map of a matrix, or over the entry's number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from gradcheck_cli.floats import FORMATS, Floats
from gradcheck_cli.output.plots.marks import GREY, LINES, MARKS, Codes
from gradcheck_cli.output.plots.series import Series
from gradcheck_cli.output.plots.style import INK, PAPER, decades, level, levels, line, plain, power, ticked
from gradcheck_cli.verdict.verdicts import Verdict

ROWS = 40
"""Derivatives of which each has a row of its own."""
MARKED = 1_000
"""Entries of a map, up to which those that aren't right are marked."""
TOP = 1e4
"""As in errors.py."""


def worst_of_points(series: Series) -> Series:
    """One number for each entry of a tensor that was checked at several points: the worst."""
    sizes = {len(column) for column in series.columns}
    if len(series.columns) == 1 or len(sizes) != 1 or sizes == {1}:
        return series
    shape = len(series.columns), sizes.pop()
    error, codes = series.error.reshape(shape), series.codes.reshape(shape)
    size = np.where(np.isnan(error), -1.0, error) + np.where(codes > 0, 1e300, 0.0)  # what isn't a match comes first
    at = np.argmax(size, axis=0), np.arange(shape[1])
    return replace(series, error=error[at], codes=codes[at], over={}, columns=series.columns[:1])


def named(series: Sequence[Series]) -> list[tuple[str, float, int]]:
    """Every entry: what it is called, its error, and its row of the table of marks."""
    several = {mode for s in series for mode in s.modes}
    found = []
    for s in series:
        names = [column.label(i).quantity for column in s.columns for i in range(len(column))]
        more = f" ({', '.join(s.modes)})" if len(several) > 1 else ""
        found += [(name + more, float(e), int(c)) for name, e, c in zip(names, s.error, s.codes, strict=True)]
    return found


def draw_rows(axes: Axes, series: Sequence[Series], dtype: str, title: str) -> None:
    """A row a derivative, its error to the right."""
    entries = named(series)
    low = 10.0 ** math.floor(math.log10(FORMATS[dtype].unit_roundoff / 8))
    top, beyond = TOP / 100, TOP
    plain(axes, "relative error", "", "")
    axes.set_title(line(title), loc="left", fontsize=10, color=INK, pad=18, parse_math=False)
    axes.set_xscale("log")
    axes.set_xlim(low, beyond)
    strip = math.sqrt(top * beyond)
    decades(axes.xaxis, low * 1.01, top, extra=((low, f"≤ {power(low)}"), (strip, "larger,\nor none")), most=6)
    axes.axvspan(top, beyond, color=GREY, alpha=0.12, linewidth=0)
    for value, words in levels(dtype):
        level(axes, value, words.partition(",")[0].partition(":")[0], across=True)
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.set_yticks(range(len(entries)), [line(name, 40) for name, _, _ in entries], parse_math=False)
    for row, (_, error, code) in enumerate(entries):
        mark = MARKS[code]
        place = strip if not error <= top else max(error, low)
        if math.isnan(error) and not mark.marker:
            axes.text(low * 1.5, row, mark.words, va="center", fontsize=8, color=INK, parse_math=False)
            continue
        color = mark.color if code else LINES[0]
        axes.plot([low, place], [row, row], color=color, linewidth=1.2, alpha=0.6, clip_on=False)
        words = mark.words
        axes.scatter(
            [place],
            [row],
            marker=mark.marker or ("D" if code else "o"),
            s=44,
            color=color,
            label=words,
            zorder=3,
            clip_on=False,
        )


def shape_of(series: Series) -> tuple[int, ...]:
    """The shape of the tensor whose entries these are, off the names of the last one: of what is differentiated first, then of
    what it is differentiated by."""
    column = series.columns[-1]
    label = column.label(len(column) - 1)
    sizes = [
        int(n) + 1 for name in (label.of, *label.wrt) if name.endswith("]") for n in name[name.rindex("[") + 1 : -1].split(",")
    ]
    return tuple(sizes) if sizes and math.prod(sizes) == len(series.error) else (len(series.error),)


def draw_map(axes: Axes, series: Series, title: str) -> None:
    """A matrix of errors: the colour says how large, the shape what is wrong."""
    shape = shape_of(series)
    rows, columns = math.prod(shape[:-1]), shape[-1]
    u = FORMATS[series.dtype].unit_roundoff
    error: Floats = series.error.reshape(rows, columns)
    codes: Codes = series.codes.reshape(rows, columns)
    low, top = 10.0 ** math.floor(math.log10(u / 8)), 1.0
    image = axes.imshow(
        np.ma.masked_invalid(np.where(np.isinf(error), top, np.maximum(error, low))), norm=LogNorm(low, top), cmap="cividis",
        aspect="auto", interpolation="nearest",
    )  # fmt: skip
    plain(axes, "last index", "first index" if len(shape) == 2 else "indices before it", title)
    axes.grid(False)
    axes.set_facecolor((0.55, 0.55, 0.55, 0.35))
    for axis, count in ((axes.xaxis, columns), (axes.yaxis, rows)):
        axis.set_major_locator(MaxNLocator(min(count, 12), integer=True, min_n_ticks=1))
    bar = axes.figure.colorbar(image, ax=axes, extend="both", label="relative error")
    bar.outline.set_visible(False)
    half = math.sqrt(u)
    words = ((low, f"≤ {power(low)}"), (u, f"{u:.1e}: unit roundoff"), (half, f"{half:.1e}: half of the digits"), (top, "≥ 1"))
    ticked(bar.ax.yaxis, [], words)
    bar.ax.tick_params(labelsize=9)
    if codes.size <= MARKED:
        for code in np.unique(codes[codes > 0]).tolist():
            mark = MARKS[code]
            y, x = np.nonzero(codes == code)
            size = float(np.clip(4_000 / max(codes.size, 1), 12, 60))
            axes.scatter(
                x, y, marker=mark.marker or "D", s=size, color=mark.color, edgecolors=PAPER, linewidths=0.6, label=mark.words
            )


def words(series: Series) -> str:
    """What is seen, for those who can't."""
    count, finite = len(series.error), series.error[np.isfinite(series.error)]
    wrong = int(np.isin(series.codes, [i for i, m in enumerate(MARKS) if m.words.startswith(Verdict.MISMATCH)]).sum())
    largest = f"largest error {finite.max():.1e}" if len(finite) else "no error known"
    return f"{series.label} in {series.dtype}: {count:,} entr{'y' if count == 1 else 'ies'}, {largest}" + (
        f", {wrong:,} mismatch{'es' * (wrong != 1)}" if wrong else ""
    )
