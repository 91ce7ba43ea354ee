r"""The two notations of a formula, MathML and LaTeX: how a name, a fraction, a power is written, and what has to be escaped.

Both are fed by the one walk in `typeset`, in the same terms; signs are Unicode's own, which LaTeX has commands for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Protocol

_LOWER = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega"
_UPPER = "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
GREEK: dict[str, str] = {
    **dict(zip(_LOWER.split(), "αβγδεζηθικλμνξπρστυφχψω", strict=True)),
    **dict(zip(_UPPER.split(), "ΓΔΘΛΞΠΣΥΦΨΩ", strict=True)),
}
"""Names of letters, which are LaTeX's commands too."""


class Notation(Protocol):
    """What a notation draws, each of it complete by itself; texts handed in are drawn already, but for names and numbers."""

    def number(self, text: str) -> str: ...
    def letter(self, text: str) -> str: ...
    def word(self, text: str, after: bool = False) -> str: ...
    def function(self, name: str) -> str: ...
    def infix(self, sign: str, prefix: bool = False) -> str: ...
    def times(self) -> str: ...
    def big(self, sign: str) -> str: ...
    def applied(self, function: str, arguments: str) -> str: ...
    def fenced(self, left: str, text: str, right: str) -> str: ...
    def fraction(self, above: str, below: str) -> str: ...
    def power(self, base: str, exponent: str) -> str: ...
    def below(self, base: str, index: str) -> str: ...
    def under(self, base: str, index: str) -> str: ...
    def root(self, text: str, degree: str) -> str: ...
    def cases(self, cases: Sequence[tuple[str, str]]) -> str: ...
    def code(self, text: str) -> str: ...


NBSP = "\u00a0"
"""A blank at the end of a text, which MathML would drop."""


class _MathML:
    """Presentation MathML, of the elements that MathML Core has."""

    def number(self, text: str) -> str:
        return f"<mn>{escape(text)}</mn>"

    def letter(self, text: str) -> str:
        return f"<mi>{escape(text)}</mi>"

    def word(self, text: str, after: bool = False) -> str:
        return f'<mi mathvariant="normal">{escape(text)}</mi>' if len(text) == 1 else self._words(text, after)

    def _words(self, text: str, after: bool) -> str:
        return f"<mtext>{escape(text)}{NBSP if after else ''}</mtext>"

    def function(self, name: str) -> str:
        return f'<mi mathvariant="normal">{escape(name)}</mi>' if len(name) == 1 else f"<mi>{escape(name)}</mi>"

    def infix(self, sign: str, prefix: bool = False) -> str:
        form = ' form="prefix"' if prefix and sign != "!" else ""
        return f"<mo{form}>{escape(sign)}</mo>"

    def times(self) -> str:
        return '<mo lspace="0" rspace="0.1667em">&#x2062;</mo>'

    def big(self, sign: str) -> str:
        return f"<mo>{sign}</mo>"

    def applied(self, function: str, arguments: str) -> str:
        return f"{function}<mo>&#x2061;</mo>{arguments}"

    def fenced(self, left: str, text: str, right: str) -> str:
        fence = "<mo form={!r} fence='true' stretchy='true'>{}</mo>"
        return f"<mrow>{fence.format('prefix', left)}{text}{fence.format('postfix', right)}</mrow>".replace("'", '"')

    def fraction(self, above: str, below: str) -> str:
        return f"<mfrac>{_row(above)}{_row(below)}</mfrac>"

    def power(self, base: str, exponent: str) -> str:
        return f"<msup>{_row(base)}{_row(exponent)}</msup>"

    def below(self, base: str, index: str) -> str:
        return f"<msub>{_row(base)}{_row(index)}</msub>"

    def under(self, base: str, index: str) -> str:
        return f"<munder>{_row(base)}{_row(index)}</munder>"

    def root(self, text: str, degree: str) -> str:
        return f"<mroot>{_row(text)}{self.number(degree)}</mroot>" if degree else f"<msqrt>{text}</msqrt>"

    def cases(self, cases: Sequence[tuple[str, str]]) -> str:
        rows = "".join(f"<mtr><mtd>{value}</mtd><mtd>{condition}</mtd></mtr>" for value, condition in cases)
        return f'<mrow><mo form="prefix" fence="true" stretchy="true">{{</mo><mtable class="cases">{rows}</mtable></mrow>'

    def code(self, text: str) -> str:
        return f"<mtext>{escape(text)}</mtext>"


def _row(text: str) -> str:
    return f"<mrow>{text}</mrow>"


class _Latex:
    r"""LaTeX with amsmath's `\operatorname`, `cases` and `\text`."""

    def number(self, text: str) -> str:
        return text.replace("−", "-")

    def letter(self, text: str) -> str:
        return _signs(text)

    def word(self, text: str, after: bool = False) -> str:
        return rf"\text{{{_escaped(text)}{' ' if after else ''}}}" if after or " " in text else rf"\mathrm{{{_escaped(text)}}}"

    def function(self, name: str) -> str:
        return rf"\{name}" if name in _COMMANDS else rf"\operatorname{{{_escaped(name)}}}"

    def infix(self, sign: str, prefix: bool = False) -> str:
        if prefix:
            return _signs(sign)
        return _signs(sign) if sign == "/" else f"{sign} " if sign == "," else f" {_signs(sign).strip()} "

    def times(self) -> str:
        return r" \, "

    def big(self, sign: str) -> str:
        return _signs(sign)

    def applied(self, function: str, arguments: str) -> str:
        return function.rstrip() + arguments

    def fenced(self, left: str, text: str, right: str) -> str:
        return rf"\left{_signs(left)}{text}\right{_signs(right)}"

    def fraction(self, above: str, below: str) -> str:
        return rf"\frac{{{above}}}{{{below}}}"

    def power(self, base: str, exponent: str) -> str:
        return f"{_base(base)}^{{{exponent}}}"

    def below(self, base: str, index: str) -> str:
        return f"{_base(base)}_{{{index}}}"

    def under(self, base: str, index: str) -> str:
        return f"{base.rstrip()}_{{{index}}}"

    def root(self, text: str, degree: str) -> str:
        return rf"\sqrt{f'[{degree}]' if degree else ''}{{{text}}}"

    def cases(self, cases: Sequence[tuple[str, str]]) -> str:
        rows = r" \\ ".join(f"{value} & {condition}" for value, condition in cases)
        return rf"\begin{{cases}}{rows}\end{{cases}}"

    def code(self, text: str) -> str:
        return rf"\texttt{{{_escaped(text)}}}"


def _base(text: str) -> str:
    """What an index or an exponent may be put to: a second one would be an error of TeX."""
    return f"{{{text}}}" if re.search(r"[\^_]", text) else text.rstrip()


_COMMANDS = frozenset({
    "sin", "cos", "tan", "sec", "csc", "cot", "sinh", "cosh", "tanh", "coth", "arcsin", "arccos", "arctan", "log", "exp", "max",
    "min",
})  # fmt: skip
"""Functions that LaTeX has names for."""

_SIGNS = {
    "−": "-", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∧": r"\land ", "∨": r"\lor ", "¬": r"\lnot ", "·": r"\cdot ",
    "×": r"\times ", "∞": r"\infty ", "⊤": r"\top ", "∑": r"\sum ", "∏": r"\prod ", "‖": r"\|", "⌊": r"\lfloor ",
    "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "⟨": r"\langle ", "⟩": r"\rangle ", "{": r"\{", "}": r"\}",
    "Β": r"\mathrm{B}",
    **{letter: rf"\{name} " for name, letter in GREEK.items()},
}  # fmt: skip

_SPECIAL = {
    **{sign: f"\\{sign}" for sign in "#$%&_{}"},
    "\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip


def _signs(text: str) -> str:
    return "".join(_SIGNS.get(c, c) for c in text)


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(c, c) for c in text)


MATHML: Notation = _MathML()
LATEX: Notation = _Latex()
