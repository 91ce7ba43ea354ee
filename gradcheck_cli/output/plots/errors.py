"""The error of autograd over what it was taken at: one panel for each dtype and input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.scale import SymmetricalLogScale
from matplotlib.ticker import AutoLocator

from gradcheck_cli.floats import FORMATS, Floats
from gradcheck_cli.output.plots.marks import GREY, LINES, MARKS, Mark
from gradcheck_cli.output.plots.scale import Cells, Scale, active, cells, ranges, scale_of
from gradcheck_cli.output.plots.series import Series, chosen
from gradcheck_cli.output.plots.style import INK, decades, level, levels, line, plain, power, ticked
from gradcheck_cli.verdict.verdicts import Verdict

TOP = 1e4
"""The largest error that has a place of its own: at ten thousand times the exact value it doesn't matter any more."""

WIDE = 4.5
"""Inches of an axis that has room for many ticks."""
SPARSE = 120
"""Numbers of an axis, each of which is drawn as a dot."""
KINKS = 12
"""Kinks that are drawn as a line each."""
MARKED = SPARSE
"""Marks of one kind in a panel: of more, so many are drawn, evenly; where each number is a dot, each has its mark."""

_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)))
_DOTS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Panel:
    """What is drawn in one pair of axes: series of one dtype over one input. `left_out`: series without room. `swept`: the
    points lie side by side, and a line says what is between them."""

    dtype: str
    name: str
    series: tuple[Series, ...]
    numbers: tuple[Floats, ...]
    left_out: int
    title: str
    swept: bool = True

    @property
    def scale(self) -> Scale:
        """That of all numbers."""
        u = FORMATS[self.dtype].unit_roundoff
        x = np.concatenate(self.numbers)
        live = np.concatenate([active(s.error, s.codes, u) for s in self.series])
        return scale_of(x[np.isfinite(x)], live[np.isfinite(x)])

    @property
    def words(self) -> str:
        """What it shows, for those who can't see it."""
        return f"Over {self.name} in {self.dtype}: " + "; ".join(
            _told(s, x, self.name) for s, x in zip(self.series, self.numbers, strict=True)
        )


def panel(series: Sequence[Series], dtype: str, name: str, title: str, swept: bool) -> Panel:
    """The series of a dtype over an input."""
    shown, left_out = chosen(_once([s for s in series if s.dtype == dtype and name in s.over], name))
    return Panel(dtype, name, tuple(shown), tuple(s.over[name] for s in shown), left_out, title, swept)


def _once(series: Sequence[Series], name: str) -> list[Series]:
    """Series of the same errors as one, with all names: one line would hide the others."""
    found: dict[tuple[bytes, ...], list[Series]] = {}
    for s in series:
        found.setdefault((s.error.tobytes(), s.codes.tobytes(), s.over[name].tobytes()), []).append(s)
    return [replace(same[0], label=", ".join(dict.fromkeys(s.label for s in same))) for same in found.values()]


def draw(axes: Axes, panel: Panel) -> None:
    """Draw a panel. Names of what is drawn go to the legend's labels."""
    scale = panel.scale
    drawn = [cells(x, s.error, s.codes, scale) for s, x in zip(panel.series, panel.numbers, strict=True)]
    low, top = _span(panel.dtype, drawn)
    beyond = top * 10 ** (0.1 * math.log10(top / low))  # the strip for what has no place on the axis
    plain(axes, panel.name, "relative error", panel.title)
    _place(axes, scale)
    axes.set_yscale("log")
    axes.set_ylim(low, beyond)
    strip = math.sqrt(top * beyond)
    decades(axes.yaxis, low * 1.01, top, extra=((low, f"≤ {power(low)}"), (strip, f"> {power(top)} or none")))
    axes.axhspan(top, beyond, color=GREY, alpha=0.12, linewidth=0, zorder=0.5)
    for value, words in levels(panel.dtype):
        level(axes, value, words)
    _shade(axes, drawn, (low, beyond))
    for number, (s, c) in enumerate(zip(panel.series, drawn, strict=True)):
        _line(axes, c, number, _name(s, panel.series), (low, top, strip), panel.swept)
    for c in drawn:
        _marks(axes, c, low, top, strip)
    _corner(axes, panel, scale)


def _name(series: Series, among: Sequence[Series]) -> str:
    """What the legend calls it: with its modes, where there are several."""
    modes = {mode for s in among for mode in s.modes}
    return line(series.label + (f" ({', '.join(series.modes)})" if len(modes) > 1 else ""), 48)


def _span(dtype: str, drawn: Sequence[Cells]) -> tuple[float, float]:
    """The errors at the lower edge, and at the upper one."""
    low = 10.0 ** math.floor(math.log10(FORMATS[dtype].unit_roundoff / 8))
    errors = np.concatenate([c.worst[np.isfinite(c.worst)] for c in drawn])
    highest = float(errors.max(initial=0.0))
    return low, 10.0 ** math.ceil(math.log10(min(max(highest * 1.5, 10.0), TOP)))


def _place(axes: Axes, scale: Scale) -> None:
    """The axis of the input."""
    if scale.kind == "linear":
        margin = (scale.high - scale.low) * 0.01 if math.isfinite(scale.high - scale.low) else 0.0
        axes.set_xlim(scale.low - margin, scale.high + margin)
        axes.xaxis.set_major_locator(AutoLocator())
    elif scale.kind == "log":
        axes.set_xscale("log")
        axes.set_xlim(scale.low, scale.high)
        decades(axes.xaxis, scale.low, scale.high, 9 if _is_wide(axes) else 5)
    else:
        axes.set_xscale(SymmetricalLogScale(axes.xaxis, linthresh=scale.threshold))
        axes.set_xlim(scale.low, scale.high)
        ticked(axes.xaxis, _both_ways(scale, 4 if _is_wide(axes) else 2))


def _is_wide(axes: Axes) -> bool:
    """Whether there is room for more than a few numbers below it."""
    return bool(axes.get_window_extent().width > WIDE * axes.figure.get_dpi())


def _both_ways(scale: Scale, most: int) -> list[float]:
    """Ticks of a symmetric axis: 0, and powers of 10 on both sides, few enough to be read."""
    first, ticks = round(math.log10(scale.threshold)), [0.0]
    last = math.floor(math.log10(max(-scale.low, scale.high)) + 1e-9)
    step = max(1, math.ceil((last - first + 1) / (most if last - first < 20 else 2)))
    for k in range(last, first - 1, -step):
        ticks += [10.0**k, -(10.0**k)]
    return [t for t in ticks if scale.low <= t <= scale.high]


def _height(error: Floats, low: float, top: float, strip: float) -> Floats:
    """Where errors are drawn: the smallest at the lower edge, what has no place in the strip."""
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(error > top, strip, np.maximum(error, low))
    return found


def _line(axes: Axes, c: Cells, number: int, name: str, edges: tuple[float, float, float], swept: bool) -> None:
    """One series: dots where there are few, or nothing is known between them; with more a line, and with very many the band
    from the best to the worst."""
    low, top, strip = edges
    color, dash = LINES[number % len(LINES)], _DASHES[number % len(_DASHES)] if swept or c.binned else ""
    dots = _DOTS[number % len(_DOTS)] if len(c.x) <= SPARSE or not dash else ""
    worst = np.where(c.worst > top, np.nan, _height(c.worst, low, top, strip))
    if c.binned:
        best = _height(c.best, low, top, strip)
        axes.fill_between(c.x, np.minimum(best, worst), worst, color=color, alpha=0.22, linewidth=0, zorder=2)
    axes.plot(
        c.x, worst, color=color, linestyle=dash, marker=dots, markersize=3.5, linewidth=1.3, label=name, zorder=3, clip_on=False
    )


def _marks(axes: Axes, c: Cells, low: float, top: float, strip: float) -> None:
    """What isn't a match, by its shape."""
    for code in sorted({code for _, _, code in c.points}):
        mark, places = MARKS[code], [(x, error) for x, error, k in c.points if k == code]
        if mark.name == Verdict.NONDIFFERENTIABLE:
            _kinks(axes, mark, [x for x, _ in places])
        elif mark.marker:
            some = places[:: max(1, math.ceil(len(places) / MARKED))]
            heights = [strip if math.isnan(error) else float(_height(np.array(error), low, top, strip)) for _, error in some]
            axes.scatter(
                [x for x, _ in some], heights, marker=mark.marker, s=46, color=mark.color, linewidths=0,
                label=mark.words, zorder=4, clip_on=False,
            )  # fmt: skip


def _kinks(axes: Axes, mark: Mark, places: Sequence[float]) -> None:
    """A line each; many of them as ticks at the lower edge."""
    if len(places) <= KINKS:
        for x in places:
            axes.axvline(x, color=INK, linestyle=(0, (1, 2)), linewidth=1.2, label=mark.words, zorder=2.5)
    else:
        axes.plot(
            places, [0.02] * len(places), linestyle="", marker="|", color=INK, markersize=9, label=mark.words,
            transform=axes.get_xaxis_transform(), zorder=2.5,
        )  # fmt: skip


def _shade(axes: Axes, drawn: Sequence[Cells], height: tuple[float, float]) -> None:
    """Ranges of what is no error of rounding; of one number alone a hairline, unless it has a mark."""
    found: dict[int, list[tuple[float, float]]] = {}
    for code, left, right in ranges(drawn):
        found.setdefault(code, []).append((left, right - left))
    for code, spans in found.items():
        mark, (low, high) = MARKS[code], height
        wide = [(left, width) for left, width in spans if width]
        if wide:
            axes.broken_barh(wide, (low, high - low), facecolor=mark.color, alpha=0.12, linewidth=0, zorder=0.8)
            axes.broken_barh(
                wide, (low, high - low), facecolor="none", edgecolor=mark.color, alpha=0.6, hatch=mark.shade, linewidth=0,
                label=mark.words, zorder=1,
            )  # fmt: skip
        lone = [] if mark.marker else [left for left, width in spans if not width]
        if lone:
            axes.vlines(lone, low, high, color=mark.color, linewidth=0.5, alpha=0.6, label=mark.words, zorder=1)


def _corner(axes: Axes, panel: Panel, scale: Scale) -> None:
    """What isn't seen: numbers beyond the axis, and series without room."""
    x = panel.numbers[0]
    beyond, infinite = int((~scale.holds(x[np.isfinite(x)])).sum()), int((~np.isfinite(x)).sum())
    notes = [f"{_counted(beyond, 'point')} beyond the axis: matches, or outside the domain"] if beyond else []
    notes += [f"{_counted(infinite, 'point')} without a place on the axis"] if infinite else []
    notes += [f"{_counted(panel.left_out, 'more derivative')} with smaller errors"] if panel.left_out else []
    if notes:
        text = axes.annotate("; ".join(notes), (0, 0), (0, -42), xycoords="axes fraction", textcoords="offset points", va="top")
        text.set(color=INK, fontsize=8, parse_math=False)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _told(s: Series, x: Floats, name: str) -> str:
    """A series in a sentence."""
    finite = np.flatnonzero(np.isfinite(s.error))
    counts = [(MARKS[code].words, int((s.codes == code).sum())) for code in np.unique(s.codes).tolist()]
    listed = ", ".join(f"{count:,} {words}" for words, count in counts)
    if not len(finite):
        return f"{s.label}: {listed}"
    worst = int(finite[int(np.argmax(s.error[finite]))])
    return f"{s.label}: largest error {s.error[worst]:.1e} at {name} = {x[worst]:.4g}; {listed}"
