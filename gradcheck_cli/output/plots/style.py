"""How every picture looks, and how it becomes a file: matplotlib by its objects alone, never by pyplot.

Nothing of the user's is read or changed: no backend is chosen, and matplotlib's own defaults hold while a picture is made. The
same report gives the same bytes.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from gradcheck_cli.errors import visible
from gradcheck_cli.floats import FORMATS
from gradcheck_cli.output.plots.marks import GREY

INK, PAPER = "#24292f", "#ffffff"
"""Of text and axes, and behind them; svg.py exchanges them for the page's own."""

DPI, NOTEBOOK = 150, 100
"""Dots of an inch: of a file, and in a notebook, which keeps its pictures."""
FONT = 10.0
LONGEST = 90
"""Characters of a line of text."""

_KEPT = ("backend", "backend_fallback", "interactive", "toolbar", "timezone")
"""Settings that are the process's, not the picture's."""


class Picture(Figure):
    """A figure that notebooks show without pyplot, and what it shows in words."""

    words: str = ""

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        width, height = self.get_size_inches()
        return png(self, NOTEBOOK), {"width": round(width * 72), "height": round(height * 72)}


@contextmanager
def defaults() -> Iterator[None]:
    """Within: matplotlib as it is without a user's own settings, text in SVG as text, names in it the same each time."""
    settings: dict[Any, Any] = {name: value for name, value in matplotlib.rcParamsDefault.items() if name not in _KEPT}
    settings |= {"svg.fonttype": "none", "svg.hashsalt": "gradcheck", "font.size": FONT, "hatch.linewidth": 0.6}
    settings |= dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK)
    with warnings.catch_warnings(), matplotlib.rc_context(rc=settings):
        warnings.simplefilter("ignore")  # a glyph that the font lacks, in a name of the user's
        yield


def sheet(width: float, height: float) -> Picture:
    """An empty picture, in inches."""
    figure = Picture(figsize=(width, height), dpi=100, layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure, dpi: int = DPI) -> bytes:
    """The picture as a PNG."""
    return _saved(figure, "png", FigureCanvasAgg, {"Software": None}, dpi)


def svg(figure: Figure) -> bytes:
    """The picture as matplotlib's SVG."""
    return _saved(figure, "svg", FigureCanvasSVG, {"Date": None, "Creator": None, "Format": None, "Type": None}, 72)


def _saved(figure: Figure, format: str, canvas: type[Any], metadata: dict[str, None], dpi: int) -> bytes:
    file, before = io.BytesIO(), figure.canvas
    with defaults():
        try:
            canvas(figure).print_figure(file, format=format, dpi=dpi, metadata=metadata)
        finally:
            figure.set_canvas(before)
    return file.getvalue()


def line(text: str, longest: int = LONGEST) -> str:
    """One line of what can be seen, cut where it is long."""
    text = visible(" ".join(text.split()))
    return text if len(text) <= longest else text[: longest - 1] + "…"


# -- axes ---------------------------------------------------------------------------------------------------------------


def plain(axes: Axes, xlabel: str, ylabel: str, title: str = "") -> None:
    """Labels, a light grid below everything, and no frame where nothing is read off."""
    axes.set_xlabel(line(xlabel), parse_math=False)
    axes.set_ylabel(line(ylabel), parse_math=False)
    if title:
        axes.set_title(line(title), loc="left", fontsize=FONT, color=INK, parse_math=False)
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color=GREY, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=FONT * 0.9)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power(value: float) -> str:
    """10⁻¹⁶, 1, −10³; other numbers in at most three digits."""
    if value == 0:
        return "0"
    sign, size = ("−" if value < 0 else ""), abs(value)
    exponent = round(math.log10(size))
    if not math.isclose(size, 10.0**exponent, rel_tol=1e-9):
        return f"{value:.3g}"
    if -2 <= exponent <= 3:
        return f"{sign}{10.0**exponent:g}"
    return f"{sign}10{str(exponent).translate(_RAISED)}"


def decades(axis: Any, low: float, high: float, most: int = 9, extra: Sequence[tuple[float, str]] = ()) -> None:
    """Ticks at powers of 10, at most so many, and `extra` ones with words of their own."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    step = max(1, math.ceil((last - first + 1) / most))
    near = 0.06 * math.log10(high / low)
    taken = [math.log10(value) for value, _ in extra]
    exponents = [k for k in range(last, first - 1, -step) if k > -308 and all(abs(k - other) > near for other in taken)]
    ticked(axis, [10.0**k for k in exponents], extra)


def ticked(axis: Any, ticks: Sequence[float], extra: Sequence[tuple[float, str]] = ()) -> None:
    """These ticks, named by `power`, and those with words of their own."""
    words = dict(extra)
    axis.set_major_locator(FixedLocator(sorted({*ticks, *words})))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: next((t for v, t in words.items() if v == value), power(value))))


def level(axes: Axes, value: float, words: str, *, across: bool = False) -> None:
    """A line at an error of this size, with words at its end, outside of the axes; `across`: errors go to the right."""
    draw = axes.axvline if across else axes.axhline
    draw(value, color=INK, linewidth=0.9, linestyle=(0, (6, 3)), alpha=0.65, zorder=1.5)
    if across:
        where: dict[str, Any] = {"xy": (value, 1.0), "xytext": (0, 4), "ha": "center", "va": "bottom"}
    else:
        where = {"xy": (1.0, value), "xytext": (5, 0), "ha": "left", "va": "center"}
    over = axes.get_xaxis_transform() if across else axes.get_yaxis_transform()
    text = axes.annotate(words, xycoords=over, textcoords="offset points", **where)
    text.set(fontsize=FONT * 0.8, color=INK, parse_math=False)


def levels(dtype: str) -> tuple[tuple[float, str], tuple[float, str]]:
    """The errors that are read against: of half of the dtype's digits, and its unit roundoff."""
    u = FORMATS[dtype].unit_roundoff
    return (math.sqrt(u), f"half of the digits,\nimprecise above it:\n{math.sqrt(u):.1e}"), (u, f"unit roundoff:\n{u:.1e}")
