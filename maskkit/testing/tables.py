"""Token tables of every shape, made without a tokenizer: what a strategy may be asked to weigh."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np

from maskkit.chat.segments import Segment
from maskkit.kinds import GENERATED_KINDS, SegmentKind
from maskkit.records import to_record
from maskkit.testing.rows import CONVERSATIONS
from maskkit.tokens import Tokens, tokens_of_segments

Piece = tuple[str, str, bool, int, str]
"""(text, kind, generated, message, field)"""

_WORD = re.compile(r" ?[A-Za-z]+|[0-9]|\s+|<[^<> ]*>|.", re.DOTALL)
_KINDS = {"system": "system", "user": "user", "tool": "tool_result", "assistant": "answer"}


def token_tables(columns: Mapping[str, Any] | None = None, token_columns: Iterable[str] = ()) -> dict[str, Tokens]:
    """Tables by what they show: every kind of token, rows of every shape, cut rows, one token, none.

    columns: further columns that every row has, for strategies that read some. token_columns: names of columns with one number per token,
    which are made up: they look like log-probabilities.
    """
    more = dict(columns or {})
    tables = {name: conversation_table({**row, **more}, name) for name, row in CONVERSATIONS.items() if "messages" in row}
    for name, role, content in (("only a system message", "system", "Be brief."), ("only a tool's result", "tool", '{"celsius": 3}')):
        tables[name] = conversation_table({"messages": [{"role": role, "content": content}], **more}, name)
    text = {"text": "Two and three make five. 🐢", **more}
    pair = {**CONVERSATIONS["prompt and completion"], **more}
    pair_pieces = [(pair["prompt"], "user", False, 0, "prompt"), (pair["completion"], "answer", True, 1, "completion")]
    tables["prompt and completion"] = _table(pair, [*pair_pieces, ("<end>", "stop", True, 1, "")], "prompt and completion")
    tables["plain text"] = _table(text, [(text["text"], "text", False, -1, "text"), ("<end>", "stop", False, -1, "")], "plain text")
    tables["every kind"] = _every_kind(more)
    tables["tokens that straddle"] = _straddling(more)
    names = tuple(token_columns)
    tables = {name: _with_numbers(tokens, names) for name, tokens in tables.items()}
    whole = tables["tools"]
    tables["cut on the right"] = whole.truncated(len(whole) // 2)
    tables["cut on the left"] = whole.cut(len(whole) // 3, len(whole))
    tables["one token"] = whole.truncated(1)
    tables["no token"] = whole.truncated(0)
    return tables


def _with_numbers(tokens: Tokens, names: Sequence[str]) -> Tokens:
    """The tokens with columns of numbers between -5 and 0."""
    if not names:
        return tokens
    draw = np.random.default_rng(tokens.seed)
    return tokens.with_extras({name: -5 * draw.random(len(tokens)) for name in names})


def conversation_table(row: Mapping[str, Any], source: str) -> Tokens:
    """A row of messages as a template in the manner of ChatML prints it."""
    pieces: list[Piece] = []
    for index, message in enumerate(row["messages"]):
        generated = message["role"] == "assistant"
        pieces.append((f"<start>{message['role']}\n", "template", False, index, ""))
        if message.get("reasoning_content"):
            pieces += [
                ("<think>", "reasoning", True, index, ""),
                (message["reasoning_content"], "reasoning", True, index, "reasoning_content"),
            ]
            pieces.append(("</think>", "reasoning", True, index, ""))
        pieces.append((message["content"], _KINDS[message["role"]], generated, index, "content"))
        for number, call in enumerate(message.get("tool_calls", ())):
            function = call["function"]
            path = f"tool_calls[{number}].function"
            pieces += [("<call>", "tool_call", True, index, ""), (function["name"], "tool_call", True, index, f"{path}.name")]
            pieces += [
                (f" {function['arguments']}", "tool_call", True, index, f"{path}.arguments"),
                ("</call>", "tool_call", True, index, ""),
            ]
        pieces += [("<end>", "stop" if generated else "template", generated, index, ""), ("\n", "template", False, index, "")]
    return _table(row, pieces, source)


def _every_kind(more: Mapping[str, Any]) -> Tokens:
    """Each kind, by the model and not, as far as it can be."""
    row = {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}], **more}
    pieces: list[Piece] = []
    for kind in SegmentKind:
        pieces.append((f"{kind} 7", kind.value, False, 0, "content"))
        if kind in GENERATED_KINDS:
            pieces.append((f"{kind} 8", kind.value, True, 1, "content"))
    return _table(row, pieces, "every kind")


def _straddling(more: Mapping[str, Any]) -> Tokens:
    """A token over prompt and reply, two bytes of one emoji, and a token without characters."""
    row = {"messages": [{"role": "user", "content": "ask"}, {"role": "assistant", "content": "🐢 yes"}], **more}
    segments = [Segment(0, 3, SegmentKind.USER, False, 0, "content", 0), Segment(3, 8, SegmentKind.ANSWER, True, 1, "content", 0)]
    starts, ends = (0, 2, 3, 4, 4), (2, 4, 4, 4, 8)
    record = to_record(row, "tokens that straddle")
    return tokens_of_segments(range(5), starts, ends, segments, text="ask🐢 yes", record=record, seed=5)


def _table(row: Mapping[str, Any], pieces: Iterable[Piece], source: str) -> Tokens:
    text, segments, spans = "", [], []
    for piece, kind, generated, message, field in pieces:
        if not piece:
            continue
        segments.append(Segment(len(text), len(text) + len(piece), SegmentKind(kind), generated, message, field, 0 if field else -1))
        spans += [(len(text) + start, len(text) + end) for start, end in _split(piece)]
        text += piece
    ids = [crc32(text[start:end].encode()) % 50_000 for start, end in spans]
    starts, ends = zip(*spans, strict=True)
    record = to_record(row, f"{source!r} of maskkit.testing")
    return tokens_of_segments(ids, starts, ends, segments, text=text, record=record, seed=crc32(source.encode()))


def _split(text: str) -> Sequence[tuple[int, int]]:
    """Words with the blank before them; characters beyond the basic plane twice, as byte-level tokenizers split them."""
    spans = []
    for match in _WORD.finditer(text):
        spans += [match.span()] * (2 if ord(match[0][0]) > 0xFFFF else 1)
    return spans
