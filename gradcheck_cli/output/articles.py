"""The articles of `gradcheck why`: what happened, an example, what to do, for each verdict, cause and slip.

They are files of the package (`articles/WORD.md`), CommonMark in a few forms: a title, a comment with words that mean the
same, and the parts of PARTS, made of paragraphs, fenced code, and lists of links. The manual shows the same files. The sentence
that an article begins with isn't in its file: it is the one that reports say (`verdict.verdicts`, `verdict.slips`).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from gradcheck_cli.output.page import WIDTH, wrapped
from gradcheck_cli.verdict.slips import Slip
from gradcheck_cli.verdict.verdicts import Cause, Said, Verdict

PARTS = ("What happened", "Example", "What to do", "See also")

GROUPS: dict[str, tuple[type[Said], int]] = {
    "verdicts": (Verdict, 0),
    "causes of a mismatch": (Cause, 0),
    "slips in a backward, or in a derivation by hand": (Slip, 1),
    "rules that a backward keeps": (Slip, 2),
}
"""What a list of all words is divided into."""

NEAREST = 4
"""Words that are suggested, at most."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of an article: a paragraph, code in a language, or the items of a list."""

    kind: str
    lines: tuple[str, ...]
    language: str = ""


@dataclass(frozen=True)
class Article:
    """One word, the sentence that reports say of it, and its file."""

    word: Said
    source: str

    @property
    def also(self) -> tuple[str, ...]:
        """Words that mean the same, or lead here."""
        found = re.search(r"^<!-- also: (.*) -->$", self.source, re.MULTILINE)
        return tuple(_letters(word) for word in found[1].split(", ")) if found else ()

    @property
    def parts(self) -> dict[str, tuple[Block, ...]]:
        """The blocks under each heading."""
        _, *pieces = re.split(r"^## (.*)\n", self.source, flags=re.MULTILINE)
        return {title: tuple(_blocks(text)) for title, text in zip(pieces[::2], pieces[1::2], strict=True)}

    @property
    def example(self) -> tuple[str | None, str]:
        """The code of `example.py`, if there is any, and the command that is run."""
        blocks = self.parts["Example"]
        code = next(("\n".join(b.lines) + "\n" for b in blocks if b.language == "python"), None)
        (console,) = (b for b in blocks if b.language == "console")
        return code, console.lines[0].removeprefix("$ ")

    @property
    def markdown(self) -> str:
        """The file with the sentence under its title."""
        return self.source.replace(f"# {self.word}\n", f"# {self.word}\n\n{self.word.sentence}\n", 1).rstrip("\n")


@cache
def words() -> dict[str, Said]:
    """Every word that has an article."""
    return {str(word): word for kind in (Verdict, Cause, Slip) for word in kind}


def article(word: str) -> Article:
    """The article on a word; LookupError where there is none."""
    folder = resources.files("gradcheck_cli").joinpath("articles")
    return Article(words()[word], folder.joinpath(f"{word}.md").read_text(encoding="utf-8"))


def nearest(text: str) -> list[str]:
    """The words that were perhaps meant: by their letters, or by their meaning."""
    wanted = _letters(text)
    near = difflib.get_close_matches(wanted, words(), n=3, cutoff=0.7)
    parts = [word for word in words() if len(wanted) > 2 and wanted in word]
    meant = [word for word in words() if wanted in article(word).also]
    pieces = {piece for piece in re.split(r"\W+|_", wanted) if len(piece) > 2}
    common = {w: len(pieces & {*w.split("_"), *article(w).also}) for w in words()}
    loose = sorted((word for word in words() if common[word]), key=lambda word: -common[word])
    return list(dict.fromkeys([*near, *parts, *meant, *loose]))[:NEAREST]


def _letters(text: str) -> str:
    """A word as it is compared."""
    return re.sub(r"[\s-]+", "_", text.strip().lower())


def _blocks(text: str) -> Iterator[Block]:
    end = 0
    for fence in _FENCE.finditer(text):
        yield from _prose(text[end : fence.start()])
        yield Block("code", tuple(fence[2].rstrip("\n").split("\n")), fence[1])
        end = fence.end()
    yield from _prose(text[end:])


def _prose(text: str) -> Iterator[Block]:
    for piece in re.split(r"\n\s*\n", text.strip("\n")):
        if piece.startswith("- "):
            yield Block("list", tuple(" ".join(item.split()) for item in re.split(r"^- ", piece, flags=re.MULTILINE)[1:]))
        elif piece.strip():
            yield Block("paragraph", (" ".join(piece.split()),))


# -- written ------------------------------------------------------------------------------------------------------------


INLINE = re.compile(r"`([^`]+)`|\[([^\]]+)\]\(([^)]+)\)|\*([^*\s][^*]*)\*")
"""What stands in a paragraph besides text: code, a link, emphasis."""


def as_text(found: Article, width: int | None = None) -> str:
    """For a terminal, without a last newline; code isn't wrapped."""
    columns = width or WIDTH
    lines = [str(found.word), "", *wrapped(found.word.sentence, columns)]
    for title, blocks in found.parts.items():
        lines += ["", title]
        for block in blocks:
            lines += [] if block.kind == "list" else [""]
            match block.kind:
                case "code":
                    lines += [f"    {line}".rstrip() for line in block.lines]
                case "list":
                    lines += [f"  {_command(item)}" for item in block.lines]
                case _:
                    lines += wrapped(_plain(block.lines[0]), columns, "  ", "  ")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Without the signs of emphasis and links; code keeps its marks."""
    return INLINE.sub(lambda found: found[0] if found[1] else found[2] or found[4], text)


def _command(item: str) -> str:
    """A link as a terminal's reader follows it."""
    found = _LINK.fullmatch(item)
    if found is None:
        return _plain(item)
    name, target = found[1], found[2]
    return f"gradcheck why {name}" if target == f"{name}.md" else f"the manual: {name} ({_manual(target)})"


def _manual(target: str) -> str:
    return f"docs/{target.removeprefix('../')}"


def as_json(found: Article) -> str:
    """All parts, as they are in the file."""
    titles = {title.lower().replace(" ", "_"): [_jsonable(b) for b in blocks] for title, blocks in found.parts.items()}
    code, command = found.example
    whole = {"word": str(found.word), "kind": type(found.word).__name__.lower(), "sentence": found.word.sentence}
    return json.dumps(
        {**whole, "also": list(found.also), "command": command, "code": code, **titles}, indent=1, ensure_ascii=False
    )


def _jsonable(block: Block) -> dict[str, object]:
    return {"kind": block.kind, "language": block.language, "lines": list(block.lines)}


def listed(group: str) -> list[Said]:
    """The words of a group, in the order in which they are defined."""
    kind, part = GROUPS[group]
    border = list(Slip).index(Slip.EXPANDED_UPSTREAM)
    slips = list(Slip)
    return list(kind) if not part else list[Said](slips[:border] if part == 1 else slips[border:])


def first_sentence(word: Said) -> str:
    """What happened, without the usual cause and what to try."""
    return re.split(r"(?<=[.:])\s", word.sentence, maxsplit=1)[0].rstrip(":.") + "."


def list_as_text(width: int | None = None) -> str:
    """All words, with a sentence each."""
    columns, longest = width or WIDTH, max(map(len, words()))
    lines = []
    for group in GROUPS:
        lines += [f"{group}:", ""]
        for word in listed(group):
            lines += wrapped(first_sentence(word), columns, " " * (longest + 4), f"  {word:<{longest}}  ")
        lines.append("")
    return "\n".join([*lines, "gradcheck why WORD tells more."])


def list_as_markdown() -> str:
    """The same as lists."""
    lines = []
    for group in GROUPS:
        lines += [f"## {group[0].upper()}{group[1:]}", "", *(f"- `{w}`: {first_sentence(w)}" for w in listed(group)), ""]
    return "\n".join(lines).rstrip("\n")


def list_as_json() -> str:
    """The same as objects."""
    rows = [{"word": str(w), "group": group, "sentence": w.sentence} for group in GROUPS for w in listed(group)]
    return json.dumps(rows, indent=1, ensure_ascii=False)
