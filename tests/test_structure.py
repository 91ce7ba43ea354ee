"""The promises of the architecture: imports go downwards only, and every cell of the function table resolves."""

from __future__ import annotations

import ast
import operator
from collections.abc import Iterable, Iterator, Set
from functools import cache
from pathlib import Path

import pytest

import gradcheck_cli
from gradcheck_cli.language import syntax
from gradcheck_cli.language.arrays.evaluation import Evaluation
from gradcheck_cli.language.functions import KINDS, NAMES, PAIRS, PIECES, PLACES, RESULTS, TABLE, VARIADIC, VARIANTS, Function
from gradcheck_cli.language.parser import composition, definition, is_truth, parse
from gradcheck_cli.language.tree import Call, Node, variables, walk
from tests.every import every

PACKAGE = Path(gradcheck_cli.__file__).parent
MAP = (PACKAGE.parent / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("```layers\n")[2].partition("```")[0]

ORDER = [line.split()[0].removesuffix("/").removesuffix(".py") for line in MAP.splitlines()]
"""The layers of ARCHITECTURE.md. A module imports from those above it, or from its own folder."""

UPWARDS = {("verdict.report", "output.display"), ("lessons.lesson", "output.lesson")}
"""A report and a lesson show themselves: the import is inside the function that all ways to do so go through."""


@cache
def modules() -> list[str]:
    """Every module as a dotted name below the package."""
    names = (path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(parts) for parts in names if parts != ("__init__",))


@cache
def tree_of(module: str) -> ast.Module:
    """The syntax of a module."""
    return ast.parse((PACKAGE / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8"))


@cache
def imports(module: str) -> tuple[str, ...]:
    """The modules that a module imports from the package, wherever in it the import stands, as names below the package."""
    tree = tree_of(module)
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
        tree = tree_of(module)
        assert all(node.level == 0 for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), module


@every(modules())
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


def test_the_number_type_is_known_in_three_folders() -> None:
    """Outside of algebra/, exact/ and shadow/ nothing imports flint: numbers have methods, and `algebra.number` makes them."""
    for module in modules():
        tree = tree_of(module)
        names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        if any(name.partition(".")[0] == "flint" for name in names):
            assert module.partition(".")[0] in ("algebra", "exact", "shadow"), module


# -- the table of functions --------------------------------------------------------------------------------------------


each_row = every(TABLE.values(), lambda row: row.name)


def test_dispatch_modes_are_of_one_kind() -> None:
    """What every mode has to leave alone (tracers, classes of tensors, operators of higher order) is known in one place."""
    told = [path.name for path in PACKAGE.rglob("*.py") if "TorchDispatchMode)" in path.read_text(encoding="utf-8")]
    assert told == ["watching.py"]


def test_names_are_unique() -> None:
    """No name or alias belongs to two rows, and each is one that a user can write, but of what entries are made of."""
    pieces = {row.name for row in PIECES}
    names = [name for row in TABLE.values() for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() for name in names if name not in PLACES)
    assert all(row == "" or row in TABLE for results in RESULTS.values() for row in results.values())
    assert {name for name in names if "." in name} <= {
        f"{name}.{result}" for name, results in RESULTS.items() for result in results
    }
    assert {NAMES[name] for name in set(names) - pieces} == set(TABLE) - pieces
    assert not pieces & NAMES.keys()


@each_row
def test_parameters_are_known_kinds(row: Function) -> None:
    """Every parameter is of a known kind, and defaults come last."""
    assert all(p.kind in KINDS for p in row.parameters)
    assert [p.default is not None for p in row.parameters] == sorted(p.default is not None for p in row.parameters)


@each_row
def test_formulas_use_parameters_only(row: Function) -> None:
    """Definition, composition, domain, kinks and `analytic` parse and use no other name than the row's parameters; `slope` may
    use `f` too, and `stalls` the order."""
    names = {p.name for p in row.parameters}
    trees = [parse(text) for text in (row.domain, row.kinks, row.analytic) if text]
    if row.definition:
        trees.append(definition(row.name))
    if row.composed:
        trees.append(composition(row.name))
    for tree in trees:
        assert set(variables(tree)) <= names
    if row.stalls:
        assert set(variables(parse(row.stalls))) <= {*names, "order"}
    for slope in filter(None, (row.slope, row.taught)):
        assert len(names) == 1
        assert set(variables(parse(slope))) <= {*names, "f"}


@pytest.mark.parametrize("column", ["definition", "slope"])
def test_definitions_end(column: str) -> None:
    """No row is defined by itself, directly or through others; nor is its slope, where a row without one has its definition."""

    def trees(row: Function) -> list[Node]:
        if column == "slope" and (row.slope or row.series):
            return [parse(row.slope)] if row.slope else []
        return [definition(row.name)] if row.definition else []

    def needs(row: Function) -> set[str]:
        return {n.function for tree in trees(row) for n in walk(tree) if isinstance(n, Call)}

    left = {name: needs(row) for name, row in TABLE.items()}
    while left:
        free = [name for name, uses in left.items() if not uses & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for name in free:
            del left[name]


@each_row
def test_a_primitive_names_its_cells_and_they_resolve(row: Function) -> None:
    """A primitive names something of SymPy or algebra.symbols, something of algebra.balls or a method of arb, and a slope or
    something of algebra.series (operators of series, truth values and constants need neither); one on arrays names something of
    language.arrays."""
    import flint
    import sympy

    from gradcheck_cli.algebra import balls, series, symbols

    missing = []
    if row.primitive:
        plain = row.truth or not row.parameters or row.name in series.SERIES.operators
        missing += [] if row.sympy else ["sympy"]
        missing += [] if row.ball else ["ball"]
        missing += [] if row.slope or row.series or plain else ["slope or series"]
    where = {"sympy": (symbols, sympy), "ball": (balls, flint.arb), "series": (series,), "array": (Evaluation,)}
    for column, modules in where.items():
        name = getattr(row, column)
        missing += [] if not name or any(hasattr(m, name) for m in modules) else [f"{name} of {column}"]
    assert not missing, f"{row.name} lacks {', '.join(missing)}"
    assert bool(row.definition) + bool(row.array) + row.primitive == 1
    assert not (row.slope and row.series)


@each_row
def test_truth_values_are_told(row: Function) -> None:
    """`truths` names parameters or the result, and what gives a truth value doesn't round."""
    assert set(row.truths.split()) <= {*(p.name for p in row.parameters), "result"}
    if row.truth:
        assert row.ulps == 0


@each_row
def test_operators_are_read(row: Function) -> None:
    """What the column `operator` says is how the parser reads a call of the row."""
    if row.operator:
        takes_truths = any(p.kind == "truth" for p in row.parameters)
        terms = ["x > 0", "y > 0"] if takes_truths else ["x", "y"]
        arguments = tuple(map(parse, terms[: len(row.parameters)]))
        assert parse(row.template.format(*(f"({t})" for t in terms))) == Call(row.name, arguments)


@each_row
def test_conditions_that_must_be_certain_have_no_not(row: Function) -> None:
    """`analytic` is made of comparisons, `and` and `or`: what isn't certain is False, which `not` would turn into True."""
    if row.analytic:
        assert is_truth(parse(row.analytic))
        assert not any(isinstance(n, Call) and n.function == syntax.NOT for n in walk(parse(row.analytic)))


ASKED = ("function", "name", "row_name")
"""What the code calls the name of a function of the language."""


def singled_out(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where code compares the name of a row with a text, matches it, takes a row by it from the table, or writes a call."""

    def rows(nodes: Iterable[ast.AST]) -> set[str]:
        return {n.value for node in nodes for n in ast.walk(node) if isinstance(n, ast.Constant) and n.value in TABLE}

    for node in ast.walk(tree):
        found: set[str] = set()
        match node:
            case ast.Compare(left=left, comparators=others):
                names = [getattr(side, "attr", getattr(side, "id", "")) for side in (left, *others)]
                found = rows((left, *others)) if set(names) & set(ASKED) else set()
            case ast.MatchValue(value=value):
                found = rows([value])
            case ast.Call(func=ast.Name(id="Call"), args=[first, *_]):
                found = rows([first])
            case ast.Subscript(value=ast.Name(id="TABLE"), slice=place):
                found = rows([place])
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name), attr="startswith" | "endswith")
            ):
                found = (
                    {ast.unparse(node)}
                    if name in ("function", "row_name") or ast.unparse(node).startswith("row.name")
                    else set()
                )
        yield from ((node.lineno, name) for name in found)  # type: ignore[attr-defined]


@every([m for m in modules() if m not in ("language.functions", "language.syntax")])
def test_no_code_singles_out_a_function_by_name(module: str) -> None:
    """The table says what is special about a row; rows that are syntax have their names in language.syntax."""
    tree = tree_of(module)
    assert not list(singled_out(tree))


@pytest.mark.parametrize(
    "code",
    [
        'row.name == "clamp"', 'item.function in ("where", "lerp")', 'Call("neg", (x,))', 'TABLE["add"]',
        'row.name.startswith("logical_")', 'match node:\n case Call(function="neg"): pass',
    ],
)  # fmt: skip
def test_names_of_functions_in_code_are_seen(code: str) -> None:
    """Each way to single out a row is found."""
    assert list(singled_out(ast.parse(code)))


@each_row
def test_torch_names_resolve(row: Function) -> None:
    """The torch column is a callable below torch, a number, an operation of algebra.tensors, or a composition."""
    import torch

    from gradcheck_cli.algebra import tensors

    if row.composed or row in PIECES:  # torch runs what a user writes
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
