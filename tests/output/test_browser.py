"""The pages in a real browser: sorting, filtering and folding by mouse and keyboard; nothing is fetched; names stay text.

Without chromium and chromedriver (Debian: apt install chromium chromium-driver) all of it is skipped; CI installs them.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import pages

webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pages aren't opened in a browser")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium with a chromedriver: pages aren't opened in a browser"
)

PHONE, DESK = 400, 1400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages, as files."""
    place = tmp_path_factory.mktemp("pages")
    for name, text in pages.pages().items():
        (place / f"{name}.html").write_text(text, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for all tests, which keeps a log of what it fetches and what goes wrong."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    except Exception as problem:  # a browser that doesn't start on this machine is none
        pytest.skip(f"chromium doesn't start: {str(problem).splitlines()[0]}")
    yield driver
    driver.quit()


def resize(browser: Any, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def shade(browser: Any, dark: bool) -> None:
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})


def show(browser: Any, page: Path) -> None:
    """A page, freshly, on a desk; what was logged before is gone."""
    resize(browser, DESK)
    shade(browser, False)
    browser.get("about:blank")
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(page.as_uri())


def cells(browser: Any, table: str, place: int) -> list[str]:
    """The texts of a column, of the rows that are shown."""
    found: list[str] = browser.execute_script(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].filter(row => !row.hidden)"
        ".map(row => row.cells[arguments[1]].textContent.trim())",
        table, place,
    )  # fmt: skip
    return found


def heading(browser: Any, table: str, title: str) -> tuple[Any, int]:
    """The button that sorts by a column, and which one that is."""
    buttons = browser.find_elements("css selector", f"#{table} thead button")
    place = next(i for i, button in enumerate(buttons) if button.get_attribute("textContent") == title)
    return buttons[place], place


def number(text: str) -> float:
    return math.inf if text in ("nan", "-", "") else float(text)


# -- sorting and filtering ----------------------------------------------------------------------------------------------


def test_a_table_is_sorted_by_mouse_and_keyboard(browser: Any, folder: Path) -> None:
    """A click on a heading sorts by number, what is none last; the space bar on it turns the order; aria-sort tells."""
    show(browser, folder / "chain.html")
    browser.execute_script("for (const fold of document.querySelectorAll('details')) fold.open = true")
    button, place = heading(browser, "table-2", "autograd")
    button.click()
    found = cells(browser, "table-2", place)
    assert len(found) == 2 * len(pages.VALUES) and [*map(number, found)] == sorted(map(number, found))
    assert found[:2] == ["-1.5", "-1.5"] and found[-2:] == ["nan", "nan"]
    head = button.find_element("xpath", "..")
    assert head.get_attribute("aria-sort") == "ascending"
    button.send_keys(" ")
    turned = cells(browser, "table-2", place)
    assert [*map(number, turned[:-2])] == sorted(map(number, found[:-2]), reverse=True)
    assert turned[-2:] == ["nan", "nan"] and head.get_attribute("aria-sort") == "descending"
    other, _ = heading(browser, "table-2", "derivative")
    other.send_keys("\n")
    assert head.get_attribute("aria-sort") == "none"
    assert cells(browser, "table-2", 0) == sorted(cells(browser, "table-2", 0))


def test_durations_are_sorted_as_numbers(browser: Any, folder: Path) -> None:
    """9 seconds are less than 10, and these less than 100.25."""
    show(browser, folder / "suite.html")
    button, place = heading(browser, "checks", "seconds")
    button.click()
    found = [*map(float, cells(browser, "checks", place))]
    assert found == sorted(found) and found[-3:] == [9.0, 10.0, 100.25]


def test_a_table_is_filtered_by_mouse_and_keyboard(browser: Any, folder: Path) -> None:
    """A box that is unticked hides the rows of its verdict, a word those that lack it; how many are left is said."""
    show(browser, folder / "chain.html")
    browser.execute_script("for (const fold of document.querySelectorAll('details')) fold.open = true")
    bar = browser.find_element("css selector", ".filter[data-of='table-2']")
    boxes = {box.get_attribute("value"): box for box in bar.find_elements("css selector", "input[type=checkbox]")}
    assert set(boxes) == {"match", "mismatch"}
    boxes["match"].click()
    _, place = heading(browser, "table-2", "verdict")
    assert cells(browser, "table-2", place) == ["✗ mismatch (nan_trap)"] * 2
    assert bar.find_element("css selector", "output").text == "2 of 20 shown"
    boxes["match"].send_keys(" ")
    bar.find_element("css selector", "input[type=search]").send_keys("X = 10")
    assert cells(browser, "table-2", 1) == ["x = 10"] * 2


def test_formulas_are_found_by_their_text(browser: Any, folder: Path) -> None:
    """A table of typeset formulas is filtered by the formula as it is typed."""
    show(browser, folder / "functions.html")
    browser.find_element("css selector", "input[type=search]").send_keys("x*sigmoid(x)")
    assert cells(browser, "functions", 0) == ["silu(x)"]


def test_a_check_is_unfolded_from_the_table(browser: Any, folder: Path) -> None:
    """Enter on a check's name goes to its report and opens it; Enter on that folds it."""
    show(browser, folder / "suite.html")
    link = browser.find_element("link text", "second")
    link.send_keys("\n")
    fold = browser.find_element("css selector", link.get_attribute("href").partition("#")[2].join(("#", "")))
    assert fold.get_attribute("open") and "both formulas" in fold.text
    fold.find_element("css selector", "summary").send_keys("\n")
    assert not fold.get_attribute("open")


# -- what holds of every page -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=("chain", "hostile", "suite", "functions"))
def page(request: pytest.FixtureRequest, browser: Any, folder: Path) -> tuple[str, Any]:
    """Each page in turn."""
    show(browser, folder / f"{request.param}.html")
    return request.param, browser


def test_nothing_is_fetched_and_nothing_goes_wrong(page: tuple[str, Any], folder: Path) -> None:
    """The page itself is the only thing that is asked for, and the console is empty."""
    name, browser = page
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith("data:")] == [(folder / f"{name}.html").as_uri()]
    assert browser.get_log("browser") == []


def test_names_stay_text(page: tuple[str, Any]) -> None:
    """What a name holds is never run, drawn or obeyed: no script but the page's, no image, no handler, no turned writing."""
    name, browser = page
    counts = {"img, iframe, object, form, base": 0, "script": 1, "style": 1}
    for what, count in counts.items():
        assert browser.execute_script("return document.querySelectorAll(arguments[0]).length", what) == count, what
    assert browser.execute_script("return window.pwned") is None
    assert browser.execute_script("return getComputedStyle(document.body).display") == "block"
    attributes = browser.execute_script("return [...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())")
    assert not [attribute for attribute in attributes if attribute.startswith("on")]
    links = browser.execute_script("return [...document.links].map(a => a.getAttribute('href'))")
    assert all(link.startswith("#") for link in links)
    text = browser.execute_script("return document.documentElement.textContent")
    assert not any(sign in text for sign in "\u202e\u202c\x1b\x00")
    if name in ("hostile", "suite"):
        assert all(text.count(sign) > 2 for sign in ("<script>window.pwned", "{{ 7*7 }}", "</style>", "onerror="))


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_a_page_is_as_wide_as_the_window(page: tuple[str, Any], width: int) -> None:
    """Nothing makes one scroll sideways, on a phone or at a desk, with all folds open; what is wide scrolls by itself."""
    _, browser = page
    resize(browser, width)
    browser.execute_script("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


CONTRAST = """
const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => [r, g, b].map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = e => {
  for (; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const poor = new Set();
for (const e of document.querySelectorAll('main *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || e.closest('.unseen')) continue;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.add(`${e.tagName}.${e.className} ${ratio.toFixed(2)}`);
}
return [...poor];
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out(page: tuple[str, Any], dark: bool) -> None:
    """The contrast of every text is at least 4.5 (WCAG AA), by day and by night."""
    _, browser = page
    shade(browser, dark)
    assert browser.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches") is dark
    assert browser.execute_script(CONTRAST) == []


ACCESSIBLE = """
const wrong = [];
let level = 0;
for (const h of document.querySelectorAll('h1, h2, h3, h4')) {
  const next = Number(h.tagName[1]);
  if (next > level + 1) wrong.push(`${h.tagName} after h${level}: ${h.textContent}`);
  level = next;
}
const named = e => e.getAttribute('aria-label') || document.getElementById(e.getAttribute('aria-labelledby'))
  || e.closest('label') || e.textContent.trim();
for (const e of document.querySelectorAll('input, button, a, summary, section, nav, [role=region], [role=group]'))
  if (!named(e)) wrong.push(`${e.tagName} has no name`);
for (const t of document.querySelectorAll('table.cards'))
  if (!t.caption || [...t.tHead.querySelectorAll('th')].some(h => h.scope !== 'col')) wrong.push('no caption or scope');
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
if (new Set(ids).size !== ids.length) wrong.push('an id that is there twice');
if (document.querySelectorAll('main').length !== 1 || document.querySelectorAll('h1').length !== 1) wrong.push('landmarks');
return wrong;
"""


def test_a_page_can_be_heard(page: tuple[str, Any]) -> None:
    """Headings without gaps, names for what can be used, captions, scopes, and a main landmark that the first stop leads to."""
    _, browser = page
    shade(browser, False)
    assert browser.execute_script(ACCESSIBLE) == []
    body = browser.find_element("css selector", "body")
    body.send_keys("\t")
    first = browser.switch_to.active_element
    assert first.text == "Skip to the content"
    assert browser.execute_script("return getComputedStyle(arguments[0]).outlineStyle", first) == "solid"


# -- in a notebook ------------------------------------------------------------------------------------------------------

_AROUND = ("display: block", "display: flex", "display: grid", "display: table-cell")
"""How notebooks lay out what a cell shows."""


@pytest.mark.parametrize("around", _AROUND)
@pytest.mark.parametrize("open_", ["", "open"])
def test_a_notebook_of_any_width_scrolls_inside_of_a_report(browser: Any, tmp_path: Path, around: str, open_: str) -> None:
    """Tables, and the folded text, have a scroll bar of their own: nothing sticks out sideways."""
    shown = pages.wide()._repr_html_().replace("<details>", f"<details {open_}>")
    held = f'<div style="width: 760px; display: flex"><div style="flex: 1; min-width: 0"><div style="{around}; min-width: 0">'
    if "table" in around:
        held = (
            '<div style="width: 760px"><div style="display: table; width: 100%; table-layout: fixed"><div style="'
            + around
            + '">'
        )
    (tmp_path / "cell.html").write_text(f"<meta charset=utf-8>{held}{shown}</div></div></div>", encoding="utf-8")
    show(browser, tmp_path / "cell.html")
    resize(browser, 800)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 800
    report = "document.querySelector('.gradcheck-report')"
    assert browser.execute_script(f"return {report}.getBoundingClientRect().width") <= 760
    inside = browser.execute_script(
        f"return [...{report}.querySelectorAll('.scroll, pre')].map(e => [e.clientWidth, e.scrollWidth, e.tagName])"
    )
    assert all(seen <= 760 for seen, _, _ in inside)
    assert any(whole > seen for seen, whole, tag in inside if tag == "DIV")
    assert not open_ or any(whole > seen for seen, whole, tag in inside if tag == "PRE")
