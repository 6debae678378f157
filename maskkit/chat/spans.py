"""Runs laid out along the text: who wrote ``text[start:end]``, and in whose turn."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from maskkit.chat.owners import NOBODY
from maskkit.chat.traced import EXACT, TEMPLATE, UNKNOWN, Origin, Traced


@dataclass(slots=True)
class Span:
    """``text[start:end]`` of one origin, printed in one turn."""

    start: int
    end: int
    origin: Origin
    offset: int
    mapping: int
    owner: int
    """Message in whose turn the text stands, or `NOBODY`."""

    @property
    def is_data(self) -> bool:
        return self.origin is not TEMPLATE and self.origin is not UNKNOWN

    @property
    def message(self) -> int:
        """Message that the data comes from, or `NOBODY`."""
        return int(self.origin[1]) if self.origin[0] == "messages" and len(self.origin) > 1 else NOBODY

    @property
    def field(self) -> str:
        """Path inside the message, as in ``tool_calls[0].function.arguments``; ``tools``, ``documents``, ``kwargs`` for those."""
        if not self.is_data:
            return ""
        return field_name(self.origin[2:]) if self.origin[0] == "messages" else str(self.origin[0])

    def clipped(self, start: int, end: int) -> Span:
        """The part of the span inside ``text[start:end]``."""
        if start <= self.start and self.end <= end:
            return self
        begin = max(self.start, start)
        offset = self.offset + begin - self.start if self.mapping == EXACT and self.offset >= 0 else self.offset
        return Span(begin, min(self.end, end), self.origin, offset, self.mapping, self.owner)


@lru_cache(maxsize=1 << 12)
def field_name(path: tuple[Any, ...]) -> str:
    """``("tool_calls", 0, "id")`` -> ``"tool_calls[0].id"``."""
    name = ""
    for step in path:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else str(step)
    return name


def spans_of(text: Traced) -> Layout:
    """The spans of a rendered text, in order, covering it.

    Data printed outside any iteration (a system message picked with ``messages[0]``) stands in its own message's turn.
    """
    spans: list[Span] = []
    at = 0
    for length, origin, offset, mapping, owner in text._runs:
        if owner == NOBODY and origin[0] == "messages" and len(origin) > 1:
            owner = int(origin[1])
        spans.append(Span(at, at + length, origin, offset, mapping, owner))
        at += length
    return Layout(_settled(spans))


def _settled(spans: list[Span]) -> list[Span]:
    """Template text in the midst of another message's turn belongs to that turn.

    A macro that walks over all messages to find something for one of them prints it in the iteration of whichever it was found at.
    """
    for index in range(1, len(spans) - 1):
        span = spans[index]
        if span.origin is TEMPLATE:
            around = spans[index - 1].owner
            if span.owner != around != NOBODY and around == spans[index + 1].owner:
                spans[index] = replace(span, owner=around)
    return spans


class Layout(list[Span]):
    """The spans of one text, and where to find them. Positions are looked up in steps that grow with the logarithm of the text."""

    def __init__(self, spans: Iterable[Span]) -> None:
        super().__init__(spans)
        self._starts = [span.start for span in self]
        self._turns: dict[int, tuple[int, int]] = {}
        self.scaffolded: set[int] = set()
        """Messages in whose turns more than data stands."""
        self.last_message = NOBODY
        """The last message that anything comes from or stands in the turn of."""
        for span in self:
            owner, origin = span.owner, span.origin
            known = self._turns.get(owner)
            self._turns[owner] = span.start if known is None else known[0], span.end
            if origin is TEMPLATE or origin is UNKNOWN:
                self.scaffolded.add(owner)
            elif origin[0] == "messages" and len(origin) > 1 and origin[1] > self.last_message:
                self.last_message = origin[1]
            if owner > self.last_message:
                self.last_message = owner

    def turn(self, message: int) -> tuple[int, int] | None:
        """First and last character of what stands in a message's turn; None if nothing does."""
        return self._turns.get(message)

    def at(self, position: int) -> int:
        """Index of the span that holds the character at ``position``, or would hold the next one."""
        return bisect_right(self._starts, position) - 1

    def within(self, start: int, end: int) -> list[Span]:
        """The spans that touch ``text[start:end]``, clipped to it."""
        found: list[Span] = []
        for index in range(max(self.at(start), 0), len(self)):
            span = self[index]
            if span.start >= end:
                break
            if span.end > start:
                found.append(span.clipped(start, end))
        return found

    def before(self, position: int) -> Iterator[Span]:
        """The spans that end at or before ``position``, the last one first."""
        for index in range(self.at(position), -1, -1):
            if self[index].end <= position:
                yield self[index]

    def after(self, position: int) -> Iterator[Span]:
        """The spans that start at or after ``position``."""
        for index in range(max(self.at(position), 0), len(self)):
            if self[index].start >= position:
                yield self[index]
