"""Which of a message's tool calls a character belongs to, the call's wrapper included."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from maskkit.chat.segments import Segment
from maskkit.kinds import SegmentKind

_CALL = re.compile(r"tool_calls\[(\d+)\]")
_CLOSING = re.compile(
    r"""(?:</[^<>]*> | \[/[^\[\]]*\] | <[|｜][^<>]*(?:end|eom|eot)[^<>]*[|｜]> | <[^<>|]+\|> | <\|\"\|> | [\s,;)\]}\"'`])*""",
    re.IGNORECASE | re.VERBOSE,
)
"""What closes a call: closing tags, brackets and quotes, and the blanks and commas after them."""

CallRange = tuple[int, int, int, int]
"""``text[start:end]`` belongs to that call of that message: (start, end, message, call)."""


def call_ranges(segments: Sequence[Segment], text: str) -> list[CallRange]:
    """Where each tool call stands, in order.

    The template's text around the calls is divided as everywhere else: what closes a call belongs to it, and the next one begins with the
    first character after that. What stands before the first call of a stretch belongs to that call, what stands after the last to the last.
    """
    ranges: list[CallRange] = []
    if not any(segment.kind is SegmentKind.TOOL_CALL for segment in segments):
        return ranges
    for (called, message), group in groupby(segments, lambda segment: (segment.kind is SegmentKind.TOOL_CALL, segment.message)):
        if called:
            stretch = list(group)
            ranges += [(start, end, message, call) for start, end, call in _divided(stretch, text)]
    return ranges


def _divided(stretch: Sequence[Segment], text: str) -> Iterator[tuple[int, int, int]]:
    """One stretch of tool-call text, divided among its calls."""
    start = at = stretch[0].start
    current = -1
    for segment in stretch:
        call = _call_of(segment)
        if call < 0:
            continue
        if current not in (-1, call):
            closed = _CLOSING.match(text, at, segment.start)
            boundary = closed.end() if closed else at
            yield start, boundary, current
            start = boundary
        current, at = call, segment.end
    if current >= 0:
        yield start, stretch[-1].end, current


def _call_of(segment: Segment) -> int:
    found = _CALL.match(segment.field)
    return int(found[1]) if found else -1
