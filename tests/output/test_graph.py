"""The graph of a page: what is drawn beside what, and at which point the numbers are."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from gradcheck_cli.output.html.graph import LANES, NODES, Graph, graph
from gradcheck_cli.output.places import Places
from gradcheck_cli.verdict.column import Detail
from gradcheck_cli.verdict.report import Report
from gradcheck_cli.verdict.scope import OfLayer
from gradcheck_cli.verdict.verdicts import Cause, Verdict
from tests.pages import chain, column


def drawn(report: Report) -> Graph:
    found = graph(report, Places(report.columns))
    assert found is not None
    return found


def network(count: int, flow: dict[str, list[str]], wrong: int = -1) -> Report:
    """Layers `0 Layer`, `1 Layer`, ... behind an input x."""
    columns = []
    for i in reversed(range(count)):
        scope = OfLayer({}, (), layer=f"{i} Layer")
        bad = {0: Detail(cause=Cause.FORMULA, stage=f"{i} Layer")} if i == wrong else {}
        values = [float("nan")] if i == wrong else [1.0]
        columns += [column("dy", [1.0], scope=scope, details={}, values=None)]
        columns += [column("dl", values, kind="local", scope=scope, details=bad, values=None)]
    columns.append(column("dy/dx", [1.0], scope=OfLayer({}, (), layer="x"), details={}, values=None))
    stages = [{"name": str(i), "expression": f"Layer({i})", "inputs": []} for i in range(count)]
    return Report("model", {"model": "m", "stages": stages, "flow": flow, "inputs": {"x": [1]}}, columns, {})


def joins(graph: Graph) -> set[tuple[str, str]]:
    """Which nodes the drawn lines connect, read off the coordinates alone: followed downwards from node to node."""
    middle = graph.width - 7
    found, open_lanes, straight = set(), {}, None
    for node in graph.nodes:
        lines = "".join(node.lanes)
        ends = {int(x) for x in re.findall(rf'd="M(\d+) 0 V\d+ Q\d+ \d+ {middle} \d+"', lines)}
        starts = {int(x) for x in re.findall(rf'd="M{middle} \d+ Q(\d+) ', lines)}
        through = {int(x) for x in re.findall(r'<line x1="(\d+)" y1="0" x2="\d+" y2="100%"', lines)}
        found |= {(open_lanes[x], node.name) for x in ends}
        if re.search(rf'<line x1="{middle}" y1="0"', lines):
            found.add((straight, node.name))
        open_lanes = {x: name for x, name in open_lanes.items() if x in through} | dict.fromkeys(starts, node.name)
        straight = node.name if re.search(rf'x2="{middle}" y2="100%"', lines) else None
    return found


def test_a_chain_is_drawn_with_its_skip_connections() -> None:
    """Every use of a name is a line, straight or in a lane, and no other line is drawn."""
    found = drawn(chain())
    assert [node.name for node in found.nodes] == ["x", "z", "w", "y"]
    assert joins(found) == {("x", "z"), ("z", "w"), ("w", "y"), ("x", "y")}


def test_numbers_are_those_of_the_worst_point() -> None:
    """Values and gradients are shown where something is wrong: there autograd's nan stands beside the exact number."""
    found = drawn(chain())
    assert found.where == "point 3"
    x = found.nodes[0]
    assert x.value == "3" and x.gradient is not None
    assert (x.gradient.value, x.gradient.exact, x.gradient.verdict) == ("nan", "2", Verdict.MISMATCH)
    z = found.nodes[1]
    assert z.verdict is Verdict.MATCH and z.blamed  # by its detail


def test_a_point_outside_of_the_domain_is_not_shown_if_there_is_another() -> None:
    """Where nothing is wrong, the numbers are those of a point at which the chain has a value."""
    report = chain()
    report.columns[:] = [column("dy/dx", [1.0, 2.0], details={})]
    report.columns[0].mark([1], Verdict.OUTSIDE_DOMAIN)
    assert drawn(report).where == "point 1"


def test_of_arrays_entries_are_counted() -> None:
    """An array's node shows its first entries, and how many entries of its gradient are how."""
    report = chain()
    wrong = {0: Detail(cause=Cause.FORMULA)}
    report.columns[:] = [
        column(f"dy/dx[{i}]", [float("nan") if i == 1 else 1.0], wrt=(f"x[{i}]",), details=wrong if i == 1 else {},
               values=np.array([0.5 + i]))
        for i in range(8)
    ]  # fmt: skip
    x = drawn(report).nodes[0]
    assert x.value == "[0.5, 1.5, 2.5, 3.5, 4.5, 5.5, ...]" and x.gradient is not None
    assert (x.gradient.counts, x.gradient.verdict) == ("1 of 8", Verdict.MISMATCH)


def test_layers_are_in_the_order_of_the_forward_pass() -> None:
    """Inputs first; a U-net's skips are lanes; what adds to the output is told by a node of its own."""
    flow = {"0": ["x"], "1": ["0"], "2": ["1"], "3": ["2", "1"], "4": ["3", "0"], "y": ["4", "x"]}
    found = drawn(network(5, flow, wrong=2))
    assert [node.name for node in found.nodes] == ["x", *(f"{i} Layer" for i in range(5)), "y"]
    named = {(a.partition(" ")[0], b.partition(" ")[0]) for a, b in joins(found)}
    assert named == {(source, name) for name, sources in flow.items() for source in sources}
    assert [node.name for node in found.nodes if node.blamed] == ["2 Layer"]


def test_what_needs_too_many_lanes_is_told() -> None:
    """Where all layers use all before them, as many lanes are drawn as fit, and the page says that some aren't."""
    flow = {str(i): ["x", *map(str, range(i))] for i in range(20)}
    found = drawn(network(20, flow))
    assert found.untold and found.width == 14 * (LANES + 1)
    told = [node.uses for node in found.nodes[2:]]
    assert told == [tuple(flow[str(i)]) for i in range(1, 20)]


def test_a_long_network_is_shortened_around_what_is_wrong() -> None:
    """Of a thousand layers the ends and the wrong one are drawn, and how many are left out between."""
    found = drawn(network(1000, {str(i): [str(i - 1)] for i in range(1, 1000)}, wrong=500))
    assert len(found.nodes) <= NODES
    assert "500 Layer" in [node.name for node in found.nodes]
    assert sum(node.left_out for node in found.nodes) + len(found.nodes) == 1001
    gaps = {(node.name) for node in found.nodes if node.left_out}
    assert not {name for _, name in joins(found)} & gaps


def test_a_single_thing_is_no_graph() -> None:
    """A function by itself, or a report without columns, has none."""
    report = replace(chain(), command="function")
    assert graph(report, Places(report.columns)) is None
    empty = Report("chain", {"stages": []}, [], {})
    assert graph(empty, Places([])) is None
