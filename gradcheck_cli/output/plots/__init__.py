"""Pictures of a report, drawn by matplotlib, which is imported when one is asked for: an extra of this package."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from gradcheck_cli import files
from gradcheck_cli.errors import InputError, MissingExtra

if TYPE_CHECKING:
    from gradcheck_cli.output.plots.style import Picture
    from gradcheck_cli.verdict.report import Report

SUFFIXES = (".png", ".svg")

HOW = 'pip install "gradcheck-cli[plot]"'
"""How matplotlib is had."""


def check(names: Iterable[str]) -> None:
    """InputError, before any work, where one of these files can't be written, or nothing can be drawn."""
    for name in names:
        if PurePath(name).suffix.lower() not in SUFFIXES:
            raise InputError(f"a picture is a file that ends in {' or '.join(SUFFIXES)}", name, 0)
        files.check_writable(name)
        need()


def need() -> None:
    """MissingExtra where there is no matplotlib."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise MissingExtra(f"pictures are drawn by matplotlib, which isn't installed: {HOW}") from None


def available() -> bool:
    """Whether pictures can be drawn."""
    try:
        need()
    except MissingExtra:
        return False
    return True


def figure(report: Report, ax: Any = None) -> Picture:
    """The picture of a report as matplotlib's Figure; in the axes `ax`, where it is one panel."""
    need()
    from gradcheck_cli.output.plots.pictures import picture
    from gradcheck_cli.verdict.reports import Reports

    if isinstance(report, Reports):
        one = next(iter(report.reports))
        raise InputError(f"a picture is of one target: gradcheck {report.command} {one} --plot FILE")
    from matplotlib.axes import Axes

    if ax is not None and not isinstance(ax, Axes):
        said = f"; plot().savefig({ax!r}) writes a file" if isinstance(ax, str | PurePath) else ""
        raise InputError(f"ax: matplotlib's axes are wanted, not {type(ax).__name__}{said}")
    return picture(report, ax)


def drawn(report: Report, name: str) -> bytes:
    """The content of the file of this name. InputError where there is nothing to draw."""
    picture = figure(report)
    if PurePath(name).suffix.lower() == ".png":
        from gradcheck_cli.output.plots.style import png

        return png(picture)
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + _element(report, picture, "", True).encode() + b"\n"


def svgs(report: Report, prefix: str = "plot-") -> list[str]:
    """Pictures for a page, each an <svg> with its words in it, in the page's own ink; none where matplotlib is missing, or a
    picture would say no more than a table. `prefix`: of all names in them; two reports in one page need two."""
    if not available():
        return []
    from gradcheck_cli.output.plots.pictures import tells

    return [_element(report, figure(report), prefix, False)] if tells(report) else []


def _element(report: Report, picture: Picture, prefix: str, alone: bool) -> str:
    from gradcheck_cli.output.plots.pictures import title
    from gradcheck_cli.output.plots.style import svg
    from gradcheck_cli.output.plots.svg import finished

    return finished(svg(picture), title(report).replace("\n", ": "), picture.words, prefix=prefix, alone=alone)
