"""matplotlib's SVG as one that stands in a page: without a prologue, in the page's own ink, with words beside it, and with
names that no other picture has."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from gradcheck_cli.errors import visible
from gradcheck_cli.output.plots.style import INK, PAPER

_NAMED = re.compile(r"url\(#([^)]+)\)")
_DARK = "@media(prefers-color-scheme:dark){.gradcheck-plot{color:#d7dce2}.gradcheck-plot .paper{fill:#16191d}}"
"""Of a file: dark where the reader's screen is."""

_GONE = ("}metadata", "}title", "}style")
"""Elements of matplotlib's: what they say is said otherwise, and a style would be the whole page's."""


def finished(content: bytes, title: str, words: str, *, prefix: str, alone: bool) -> str:
    """The picture as one element. `title`, `words`: what it shows, for those who can't see it. `prefix`: of every name in it.
    `alone`: a file of its own, which brings its paper; otherwise it takes the page's colours."""
    root = ElementTree.fromstring(content)
    used = _uses(root)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(_GONE) or (not alone and _is_paper(child)):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key in list(element.attrib):
            element.attrib[key.rpartition("}")[2]] = element.attrib.pop(key)
        _renamed(element, prefix, used)
        _inked(element)
    root.attrib.pop("version", None)
    size = root.attrib.get("viewBox", "0 0 1 1").split()
    root.attrib |= {
        "xmlns": "http://www.w3.org/2000/svg", "role": "img", "class": "gradcheck-plot",
        "aria-labelledby": f"{prefix}title {prefix}words", "width": size[2], "height": size[3],
        "stroke-linejoin": "round", "stroke-linecap": "butt",
    }  # fmt: skip
    root.attrib |= {"color": INK} if alone else {"style": "max-width:100%;height:auto"}
    heads = [("title", title, f"{prefix}title"), ("desc", words, f"{prefix}words")]
    for place, (tag, text, name) in enumerate(heads):
        head = ElementTree.Element(tag, {"id": name})
        head.text = visible(text)
        root.insert(place, head)
    if alone:
        style = ElementTree.Element("style")
        style.text = _DARK
        root.insert(len(heads), style)
    return ElementTree.tostring(root, encoding="unicode")


def _uses(root: ElementTree.Element) -> set[str]:
    """The names that something refers to."""
    found: set[str] = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            found.update(_NAMED.findall(value))
            if key.endswith("href") and value.startswith("#"):
                found.add(value[1:])
    return found


def _renamed(element: ElementTree.Element, prefix: str, used: set[str]) -> None:
    """Names that are referred to, with the prefix; others go."""
    name = element.attrib.pop("id", None)
    if name in used:
        element.attrib["id"] = f"{prefix}{name}"
    for key, value in element.attrib.items():
        if key == "href" and value.startswith("#"):
            element.attrib[key] = f"#{prefix}{value[1:]}"
        elif "url(#" in value:
            element.attrib[key] = _NAMED.sub(lambda m: f"url(#{prefix}{m[1]})", value)


def _is_paper(element: ElementTree.Element) -> bool:
    """Whether it is the sheet behind everything."""
    return element.attrib.get("id") == "patch_1" and any(PAPER in e.attrib.get("style", "") for e in element)


def _inked(element: ElementTree.Element) -> None:
    """Ink and paper by the reader's scheme."""
    style = element.attrib.get("style", "")
    if INK in style:
        element.attrib["style"] = style.replace(INK, "currentColor")
    elif element.tag == "path" and style.replace(" ", "") == f"fill:{PAPER}":
        del element.attrib["style"]
        element.attrib |= {"fill": PAPER, "class": "paper"}
