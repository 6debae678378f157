"""The pages of a run and of a comparison in a real browser: readable at every width, nothing on the console, nothing fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import maskkit
from maskkit.inspect.compare import compare
from maskkit.inspect.page.compare import compare_page
from maskkit.pages.colors import ENOUGH, contrast
from tests.browser import Browser
from tests.engine.test_report import config
from tests.inspect.test_page_in_browser import OPENED, PAIRS, rgb


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    run: maskkit.RunConfig = config(folder)
    found = compare(run, ["assistant-only", "causal"], folder / "both", progress=False)
    (folder / "comparison.html").write_text(compare_page(found, run.to_yaml()), encoding="utf-8")
    return {"report": folder / "both/runs/causal/seed-0/report.html", "comparison": folder / "comparison.html"}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("name", ["report", "comparison"])
def test_it_is_readable(browser: Browser, files: dict[str, Path], name: str, width: int, dark: bool):
    page = browser.open(files[name], width=width, dark=dark)
    page.evaluate(OPENED)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("document.documentElement.clientWidth")
    for pair in page.evaluate(f"{{{PAIRS}}}"):
        text, ground = re.findall(r'"([^"]+)"', pair)
        assert min(contrast(rgb(text)[0], color) for color in rgb(ground)) >= ENOUGH, (text, ground)
    assert page.errors == []
    assert page.requests == [files[name].as_uri()]
