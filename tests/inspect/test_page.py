"""A page holds all that a preview knows, and nothing of the data acts in it."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from maskkit.inspect.page import preview_page
from maskkit.inspect.page.preview import MOST_OF_A_ROW, css_string
from maskkit.inspect.preview import Piece
from tests.inspect.pages import ROWS, WEIGHTED, shown


class Tree(HTMLParser):
    """The elements of a page: name, attributes and own text of each."""

    VOID = frozenset({"meta", "link", "input", "br", "img"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in self.VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.elements[self.open[-1]][2].append(data)

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes, _ in self.elements if name in (attributes.get("class") or "").split()]


PREVIEW = shown()
PAGE = preview_page(PREVIEW)
TREE = Tree(PAGE)


def test_every_element_is_closed_and_none_comes_from_the_data():
    assert TREE.open == []
    tags = [tag for tag, _, _ in TREE.elements]
    assert tags.count("script") == 1
    assert "img" not in tags
    names = {name for _, attributes, _ in TREE.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "srcdoc", "action")}
    assert {
        attributes["href"] for _, attributes, _ in TREE.elements if attributes.get("href") and not attributes["href"].startswith("#")
    } == {"data:,"}


def test_nothing_but_our_own_script_may_run_and_nothing_may_be_fetched():
    (policy,) = [a["content"] for _, a, _ in TREE.elements if a.get("http-equiv") == "Content-Security-Policy"]
    (script,) = ["".join(text) for tag, _, text in TREE.elements if tag == "script"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", PAGE)


def test_what_is_not_seen_is_made_visible():
    assert not re.search("[\x00\x1b\u202e\u2066\u200b]", PAGE)
    for picture in ("⟨U+202E⟩", "␛", "␀", "⟨U+200B⟩", "⇥"):
        assert f"<i>{picture}</i>" in PAGE


def test_characters_are_whole():
    joined = re.sub(r"<[^>]+>", "", html.unescape(PAGE))
    assert "日本 👨‍👩‍👧 𠮷野家" in joined
    assert "\ufffd" not in PAGE


def test_every_token_tells_what_is_known_about_it():
    tokens = TREE.of_class("token")
    pieces = [piece for row in PREVIEW.rows for piece in row.pieces]
    assert len(tokens) == len(pieces)
    assert all(token["tabindex"] == "0" and token["role"] == "option" for token in tokens)
    first: Piece = pieces[1]
    assert (tokens[1]["aria-label"] or "").startswith(f"token 1 · id {first.ids[0]} · ")
    told = {run.get("aria-label") or "" for run in TREE.of_class("run")}
    assert "reasoning · weight 0.3 · message 4 (assistant), reasoning_content · generated: yes, behind the prompt of message 4" in told
    assert any("generated: no, the generation prompt of message 4 supplies it" in about for about in told)
    assert any("weighs 0: it is the first token, which nothing predicts" in about for about in told)


def test_totals_of_every_kind_and_strategy():
    assert len(TREE.of_class("totals")) == len(PREVIEW.rows)
    for row in PREVIEW.rows[:3]:
        for total in row.kinds:
            cells = rf'{total.kind}</td><td class="number">{total.tokens}</td>\s*<td class="number">{total.trained / total.tokens:.0%}</td>'
            assert re.search(cells, PAGE)


def test_negative_weights_have_a_sign_and_a_pattern():
    negative = TREE.of_class("negative")
    assert any("reasoning" in (run["class"] or "") and run.get("data-weight") == "-0.4" for run in negative)
    assert "repeating-linear-gradient" in PAGE


def test_differences_between_strategies():
    runs = TREE.of_class("differs")
    assert {(run["class"] or "").split()[1] for run in runs} == {"reasoning", "stop", "tool_call"}
    assert 'id="differences" checked' in preview_page(PREVIEW, differences=True)
    assert 'id="differences" checked' not in PAGE
    assert 'id="differences"' not in preview_page(shown(strategies=["causal"]))


def test_rows_are_picked_and_filtered_by_finding():
    assert [row["id"] for row in TREE.of_class("row")] == ["row-0", "row-1", "row-2"]
    assert "has-control-tokens" in (TREE.of_class("row")[0]["class"] or "")
    assert 'id="finding-control-tokens"' in PAGE
    assert "body:has(#finding-control-tokens:checked) .row:not(.has-control-tokens)" in PAGE


def test_short_rows_have_their_triangle_and_some_are_packed():
    assert PAGE.count('class="triangle"') == 3  # two short rows, and both as one sequence
    assert "Rows 1, 2 in one sequence" in PAGE


def test_the_shift_is_told():
    page = preview_page(shown(ROWS[1:2], strategies=[WEIGHTED]))
    rows = re.findall(r"<tr[^>]*><td class=\"number\">(\d+)</td>(.*?)</tr>", page)
    assert [int(position) for position, _ in rows] == list(range(PREVIEW.examples()[1][0].tokens - 1))
    assert any("&lt;/think&gt;</span></td>" in cells and ">0.3</td>" in cells for _, cells in rows)


def test_a_dropped_row_says_why():
    page = preview_page(shown(max_length=4, truncation="drop"))
    assert '<b class="alarm">dropped</b>' in page
    assert Tree(page).open == []


def test_a_row_of_a_hundred_thousand_tokens_is_counted_and_not_all_drawn():
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a b c d " * 26_000}]}
    preview = shown([row], strategies=["assistant-only"])
    assert preview.rows[0].tokens > 100_000
    page = preview_page(preview)
    assert page.count('class="token"') == MOST_OF_A_ROW
    assert f"{preview.rows[0].tokens - MOST_OF_A_ROW} more tokens are counted" in page
    assert len(page) < 4_000_000


@given(st.text())
def test_a_string_of_css_means_its_text_and_no_more(text: str):
    written = css_string(text)
    body = written[1:-1]
    assert not set(body) & set("\"'\n<>{};&")
    read = re.sub(r"\\([0-9a-f]+) ", lambda match: chr(int(match[1], 16)), body)
    assert read == text


def test_one_strategy_has_no_column_heads():
    page: Any = preview_page(shown(ROWS[2:], strategies=["causal"]))
    assert "<h3" not in page
    assert "<nav" not in page
