"""Pages in a real browser: nothing on the console, nothing fetched, readable at every width, usable by keyboard and without scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskkit.inspect.page import preview_page
from maskkit.pages.colors import ENOUGH, contrast
from tests.browser import Browser, Page
from tests.inspect.pages import shown

OPENED = """
for (const part of document.querySelectorAll('details')) part.open = true;
for (const box of document.querySelectorAll('[type=checkbox]')) box.checked = true;
"""
PAIRS = """
const drawn = e => e.localName !== 'title' && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
const ground = e => {
  for (let at = e; at; at = at.parentElement) {
    const style = getComputedStyle(at);
    if (style.backgroundImage !== 'none') return style.backgroundImage;
    if (style.backgroundColor !== 'rgba(0, 0, 0, 0)') return style.backgroundColor;
  }
};
const ink = e => e.closest('svg') ? getComputedStyle(e).fill : getComputedStyle(e).color;
const pairs = [...document.querySelectorAll('body *')].filter(drawn).map(e => JSON.stringify([ink(e), ground(e)]));
[...new Set(pairs)]
"""
"""Colours of text and of what it stands on, all that occur."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages") / "preview.html"
    path.write_text(preview_page(shown()), encoding="utf-8")
    return path


def rgb(text: str) -> list[str]:
    """The colours in a value of CSS, as ``#rrggbb``."""
    return ["#" + "".join(f"{int(part):02x}" for part in match) for match in re.findall(r"rgb\((\d+), (\d+), (\d+)\)", text)]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_it_is_readable(browser: Browser, file: Path, width: int, dark: bool):
    page = browser.open(file, width=width, dark=dark)
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("document.documentElement.clientWidth")
        pairs = page.evaluate(f"{{{PAIRS}}}")
        assert len(pairs) > 10
        for text, ground in (re.findall(r'"([^"]+)"', pair) for pair in pairs):
            assert rgb(text), text
            assert rgb(ground), ground
            assert min(contrast(rgb(text)[0], color) for color in rgb(ground)) >= ENOUGH, (text, ground)
        page.evaluate(OPENED)
    assert page.errors == []
    assert page.requests == [file.as_uri()]
    assert page.evaluate("document.title") == "Preview of 3 rows · maskkit"


@pytest.mark.parametrize("width", [360, 900, 1440])
def test_nothing_of_a_strategy_reaches_into_the_one_beside_it(browser: Browser, file: Path, width: int):
    page = browser.open(file, width=width)
    right = "getBoundingClientRect().right"
    found = page.evaluate(f"[...document.querySelectorAll('.strategy .totals')].map(e => e.{right} - e.closest('.strategy').{right})")
    assert len(found) > 1
    assert max(found) <= 1


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.tagName"))


def told(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.activeElement, '::after').content"))


def test_tokens_are_reached_and_walked_by_keyboard(browser: Browser, file: Path):
    page = browser.open(file)
    page.evaluate("document.querySelector('.row h2').tabIndex = -1; document.querySelector('.row h2').focus()")
    page.press("Tab")
    assert focused(page).startswith("token 0 ·")
    page.press("ArrowRight")
    assert focused(page).startswith("token 1 ·")
    assert "system" in told(page) or "template" in told(page)
    page.press("End")
    last = focused(page)
    page.press("ArrowRight")
    assert focused(page) == last
    page.press("ArrowUp")
    page.press("Home")
    assert focused(page).startswith("token 0 ·")
    page.press("Tab")
    assert page.evaluate("document.activeElement.closest('.strategy') === document.querySelectorAll('.strategy')[1]")
    page.press("Escape")
    assert focused(page) == "BODY"
    assert page.errors == []


def test_a_token_that_is_pointed_at_tells_about_itself(browser: Browser, file: Path):
    page = browser.open(file)
    page.evaluate("document.querySelector('.negative .token').scrollIntoView({block: 'center', behavior: 'instant'})")
    page.point_at(*page.evaluate("(box => [box.x + 3, box.y + 5])(document.querySelector('.negative .token').getClientRects()[0])"))
    content = page.evaluate("getComputedStyle(document.querySelector('.negative .token'), '::after').content")
    assert "reasoning · weight -0.4 · message 4 (assistant)" in content
    assert page.evaluate("getComputedStyle(document.querySelector('.negative .token'), '::after').position") == "fixed"


def test_it_works_without_scripts(browser: Browser, file: Path):
    page = browser.open(file, scripts=False)
    assert page.evaluate("[...document.querySelectorAll('.token')].every(token => token.tabIndex === 0)")
    page.evaluate("document.querySelector('.token').focus()")
    assert "weighs 0: it is the first token" in told(page)
    visible = "[...document.querySelectorAll('.row')].filter(row => getComputedStyle(row).display !== 'none').map(row => row.id)"
    assert page.evaluate(visible) == ["row-0", "row-1", "row-2"]
    page.evaluate("document.querySelector('#finding-control-tokens').checked = true")
    assert page.evaluate(visible) == ["row-0"]
    page.evaluate("document.querySelector('#finding').checked = true")
    page.call("Page.navigate", url=f"{file.as_uri()}#row-2")
    assert page.evaluate(visible) == ["row-2"]
    ground = "getComputedStyle(document.querySelector('#row-2 .run.same:not(.w0)')).backgroundColor"
    before = page.evaluate(ground)
    page.evaluate("document.querySelector('#differences').checked = true")
    assert page.evaluate(ground) == "rgba(0, 0, 0, 0)" != before
    assert page.errors == []


def test_data_never_acts(browser: Browser, file: Path):
    page = browser.open(file)
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert "{{ 7*7 }}" in page.evaluate("document.querySelector('.tokens').textContent")
    assert "owned" not in page.evaluate("document.title")
