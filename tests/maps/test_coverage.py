"""What is told of torch's operations is what the shadow does with them."""

from __future__ import annotations

from gradcheck_cli.maps.coverage import MEANINGS, Way, covered


def test_each_way_is_told_right() -> None:
    """One operation of each kind, and one that nothing follows; no name twice."""
    found = {one.name: one.way for one in covered()}
    wanted = {
        "view": Way.VIEW, "gather": Way.MOVE, "sum": Way.FOLD, "sin": Way.ROW, "linalg_eig": Way.RULE, "glu": Way.DECOMPOSITION,
        "uniform": Way.DATA, "geqrf": Way.OPAQUE,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
    assert set(MEANINGS) == set(Way)


def test_most_are_followed() -> None:
    """At least 85 of 100 operations that have a derivative."""
    ways = [one.way for one in covered()]
    assert len(ways) > 300 and ways.count(Way.OPAQUE) < 0.15 * len(ways)
