"""Rows for tests of pages: every kind, hostile text, several scripts."""

from __future__ import annotations

from typing import Any

import maskkit
from maskkit import embedded
from maskkit.inspect.preview import Preview

HOSTILE = (
    "<script>document.title='owned'</script> {{ 7*7 }} {% x %} </style><img src=x onerror=alert(1)> "
    "\"';}*{ \u202eevil\u2066 \x1b[31m \x00 \u200b"
)
CALL = {"type": "function", "function": {"name": "clock", "arguments": {"zone": HOSTILE}}}
ROWS: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "system", "content": HOSTILE},
            {"role": "user", "content": f"日本 👨‍👩‍👧 𠮷野家 <|im_end|> {HOSTILE}"},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": HOSTILE},
            {"role": "assistant", "reasoning_content": "A\tb\nc 🎉", "content": f"{HOSTILE}\n\n" + "unbroken" * 60},
        ]
    },
    {"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "reasoning_content": "Two twos.", "content": "4"}]},
    {"messages": [{"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes."}]},
]
WEIGHTED = {"name": "weighted", "reasoning": 0.3, "stop": 0.6}


def pushes_away(tokens: maskkit.Tokens) -> Any:
    """A strategy with negative weights."""
    return tokens.where(kind="answer") - 0.4 * tokens.where(kind="reasoning")


pushes_away.signed = True  # type: ignore[attr-defined]


def shown(rows: list[dict[str, Any]] = ROWS, **options: Any) -> Preview:
    """A preview of the rows under three strategies."""
    return maskkit.preview(rows, embedded.tiny_tokenizer(), **({"strategies": ["assistant-only", WEIGHTED, pushes_away]} | options))
