"""The size of gradients through the layers of a network, from the output back to the input: where they vanish, explode, or
become nan."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes

from gradcheck_cli.floats import FORMATS, Floats
from gradcheck_cli.output.plots.marks import BLUE, GREEN, GREY, MARKS, Codes, codes
from gradcheck_cli.output.plots.series import base, middles
from gradcheck_cli.output.plots.style import INK, decades, level, line, plain
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Verdict

RETURNED, PARAMETERS = "by what the layer returned", "by its parameters"
NAMED = 40
"""Layers up to which each has its name on the axis."""

LETTER, GAP = 6.0, 8.0
"""Points: of a letter of a name, on average, and between two names."""
TURNS = ((0, 1.0), (35, 0.35), (70, 0.0))
"""Angles of names on the axis, and which share of their length they need then beside each other."""

_LOOKS: Mapping[str, tuple[str, str, str]] = {RETURNED: (BLUE, "-", "o"), PARAMETERS: (GREEN, "--", "s")}


@dataclass(frozen=True)
class Sizes:
    """The gradients of one group of one layer: the largest and the median |gradient|, of autograd and of the exact ones (nan
    where there is none), and the worst that is said of them. `lost`: how many are inf or nan."""

    largest: float
    median: float
    exact: float
    lost: int
    code: int


@dataclass(frozen=True)
class Layers:
    """One dtype and mode: layers from the output back, each with its groups; those that are wrong by themselves."""

    dtype: str
    mode: str
    titles: tuple[str, ...]
    groups: tuple[Mapping[str, Sizes], ...]
    wrong: frozenset[str]

    @property
    def words(self) -> str:
        """What is seen, for those who can't."""
        told = []
        for group in _LOOKS:
            found = [(title, g[group]) for title, g in zip(self.titles, self.groups, strict=True) if group in g]
            known = [(title, s.largest) for title, s in found if math.isfinite(s.largest)]
            if known:
                (first, a), (last, b) = known[0], known[-1]
                told.append(f"largest gradient {group}: {a:.2g} at {first}, {b:.2g} at {last}")
            told += [f"{s.lost:,} inf or nan at {title}" for title, s in found if s.lost][:3]
        told += [f"{title} is wrong by itself" for title in self.titles if title in self.wrong]
        return f"{self.dtype}, {self.mode}: " + "; ".join(told)


def layers_of(report: Report) -> list[Layers]:
    """What is known of gradients through layers, for each dtype and mode; nothing where the report isn't of a network."""
    runs: dict[tuple[str, str], list[Column]] = {}
    for column in report.columns:
        if column.scope.title is not None:
            runs.setdefault((column.dtype, column.mode), []).append(column)
    found = []
    for (dtype, mode), columns in runs.items():
        wrong = {str(c.scope.title) for c in columns if c.kind == "local" and c.having(Verdict.MISMATCH).any()}
        pairs = [(str(c.scope.title), _groups(c)) for c in columns if c.kind == "total"]
        pairs = [(title, groups) for title, groups in pairs if groups]
        if pairs:
            found.append(Layers(dtype, mode, tuple(t for t, _ in pairs), tuple(g for _, g in pairs), frozenset(wrong)))
    return found


def _groups(column: Column) -> dict[str, Sizes]:
    """The entries of a layer, but for those of what it returned itself, differentiated by the network's input: what is wrong
    with those is a mark of the layer."""
    layer = str(column.scope.title).partition(" ")[0]
    members: dict[str, list[int]] = {}
    apart = []
    for index in range(len(column)):
        label = column.label(index)
        if label.of == f"<v,{layer}>":
            apart.append(index)
            continue
        by = base(label.wrt[-1]) if label.wrt else ""
        returned = by in ("", layer, f"{layer}.output") or by.startswith(f"{layer}.output.")
        members.setdefault(RETURNED if returned else PARAMETERS, []).append(index)
    exact, rows = np.abs(middles(column)), codes(column)
    found = {group: _sizes(np.abs(column.autograd[some]), exact[some], rows[some]) for group, some in members.items()}
    if apart and RETURNED in found:
        found[RETURNED] = replace(found[RETURNED], code=max(found[RETURNED].code, _worst(rows[apart])))
    return found


def _worst(rows: Codes) -> int:
    """The mark of a mismatch among some entries; that of a match where there is none."""
    return max((int(code) for code in rows if MARKS[code].words.startswith(Verdict.MISMATCH)), default=0)


def _sizes(found: Floats, exact: Floats, rows: Codes) -> Sizes:
    known = found[np.isfinite(found)]
    true = exact[np.isfinite(exact)]
    return Sizes(
        largest=float(known.max()) if len(known) else math.nan,
        median=float(np.median(known)) if len(known) else math.nan,
        exact=float(true.max()) if len(true) else math.nan,
        lost=len(found) - len(known),
        code=_worst(rows),
    )


def draw(axes: Axes, layers: Layers, title: str) -> None:
    """Draw one dtype and mode."""
    low, high = _span(layers)
    room = 10 ** (0.05 * math.log10(high / low))  # half of the height of the strips below and above
    zero, none, edge, beyond = low / room, high * room, low / room**2, high * room**2
    plain(axes, "from the output back to the input  →", "size of the gradient", title)
    axes.set_yscale("log")
    axes.set_ylim(edge, beyond)
    decades(axes.yaxis, low, high, extra=((zero, "0"), (none, "inf, nan")))
    for strip in ((edge, low), (high, beyond)):
        axes.axhspan(*strip, color=GREY, alpha=0.12, linewidth=0, zorder=0.5)
    form = FORMATS[layers.dtype]
    for value, words in ((form.smallest_normal, "smallest normal number"), (form.largest, "largest number")):
        if low < value < high:
            level(axes, value, f"{words}\nof {layers.dtype}:\n{value:.1e}")
    for group in _LOOKS:
        _group(axes, layers, group, (zero, low, none))
    _names(axes, layers)


def _group(axes: Axes, layers: Layers, group: str, edges: tuple[float, float, float]) -> None:
    """The largest ones as a line, the medians hollow, exact ones as crosses, marks where something is wrong."""
    color, dash, shape = _LOOKS[group]
    places = [i for i, groups in enumerate(layers.groups) if group in groups]
    if not places:
        return
    zero, low, none = edges
    sizes = [layers.groups[i][group] for i in places]

    def height(value: float) -> float:
        return math.nan if math.isnan(value) else zero if value < low else value

    few = shape if len(layers.titles) <= 80 else ""
    for found, dots, width, words, full in (
        ([s.largest for s in sizes], dash, 1.6, "largest", color), ([s.median for s in sizes], ":", 1.0, "median", "none"),
    ):  # fmt: skip
        heights = [height(value) for value in found]
        look = {"color": color, "marker": few, "markersize": 5, "markerfacecolor": full, "linewidth": width}
        held = [math.nan if h == zero else h for h in heights]
        axes.plot(places, held, linestyle=dots, label=f"{group}: {words}", **look)  # type: ignore[arg-type]
        if zero in heights:
            at = [i for i, h in zip(places, heights, strict=True) if h == zero]
            axes.plot(at, [zero] * len(at), linestyle="", **{**look, "marker": shape})  # type: ignore[arg-type]
    off = [(i, s.exact) for i, s in zip(places, sizes, strict=True) if not _near(s.largest, s.exact) and math.isfinite(s.exact)]
    if off:
        axes.scatter(
            [i for i, _ in off], [height(v) for _, v in off], marker="+", s=90, color=INK, linewidths=1.4, zorder=5,
            label="the largest exact one, where it is another",
        )  # fmt: skip
    for i, s in zip(places, sizes, strict=True):
        mark = MARKS[s.code]
        if s.lost or mark.marker:
            shape = mark.marker or "x"
            words = mark.words if mark.marker else "inf or nan, as it should be"
            y = none if s.lost or math.isnan(s.largest) else height(s.largest)
            axes.scatter([i], [y], marker=shape, s=70, color=mark.color, label=words, zorder=6)


def _near(a: float, b: float) -> bool:
    """Whether nobody would see a difference."""
    return math.isclose(a, b, rel_tol=0.02)


def _numbers(layers: Layers) -> Iterable[float]:
    for groups in layers.groups:
        for s in groups.values():
            yield from (s.largest, s.median, s.exact)


def _span(layers: Layers) -> tuple[float, float]:
    """Powers of 10 around all sizes but 0."""
    found = [v for v in _numbers(layers) if math.isfinite(v) and v > 0] or [1.0]
    low, high = math.floor(math.log10(min(found))), math.ceil(math.log10(max(found)))
    high = max(high, low + 2)
    return 10.0 ** max(low, -300), 10.0 ** min(high, 290)


def _names(axes: Axes, layers: Layers) -> None:
    """The layers on the axis, each with its name while there is room."""
    count = len(layers.titles)
    step = max(1, math.ceil(count / NAMED))
    places = list(range(0, count, step))
    names = [("✗ " if layers.titles[i] in layers.wrong else "") + line(layers.titles[i], 28) for i in places]
    room = axes.get_window_extent().width / axes.figure.get_dpi() * 72 * step / count  # points, between two names
    needed = max(len(n) for n in names) * LETTER + GAP
    turn = next((angle for angle, share in TURNS if needed * share < room), TURNS[-1][0])
    axes.set_xticks(places, names, rotation=turn, ha="right" if turn else "center", rotation_mode="anchor", parse_math=False)
    axes.set_xlim(-0.5, count - 0.5)
    for text, i in zip(axes.get_xticklabels(), places, strict=True):
        if layers.titles[i] in layers.wrong:
            text.set_fontweight("bold")
