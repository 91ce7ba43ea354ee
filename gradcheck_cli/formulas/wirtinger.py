"""d/dz and d/dz* of a formula of complex numbers, for a reader: what torch's gradient is made of.

A formula is written in z and conj(z), which are differentiated by as if they were two variables (Wirtinger's derivatives). With
the cotangent 1 torch's gradient by z, that of the real part, is conj(df/dz) + df/dz*; the judged derivatives by its parts
are the parts of that, and don't need these formulas. (Kreutz-Delgado, The Complex Gradient Operator and the CR-Calculus, 2009.)
"""

from __future__ import annotations

from collections.abc import Sequence

from gradcheck_cli.algebra.balls import PLAIN
from gradcheck_cli.algebra.conjugates import conjugate_of, in_parts, real_one, variable, written
from gradcheck_cli.algebra.number import ZERO, Ball, exactly, working
from gradcheck_cli.algebra.precision import ENCLOSURE
from gradcheck_cli.algebra.program import Program
from gradcheck_cli.exact.derivative import formula, readable
from gradcheck_cli.formulas.computation import Computation
from gradcheck_cli.language.chain import Chain
from gradcheck_cli.language.spaces import imag_of, real_of
from gradcheck_cli.language.tree import Node

CLOSE = 2.0**-40
"""How well a formula that is shown must give the derivatives that were judged."""


def told(chain: Chain, name: str, totals: Sequence[Computation]) -> str | None:
    """What torch's gradient by a complex input is in the derivatives by it and by its conjugate; None where they are long, or
    don't give, at some point, what was judged. `totals`: of the parts of the output."""
    points = totals[0].points
    try:
        tree = written(chain.composed(), {n: variable(n) if real_of(n) in points else real_one(n) for n in chain.inputs}).plain
    except NotImplementedError:
        return None
    texts = []
    for by, sign in ((name, -1), (conjugate_of(name), 1)):
        found, text = readable(tree, (by,)), formula(tree, (by,))
        if found is None or text is None or not _agrees(found, name, sign, totals):
            return None
        texts.append(text)
    of = chain.output
    through = f"conj(d{of}/d{name})" + ("" if texts[1] == "0" else f" + d{of}/d{name}*")
    return (
        f"d{of}/d{name} = {texts[0]}, d{of}/d{name}* = {texts[1]}; torch's gradient by {name}, for the upstream gradient 1, is "
        f"{through}: its parts are the derivatives of the real part by {real_of(name)} and {imag_of(name)}"
    )


def _agrees(found: Node, name: str, sign: int, totals: Sequence[Computation]) -> bool:
    """Whether a formula gives (d/dx + sign*i*d/dy)/2 of the output, x + i*y the input, as far as that was judged."""
    first = totals[0]
    complexes = [n for n in totals[0].typed.inputs if real_of(n) in first.points]
    pair = in_parts(found, complexes)
    names = list(first.points)
    with working(ENCLOSURE[0]):
        program = Program(list(pair), names, PLAIN)
        for index in range(min(first.count, 20)):
            judged = [_derivatives(total, name, index) for total in totals]
            if any(b is None for both in judged for b in both):
                continue
            (ux, uy), (vx, vy) = (*judged, (ZERO, ZERO))[:2]
            wanted = ((ux - sign * vy) / 2, (vx + sign * uy) / 2)
            values = program(*(exactly(float(first.points[n][index])) for n in names))
            size = abs(wanted[0]) + abs(wanted[1]) + abs(values[0]) + abs(values[1])
            if not all(abs(w - v) <= CLOSE * size or (w - v).contains(0) for w, v in zip(wanted, values, strict=True)):
                return False
    return True


def _derivatives(total: Computation, name: str, index: int) -> tuple[Ball | None, Ball | None]:
    found = {column.wrt: column.exact[index] for column in total.columns}
    inputs = total.chain.inputs
    return tuple(found.get((part,)) if part in inputs else ZERO for part in (real_of(name), imag_of(name)))  # type: ignore[return-value]
