"""THE table of what reads text, for benchmarks/fuzz.py and tests/test_fuzz.py: networks, layer arguments, inputs, points,
shapes, domains, settings, claims, orders of differentiation, specs, the project's settings, results, baselines, choices. Input
number i of an entry is a function of (seed, entry, i) alone.

`attempt` gives what became of it: `read`, `refused`, or the description of a defect. Nothing is imported that a text names, and
no layer is built that is large.
"""

from __future__ import annotations

import json
import random
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer
from _hostile import HOSTILE, SEEDS, TOKENS, changed, mutated

from gradcheck_cli.algebra.parts import numbers
from gradcheck_cli.cli.app import app, shield
from gradcheck_cli.cli.completion import Line, candidates
from gradcheck_cli.cli.run import _bounds
from gradcheck_cli.cli.words import meant
from gradcheck_cli.errors import InputError
from gradcheck_cli.formulas.tasks import wrt_names
from gradcheck_cli.language.parser import parse_stage
from gradcheck_cli.language.points import parse_points
from gradcheck_cli.networks import request
from gradcheck_cli.networks.layers import LAYERS, Network, parse_network
from gradcheck_cli.options import OPTIONS
from gradcheck_cli.stored import tensor_in
from gradcheck_cli.suite import baseline, results, settings
from gradcheck_cli.suite.execute import Outcome
from gradcheck_cli.suite.selection import select
from gradcheck_cli.suite.spec import Spec, load

Reads = Callable[[str], Any]

COMMAND: Any = typer.main.get_command(app)

NETWORKS = (
    "Linear(10, 5) | ReLU()", "Residual(Linear(4, 4) | GELU()) | Linear(4, 3)", "nn.Conv2d(1, 4, 3) | BatchNorm2d(4) | ReLU",
    "TransformerEncoder(TransformerEncoderLayer(8, 2), 2)", "LSTM(3, 4, bidirectional=True)", "Softmax(dim=1)", "Flatten",
    "torch.nn.LayerNorm([4, 4], eps=1e-3)", "Upsample(scale_factor=(2, 2), mode='nearest')", "Dropout(0.5) | Tanh()", "ReLU",
)  # fmt: skip
WORDS = (
    *TOKENS,
    *LAYERS,
    "|",
    "(",
    ")",
    "nn.",
    "torch.nn.",
    "kernel_size=3",
    "-1",
    "1e400",
    "'a'",
    "None",
    "9" * 5000,
    "device=1",
)
POINTS = (
    "x=1", "x=1,y=2", "x=[1,2],y=pi/4", "x=linspace(0,1,5)", "x=logspace(1,10,3),y=-1e-3", "x=all", "x=[[1,2],[3,4]]", "x=-inf",
    "x=linspace(0,1,inf)", "x=0:5", "y=:1", "x=3,4", "x=(2,)", "y=1e999:",
)  # fmt: skip
SHAPES = ("1,10", "query=4,8", "", "x=(2,3)", "1,28,28", "x=[1,2]", "0", "[1,-1]", "ones", "random", "2", "1,2", "9" * 400)
SETTINGS = ("dim=1", "target=tensor([0,2])", "causal=True", "p='fro'", "x=(1,2)", "x={'a': [1, None]}", "y=1e999", "z=b'a'")
CHOICES = (
    "relu and not (float16 or 'second order')",
    "a or b",
    '"x y"',
    "not not a",
    "float32,bfloat16",
    "all",
    "torch.float64",
)
CLAIMS = (
    "x=2*x*y", "df/dx=2*x*y", "x=2*x*y, y=x**2", "d2f/dxdy = 2*x", "d^2f/dx^2=min(x, y)", "∂f/∂x=y", *(f"y={s}" for s in SEEDS),
)  # fmt: skip
LINES = (*SEEDS, "a.py:f", "--at=1", "--tol", "a.toml::b", "Linear(2, 2)", "--junit")
TYPED = (*SEEDS, "--dtype fl", "'x*y' --at x=", "a.py:", '"Linear(2, 3) | Re', "--form")
SIZES = ("512M", "2G", "none", "1e9", "4096MiB", "9" * 400, "1.5T")
SPECS = (
    '[defaults]\nsample = 3\ndtype = "float32"\n[[check]]\nname = "a"\ngrad = "x**2"\nat = "x=1"\n',
    '[[check]]\nchain = ["2*x", "z**2"]\nexpect = "mismatch"\ncause = "formula"\nat = [{x = 1}, {x = [1, 2]}]\n',
    '[[check]]\nmodel = "Linear(2, 2) | ReLU"\ninput = [1, 2]\n[[check]]\nfunction = "f.py:g"\nset = {dim = 1}\ntimeout = 7\n',
    '[[check]]\nmixed = "x*y"\nwrt = "x,y"\nat = """x=1,\\\n y=2"""\ndomain = {x = [0, 1]}\n',
)  # fmt: skip
PROJECT = (
    '[tool.gradcheck]\npaths = ["checks"]\nworkers = 2\ntimeout = 20\nbaseline = "k"\n[tool.gradcheck.defaults]\nseed = 1\n',
    "[tool]\ngradcheck = {paths = 'x', strict = true, memory = '1G', no-python = false}\n",
)
TOML = (
    "[[check]]\n",
    "[",
    "]",
    "=",
    '"',
    "'''",
    "\n",
    "#",
    ",",
    "{x = 1}",
    "true",
    "1e999",
    "1979-05-27",
    "9" * 5000,
    "\u0000",
    ".",
    "x.y",
)
STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, 10**400, 1.5, float("inf"), float("nan"), "", "passed", "mismatch", "\ud800", [], {}, {"x": 1},
    "a\0b\x1b[31m\n::error::x", [[]], [None], ["x", 1], {"checks": []}, {"checks": [{}]}, "x" * 5000,
)  # fmt: skip
CHECK = {
    "point": {"x": 0.0}, "quantity": "df/dx", "exact": "1", "autograd": 0.0, "verdict": "mismatch", "cause": "kink",
    "detail": None, "formula": "1", "autograd_formula": "0", "witness": None,
}  # fmt: skip
OUTCOME = {
    "spec_id": "a.toml::b", "name": "b", "kind": "grad", "file": "a.toml", "line": 3, "status": "failed", "verdict": "mismatch",
    "cause": "kink", "expected": "match", "seconds": 0.5, "error": None, "fault": None, "text": "grad: f = x\n", "seed": None,
    "report": {"problem": {}, "checks": [CHECK], "verdict": "mismatch"}, "counts": {"mismatch": 1}, "seal": "00",
    "findings": ["df/dx float64 grad: kink"], "versions": {"torch": "2.13"}, "asked": {"kind": "grad", "target": "x"},
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """`reads` takes a text, made of `seeds` and `tokens`; None: lines of results."""

    name: str
    reads: Reads
    seeds: Sequence[str] | None
    tokens: Sequence[str] = TOKENS

    def text(self, seed: int, index: int) -> str:
        """Input number `index`."""
        rng = random.Random(f"{seed}:{self.name}:{index}")
        if self.seeds is None:
            return mutated_line(json.dumps(OUTCOME), rng).decode("latin-1")
        if rng.random() < 0.03:
            return rng.choice(HOSTILE)[:20_000]
        if rng.random() < 0.1:
            return mutated(seed, index)
        return changed(rng, rng.choice(self.seeds), self.tokens, self.seeds)

    def attempt(self, text: str) -> str:
        """What becomes of a text."""
        try:
            with warnings.catch_warnings(record=True) as leaked:
                warnings.simplefilter("always")
                self.reads(text)
            if leaked:
                return f"DEFECT: {leaked[0].message} is warned of"
        except InputError as problem:
            lines = str(problem).split("\n")
            seen = all(line.isprintable() for line in lines) and len(lines) in (1, 2, 3)
            return "refused" if seen else f"DEFECT: the error is {str(problem)!r}"
        except Exception as problem:
            return f"DEFECT: {type(problem).__name__}: {problem}"
        return "read"


def _build(text: str) -> None:
    """Layers with their arguments, where those are small: parameters without memory."""
    import torch

    from gradcheck_cli.networks.modules import Chain, _chain

    network = parse_network(text)
    if all(_small(layer.arguments) and _small(layer.keywords.values()) for layer in network.layers):
        with torch.device("meta"):
            _chain(network, text, Chain)


def _small(values: Any) -> bool:
    for value in values:
        if isinstance(value, Network):
            if not all(_small(layer.arguments) and _small(layer.keywords.values()) for layer in value.layers):
                return False
        elif isinstance(value, tuple | list):
            if len(value) > 8 or not _small(value):
                return False
        elif isinstance(value, int | float) and not -64 < value < 64:
            return False
    return True


def _settings_of(text: str) -> None:
    from gradcheck_cli.callables.settings import settings_of

    list(settings_of([text]))


def _one(tree: Any) -> float:
    return 1.0


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="gradcheck-fuzz-"))


def _file(name: str, text: str, coding: str = "utf-8") -> Path:
    path = _folder() / name
    path.write_bytes(text.encode(coding, "surrogatepass"))
    return path


def _known(text: str) -> None:
    """A baseline, and what is compared with it."""
    known = baseline.load(_file("known.jsonl", text, "latin-1"))
    found = Outcome.from_dict({**OUTCOME, "spec_id": "a.toml::b"})
    baseline.compare([found], known)
    baseline.text(baseline.update([found], known, set(known), {found.file}), Path())


def _choices(text: str) -> None:
    select([Spec("a", "grad", "x")], text)


def _claim(text: str) -> None:
    """Of each kind of check that takes claims otherwise: of one derivative, of several, of second ones."""
    from gradcheck_cli.formulas.tasks import Asked, claims_of, task_of
    from gradcheck_cli.language.chain import link

    chain = link(["x**2*y"], "f")
    task = task_of(chain, parse_points("x=1,y=2", chain.inputs, evaluate=_one), Asked(lambda entries: [("x",), ("y",)]))
    with suppress(InputError):
        claims_of(text, [task], Asked(lambda entries: [("x", "y"), ("x", "x")]))
    claims_of(text, [task], Asked(lambda entries: [("x",), ("y",)]))


def _command_line(text: str) -> None:
    """As the only word, as a value, and as a formula."""
    for arguments in ([text], [text, "--at", text], [f"--at={text}"], ["run", text, f"--{text}", "--maxfail"]):
        with suppress(InputError):
            meant(arguments, ["chain", "run", "functions"])
    shield(meant(["chain", text, f"-{text}"], ["chain", "run", "functions"]))


def _completed(text: str) -> None:
    """At the end of a line that any command may begin."""
    for start in ("gradcheck ", "gradcheck chain ", "gradcheck model ", "gradcheck grad x --at ", "gradcheck run --format "):
        line = Line.read(start + text)
        with suppress(InputError, ValueError, OSError):  # which the answer takes for nothing
            for found in candidates(COMMAND, line.words):
                line.for_bash(found, " =:\"'")


ARRAY = (
    "\x93NUMPY\x01\x00v\x00" + "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }".ljust(117) + "\n" + "abcdefgh" * 2
)
"""Two numbers, as NumPy writes them."""


def _array_in(text: str) -> None:
    """As weights of torch too, which they never are."""
    content = "".join(c for c in text if ord(c) < 256)
    with suppress(InputError):
        tensor_in(weights := f"@{_file('a.pt', content, 'latin-1')}", weights, 0)
    tensor_in(array := f"@{_file('a.npy', content, 'latin-1')}", array, 0)


def _words(text: str) -> None:
    for row in OPTIONS:
        if row.choices:
            row.read([text])


ENTRIES: tuple[Entry, ...] = (
    Entry("network", parse_network, NETWORKS, WORDS),
    Entry("layer arguments", _build, NETWORKS, WORDS),
    Entry("model", request.model, NETWORKS, WORDS),
    Entry("input", lambda text: request.inputs([text], None, numbers), SHAPES),
    Entry("values", lambda text: request.inputs(None, [text], numbers), POINTS),
    Entry("neuron", request.neuron, SHAPES),
    Entry("cotangent", lambda text: request.cotangent(text, numbers), SHAPES),
    Entry("loss", request.loss, ("mean(y**2)", "sum(y)", "y - 1", "logsumexp(y)")),
    Entry("point", lambda text: parse_points([text], ["x", "y"], evaluate=_one), POINTS),
    Entry("shape", lambda text: parse_points(None, ["x", "y"], shape=[text], evaluate=_one), POINTS),
    Entry("domain", lambda text: parse_points(None, ["x", "y"], domain=[text], evaluate=_one), POINTS),
    Entry("setting", _settings_of, SETTINGS),
    Entry("stage", lambda text: parse_stage(text, entry=True), ("x=2*y", "x[0]=y", *SEEDS)),
    Entry("claim", _claim, CLAIMS),
    Entry("wrt", lambda text: wrt_names(text, ["x", "y", "A[0,1]"], "checked"), ("x,y", "A[0,1],x", "x", *SHAPES)),
    Entry("choice of checks", _choices, CHOICES),
    Entry("names", _words, CHOICES),
    Entry("size", lambda text: _bounds(None, text), SIZES),
    Entry("command line", _command_line, LINES),
    Entry("completion", _completed, TYPED),
    Entry("point alone", lambda text: parse_points([text], ["x"], evaluate=_one), (*POINTS, "1", "[1,2]", "pi/4")),
    Entry("array in a file", _array_in, (ARRAY,), ARRAY),
    Entry("shape alone", lambda text: parse_points(None, ["x"], shape=[text], evaluate=_one), (*POINTS, *SHAPES)),
    Entry("spec", lambda text: load(_file("a.toml", text), "a.toml"), SPECS, (*TOML, *SEEDS)),
    Entry("project", lambda text: settings.find(_file("pyproject.toml", text).parent), PROJECT, TOML),
    Entry("results", lambda text: results.read(_file("r.jsonl", text, "latin-1")), None),
    Entry("baseline", _known, None),
)  # fmt: skip


def mutated_line(line: str, rng: random.Random) -> bytes:
    """A line of results with one to three changes: of its bytes, or of its values."""
    text = line.encode()
    for _ in range(rng.randint(1, 3)):
        match rng.randrange(6):
            case 0:
                at = rng.randrange(len(text) + 1)
                text = text[:at] + bytes([rng.randrange(256)]) + text[at + rng.randrange(2) :]
            case 1:
                at, to = sorted(rng.randrange(len(text) + 1) for _ in range(2))
                text = text[:at] + text[to:]
            case _:
                try:
                    value = json.loads(text)
                except (ValueError, RecursionError):
                    continue
                text = json.dumps(_replaced(value, rng)).encode()
    return text.replace(b"\n", b" ") + b"\n"


def _replaced(value: Any, rng: random.Random) -> Any:
    """The value with another one somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: _replaced(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], _replaced(value[at], rng), *value[at + 1 :]]
    return rng.choice(STRANGE)
