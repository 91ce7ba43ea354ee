"""The Python twins of the commands: each builds a Problem and returns the Report on it; bad input is an InputError.

Nothing here imports torch or SymPy before the whole input has been checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations_with_replacement, product
from itertools import permutations as orders_of
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from gradcheck_cli.algebra.constants import nearest_double
from gradcheck_cli.errors import InputError
from gradcheck_cli.formulas.problem import MAX_ORDER, Problem
from gradcheck_cli.formulas.tasks import MAX_DERIVATIVES, Asked, Entries, Wrt, claims_of, every, listed, task_of, with_labels
from gradcheck_cli.language.chain import Chain, link
from gradcheck_cli.language.functions import NAMES
from gradcheck_cli.language.points import parse_points, split
from gradcheck_cli.maps.modes import MODES, OF_TENSORS
from gradcheck_cli.verdict.limits import Limits

if TYPE_CHECKING:
    from gradcheck_cli.verdict.report import Report
    from gradcheck_cli.verdict.work import Progress

MAX_PERMUTATIONS = 120

At = str | Sequence[str | Mapping[str, Any]] | Mapping[str, Any]
Domain = str | Sequence[str] | Mapping[str, tuple[float, float] | str]
Shapes = str | Sequence[str] | Mapping[str, Sequence[int]]


class Options(TypedDict, total=False):
    """What every check takes. None means the default.

    at          points: {"x": 1}, [{"x": 1}, {"x": 2}], "x=pi/4,y=2", "x=linspace(0,1,5)"; a list or an array is a vector or a
                matrix: {"x": [1, 2]}, "A=[[1,2],[3,4]]"
    shape       of inputs that are arrays, where no point is given: {"x": (3, 4)}, "x=3,4", ["x=3,4", "y=4"]
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
    shape: Shapes | None
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
    derivatives = Asked(lambda entries: [(e,) for e in every(names, entries)], depending=True)
    return _run("chain", [chain], derivatives, "reverse", local=True, **options)


def check_mixed(
    expression: str, wrt: str | Sequence[str], *, permutations: bool | None = None, **options: Unpack[Options]
) -> Report:
    """The mixed partial derivative with respect to `wrt` ("x,y", "x[0],y[1]" or ["x", "y"]) in that order, and every prefix of
    it.

    `permutations`: check every other order of differentiation too (by default, where there are just two names).
    """
    chain = _chain(expression, "f")

    def asked(entries: Entries) -> list[Wrt]:
        order = _names(wrt, every(chain.inputs, entries))
        derivatives = [order[: i + 1] for i in range(len(order))]
        if permutations or (permutations is None and len(order) == 2):
            derivatives += _other_orders(order)
        return derivatives

    def claimable(entries: Entries) -> list[Wrt]:
        return [_names(wrt, every(chain.inputs, entries))]

    return _run("mixed", [chain], Asked(asked, claimable), "grad", **options)


def check_grad(expression: str, *, order: int = 1, **options: Unpack[Options]) -> Report:
    """All partial derivatives up to `order`: 1 the gradient, 2 the Hessian too, at most 6.

    An expression whose value is an array has one row of the Jacobian for each entry.
    """
    chain = _chain(expression, "f")
    if not 1 <= order <= MAX_ORDER:
        raise InputError(f"the order must be from 1 to {MAX_ORDER}: {order}")

    def asked(entries: Entries) -> list[Wrt]:
        inputs = every(chain.inputs, entries)
        count = math.comb(len(inputs) + order, order) - 1
        if count > MAX_DERIVATIVES and order > 1:
            raise InputError(f"{count:,} derivatives are too many: at most {MAX_DERIVATIVES:,} are checked")
        return [d for k in range(1, order + 1) for d in combinations_with_replacement(inputs, k)]

    return _run("grad", [chain], Asked(asked), "grad", **options)


def check_jacobian(expressions: str | Sequence[str], **options: Unpack[Options]) -> Report:
    """The derivative of every entry of every output by every entry of every input.

    Several expressions are several outputs, f1, f2 and so on, or as they are named ("u = x*y").
    """
    texts = [expressions] if isinstance(expressions, str) else list(expressions)
    outputs = ["f"] if len(texts) == 1 else [f"f{i}" for i in range(1, len(texts) + 1)]
    chains = [_chain(text, output) for text, output in zip(texts, outputs, strict=True)]
    if not chains:
        raise InputError("there is no expression: give at least one")
    inputs = dict.fromkeys(name for chain in chains for name in chain.inputs)
    for i, chain in enumerate(chains):
        if chain.output in inputs or chain.output in [c.output for c in chains[:i]]:
            taken = "an input of another" if chain.output in inputs else "another output"
            raise InputError(f"an output can't be called {chain.output!r}: {taken} is called so", texts[i], 0)
    return _run("jacobian", chains, Asked(lambda entries: [(e,) for e in every(inputs, entries)]), "grad", **options)


def check_hessian(expression: str, **options: Unpack[Options]) -> Report:
    """All second derivatives of an expression, in both orders; of every entry, where its value is an array."""
    chain = _chain(expression, "f")

    def asked(entries: Entries) -> list[Wrt]:
        inputs = every(chain.inputs, entries)
        if len(inputs) ** 2 > MAX_DERIVATIVES:
            raise InputError(f"{len(inputs) ** 2:,} derivatives are too many: at most {MAX_DERIVATIVES:,} are checked")
        return list(product(inputs, repeat=2))

    return _run("hessian", [chain], Asked(asked), "grad", **options)


def check_function(
    function: str | Callable[..., Any],
    *,
    at: Any = None,
    shape: Shapes | None = None,
    settings: str | Sequence[str] | Mapping[str, Any] | None = None,
    formula: str | None = None,
    order: int = 1,
    sample: int | None = None,
    domain: Domain | None = None,
    seed: int | None = None,
    mode: str | Sequence[str] | None = None,
    dtype: str | Sequence[str] | None = None,
    device: str = "cpu",
    rtol: float | None = None,
    atol: float | None = None,
    ulps: float | None = None,
    strict: bool = False,
    timeout: float = 600.0,
    verbose: bool = False,
    progress: Progress | None = None,
) -> Report:
    """A function of tensors: its gradient by every tensor, and the rules around a custom backward.

    function    "FILE.py:NAME", "package.module:NAME", or the object: a function, a torch.nn.Module, a torch.autograd.Function
                or its apply
    at, shape   of its parameters, by name; tensors too: {"x": torch.ones(3)}. Tensors of integers are handed over as they are
    settings    arguments that are no tensors to differentiate by: {"dim": 1}, "dim=1"
    formula     what the function ought to compute: "x*sigmoid(x)"; then its values are judged too
    order       2: the derivative of the gradient too
    verbose     every output entry by itself too, where they are few
    sample      number of seeded points (3 where none is given)
    mode        reverse (the backward), forward (dual numbers), func (torch.func); several, or "all"
    dtype       float64, or that of given tensors

    The other options are those of every check.
    """
    from gradcheck_cli.callables.loading import load, target

    loaded = load(function) if isinstance(function, str) else function
    modes, formats = _choices(mode or "reverse", tuple(OF_TENSORS), "mode"), _formats(dtype or ())
    limits = _limits(rtol, atol, ulps)
    _limit("timeout", timeout)
    from gradcheck_cli.callables.function import Question as Asked
    from gradcheck_cli.callables.function import report
    from gradcheck_cli.callables.inputs import Wanted

    named = target(loaded, function if isinstance(function, str) else getattr(function, "__name__", type(function).__name__))
    wanted = Wanted(at, shape, sample, domain, seed, settings)
    asked = Asked(named, wanted, formula, order, modes, formats, device, limits, jacobian=verbose)
    return report(asked, strict=strict, timeout=timeout, progress=progress)


def check_model(
    model: Any,
    *,
    input: Any = None,
    at: Any = None,
    layer: str | int | None = None,
    neuron: int | str | Sequence[int] | None = None,
    wrt: str | None = None,
    loss: str | Callable[[Any], Any] | None = None,
    cotangent: Any = None,
    train: bool = False,
    seed: int | None = None,
    mode: str | Sequence[str] | None = None,
    dtype: str | Sequence[str] | None = None,
    device: str = "cpu",
    rtol: float | None = None,
    atol: float | None = None,
    ulps: float | None = None,
    strict: bool = False,
    timeout: float = 600.0,
    verbose: bool = False,
    progress: Progress | None = None,
) -> Report:
    """A network: every layer by itself and in its place; with `layer` or `neuron` the Jacobian of these outputs.

    model       "Linear(10, 5) | ReLU()", "FILE.py:NAME", or a torch.nn.Module, or a function that returns one
    input       sizes (4, 10), or tensors: one, several in order, or by the names of the parameters of `forward`; by default
                of the shape that the first layer takes, seeded
    at          values: {"x": [1, 2]}, "x=[1,2]"
    layer       whose output is differentiated: "0", "encoder.1"; by default the network's
    neuron      one entry of that output: 2, (1, 2)
    wrt         input, parameters or all (all; with `layer` or `neuron`: input)
    loss        a formula of y, "mean(y**2)", or a callable that takes what the network returns and gives one number
    cotangent   random, ones, or numbers of the output's shape: the combination of outputs that is differentiated
    train       training mode instead of evaluation: dropout with one mask, batch statistics (False)
    seed        of weights, input and masks: torch.manual_seed (0)
    mode        reverse (the backward), forward (dual numbers, along seeded numbers for everything that is differentiated by),
                func (torch.func); several, or "all"
    dtype       float64 for a text, else that of the module's parameters; several
    device      torch's name of the device ("cpu"); what is drawn doesn't depend on it

    The other options are those of every check. The module itself doesn't change.
    """
    from gradcheck_cli.networks import request

    known, text = request.model(model)
    asked = request.Request(
        model=known,
        text=text,
        given=request.inputs(input, at, nearest_double),
        layer=None if layer is None else str(layer),
        neuron=request.neuron(neuron),
        wrt=wrt,
        loss=request.loss(loss),
        cotangent=request.cotangent(cotangent, nearest_double),
        training=train,
        seed=0 if seed is None else seed,
        dtypes=_formats(dtype or ("float64" if isinstance(model, str) else ())),
        limits=_limits(rtol, atol, ulps),
        device=device,
        modes=_choices(mode or "reverse", tuple(OF_TENSORS), "mode"),
    )
    _limit("timeout", timeout)
    from gradcheck_cli.networks.model import report

    return report(asked, strict=strict, timeout=timeout, progress=progress)


def _formats(given: str | Sequence[str]) -> tuple[str, ...]:
    from gradcheck_cli.floats import FORMATS  # NumPy, which an error above does without

    return _choices(given, tuple(FORMATS), "dtype")


def _run(
    command: str,
    chains: Sequence[Chain],
    asked: Asked,
    default_mode: str,
    *,
    local: bool = False,
    at: At | None = None,
    shape: Shapes | None = None,
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
    """Check every option, build the Problem and have it checked."""
    inputs = list(dict.fromkeys(name for chain in chains for name in chain.inputs))
    points = parse_points(at, inputs, shape=shape, sample=sample, domain=domain, seed=seed, evaluate=nearest_double)
    chains, points = with_labels(chains, points)
    tasks = [task_of(chain, points, asked) for chain in chains]
    formats = _formats(dtype or "float64")
    from gradcheck_cli.floats import FORMATS

    for name in formats:
        points.count(FORMATS[name])
    problem = Problem(
        command=command,
        tasks=tuple(tasks),
        points=points,
        local=local,
        formats=formats,
        modes=_choices(mode or default_mode, tuple(MODES), "mode"),
        device=device,
        claims=() if claim is None else claims_of(claim, tasks, asked),
        limits=_limits(rtol, atol, ulps),
        strict=strict,
        timeout=_limit("timeout", timeout) or 600.0,
        verbose=verbose,
        callables={_row(name): function for name, function in (callables or {}).items()},
    )
    from gradcheck_cli.formulas.check import check_problem

    return check_problem(problem, progress=progress)


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


def _limits(rtol: float | None, atol: float | None, ulps: float | None) -> Limits:
    return Limits(_limit("rtol", rtol), _limit("atol", atol), _limit("ulps", ulps))


def _row(name: str) -> str:
    if name not in NAMES:
        raise InputError(f"callables: {name!r} is not in the table of functions")
    return NAMES[name]


def _names(wrt: str | Sequence[str], inputs: Sequence[str]) -> Wrt:
    """The inputs, or entries of inputs, in "x,y", "x[0],y[1]" or ["x", "y"]."""
    text = wrt if isinstance(wrt, str) else ",".join(wrt)
    names: list[str] = []
    for piece, offset in split(text, 0):
        name, at = "".join(piece.split()), offset + len(piece) - len(piece.lstrip())
        if name not in inputs:
            message = f"{name!r} is not an input (there is {listed(inputs)})" if name else "a name is missing"
            raise InputError(message, text, min(at, len(text)))
        names.append(name)
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
