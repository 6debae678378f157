"""Reasoning written into the reply itself, for chat templates that have no place for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from maskkit.records.messages import REASONING_KEYS, reasoning_of
from maskkit.records.record import Record


def with_inline_reasoning(record: Record) -> Record:
    """The record with each assistant message's reasoning at the head of its content: ``<think>\\n...\\n</think>\\n\\n``.

    Kinds are told by the tags, so the text is still attributed as reasoning. The key stays that of the row, so which rows are held out
    does not depend on how reasoning is written.
    """
    if not any(reasoning_of(message) for message in record.messages):
        return record
    return replace(record, messages=tuple(map(_inlined, record.messages)))


def _inlined(message: dict[str, Any]) -> dict[str, Any]:
    reasoning = reasoning_of(message)
    if not reasoning or message["role"] != "assistant":
        return message
    head, content = f"<think>\n{reasoning.strip(chr(10))}\n</think>\n\n", message.get("content", "")
    rest = {key: value for key, value in message.items() if key not in REASONING_KEYS}
    if isinstance(content, str):
        return {**rest, "content": head + content.lstrip("\n")}
    return {**rest, "content": [{"type": "text", "text": head}, *content]}
