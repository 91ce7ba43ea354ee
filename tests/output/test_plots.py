"""Pictures: the numbers that are drawn are right, what is no match is seen by its shape, files are safe and always the same."""

from __future__ import annotations

import itertools
import math
import random
import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from flint import arb
from matplotlib.figure import Figure

from gradcheck_cli import api, check_model
from gradcheck_cli.cli import app as application
from gradcheck_cli.errors import InputError, MissingExtra
from gradcheck_cli.floats import FORMATS, Floats
from gradcheck_cli.options import KINDS
from gradcheck_cli.output import plots
from gradcheck_cli.output.plots.entries import shape_of, worst_of_points
from gradcheck_cli.output.plots.errors import panel
from gradcheck_cli.output.plots.layers import PARAMETERS, RETURNED, layers_of
from gradcheck_cli.output.plots.marks import CODES, MARKS, codes
from gradcheck_cli.output.plots.pictures import parts
from gradcheck_cli.output.plots.scale import CELLS, Scale, active, cells, ranges, scale_of
from gradcheck_cli.output.plots.series import inputs_that_vary, relative, series_of
from gradcheck_cli.output.plots.style import INK, PAPER, power
from gradcheck_cli.verdict.column import Column, Detail
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import AtPoints, OfTensor, TensorLabels
from gradcheck_cli.verdict.verdicts import Cause, Verdict

NAN, INF = math.nan, math.inf
ERROR, WRONG = 3.0, {Cause.NAN_TRAP: NAN, Cause.RANGE: 0.0, Cause.FORMULA: 7.0}


def column(
    x: Floats, verdicts: list[Verdict | Cause], *, dtype: str = "float64", name: str = "x", mode: str = "reverse", of: str = "y"
) -> Column:
    """d of/dx, exactly 5 at each x, where autograd is off by ERROR ulps, or by more where a cause says so."""
    form = FORMATS[dtype]
    found = Column.blank(AtPoints({name: x}), len(x), of=of, wrt=(name,), mode=mode, dtype=dtype)
    for i, said in enumerate(verdicts):
        cause = said if isinstance(said, Cause) else None
        found.exact[i] = None if said in (Verdict.OUTSIDE_DOMAIN, Verdict.NONDIFFERENTIABLE) else arb(5)
        found.autograd[i] = WRONG.get(cause, 5 + ERROR * form.gap(5.0)) if cause else 5 + ERROR * form.gap(5.0)
        found.error_ulps[i] = NAN if found.exact[i] is None else abs(found.autograd[i] - 5) / form.gap(5.0)
        found.verdicts[i] = (Verdict.MISMATCH if cause else Verdict(said)).severity
        if cause:
            found.details[i] = Detail(cause=cause)
    return found


def report(*columns: Column, expression: str = "f(x)", seed: int | None = None, inputs: tuple[str, ...] = ("x",)) -> Report:
    stages = [{"name": "y", "expression": expression, "inputs": list(inputs)}]
    return Report("chain", {"stages": stages, "seed": seed}, list(columns), {})


def matches(count: int) -> list[Verdict | Cause]:
    return [Verdict.MATCH] * count


EVERY: list[Verdict | Cause] = [*(v for v in Verdict if v is not Verdict.MISMATCH), *Cause]


def svg(report: Report) -> str:
    return plots.drawn(report, "a.svg").decode()


def texts(element: str) -> list[str]:
    """All that stands in a picture as text."""
    return ["".join(e.itertext()) for e in ElementTree.fromstring(element).iter() if e.tag.rpartition("}")[2] == "text"]


# -- the numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FORMATS)
def test_errors_are_relative(dtype: str) -> None:
    """To the exact value, in rational arithmetic; below the smallest normal number, to that; none where there is none."""
    form, draw = FORMATS[dtype], random.Random(1)
    exact = [Fraction(draw.uniform(-9, 9)) for _ in range(40)] + [Fraction(form.smallest_normal) / 8]
    floats = [float(form.round(float(q) * draw.choice([1.0, 1.001, -2.0]))) for q in exact]
    some = Column.blank(AtPoints({"x": np.arange(len(exact) + 2.0)}), len(exact) + 2, of="y", wrt=("x",), dtype=dtype)
    for i, (q, a) in enumerate(zip(exact, floats, strict=True)):
        some.exact[i], some.autograd[i] = arb(q.numerator) / arb(q.denominator), a
        some.error_ulps[i] = abs(Fraction(a) - q) / Fraction(form.gap(float(q)))
    some.exact[-1], some.autograd[-1] = arb(0), 0.5
    some.error_ulps[-1] = 0.5 / form.smallest_subnormal if form.bits < 53 else INF
    found = relative(some)
    for q, a, error in zip(exact, floats, found, strict=False):
        expected = abs(Fraction(a) - q) / max(abs(q), Fraction(form.smallest_normal))
        assert error == pytest.approx(float(expected), rel=1e-9, abs=1e-300)
    assert math.isnan(found[-2]) and math.isnan(found[-1])


def test_everything_has_a_mark_of_its_own() -> None:
    """Every verdict and every cause; no two that can stand side by side have the same shape and shade."""
    assert [mark.name for mark in MARKS] == [*Verdict, *Cause]
    looks = [(mark.marker, mark.shade) for mark in MARKS if mark.name not in (Verdict.MATCH, Verdict.IMPRECISE, Cause.FORMULA)]
    assert len(looks) == len(set(looks)) and ("", "") not in looks
    some = column(np.arange(len(EVERY) * 1.0), EVERY)
    assert [MARKS[code].name for code in codes(some)] == EVERY


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (np.linspace(-40, 40, 401), "linear"),
        (np.linspace(0, 1, 100_001), "linear"),
        (np.logspace(-20, 3, 99), "log"),
        (np.concatenate([-np.logspace(-20, 3, 99), [0.0], np.logspace(-20, 3, 99)]), "symlog"),
        (-np.logspace(-20, 3, 99), "symlog"),
        (FORMATS["bfloat16"].every_float(), "symlog"),
        (FORMATS["float16"].every_float(), "symlog"),
        (np.array([-1e308, -1.0, 5e-324, 1.0, 1e308]), "symlog"),
        (np.array([-1e308, 1e308]), "symlog"),
        (np.array([5e-324, 1e-323, 1e-322]), "linear"),
    ],
)
def test_an_axis_suits_its_numbers(x: Floats, kind: str) -> None:
    """Linear where they are of one size, by magnitude otherwise; every number has a place, in order, from 0 to 1."""
    scale = scale_of(x, np.ones(len(x), dtype=bool))
    place = scale.position(np.sort(x[scale.holds(x)]))
    assert scale.kind == kind and len(place) == len(x)
    assert (np.diff(place) >= 0).all() and -1e-9 <= place[0] <= place[-1] <= 1 + 1e-9
    assert place[-1] - place[0] > 0.5


def test_an_axis_ends_where_nothing_happens() -> None:
    """Of all floats of bfloat16 the decades are drawn in which the error isn't that of rounding alone."""
    x = FORMATS["bfloat16"].every_float()
    error = np.where((np.abs(x) > 1) & (np.abs(x) < 50), 1.0, 0.0)
    scale = scale_of(x, active(error, np.zeros(len(x), dtype=np.uint8), 2.0**-8))
    assert (scale.low, scale.high) == (-1000, 1000)


def test_strays_dont_stretch_an_axis() -> None:
    """Where nothing happens: samples are mostly of ordinary size, some of any."""
    x = np.concatenate([np.random.default_rng(0).uniform(-5, 5, 60), [1e-300, -1e-200, 1e250, -1e300]])
    scale = scale_of(x, np.zeros(len(x), dtype=bool))
    assert -1e4 < scale.low < -5 and 5 < scale.high < 1e4
    even = np.logspace(-18, 3, 60)
    even[0] = np.nextafter(1e-18, 0)  # whose logarithm is -18 too
    assert scale_of(even, np.zeros(60, dtype=bool)).holds(even).all()


def test_an_axis_loses_nothing_that_happens() -> None:
    """Whatever the sizes, the signs and the places: what is cut off is dull."""
    draw = np.random.default_rng(2)
    for _ in range(300):
        x = draw.choice([-1.0, 1.0], 30) * 10.0 ** draw.uniform(*np.sort(draw.uniform(-320, 308, 2)), 30)
        x[draw.integers(30)] = 0.0
        x = np.abs(x) * draw.choice([-1.0, 1.0]) if draw.uniform() < 0.3 else x
        live = draw.uniform(size=30) < draw.uniform()
        scale = scale_of(x, live)
        assert scale.holds(x)[live].all() and scale.low < scale.high, (x, live)
        assert np.isfinite(scale.position(x[scale.holds(x)])).all()


def test_cells_keep_the_worst_and_everything_that_is_no_match() -> None:
    """As a plain loop over the strips finds it: few cells, however many points."""
    draw = np.random.default_rng(0)
    x = draw.uniform(0, 1, 20_000)
    error = 10.0 ** draw.uniform(-18, 3, len(x))
    error[::7] = NAN
    error[5] = INF
    said = np.where(draw.uniform(size=len(x)) < 0.001, CODES[Cause.FORMULA], 0).astype(np.uint8)
    scale = Scale("linear", 0.0, 1.0)
    found = cells(x, error, said, scale)
    strips: dict[int, list[int]] = {}
    for i, place in enumerate(scale.position(x)):
        strips.setdefault(min(int(place * CELLS), CELLS - 1), []).append(i)
    assert found.binned and len(found.x) == len(strips) <= CELLS
    for n, strip in enumerate(sorted(strips)):
        known = [error[i] for i in strips[strip] if not math.isnan(error[i])]
        assert found.worst[n] == max(known) and found.best[n] == min(known)
        assert found.x[n] in x[strips[strip]][error[strips[strip]] == max(known)]
    wrong = {strip for strip, members in strips.items() if any(said[i] for i in members)}
    assert len(found.points) == len(wrong) > 10
    assert all(x_ in x[said > 0] for x_, _, _ in found.points)


def test_numbers_that_are_met_twice_are_one_cell() -> None:
    """Of a grid: the worst over the other input, and the best."""
    x, error = np.repeat([1.0, 2.0, 3.0], 2), np.array([1e-3, 1e-9, NAN, NAN, 1.0, NAN])
    found = cells(x, error, np.zeros(6, dtype=np.uint8), Scale("linear", 1.0, 3.0))
    assert found.x.tolist() == [1, 2, 3] and not found.binned
    np.testing.assert_equal([found.worst, found.best], [[1e-3, NAN, 1.0], [1e-9, NAN, 1.0]])


def test_only_what_is_known_is_shaded() -> None:
    """Between neighbouring numbers that are wrong in one way, never from a wrong one to a right one; one alone has no width."""
    said = [Verdict.OUTSIDE_DOMAIN, *matches(3), *[Cause.NAN_TRAP] * 3, Verdict.MATCH, *[Cause.RANGE, Verdict.MATCH] * 2]
    x = np.arange(float(len(said)))
    some, scale = column(x, said), Scale("linear", 0.0, 11.0)
    found = ranges([cells(x, relative(some), codes(some), scale)])
    assert [(MARKS[code].name, left, right) for code, left, right in found] == [
        (Verdict.OUTSIDE_DOMAIN, 0.0, 0.0), (Cause.RANGE, 8.0, 8.0), (Cause.RANGE, 10.0, 10.0), (Cause.NAN_TRAP, 4.0, 6.0),
    ]  # fmt: skip


def test_what_two_derivatives_have_is_shaded_of_each_alone() -> None:
    """A point of one beside a point of the other is no range; ranges that overlap are one."""
    scale = Scale("linear", 0.0, 5.0)

    def one(x: list[float]) -> Any:
        some = column(np.arange(6.0), [Cause.RANGE if i in x else Verdict.MATCH for i in range(6)])
        return cells(np.arange(6.0), relative(some), codes(some), scale)

    assert [r[1:] for r in ranges([one([1]), one([2])])] == [(1, 1), (2, 2)]
    assert [r[1:] for r in ranges([one([1, 2]), one([2, 3, 4]), one([3])])] == [(1, 4)]


def test_where_some_are_right_nothing_is_shaded() -> None:
    """Over one input of a grid, where what is wrong is due to the other."""
    made = api.check_grad("log(x)*y", at="x=linspace(-1,1,5),y=linspace(1,2,3)")
    over_x, over_y = made.plot().axes[:2]
    shaded = [[c.get_label() for c in axes.collections if c.get_label()[:1] != "_"] for axes in (over_x, over_y)]
    assert "outside the domain" in shaded[0] and shaded[1] == []


def test_a_line_ends_where_there_is_no_error() -> None:
    """Points outside of the domain, between others: no line goes across, and a lone one is a hairline."""
    axes = api.check_chain("log(x)", at=[1, 2, -1, 3, 4]).plot(None).axes[0]
    (line,) = [drawn for drawn in axes.lines if drawn.get_label() == "dy/dx"]
    assert np.isnan(line.get_ydata()).tolist() == [True, False, False, False, False]
    axes = api.check_chain("log(x**2-1)", at=[-3, -2, 0, 2, 3]).plot().axes[0]
    (line,) = [drawn for drawn in axes.lines if drawn.get_label() == "dy/dx"]
    assert np.isnan(line.get_ydata()).tolist() == [False, False, True, False, False]
    (hairline,) = [c for c in axes.collections if c.get_label() == "outside the domain"]
    assert hairline.get_segments()[0][:, 0].tolist() == [0, 0]


def test_what_is_drawn_of_a_report() -> None:
    """Not that dy/dy is 1; modes that agree once; what a stage does by itself only where it isn't right."""
    x = np.arange(4.0)
    own, itself = column(x, matches(4)), column(x, matches(4))
    own.kind, itself.wrt = "local", ("y",)
    modes = [column(x, matches(4), mode=mode) for mode in ("reverse", "forward")]
    (one,) = series_of(report(itself, *modes, own))
    assert (one.label, one.modes) == ("dy/dx", ("reverse", "forward"))
    own.verdicts[2] = Verdict.MISMATCH.severity
    assert [s.label for s in series_of(report(itself, *modes, own))] == ["dy/dx", "dy/dx by itself"]
    modes[1].error_ulps[0] = 9
    assert [s.modes for s in series_of(report(itself, *modes))] == [("reverse",), ("forward",)]


def test_entries_of_an_array_are_drawn_over_their_own_numbers() -> None:
    """Of formulas and of functions; a constant input is no axis, and words for a large tensor are no number."""
    numbers = {"x[0]": np.array([1.0, 2.0]), "x[1]": np.array([3.0, 4.0]), "c": np.array([7.0, 7.0])}
    scope = AtPoints(numbers, {"x": (2,)})
    rows = [Column.blank(scope, 2, of="f", wrt=(name,)) for name in ("x[0]", "x[1]")]
    (s,) = series_of(report(*rows, inputs=("x", "c")))
    assert s.label == "df/dx" and s.over["x"].tolist() == [1, 2, 3, 4] and inputs_that_vary([s]) == ["x"]
    labels = TensorLabels("y", "x", (2, 1))
    tensors = [
        Column.blank(OfTensor({"x": [[a], [a + 1]], "w": "9x9 numbers", "v": 3.0}, labels), 2, of="y", wrt=("x",))
        for a in (5, 8)
    ]
    (s,) = series_of(report(*tensors, inputs=("x", "w")))
    assert s.over.keys() == {"x"} and s.over["x"].tolist() == [5, 6, 8, 9]


def test_entries_without_an_axis() -> None:
    """The shape is read off the names; of several points the worst is drawn, and what is no match before that."""
    scope = OfTensor({"x": "2x3 numbers"}, TensorLabels("y", "x", (2, 3)))
    columns = [Column.blank(scope, 6, of="y", wrt=("x",)) for _ in range(2)]
    for part in columns:
        part.exact, part.autograd[:], part.verdicts[:] = [arb(1)] * 6, 1, 0
        part.error_ulps[:] = 1
    columns[0].error_ulps[4], columns[1].error_ulps[2] = 5, 9
    columns[0].verdicts[2] = Verdict.MISMATCH.severity
    (s,) = series_of(report(*columns))
    worst = worst_of_points(s)
    assert shape_of(worst) == (2, 3)
    assert (worst.error / 2.0**-52).tolist() == [1, 1, 1, 1, 5, 1] and worst.codes.tolist() == [
        0,
        0,
        CODES["mismatch"],
        0,
        0,
        0,
    ]


def test_a_jacobian_has_the_shape_of_its_names() -> None:
    """Rows of what is differentiated, columns of what it is differentiated by; in order where that doesn't come out."""
    scope = AtPoints({"x[0]": np.array([1.0]), "x[1]": np.array([2.0])}, {"x": (2,)})
    rows = [Column.blank(scope, 1, of=f"f[{i}]", wrt=(f"x[{j}]",)) for i in range(3) for j in range(2)]
    (s,) = series_of(report(*rows))
    assert shape_of(s) == (3, 2)
    (s,) = series_of(report(*rows[1:]))
    assert shape_of(s) == (5,)


def test_no_line_hides_another() -> None:
    """Derivatives with the same errors are one, with all names."""
    x = np.arange(9.0)
    made = report(column(x, matches(9)), column(x, matches(9), of="z"), column(x, [Cause.RANGE] * 9, of="w"))
    found = panel(series_of(made), "float64", "x", "", True)
    assert [s.label for s in found.series] == ["dy/dx, dz/dx", "dw/dx"]


# -- pictures -----------------------------------------------------------------------------------------------------------


def test_a_picture_says_all_in_text() -> None:
    """The input, the derivatives, both levels, and what each mark means; its words for those who can't see it."""
    x = np.linspace(-1, 1, len(EVERY) * 3)
    picture = svg(report(column(x, EVERY * 3), expression="f(x)"))
    said = " ".join(texts(picture))
    for words in (
        "x",
        "relative error",
        "dy/dx",
        "half of the digits",
        "1.1e-08",
        "unit roundoff",
        "1.1e-16",
        "f(x)",
        "mismatch",
    ):
        assert words in said
    for mark in MARKS[2:]:
        assert mark.words in said or mark.name in (Verdict.MISMATCH,)
    root = ElementTree.fromstring(picture)
    title, words = root[0].text, root[1].text
    assert title is not None and "f(x): mismatch" in title
    assert words is not None and "Over x in float64: dy/dx: largest error" in words and "3 mismatch: nan_trap" in words


@pytest.mark.parametrize(
    "made",
    [
        lambda: report(column(np.array([1.0]), matches(1))),
        lambda: report(column(np.array([1.0, 1.0]), matches(2))),
        lambda: report(column(np.array([1.0, INF, NAN]), matches(3))),
        lambda: report(column(np.array([0.0, 5e-324]), matches(2))),
        lambda: report(column(np.array([-1.7e308, 1.7e308]), [Verdict.MATCH, Cause.NAN_TRAP])),
        lambda: report(column(np.array([5e-324, 1.0, 1.7e308]), [Cause.RANGE] * 3)),
        lambda: report(column(np.arange(3.0), [Verdict.OUTSIDE_DOMAIN] * 3)),
        lambda: report(column(np.arange(3.0), [Verdict.UNDECIDED] * 3)),
        lambda: report(*(column(np.arange(9.0), matches(9), of=f"y{i}") for i in range(30))),
        lambda: report(*(column(np.arange(9.0), matches(9), dtype=dtype) for dtype in FORMATS)),
        lambda: report(column(np.arange(40.0), [Verdict.NONDIFFERENTIABLE] * 40)),
        lambda: report(Column.unfinished("dy/dx")),
        lambda: report(Column.blank(OfTensor({}, TensorLabels("y", "x", (3, 4, 5))), 60, of="y", wrt=("x",))),
        lambda: report(Column.blank(OfTensor({}, TensorLabels("y", "x", (900,))), 900, of="y", wrt=("x",))),
    ],
)
def test_whatever_there_is_can_be_drawn(made: Callable[[], Report]) -> None:
    """One point, infinite ones, all the range of doubles, nothing known, many derivatives, every dtype, large tensors."""
    assert plots.drawn(made(), "a.png").startswith(b"\x89PNG")
    assert ElementTree.fromstring(svg(made())).tag.endswith("svg")


def test_a_run_that_was_stopped_is_told() -> None:
    """Whoever has the picture alone sees that not all points were run."""
    made = report(column(np.linspace(0, 9, 30), matches(30)), Column.unfinished("points 31 to 99", count=69, points=99))
    assert "stopped" not in "".join(texts(svg(made)))
    made.notes.append("stopped after 3 s (--timeout) in: point 31 of 99; not finished: points 31 to 99")
    assert "undecided, stopped after 3 s: 69 undecided, 30 match" in "".join(texts(svg(made)))


def test_nothing_to_draw_is_said() -> None:
    """Where nothing was checked."""
    with pytest.raises(InputError, match="nothing to draw"):
        plots.drawn(report(), "a.png")
    assert plots.svgs(report()) == []


def test_many_points_make_no_large_picture() -> None:
    """All floats of bfloat16: what is drawn depends on the picture's width."""
    x = FORMATS["bfloat16"].every_float()
    some = column(x, matches(len(x)), dtype="bfloat16")
    some.error_ulps[:] = np.random.default_rng(0).uniform(0, 300, len(x))
    assert len(svg(report(some))) < 150_000


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    """Whatever matplotlib's settings are, in another process too, and with no date; the settings stay as they were."""
    made = report(column(np.linspace(0, 9, 30), EVERY[:10] * 3))
    first = [plots.drawn(made, name) for name in ("a.png", "a.svg")]
    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        inside = dict(matplotlib.rcParams)
        assert [plots.drawn(made, name) for name in ("a.png", "a.svg")] == first
        assert dict(matplotlib.rcParams) == inside
    assert dict(matplotlib.rcParams) == before
    assert not re.search(rb"20\d\d-\d\d-\d\d", first[1])


def test_neither_pyplot_nor_a_backend_is_touched(tmp_path: Path) -> None:
    """A settings file in the working directory, where a pull request may have put one, changes nothing either."""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: tkagg\n")
    code = (
        "import sys; from gradcheck_cli import check_chain; from gradcheck_cli.output import plots\n"
        "r = check_chain('abs(x)', at='x=linspace(-1,1,5)')\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plots.drawn(r, 'a.svg'); plots.drawn(r, 'a.png'); r.plot()\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'tkinter' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


HOSTILE = '$\\frac{a}{0$ <script>alert(1)</script> " onload="x" ]]> &amp; \x1b[31m \u202e ' + "w" * 300


def test_names_stay_text() -> None:
    """TeX, markup and what can't be seen, of a formula, an input or a layer: none is taken for what it says."""
    some = column(np.arange(3.0), matches(3), name=HOSTILE, of=HOSTILE)
    made = report(some, expression=HOSTILE, inputs=(HOSTILE,))
    plots.drawn(made, "a.png")
    for picture in (svg(made), *plots.svgs(made)):
        root = ElementTree.fromstring(picture)
        assert {e.tag.rpartition("}")[2] for e in root.iter()}.isdisjoint({"script", "foreignObject", "image"})
        assert not [key for e in root.iter() for key in e.attrib if key.startswith("on")]
        assert "\x1b" not in picture and "\u202e" not in picture
        assert any("$\\frac{a}{0$ <script>" in text for text in texts(picture))


def test_pictures_of_one_page_share_no_name_and_bring_no_style() -> None:
    """Every name in one has the page's prefix, every reference a target in its own; ink is the page's, paper there is none."""
    made = report(column(np.linspace(0, 9, 30), EVERY[:10] * 3))
    (one,), (other,) = plots.svgs(made, "a-"), plots.svgs(made, "b-")
    names = [[e.attrib["id"] for e in ElementTree.fromstring(p).iter() if "id" in e.attrib] for p in (one, other)]
    assert len(names[0]) > 5 and not set(names[0]) & set(names[1])
    assert all(len(some) == len(set(some)) for some in names)
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"|aria-labelledby="([^"]+)"', one))
    assert {name for group in used for part in group for name in part.split()} <= set(names[0])
    assert "<style" not in one and INK not in one and f"fill: {PAPER}" not in one and "currentColor" in one
    assert 'role="img"' in one and "<title" in one and "<desc" in one
    assert not re.search(r'(?:href|src)="(?!#|data:)', one)


def test_a_page_has_a_picture_only_where_it_tells_something() -> None:
    """One number of one point stands in the table already."""
    assert plots.svgs(report(column(np.array([1.0]), matches(1)))) == []
    assert len(plots.svgs(report(column(np.array([1.0, 2.0]), matches(2))))) == 1


def test_axes_of_ones_own() -> None:
    """A picture of one panel is drawn into them; of several it isn't, and the error says why."""
    figure = Figure()
    left, right = figure.subplots(1, 2)
    made = report(column(np.arange(9.0), matches(9)))
    assert made.plot(ax=right) is figure
    assert right.get_xlabel() == "x" and not left.lines
    with pytest.raises(InputError, match="the picture has 2 panels"):
        report(*(column(np.arange(9.0), matches(9), dtype=dtype) for dtype in ("float32", "float64"))).plot(ax=left)


def test_a_notebook_shows_the_figure() -> None:
    """Without pyplot: it is a Figure that knows how."""
    figure = report(column(np.arange(9.0), matches(9))).plot()
    assert isinstance(figure, Figure)
    image, size = figure._repr_png_()  # type: ignore[attr-defined]
    assert image.startswith(b"\x89PNG") and size["width"] > 100


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1e-16, "10⁻¹⁶"),
        (1.0, "1"),
        (1000.0, "1000"),
        (1e4, "10⁴"),
        (-1e300, "−10³⁰⁰"),
        (0.0, "0"),
        (0.01, "0.01"),
        (2.5, "2.5"),
    ],
)
def test_powers_are_text(value: float, said: str) -> None:
    """As ticks say them."""
    assert power(value) == said


# -- networks -----------------------------------------------------------------------------------------------------------


def test_sizes_through_layers_are_those_of_torch() -> None:
    """The largest and the median gradient by what each layer returned, and by its parameters, as hooks see them."""
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    x = torch.randn(3)
    made = check_model(net, at={"input": x}, loss="sum(y**2)", dtype="float64")
    (found,) = layers_of(made)
    assert found.titles == ("2 Linear", "1 Tanh", "0 Linear", "input")

    net = net.double()
    x = x.double().requires_grad_()
    seen: dict[str, torch.Tensor] = {}
    value = x
    for i, layer in enumerate(net):
        value = layer(value)
        value.register_hook(lambda g, i=i: seen.update({str(i): g.abs()}))
    (value**2).sum().backward()
    assert x.grad is not None
    returned = [seen["2"], seen["1"], seen["0"], x.grad.abs()]
    for sizes, expected in zip(found.groups, returned, strict=True):
        assert sizes[RETURNED].largest == pytest.approx(expected.max().item())
        assert sizes[RETURNED].exact == pytest.approx(expected.max().item())
        assert sizes[RETURNED].median == pytest.approx(np.median(expected.numpy()))
    for place, layer in ((0, net[2]), (2, net[0])):
        grads = torch.cat([p.grad.abs().flatten() for p in layer.parameters() if p.grad is not None])
        assert found.groups[place][PARAMETERS].largest == pytest.approx(grads.max().item())
        assert found.groups[place][PARAMETERS].median == pytest.approx(np.median(grads.numpy()))
    assert PARAMETERS not in found.groups[1] and len(parts(made)) == 1
    assert "gradient" in svg(made) and "2 Linear" in " ".join(texts(svg(made)))


def boxes(figure: Figure, wanted: Callable[[str], bool]) -> list[Any]:
    """Where texts stand in a picture that was drawn."""
    figure.canvas.draw()
    found = [text for text in figure.findobj(matplotlib.text.Text) if text.get_visible() and wanted(text.get_text())]
    return [text.get_window_extent() for text in found]


LEVEL_WORDS = ("unit roundoff", "half of the digits", "float64", "float32")


def test_names_of_layers_do_not_run_together() -> None:
    """Ten layers side by side; and a title stands above the words of the levels, however high the picture is."""
    one = column(np.ones(1), matches(1), name="weight")
    columns = [Column.joined(f"{i} Linear", [one]) for i in range(10)]
    for made, wanted in (
        (report(*columns), lambda text: text.endswith(" Linear")),
        (report(*(column(np.ones(1), [Verdict.MATCH], dtype=d) for d in ("float64", "float32"))), lambda t: t in LEVEL_WORDS),
    ):
        found = boxes(made.plot(), wanted)
        assert len(found) > 1
        turned = {round(label.get_rotation()) for axes in made.plot().axes for label in axes.get_xticklabels()}
        for box, other in itertools.combinations(found, 2):
            assert not box.overlaps(other) or turned == {35}


def test_every_number_that_is_a_dot_has_its_mark() -> None:
    """81 mismatches, 81 crosses; of thousands some."""
    made = report(column(np.linspace(-4, 4, 81), [Cause.FORMULA] * 81))
    crosses = [c for axes in made.plot().axes for c in axes.collections if c.get_label() == MARKS[CODES[Cause.FORMULA]].words]
    assert [len(c.get_offsets()) for c in crosses] == [81]


def test_what_is_wrong_by_the_networks_input_marks_the_layer() -> None:
    """The row <v,0> of a layer isn't drawn, for it is no gradient of the output; a mismatch in it is seen all the same."""
    whole = column(np.ones(1), [Verdict.MATCH], name="0.output")
    other = column(np.ones(1), [Cause.KINK], of="<v,0>", name="input")
    (found,) = layers_of(report(Column.joined("0 ReLU", [whole, other])))
    assert found.groups[0][RETURNED].code == CODES[Cause.KINK]


# -- the command --------------------------------------------------------------------------------------------------------


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which twins were called; they do no work."""
    called: list[str] = []
    for kind in KINDS:

        def twin(target: Any, *, kind: str = kind, **given: Any) -> Report:
            called.append(kind)
            return report(column(np.arange(5.0), matches(5)))

        monkeypatch.setitem(api.TWINS, kind, twin)
    return called


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert application.run(["chain", "sin(x)", *words]) == 2
    return capsys.readouterr().err


def test_a_file_is_refused_before_any_work(
    idle: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that isn't a picture, can't be written, is a link, or is the result's too."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.pdf", "a", "-", ".png", "/dev/stdout"):
        assert "a picture is a file that ends in .png or .svg" in refused(capsys, f"--plot={name}")
    assert "No such file" in refused(capsys, "--plot=nowhere/a.png")
    (tmp_path / "elsewhere.png").write_bytes(b"mine")
    (tmp_path / "a.png").symlink_to("elsewhere.png")
    assert "symbolic link" in refused(capsys, "--plot=a.png")
    assert "can't be the same file" in refused(capsys, "--plot=b.svg", "--output=b.svg")
    assert (tmp_path / "elsewhere.png").read_bytes() == b"mine" and not idle


def test_without_matplotlib_it_is_said_how_to_have_it(
    idle: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any work, in one line; a page has no picture then."""
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    said = refused(capsys, f"--plot={tmp_path / 'a.png'}")
    assert 'pip install "gradcheck-cli[plot]"' in said and said.count("\n") == 1 and not idle
    made = report(column(np.arange(5.0), matches(5)))
    assert plots.svgs(made) == []
    with pytest.raises(MissingExtra, match="matplotlib"):
        made.plot()
    with pytest.raises(ImportError):
        made.plot()


def test_files_are_written_beside_the_result(idle: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many as are asked for; whatever the suffix's case."""
    names = [tmp_path / name for name in ("a.png", "b.SVG")]
    assert application.run(["grad", "sin(x)", *(f"--plot={name}" for name in names)]) == 0
    assert "verdict: match" in capsys.readouterr().out and idle == ["grad"]
    assert names[0].read_bytes().startswith(b"\x89PNG") and b"<svg" in names[1].read_bytes()


def test_a_result_isnt_lost_with_its_picture(
    idle: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it can't be drawn or written in the end, the report has been printed, and no half of a file is there."""

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gradcheck_cli.files.replace", full)
    assert application.run(["chain", "sin(x)", f"--plot={tmp_path / 'a.png'}"]) == 2
    printed = capsys.readouterr()
    assert "verdict: match" in printed.out and "No space left" in printed.err
    assert list(tmp_path.iterdir()) == []


def test_levels_are_those_of_the_judge() -> None:
    """An error is drawn above the line of half of the digits where rounding makes it imprecise, and nowhere else."""
    report = api.check_chain("sigmoid(x)", at="x=linspace(-40,40,161)", dtype=["float64", "bfloat16"])
    for s, dtype in itertools.product(series_of(report), ("float64", "bfloat16")):
        if s.dtype == dtype:
            above = s.error > math.sqrt(FORMATS[dtype].unit_roundoff)
            assert above.any() and (above == (s.codes == CODES[Verdict.IMPRECISE])).all()
