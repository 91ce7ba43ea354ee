"""THE tables of checks and of their options. A new option is a new row here, its type in `api`, and the code that uses it: the
command line and its help, the Python twins and their docstrings, spec files, pytest and the tests read it.

Columns of an option
--------------------
name        what it is called in a spec, and behind the two dashes
checks      which checks take it. Where an option means something else for another check, that has a row of its own
form        what a value of it may be, and how it is read: see `forms`
help        what it means, in one sentence or two
default     what holds where it isn't given; None: nothing, or what `otherwise` says. It is stated here and nowhere else
otherwise   what happens where it isn't given, in words
metavar     what stands for its value in the help of a command
spelt       how the command line writes it, if not --name: with a short form, or with the contrary
called      what the Python twin calls it, if not by its name
choices     the names that it takes, each with what it is
words       what else people write for these: {"double": "float64"}
also        what else people call the option: each way takes that too. What several options of a check are called gives its
            value to all of them
bare        the command line takes a value of it as an option by itself: --json
lone        its value where the command line names it without one: --compile
example     one, as it is typed, if not that of the form
required    it has to be given
twin        False: it is about what the command prints, and neither Python nor a spec takes it
alone       it is about one run by itself: no spec takes it
once        of several points (or what there may be several of) one alone is meant

The order is that of every help: a check's own options, then those that it shares with others.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any

from gradcheck_cli.errors import nearest
from gradcheck_cli.forms import (
    AUTOCAST,
    BACKEND,
    BFLOAT16,
    CALLBACK,
    CALLBACKS,
    CLAIMS,
    COTANGENT,
    COUNT,
    DEVICE,
    DOMAIN,
    EXPRESSIONS,
    FILES,
    FLAG,
    FORMATS,
    FUNCTION,
    INDEX,
    INDUCTOR,
    INPUT,
    LAYER,
    LIMIT,
    LOSS,
    NAMES,
    NATURAL,
    NETWORK,
    POINTS,
    REFERENCE,
    SECONDS,
    SETTINGS,
    SHAPES,
    SURROGATE,
    TEXT,
    TEXTS,
    VALUES,
    Form,
)
from gradcheck_cli.modes import MODES, OF_TENSORS
from gradcheck_cli.shapes import Shape, names_of

# -- checks -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of check: the command, the key of a spec, and check_`name` in Python.

    `target`: what is checked, as the twin calls it, with its form, its metavar and its help. `code`: whether that may be code
    of the user, which is imported.
    """

    name: str
    sentence: str
    target: str
    form: Form
    metavar: str
    help: str
    code: bool = False


_EXPRESSION = ("expression", TEXT, "EXPRESSION", "The function; | separates stages.")

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in (
    Kind("chain", "Check every derivative of a chain of expressions.", "expressions", EXPRESSIONS, "EXPRESSION",
         "Stages, the first one first, each 'expression' or 'name = expression'; | separates stages too."),
    Kind("mixed", "Check a mixed partial derivative and its orders.", *_EXPRESSION),
    Kind("grad", "Check all partial derivatives of an expression.", *_EXPRESSION),
    Kind("jacobian", "Check the derivative of every output by every input.", "expressions", EXPRESSIONS, "EXPRESSION",
         "The outputs, each 'expression' or 'name = expression'."),
    Kind("hessian", "Check all second derivatives of an expression, in both orders.", *_EXPRESSION),
    Kind("function", "Check a function of tensors, above all one with a backward of its own.", "function", FUNCTION, "TARGET",
         "FILE.py:NAME or package.module:NAME.", code=True),
    Kind("model", "Check a network: every layer by itself, and in its place.", "model", NETWORK, "NETWORK",
         "Layers of torch.nn with literal arguments, separated by |; Residual(...) is x + f(x). Or FILE.py:NAME, or "
         "package.module:NAME: a Module, a class or a function that gives one. The file is imported, hence executed.",
         code=True),
)})  # fmt: skip

CHECKS = tuple(KINDS)
FORMULAS = tuple(kind.name for kind in KINDS.values() if not kind.code)
CODE = tuple(kind.name for kind in KINDS.values() if kind.code)
POINTED = (*FORMULAS, "function")
NESTED = tuple(name for name in FORMULAS if name != "chain")
COMMANDS = (*CHECKS, "functions", "ops", "explain", "why")
"""Those that write one result."""

# -- options ------------------------------------------------------------------------------------------------------------

TIMEOUT = 600.0
"""Seconds of a run."""
SAMPLES = 20
"""Points of a formula that are drawn where none is given."""
SAMPLES_OF_FUNCTION = 3
"""The same, of a function."""

MODES_OF_FORMULAS = {mode.name: mode.help for mode in MODES.values()}
MODES_OF_CODE = {mode.name: mode.of_tensors for mode in OF_TENSORS.values()}
MODE_WORDS = {word: mode.name for mode in MODES.values() for word in mode.also}
DTYPES = dict.fromkeys(("float64", "float32", "float16", "bfloat16"), "")
COMPLEX = {"complex128": "float64", "complex64": "float32"}
"""Of complex numbers, whose parts are these."""
WIDE = f"torch computes with {' and '.join(COMPLEX)}"
NUMBERS = DTYPES | dict.fromkeys(COMPLEX, "")


def suited(names: Sequence[str], complexes: bool) -> tuple[str, ...]:
    """The dtypes that are asked for; of `all` those of complex numbers, or of real ones."""
    return tuple(names) if set(names) != set(NUMBERS) else tuple(COMPLEX if complexes else DTYPES)


DTYPE_WORDS = {
    word: name
    for name, words in {
        "float64": "double fp64 f64", "float32": "float single fp32 f32", "float16": "half fp16 f16", "bfloat16": "bf16",
        "complex128": "cdouble c128", "complex64": "cfloat c64",
    }.items()
    for word in words.split()
}  # fmt: skip
"""Torch's other names, by which `float` has 32 bits, and the short ones of papers."""

TOLERANCE = "tol tolerance"


@dataclass(frozen=True, slots=True)
class Option:
    """A row. See the head of this file for the columns."""

    name: str
    checks: tuple[str, ...]
    form: Form
    help: str
    default: Any = None
    otherwise: str = ""
    metavar: str = ""
    spelt: str = ""
    called: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    also: str = ""
    bare: bool = False
    lone: str = ""
    example: str = ""
    required: bool = False
    twin: bool = True
    once: bool = False
    alone: bool = False

    @property
    def parameter(self) -> str:
        """What the twin calls it."""
        return self.called or self.name

    @property
    def typed(self) -> bool:
        """Whether a command takes it."""
        return self.form.word is not None

    @property
    def written(self) -> bool:
        """Whether a spec takes it."""
        return self.typed and self.twin and not self.alone

    @property
    def forms(self) -> tuple[str, ...]:
        """How the command line writes it: ("--output", "-o"), ("--train/--eval",)."""
        return tuple(self.spelt.split()) or (f"--{self.name}",)

    @property
    def meaning(self) -> str:
        """Its help, its choices first."""
        choices = ", ".join(f"{name} ({what})" if what else name for name, what in self.choices.items())
        return f"{choices}; several with commas, or all. {self.help}".rstrip() if self.choices else self.help

    @property
    def without(self) -> str:
        """What holds where it isn't given, in words: "20 without --at", "cpu"; empty: nothing."""
        default = "" if self.default is None or self.default is False else self.default
        return self.otherwise or (f"{default:g}" if isinstance(default, float) else str(default))

    def read(self, given: Any) -> Any:
        """The value that goes on; None is the default. InputError where it can't be one."""
        value = (given or None) if self.choices else given
        value = self.default if value is None else value
        return None if value is None else self.form.read(value, self.name, self.known)

    @property
    def holds(self) -> Shape:
        """Whether a spec may give a value: its form, and of a single name that it is one of those that there are."""
        return names_of([*self.choices, "all"], self.known) if self.choices else self.form.holds

    @property
    def known(self) -> Mapping[str, str]:
        """Every word for a choice, and the choice."""
        return {**{name: name for name in self.choices}, **{w: n for w, n in self.words.items() if n in self.choices}}

    @property
    def called_too(self) -> tuple[str, ...]:
        """All that it is called, as a name of Python: by the table first."""
        return (self.parameter, self.name, *self.also.split())


OPTIONS: tuple[Option, ...] = (
    Option("wrt", ("mixed",), TEXTS, "What to differentiate by, in this order: x,y is first by x, then by y.",
           metavar="NAMES", example="x", required=True, also="by var vars variables with_respect_to"),
    Option("permutations", ("mixed",), FLAG, "Check all other orders too.", spelt="--permutations/--no-permutations",
           also="permute all_orders",
           otherwise="where there are just two, different names"),
    Option("order", ("grad",), COUNT, "1: the gradient, 2: the Hessian too, and so on to 6.", 1, metavar="N", also="orders"),

    Option("wrt", ("explain",), TEXT, "What to differentiate by; x,y: the mixed partial derivative, first by x, then by y.",
           otherwise="every input", metavar="NAMES", example="x,y"),
    Option("at", ("explain",), POINTS, "The point, x=1,y=pi/4; lists are arrays (x=[1,2]).", otherwise="a plain one",
           metavar="POINT", once=True),
    Option("shape", ("explain",), SHAPES, "An input is a vector (x=3) or a matrix (A=3,4), where no point says so.",
           metavar="NAME=SIZES"),

    Option("set", ("function",), SETTINGS,
           "An argument that is handed over as it is: a literal, dim=1, or target=tensor([0,2]).",
           metavar="NAME=VALUE", called="settings", also="setting arg args kwarg kwargs"),
    Option("formula", ("function",), TEXT, "What the function ought to compute: its values are judged too.",
           metavar="FORMULA", example="x*sigmoid(x)"),
    Option("reference", ("function",), REFERENCE,
           "A second implementation that is right, such as the plain PyTorch one beside a kernel of your own: FILE.py:NAME of "
           "the same parameters, or a formula. Values and derivatives are judged by it.",
           metavar="TARGET", example="torch:sin", also="ref oracle ground_truth"),
    Option("surrogate", ("function",), SURROGATE,
           "What the backward is meant to be the derivative of, where it is another function's on purpose: a formula, or "
           "FILE.py:NAME, of the same parameters. Values aren't judged by it.",
           metavar="FORMULA|TARGET", example="clamp(x, -1, 1)"),
    Option("order", ("function",), COUNT,
           "1: the gradient, 2: its derivative too (double backward), and so on to 4; what they ought to be is known from the "
           "forward pass alone.", 1, metavar="N", also="orders"),
    Option("sample", ("function",), COUNT, "Check N seeded points.", otherwise=f"{SAMPLES_OF_FUNCTION} without --at",
           metavar="N", also="samples n_samples num_samples"),

    Option("reference", ("model",), REFERENCE,
           "A second implementation of the whole network that is right: FILE.py:NAME, a Module (or what gives one) with "
           "parameters of the same names. Values and derivatives are judged by it.", metavar="TARGET", example="net.py:Plain",
           also="ref oracle ground_truth"),
    Option("input", ("model",), INPUT, "The shape of the input, 1,28,28 or NAME=1,28,28.", metavar="SIZES",
           otherwise="what the first layer takes", also="inputs shape shapes input_shape input_size"),
    Option("at", ("model",), VALUES, "The input itself: x=[1,2], or x=@FILE (.npy, .npz, .pt, .safetensors; @FILE:NAME).",
           otherwise="seeded normal numbers", metavar="VALUES",
           also="point"),
    Option("layer", ("model",), LAYER, "Differentiate the output of this layer: 0, encoder.1.", metavar="NAME"),
    Option("neuron", ("model",), INDEX, "Differentiate one entry of the output: 2, or 1,2.", metavar="INDEX"),
    Option("wrt", ("model",), TEXT, "What to differentiate by.", otherwise="all; with --layer or --neuron: input",
           metavar="input|parameters|all", example="input", also="by with_respect_to"),
    Option("loss", ("model",), LOSS, "A formula of the output y: mean(y**2).", metavar="FORMULA", example="mean(y**2)",
           also="loss_fn criterion"),
    Option("cotangent", ("model",), COTANGENT, "The combination v of outputs that is differentiated.",
           otherwise="random; with --layer: every output by itself", metavar="random|ones|[...]",
           also="cotangents grad_output grad_outputs upstream"),
    Option("train", ("model",), FLAG, "Training mode: dropout with one mask, statistics of the batch.", False, "--eval",
           spelt="--train/--eval", also="training"),
    Option("seed", ("model",), NATURAL, "Seed of weights, input and masks: torch.manual_seed.", 0, metavar="N", also="seeds"),
    Option("stop_gradients", CODE, FLAG,
           "What the code detaches (.detach(), .data, torch.no_grad()) is a constant to the exact derivative too.", False,
           spelt="--stop-gradients", also="stop_gradient"),
    Option("compile", CODE, BACKEND,
           "Run it by torch.compile too, with this backend; what was written is the truth of both. How long compiling takes "
           "isn't counted by --timeout.", metavar="[BACKEND]", example="eager", lone=INDUCTOR, also="backend torch_compile"),
    Option("autocast", CODE, AUTOCAST,
           "Run it under torch.autocast, which computes some operations in this format.", metavar="[DTYPE]", example="float16",
           lone=BFLOAT16, also="amp"),
    Option("mode", CODE, NAMES, "", "reverse", metavar="MODE", choices=MODES_OF_CODE, words=MODE_WORDS, also="modes",
           bare=True),

    Option("at", POINTED, POINTS,
           "A point, x=1,y=pi/4. Values are constant expressions, lists (x=[1,2], A=[[1,2],[3,4]]), linspace(a,b,n), "
           "logspace(a,b,n) from a to b, all (every float of a dtype of at most 32 bits) or all(a,b); several of them in one "
           "text make a grid. @FILE is an array in a .npy, .npz, .pt or .safetensors file, @FILE:NAME one of several.",
           metavar="POINT", also="point"),
    Option("shape", POINTED, SHAPES, "An input is a vector (x=3) or a matrix (A=3,4), where no point says so.",
           metavar="NAME=SIZES", also="shapes size sizes"),
    Option("sample", FORMULAS, COUNT, "Check N seeded points.", otherwise=f"{SAMPLES} without --at", metavar="N",
           also="samples n_samples num_samples"),
    Option("domain", POINTED, DOMAIN, "Where to sample, ends included; either may be left out. Holds for all entries.",
           metavar="NAME=A:B", also="domains range interval"),
    Option("seed", POINTED, NATURAL, "Seed of the samples.", 0, metavar="N", also="seeds"),
    Option("mode", ("chain",), NAMES, "", "reverse", metavar="MODE", choices=MODES_OF_FORMULAS, words=MODE_WORDS, also="modes",
           bare=True),
    Option("mode", NESTED, NAMES, "", "grad", metavar="MODE", choices=MODES_OF_FORMULAS, words=MODE_WORDS, also="modes",
           bare=True),
    Option("dtype", FORMULAS, FORMATS, "", "float64", metavar="DTYPE", choices=NUMBERS, words=DTYPE_WORDS,
           also="dtypes", bare=True, example="float32"),
    Option("dtype", CODE, FORMATS, "", otherwise="float64, or that of given tensors or of a Module", metavar="DTYPE",
           choices=NUMBERS, words=DTYPE_WORDS, also="dtypes", bare=True),
    Option("device", CHECKS, DEVICE, "Torch's name of the device.", "cpu", metavar="NAME", example="cuda:0"),
    Option("claim", FORMULAS, CLAIMS, "Your own derivative: x=8*x+4 (or dy/dx=8*x+4), or the formula alone where only one is "
           "asked for; several with commas.", metavar="FORMULA", also="claims"),
    Option("rtol", CHECKS, LIMIT, "Accept an error of up to R times |exact|, plus --atol.", metavar="R",
           also=f"rel_tol reltol {TOLERANCE}"),
    Option("atol", CHECKS, LIMIT, "Accept an error of up to A, plus --rtol's.", metavar="A",
           also=f"abs_tol abstol {TOLERANCE}"),
    Option("ulps", CHECKS, LIMIT, "Accept an error of up to N ulps of the dtype.", metavar="N", also="ulp max_ulps"),
    Option("strict", CHECKS, FLAG, "An imprecise derivative fails too.", False),
    Option("workers", FORMULAS, COUNT, "Processes that share the work where --at asks for every float32.",
           otherwise="the cores", metavar="N", spelt="--workers -n", also="jobs n_jobs num_workers", alone=True),
    Option("resume", FORMULAS, TEXT,
           "Where --at asks for every float32: keep in FILE what is finished, and don't do again what it holds.",
           metavar="FILE", example="sin.jsonl", alone=True),
    Option("timeout", FORMULAS, SECONDS, "Seconds for the whole run; what is left is undecided.", metavar="SECONDS",
           otherwise=f"{TIMEOUT:g}; none for every float32", also="time_limit max_time"),
    Option("timeout", CODE, SECONDS, "Seconds for the whole run; what is left is undecided.", TIMEOUT, metavar="SECONDS",
           also="time_limit max_time"),
    Option("format", COMMANDS, TEXT, "How the result is written.", "text", example="json", twin=False, also="fmt output_format",
           bare=True),
    Option("output", COMMANDS, TEXT, "Write the result to FILE, in one piece; - is stdout.", "-", metavar="FILE",
           spelt="--output -o", twin=False, also="out outfile output_file"),
    Option("plot", CHECKS, FILES,
           "Draw the errors, or of a network the size of gradients, into a file that ends in .png or .svg; needs matplotlib.",
           metavar="FILE", example="errors.png", twin=False, also="figure picture"),
    Option("quiet", CHECKS, FLAG, "Only the last line.", False, spelt="--quiet -q", twin=False, also="silent"),
    Option("verbose", CHECKS, FLAG, "Every point and every formula in full.", False, spelt="--verbose -v", also="details"),
    Option("verbose", ("explain",), FLAG, "Every step, however many there are.", False, spelt="--verbose -v", also="details"),

    Option("callables", FORMULAS, CALLBACKS,
           "Name of a function of the language -> what torch shall call in its place (a custom autograd.Function's apply)."),
    Option("progress", CHECKS, CALLBACK, "Called as the work goes on: (done, total, text)."),
)  # fmt: skip


# -- what is read off the tables ----------------------------------------------------------------------------------------


@cache
def of(check: str) -> tuple[Option, ...]:
    """The options of a check (or of another command), in the order of its help."""
    return tuple(row for row in OPTIONS if check in row.checks)


@cache
def taken(check: str) -> Mapping[str, Option]:
    """Those that its Python twin takes, by what that calls them."""
    return {row.parameter: row for row in of(check) if row.twin}


@cache
def keys(check: str) -> Mapping[str, Option]:
    """Those that a spec may give, by name."""
    return {row.name: row for row in of(check) if row.written}


@cache
def spoken(check: str) -> Mapping[str, tuple[Option, ...]]:
    """Every name that somebody may give an option of a check, and the options that are meant: the table's own name goes before
    what else people call another."""
    found: dict[str, tuple[Option, ...]] = {}
    for row in of(check):
        for name in row.called_too:
            found[name] = (*found.get(name, ()), row)
    own = {name: (row,) for row in of(check) for name in (row.name, row.parameter)}
    return {**found, **own}


ELSEWHERE: Mapping[str, str] = MappingProxyType({
    "points": "a point is given by --at, how many are drawn by --sample",
    "eps": "there is no step to choose: exact derivatives are compared, not difference quotients; leave it out",
    "step": "there is no step to choose: exact derivatives are compared, not difference quotients; leave it out",
    "raise_exception": "a check returns a Report, which raise_for_verdict() raises",
    "nondet_tol": "a backward that gives something else when it runs again is reported in any case; leave it out",
    "fast_mode": "there is one mode, which is both fast and exact; leave it out",
    "check_forward_ad": "write --mode forward",
    "check_backward_ad": "write --mode reverse, which is the default",
    "check_undefined_grad": "it is checked in any case; leave it out",
    "check_grad_dtypes": "it is checked in any case; leave it out",
    "check_batched_grad": "it is checked in any case; leave it out",
    "check_batched_forward_ad": "it is checked in any case; leave it out",
    "grad_order": "write --order",
    "inputs": "write --at, by the names of the parameters",
    "gpu": "write --device cuda",
    "cuda": "write --device cuda",
    "expect": "what is expected is said in a spec file (gradcheck run)",
})  # fmt: skip
"""Options of other tools (torch.autograd.gradcheck above all) that no check has, and what to do instead."""


def unknown(check: str, name: str) -> str:
    """What there is to say of an option that a check hasn't: what to do instead, the nearest name, or all that there are."""
    if name in ELSEWHERE:
        return f": {ELSEWHERE[name]}"
    if check in POINTED and len(name) < 3:
        return f"; a point is given by at={{'{name}': 1}}"
    return nearest(name, {KINDS[check].target, *taken(check)} if check in KINDS else [row.name for row in of(check)])


def meant(check: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given to a twin, by the twin's own names. TypeError, as of any function, for an option that there isn't, and for
    one that is given twice."""
    known, found = spoken(check), {}
    for name, value in given.items():
        rows = [row for row in known.get(name, ()) if row.twin]
        if not rows:
            text = re.sub(r"--(?=[a-z])", "", unknown(check, name))
            if "settings" in taken(check) and text.startswith("; there is"):
                text = f"; what the function itself takes stands in settings={{{name!r}: ...}}"
            raise TypeError(f"check_{check}() got an unexpected keyword argument {name!r}{text}")
        for row in rows:
            if row.parameter in found:
                raise TypeError(f"check_{check}() got multiple values for {row.parameter!r}: {name!r} is another name of it")
            found[row.parameter] = value
    return found


def values(check: str, given: Mapping[str, Any], but: Container[str] = ()) -> dict[str, Any]:
    """Every option of a twin (`but` those), read, with its default where it isn't given; `given` is by the twin's own names.
    InputError for a value that can't be meant."""
    rows = {name: row for name, row in taken(check).items() if name not in but}
    return {name: row.read(given.get(name)) for name, row in rows.items()}


def described(check: str) -> str:
    """The target and the options of a twin, for its docstring."""
    kind = KINDS[check]
    rows = [_entry(name, row.meaning, row.form, row.without) for name, row in taken(check).items()]
    return "\n".join([_entry(kind.target, kind.help, kind.form), "", _HEADING, "", *rows])


_HEADING = "Options; None, or an empty list, is the default of each, which stands in brackets if it says something:"
_WIDTH = 110


def _entry(name: str, meaning: str, form: Form, without: str = "") -> str:
    """One name and what it means, as Python writes it: without dashes."""
    said = [meaning, f"In Python also {form.python}." if form.python else "", f"[{without}]" if without else ""]
    text = re.sub(r"--(?=[a-z])", "", " ".join(filter(None, said)))
    return textwrap.fill(text, _WIDTH, initial_indent=f"{name:<13} ", subsequent_indent=" " * 14, break_long_words=False)
