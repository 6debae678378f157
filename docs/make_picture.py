"""Draws docs/four_strategies.svg: one conversation under the four built-in strategies.

python docs/make_picture.py
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import maskkit
from maskkit import embedded
from maskkit.palette import KIND_COLORS

ROW = {
    "messages": [
        {"role": "user", "content": "What is 12 + 9?"},
        {"role": "assistant", "reasoning_content": "12 + 9 = 21", "content": "21"},
    ]
}
STRATEGIES: tuple[tuple[str, Any, str], ...] = (
    ("causal", "causal", "every token counts"),
    ("assistant-only", "assistant-only", "what the model itself emits"),
    ("reasoning-only", "reasoning-only", "only the thinking"),
    ("weighted", {"name": "weighted", "reasoning": 0.3, "answer": 1.0}, "reasoning: 0.3, answer: 1"),
)
TARGET = Path(__file__).with_name("four_strategies.svg")
WIDTH, MARGIN, LEFT, LINE, CELL = 860, 20, 250, 30, 8.6
STYLE = """
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328; }
.name { font-weight: 600; } .note { font-size: 11.5px; fill: #59636e; } .off { fill: #818b98; }
.page { fill: #ffffff; } .edge { fill: none; stroke: #d1d9e0; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; } .note { fill: #9198a1; } .off { fill: #7d8590; } .page { fill: #0d1117; } .edge { stroke: #3d444d; }
}
"""


def cells(text: str) -> int:
    """Width of a text in character cells."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pieces(example: maskkit.Example) -> Iterator[tuple[str, str, float]]:
    """(text, kind, weight) of each token; tokens that share a character are one piece."""
    tokens, end = example.tokens, -1
    for t in range(len(tokens)):
        if tokens.char_end[t] > end:
            yield tokens.piece(t), str(tokens.kind[t]), float(example.loss_weights[t])
            end = int(tokens.char_end[t])


def panel(example: maskkit.Example, title: str, note: str, top: float) -> tuple[list[str], float]:
    """The drawing of one strategy, and where it ends."""
    out = [f'<text class="name" x="{MARGIN}" y="{top + 19}">{escape(title)}</text>']
    out += [f'<text class="note" x="{MARGIN}" y="{top + 37}">{escape(note)}</text>']
    x, y = float(LEFT), top
    for text, kind, weight in pieces(example):
        shown = text.replace("\n", "⏎").replace(" ", "\u00a0")
        width = cells(shown) * CELL + 4
        if x + width > WIDTH - MARGIN:
            x, y = float(LEFT), y + LINE
        if weight:
            opacity = 0.18 + 0.62 * min(weight, 1.0)
            box = f'x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="{LINE - 7}" rx="4"'
            out.append(f'<rect {box} fill="{KIND_COLORS[kind]}" fill-opacity="{opacity:.2f}"/>')
        else:
            out.append(f'<rect class="edge" x="{x + 0.5:.1f}" y="{y + 3.5}" width="{width - 1:.1f}" height="{LINE - 8}" rx="4"/>')
        css = "" if weight else ' class="off"'
        out.append(f'<text{css} x="{x + 2:.1f}" y="{y + 19}" textLength="{width - 4:.1f}" xml:space="preserve">{escape(shown)}</text>')
        x += width + 2
        if "\n" in text:
            x, y = float(LEFT), y + LINE
    return out, y + (LINE if x > LEFT else 0)


def legend(top: float, kinds: list[str]) -> list[str]:
    out, x = [], float(LEFT)
    for kind in kinds:
        out.append(f'<rect x="{x}" y="{top + 5}" width="12" height="12" rx="3" fill="{KIND_COLORS[kind]}" fill-opacity="0.8"/>')
        out.append(f'<text class="note" x="{x + 17}" y="{top + 15}">{kind}</text>')
        x += 26 + len(kind) * 7.6
    out.append(f'<text class="note" x="{LEFT}" y="{top + 34}">paler: smaller weight · outlined: weight 0 · ⏎: newline</text>')
    return out


def draw() -> str:
    tokenizer = embedded.tiny_tokenizer()
    body, top, seen = [], float(MARGIN), {}
    for title, spec, note in STRATEGIES:
        example = maskkit.Masker(tokenizer, strategy=spec)(ROW)
        seen |= dict.fromkeys(example.tokens.kind.tolist())
        drawn, bottom = panel(example, title, note, top)
        body += drawn
        top = bottom + 12
    body += legend(top, list(seen))
    height = top + 50
    label = "One conversation under four strategies"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{label}">'
    return "\n".join([head, f"<style>{STYLE}</style>", '<rect class="page" width="100%" height="100%" rx="8"/>', *body, "</svg>", ""])


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
    print(f"wrote {TARGET}")
