"""Token tables made by hand, for tests that need no tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskkit.chat.segments import Segment
from maskkit.kinds import SegmentKind
from maskkit.records import to_record
from maskkit.tokens import Tokens, tokens_of_segments

DEFAULT_TEXT = {
    "system": "sys ",
    "user": "ask ",
    "answer": "reply ",
    "reasoning": "think ",
    "tool_call": "call ",
    "tool_result": "result ",
    "stop": "<end>",
    "template": "\n",
}


def make_tokens(
    pieces: Sequence[tuple[Any, ...]],
    roles: Sequence[str] = (),
    source: str = "row 0",
    *,
    messages: Sequence[dict[str, Any]] | None = None,
    **columns: Any,
) -> Tokens:
    """One token per piece. A piece is (kind, generated, message), with its text and the field of it if wanted.

    The row has messages of the given roles, or the given ``messages``, and the given columns beside them.
    """
    given_messages = messages or [{"role": role, "content": "x"} for role in roles]
    record = to_record({"messages": list(given_messages), **columns}, source=source)
    segments, offsets, text = [], [], ""
    for kind, generated, message, *given in pieces:
        piece = given[0] if given else DEFAULT_TEXT[kind]
        field = given[1] if len(given) > 1 else ""
        segments.append(Segment(len(text), len(text) + len(piece), SegmentKind(kind), generated, message, field, 0 if field else -1))
        offsets.append((len(text), len(text) + len(piece)))
        text += piece
    starts, ends = zip(*offsets, strict=True)
    return tokens_of_segments(range(len(pieces)), starts, ends, segments, text=text, record=record)


def conversation_table(source: str = "row 0") -> Tokens:
    """System, a turn with reasoning and a tool, then a second turn: every kind once or more."""
    pieces = [
        ("template", False, 0), ("system", False, 0), ("template", False, 0),
        ("template", False, 1), ("user", False, 1), ("template", False, 1),
        ("template", False, 2), ("reasoning", True, 2), ("tool_call", True, 2), ("stop", True, 2), ("template", False, 2),
        ("template", False, 3), ("tool_result", False, 3), ("template", False, 3),
        ("template", False, 4), ("answer", True, 4), ("stop", True, 4), ("template", False, 4),
        ("template", False, 5), ("user", False, 5), ("template", False, 5),
        ("template", False, 6), ("reasoning", True, 6), ("answer", True, 6), ("stop", True, 6), ("template", False, 6),
    ]  # fmt: skip
    return make_tokens(pieces, ("system", "user", "assistant", "tool", "assistant", "user", "assistant"), source)
