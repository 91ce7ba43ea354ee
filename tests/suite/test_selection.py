"""-k: words of names, joined by and, or, not."""

from __future__ import annotations

import pytest

from gradcheck_cli.errors import InputError
from gradcheck_cli.suite.selection import chosen, select
from gradcheck_cli.suite.spec import Spec

NAMES = ("relu", "ReLU float16", "sin(x)", "second order", "not a number")
SPECS = [Spec(name, "grad", "x", file="a.toml") for name in NAMES]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        (None, NAMES),
        ("relu", NAMES[:2]),
        ("relu and not float16", NAMES[:1]),
        ("not relu", NAMES[2:]),
        ("float16 or 'second order'", (NAMES[1], NAMES[3])),
        ("not (relu or order) and a.toml", (NAMES[2], NAMES[4])),
        ("not relu and not order or float16", (NAMES[1], NAMES[2], NAMES[4])),
        ('"sin(x)"', NAMES[2:3]),
        ("'not a'", NAMES[4:]),
        ("cosine", ()),
    ],
)
def test_an_expression_chooses_by_words(expression: str | None, chosen: tuple[str, ...]) -> None:
    """Whatever their case; `not` binds most, `or` least; quotes hold blanks, parentheses and the three words."""
    assert tuple(spec.name for spec in select(SPECS, expression)) == chosen


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "a word is missing\n  \n  ^"),
        ("relu and", "a word is missing\n  relu and\n          ^"),
        ("or relu", "a word is missing\n  or relu\n"),
        ("(relu", "a parenthesis isn't closed\n  (relu\n       ^"),
        ("relu)", "words are joined by `and` or `or`; one that holds blanks is quoted\n  relu)\n      ^"),
        ("relu sin", "words are joined by `and` or `or`"),
        ("relu 'sin", "a quote isn't closed\n  relu 'sin\n       ^"),
        ("not " * 200 + "x", "it is nested too deeply"),
        ("(" * 5000, "it is nested too deeply"),
    ],
)
def test_a_slip_is_an_input_error(expression: str, message: str) -> None:
    """With a caret; no text is executed, and none is too deep."""
    with pytest.raises(InputError) as error:
        select(SPECS, expression)
    assert message in str(error.value)


def test_words_are_compared_only() -> None:
    """What would be code elsewhere is a word."""
    assert select(SPECS, "__import__") == ()


def test_one_check_by_its_name() -> None:
    """FILE::NAME is that one, whatever blanks are in it; all checks of its file are known too; a file counts once."""
    files = {"a.toml": tuple(SPECS), "b.toml": (Spec("relu", "grad", "x", file="b.toml"),)}
    specs, every = chosen(["a.toml::second  order", "b.toml", "a.toml::relu", "b.toml::relu"], files.__getitem__)
    assert [spec.id for spec in specs] == ["a.toml::second order", "b.toml::relu", "a.toml::relu"]
    assert {spec.id for spec in every} == {spec.id for found in files.values() for spec in found}


def test_the_nearest_name_is_told() -> None:
    """With a caret under the name."""
    with pytest.raises(InputError) as caught:
        chosen(["a.toml::secnd order"], lambda path: tuple(SPECS))
    assert str(caught.value).startswith(
        "no check is called 'secnd order'; nearest: second order\n  a.toml::secnd order\n          ^"
    )
