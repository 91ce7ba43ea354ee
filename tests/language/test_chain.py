"""Chains: which name means the stage before, and what is refused as ambiguous."""

from __future__ import annotations

import pytest

from gradcheck_cli.errors import InputError
from gradcheck_cli.language.chain import MAX_STAGES, derivative_name, link
from gradcheck_cli.language.parser import parse


def shape(*texts: str) -> tuple[str, str]:
    """The inputs, and each stage as name(what it uses)."""
    chain = link(texts)
    return " ".join(chain.inputs), " ".join(f"{s.name}({','.join(s.inputs)})" for s in chain.stages)


@pytest.mark.parametrize(
    ("texts", "inputs", "stages"),
    [
        (["x**2"], "x", "y(x)"),
        (["y**2"], "y", "f(y)"),
        (["y*f"], "y f", "out(y,f)"),
        (["y*f*out"], "y f out", "s1(y,f,out)"),
        (["2*x", "z**2+2*z+2"], "x", "z(x) y(z)"),
        (["2*x | z**2+2*z+2"], "x", "z(x) y(z)"),
        (["2*x | z+1", "sin(w) | w"], "x", "z(x) w(z) s3(w) y(s3)"),
        (["2*x", "x**2"], "x", "s1(x) y(s1)"),
        (["x", "x", "x"], "x", "s1(x) s2(s1) y(s2)"),
        (["x*y", "x+1"], "x y", "s1(x,y) f(s1)"),
        (["z = 2*x", "w = sin(z) + x", "y = w*z"], "x", "z(x) w(z,x) y(w,z)"),
        (["2*x", "x*u"], "x", "u(x) y(x,u)"),
        (["2*x", "w = u**2", "y = w + x"], "x", "u(x) w(u) y(w,x)"),
        (["z = 2*x", "x**2"], "x", "z(x) y(z)"),
        (["z = 2*x", "z*u"], "x u", "z(x) y(z,u)"),
        (["z = 2*x", "w = x+1", "z*w"], "x", "z(x) w(x) y(z,w)"),
        (["z = x", "w = y", "z*w"], "x y", "z(x) w(y) f(z,w)"),
        (["2*x", "z**2", "z+1"], "x", "z(x) s2(z) y(s2)"),
        (["beta = 2*S", "beta**2"], "S", "beta(S) y(beta)"),
        (["sin = 2*x", "sin + 1"], "x", "sin(x) y(sin)"),
        (["x*pi", "e*z"], "x", "z(x) y(z)"),
    ],
)
def test_binding(texts: list[str], inputs: str, stages: str) -> None:
    """One name at most binds to the stage before; named stages and inputs are used again by name."""
    assert shape(*texts) == (inputs, stages)


NAME_THEM = 'Name the stages: "z = ..." "y = ...z..."'


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "the chain is empty: give at least one expression"),
        ([""], "a stage is empty\n  \n  ^"),
        (["x||2*z"], "a stage is empty\n  x||2*z\n    ^"),
        (["3"], "there is no variable to differentiate by\n  3\n  ^"),
        (["2*x", "3"], f"stage 2 doesn't use the stage before. {NAME_THEM}\n  3\n  ^"),
        (["x*y", "x*y"], f"stage 2 is ambiguous: the stage before may be x or y. {NAME_THEM}\n  x*y\n  ^"),
        (["2*x", "1+u*v"], f"stage 2 is ambiguous: the stage before may be u or v. {NAME_THEM}\n  1+u*v\n    ^"),
        (["2*x | u*v"], f"stage 2 is ambiguous: the stage before may be u or v. {NAME_THEM}\n  2*x | u*v\n        ^"),
        (
            ["2*x", "z**2", "x*z"],
            f"stage 3 is ambiguous: z may be the stage before or an earlier one. {NAME_THEM}\n  x*z\n    ^",
        ),
        (["2*x", "z**2", "z*y"], f"stage 3 is ambiguous: the stage before may be z or y. {NAME_THEM}\n  z*y\n  ^"),
        (
            ["a = 2*x", "z = sin(a)", "a**2"],
            f"stage 3 is ambiguous: a may be the stage before or an earlier one. {NAME_THEM}\n  a**2\n  ^",
        ),
        (
            ["2*x", "w = z+1", "y = w*z"],
            f"'z' is ambiguous: a stage above calls the one before it so. {NAME_THEM}\n  y = w*z\n        ^",
        ),
        (
            ["z = 2*x", "w = 3*x", "x*z"],
            "no later stage uses stage w, so the output doesn't depend on it\n  w = 3*x\n  ^",
        ),
        (["x = 2*x"], "stage 'x' uses itself\n  x = 2*x\n        ^"),
        (["z = w+x", "w = 2*z"], "'w' is used before its stage\n  z = w+x\n      ^"),
        (["z = 2*x", "z = 3*x"], "a stage can't be called 'z': an earlier stage is called so\n  z = 3*x\n  ^"),
        (["z = 2*x", "x = z+1"], "'x' is used before its stage\n  z = 2*x\n        ^"),
        (
            ["2*x", "w = u**2", "u = w+1"],
            "'u' is the stage before here, and the name of a later stage\n  w = u**2\n      ^",
        ),
        (["pi = 2*x"], "'pi' is a constant and can't name a stage\n  pi = 2*x\n  ^"),
        (["2x = 3"], "'2x' is not a name for a stage\n  2x = 3\n  ^"),
        ([" lambda = x"], "'lambda' is not a name for a stage\n   lambda = x\n   ^"),
        (["= x"], "a name is missing before '='\n  = x\n  ^"),
        (["z = x > 0"], "a stage is a number, not a condition: write where(condition, a, b)\n  z = x > 0\n      ^"),
    ],
    ids=str,
)
def test_refused(texts: list[str], message: str) -> None:
    """What could be meant in two ways is an error with the candidates, the text and a caret."""
    with pytest.raises(InputError) as caught:
        link(texts)
    assert str(caught.value) == message


@pytest.mark.slow(reason="20,000 stages")
def test_too_many_stages() -> None:
    """The number of stages is bounded before any is parsed for long."""
    with pytest.raises(InputError, match=r"the chain has 20,001 stages; at most 20,000 are checked"):
        link(["z"] * (MAX_STAGES + 1))


def test_composed_is_the_whole_function() -> None:
    """Substituting each stage gives one tree in the inputs."""
    assert link(["z = 2*x", "w = z + x", "w*z"]).composed() == parse("(2*x + x)*(2*x)")


def test_expressions_are_kept_as_typed() -> None:
    """The text of a stage is what the user wrote after the equals sign."""
    assert [s.expression for s in link([" z = 2 * x ", "where(z == 1, z, 2*z)"]).stages] == [
        "2 * x",
        "where(z == 1, z, 2*z)",
    ]


def test_derivative_names() -> None:
    """The order of differentiation is readable."""
    assert derivative_name("y", ("x",)) == "dy/dx"
    assert derivative_name("f", ("x", "x", "y")) == "d3f/dxdxdy"
