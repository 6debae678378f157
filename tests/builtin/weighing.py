"""What a selection weighs, for tests of single strategies."""

from __future__ import annotations

import maskkit
from maskkit.strategy import weights_of
from tests.tables import make_tokens


def weigh(spec: object, tokens: maskkit.Tokens) -> list[float]:
    """The weights that a selection gives."""
    return weights_of(maskkit.load_strategy(spec), tokens).tolist()


def call(name: str, **more: object) -> dict[str, object]:
    """A tool call as data sets have it."""
    return {"type": "function", "function": {"name": name, "arguments": {}}, **more}


def agent(**columns: object) -> maskkit.Tokens:
    """A question, two calls, their results, an answer; then a second turn."""
    messages = [
        {"role": "user", "content": "ask"},
        {"role": "assistant", "content": "", "tool_calls": [call("clock", id="a"), call("add", id="b")]},
        {"role": "tool", "content": "3", "tool_call_id": "b"},
        {"role": "tool", "content": "5:30"},
        {"role": "assistant", "content": "half past five"},
        {"role": "user", "content": "thanks"},
        {"role": "assistant", "content": "bye"},
    ]
    pieces = [
        ("template", False, 0, "<user>"), ("user", False, 0, "ask", "content"),
        ("template", False, 1, "<assistant>"), ("reasoning", True, 1, "hm", "reasoning_content"),
        ("tool_call", True, 1, "<call>"), ("tool_call", True, 1, "clock", "tool_calls[0].function.name"),
        ("tool_call", True, 1, "</call>"), ("tool_call", True, 1, "<call>"), ("tool_call", True, 1, "add", "tool_calls[1].function.name"),
        ("tool_call", True, 1, "</call>"), ("stop", True, 1, "<end>"),
        ("tool_result", False, 2, "3", "content"), ("tool_result", False, 3, "5:30", "content"),
        ("template", False, 4, "<assistant>"), ("answer", True, 4, "half past five", "content"), ("stop", True, 4, "<end>"),
        ("user", False, 5, "thanks", "content"), ("answer", True, 6, "bye", "content"), ("stop", True, 6, "<end>"),
    ]  # fmt: skip
    return make_tokens(pieces, messages=messages, **columns)
