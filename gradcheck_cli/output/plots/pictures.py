"""A report as one picture: of a network the size of gradients, otherwise errors, over what varies or entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gradcheck_cli.errors import InputError
from gradcheck_cli.output.plots import entries, errors, layers
from gradcheck_cli.output.plots.series import Series, inputs_that_vary, series_of
from gradcheck_cli.output.plots.style import INK, LONGEST, Picture, defaults, line, sheet
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.work import STOPPED

INPUTS = 3
"""Inputs that have a panel each."""
ARGUMENTS = 6
"""Arguments of which each entry is drawn."""


@dataclass(frozen=True)
class Part:
    """What goes into one pair of axes: how it is drawn, its size in inches, and what is seen, in words. `tells`: more than a
    table does."""

    draw: Callable[[Axes], None]
    width: float
    height: float
    words: str
    tells: bool = True


def parts(report: Report) -> list[list[Part]]:
    """Rows of panels. InputError where there is nothing to draw."""
    through = layers.layers_of(report)
    if through:
        return [[_through(found, len(through) > 1)] for found in through]
    series = series_of(report)
    if not series:
        raise InputError("there is nothing to draw: nothing was checked")
    dtypes = list(dict.fromkeys(s.dtype for s in series))
    names = inputs_that_vary(series) if _several_points(series) else []
    swept = report.problem.get("seed") is None  # not drawn
    rows = [[part for name in names[:INPUTS] if (part := _over(series, dtype, name, names, dtypes, swept))] for dtype in dtypes]
    rows = [row for row in rows if row]
    return rows or [[part] for dtype in dtypes for part in _entry_by_entry([s for s in series if s.dtype == dtype], dtype)]


def picture(report: Report, axes: Axes | None = None) -> Picture:
    """The picture, or the one panel in the axes of another one."""
    rows = parts(report)
    with defaults():
        if axes is not None:
            if sum(map(len, rows)) != 1:
                raise InputError(f"the picture has {sum(map(len, rows))} panels: leave out ax, or ask for one dtype and input")
            rows[0][0].draw(axes)
            return axes.figure  # type: ignore[return-value]
        wide = max(len(row) for row in rows)
        width = max(sum(part.width for part in row) for row in rows)
        height = sum(max(part.height for part in row) for row in rows)
        figure = sheet(min(width, 16.0), min(height, 60.0) + 0.9)
        grid = figure.add_gridspec(len(rows), wide, height_ratios=[max(p.height for p in row) for row in rows])
        for r, row in enumerate(rows):
            for c, part in enumerate(row):
                part.draw(figure.add_subplot(grid[r, c] if len(row) > 1 else grid[r, :]))
        figure.suptitle(title(report), x=0.01, ha="left", fontsize=11.5, color=INK, parse_math=False)
        _legend(figure)
        figure.words = "  ".join(part.words for row in rows for part in row)
    return figure


def tells(report: Report) -> bool:
    """Whether the picture says more than the tables of a page do."""
    try:
        return any(part.tells for row in parts(report) for part in row)
    except InputError:
        return False


def title(report: Report) -> str:
    """What was checked, and what was found; and that it wasn't all that was asked for."""
    stages = report.problem.get("stages") or []
    model = report.problem.get("model")
    what = str(model) if model else " | ".join(str(stage.get("expression", "")) for stage in stages)
    counts = ", ".join(f"{count:,} {name}" for name, count in report.counts.items())
    verdict = ", ".join([report.verdict.value, *(note.partition(" (")[0] for note in report.notes if note.startswith(STOPPED))])
    return f"{line(what or report.command, LONGEST - 10)}\n{line(f'{verdict}: {counts}')}"


def _legend(figure: Picture) -> None:
    """One for all panels, each name once, below them."""
    found: dict[str, dict[type, Any]] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, {}).setdefault(type(handle), handle)
    if found:
        columns = max(1, min(len(found), int(figure.get_size_inches()[0] // 2.4)))
        handles: list[Any] = [
            tuple(kinds.values()) if len(kinds) > 1 else next(iter(kinds.values())) for kinds in found.values()
        ]
        legend = figure.legend(handles, list(found), loc="outside lower left", ncols=columns, frameon=False, fontsize=8.5)
        for text in legend.get_texts():
            text.set_parse_math(False)
            text.set_color(INK)


def _several_points(series: Sequence[Series]) -> bool:
    """Whether there is more than one point at all."""
    return any(len({c.scope.heading() for c in s.columns}) > 1 or not s.columns[0].scope.single for s in series)


def _over(
    series: Sequence[Series], dtype: str, name: str, names: Sequence[str], dtypes: Sequence[str], swept: bool
) -> Part | None:
    """The panel of a dtype and an input; None where nothing varies."""
    heading = ", ".join([dtype] * (len(dtypes) > 1) + [f"over {name}"] * (len(names) > 1))
    panel = errors.panel(series, dtype, name, heading, swept)
    finite = np.concatenate([x[np.isfinite(x)] for x in panel.numbers]) if panel.numbers else np.zeros(0)
    if len(np.unique(finite)) < 2:
        return None
    several = len(names) > 1
    return Part(lambda axes: errors.draw(axes, panel), 5.2 if several else 8.0, 3.0 if several else 3.6, panel.words)


def _through(found: layers.Layers, several: bool) -> Part:
    heading = f"{found.dtype}, {found.mode}" if several else ""
    width = min(14.0, max(7.0, 0.32 * len(found.titles)))
    return Part(lambda axes: layers.draw(axes, found, heading), width, 4.0, found.words)


def _entry_by_entry(series: Sequence[Series], dtype: str) -> list[Part]:
    """Where no input varies: a row each where they are few, otherwise a panel for each argument."""
    single = [entries.worst_of_points(s) for s in series]
    count = sum(len(s.error) for s in single)
    told = "; ".join(entries.words(s) for s in single)
    if count <= entries.ROWS:
        return [Part(lambda axes: entries.draw_rows(axes, single, dtype, dtype), 8.0, 1.2 + 0.26 * count, told, tells=False)]
    return [_argument(s) for s in sorted(single, key=lambda s: s.weight, reverse=True)[:ARGUMENTS]]


def _argument(s: Series) -> Part:
    heading, shape = f"{s.label} ({s.dtype}, {', '.join(s.modes)})", entries.shape_of(s)
    if len(shape) > 1 and min(shape[-1], len(s.error) // shape[-1]) > 1:
        return Part(lambda axes: entries.draw_map(axes, s, heading), 8.0, 3.6, entries.words(s))
    name = "number of the entry"
    panel = errors.Panel(s.dtype, name, (s,), (np.arange(len(s.error), dtype=np.float64),), 0, heading)
    return Part(lambda axes: errors.draw(axes, panel), 8.0, 3.6, panel.words)
