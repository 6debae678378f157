"""Runs laid out along the text: who wrote ``text[start:end]``, and in whose turn."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache, partial
from itertools import accumulate, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from maskkit.chat.owners import NOBODY
from maskkit.chat.traced import EXACT, TEMPLATE, UNKNOWN, Origin, Traced


class Span(NamedTuple):
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
    if not text._runs:
        return Layout([])
    lengths, origins, offsets, mappings, owners = zip(*text._runs, strict=True)
    ends = list(accumulate(lengths))
    settled = _settled(origins, owners)
    return Layout(map(_as_span, zip([0, *ends[:-1]], ends, origins, offsets, mappings, settled, strict=True)))


_as_span: Callable[[tuple[int, int, Origin, int, int, int]], Span] = partial(tuple.__new__, Span)
"""A span from its fields. There are several for each message, and this is the fastest way to them."""


def _settled(origins: Sequence[Origin], owners: Sequence[int]) -> list[int]:
    """Owners of the spans: data that nobody's iteration printed is its own message's, and template text in the midst of another
    message's turn belongs to that turn.

    A macro that walks over all messages to find something for one of them prints it in the iteration of whichever it was found at.
    """
    settled = list(owners)
    for index in _places_of(NOBODY, settled):
        origin = origins[index]
        if origin[0] == "messages" and len(origin) > 1:
            settled[index] = origin[1]
    if _in_order(settled):
        return settled
    around = settled[0]
    for index, owner in enumerate(settled):
        if owner != around:
            if origins[index] is TEMPLATE and around != NOBODY and settled[index + 1 : index + 2] == [around]:
                settled[index] = around
            else:
                around = owner
    return settled


def _places_of(owner: int, owners: list[int]) -> Iterator[int]:
    at = -1
    for _ in range(owners.count(owner)):
        at = owners.index(owner, at + 1)
        yield at


def _in_order(owners: list[int]) -> bool:
    """Does one turn follow the other, and nobody's text the last, so that nothing stands in the midst of another turn?"""
    end = len(owners)
    while end and owners[end - 1] == NOBODY:
        end -= 1
    turns = owners[:end]
    return turns == sorted(turns)


class Layout(list[Span]):
    """The spans of one text, and where to find them. Positions are looked up in steps that grow with the logarithm of the text."""

    @cached_property
    def _starts(self) -> list[int]:
        return [span[0] for span in self]

    @cached_property
    def _turns(self) -> dict[int, tuple[int, int]]:
        turns: dict[int, tuple[int, int]] = {}
        for owner, stretch in groupby(self, itemgetter(5)):
            spans = list(stretch)
            turns[owner] = (turns[owner] if owner in turns else spans[0])[0], spans[-1][1]
        return turns

    @cached_property
    def scaffolded(self) -> set[int]:
        """Messages in whose turns more than data stands."""
        return {span[5] for span in self if span[2] is TEMPLATE or span[2] is UNKNOWN}

    @cached_property
    def last_message(self) -> int:
        """The last message that anything comes from or stands in the turn of."""
        found = (origin[1] for _, _, origin, _, _, _ in self if origin[0] == "messages" and len(origin) > 1)
        return max(max(self._turns, default=NOBODY), max(found, default=NOBODY))

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
