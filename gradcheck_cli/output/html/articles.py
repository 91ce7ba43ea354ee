"""The pages of `gradcheck why`: an article, and the list of all words."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from gradcheck_cli.output.articles import GROUPS, INLINE, Block, article, first_sentence, listed
from gradcheck_cli.output.html import document


def page(word: str) -> str:
    """An article; what it points to are commands, for a page is one file."""
    found = article(word)
    body = [_element("p", Markup("<code>gradcheck why {}</code>").format(word)), _element("h1", word)]
    body.append(_element("p", found.word.sentence))
    for title, blocks in found.parts.items():
        body += [_element("h2", title), *_blocks(blocks)]
    return document(f"gradcheck why {word}", Markup("\n").join(body))


def page_of_all() -> str:
    """All words, with a sentence each."""
    body = [_element("h1", "gradcheck why")]
    for group in GROUPS:
        body.append(_element("h2", group[0].upper() + group[1:]))
        rows = (Markup("<dt><code>{}</code></dt><dd>{}</dd>").format(w, first_sentence(w)) for w in listed(group))
        body.append(Markup("<dl>{}</dl>").format(Markup("\n").join(rows)))
    return document("gradcheck why", Markup("\n").join(body))


def _blocks(blocks: tuple[Block, ...]) -> Iterator[Markup]:
    for block in blocks:
        match block.kind:
            case "code":
                yield Markup("<pre><code>{}</code></pre>").format("\n".join(block.lines))
            case "list":
                yield Markup("<ul>{}</ul>").format(Markup("").join(_element("li", _inline(item)) for item in block.lines))
            case _:
                yield _element("p", _inline(block.lines[0]))


def _element(name: str, content: str) -> Markup:
    return Markup(f"<{name}>{{}}</{name}>").format(content)


def _inline(text: str) -> Markup:
    """Code, links and emphasis in a paragraph."""
    parts, end = [], 0
    for found in INLINE.finditer(text):
        parts.append(Markup("{}").format(text[end : found.start()]))
        if found[1]:
            parts.append(_element("code", found[1]))
        elif found[2]:
            parts.append(
                _element("code", f"gradcheck why {found[2]}") if found[3] == f"{found[2]}.md" else Markup("{}").format(found[2])
            )
        else:
            parts.append(_element("em", found[4]))
        end = found.end()
    return Markup("").join([*parts, Markup("{}").format(text[end:])])
