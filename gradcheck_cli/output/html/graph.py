"""The chain, or the network, as a graph: a node a stage, values forward and gradients back, and what is used where.

Nodes stand one under the other in the order in which they are computed, since a page is longer than wide: sixty layers are
sixty lines. What uses the node before it is joined to that by a straight line; whatever else it uses comes in by a lane
beside it: a skip connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradcheck_cli.output import figures
from gradcheck_cli.output.places import Places
from gradcheck_cli.verdict.column import Column
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.verdicts import Verdict

NODES, ENDS = 240, 60
"""Nodes that are drawn; of more, the first and the last ones, and what isn't a match."""
LANES = 6
"""Lanes beside the nodes: what would need more is told in words only."""
LANE, DOT, BEND = 14, 24, 14
"""Pixels: between two lanes, from the top of a node to its dot, and of a bend."""


@dataclass(frozen=True, slots=True)
class Gradient:
    """What came back to a node. `text`: `dy/dz`; `value`: autograd's; `exact` where it isn't that."""

    text: str
    verdict: Verdict
    value: str = ""
    exact: str = ""
    counts: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A stage, a layer or an input.

    `expression`: what it does, `formula` if that is one of the language; `value`: what it gave; `verdict`: of what it does by
    itself, of an input that of its gradient; `uses`: names of nodes that it is computed from; `left_out`: nodes before this one
    that aren't drawn; `lanes`: the lines beside it, as elements of SVG.
    """

    name: str
    expression: str = ""
    formula: bool = False
    uses: tuple[str, ...] = ()
    value: str = ""
    verdict: Verdict | None = None
    own: str = ""
    gradient: Gradient | None = None
    blamed: bool = False
    left_out: int = 0
    lanes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """`where`: the point at which values and gradients are shown, where there are several."""

    nodes: tuple[Node, ...]
    where: str = ""
    width: int = LANE
    untold: bool = False
    """Whether a connection isn't drawn."""


def graph(report: Report, places: Places) -> Graph | None:
    """The graph of a chain or of a network; None where there is no more than one thing to show."""
    nodes, where = _layers(report) if report.command == "model" else _stages(report, places)
    if len(nodes) < 2:
        return None
    return _drawn(_shortened([replace(node, blamed=node.name in _blamed(report)) for node in nodes]), where)


def _blamed(report: Report) -> set[str]:
    """The names of what mismatches are due to."""
    found = {d.stage for c in report.columns for d in c.details.values() if d.stage and d.cause}
    return {name for stage in found for name in (stage, stage.partition(" ")[0])}


# -- chains ------------------------------------------------------------------------------------------------------------


def _stages(report: Report, places: Places) -> tuple[list[Node], str]:
    """Inputs and stages, at the worst point."""
    stages = report.problem.get("stages", [])
    columns = [c for c in report.columns if c.claim is None and len(c)]
    if report.command != "chain" or not columns or not stages:
        return [], ""
    worst, at = max(((c, _worst_of(c)) for c in columns), key=lambda place: _weight(*place))
    run = [c for c in columns if (c.dtype, c.mode) == (worst.dtype, worst.mode) and len(c) > at]
    totals = _by_name((c.wrt[0], c) for c in run if c.kind == "total" and len(c.wrt) == 1)
    own = _by_name((c.of, c) for c in run if c.kind in ("local", "value"))
    names = [stage["name"] for stage in stages]
    inputs = dict.fromkeys(name for stage in stages for name in stage["inputs"] if name not in names)
    nodes = []
    for name in inputs:
        gradient = _gradient(name, totals.get(name, []), at)
        verdict = gradient.verdict if gradient else None
        nodes.append(Node(name, value=_value(totals.get(name, []), at), verdict=verdict, gradient=gradient))
    for stage in stages:
        name, text = stage["name"], " ".join(stage["expression"].split())
        verdict, counts = _tally([c.verdict(at) for c in own.get(name, [])])
        of_it = totals.get(name, [])
        told = counts if name not in {c.of for c in own.get(name, [])} else "" if verdict is None else "by itself"
        value, gradient = _value(of_it, at), _gradient(name, of_it, at)
        nodes.append(Node(name, text, True, tuple(stage["inputs"]), value, verdict, told, gradient))
    return nodes, places.name(places.of(worst, at))


def _worst_of(column: Column) -> int:
    """The entry to look at first; one that is outside of the domain only where nothing else is there."""
    severity = np.where(column.having(Verdict.OUTSIDE_DOMAIN), -1, column.verdicts.astype(np.int64))
    candidates = np.flatnonzero(severity == severity.max())
    errors = np.nan_to_num(column.error_ulps[candidates], nan=-1.0, posinf=np.inf)
    return int(candidates[int(np.argmax(errors))])


def _weight(column: Column, index: int) -> tuple[int, float]:
    verdict = column.verdict(index)
    severity = -1 if verdict is Verdict.OUTSIDE_DOMAIN else verdict.severity
    return severity, figures.weight(column.error_ulps[index])


def _by_name(columns: Iterable[tuple[str, Column]]) -> dict[str, list[Column]]:
    """Columns by the name of a stage or an input, of which they may be an entry."""
    found: dict[str, list[Column]] = {}
    for name, column in columns:
        found.setdefault(name.partition("[")[0], []).append(column)
    return found


def _value(columns: Sequence[Column], at: int) -> str:
    """A number, or the first entries of an array."""
    named = {c.wrt[0]: figures.number(float(c.values[at]), c.dtype).removesuffix(".0") for c in columns if c.values is not None}
    if len(named) == 1 and "[" not in next(iter(named)):
        return next(iter(named.values()))
    shown = list(named.values())
    more = ["..."] if len(shown) > figures.FEW else []
    return f"[{', '.join(shown[: figures.FEW] + more)}]" if shown else ""


def _gradient(name: str, columns: Sequence[Column], at: int) -> Gradient | None:
    """That of a number by a number; of and by arrays how many entries there are of the worst verdict."""
    if not columns:
        return None
    if len(columns) > 1 or columns[0].wrt[0] != name:
        verdict, counts = _tally([c.verdict(at) for c in columns])
        return Gradient("", verdict or Verdict.UNDECIDED, counts=counts)
    check = columns[0].check(at)
    exact, value = figures.exact(check, columns[0].exact[at]), figures.judged(check).removesuffix(".0")
    same = check.verdict is Verdict.MATCH or exact == value or exact == "-"
    return Gradient(check.quantity, check.verdict, value, "" if same else exact)


def _tally(verdicts: Sequence[Verdict]) -> tuple[Verdict | None, str]:
    """The worst verdict, and how many there are of it: `4`, `1 of 4`."""
    if not verdicts:
        return None, ""
    worst = max(verdicts, key=lambda v: v.severity)
    count, total = sum(v is worst for v in verdicts), len(verdicts)
    return worst, f"{total:,}" if count == total else f"{count:,} of {total:,}"


# -- networks ----------------------------------------------------------------------------------------------------------


def _layers(report: Report) -> tuple[list[Node], str]:
    """The layers, from the first one to be called, with the worst of what each does by itself and in its place."""
    told = {stage["name"]: str(stage["expression"]) for stage in report.problem.get("stages", [])}
    flow: Mapping[str, Sequence[str]] = report.problem.get("flow", {})
    totals, own = _titled(report, "total"), _titled(report, "local")
    titles = list(dict.fromkeys((*totals, *own)))
    nodes = []
    for title in reversed(titles):
        name = title.partition(" ")[0]
        by_itself, counts = _worst(own.get(title, []))
        gradient = None
        if title in totals:
            verdict, counted = _worst(totals[title])
            gradient = Gradient("", verdict or Verdict.UNDECIDED, counts=counted)
        verdict = by_itself or (gradient.verdict if gradient else None)
        nodes.append(Node(title, told.get(name, ""), False, tuple(flow.get(name, ())), "", verdict, counts, gradient))
    inputs = [node for node in nodes if node.name in report.problem.get("inputs", {})]
    layers = [node for node in nodes if node not in inputs]
    ends = [name for name in flow.get("y", ()) if layers and name != layers[-1].name.partition(" ")[0]]
    return [*inputs, *layers, *([Node("y", uses=tuple(flow["y"]))] if ends else [])], ""


def _titled(report: Report, kind: str) -> dict[str, list[Column]]:
    found: dict[str, list[Column]] = {}
    for column in report.columns:
        if column.kind == kind and column.scope.title:
            found.setdefault(column.scope.title, []).append(column)
    return found


def _worst(columns: Sequence[Column]) -> tuple[Verdict | None, str]:
    """The worst verdict, and how many entries there are of it."""
    if not any(map(len, columns)):
        return None, ""
    verdict = max((c.verdict(c.worst()) for c in columns if len(c)), key=lambda v: v.severity)
    count, total = sum(int(np.count_nonzero(c.having(verdict))) for c in columns), sum(map(len, columns))
    return verdict, f"{total:,}" if count == total else f"{count:,} of {total:,}"


# -- the drawing -------------------------------------------------------------------------------------------------------


def _shortened(nodes: Sequence[Node]) -> list[Node]:
    """At most NODES of them: both ends, and what isn't a match."""
    if len(nodes) <= NODES:
        return list(nodes)
    ends = {*range(ENDS), *range(len(nodes) - ENDS, len(nodes))}
    odd = [i for i, n in enumerate(nodes) if i not in ends and (n.blamed or n.verdict is not Verdict.MATCH)]
    kept, before, found = sorted(ends | set(odd[: NODES - 2 * ENDS])), -1, []
    for i in kept:
        found.append(replace(nodes[i], left_out=i - before - 1))
        before = i
    return found


@dataclass(slots=True)
class _Lane:
    """From a node to the last one that uses it."""

    start: int
    ends: list[int]
    place: int = 0


def _drawn(nodes: list[Node], where: str) -> Graph:
    known = {name: i for i, node in enumerate(nodes) for name in (node.name.partition(" ")[0], node.name)}
    uses = [{known[name] for name in node.uses if name in known} for node in nodes]
    lanes = [
        _Lane(start, ends)
        for start in range(len(nodes))
        if (ends := [i for i in range(start + 2, len(nodes)) if start in uses[i]])
    ]
    placed = list(_placed(lanes))
    count = max((lane.place for lane in placed), default=0)
    width = LANE * (count + 1)
    drawn = []
    for i, node in enumerate(nodes):
        direct = (i > 0 and i - 1 in uses[i] and not node.left_out, i + 1 < len(nodes) and i in uses[i + 1])
        paths = tuple(_paths(i, placed, width, *direct))
        drawn.append(replace(node, lanes=paths, uses=() if uses[i] == {i - 1} else node.uses))
    return Graph(tuple(drawn), where, width, len(placed) < len(lanes))


def _placed(lanes: Sequence[_Lane]) -> Iterator[_Lane]:
    """Those for which there is room, each in the first lane that is free."""
    free = [-1] * (LANES + 1)
    for lane in lanes:
        place = next((p for p in range(1, LANES + 1) if free[p] <= lane.start), None)
        if place is not None:
            free[place] = lane.ends[-1]
            lane.place = place
            yield lane


def _paths(i: int, lanes: Sequence[_Lane], width: int, above: bool, below: bool) -> Iterator[str]:
    """Lines beside node i, as attributes of SVG lines and paths."""
    middle = width - LANE // 2
    if above:
        yield f'<line x1="{middle}" y1="0" x2="{middle}" y2="{DOT}"/>'
    if below:
        yield f'<line x1="{middle}" y1="{DOT}" x2="{middle}" y2="100%"/>'
    for lane in lanes:
        x = middle - LANE * lane.place
        if lane.start == i:
            yield f'<path d="M{middle} {DOT} Q{x} {DOT} {x} {DOT + BEND}"/>'
            yield f'<line x1="{x}" y1="{DOT + BEND}" x2="{x}" y2="100%"/>'
        elif lane.start < i < lane.ends[-1]:
            yield f'<line x1="{x}" y1="0" x2="{x}" y2="100%"/>'
        if i in lane.ends:
            yield f'<path d="M{x} 0 V{DOT - BEND} Q{x} {DOT} {middle} {DOT}"/>'
