"""Draws docs/preview_page.png: the page of ``maskkit preview --html``, with a token pointed at. Needs Chromium.

python -m docs.make_page_picture
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import maskkit
from maskkit import embedded
from maskkit.inspect.page import preview_page
from maskkit.records import to_record
from tests.browser import Browser

ROWS = [
    {
        "messages": [
            {"role": "user", "content": "What is 12 + 9?"},
            {"role": "assistant", "reasoning_content": "12 + 9 = 21", "content": "It makes 21. 🎉"},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "What time is it?"},
            {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "clock", "arguments": {}}}]},
            {"role": "tool", "content": "5:30"},
            {"role": "assistant", "reasoning_content": "5:30 is half past five.", "content": "Half past five."},
        ]
    },
]
STRATEGIES = ["assistant-only", {"name": "weighted", "reasoning": 0.3, "tool_call": 0.6}]
TARGET = Path(__file__).with_name("preview_page.png")
WIDTH, HEIGHT = 1180, 720


def page() -> str:
    """The page that is drawn."""
    rows = [to_record(row, source=f"chat.jsonl:{number}") for number, row in enumerate(ROWS, 1)]
    return preview_page(maskkit.preview(rows, embedded.tiny_tokenizer(), strategies=STRATEGIES, tokenizer_name="tiny"))


def draw(target: Path) -> list[str]:
    """Write the picture; returns what the browser's console said."""
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        file = Path(folder) / "page.html"
        file.write_text(page(), encoding="utf-8")
        opened = browser.open(file, width=WIDTH, height=HEIGHT)
        opened.evaluate("document.getElementById('figures').checked = true")
        token = "document.querySelectorAll('.strategy')[1].querySelectorAll('.run.reasoning .token')[4]"
        opened.point_at(*opened.evaluate(f"(box => [box.x + 4, box.y + 8])({token}.getBoundingClientRect())"))
        opened.screenshot(target, whole=False)
        return opened.errors


if __name__ == "__main__":
    print(draw(TARGET) or f"wrote {TARGET}")
