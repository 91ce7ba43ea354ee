"""Pages as text: whole, self-contained, escaped. What a browser makes of them is in test_browser.py."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from gradcheck_cli.output.html import document

HOSTILE = [
    "<script>alert(1)</script>",
    "\u202egnp.exe",
    "' onmouseover='x",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}",
    "]]>",
]


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("title", HOSTILE)
def test_a_title_stays_text(title: str) -> None:
    """Nothing that a title holds becomes an element, and what can't be seen is shown as its number."""
    parsed = _Tags(document(title, "<h1>x</h1>"))
    assert [tag for tag, _ in parsed.tags].count("script") == 1
    assert not [tag for tag, _ in parsed.tags if tag == "img"]
    assert "\u202e" not in "".join(parsed.text)


def test_a_page_holds_all_it_needs() -> None:
    """No element of a page names a thing to fetch, and its policy allows none."""
    page = document("x", "<h1>x</h1>")
    for tag, attributes in _Tags(page).tags:
        address = attributes.get("src") or attributes.get("href") or ""
        assert address == "" or address.startswith(("#", "data:")), (tag, address)
    assert not re.search(r"url\(|@import|https?://", page)
    policy = next(a["content"] for t, a in _Tags(page).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert (
        policy is not None and policy.startswith("default-src 'none'") and "'unsafe-inline'" not in policy.split("style-src")[0]
    )


def test_a_page_is_told_apart_by_its_landmarks() -> None:
    """Language, title, viewport, one main landmark that the first link leads to."""
    tags = _Tags(document("x", "<h1>x</h1>")).tags
    assert ("html", {"lang": "en"}) in tags and ("main", {"id": "main"}) in tags
    assert next(a for t, a in tags if t == "a")["href"] == "#main"
    assert [t for t, _ in tags].count("h1") == 1
