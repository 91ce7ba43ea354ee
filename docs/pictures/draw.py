"""Draws the pictures of the manual: python docs/pictures/draw.py writes the SVG files beside it.

Each has a ground of its own, and colours for light and for dark, so that it can be read wherever it stands.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent

STYLE = """
  .ground { fill: #f7f8fa; stroke: #c9ced6; }
  .box { fill: #ffffff; stroke: #5b6675; stroke-width: 1.5; }
  .line { stroke: #5b6675; stroke-width: 1.5; fill: none; }
  .head { fill: #5b6675; }
  text { font-family: system-ui, sans-serif; font-size: 15px; fill: #1d2430; }
  .small { font-size: 13px; fill: #47515f; }
  .code { font-family: ui-monospace, monospace; font-size: 14px; }
  .exact { fill: #0b6e4f; stroke: #0b6e4f; } text.exact { stroke: none; }
  .autograd { fill: #a33b00; stroke: #a33b00; } text.autograd { stroke: none; }
  .shadow { fill: #3d4fb8; stroke: #3d4fb8; } text.shadow { stroke: none; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #1a1f27; stroke: #3b4450; }
    .box { fill: #242b35; stroke: #9aa5b4; }
    .line { stroke: #9aa5b4; } .head { fill: #9aa5b4; }
    text { fill: #e6eaf0; } .small { fill: #b6c0cd; }
    .exact { fill: #5fd3a8; stroke: #5fd3a8; } .autograd { fill: #ff9b66; stroke: #ff9b66; }
    .shadow { fill: #9db0ff; stroke: #9db0ff; }
  }
"""


class Picture:
    """Shapes on a ground, as SVG."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> None:
        self.parts.append(f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{words}</text>')

    def box(self, x: float, y: float, width: float, height: float, *lines: str, kind: str = "") -> None:
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" class="box"/>')
        top = y + height / 2 - 10 * (len(lines) - 1) + 5
        for i, line in enumerate(lines):
            self.text(x + width / 2, top + 20 * i, line, kind if i == 0 else "small")

    def arrow(self, *points: tuple[float, float]) -> None:
        path = " ".join(f"{'M' if i == 0 else 'L'}{x},{y}" for i, (x, y) in enumerate(points))
        self.parts.append(f'<path d="{path}" class="line" marker-end="url(#head)"/>')

    def line(self, x1: float, y1: float, x2: float, y2: float) -> None:
        self.parts.append(f'<path d="M{x1},{y1} L{x2},{y2}" class="line"/>')

    def dot(self, x: float, y: float, kind: str) -> None:
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="6" class="{kind}"/>')

    def span(self, x1: float, x2: float, y: float, words: str) -> None:
        """What lies between two marks, with a word under it."""
        self.line(x1, y - 7, x1, y + 7)
        self.line(x2, y - 7, x2, y + 7)
        self.line(x1, y, x2, y)
        self.text((x1 + x2) / 2, y + 22, words, "small")

    def svg(self) -> str:
        marker = (
            '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0,0 L10,5 L0,10 z" class="head"/></marker>'
        )
        ground = f'<rect x="0.5" y="0.5" width="{self.width - 1}" height="{self.height - 1}" rx="8" class="ground"/>'
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" aria-label="{self.title}">\n<title>{self.title}</title>\n'
            f"<style>{STYLE}</style>\n<defs>{marker}</defs>\n{ground}\n{body}\n</svg>\n"
        )


def three_numbers() -> str:
    """Two number lines: a wrong formula, and rounding."""
    p = Picture(
        720, 360, "Three numbers on a line: exact, shadow and autograd. What lies between them is a wrong formula, or rounding."
    )
    for top, title, exact, shadow, autograd, spans in (
        (0, "mismatch (formula): the backward computes something else", 120, 520, 560, True),
        (175, "imprecise: the formula is right, the digits are lost", 120, 140, 560, False),
    ):
        p.text(24, top + 34, title, "", "start")
        p.arrow((24, top + 90), (696, top + 90))
        p.dot(exact, top + 90, "exact")
        p.dot(shadow, top + 90, "shadow")
        p.dot(autograd, top + 90, "autograd")
        p.text(exact, top + 72, "exact", "exact", "end" if not spans else "middle")
        p.text(shadow, top + 72, "shadow", "shadow", "start" if not spans else "end")
        p.text(autograd, top + 72, "autograd", "autograd", "start" if spans else "middle")
        if spans:
            p.span(exact, shadow, top + 120, "shadow - exact: a wrong formula")
            p.span(shadow, autograd, top + 120, "")
            p.text(autograd + 12, top + 125, "rounding", "small", "start")
        else:
            p.span(shadow, autograd, top + 120, "autograd - shadow: rounding")
    return p.svg()


def way() -> str:
    """From a function to a verdict."""
    p = Picture(720, 430, "A function is taken three ways to a verdict: exact, autograd and shadow; a quotient guards code.")
    p.box(260, 20, 200, 56, "a function, a point", "formula, code or network")
    p.box(24, 130, 200, 76, "exact", "SymPy or power series,", "in balls", kind="exact")
    p.box(260, 130, 200, 76, "autograd", "torch, as written", kind="autograd")
    p.box(496, 130, 200, 76, "shadow", "torch's operations,", "repeated in balls", kind="shadow")
    p.box(496, 256, 200, 56, "quotient", "of code: refutes only")
    p.box(260, 256, 200, 56, "judged", "what can rounding explain?")
    p.box(260, 356, 200, 54, "verdict, and its cause")
    p.arrow((260, 48), (124, 48), (124, 128))
    p.arrow((360, 76), (360, 128))
    p.arrow((460, 48), (596, 48), (596, 128))
    p.arrow((124, 206), (124, 284), (258, 284))
    p.arrow((360, 206), (360, 254))
    p.arrow((496, 190), (478, 190), (478, 240), (430, 240), (430, 254))
    p.arrow((496, 284), (462, 284))
    p.arrow((360, 312), (360, 354))
    return p.svg()


PICTURES = {"three-numbers.svg": three_numbers, "way.svg": way}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (HERE / name).write_text(draw(), encoding="utf-8")
