"""What a token is: the ten kinds of segment. (Whose it is, the model's or the prompt's, is said by ``generated``.)"""

from __future__ import annotations

from enum import Enum


class SegmentKind(str, Enum):
    """Kind of a segment of rendered text. A ``str``: ``SegmentKind.ANSWER == "answer"``.

    The order of the members is the order of the integer codes used in token tables and files: append, never reorder.
    """

    SYSTEM = "system"
    """System or developer text, tool schemas."""
    USER = "user"
    """What the user wrote."""
    REASONING = "reasoning"
    """Thinking text with the tags around it."""
    ANSWER = "answer"
    """The assistant's reply."""
    TOOL_CALL = "tool_call"
    """A tool call with its wrapper."""
    TOOL_RESULT = "tool_result"
    """What a tool returned."""
    STOP = "stop"
    """The token that ends a turn."""
    TEMPLATE = "template"
    """Scaffolding that the model does not emit: role headers, prefilled tags, the newline after a stop token."""
    TEXT = "text"
    """Plain text records."""
    UNKNOWN = "unknown"
    """Not attributable: counted and reported, never guessed."""

    def __str__(self) -> str:
        return self.value


KINDS: tuple[str, ...] = tuple(kind.value for kind in SegmentKind)
"""All kinds, by code: ``KINDS[code]``."""

CODE: dict[str, int] = {name: code for code, name in enumerate(KINDS)}
"""Code of each kind: ``CODE["answer"] == 3``."""

GENERATED_KINDS: frozenset[str] = frozenset({"answer", "reasoning", "tool_call", "stop"})
"""Kinds of what a model emits; ``Tokens.where`` selects only generated tokens of these unless asked otherwise."""
