"""The promises of the architecture: imports go downwards only, and every cell of the function table resolves."""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path

import pytest

import gradcheck_cli
from gradcheck_cli.language.arrays import _Evaluation
from gradcheck_cli.language.functions import KINDS, NAMES, PAIRS, TABLE, VARIADIC, VARIANTS, Function
from gradcheck_cli.language.parser import composition, definition, parse
from gradcheck_cli.language.tree import Call, variables, walk

PACKAGE = Path(gradcheck_cli.__file__).parent
MAP = (PACKAGE.parent / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("```layers\n")[2].partition("```")[0]

ORDER = [line.split()[0].removesuffix("/").removesuffix(".py") for line in MAP.splitlines()]
"""The layers of ARCHITECTURE.md. A module imports from those above it, or from its own folder."""

UPWARDS = {("verdict.report", "output.text")}
"""`str(report)` renders itself: the import is inside __str__."""


@cache
def modules() -> list[str]:
    """Every module as a dotted name below the package."""
    names = (path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(parts) for parts in names if parts != ("__init__",))


@cache
def imports(module: str) -> tuple[str, ...]:
    """The modules that a module imports from the package, wherever in it the import stands, as names below the package."""
    tree = ast.parse((PACKAGE / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8"))
    return tuple(imported(tree, set(modules())))


def imported(tree: ast.Module, known: Set[str]) -> Iterator[str]:
    """The same of a tree: `from package import module` imports the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("gradcheck_cli."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "gradcheck_cli":
            folder = (node.module or "").partition(".")[2]
            for alias in node.names:
                inside = f"{folder}.{alias.name}".lstrip(".")
                if inside in known or folder:
                    yield inside if inside in known else folder


def test_the_map_is_whole() -> None:
    """ARCHITECTURE.md lists every folder and module at the top of the package, and nothing else."""
    assert sorted(ORDER) == sorted({m.partition(".")[0] for m in modules()})


def test_no_import_is_relative_or_overlooked() -> None:
    """Both ways to import a module are seen, and every import of the package names it from the top."""
    seen = imported(ast.parse("from gradcheck_cli.exact import values, kinks as k\nimport gradcheck_cli.api"), set(modules()))
    assert list(seen) == ["exact.values", "exact.kinks", "api"]
    for module in modules():
        tree = ast.parse((PACKAGE / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8"))
        assert all(node.level == 0 for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), module


@pytest.mark.parametrize("module", modules())
def test_imports_go_downwards(module: str) -> None:
    """No module, and no function in it, imports from a layer below its own in ARCHITECTURE.md."""
    own = module.partition(".")[0]
    for name in imports(module):
        if (module, name) not in UPWARDS:
            assert ORDER.index(name.partition(".")[0]) <= ORDER.index(own), f"{module} imports {name}"


def test_no_cycles_within_a_folder() -> None:
    """Modules of one folder don't import each other in a circle."""
    known = set(modules())
    graph = {m: {n for n in imports(m) if n in known and n.split(".")[0] == m.split(".")[0]} for m in known}
    while graph:
        free = [m for m, needs in graph.items() if not needs & graph.keys()]
        assert free, f"a circle among {sorted(graph)}"
        for module in free:
            del graph[module]


def test_witnesses_are_strangers() -> None:
    """The exact side and the shadow know nothing of each other; commands and formats know neither."""
    strangers = {
        "exact": ("shadow",),
        "shadow": ("exact",),
        "cli": ("exact", "shadow", "algebra"),
        "output": ("exact", "shadow", "algebra"),
    }
    assert set(ORDER) > {*strangers, *(name for names in strangers.values() for name in names)}
    for module in modules():
        refused = strangers.get(module.partition(".")[0], ())
        assert not [name for name in imports(module) if name.partition(".")[0] in refused], module


# -- the table of functions --------------------------------------------------------------------------------------------


def each_row() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)


def test_names_are_unique() -> None:
    """No name or alias belongs to two rows, and each is one that a user can write."""
    names = [name for row in TABLE.values() for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() for name in names)
    assert {NAMES[name] for name in names} == set(TABLE)


@each_row()
def test_parameters_are_known_kinds(row: Function) -> None:
    """Every parameter is of a known kind, and defaults come last."""
    assert all(p.kind in KINDS for p in row.parameters)
    assert [p.default is not None for p in row.parameters] == sorted(p.default is not None for p in row.parameters)


@each_row()
def test_formulas_use_parameters_only(row: Function) -> None:
    """Definition, composition, domain and kinks parse and use no other name than the row's parameters."""
    names = {p.name for p in row.parameters}
    trees = [parse(text) for text in (row.domain, row.kinks) if text]
    if row.definition:
        trees.append(definition(row.name))
    if row.composed:
        trees.append(composition(row.name))
    for tree in trees:
        assert set(variables(tree)) <= names
    if row.stalls:
        assert set(variables(parse(row.stalls))) <= {*names, "order"}


def test_definitions_end() -> None:
    """No row is defined by itself, directly or through others."""

    def needs(name: str) -> set[str]:
        return set() if not TABLE[name].definition else {n.function for n in walk(definition(name)) if isinstance(n, Call)}

    left = {name: needs(name) for name in TABLE}
    while left:
        free = [name for name, uses in left.items() if not uses & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]


@each_row()
def test_primitives_resolve_in_sympy_and_flint(row: Function) -> None:
    """A primitive names something of SymPy or algebra.symbols, and something of algebra.balls or a method of arb; one on
    arrays names something of language.arrays."""
    import flint
    import sympy

    from gradcheck_cli.algebra import balls, symbols

    if row.primitive:
        assert row.sympy
        assert row.ball
    if row.sympy:
        assert hasattr(symbols, row.sympy) or hasattr(sympy, row.sympy)
    if row.array:
        assert not row.definition
        assert callable(getattr(_Evaluation, row.array))
    if row.ball and balls.PLAIN.function(row) is None:
        assert row.name in balls.PLAIN.operators or hasattr(flint.arb, row.ball)


@each_row()
def test_torch_names_resolve(row: Function) -> None:
    """The torch column is a callable below torch, a number, an operation of algebra.tensors, or a composition."""
    import torch

    from gradcheck_cli.algebra import tensors

    if row.composed:
        return
    parameters = {p.name: 0 for p in row.parameters if p.kind == "integer"}
    name = (row.torch or row.name).format(**parameters)
    if hasattr(tensors, name):
        return
    found = operator.attrgetter(name)(torch)
    assert callable(found) or isinstance(found, float)


def test_variants_and_variadic_rows_exist() -> None:
    """What the parser treats specially is in the table."""
    assert set(VARIADIC) <= set(TABLE)
    assert set(PAIRS) <= set(TABLE) and set(PAIRS.values()) <= set(TABLE)
    assert set(VARIANTS.values()) <= set(TABLE)
