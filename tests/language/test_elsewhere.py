"""What people write who come from elsewhere: the advice can be followed."""

from __future__ import annotations

import re

import pytest

from gradcheck_cli.callables.loading import load
from gradcheck_cli.errors import InputError
from gradcheck_cli.language.elsewhere import INSTEAD, SIGNS, formulas
from gradcheck_cli.language.functions import NAMES
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.tree import variables


def test_it_isn_t_in_the_language() -> None:
    """A word of the table is no function: the advice is seen."""
    assert len(INSTEAD) > 100
    assert not INSTEAD.keys() & NAMES.keys()


def test_every_formula_that_is_advised_is_one() -> None:
    """It parses."""
    found = [text for text in formulas() if text != "where"]
    assert len(found) > 40
    for text in found:
        parse(text, imaginary=frozenset())


def test_every_function_of_torch_that_is_advised_is_one() -> None:
    """`gradcheck function torch:NAME` names something that is called."""
    found = {target for advice in INSTEAD.values() for target in re.findall(r"gradcheck function (torch[\w.]*:\w+)", advice)}
    assert len(found) > 20
    assert all(callable(load(target)) for target in found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("torch.FloatTensor([1.0, 2.0])*x", "unknown function 'FloatTensor': a list is a tensor, `[1, 2]`"),
        ("x.data*x", "detach(x)"),
        ("torch.full((2,), 3)", "spread by itself"),
        ("torch.zeros(2, dtype=torch.float64)*x", "unknown argument 'dtype': --dtype says"),
        ("np.linalg.eigvals(A)", "gradcheck function torch.linalg:eigvals --shape A=3,3"),
        ("x.shape*x", ".shape is not part of the language: sizes are numbers"),
        ("x.requires_grad", "leave it out"),
        ("tensordot(A, x, 1)", "`a @ b`"),
        ("torch.complex(x, y)", "write `x + 1j*y`"),
    ],
)
def test_words_of_torch_are_answered(text: str, words: str) -> None:
    """Called, as a method, as an attribute, with its module: with what to write instead."""
    with pytest.raises(InputError) as caught:
        parse(text)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x²", "'²' is not part of the language: write **2"),
        ("2·π", "'·' is not part of the language: write *"),
        ("x − 1", "'−' is not part of the language: write -"),
        ("sin^2(x)", r"a power of sin is written behind its argument: sin(...)**2"),
        ("1 + cos**3(x)", "cos(...)**3"),
        ("sin^-1(x)", "asin(...)"),
        ("exp^-1(x)", "exp(...)**-1"),
        ("2*sin x", "the argument of sin stands in parentheses: sin(x)"),
    ],
)
def test_printed_mathematics(text: str, words: str) -> None:
    """Is answered with what is typed."""
    with pytest.raises(InputError) as caught:
        parse(text)
    assert words in caught.value.message


def test_what_can_be_read_is_read() -> None:
    """A power of a name in front of a bracket, where that is no function's."""
    assert [variables(parse(text)) for text in ("beta**2*(x)", "e**2*(x)")] == [("beta", "x"), ("x",)]


def test_every_sign_is_answered() -> None:
    """Each sign is none of the language, and what is to be typed for it is."""
    for sign, typed in SIGNS.items():
        with pytest.raises(InputError, match=f"write {re.escape(typed)}"):
            parse(f"x {sign} y")
        assert sign not in typed
