"""The manual: Sphinx reads this. `make docs` builds it into docs/_build/html; a warning is an error there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from pygments.lexers.shell import BashSessionLexer
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generate  # noqa: E402

from gradcheck_cli import __version__  # noqa: E402

project = "gradcheck"
author = "the authors of gradcheck"
copyright = "the authors of gradcheck"
release = version = __version__

extensions = ["myst_parser", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"gradcheck {release}"
html_static_path = ["_static"]
html_css_files = ["manual.css"]
html_show_sphinx = False
html_copy_source = False
python_display_short_literal_types = True
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
highlight_language = "text"
smartquotes = False  # {"x": 1} is code


class Transcript(BashSessionLexer):
    """A transcript as this manual writes it: what begins with `$ ` is a command, and nothing else (no `#`)."""

    _ps1rgx = re.compile(r"^(\$ )(.*\n?)")


class Generated(SphinxDirective):
    """A block `{generated} NAME ARGUMENTS`: what stands in it is for readers of the file alone."""

    required_arguments = 1
    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        name, *arguments = " ".join(self.arguments).split()
        return self.parse_text_to_nodes(generate.GENERATED[name](*arguments), allow_section_headings=True)


INCLUDED = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Files outside of docs/ that are pages of the manual too: what they are called there."""


def write_articles(app: Sphinx) -> None:
    """A page for each article that `gradcheck why` has, and one that lists them."""
    for name, article in generate.articles().items():
        page = HERE / "generated" / f"{name}.md"
        page.parent.mkdir(exist_ok=True)
        if not page.exists() or page.read_text(encoding="utf-8") != article:
            page.write_text(article, encoding="utf-8")


def within(app: Sphinx, page: str, source: list[str]) -> None:
    """Links to files that are included lead to their pages. Pages that the index doesn't list stand at its end."""
    if page == "index":
        listed = set(re.findall(r"^[\w/-]+$", source[0], re.MULTILINE))
        others = sorted(name for name in app.env.found_docs - listed - {page} if not name.startswith("generated/"))
        source[0] += "\n".join(["\n```{toctree}", ":caption: More", ":hidden:", "", *others, "```\n"]) if others else ""
    depth = page.count("/")
    for file, name in INCLUDED.items():
        source[0] = source[0].replace(f"]({'../' * (depth + 1)}{file}", f"]({'../' * depth}{name}")


def within_included(app: Sphinx, path: Path, page: str, source: list[str]) -> None:
    """The same of links in a file that is included, which stands above docs/."""
    for file, name in INCLUDED.items():
        source[0] = re.sub(rf"\]\((?:\.\./)*{re.escape(file)}", f"]({name}", source[0])
    source[0] = source[0].replace("](docs/", "](")


SHORT = 24
"""Characters of code within a line that are not broken into two."""


def keep_together(app: Sphinx, tree: nodes.document) -> None:
    """Mark what is short: `--strict` stays on one line."""
    for code in tree.findall(nodes.literal):
        if len(code.astext()) <= SHORT:
            code["classes"].append("short")


def setup(app: Sphinx) -> None:
    app.add_lexer("console", Transcript)
    app.add_lexer("layers", TextLexer)
    app.add_directive("generated", Generated)
    app.connect("builder-inited", write_articles)
    app.connect("source-read", within)
    app.connect("include-read", within_included)
    app.connect("doctree-read", keep_together)
