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
example     one, as it is typed, if not that of the form
required    it has to be given
twin        False: it is about what the command prints, and neither Python nor a spec takes it

The order is that of every help: a check's own options, then those that it shares with others.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from gradcheck_cli.errors import nearest
from gradcheck_cli.forms import (
    COTANGENT,
    DOMAIN,
    EXPRESSIONS,
    FILES,
    FLAG,
    FUNCTION,
    INDEX,
    INPUT,
    LAYER,
    LIMIT,
    LOSS,
    NAMES,
    NETWORK,
    OBJECT,
    POINTS,
    SECONDS,
    SETTINGS,
    SHAPES,
    SURROGATE,
    TEXT,
    TEXTS,
    VALUES,
    WHOLE,
    Form,
)
from gradcheck_cli.modes import MODES, OF_TENSORS

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

# -- options ------------------------------------------------------------------------------------------------------------

SAMPLES = 20
"""Points of a formula that are drawn where none is given."""
SAMPLES_OF_FUNCTION = 3
"""The same, of a function."""

MODES_OF_FORMULAS = {mode.name: mode.help for mode in MODES.values()}
MODES_OF_CODE = {mode.name: mode.of_tensors for mode in OF_TENSORS.values()}
DTYPES = dict.fromkeys(("float64", "float32", "float16", "bfloat16"), "")


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
    example: str = ""
    required: bool = False
    twin: bool = True

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
        return self.typed and self.twin

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
        return None if value is None else self.form.read(value, self.name, tuple(self.choices))


OPTIONS: tuple[Option, ...] = (
    Option("wrt", ("mixed",), TEXTS, "What to differentiate by, in this order: x,y is first by x, then by y.",
           metavar="NAMES", example="x", required=True),
    Option("permutations", ("mixed",), FLAG, "Check all other orders too.", spelt="--permutations/--no-permutations",
           otherwise="where there are just two, different names"),
    Option("order", ("grad",), WHOLE, "1: the gradient, 2: the Hessian too, and so on to 6.", 1, metavar="N"),

    Option("wrt", ("explain",), TEXT, "What to differentiate by; x,y: the mixed partial derivative, first by x, then by y.",
           otherwise="every input", metavar="NAMES", example="x,y"),
    Option("at", ("explain",), POINTS, "The point, x=1,y=pi/4; lists are arrays (x=[1,2]).", otherwise="a plain one",
           metavar="POINT"),
    Option("shape", ("explain",), SHAPES, "An input is a vector (x=3) or a matrix (A=3,4), where no point says so.",
           metavar="NAME=SIZES"),

    Option("set", ("function",), SETTINGS,
           "An argument that is handed over as it is: a literal, dim=1, or target=tensor([0,2]).",
           metavar="NAME=VALUE", called="settings"),
    Option("formula", ("function",), TEXT, "What the function ought to compute: its values are judged too.",
           metavar="FORMULA", example="x*sigmoid(x)"),
    Option("surrogate", ("function",), SURROGATE,
           "What the backward is meant to be the derivative of, where it is another function's on purpose: a formula, or "
           "FILE.py:NAME, of the same parameters. Values aren't judged by it.",
           metavar="FORMULA|TARGET", example="clamp(x, -1, 1)"),
    Option("order", ("function",), WHOLE,
           "1: the gradient, 2: its derivative too (double backward), and so on to 4; what they ought to be is known from the "
           "forward pass alone.", 1, metavar="N"),
    Option("sample", ("function",), WHOLE, "Check N seeded points.", otherwise=f"{SAMPLES_OF_FUNCTION} without --at",
           metavar="N"),

    Option("input", ("model",), INPUT, "The shape of the input, 1,28,28 or NAME=1,28,28.", metavar="SIZES",
           otherwise="what the first layer takes"),
    Option("at", ("model",), VALUES, "The input itself: x=[1,2].", otherwise="seeded normal numbers", metavar="VALUES"),
    Option("layer", ("model",), LAYER, "Differentiate the output of this layer: 0, encoder.1.", metavar="NAME"),
    Option("neuron", ("model",), INDEX, "Differentiate one entry of the output: 2, or 1,2.", metavar="INDEX"),
    Option("wrt", ("model",), TEXT, "What to differentiate by.", otherwise="all; with --layer or --neuron: input",
           metavar="input|parameters|all", example="input"),
    Option("loss", ("model",), LOSS, "A formula of the output y: mean(y**2).", metavar="FORMULA", example="mean(y**2)"),
    Option("cotangent", ("model",), COTANGENT, "The combination v of outputs that is differentiated.",
           otherwise="random; with --layer: every output by itself", metavar="random|ones|[...]"),
    Option("train", ("model",), FLAG, "Training mode: dropout with one mask, statistics of the batch.", False, "--eval",
           spelt="--train/--eval"),
    Option("seed", ("model",), WHOLE, "Seed of weights, input and masks: torch.manual_seed.", 0, metavar="N"),
    Option("stop_gradients", CODE, FLAG,
           "What the code detaches (.detach(), .data, torch.no_grad()) is a constant to the exact derivative too.", False,
           spelt="--stop-gradients"),
    Option("mode", CODE, NAMES, "", "reverse", metavar="MODE", choices=MODES_OF_CODE),

    Option("at", POINTED, POINTS,
           "A point, x=1,y=pi/4. Values are constant expressions, lists (x=[1,2], A=[[1,2],[3,4]]), linspace(a,b,n), "
           "logspace(a,b,n) from a to b, or all (every float of a 16-bit dtype); several of them in one text make a grid.",
           metavar="POINT"),
    Option("shape", POINTED, SHAPES, "An input is a vector (x=3) or a matrix (A=3,4), where no point says so.",
           metavar="NAME=SIZES"),
    Option("sample", FORMULAS, WHOLE, "Check N seeded points.", otherwise=f"{SAMPLES} without --at", metavar="N"),
    Option("domain", POINTED, DOMAIN, "Where to sample, ends included; either may be left out. Holds for all entries.",
           metavar="NAME=A:B"),
    Option("seed", POINTED, WHOLE, "Seed of the samples.", 0, metavar="N"),
    Option("mode", ("chain",), NAMES, "", "reverse", metavar="MODE", choices=MODES_OF_FORMULAS),
    Option("mode", NESTED, NAMES, "", "grad", metavar="MODE", choices=MODES_OF_FORMULAS),
    Option("dtype", FORMULAS, NAMES, "", "float64", metavar="DTYPE", choices=DTYPES),
    Option("dtype", CODE, NAMES, "", otherwise="float64, or that of given tensors or of a Module", metavar="DTYPE",
           choices=DTYPES),
    Option("device", CHECKS, TEXT, "Torch's name of the device.", "cpu", metavar="NAME", example="cuda:0"),
    Option("claim", FORMULAS, TEXT, "Your own derivative: x=8*x+4, or the formula alone where only one is asked for.",
           metavar="FORMULA", example="2"),
    Option("rtol", CHECKS, LIMIT, "Accept an error of up to R times |exact|, plus --atol.", metavar="R"),
    Option("atol", CHECKS, LIMIT, "Accept an error of up to A, plus --rtol's.", metavar="A"),
    Option("ulps", CHECKS, LIMIT, "Accept an error of up to N ulps of the dtype.", metavar="N"),
    Option("strict", CHECKS, FLAG, "An imprecise derivative fails too.", False),
    Option("timeout", CHECKS, SECONDS, "Seconds for the whole run; what is left is undecided.", 600.0, metavar="SECONDS"),
    Option("format", (*CHECKS, "functions", "explain", "why"), TEXT, "How the result is written.", "text", example="json",
           twin=False),
    Option("output", (*CHECKS, "functions", "explain", "why"), TEXT, "Write the result to FILE, in one piece; - is stdout.",
           "-", metavar="FILE", spelt="--output -o", twin=False),
    Option("plot", CHECKS, FILES,
           "Draw the errors, or of a network the size of gradients, into a file that ends in .png or .svg; needs matplotlib.",
           metavar="FILE", example="errors.png", twin=False),
    Option("quiet", CHECKS, FLAG, "Only the last line.", False, spelt="--quiet -q", twin=False),
    Option("verbose", CHECKS, FLAG, "Every point and every formula in full.", False, spelt="--verbose -v"),
    Option("verbose", ("explain",), FLAG, "Every step, however many there are.", False, spelt="--verbose -v"),

    Option("callables", FORMULAS, OBJECT,
           "Name of a function of the language -> what torch shall call in its place (a custom autograd.Function's apply)."),
    Option("progress", CHECKS, OBJECT, "Called as the work goes on: (done, total, text)."),
)  # fmt: skip


# -- what is read off the tables ----------------------------------------------------------------------------------------


def of(check: str) -> tuple[Option, ...]:
    """The options of a check (or of the commands `functions` and `why`), in the order of its help."""
    return tuple(row for row in OPTIONS if check in row.checks)


def taken(check: str) -> Mapping[str, Option]:
    """Those that its Python twin takes, by what that calls them."""
    return {row.parameter: row for row in of(check) if row.twin}


def keys(check: str) -> Mapping[str, Option]:
    """Those that a spec may give, by name."""
    return {row.name: row for row in of(check) if row.written}


def values(check: str, given: Mapping[str, Any], but: Container[str] = ()) -> dict[str, Any]:
    """Every option of a twin (`but` those) by name, read, with its default where it isn't given. InputError for a value that
    can't be meant; TypeError, as of any function, for an option that there isn't."""
    rows = {name: row for name, row in taken(check).items() if name not in but}
    for name in given:
        if name not in rows:
            raise TypeError(f"check_{check}() got an unexpected keyword argument {name!r}{nearest(name, rows)}")
    return {name: row.read(given.get(name)) for name, row in rows.items()}


def described(check: str) -> str:
    """The target and the options of a twin, for its docstring."""
    kind = KINDS[check]
    rows = [_entry(name, row.meaning, row.form, row.without) for name, row in taken(check).items()]
    return "\n".join([_entry(kind.target, kind.help, kind.form), "", _HEADING, "", *rows])


_HEADING = "Options; None is the default of each, which stands in brackets if it says something:"
_WIDTH = 110


def _entry(name: str, meaning: str, form: Form, without: str = "") -> str:
    """One name and what it means, as Python writes it: without dashes."""
    said = [meaning, f"In Python also {form.python}." if form.python else "", f"[{without}]" if without else ""]
    text = re.sub(r"--(?=[a-z])", "", " ".join(filter(None, said)))
    return textwrap.fill(text, _WIDTH, initial_indent=f"{name:<13} ", subsequent_indent=" " * 14, break_long_words=False)
