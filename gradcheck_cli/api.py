"""The Python twins of the commands: each builds a Problem and returns the engine's Report; bad input is an InputError.

Nothing here imports torch or SymPy before the whole input has been checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations_with_replacement
from itertools import permutations as orders_of
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from gradcheck_cli.errors import InputError
from gradcheck_cli.language.functions import NAMES
from gradcheck_cli.language.parser import parse_stage
from gradcheck_cli.language.points import parse_points
from gradcheck_cli.language.tree import Node, Variable, walk
from gradcheck_cli.problem import MAX_ORDER, MODES, Chain, Claim, Limits, Problem, derivative_name, link

if TYPE_CHECKING:
    from gradcheck_cli.report import Report

MAX_PERMUTATIONS = 120
MAX_DERIVATIVES = 1_000

Progress = Callable[[int, int, str], None]
"""Called with how much is done, of how much, and a word for the reader."""

At = str | Sequence[str | Mapping[str, Any]] | Mapping[str, Any]
Domain = str | Sequence[str] | Mapping[str, tuple[float, float] | str]


class Options(TypedDict, total=False):
    """What every check takes. None means the default.

    at          points: {"x": 1}, [{"x": 1}, {"x": 2}], {"x": [1, 2]}, "x=pi/4,y=2", "x=linspace(0,1,5)"
    sample      number of seeded samples (20 where no point is given)
    domain      where to sample: {"x": (0, 5)} or "x=0:5"; closed
    seed        of the samples (0)
    mode        reverse, grad, forward, func; several, or "all"
    dtype       float64 (default), float32, float16, bfloat16; several
    device      torch's name of the device ("cpu")
    claim       a derivative derived by hand: "x=8*x+4"
    rtol, atol  accept |autograd - exact| <= atol + rtol*|exact|, instead of the built-in judgement
    ulps        accept errors up to this many ulps, instead of the built-in judgement
    strict      imprecise fails too (False)
    timeout     seconds for the whole run (600)
    callables   name of a function of the table -> what torch shall call instead (a custom autograd.Function's apply)
    verbose     collect what is needed to show every entry in full (False)
    progress    called as the work goes on
    """

    at: At | None
    sample: int | None
    domain: Domain | None
    seed: int | None
    mode: str | Sequence[str] | None
    dtype: str | Sequence[str] | None
    device: str
    claim: str | None
    rtol: float | None
    atol: float | None
    ulps: float | None
    strict: bool
    timeout: float
    callables: Mapping[str, Callable[..., Any]] | None
    verbose: bool
    progress: Progress | None


def check_chain(expressions: str | Sequence[str], **options: Unpack[Options]) -> Report:
    """The derivative of the output of a chain with respect to every stage and input, and every stage's own derivatives.

    Doesn't raise on a mismatch: see Report.ok and Report.raise_for_verdict().
    """
    chain = _chain(expressions)
    names = [stage.name for stage in reversed(chain.stages)] + list(chain.inputs)
    derivatives = [(name,) for name in names]
    return _run("chain", chain, derivatives, derivatives, "reverse", local=True, **options)


def check_mixed(
    expression: str, wrt: str | Sequence[str], *, permutations: bool | None = None, **options: Unpack[Options]
) -> Report:
    """The mixed partial derivative with respect to `wrt` ("x,y" or ["x", "y"]), in that order, and every prefix of it.

    `permutations`: check every other order of differentiation too (by default, where there are just two names).
    """
    chain = _chain(expression, "f")
    order = _names(wrt, chain)
    derivatives = [order[: i + 1] for i in range(len(order))]
    if permutations or (permutations is None and len(order) == 2):
        derivatives += _other_orders(order)
    return _run("mixed", chain, derivatives, [order], "grad", **options)


def check_grad(expression: str, *, order: int = 1, **options: Unpack[Options]) -> Report:
    """All partial derivatives up to `order`: 1 the gradient, 2 the Hessian too, at most 6."""
    chain = _chain(expression, "f")
    if not 1 <= order <= MAX_ORDER:
        raise InputError(f"the order must be from 1 to {MAX_ORDER}: {order}")
    count = math.comb(len(chain.inputs) + order, order) - 1
    if count > MAX_DERIVATIVES:
        raise InputError(f"{count:,} derivatives are too many: at most {MAX_DERIVATIVES:,} are checked")
    derivatives = [d for k in range(1, order + 1) for d in combinations_with_replacement(chain.inputs, k)]
    return _run("grad", chain, derivatives, [(name,) for name in chain.inputs], "grad", **options)


def _run(
    command: str,
    chain: Chain,
    derivatives: Sequence[tuple[str, ...]],
    claimable: Sequence[tuple[str, ...]],
    default_mode: str,
    *,
    local: bool = False,
    at: At | None = None,
    sample: int | None = None,
    domain: Domain | None = None,
    seed: int | None = None,
    mode: str | Sequence[str] | None = None,
    dtype: str | Sequence[str] | None = None,
    device: str = "cpu",
    claim: str | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    ulps: float | None = None,
    strict: bool = False,
    timeout: float = 600.0,
    callables: Mapping[str, Callable[..., Any]] | None = None,
    verbose: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Check every option, build the Problem and hand it to the engine."""
    points = parse_points(at, chain.inputs, sample=sample, domain=domain, seed=seed, evaluate=_nearest_double)
    from gradcheck_cli.floats import FORMATS  # NumPy, which an error above does without

    formats = _choices(dtype or "float64", tuple(FORMATS), "dtype")
    for name in formats:
        points.count(FORMATS[name])
    problem = Problem(
        command=command,
        chain=chain,
        derivatives=tuple(derivatives),
        points=points,
        local=local,
        formats=formats,
        modes=_choices(mode or default_mode, MODES, "mode"),
        device=device,
        claim=None if claim is None else _claim(claim, chain, claimable),
        limits=Limits(_limit("rtol", rtol), _limit("atol", atol), _limit("ulps", ulps)),
        strict=strict,
        timeout=_limit("timeout", timeout) or 600.0,
        verbose=verbose,
        callables={_row(name): function for name, function in (callables or {}).items()},
    )
    from gradcheck_cli import engine

    return engine.run(problem, progress=progress)


def _chain(expressions: str | Sequence[str], output: str = "y") -> Chain:
    return link([expressions] if isinstance(expressions, str) else expressions, output)


def _choices(given: str | Sequence[str], known: Sequence[str], what: str) -> tuple[str, ...]:
    """The names in "a,b" or ["a", "b"], each once; `all` is every known one."""
    texts = [given] if isinstance(given, str) else [str(g) for g in given]
    chosen: dict[str, None] = {}
    for text in texts:
        offset = 0
        for piece in text.split(","):
            name = piece.strip().removeprefix("torch.")
            if name != "all" and name not in known:
                at = offset + len(piece) - len(piece.lstrip())
                raise InputError(f"unknown {what} {name!r}: choose from {', '.join(known)}, or all", text, at)
            chosen |= dict.fromkeys(known if name == "all" else [name])
            offset += len(piece) + 1
    return tuple(chosen)


def _limit(name: str, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and (value > 0 or (value == 0 and name != "timeout"))):
        raise InputError(f"{name} must be a {'positive' if name == 'timeout' else 'non-negative'} number: {value}")
    return value


def _row(name: str) -> str:
    if name not in NAMES:
        raise InputError(f"callables: {name!r} is not in the table of functions")
    return NAMES[name]


def _names(wrt: str | Sequence[str], chain: Chain) -> tuple[str, ...]:
    """The inputs in "x,y" or ["x", "y"]."""
    text = wrt if isinstance(wrt, str) else ",".join(wrt)
    names: list[str] = []
    offset = 0
    for piece in text.split(","):
        name, at = piece.strip(), offset + len(piece) - len(piece.lstrip())
        if name not in chain.inputs:
            message = f"{name!r} is not an input (there is {_listed(chain.inputs)})" if name else "a name is missing"
            raise InputError(message, text, min(at, len(text)))
        names.append(name)
        offset += len(piece) + 1
    if len(names) > MAX_ORDER:
        raise InputError(f"derivatives up to order {MAX_ORDER} are checked, not {len(names)}", text, 0)
    return tuple(names)


def _other_orders(order: tuple[str, ...]) -> list[tuple[str, ...]]:
    count = math.factorial(len(order))
    for name in set(order):
        count //= math.factorial(order.count(name))
    if count > MAX_PERMUTATIONS:
        raise InputError(f"{', '.join(order)} has {count} orders; at most {MAX_PERMUTATIONS} are checked")
    return [p for p in dict.fromkeys(orders_of(order)) if p != order]


def _claim(text: str, chain: Chain, claimable: Sequence[tuple[str, ...]]) -> Claim:
    """`name=formula`, or the formula alone where only one derivative can be meant."""
    name, tree = parse_stage(text)
    wrt = (name,) if name is not None else claimable[0]
    if wrt not in claimable or (name is None and len(claimable) > 1):
        if len(claimable) == 1:
            message = f"give the formula alone: it is claimed to be {derivative_name(chain.output, claimable[0])}"
        else:
            what = "say which derivative this is" if name is None else f"nothing is differentiated by {name!r}"
            message = f"{what}: name=formula, where name is one of {_listed(name for (name,) in claimable)}"
        raise InputError(message, text, len(text) - len(text.lstrip()))
    allowed = [*chain.inputs, *(stage.name for stage in chain.stages)]
    for node in walk(tree):
        if isinstance(node, Variable) and node.name not in allowed:
            message = f"{node.name!r} is neither an input nor a stage (there is {_listed(allowed)})"
            raise InputError(message, text, node.position)
    return Claim(text, wrt, tree)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")


def _nearest_double(tree: Node) -> float:
    """The nearest double to a constant, certified; nan where it has no real value, an infinity beyond the doubles."""
    from flint import ctx

    from gradcheck_cli.algebra.balls import PLAIN
    from gradcheck_cli.algebra.program import Program

    program = Program([tree], (), PLAIN, key=lambda: ctx.prec)
    low = high = math.nan
    for bits in (128, 512, 2048, 8192):
        with ctx.workprec(bits):
            (ball,) = program()
            if not ball.is_nan():
                low, high = _double(ball.lower()), _double(ball.upper())
                if low == high:
                    return low + 0.0  # no negative zero
    return low if math.nextafter(low, high) == high else math.nan


def _double(point: Any) -> float:
    """The nearest double to a flint number of radius 0."""
    if not point.is_finite():
        return math.inf if point > 0 else -math.inf
    mantissa, exponent = (int(part) for part in point.man_exp())
    size = abs(mantissa).bit_length() + exponent
    if size < -1100 or size > 1100:
        return math.copysign(0.0 if size < 0 else math.inf, mantissa)
    try:
        return float(mantissa * Fraction(2) ** exponent)
    except OverflowError:
        return math.copysign(math.inf, mantissa)
