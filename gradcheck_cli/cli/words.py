"""A command line as people write it, and as the app takes it: other names of options, pytest's, a formula without a command.

What can't be doubted is taken; the rest is answered with the command line that is meant.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

from gradcheck_cli.errors import InputError
from gradcheck_cli.files import is_file, is_folder
from gradcheck_cli.options import CODE, ELSEWHERE, FORMULAS, KINDS, OPTIONS, Option, of, spoken
from gradcheck_cli.output import FORMATS, SUITE_FORMATS

RUN = "run"

OF_RUN = {
    "--exitfirst": "--fail-fast", "--failfast": "--fail-fast", "--lf": "--last-failed", "--failed": "--last-failed",
    "--collect-only": "--list", "--co": "--list", "--numprocesses": "--workers", "--jobs": "--workers", "-j": "--workers",
    "--junit": "--format=junit:", "--junitxml": "--format=junit:", "--junit-xml": "--format=junit:",
    **{f"--{name}": f"--format={name}" for name in SUITE_FORMATS if name not in ("junit", "text")},
    "--silent": "--quiet", "--keyword": "-k", "--filter": "-k",
}  # fmt: skip
"""Pytest's names (and those of its plugins) for options of `run`. What ends with a colon goes on with the value."""

OF_OTHERS = {
    ("-s", "--capture"): "what a check prints isn't shown here; the command of one check alone shows it",
    ("-m", "--markers"): "checks have no markers: -k chooses by file and name",
    ("--deselect", "--ignore"): "write -k 'not NAME', which leaves out what is called so",
    ("--ff", "--failed-first", "--nf", "--new-first"): "checks run side by side; --last-failed runs only what didn't pass",
    ("--sw", "--stepwise"): "write -x, which stops at the first failure, and then --last-failed",
    ("--tb", "-l", "--showlocals", "--full-trace"): "there are no tracebacks: --verbose shows every report in full",
    ("-r", "--verbosity", "-ra", "-rA", "-rf", "-rs", "-rx"): "what didn't pass is shown; --verbose shows every report in full",
    ("-p", "-c", "--rootdir", "--confcutdir"): "there are no plugins and no other settings than [tool.gradcheck]",
    ("--pdb", "--trace"): "checks run in processes of their own; the command of one check alone runs in yours",
    ("--dist", "--tx"): "write --backend, and -n for the number of checks at a time",
    ("--cache-clear", "--cache-show"): "what a run leaves is .gradcheck/last.jsonl, which may be deleted",
    ("--cov", "--cov-report"): "the coverage of code is another tool's",
}  # fmt: skip
"""Pytest's options that a run hasn't, and what there is to do instead."""

OF_APP = {"version": "--version", "-v": "--version", "-?": "--help", "-help": "--help", "-version": "--version"}
"""What people write in the place of a command."""


def meant(arguments: Sequence[str], commands: Collection[str]) -> list[str]:
    """The command line that is meant, in the words of the app. InputError that says it, where that isn't beyond doubt."""
    if not arguments:
        return ["--help"]
    first, *rest = arguments
    if first == "help":
        return [*rest[:1], "--help"]
    if first in OF_APP:
        return [OF_APP[first], *rest]
    if first in commands and rest == ["help"]:
        return [first, "--help"]
    if first in commands:
        _fitting(first, rest)
        return [first, *_renamed(first, rest)]
    if not _is_command(first):
        raise InputError(f"the command is missing; {_with_command(arguments)}")
    if not first.startswith("-") and not difflib.get_close_matches(first.lower(), commands, n=1):
        raise InputError(f"no such command: there is {', '.join(commands)}; {_with_command(arguments)}", first, 0)
    return list(arguments)


# -- options ------------------------------------------------------------------------------------------------------------


def _renamed(command: str, arguments: Sequence[str]) -> Iterator[str]:
    """The arguments with the table's names of options; what stands behind `--` is left."""
    _together(command, arguments)
    left = _given(command, arguments)
    known = spoken(command)
    bare = _bare(command)
    for argument in left:
        if argument == "--":
            yield from (argument, *left)
            return
        name, equals, value = argument.partition("=")
        word = name.removeprefix("--").replace("-", "_") if re.fullmatch(r"--[A-Za-z][\w-]*", name) else ""
        if command == RUN:
            yield from _of_run(argument, name, equals, value, left)
        elif word in known and not _is_own(name, known[word]):
            yield from _as(known[word], argument, equals, value, left)
        elif word in bare and not equals:
            yield from (bare[word].forms[0], word.replace("_", "-"))
        elif word in ELSEWHERE and word not in known:
            raise InputError(f"no such option: {ELSEWHERE[word]}", argument, 0)
        elif word and word not in known and command in KINDS and (others := _of_others(command, name)):
            raise InputError(f"no such option: {name} is one of {', '.join(others)}", argument, 0)
        else:
            yield argument


def _given(command: str, arguments: Sequence[str]) -> Iterator[str]:
    """The arguments, those that may stand without a value with the one that is meant then."""
    lone = {form: row.lone for row in (of(command) if command in KINDS else ()) if row.lone for form in row.forms}
    for argument, following in pairwise([*arguments, "-"]):
        yield f"{argument}={lone[argument]}" if argument in lone and following.startswith("-") else argument


_LAYER = re.compile(r"\s*(?:torch\.)?(?:nn\.)?([A-Z]\w*)\s*(?:\(|\||$)")

_PLACES = ("--at", "--point", "--shape", "--domain")
_VALUE = re.compile(r"[A-Za-z_]\w*=[-+\d.eE*/()\[\],:]+(pi)?")


def _together(command: str, arguments: Sequence[str]) -> None:
    """InputError where blanks divide what is one word: `--at x=1 y=2`, `FILE.py NAME`."""
    for option, value, more in zip(arguments, arguments[1:], arguments[2:], strict=False):
        if option in _PLACES and _VALUE.fullmatch(value) and _VALUE.fullmatch(more):
            raise InputError(
                f"several values stand in one word: {option} {quoted(f'{value},{more}')}", f"{value} {more}", len(value)
            )
    for file, name in pairwise(arguments):
        if command in CODE and file.endswith(".py") and not file.startswith("-") and name.isidentifier():
            raise InputError(f"a target is one word: {file}:{name}", f"{file} {name}", len(file))


def _is_own(name: str, rows: Sequence[Option]) -> bool:
    return any(name in form.split("/") for row in rows for form in row.forms)


def _as(rows: Sequence[Option], argument: str, equals: str, value: str, left: Iterator[str]) -> Iterator[str]:
    """The options that another name stands for, each with the value."""
    rows = [row for row in rows if row.typed]
    if not rows:
        yield argument
        return
    if rows[0].form.word is bool:
        yield rows[0].forms[0].partition("/")[0] + equals + value
        return
    if not equals:
        found = next(left, None)
        if found is None:
            yield rows[0].forms[0]
            return
        value = found
    yield from (f"{row.forms[0]}={value}" for row in rows)


def _of_others(command: str, name: str) -> list[str]:
    """The checks that have an option of this spelling, where this one has none."""
    kinds = [kind for row in OPTIONS if any(name in form.split("/") for form in row.forms) for kind in row.checks]
    return [] if command in kinds else list(dict.fromkeys(kinds))


def _bare(command: str) -> dict[str, Option]:
    """The options whose values are options by themselves, by these."""
    found: dict[str, Option] = {}
    for row in of(command):
        if row.bare:
            found |= dict.fromkeys(row.known or FORMATS, row)
    return found


def _of_run(argument: str, name: str, equals: str, value: str, left: Iterator[str]) -> Iterator[str]:
    name = name.replace("_", "-") if name.startswith("--") else name
    other = OF_RUN.get(name)
    said = next((said for names, said in OF_OTHERS.items() if name in names), None)
    if said is not None:
        raise InputError(f"no such option: {said}", argument, 0)
    if name == "--maxfail":
        number = value if equals else next(left, "")
        if number != "1":
            raise InputError("a run stops at the first failure (--fail-fast, -x) or goes on to its end", f"{name}={number}", 0)
        yield "--fail-fast"
    elif other is None:
        yield name + equals + value
    elif other.endswith(":"):
        yield other + (value if equals else next(left, ""))
    else:
        yield other + equals + value


def _fitting(command: str, arguments: Sequence[str]) -> None:
    """InputError where what is to be checked is plainly for another command: code, a network, a spec file."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if argument.startswith("-") or (before.startswith("-") and "=" not in before):
            continue
        if argument.endswith(".toml") and command in KINDS:
            raise InputError(f"checks of a spec file: gradcheck run {quoted(argument)}", argument, 0)
        if command in (*FORMULAS, RUN) and re.fullmatch(r"[^\s()|*+]+\.py(::?[\w.]+)?", argument):
            raise InputError(f"code is checked by: gradcheck function {quoted(argument)}", argument, 0)
        if command in (*FORMULAS, "function") and _is_network(argument, beside_functions=False):
            raise InputError(f"a network is checked by: gradcheck model {quoted(argument)}", argument, 0)


# -- no command ---------------------------------------------------------------------------------------------------------


def _is_command(word: str) -> bool:
    """Whether a word may be meant as a command, or as an option of the app; else it is what is to be checked."""
    if re.fullmatch(r"--[A-Za-z][\w-]*(=.*)?", word, re.DOTALL):
        return not _option_of_checks(word)
    if word.startswith("-"):
        return not re.search(r"[\w)][-+*/(]|^-\w*[^\w-]", word)
    return bool(re.fullmatch(r"[A-Za-z][\w-]*", word)) and not is_file(f"{word}.py") and not is_folder(word)


def _option_of_checks(word: str) -> bool:
    return word.startswith("--") and any(_name(word) in row.called_too for row in OPTIONS)


def _name(option: str) -> str:
    return option.partition("=")[0].removeprefix("--").replace("-", "_")


def _with_command(arguments: Sequence[str]) -> str:
    """What to say of a command line that lacks its command: the whole line, with it."""
    target, names = "", set()
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if argument.startswith("--"):
            names.add(_name(argument))
        elif not target and not (before.startswith("--") and "=" not in before):
            target = argument
    kind = _kind(target, names)
    return f"to {_PURPOSES[kind]}: gradcheck {' '.join(map(quoted, [kind, *arguments]))}"


_PURPOSES = {
    RUN: "run the checks of spec files",
    **{
        kind.name: kind.sentence.partition(",")[0].partition(":")[0].rstrip(".").replace("Check", "check", 1)
        for kind in KINDS.values()
    },
}


def _kind(target: str, options: Collection[str]) -> str:
    """The command that fits what is to be checked and the options."""
    if target.endswith(".toml") or "::" in target or is_folder(target):
        return RUN
    if _is_network(target):
        return "model"
    code = re.fullmatch(r"[^()|\s]+\.py(:[\w.]+)?|[A-Za-z_][\w.]*:[\w.]+", target) or is_file(f"{target}.py")
    kinds = [kind for kind in KINDS if (kind in ("function", "model")) == bool(code)]
    return next((kind for kind in kinds if all(name in spoken(kind) for name in options)), kinds[0])


def _is_network(text: str, *, beside_functions: bool = True) -> bool:
    """Whether a text begins with a layer; a name that is a function's too only `beside_functions`."""
    layer = _LAYER.match(text)
    if layer is None:
        return False
    from gradcheck_cli.language.functions import NAMES
    from gradcheck_cli.networks.layers import LAYERS

    return layer[1] in LAYERS and (beside_functions or layer[1] not in NAMES)


def quoted(argument: str) -> str:
    """The argument as it is typed in a shell: in double quotes, where they do, as people write them."""
    if re.fullmatch(r"[\w@%+=:,./-]+", argument):
        return argument
    return shlex.quote(argument) if re.search(r'["$`\\!]', argument) else f'"{argument}"'
