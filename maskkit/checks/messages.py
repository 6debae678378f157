"""The messages of the data against what the template made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from maskkit.chat.kinds import ASSISTANT_ROLES
from maskkit.chat.markup import REASONING_TAGS
from maskkit.checks.row import MaskedRow, Seen
from maskkit.records import reasoning_of
from maskkit.records.messages import said_fields

_PAIRS = tuple(pair for pair in REASONING_TAGS if "analysis" not in pair[0])
"""Harmony's tags end other channels as well."""


def messages(row: MaskedRow) -> Iterator[Seen]:
    """Messages that say nothing, and what the template dropped or changed. Of an as-served example, only its reply."""
    record = row.tokens.record
    if record.form != "messages" or not row.has_messages:
        return
    served = row.tokens.reply
    for index, message in enumerate(record.messages):
        if served >= 0 and index != served:
            continue
        yield from _empty(message, index)
        if message["role"] in ASSISTANT_ROLES:
            yield from _unbalanced(row, message, index)
        if "truncated" not in row.codes and row.attributed:
            yield from _unprinted(row, message, index)


def _empty(message: Mapping[str, Any], index: int) -> Iterator[Seen]:
    if not said_fields(message):
        yield Seen("empty-turn", f"messages[{index}] ({message['role']}) says nothing")


def _unbalanced(row: MaskedRow, message: Mapping[str, Any], index: int) -> Iterator[Seen]:
    content = message.get("content")
    if not isinstance(content, str):
        return
    for opening, closing in _PAIRS:
        opened, closed = content.count(opening), content.count(closing)
        supplied = closed == opened + 1 and _prompt_opens(row, index, opening)
        if opened != closed and not supplied:
            yield Seen("reasoning-unbalanced", f"messages[{index}].content has {opening!r} {opened} times, {closing!r} {closed} times")


def _prompt_opens(row: MaskedRow, index: int, opening: str) -> bool:
    """Does the prompt of a reply end with an opened tag?"""
    begins = (begin for begin in row.reply_starts if row.tokens.message[begin] == index)
    return any(row.tokens.text[: row.tokens.char_start[begin]].rstrip().endswith(opening) for begin in begins)


def _unprinted(row: MaskedRow, message: Mapping[str, Any], index: int) -> Iterator[Seen]:
    text, content, reasoning = row.tokens.text, message.get("content"), (reasoning_of(message) or "").strip()
    reply = message["role"] in ASSISTANT_ROLES
    if reply and reasoning and not _printed(reasoning, text):
        yield Seen("reasoning-dropped", f"the reasoning of messages[{index}] is not printed", len(reasoning))
    if not isinstance(content, str) or not content.strip() or _printed(content, text):
        return
    if not reply:
        # split and joined text still has tokens of the message that say something
        said = (row.tokens.message == index) & (row.tokens.field == "content")
        if not said.any() and not _printed(content.strip(), text):
            yield Seen("role-not-printed", f"nothing of messages[{index}] is printed (role {message['role']!r})", len(content))
    elif _printed(content.strip(), text):
        yield Seen("content-changed", f"blanks around messages[{index}].content are trimmed", severity="note")
    else:
        yield Seen("content-changed", f"messages[{index}].content is not printed as it is")


def _printed(said: str, text: str) -> bool:
    """As it is, or as JSON writes it."""
    return said in text or json.dumps(said)[1:-1] in text or json.dumps(said, ensure_ascii=False)[1:-1] in text
