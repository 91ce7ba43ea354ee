"""A lesson as text, Markdown, LaTeX or a page: the words are the lesson's, the notation is the format's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from html import escape

from gradcheck_cli.errors import InputError, seen, visible
from gradcheck_cli.language.chain import derivative_name
from gradcheck_cli.language.parser import parse
from gradcheck_cli.language.printer import show
from gradcheck_cli.language.tree import Node, Variable, substitute
from gradcheck_cli.lessons.lesson import Block, Code, Filled, Lesson, Line, Pattern, Ratio, Side, Sum, Words
from gradcheck_cli.output import typeset

WIDTH, NARROWEST = 100, 40
"""Columns of the text, unless it is told; a narrower page is of no use."""

NOTE, REMARK, TAB = 56, 48, 2
"""Columns: where remarks begin at the latest, if the line is short; room for them; of an indentation."""


def written(lesson: Lesson, format: str = "text", *, width: int | None = None) -> str:
    """The lesson in one of FORMATS, without a last newline."""
    if format not in FORMATS:
        raise InputError(f"unknown format {format!r}: choose from {', '.join(FORMATS)}")
    return FORMATS[format](lesson, max(width or WIDTH, NARROWEST))


# -- text ---------------------------------------------------------------------------------------------------------------


def _text(lesson: Lesson, width: int) -> str:
    page = [*_wrapped(lesson.title, width), ""]
    for title, groups in _numbered(lesson):
        page += [f"{title}", ""] if title else []
        for group in groups:
            page += [*_group(group, width), ""]
    return seen("\n".join(line.rstrip() for line in page).rstrip("\n"))


def _numbered(lesson: Lesson) -> Iterator[tuple[str, tuple[tuple[Block, ...], ...]]]:
    """The sections, those with a title numbered."""
    number = 0
    for section in lesson.sections:
        number += bool(section.title)
        yield (f"{number}. {section.title}" if section.title else ""), section.groups


def _group(group: tuple[Block, ...], width: int) -> Iterator[str]:
    rows = [(b, _equation(b)) for b in group if isinstance(b, Line)]
    longest = max([len(" " * TAB * (1 + b.depth) + text) for b, text in rows if b.note], default=0)
    widest = max([len(b.note) for b, text in rows if text], default=0)
    column = min(longest, NOTE, width - 3 - min(widest, REMARK)) + 3
    for block in group:
        match block:
            case Words(text=text, depth=depth):
                yield from _wrapped(" " * TAB * (1 + depth) + text, width)
            case Code(text=text):
                yield from (f"    {line}".rstrip() for line in text.split("\n"))
            case Line():
                yield from _laid(block, _equation(block), column, width)


def _laid(line: Line, text: str, column: int, width: int) -> Iterator[str]:
    indent = " " * TAB * (1 + line.depth)
    if not text:
        yield from _wrapped(indent + line.note, width)
        return
    whole = indent + text
    if line.note and len(whole) < column and column + len(line.note) <= width:
        yield f"{whole:<{column}}{line.note}"
        return
    broken = list(_broken(line, indent, width))
    if line.note and len(broken[-1]) + 3 + len(line.note) <= width:
        broken[-1] += f"   {line.note}"
        yield from broken
    else:
        yield from broken
        if line.note:
            yield from _wrapped(f"{indent}    {line.note}", width)


def _broken(line: Line, indent: str, width: int) -> Iterator[str]:
    """The sides of an equation in as few lines as the width allows, each of the others under the first sign."""
    parts = [f"{sign} {_side(side)}".strip() for sign, side in line.sides]
    current, under = indent + parts[0], indent + "    "
    for part in parts[1:]:
        if len(current) + 1 + len(part) > width and current.strip():
            yield current
            current = under + part
        else:
            current += f" {part}"
    yield current


def _wrapped(text: str, width: int) -> Iterator[str]:
    import textwrap

    indent = text[: len(text) - len(text.lstrip())]
    yield from textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [text]


def _equation(line: Line) -> str:
    return " ".join(f"{sign} {_side(side)}".strip() for sign, side in line.sides)


def _side(side: Side) -> str:
    match side:
        case Ratio(of=of, wrt=wrt, partial=partial):
            name = derivative_name(of, wrt)
            return name.replace("d", "∂", 1).replace("/d", "/∂") if partial else name
        case Pattern(formula=formula, primes=primes):
            text = show(formula) or ""
            for mark, node in primes.items():
                text = re.sub(rf"\b{mark}\b", lambda _, node=node: f"({show(node)})'", text)  # type: ignore[misc]
            return text
        case Filled(formula=formula, values=values):
            shown = {name: show(number) or "" for name, number in values.items()}
            named = {n: Variable(f"({text})" if text.startswith("-") else text) for n, text in shown.items()}
            return re.sub(r"\((\(-[^()]*\))\)", r"\1", show(substitute(formula, named)) or "")  # sin((-1))
        case Sum(terms=terms):
            return " + ".join(" * ".join(_factor(f, i + n) for i, f in enumerate(term)) for n, term in enumerate(terms))
    return show(side) or ""


def _factor(factor: Node | Ratio, index: int) -> str:
    text = _side(factor)
    return f"({text})" if text.startswith("-") and index else text


# -- Markdown -----------------------------------------------------------------------------------------------------------


def _markdown(lesson: Lesson, width: int) -> str:
    page = [f"# {_escaped(lesson.title)}", ""]
    for title, groups in _numbered(lesson):
        page += [f"## {_escaped(title)}".replace("\\.", ".", 1), ""] if title else []
        for group in groups:
            for block in group:
                page += _marked(block)
            page.append("")
    return seen("\n".join(page).rstrip("\n"))


def _marked(block: Block) -> Iterator[str]:
    match block:
        case Words(text=text, depth=depth):
            yield f"{'  ' * depth}- {_escaped(text)}"
        case Code(text=text):
            ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            yield from (f"{ticks}python", text, ticks)
        case Line(note=note, depth=depth):
            text = _equation(block)
            said = f" {_escaped(note)}" if note else ""
            yield f"{'  ' * depth}- {f'`{text}`' if text else ''}{said and (' — ' if text else '')}{said.strip()}"


def _escaped(text: str) -> str:
    """A sentence in which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)


# -- LaTeX --------------------------------------------------------------------------------------------------------------


def _latex(lesson: Lesson, width: int) -> str:
    page = [r"\documentclass{article}", r"\usepackage{amsmath}", r"\usepackage{amssymb}", r"\begin{document}", ""]
    page.append(rf"\section*{{{_in_latex(lesson.title)}}}")
    for title, groups in _numbered(lesson):
        page += ["", rf"\subsection*{{{_in_latex(title)}}}"] if title else [""]
        for group in groups:
            page.append("")
            page += [line for block in group for line in _latex_block(block)]
    return seen("\n".join([*page, "", r"\end{document}"]))


def _latex_block(block: Block) -> Iterator[str]:
    match block:
        case Words(text=text):
            yield rf"\noindent {_in_latex(text)}\par"
        case Code(text=text):
            yield from (r"\begin{verbatim}", text.replace(r"\end{verbatim}", ""), r"\end{verbatim}")
        case Line(note=note):
            formula = " ".join(f"{_LATEX_SIGNS.get(sign, sign)} {_typeset(side, LATEX)}".strip() for sign, side in block.sides)
            said = [rf"${formula}$"] if formula else []
            said += [_remark(note, LATEX)] if note else []
            between = r" \quad "
            yield rf"\noindent {between.join(said)}\par"


_LATEX_SIGNS = {"≈": r"\approx"}


def _in_latex(text: str) -> str:
    """A sentence in which nothing is a command."""
    signs = {
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "∂": r"$\partial$",
        "|": r"\textbar{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
    }
    signs |= {c: f"\\{c}" for c in "&%$#_{}"}
    return "".join(signs.get(c, c) for c in visible(text))


# -- a page -------------------------------------------------------------------------------------------------------------


def _html(lesson: Lesson, width: int) -> str:
    from gradcheck_cli.output.html import document

    return document(lesson.title, body(lesson))


def body(lesson: Lesson) -> str:
    """The elements of a lesson, its formulas in MathML."""
    page = [f"<h1>{_in_html(lesson.title)}</h1>"]
    for title, groups in _numbered(lesson):
        page += [f"<section><h2>{_in_html(title)}</h2>" if title else "<section>"]
        page += [element for group in groups for element in _html_group(group)]
        page.append("</section>")
    return "\n".join(page)


def _html_group(group: tuple[Block, ...]) -> Iterator[str]:
    """A paragraph for each line: every side is an element of its own, so that a narrow page breaks between them."""
    yield '<div class="steps">'
    for block in group:
        match block:
            case Line(sides=sides, note=note) if sides:
                equation = " ".join(f"<math><mrow>{_signed(sign, side)}</mrow></math>" for sign, side in sides)
                said = f' <span class="soft">{_remark(note, MATHML)}</span>' if note else ""
                yield f"<p>{equation}{said}</p>"
            case Words(text=text) | Line(note=text):
                yield f"<p>{_in_html(text)}</p>"
            case Code(text=text):
                yield f"<pre><code>{escape(text)}</code></pre>"
    yield "</div>"


def _signed(sign: str, side: Side) -> str:
    return (f"<mo>{escape(sign)}</mo>" if sign else "") + _typeset(side, MATHML)


def _in_html(text: str) -> str:
    return escape(visible(text))


# -- formulas typeset ---------------------------------------------------------------------------------------------------


class _Notation:
    """What the two notations differ in, beside what `typeset` draws."""

    def __init__(
        self, draw: Callable[[typeset.Formula], str], prime: str, name: str, fence: str, times: str, plus: str, formula: str,
        words: Callable[[str], str],
    ) -> None:  # fmt: skip
        self.draw, self.prime, self.name, self.fence, self.times, self.plus = draw, prime, name, fence, times, plus
        self.formula, self.words = formula, words

    def primed(self, node: Node) -> str:
        """(...)', and x' of a name."""
        return (self.name if isinstance(node, Variable) else self.prime).format(self.draw(node))


def _inner(formula: typeset.Formula) -> str:
    """A formula in MathML, to be part of a longer one."""
    text = typeset.mathml(formula)
    if text.startswith("<code>"):
        return f"<mtext>{text.removeprefix('<code>').removesuffix('</code>')}</mtext>"
    return text.removeprefix("<math>").removesuffix("</math>")


LATEX = _Notation(
    typeset.latex, r"\left({0}\right)'", "{0}'", r"\left({0}\right)", r" \cdot ", " + ", "${0}$", _in_latex,
)  # fmt: skip
MATHML = _Notation(
    _inner, "<msup><mrow><mo>(</mo>{0}<mo>)</mo></mrow><mo>′</mo></msup>", "<msup>{0}<mo>′</mo></msup>",
    "<mrow><mo>(</mo>{0}<mo>)</mo></mrow>", "<mo>·</mo>", "<mo>+</mo>", "<math><mrow>{0}</mrow></math>", _in_html,
)  # fmt: skip

_RULE = re.compile(r"((?:[\w -]+: )?)(.+?)'((?: by \w)?) = (.+?)((?:; |, for |, here ).*)?")
"""A rule in words and signs: `product rule: (u*v)' = u'*v + u*v'`, `atan2(s, t)' by s = ...; but it has a kink here`."""
_RATE = re.compile(r"\b([a-z])'")


def _remark(note: str, to: _Notation) -> str:
    """What is said beside a line, the rule in it typeset as formulas are."""
    found = _RULE.fullmatch(note)
    if found is None:
        return to.words(note)
    name, left, by, right, rest = found.groups("")
    rates = {f"rate{letter}0": Variable(letter) for letter in _RATE.findall(right)}
    try:
        sides = parse(left), parse(_RATE.sub(r"rate\g<1>0", right))
    except InputError:
        return to.words(note)
    first, second = to.primed(sides[0]), _typeset(Pattern(sides[1], rates), to)
    equals = "<mo>=</mo>" if to is MATHML else "="
    parts = [first, equals + second] if by else [f"{first} {equals} {second}"]
    return to.words(name) + to.words(f"{by} ").join(map(to.formula.format, parts)) + to.words(rest)


def _typeset(side: Side, to: _Notation) -> str:
    match side:
        case Ratio(of=of, wrt=wrt, partial=partial):
            text = to.draw(typeset.Derivative(of, wrt))
            return _partial(text, to) if partial else text
        case Pattern(formula=formula, primes=primes):
            text = to.draw(formula)
            for mark, node in primes.items():
                text = text.replace(to.draw(Variable(mark)) if to is LATEX else _bare(mark), to.primed(node))
            return text
        case Filled(formula=formula, values=values):
            return to.draw(substitute(formula, dict(values)))
        case Sum(terms=terms):
            return to.plus.join(to.times.join(_fenced(f, i + n, to) for i, f in enumerate(t)) for n, t in enumerate(terms))
    return to.draw(side)


def _bare(mark: str) -> str:
    return _inner(Variable(mark)).removeprefix("<mrow>").removesuffix("</mrow>")


def _fenced(factor: Node | Ratio, index: int, to: _Notation) -> str:
    text = _typeset(factor, to)
    negative = not isinstance(factor, Ratio) and (show(factor) or "").startswith("-")
    return to.fence.format(text) if negative and index else text


def _partial(text: str, to: _Notation) -> str:
    """A derivative's d as the sign of a partial one."""
    upright = r"\mathrm{d}" if to is LATEX else '<mi mathvariant="normal">d</mi>'
    return text.replace(upright, r"\partial " if to is LATEX else "<mi>∂</mi>")


FORMATS: Mapping[str, Callable[[Lesson, int], str]] = {
    "text": _text, "markdown": _markdown, "latex": _latex, "html": _html,
}  # fmt: skip
"""The formats of a lesson."""
