"""Completion by the shell: `gradcheck completion bash` prints a script, which asks this program what may stand at the cursor.

Nothing of a user's is imported or executed for that: names in a file are read with `ast`, checks of a spec with a TOML parser.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradcheck_cli.cli.options import Outcome, add
from gradcheck_cli.cli.words import OF_RUN, RUN
from gradcheck_cli.errors import InputError
from gradcheck_cli.options import KINDS, NUMBERS, of, spoken
from gradcheck_cli.output import SUITE_FORMATS

if TYPE_CHECKING:
    from typer.core import TyperGroup

ASKED = "GRADCHECK_COMPLETE"
"""The variable by which a script asks: the name of its shell. COMP_LINE is the line up to the cursor."""

LONGEST = 500
"""Candidates that are shown."""

_BASH = r"""_gradcheck() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
        COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" GRADCHECK_COMPLETE=bash "$1" 2>/dev/null)
    case "${COMPREPLY[0]}" in *[/:=\(]) compopt -o nospace 2>/dev/null;; esac
}
complete -F _gradcheck gradcheck"""

_ZSH = r"""#compdef gradcheck
_gradcheck() {
    local line
    local -a whole begun
    while IFS= read -r line; do
        case "$line" in *[/:=\(]) begun+=("$line");; *) whole+=("$line");; esac
    done < <(COMP_LINE="${(j: :)words[1,CURRENT]}" GRADCHECK_COMPLETE=zsh "${words[1]}" 2>/dev/null)
    compadd -a whole
    compadd -S '' -a begun
}
compdef _gradcheck gradcheck"""

_FISH = r"""function __gradcheck_complete
    set -lx COMP_LINE (commandline -cp)
    set -lx GRADCHECK_COMPLETE fish
    command gradcheck 2>/dev/null
end
complete -c gradcheck -f -a '(__gradcheck_complete)'"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def register(app: typer.Typer) -> None:
    """Add the command to the app."""

    @add(
        app, "completion",
        """
        Print the script by which a shell completes lines.

        The Tab key then completes commands, options and their values, functions of formulas, names in files of Python, and
        checks of spec files.

        In ~/.bashrc: eval "$(gradcheck completion bash)". In ~/.zshrc, behind compinit: eval "$(gradcheck completion zsh)".
        For fish: gradcheck completion fish > ~/.config/fish/completions/gradcheck.fish.
        """,
        "completion bash", "completion zsh", "completion fish",
    )  # fmt: skip
    def completion(
        shell: Annotated[
            str | None, typer.Argument(metavar="bash|zsh|fish", help="[that of $SHELL]", show_default=False)
        ] = None,
    ) -> Outcome:
        name = Path(os.environ.get("SHELL", "")).name if shell is None else shell
        if name not in SCRIPTS:
            what = f"unknown shell {name!r}" if name else "which shell"
            raise InputError(f"{what}: choose from {', '.join(SCRIPTS)}", shell, None if shell is None else 0)
        return Outcome(SCRIPTS[name])


def answer(app: typer.Typer, environment: Mapping[str, str]) -> None:
    """Print what may stand at the cursor, for the script that asks; nothing, whatever goes wrong."""
    shell = environment[ASKED]
    line = Line.read(environment.get("COMP_LINE", ""))
    breaks = environment.get("COMP_WORDBREAKS", "") if shell == "bash" else None
    with suppress(Exception, RecursionError):
        command: Any = typer.main.get_command(app)
        last = line.words[-1]
        found = sorted({c for c in candidates(command, line.words) if c.startswith(last) and c.isprintable()})
        if shell != "zsh" and line.quote and len(found) == 1 and found[0].endswith("("):
            found.append(f"{found[0]})")  # behind a single one, the shell closes the quote
        shown = found[:LONGEST] if breaks is None else [line.for_bash(text, breaks) for text in found[:LONGEST]]
        sys.stdout.write("".join(f"{text}\n" for text in shown))
        sys.stdout.flush()


# -- the line -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """The words behind the program's name up to the cursor, unquoted; the last one is being typed. `quote`: the one that is
    open in it."""

    words: list[str]
    quote: str

    @classmethod
    def read(cls, text: str) -> Line:
        """As a shell reads it, a last quote may be open."""
        words, word, quote, begun, escaped = [], "", "", False, False
        for c in text:
            if escaped or (quote == "'" and c != "'"):
                word, escaped, begun = word + c, False, True
            elif c == "\\":
                escaped = True
            elif quote:
                word, quote = (word, "") if c == quote else (word + c, quote)
            elif c in "\"'":
                quote, begun = c, True
            elif c.isspace():
                words += [word] if begun else []
                word, begun = "", False
            else:
                word, begun = word + c, True
        return cls([*words, word][1:] or [""], quote)

    def for_bash(self, text: str, breaks: str) -> str:
        """What bash puts in the place of the last word: it begins behind an open quote, or the last sign that breaks words."""
        if self.quote:
            return text if self.quote == "'" else re.sub(r'(["$`\\])', r"\\\1", text)
        last = self.words[-1]
        start = max((last.rfind(c) + 1 for c in breaks if c in last), default=0)
        return re.sub(r"([^\w@%+=:,./\-\[\]{}~^])", r"\\\1", text[start:])


# -- what may stand there -------------------------------------------------------------------------------------------------


def candidates(app: TyperGroup, words: Sequence[str]) -> Iterator[str]:
    """Every text that may take the place of the last word, some of which don't begin as it does."""
    *before, last = words
    command = app.commands.get(before[0]) if before else None
    if before[:1] == ["help"]:
        yield from app.commands
    elif not before:
        yield from ("help", *app.commands)
        yield from _options(app) if last.startswith("-") else ()
    elif command is not None:
        name, equals, value = last.partition("=")
        if last.startswith("--") and equals:
            yield from (f"{name}={text}" for text in _values(before, name, command, value))
        elif last.startswith("-"):
            own = [*_options(command)]
            yield from own
            yield from _other_names(before[0]) if not any(option.startswith(last) for option in own) else ()
        elif before[-1].startswith("-") and "=" not in before[-1] and _option(command, before) is not None:
            yield from _values(before, before[-1], command, last)
        else:
            positional = next((p for p in command.params if p.param_type_name == "argument"), None)
            yield from _of(str(getattr(positional, "metavar", "")), before, last)


def _options(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (form for form in (*parameter.opts, *parameter.secondary_opts) if form.startswith("--"))
    yield "--help"


def _other_names(command: str) -> Iterator[str]:
    """What else people call the options: pytest's names of those of a run."""
    yield from OF_RUN if command == RUN else (f"--{name.replace('_', '-')}" for name in spoken(command))


def _option(command: Any, before: Sequence[str]) -> Any:
    """The parameter whose value comes next, if the word before is an option that takes one."""
    form = before[-1]
    rows = spoken(before[0]).get(form.removeprefix("--").replace("-", "_"), ())
    forms = {form, *(own for row in rows for own in row.forms)}
    found = next((p for p in command.params if forms & {*p.opts}), None)
    return None if found is None or getattr(found, "is_flag", False) else found


def _values(before: Sequence[str], form: str, command: Any, last: str) -> Iterator[str]:
    """Of an option."""
    parameter = _option(command, [before[0], form])
    if parameter is None:
        return
    row = next((row for row in of(before[0]) if {*row.forms} & {*parameter.opts}), None)
    if row is not None and row.choices:
        yield from _listed([*row.choices, "all"], last)
    elif parameter.name == "device":
        yield from ("cpu", "cuda", "cuda:0", "mps", "xpu")
    else:
        yield from _of(parameter.metavar or "", before, last)


def _of(metavar: str, before: Sequence[str], last: str) -> Iterable[str]:
    """What a metavar stands for."""
    plain = metavar.strip("[]{}.")
    if plain in _METAVARS:
        return _METAVARS[plain](before, last)
    return [word for word in metavar.split("|") if word.isidentifier()] if "|" in metavar else []


def _listed(names: Iterable[str], last: str) -> Iterator[str]:
    """Names that are listed with commas."""
    head = last[: last.rfind(",") + 1]
    yield from (head + name for name in names if name not in head.split(","))


# -- formulas -------------------------------------------------------------------------------------------------------------


def _functions(before: Sequence[str], last: str) -> Iterator[str]:
    """The functions, and the names that stand before, in the place of the name that is being typed."""
    from gradcheck_cli.language.functions import NAMES, RESULTS, TABLE

    typed = re.search(r"[A-Za-z_]\w*$", last)
    if typed is not None:
        head = last[: typed.start()]
        yield from (head + name + ("(" if TABLE[row].signature else "") for name, row in NAMES.items() if name.isidentifier())
        yield from (f"{head}{name}(" for name in RESULTS if name not in NAMES)
        yield from (head + name for name in _inputs(before))


def _inputs(before: Sequence[str]) -> list[str]:
    """The variables of the formulas that are there, or the parameters of the function."""
    from gradcheck_cli.language.chain import link
    from gradcheck_cli.language.functions import NAMES

    if before[0] == "function":
        from gradcheck_cli.output import sources

        return [name for word in before[1:] for name in sources.parameters(word, Path())]
    words = [w for k, w in enumerate(before[1:]) if not w.startswith("--") and not before[k].startswith("--")]
    try:
        return list(link(words).inputs)
    except InputError:
        found = [n for w in words for n in re.findall(r"[A-Za-z_]\w*(?!\w*\()", w) if n not in NAMES]
        return list(dict.fromkeys(found))


def _assigned(before: Sequence[str], last: str) -> Iterator[str]:
    """`x=`: an input that gets a value."""
    head = last[: last.rfind(",") + 1]
    given = set(re.findall(r"(\w+)=", head))
    yield from (f"{head}{name}=" for name in _inputs(before) if name not in given)


def _wrt(before: Sequence[str], last: str) -> Iterator[str]:
    head = last[: last.rfind(",") + 1]
    yield from (head + name for name in _inputs(before))


# -- files ----------------------------------------------------------------------------------------------------------------


def _files(before: Sequence[str], last: str, *suffixes: str) -> Iterator[str]:
    """Files (of these suffixes) and folders that begin so; what is hidden only where that is asked for."""
    folder, _, start = last.rpartition("/")
    place = Path(os.path.expanduser(f"{folder}/" if "/" in last else "."))
    try:
        found = sorted(place.iterdir())
    except OSError:
        return
    for path in found:
        shown = f"{folder}/{path.name}" if "/" in last else path.name
        if path.name.startswith(".") and not start.startswith("."):
            continue
        if path.is_dir():
            yield f"{shown}/"
        elif not suffixes or path.suffix in suffixes:
            yield shown


def _targets(before: Sequence[str], last: str) -> Iterator[str]:
    """FILE.py, and FILE.py:NAME where one file is meant."""
    place, colon, _ = last.partition(":")
    files = [place] if colon else [file for file in _files(before, last, ".py") if file.startswith(last)]
    if not colon:
        yield from files
    if len(files) == 1:
        networks = before[0] == "model"
        from gradcheck_cli.output import sources

        yield from (f"{files[0]}:{name}" for name in sources.names(files[0], Path(), networks=networks))


def _networks(before: Sequence[str], last: str) -> Iterator[str]:
    from gradcheck_cli.networks.layers import LAYERS

    typed = re.search(r"[A-Za-z_]\w*$", last)
    head = last[: typed.start()] if typed is not None else last
    yield from (f"{head}{name}(" for name in LAYERS) if typed is not None else ()
    yield from _targets(before, last)


def _specs(before: Sequence[str], last: str) -> Iterator[str]:
    """Spec files, and FILE::NAME."""
    file, colons, _ = last.partition("::")
    if not colons:
        yield from _files(before, last, ".toml")
        return
    from gradcheck_cli.suite.spec import load

    yield from (f"{file}::{spec.name}" for spec in load(Path(file), file))


def _formats(before: Sequence[str], last: str) -> Iterator[str]:
    name, colon, file = last.partition(":")
    yield from (f"{name}:{path}" for path in _files(before, file)) if colon else SUITE_FORMATS


def _names(before: Sequence[str], last: str) -> Iterator[str]:
    from gradcheck_cli.language.functions import NAMES

    yield from NAMES


def _words(before: Sequence[str], last: str) -> Iterator[str]:
    from gradcheck_cli.output.articles import words

    yield from words()


_METAVARS: Mapping[str, Callable[[Sequence[str], str], Iterable[str]]] = {
    KINDS["chain"].metavar: _functions, KINDS["function"].metavar: _targets, KINDS["model"].metavar: _networks,
    "PATH": _specs, "NAME": _names, "FORMULA": _functions, "FORMULA|TARGET": _functions, "NAME[:FILE": _formats,
    "DTYPE": lambda before, last: _listed(NUMBERS, last), "FILE": _files, "POINT": _assigned, "NAME=SIZES": _assigned,
    "NAME=A:B": _assigned, "NAMES": _wrt, "WORD": _words,
}  # fmt: skip
"""What stands in the help for a value -> what it may be."""
