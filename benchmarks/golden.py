"""Claim: what the tool says is the same before and after a change of the code, to the byte.

    python benchmarks/golden.py record BEFORE.jsonl [--workers 2] [-k WORD] [--shared DIR]
    python benchmarks/golden.py compare BEFORE.jsonl [--workers 2] [-k WORD]

`record` runs several hundred checks with the code beside this script and writes what each said. `compare`, with the code of
another commit, runs the checks that the file holds, prints every difference (id, JSON path, before, after) and a last line
with the counts; it exits with 1 where there is one. The file holds the checks' inputs too: a changed list, example or README
is no change of behaviour. -k leaves the checks whose id holds the word. Only the public surface is used: the command line,
the names that `gradcheck_cli` exports, `Report.to_dict()`.

Equal are: exit codes, stdout, stderr and every file written, byte for byte. Not compared are versions of packages, seconds,
the signs of life of a suite, the random name of the folder in which a check runs, addresses of objects, and the file and line
of the code that issued a Python warning. Compare on the machine that recorded: another processor's kernels round differently.

The checks are in golden_checks.txt, one a line, by section; the functions that they name in _golden_functions.py. To these
come the commands of README and docs/, the scripts of examples/, and, where DIR (../shared) has them, given cases and a seeded
choice of the physics formulas. A check runs in a process of its own, forked from one that has imported everything, with one
thread, a fixed seed, a clock that counts processor time, and a limit of LIMIT seconds.

Left out is what depends on how fast the machine is: --timeout that ends a run, and checks that meet a time limit of the tool
itself (attention of 4,608 entries, 40 stages that square what they get).
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import random
import re
import runpy
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LIMIT = 100.0
"""Seconds for one check; one that isn't done then is recorded as such, and the list is to be mended."""
FORMULAS = 60
"""How many of the physics formulas are chosen."""
SHOWN = 6
"""Differences of one check that are printed; the others are counted."""
WIDTH = 160

Files = dict[str, str]


class Check(NamedTuple):
    """`way` is a key of WAYS, `line` what it takes; both and `section` make the stable id."""

    section: str
    way: str
    line: str

    @property
    def id(self) -> str:
        return f"{self.section}: {self.line if len(self.line) <= 200 else self.line[:197] + '...'}"


class Said(NamedTuple):
    """What came back: the exit code ("killed" by the time limit), both streams, and the files that are new or changed."""

    code: int | str
    out: str
    err: str
    files: Files


# -- what is checked ----------------------------------------------------------------------------------------------------


def listed() -> Iterator[Check]:
    """The lines of golden_checks.txt. `== SECTION (WAY)` begins a section, `#` a comment."""
    section, way = "", ""
    for line in (HERE / "golden_checks.txt").read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"== (.+) \((\w+)\)", line):
            section, way = heading.groups()
        elif line and not line.startswith("#"):
            yield Check(section, way, line)


def documented() -> Iterator[Check]:
    """The commands of the README and the manual, as they stand there (each once), and the scripts of examples/."""
    manual = sorted(p for p in (ROOT / "docs").rglob("*.md") if not {"_build", "generated"} & {*p.parts})
    pages = [ROOT / "README.md", *manual]
    lines = (line for page in pages for line in page.read_text(encoding="utf-8").splitlines())
    for line in dict.fromkeys(line for line in lines if line.startswith("$ gradcheck ")):
        yield Check("README", "command", line.removeprefix("$ gradcheck "))
    for path in sorted((ROOT / "examples").glob("*.py")):
        yield Check("examples", "script", path.name)


def given(shared: Path) -> Iterator[Check]:
    """Each public report as a formula, in the modes that fit; then the scripts of other people's suites."""
    for case in json.loads((shared / "cases/reports.json").read_text(encoding="utf-8")):
        at = ",".join(f"{name}={value}" for name, value in case["point"].items())
        options = ("--at", at, "--dtype", case["dtype"])
        wrt = case["wrt"].split(",")
        if len(wrt) > 1:
            words = ["mixed", case["expression"], "--wrt", case["wrt"], "--mode", "grad,forward,func"]
        else:
            words = ["chain", case["expression"], "--mode", "reverse,forward"]
        yield Check(f"public reports/{case['id']}", "report", shlex.join([*words, *options]))
    for path in sorted((shared / "cases/suites").glob("*.py")):
        yield Check("suites of others", "script", f"suites/{path.name}")


def physics(shared: Path) -> Iterator[Check]:
    """A seeded choice of formulas, at seeded points of their ranges: the gradient, or a mixed second partial derivative."""
    formulas = [json.loads(line) for line in (shared / "corpora/feynman.jsonl").read_text(encoding="utf-8").splitlines()]
    for i, formula in enumerate(random.Random(0).sample(formulas, FORMULAS)):
        names = [name for name in formula["ranges"] if re.search(rf"\b{name}\b", formula["expression"])]
        ranges = {name: formula["ranges"][name] for name in names}
        domain = [word for name, (low, high, *_) in ranges.items() for word in ("--domain", f"{name}={low}:{high}")]
        asked = ["grad", formula["expression"]]
        if i % 2 and len(names) > 1:
            asked = ["mixed", formula["expression"], "--wrt", f"{names[0]},{names[-1]}"]
        yield Check("physics", "report", shlex.join([*asked, *domain, "--sample", "4", "--dtype", "float64,float32"]))


def inputs(shared: Path) -> Files:
    """The files that checks read, by the path in the folder where they run."""
    found = {"functions.py": HERE / "_golden_functions.py"}
    examples = ROOT / "examples"
    found |= {str(p.relative_to(examples)): p for p in sorted(examples.rglob("*")) if p.suffix in (".py", ".toml", ".sh")}
    for folder in ("second", "suites"):
        found |= {f"{folder}/{p.name}": p for p in sorted((shared / "cases" / folder).glob("*.py"))}
    texts = {name: path.read_text(encoding="utf-8") for name, path in found.items() if "__pycache__" not in name}
    return texts | SPECS


SPECS = {
    "specs/small.gradcheck.toml": """\
[defaults]
dtype = ["float64", "float32"]

[[check]]
name = "two stages"
chain = ["2*x", "z**2 + 2*z + 2"]
at = ["x=1", "x=2"]
claim = "x=8*x+4"

[[check]]
grad = "relu(x) - relu(-x)"
at = "x=0"
expect = "mismatch"
cause = "kink"

[[check]]
name = "a slip"
function = "../functions.py:SiLUFactor"
at = "x=[1.5,-2]"

[[check]]
name = "tail"
chain = "sigmoid(x)"
at = "x=40"
strict = true

[[check]]
name = "beyond"
mixed = "exp(exp(exp(x)))"
wrt = "x"
at = "x=10"

[[check]]
model = "Linear(3, 4) | Tanh() | Linear(4, 1)"

[[check]]
hessian = "x**2*y"
at = "x=2,y=3"

[[check]]
name = "mended"
jacobian = ["x*y", "x+y"]
at = "x=2,y=3"
expect = "mismatch"

[[check]]
name = "no such name"
function = "../functions.py:Missing"
""",
    "specs/text.gradcheck.toml": '[[check]]\nname = "a sum"\ngrad = "x + y"\nat = "x=1,y=2"\n',
    "bad/key.gradcheck.toml": '[[check]]\nchain = "x"\nat = "x=1"\nstict = true\n',
    "bad/kind.gradcheck.toml": '[[check]]\nname = "nothing"\nat = "x=1"\n',
    "bad/toml.gradcheck.toml": '[[check]\nchain = "x"\n',
    "bad/type.gradcheck.toml": '[[check]]\nchain = "x"\nsample = "many"\n',
    "bad/formula.gradcheck.toml": '[[check]]\nchain = "sinn(x)"\nat = "x=1"\n',
}  # fmt: skip
"""Spec files, right ones and wrong ones."""


# -- how a check runs ---------------------------------------------------------------------------------------------------


def _python_m(*words: str) -> None:
    sys.argv = ["gradcheck", *words]
    runpy.run_module("gradcheck_cli", run_name="__main__", alter_sys=True)


def _report(line: str) -> None:
    _python_m(*shlex.split(line), "--format", "json")


def _command(line: str) -> None:
    _python_m(*shlex.split(line))


def _process(line: str) -> None:
    """A fresh interpreter: what is imported when counts too."""
    os.execv(sys.executable, [sys.executable, "-m", "gradcheck_cli", *shlex.split(line)])


def _script(line: str) -> None:
    sys.argv = [line]
    runpy.run_path(line, run_name="__main__")


def _python(line: str) -> None:
    """An expression: a Report as JSON, anything else as Python prints it, an exception by name and text."""
    import functions
    import torch

    import gradcheck_cli

    names = {name: getattr(gradcheck_cli, name) for name in gradcheck_cli.__all__}
    names |= {
        "gradcheck_cli": gradcheck_cli,
        "torch": torch,
        "nn": torch.nn,
        "F": torch.nn.functional,
        "f": functions,
        "tensor": torch.tensor,
    }
    names |= {"double": lambda *values: torch.tensor(values, dtype=torch.float64, requires_grad=True)}
    try:
        found = eval(line, names)
    except Exception as problem:
        print(f"{type(problem).__name__}: {problem}")
    else:
        report = isinstance(found, gradcheck_cli.Report)
        print(json.dumps(found.to_dict(), indent=1, ensure_ascii=False) if report else found)


WAYS: dict[str, Callable[[str], None]] = {
    "report": _report,  # a command line, with --format json
    "command": _command,  # a command line
    "process": _process,  # a command line in a fresh interpreter
    "python": _python,  # a Python expression
    "script": _script,  # a file
}


def _warm() -> None:
    """Import and set up whatever a check may need, once."""
    import torch
    import torch.func

    torch.set_num_threads(1)
    from gradcheck_cli import check_chain, check_function, check_mixed, check_model, gradcheck

    assert Path(sys.modules["gradcheck_cli"].__file__ or "").is_relative_to(ROOT), "another gradcheck_cli is in the way"
    check_chain("sin(x)/x", at={"x": 1.0}, mode="all")
    check_mixed("besselj(0, x)*y", "x,y", at={"x": 1.0, "y": 2.0}, dtype="float32")
    check_function(lambda x: torch.sin(x).sum(), at={"x": [1.0, 2.0]})
    check_model("Linear(2, 2) | Tanh")
    gradcheck(torch.sin, torch.ones(2, dtype=torch.float64, requires_grad=True))


def _child(check: Check, folder: Path) -> NoReturn:
    """The forked process: streams to files, the folder is the current one."""
    code = 70
    try:
        for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, "out", os.O_WRONLY), (2, "err", os.O_WRONLY)):
            path = name if number == 0 else str(folder.with_suffix(f".{name}"))
            os.dup2(os.open(path, flags | (os.O_CREAT if number else 0), 0o600), number)
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        warnings.formatwarning = lambda message, category, *_, **__: f"{category.__name__}: {message}\n"
        import numpy
        import torch

        time.monotonic = time.process_time  # the tool's limits of seconds, so that a busy machine gives the same answers
        torch.manual_seed(0)
        numpy.random.seed(0)
        random.seed(0)
        WAYS[check.way](check.line)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as problem:
        print("".join(traceback.format_exception_only(problem)), end="", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def run(checks: Sequence[Check], files: Files, workers: int) -> Iterator[tuple[Check, Said, float]]:
    """Every check, in a folder of its own that holds `files`, as it ends; with the seconds of processor time it took."""
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    os.environ |= {"PYTHONDONTWRITEBYTECODE": "1", "GRADCHECK_KEY": "golden"}
    sys.path.insert(0, str(ROOT))
    sys.dont_write_bytecode = True
    _warm()
    waiting, running = list(reversed(checks)), dict[int, tuple[Check, Path, float]]()
    with tempfile.TemporaryDirectory(prefix="golden-") as base:
        while waiting or running:
            while waiting and len(running) < workers:
                check, folder = waiting.pop(), Path(base, f"{len(waiting):04}")
                for name, text in files.items():
                    path = folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text, encoding="utf-8")
                sys.stdout.flush()
                if (child := os.fork()) == 0:
                    os.setsid()
                    _child(check, folder)
                running[child] = check, folder, time.monotonic()
            child, status, used = os.wait4(-1, os.WNOHANG)
            if child == 0:
                for late in (c for c, (*_, start) in running.items() if time.monotonic() - start > LIMIT):
                    os.killpg(late, signal.SIGKILL)
                time.sleep(0.005)
                continue
            check, folder, _ = running.pop(child)
            yield check, _said(status, folder, files), used.ru_utime + used.ru_stime
            shutil.rmtree(folder)


def _said(status: int, folder: Path, files: Files) -> Said:
    code = os.waitstatus_to_exitcode(status)
    found = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file() and "__pycache__" not in p.parts}
    texts = {name: path.read_text(encoding="utf-8", errors="replace") for name, path in found.items()}
    new = {name: _plain(text, folder) for name, text in texts.items() if files.get(name) != text}
    out, err = (folder.with_suffix(f".{name}").read_text(encoding="utf-8", errors="replace") for name in ("out", "err"))
    return Said("killed" if code == -signal.SIGKILL else code, _plain(out, folder), _plain(err, folder), new)


NOT_COMPARED = (
    (re.compile(r'("versions": )\{[^{}]*\}'), r"\1{}"),
    (re.compile(r'("seconds": |time=")[0-9.e-]+'), r"\g<1>0"),
    (re.compile(r',\s*"seal": ("[0-9a-f]*"|null)'), ""),
    (re.compile(r"( in )[0-9.]+( s$)", re.MULTILINE), r"\g<1>0\2"),
    (re.compile(r"^\[\d+/\d+\]\n", re.MULTILINE), ""),
    (re.compile(r"\b0x[0-9a-f]{8,}"), "0x0"),
    (re.compile(r"^\S+\.py:\d+: (\w+Warning: .*\n)(?:  .*\n)?", re.MULTILINE), r"\1"),
)
"""Versions, seconds, seals, signs of life (one every ten seconds), addresses, and where a warning was issued."""


def _plain(text: str, folder: Path) -> str:
    """The text without what isn't compared."""
    text = text.replace(str(folder), "FOLDER")
    for pattern, replacement in NOT_COMPARED:
        text = pattern.sub(replacement, text)
    return text


# -- comparison ---------------------------------------------------------------------------------------------------------

Difference = tuple[str, Any, Any]


def differences(before: Said, after: Said) -> Iterator[Difference]:
    """Path, before, after."""
    if before.code != after.code:
        yield "exit code", before.code, after.code
    streams = [("", before.out, after.out), ("stderr", before.err, after.err)]
    names = dict.fromkeys([*before.files, *after.files])
    for name, old, new in [*streams, *((name, before.files.get(name), after.files.get(name)) for name in names)]:
        if old != new:
            yield from _between(name, old, new)


def _between(name: str, old: str | None, new: str | None) -> Iterator[Difference]:
    """Of two texts: by JSON path where both are JSON, else by line."""
    if old is None or new is None:
        yield name, None if old is None else "written", None if new is None else "written"
        return
    try:
        trees = [json.loads(old), json.loads(new)]
    except ValueError:
        a, b = old.splitlines(), new.splitlines()
        for tag, i, j, k, m in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
            if tag != "equal":
                yield f"{name} line {i + 1}".strip(), "\n".join(a[i:j]), "\n".join(b[k:m])
        return
    found = list(_paths(name, *trees))
    yield from found or [(f"{name} (the same JSON, written differently)".strip(), len(old), len(new))]


def _paths(path: str, old: Any, new: Any) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        if list(old) != list(new):
            yield f"{path} keys".strip(), ", ".join(old), ", ".join(new)
        for key in old.keys() & new.keys():
            yield from _paths(f"{path}.{key}".lstrip("."), old[key], new[key])
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{path} length", len(old), len(new)
        for i, (a, b) in enumerate(zip_longest(old[: len(new)], new[: len(old)])):
            yield from _paths(f"{path}[{i}]", a, b)
    elif json.dumps(old) != json.dumps(new):
        yield path, old, new


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text = text.replace("\n", "\\n")
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}..."


# -- what was found -----------------------------------------------------------------------------------------------------

KINDS = {"function": "functions", "model": "networks"}


def census(said: Said) -> Counter[tuple[str, str, str]]:
    """How often which verdict with which cause was given, and to what: formulas, functions, networks."""
    try:
        report = json.loads(said.out)
        checks = report["checks"]
    except (ValueError, KeyError, TypeError):
        return Counter()
    kind = KINDS.get(report["command"], "formulas")
    return Counter((check["verdict"], check["cause"] or "", kind) for check in checks)


def table(found: Counter[tuple[str, str, str]], holding: Counter[tuple[str, str, str]]) -> str:
    kinds = ("formulas", "functions", "networks")
    rows = [f"{'entries (in checks)':32}" + "".join(f"{kind:>18}" for kind in kinds)]
    for verdict, cause in sorted({(v, c) for v, c, _ in found}):
        numbers = (f"{found[verdict, cause, k]:,} ({holding[verdict, cause, k]:,})" for k in kinds)
        rows.append(f"{verdict + (f' ({cause})' if cause else ''):32}" + "".join(f"{n:>18}" for n in numbers))
    return "\n".join(rows)


def record(path: Path, workers: int, word: str, shared: Path) -> int:
    """Run the checks whose id holds the word, and write the file."""
    checks = [*listed(), *documented()]
    if shared.is_dir():
        checks += [*given(shared), *physics(shared)]
    else:
        checks = [c for c in checks if "second/" not in c.line]
        print(f"{shared} is not here: the given cases and the physics formulas are left out")
    checks = [check for check in checks if word in check.id]
    doubled = [id for id, n in Counter(check.id for check in checks).items() if n > 1]
    assert not doubled, f"twice in the list: {doubled}"
    files, start, seconds = inputs(shared), time.monotonic(), Counter[str]()
    found, holding, said = Counter[tuple[str, str, str]](), Counter[tuple[str, str, str]](), dict[Check, Said]()
    for check, answer, used in run(checks, files, workers):
        said[check], seconds[check.id] = answer, used
        found += census(answer)
        holding.update(set(census(answer)))
        if answer.code == "killed":
            print(f"not done within {LIMIT:.0f} s: {check.id}")
        if len(said) % 100 == 0:
            print(f"  {len(said)} of {len(checks)}", flush=True)
    lines = [{"files": files}, *({"id": c.id, "asked": c._asdict(), "said": said[c]._asdict()} for c in checks)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=True) + "\n" for line in lines), encoding="utf-8")
    print(table(found, holding))
    print("slowest:", ", ".join(f"{s:.1f} s {name[:60]}" for name, s in seconds.most_common(8)))
    sections = Counter(check.section.partition("/")[0] for check in checks)
    print("checks:", ", ".join(f"{name} {count}" for name, count in sections.items()))
    print("exit codes:", dict(Counter(str(answer.code) for answer in said.values()).most_common()))
    print(f"{len(checks)} checks in {time.monotonic() - start:.0f} s: {path}")
    return 0


def compare(path: Path, workers: int, word: str) -> int:
    """Run the checks of the file whose id holds the word, and print what differs."""
    with path.open(encoding="utf-8") as lines:
        files = json.loads(next(lines))["files"]
        recorded = {Check(**r["asked"]): Said(**r["said"]) for r in map(json.loads, lines)}
    checks = [check for check in recorded if word in check.id]
    start, differing, total = time.monotonic(), 0, 0
    for check, after, _ in run(checks, files, workers):
        found = list(differences(recorded[check], after))
        differing, total = differing + bool(found), total + len(found)
        for where, old, new in found[:SHOWN]:
            print(f"{check.id}\n  {where}\n    before: {_short(old)}\n    after:  {_short(new)}", flush=True)
        if len(found) > SHOWN:
            print(f"  and {len(found) - SHOWN} more in this check")
    print(
        f"{len(checks)} checks compared in {time.monotonic() - start:.0f} s: {len(checks) - differing} equal, "
        f"{differing} differ ({total} differences)"
    )
    return 1 if differing or not checks else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("record", "write what every check says"), ("compare", "tell what has changed since")):
        command = commands.add_parser(name, help=what)
        command.add_argument("file", type=Path)
        command.add_argument("--workers", type=int, default=2)
        command.add_argument("-k", dest="word", default="", metavar="WORD", help="only checks whose id holds this")
    commands.choices["record"].add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    asked = parser.parse_args()
    if asked.command == "record":
        return record(asked.file, asked.workers, asked.word, asked.shared)
    return compare(asked.file, asked.workers, asked.word)


if __name__ == "__main__":
    sys.exit(main())
