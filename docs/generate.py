"""What the manual takes from the tables of the package, as Markdown: options, verdicts, causes, functions, the names of Python.

`conf.py` puts it where a page says so, with a block `{generated} NAME ARGUMENTS`. Nothing here is copied by hand.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

import gradcheck_cli
from gradcheck_cli import options
from gradcheck_cli.cli.app import app
from gradcheck_cli.language.functions import NAMES, TABLE, Function
from gradcheck_cli.output.articles import list_as_markdown
from gradcheck_cli.verdict.verdicts import Cause, Verdict

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]

ARTICLES = Path(gradcheck_cli.__file__).parent / "articles"
"""One for a verdict or a cause, NAME.md: what `gradcheck why NAME` says."""


def text(words: str) -> str:
    """Words as Markdown that reads as they stand, options and quoted names as code."""
    parts = re.split(r"(`[^`]+`|(?<![\w-])--?[a-z][\w-]*)", words)
    return "".join(_escaped(part) if i % 2 == 0 else f"`{part.strip('`')}`" for i, part in enumerate(parts))


def _escaped(words: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|#$~])", r"\\\1", words)


def cell(words: str) -> str:
    """A cell of a table that holds code; nothing where there is none."""
    return f"`{words}`".replace("|", "\\|") if words else ""


# -- commands -----------------------------------------------------------------------------------------------------------


def command_options(name: str) -> str:
    """The arguments and the options of a command, as its help has them; then its examples."""
    command = COMMANDS[name]
    lines = ["```text", f"gradcheck {name} {' '.join(_usage(command))}", "```", ""]
    lines += [f"{_prose(command.help)}", "", "```{program} gradcheck " + name, "```", ""]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            lines += [f"`{parameter.metavar}`", f": {text(parameter.help or '')}", ""]
    for parameter in command.params:
        if parameter.param_type_name == "option":
            lines += [f"````{{option}} {_forms(parameter)}", text(parameter.help or ""), "````", ""]
    examples = re.findall(r"^  (gradcheck .+)$", command.epilog or "", re.MULTILINE)
    if examples:
        lines += ["Examples:", "", "```sh", *examples, "```"]
    return "\n".join(lines)


def _usage(command: Any) -> Iterator[str]:
    yield "[OPTIONS]"
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            word = parameter.metavar.strip("[]")
            yield ("{}" if parameter.required else "[{}]").format(word) + ("..." if parameter.nargs == -1 else "")


def _forms(parameter: Any) -> str:
    """`--output FILE, -o FILE`, as Sphinx reads it."""
    value = f" {parameter.metavar}" if parameter.metavar else ""
    return ", ".join(f"{form}{value}" for form in (*parameter.opts, *parameter.secondary_opts))


def _prose(help: str) -> str:
    return "\n\n".join(text(" ".join(paragraph.split())) for paragraph in (help or "").split("\n\n"))


def common_options() -> str:
    """A table: which check takes which option."""
    rows = {}
    for row in options.OPTIONS:
        if row.typed:
            rows.setdefault(row.name, set()).update(row.checks)
    head = ["| option |" + "".join(f" {check} |" for check in options.CHECKS), "|---|" + ":-:|" * len(options.CHECKS)]
    body = [
        f"| `--{name.replace('_', '-')}` |" + "".join(" ● |" if check in checks else " |" for check in options.CHECKS)
        for name, checks in rows.items()
    ]
    return "\n".join([*head, *body])


# -- verdicts -----------------------------------------------------------------------------------------------------------


def verdicts() -> str:
    """What a report says of each verdict."""
    return _said(Verdict)


def causes() -> str:
    """What a report says of each cause."""
    return _said(Cause)


def _said(words: Any) -> str:
    found = []
    for word in words:
        article = f" [More](generated/{word.value}.md)." if (ARTICLES / f"{word.value}.md").exists() else ""
        found.append(f"`{word.value}`\n: {text(word.sentence)}{article}\n")
    return "\n".join(found)


def articles() -> dict[str, str]:
    """What `gradcheck why` has to say, a page by its name, and `index`, which lists them."""
    pages = {path.stem: path.read_text(encoding="utf-8") for path in sorted(ARTICLES.glob("*.md"))}
    listed = re.sub(r"^- `(\w+)`", r"- [\1](\1.md)", list_as_markdown(), flags=re.MULTILINE)
    about = "What each means, with an example and what to do. `gradcheck why WORD` prints the same."
    contents = "\n".join(["```{toctree}", ":hidden:", "", *sorted(pages), "```"])
    return {**pages, "index": f"# The words of a report\n\n{about}\n\n{listed.strip()}\n\n{contents}\n"}


# -- the language -------------------------------------------------------------------------------------------------------


def functions() -> str:
    """The functions of the language: those of numbers, then those of arrays."""
    rows = [TABLE[name] for name in dict.fromkeys(NAMES.values())]
    of_arrays = [row for row in rows if row.array or re.search(r": (array|vector|matrix|axis|axes)", row.signature)]
    of_numbers = [row for row in rows if row not in of_arrays]
    return "\n".join([
        "### Of numbers, entry by entry", "", *_functions(of_numbers), "", "### Of arrays", "", *_functions(of_arrays),
    ])  # fmt: skip


def _functions(rows: list[Function]) -> Iterator[str]:
    yield "| function | other names | definition | torch | domain | kinks |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        names = ", ".join(cell(alias) for alias in row.aliases)
        torch = cell(f"= {row.composed}") if row.composed else cell(f"torch.{row.torch or row.name}")
        yield f"| {_written(row)} | {names} | {cell(row.definition)} | {torch} | {cell(row.domain)} | {cell(row.kinks)} |"


def _written(row: Function) -> str:
    """`silu(x)`, `x + y`, `pi`: as a formula has it, and the name that an operator has too."""
    if row.operator:
        return f"{cell(row.template.format(*(p.name for p in row.parameters)))}, {cell(row.name)}"
    return cell(row.usage)


# -- Python -------------------------------------------------------------------------------------------------------------


def python(name: str) -> str:
    """A public name of the package: its signature and its docstring; of a check also its options."""
    thing = getattr(gradcheck_cli, name)
    if name.removeprefix("check_") in options.KINDS:
        return _twin(name, thing)
    if inspect.isfunction(thing):
        return _described("function", f"{name}{_signature(thing)}", _docstring(thing))
    body = _docstring(thing)
    if issubclass(thing, Verdict | Cause):
        body += "\n\n" + ", ".join(f"`{name}.{member.name}`" for member in thing)
        return _described("class", name, body)
    members = [f"{body}"]
    for member, value in vars(thing).items():
        if member.startswith("_"):
            continue
        if isinstance(value, property) and value.fget:
            members.append(_described("property", member, _docstring(value.fget) or "", level=4))
        elif inspect.isfunction(value):
            members.append(_described("method", f"{member}{_signature(value)}", _docstring(value) or "", level=4))
    if dataclasses.is_dataclass(thing):
        for field in dataclasses.fields(thing):
            members.append(_described("attribute", f"{field.name}: {field.type}", "", level=4))
    return _described("class", name, "\n\n".join(members), level=5)


def _twin(name: str, thing: Callable[..., Any]) -> str:
    check = name.removeprefix("check_")
    kind = options.KINDS[check]
    about, _, _ = (thing.__doc__ or "").partition(f"\n{kind.target}  ")
    lines = [_prose(about.strip()), "", f"`{kind.target}`", f": {_meaning(kind.help, kind.form)}", ""]
    for parameter, row in options.taken(check).items():
        default = f" Default: {text(row.without.replace('--', ''))}." if row.without else ""
        lines += [f"`{parameter}`", f": {_meaning(row.meaning, row.form)}{default}", ""]
    first = next(iter(inspect.signature(thing).parameters))
    return _described("function", f"{name}({first}, **options)", "\n".join(lines))


def _meaning(words: str, form: Any) -> str:
    return text(re.sub(r"--(?=[a-z])", "", words) + (f" In Python also {form.python}." if form.python else ""))


def _signature(thing: Callable[..., Any]) -> str:
    """Names and defaults, without types."""
    parameters = []
    for p in inspect.signature(thing).parameters.values():
        if p.name != "self":
            parameters.append(p.replace(annotation=inspect.Parameter.empty))
    return str(inspect.Signature(parameters)).replace("'", '"')


def _docstring(thing: Any) -> str:
    return _prose(inspect.cleandoc(thing.__doc__ or ""))


def _described(kind: str, signature: str, body: str, level: int = 4) -> str:
    ticks = "`" * level
    return f"{ticks}{{py:{kind}}} {signature}\n{body}\n{ticks}"


def python_rest() -> str:
    """Every public name that the page of Python doesn't ask for by itself."""
    page = (Path(__file__).parent / "python.md").read_text(encoding="utf-8")
    placed = {"__version__", *re.findall(r"^```{generated} python (\w+)$", page, re.MULTILINE)}
    return "\n\n".join(python(name) for name in gradcheck_cli.__all__ if name not in placed)


GENERATED: dict[str, Callable[..., str]] = {
    "options": command_options,
    "which-options": common_options,
    "verdicts": verdicts,
    "causes": causes,
    "functions": functions,
    "python": python,
    "python-rest": python_rest,
}
"""What a page may ask for, by name."""
