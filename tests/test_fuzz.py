"""No text crashes or hangs the parser: a tree, or an input error that points into the text.

benchmarks/fuzz.py does the same by the hundred thousand, with whole checks.
"""

from __future__ import annotations

import math
import random
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gradcheck_cli.errors import InputError
from gradcheck_cli.language.chain import link
from gradcheck_cli.language.functions import NAMES
from gradcheck_cli.language.parser import parse, parse_stage
from gradcheck_cli.language.points import parse_points
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Call, Constant, Node
from tests.counting import count_calls
from tests.expressions import random_formula
from tests.hostile import ENTRIES, HOSTILE, TOKENS

pytestmark = pytest.mark.slow(reason="hostile texts, each to its end")


PIECES = st.one_of(
    st.sampled_from(TOKENS), st.sampled_from(sorted(NAMES)), st.sampled_from("xyz+-*/(),<>= "), st.text(max_size=3)
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=25).map("".join))


def read(text: str) -> Node | None:
    """The tree, or None where the text is refused with a caret line."""
    try:
        return parse_stage(text)[1]
    except InputError as problem:
        message, line, caret = str(problem).split("\n")
        assert message and caret.strip() == "^" and caret.index("^") <= len(line)
        return None


def folded(tree: Node) -> Node:
    """The tree with the sign of a literal in the literal, and signs in front of products outside of them, as they are read."""
    if not isinstance(tree, Call):
        return tree
    arguments = tuple(folded(a) for a in tree.arguments)
    match tree.function, arguments:
        case "neg", (Constant(value=value),) if not isinstance(value, bool):
            return Constant(-value)
        case "mul" | "div", (Call(function="neg", arguments=(x,)), y):
            return Call("neg", (folded(Call(tree.function, (x, y))),))
        case "mul" | "div", (Constant(value=value), y) if not isinstance(value, bool) and math.copysign(1, value) < 0:
            return Call("neg", (folded(Call(tree.function, (Constant(-value), y))),))
    return Call(tree.function, arguments)


@settings(max_examples=400)
@given(TEXTS)
@example("x" * 100)
@pytest.mark.slow(reason="hundreds of texts")
def test_any_text_is_read_or_refused(text: str) -> None:
    """A tree or an InputError that quotes the text with a caret; a tree's print is read as an equal tree."""
    tree = read(text)
    if tree is not None:
        printed = show(tree)
        assert printed is not None
        assert folded(parse(printed)) == folded(tree)


@settings(max_examples=200)
@given(TEXTS)
@pytest.mark.slow(reason="hundreds of texts")
def test_any_text_is_a_chain_and_a_point_or_refused(text: str) -> None:
    """The same for chains and for --at."""
    for entry in (lambda: link([text, text]), lambda: parse_points(text, ["x"], evaluate=lambda tree: 1.0)):
        with suppress(InputError):
            entry()


@settings(max_examples=300)
@given(st.integers(min_value=0, max_value=2**32), st.integers(min_value=1, max_value=5))
@pytest.mark.slow(reason="hundreds of texts")
def test_a_print_is_read_as_the_same_formula(seed: int, depth: int) -> None:
    """Formulas over the whole table survive printing."""
    tree = parse(random_formula(random.Random(seed), depth))
    printed = show(tree)
    assert printed is not None
    assert folded(parse(printed)) == folded(tree)
    assert show(parse(printed)) == printed


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:40])
def test_hostile_texts(text: str) -> None:
    """Each takes less work than 200,000 calls: the largest of them are as long as the language allows."""
    assert count_calls(lambda: read(text)) < 200_000


@pytest.mark.parametrize("text", ['__import__("os")', "x.__class__", "lambda x: x", "f'{x}'", "[x for x in x]", "9**9**9**9^x"])
def test_code_is_refused(text: str) -> None:
    """What only an interpreter could run is not in the language."""
    assert read(text) is None


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_whatever_reads_text(entry: Any) -> None:
    """Each entry point reads 60 texts, or refuses them in at most three lines of what can be seen: nothing else, no warning."""
    found = [entry.attempt(entry.text(1, index)) for index in range(60)]
    assert [outcome for outcome in found if outcome.startswith("DEFECT")] == []
    assert set(found) <= {"read", "refused"} and found.count("read") > 0
