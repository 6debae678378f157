"""The result of attribution: a text, and who wrote each of its characters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from maskkit.findings import Finding
from maskkit.kinds import SegmentKind

if TYPE_CHECKING:
    from maskkit.chat.spans import Span


@dataclass(frozen=True, slots=True)
class Segment:
    """A maximal run of characters ``text[start:end]`` with one origin."""

    start: int
    end: int
    kind: SegmentKind
    generated: bool
    """Would the model itself emit these characters at inference?"""
    message: int = -1
    """Index of the message the characters belong to (its data, or the scaffolding its turn prints); -1 for none."""
    field: str = ""
    """Path inside the message, such as ``content`` or ``tool_calls[0].function.arguments``; empty for text of the template.

    ``tools``, ``documents`` or ``kwargs`` for data that is not a message's.
    """
    offset: int = -1
    """Where in that field the segment starts, in characters; -1 where it is derived or not data.

    From there on it is one character of the text per character of the field, except where several stand for one (a quote that
    JSON escapes): those are a segment of their own.
    """


@dataclass(frozen=True, slots=True)
class RenderedText:
    """A rendered text and its segments, which cover it without gap or overlap, in order."""

    text: str
    segments: tuple[Segment, ...]
    findings: tuple[Finding, ...] = ()
    spans: tuple[Span, ...] = ()
    """What the segments were concluded from: the origin of each run of characters, covering the text in order."""
