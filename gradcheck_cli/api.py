"""The Python twins of the commands: each returns the Report on what is asked; bad input is an InputError.

What their options mean, their defaults and how they are read stand in `options`; here are their types, for type checkers.
Nothing here imports torch or SymPy before the whole input has been checked.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement, product
from itertools import permutations as orders_of
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, Unpack

from gradcheck_cli import options as table
from gradcheck_cli.algebra.constants import nearest_double
from gradcheck_cli.algebra.parts import constant_parts, numbers
from gradcheck_cli.errors import InputError, boundary
from gradcheck_cli.formulas.problem import MAX_ORDER, Problem
from gradcheck_cli.formulas.tasks import (
    MAX_DERIVATIVES,
    Asked,
    Claimed,
    Entries,
    Wrt,
    claims_of,
    every,
    refuse_foreign,
    task_of,
    with_labels,
    wrt_names,
)
from gradcheck_cli.language.chain import Chain, link, texts_of
from gradcheck_cli.language.functions import NAMES
from gradcheck_cli.language.points import named, parse_points
from gradcheck_cli.language.spaces import PointSpec
from gradcheck_cli.verdict.limits import Limits

if TYPE_CHECKING:
    from gradcheck_cli.verdict.report import Report
    from gradcheck_cli.verdict.work import Progress

MAX_PERMUTATIONS = 120

HIGHEST = 4
"""The highest order of derivatives of a function: what they cost grows two- to threefold with each."""

At = Any
"""A text, a mapping, a number, an array, or a list of them: see `forms.POINTS`."""
Domain = str | Sequence[str] | tuple[float, float] | Mapping[str, tuple[float, float] | str]
Shapes = str | int | Sequence[str] | Sequence[int] | Mapping[str, Sequence[int]]
Names = Any
"""Names, one or several, as texts or as torch's own: torch.float32."""


class Common(TypedDict, total=False):
    """The types of what every check takes. None means the default."""

    seed: int | None
    mode: Names | None
    dtype: Names | None
    device: Any
    rtol: float | None
    atol: float | None
    ulps: float | None
    strict: bool
    timeout: float
    verbose: bool
    progress: Progress | None


class OfFormulas(Common, total=False):
    """Of what every check of expressions takes."""

    at: At | None
    shape: Shapes | None
    sample: int | None
    domain: Domain | None
    claim: Claimed | None
    workers: int | None
    resume: str | None
    callables: Mapping[str, Callable[..., Any]] | None


class OfMixed(OfFormulas, total=False):
    """Of what check_mixed takes."""

    permutations: bool | None


class OfGrad(OfFormulas, total=False):
    """Of what check_grad takes."""

    order: int


class OfFunction(Common, total=False):
    """Of what check_function takes."""

    at: Any
    shape: Shapes | None
    sample: int | None
    domain: Domain | None
    settings: str | Sequence[str] | Mapping[str, Any] | None
    formula: str | None
    reference: str | Callable[..., Any] | None
    surrogate: str | Callable[..., Any] | None
    order: int
    stop_gradients: bool
    compile: bool | str | Callable[..., Any] | None
    autocast: Any


class OfModel(Common, total=False):
    """Of what check_model takes."""

    at: Any
    input: Any
    reference: Any
    layer: str | int | None
    neuron: int | str | Sequence[int] | None
    wrt: str | None
    loss: str | Callable[[Any], Any] | None
    cotangent: Any
    train: bool
    stop_gradients: bool
    compile: bool | str | Callable[..., Any] | None
    autocast: Any


_Given = ParamSpec("_Given")

Answer = Callable[[], "Report"]
"""What a check does, once it is plain what is asked."""

TWINS: dict[str, Callable[..., Report]] = {}
"""Every kind of check and its twin."""

QUESTIONS: dict[str, Callable[..., Answer]] = {}
"""The same, but for the answer: bad input is an InputError, and nothing is computed, or imported of the user's, yet."""


def _twin(types: type) -> Callable[[Callable[_Given, Answer]], Callable[_Given, Report]]:
    """Make check_KIND of a function that says what is asked: it gets every option of its kind, read and with its default, and
    shows them all in its signature and docstring. `types`: those of the options that aren't parameters of its own."""

    def decorate(function: Callable[_Given, Answer]) -> Callable[_Given, Report]:
        kind = function.__name__.removeprefix("check_")
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        names = {p.name for p in own}

        def question(*arguments: Any, **given: Any) -> Answer:
            if len(arguments) > len(own):
                what = " and ".join(p.name for p in own) + " (several in a list)" * table.KINDS[kind].form.several
                raise TypeError(f"check_{kind}() takes {what}; options are named: at=..., dtype=...")
            mine = {name: given.pop(name) for name in names & given.keys()}
            meant = table.meant(kind, given)
            mine |= {name: meant.pop(name) for name in names & meant.keys()}
            options: Any = mine | table.values(kind, meant, names)
            return function(*arguments, **options)

        @boundary
        @functools.wraps(function)
        def check(*arguments: Any, **given: Any) -> Report:
            return question(*arguments, **given)()

        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=row.default, annotation=_annotation(types, name))
            for name, row in table.taken(kind).items()
            if name not in names
        ]
        signature = signature.replace(parameters=[*own, *shared], return_annotation="Report")
        check.__signature__ = signature  # type: ignore[attr-defined]
        check.__annotations__["return"] = "Report"
        check.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n{table.described(kind)}\n"
        TWINS[kind], QUESTIONS[kind] = check, question
        return check

    return decorate


def _annotation(types: type, name: str) -> Any:
    """As it stands above: TypedDict keeps it as a forward reference."""
    found = types.__annotations__.get(name, inspect.Parameter.empty)
    return getattr(found, "__forward_arg__", found)


@_twin(OfFormulas)
def check_chain(expressions: str | Sequence[str], **options: Unpack[OfFormulas]) -> Answer:
    """The derivative of the output of a chain with respect to every stage and input, and every stage's own derivatives.

    Doesn't raise on a mismatch: see Report.ok and Report.raise_for_verdict().
    """
    chain = _chain(expressions, options)
    names = [stage.name for stage in reversed(chain.stages)] + list(chain.inputs)
    derivatives = Asked(lambda entries: [(e,) for e in every(names, entries)], depending=True)
    return _run("chain", [chain], derivatives, options, local=True)


@_twin(OfMixed)
def check_mixed(expression: str, wrt: str | Sequence[str], **options: Unpack[OfMixed]) -> Answer:
    """The mixed partial derivative with respect to `wrt` ("x,y", "x[0],y[1]" or ["x", "y"]) in that order, and every prefix of
    it, and other orders of differentiation."""
    chain, permutations = _chain(expression, options, "f", wrt), options["permutations"]

    def asked(entries: Entries) -> list[Wrt]:
        order = wrt_names(wrt, every(chain.inputs, entries), "checked")
        derivatives = [order[: i + 1] for i in range(len(order))]
        if permutations or (permutations is None and len(order) == 2):
            derivatives += _other_orders(order)
        return derivatives

    def claimable(entries: Entries) -> list[Wrt]:
        return [wrt_names(wrt, every(chain.inputs, entries), "checked")]

    return _run("mixed", [chain], Asked(asked, claimable), options, wrt=wrt)


@_twin(OfGrad)
def check_grad(expression: str, **options: Unpack[OfGrad]) -> Answer:
    """All partial derivatives up to `order`: 1 the gradient, 2 the Hessian too, at most 6.

    An expression whose value is an array has one row of the Jacobian for each entry.
    """
    chain, order = _chain(expression, options, "f"), options["order"]
    if not 1 <= order <= MAX_ORDER:
        raise InputError(f"the order must be from 1 to {MAX_ORDER}: {order}")

    def asked(entries: Entries) -> list[Wrt]:
        inputs = every(chain.inputs, entries)
        count = math.comb(len(inputs) + order, order) - 1
        if count > MAX_DERIVATIVES and order > 1:
            raise InputError(f"{count:,} derivatives are too many: at most {MAX_DERIVATIVES:,} are checked")
        return [d for k in range(1, order + 1) for d in combinations_with_replacement(inputs, k)]

    return _run("grad", [chain], Asked(asked), options)


@_twin(OfFormulas)
def check_jacobian(expressions: str | Sequence[str], **options: Unpack[OfFormulas]) -> Answer:
    """The derivative of every entry of every output by every entry of every input.

    Several expressions are several outputs, f1, f2 and so on, or as they are named ("u = x*y").
    """
    texts = texts_of(expressions)
    outputs = ["f"] if len(texts) == 1 else [f"f{i}" for i in range(1, len(texts) + 1)]
    chains = [_chain(text, options, output) for text, output in zip(texts, outputs, strict=True)]
    if not chains:
        raise InputError("there is no expression: give at least one")
    inputs = dict.fromkeys(name for chain in chains for name in chain.inputs)
    for i, chain in enumerate(chains):
        if chain.output in inputs or chain.output in [c.output for c in chains[:i]]:
            taken = "an input of another" if chain.output in inputs else "another output"
            raise InputError(f"an output can't be called {chain.output!r}: {taken} is called so", texts[i], 0)
    return _run("jacobian", chains, Asked(lambda entries: [(e,) for e in every(inputs, entries)]), options)


@_twin(OfFormulas)
def check_hessian(expression: str, **options: Unpack[OfFormulas]) -> Answer:
    """All second derivatives of an expression, in both orders; of every entry, where its value is an array."""
    chain = _chain(expression, options, "f")

    def asked(entries: Entries) -> list[Wrt]:
        inputs = every(chain.inputs, entries)
        if len(inputs) ** 2 > MAX_DERIVATIVES:
            raise InputError(f"{len(inputs) ** 2:,} derivatives are too many: at most {MAX_DERIVATIVES:,} are checked")
        return list(product(inputs, repeat=2))

    return _run("hessian", [chain], Asked(asked), options)


@_twin(OfFunction)
def check_function(function: str | Callable[..., Any], **options: Unpack[OfFunction]) -> Answer:
    """A function of tensors: its gradient by every tensor, and the rules around a custom backward.

    `at` and `shape` are of its parameters, by name; tensors too: {"x": torch.ones(3)}. Tensors of integers are handed over as
    they are. With `verbose` every output entry is checked by itself too, where they are few. FILE.py, or a module, without a
    NAME is everything in it that can be checked: `Reports`, a report each.
    """
    from gradcheck_cli.callables.contents import whole
    from gradcheck_cli.callables.loading import find
    from gradcheck_cli.language.parser import parse

    place = whole(function) if isinstance(function, str) else None
    if place is not None:
        return functools.partial(_everything, "function", place, options)
    given: Mapping[str, Any] = options
    if not 1 <= given["order"] <= HIGHEST:
        raise InputError(f"the order of a function must be from 1 to {HIGHEST}", str(given["order"]), 0)
    if given["formula"] is not None:
        parse(given["formula"])
    if isinstance(function, str):
        find(function)
    return functools.partial(_function, function, given)


def _function(function: str | Callable[..., Any], given: Mapping[str, Any]) -> Report:
    """Import what is asked for, and check it."""
    from gradcheck_cli.callables.loading import load, target

    loaded = load(function) if isinstance(function, str) else function
    from gradcheck_cli.callables.function import Question, report
    from gradcheck_cli.callables.inputs import Wanted

    asked = Question(
        target=target(
            loaded, function if isinstance(function, str) else getattr(function, "__name__", type(function).__name__)
        ),
        wanted=Wanted(*(given[name] for name in ("at", "shape", "sample", "domain", "seed", "settings"))),
        formula=given["formula"],
        reference=given["reference"],
        surrogate=given["surrogate"],
        stop_gradients=given["stop_gradients"],
        order=given["order"],
        compile=given["compile"],
        autocast=given["autocast"],
        modes=given["mode"],
        dtypes=given["dtype"] or (),
        device=given["device"],
        limits=_limits(given),
        jacobian=given["verbose"],
    )
    return report(asked, strict=given["strict"], timeout=given["timeout"], progress=given["progress"])


@_twin(OfModel)
def check_model(model: Any, **options: Unpack[OfModel]) -> Answer:
    """A network: every layer by itself and in its place; with `layer` or `neuron` the Jacobian of these outputs.

    The module itself doesn't change. FILE.py, or a module of Python, without a NAME is every network in it: `Reports`.
    """
    from gradcheck_cli.callables.loading import find
    from gradcheck_cli.networks import request

    place = request.whole_file(model)
    if place is not None:
        return functools.partial(_everything, "model", place, options)
    given: Mapping[str, Any] = options
    known, text = request.model(model)
    if isinstance(known, str):
        find(known)
    asked = request.Request(
        model=known,
        text=text,
        given=request.inputs(given["input"], given["at"], numbers),
        layer=None if given["layer"] is None else str(given["layer"]),
        neuron=request.neuron(given["neuron"]),
        wrt=given["wrt"],
        loss=request.loss(given["loss"]),
        compile=given["compile"],
        autocast=given["autocast"],
        reference=given["reference"],
        cotangent=request.cotangent(given["cotangent"], numbers),
        training=given["train"],
        stop_gradients=given["stop_gradients"],
        seed=given["seed"],
        dtypes=given["dtype"] or (("float64",) if isinstance(model, str) else ()),
        device=given["device"],
        modes=given["mode"],
        limits=_limits(given),
    )

    def answer() -> Report:
        from gradcheck_cli.networks.model import report

        return report(asked, strict=given["strict"], timeout=given["timeout"], progress=given["progress"])

    return answer


def _everything(kind: str, place: str, given: Mapping[str, Any]) -> Report:
    """Everything in a file, or a module, that can be checked."""
    from gradcheck_cli.callables.contents import contents

    found = contents(place, networks=kind == "model")
    from gradcheck_cli.verdict.reports import gathered  # NumPy, which an error above does without

    limits = {name: given[name] for name in ("strict", "timeout", "progress")}
    check = functools.partial(
        TWINS[kind], **{name: value for name, value in given.items() if name not in ("timeout", "progress")}
    )
    return gathered(kind, place, found.found, found.left, check, **limits)


def _run(
    kind: str, chains: Sequence[Chain], asked: Asked, given: Mapping[str, Any], *, local: bool = False, wrt: object = None
) -> Answer:
    """Check what depends on the chains; where that takes no time, build the Problem too."""
    inputs = list(dict.fromkeys(name for chain in chains for name in chain.inputs))
    complexes = all(name in table.COMPLEX for name in given["dtype"])
    refuse_foreign(chains, named(given["at"], given["shape"], given["domain"], wrt), "--at, --domain, --shape or --wrt")
    where = {name: given[name] for name in ("shape", "sample", "domain", "seed")}
    points = parse_points(given["at"], inputs, **where, evaluate=nearest_double, parts=constant_parts, complex_inputs=complexes)
    build = functools.partial(_problem, kind, *with_labels(chains, points), asked, given, local)
    if any(chain.on_arrays or any(points.shapes[name] for name in chain.inputs) for chain in chains):
        return lambda: _solved(build(), given)  # entry by entry, which takes its time, as the check does
    return functools.partial(_solved, build(), given)


def _problem(
    kind: str, chains: Sequence[Chain], points: PointSpec, asked: Asked, given: Mapping[str, Any], local: bool
) -> Problem:
    """Every derivative and every claim, entry by entry."""
    tasks = [task_of(chain, points, asked) for chain in chains]
    from gradcheck_cli.floats import FORMATS  # NumPy, which an error above does without

    formats = _formats(given["dtype"], any(task.complex for task in tasks))
    for name in formats:
        points.count(FORMATS[name])
    streams = any(points.streams(FORMATS[name]) for name in formats)
    for option in ("workers", "resume"):
        if given[option] is not None and not streams:
            message = f"--{option} goes with every float of a dtype of 32 bits (--at x=all --dtype float32)"
            raise InputError(f"{message}: these points are checked at once", str(given[option]), 0)
    return Problem(
        command=kind,
        tasks=tuple(tasks),
        points=points,
        local=local,
        formats=formats,
        modes=given["mode"],
        device=given["device"],
        claims=() if given["claim"] is None else claims_of(given["claim"], tasks, asked),
        limits=_limits(given),
        strict=given["strict"],
        timeout=given["timeout"] or (math.inf if streams else table.TIMEOUT),
        verbose=given["verbose"],
        callables={_row(name): function for name, function in (given["callables"] or {}).items()},
    )


def _formats(names: Sequence[str], complexes: bool) -> tuple[str, ...]:
    """The dtypes that are asked for; of complex numbers those of their parts."""
    names = table.suited(names, complexes)
    asked = ",".join(names)
    if not complexes and not table.COMPLEX.keys().isdisjoint(names):
        raise InputError("real and complex numbers are checked one by one", asked, 0)
    formats = tuple(dict.fromkeys(table.COMPLEX.get(name, name) for name in names))
    if complexes and not set(formats) <= set(table.COMPLEX.values()):
        raise InputError(table.WIDE, asked, 0)
    return formats


def _solved(problem: Problem, given: Mapping[str, Any]) -> Report:
    """Have it checked."""
    from gradcheck_cli.floats import FORMATS
    from gradcheck_cli.formulas import check, stream
    from gradcheck_cli.remedies.mending import remedies_of

    if not any(problem.points.streams(FORMATS[name]) for name in problem.formats):
        report = check.check_problem(problem, progress=given["progress"])
        report.sought = functools.partial(remedies_of, problem, replace(report))  # a copy: no circle to be collected
        return report
    request = stream.Request(given["workers"], None if given["resume"] is None else Path(given["resume"]))
    report = stream.check_stream(problem, given["progress"], request)
    parts = [stream.listed(problem, report, name) for name in problem.formats]
    report.sought = lambda: [remedy for part in parts for remedy in remedies_of(*part)]
    return report


def _chain(expressions: str | Sequence[str], given: Mapping[str, Any], output: str = "y", wrt: object = None) -> Chain:
    """The chain, in which I is the imaginary unit, where nobody speaks of an input that is called so."""
    said = named(given["at"], given["shape"], given["domain"], wrt)
    return link(texts_of(expressions), output, frozenset({"I"} - said))


def _limits(given: Mapping[str, Any]) -> Limits:
    return Limits(given["rtol"], given["atol"], given["ulps"])


def _row(name: str) -> str:
    if name not in NAMES:
        raise InputError(f"callables: {name!r} is not in the table of functions")
    return NAMES[name]


def _other_orders(order: tuple[str, ...]) -> list[tuple[str, ...]]:
    count = math.factorial(len(order))
    for name in set(order):
        count //= math.factorial(order.count(name))
    if count > MAX_PERMUTATIONS:
        raise InputError(f"{', '.join(order)} has {count} orders; at most {MAX_PERMUTATIONS} are checked")
    return [p for p in dict.fromkeys(orders_of(order)) if p != order]
