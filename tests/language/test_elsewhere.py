"""What people write who come from elsewhere: the advice can be followed."""

from __future__ import annotations

import re

import pytest

from gradcheck_cli.callables.loading import load
from gradcheck_cli.errors import InputError
from gradcheck_cli.language.elsewhere import INSTEAD, formulas
from gradcheck_cli.language.functions import NAMES
from gradcheck_cli.language.parser import parse


def test_it_isn_t_in_the_language() -> None:
    """A word of the table is no function: the advice is seen."""
    assert len(INSTEAD) > 100
    assert not INSTEAD.keys() & NAMES.keys()


def test_every_formula_that_is_advised_is_one() -> None:
    """It parses."""
    found = [text for text in formulas() if text != "where"]
    assert len(found) > 40
    for text in found:
        parse(text)


def test_every_function_of_torch_that_is_advised_is_one() -> None:
    """`gradcheck function torch:NAME` names something that is called."""
    found = {target for advice in INSTEAD.values() for target in re.findall(r"gradcheck function (torch[\w.]*:\w+)", advice)}
    assert len(found) > 20
    assert all(callable(load(target)) for target in found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("torch.tensor([1.0, 2.0])*x", "unknown function 'tensor': a list is a tensor, `[1, 2]`"),
        ("x.detach()*x", "--stop-gradients"),
        ("torch.zeros_like(x)", "`0*x`"),
        ("np.linalg.inv(A)", "gradcheck function torch.linalg:inv --shape A=3,3"),
        ("x.shape[0]*x", ".shape is not part of the language: sizes are numbers"),
        ("x.requires_grad", "leave it out"),
        ("einsum('ij,j', A, x)", "`a @ b`"),
    ],
)
def test_words_of_torch_are_answered(text: str, words: str) -> None:
    """Called, as a method, as an attribute, with its module: with what to write instead."""
    with pytest.raises(InputError) as caught:
        parse(text)
    assert words in caught.value.message
