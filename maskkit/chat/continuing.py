"""Conversations whose last message is to be continued: ``continue_final_message`` of ``apply_chat_template``.

transformers marks the end of that message with a tag, renders, and cuts the text there. The same is done to the traced message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskkit.chat.traced import Traced, literal, plain

TAG = "CONTINUE_FINAL_MESSAGE_TAG "
"""As transformers has it: templates that strip a message strip its last blank, and so show that they do."""
ARGUMENT = "continue_final_message"


def said_to_the_end(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Template arguments for messages of which the last is whole."""
    return {name: value for name, value in arguments.items() if name != ARGUMENT}


def tagged(message: dict[str, Any], name: str, aliases: frozenset[str]) -> None:
    """Mark the end of field ``name`` of a traced message, and of its copies under other names (``aliases``).

    A message without such a text stays as it is: transformers refuses it, and says why.
    """
    value = message.get(name)
    if isinstance(value, str):
        for field in {name} if name not in aliases else {alias for alias in aliases if message.get(alias) == value}:
            message[field] = message[field] + literal(TAG)
    elif isinstance(value, list):
        for part in [part for part in reversed(value) if "text" in part][:1]:
            part["text"] = part["text"] + literal(TAG)


def cut_at_tag(text: Traced) -> Traced:
    """The text up to the tag, without the blanks before it where the template stripped the message; all of it if it has none."""
    at = plain(text).rfind(TAG.strip())
    if at < 0:
        return text
    whole = plain(text)[at : at + len(TAG)] == TAG
    cut: Traced = text[:at]
    return cut if whole else cut.rstrip()
