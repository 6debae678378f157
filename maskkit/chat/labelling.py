"""From spans and turns to segments: each character gets its message, field, kind, and whether the model emits it."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

from maskkit.chat.generated import Turn
from maskkit.chat.kinds import inserted_system, supplied_kind
from maskkit.chat.markup import Markup
from maskkit.chat.owners import NOBODY
from maskkit.chat.segments import Segment
from maskkit.chat.spans import Span
from maskkit.chat.traced import DERIVED, ESCAPED, TEMPLATE, UNKNOWN, Origin
from maskkit.kinds import SegmentKind

Piece = tuple[int, int, SegmentKind, bool, int, str, int]
"""A segment in the making: its fields in order."""


class Labeller:
    """Labels the spans of one rendered conversation."""

    def __init__(self, text: str, spans: Sequence[Span], turns: Sequence[Turn], roles: Sequence[str], markup: Markup) -> None:
        self.text = text
        self.spans = spans
        self.roles = roles
        self.markup = markup
        self.parts = Overlay(sorted((start, end, kind, turn.message) for turn in turns for start, end, kind in turn.parts))
        self.supplied = {turn.message for turn in turns if turn.supplied}
        self.ended = {turn.message: turn.parts[-1][1] for turn in turns if turn.parts}
        self.interrupted = {turn.message for turn in turns if turn.interrupted}
        self.unknown = {turn.message for turn in turns if turn.unknown}
        printed: set[int] = set()
        scaffolded: set[int] = set()
        self.escapes: set[int] = set()
        """Where several characters stand for one of the field, as in JSON: such a segment is not joined to its neighbours."""
        for start, _, origin, _, mapping, owner in spans:
            if origin is TEMPLATE or origin is UNKNOWN:
                scaffolded.add(owner)
            elif origin[0] == "messages" and len(origin) > 1:
                printed.add(origin[1])
            if mapping == ESCAPED:
                self.escapes.add(start)
        self.loose = printed - scaffolded
        """Messages whose data is printed outside of any iteration."""
        self.said = Overlay(self._said())

    def segments(self) -> tuple[Segment, ...]:
        """Maximal segments, in order, covering the text."""
        merged: list[Segment] = []
        last: Piece | None = None
        for piece in self._pieces():
            if last is None:
                last = piece
            elif piece[2] is last[2] and piece[3:6] == last[3:6] and self._continues(last, piece):
                last = (last[0], piece[1], *last[2:])
            else:
                merged.append(Segment(*last))
                last = piece
        return (*merged, Segment(*last)) if last is not None else ()

    def _continues(self, last: Piece, piece: Piece) -> bool:
        """Do two neighbours of one kind, message and field have one origin?"""
        begin, end, *_, offset = last
        if offset < 0 or piece[6] < 0:
            return offset < 0 and piece[6] < 0
        return offset + end - begin == piece[6] and begin not in self.escapes and end not in self.escapes

    def _pieces(self) -> Iterator[Piece]:
        parts, said = Sweep(self.parts.ranges), Sweep(self.said.ranges)
        for index, span in enumerate(self.spans):
            start, end = span[0], span[1]
            if start >= parts.end:
                parts.move_to(start)
            if parts.begin < end:
                if parts.begin <= start and end <= parts.end:
                    yield self._emitted(span, parts.ranges[parts.at])
                else:
                    yield from self._in_parts(span, index)
                continue
            if start >= said.end:
                said.move_to(start)
            if said.begin >= end and self._is_plain_scaffolding(span):
                yield start, end, SegmentKind.TEMPLATE, False, span[5], "", -1
            else:
                yield from self._supplied(span, index)

    def _is_plain_scaffolding(self, span: Span) -> bool:
        """Does the span hold template text of a known turn?"""
        owner = span[5]
        return span[2] is TEMPLATE and owner != NOBODY and owner not in self.unknown

    def _in_parts(self, span: Span, index: int) -> Iterator[Piece]:
        """A span that the model emits, or some of it."""
        for start, end, part in self.parts.cut(span):
            piece = span.clipped(start, end)
            if part is None:
                yield from self._supplied(piece, index)
            else:
                yield self._emitted(piece, part)

    def _emitted(self, span: Span, part: tuple[int, int, SegmentKind, int]) -> Piece:
        _, _, kind, message = part
        return self._segment(span, kind, _has_field(kind) and message not in self.supplied, message)

    def _supplied(self, span: Span, index: int) -> Iterator[Piece]:
        """Text that the model does not emit."""
        start, end, origin, _, _, owner = span
        message = owner if owner != NOBODY else self._touching(index)
        if owner in self.unknown or origin is UNKNOWN:
            yield self._segment(span, SegmentKind.UNKNOWN, False, message)
        elif origin is TEMPLATE:
            yield from self._written(span, message)
        else:
            of = span.message
            kind = _kind_supplied(origin, self.roles[of] if of != NOBODY else "", owner == of)
            if start >= self.ended.get(of, end):
                # Printed again after the model has stopped: a call's name above its result. Anything it said has no place there.
                if kind is SegmentKind.TOOL_CALL or kind is SegmentKind.TEMPLATE:
                    kind = SegmentKind.TEMPLATE
                elif of not in self.interrupted:
                    kind = SegmentKind.UNKNOWN
            yield self._segment(span, kind, False, of if _has_field(kind) and of != NOBODY else message)

    def _written(self, span: Span, message: int) -> Iterator[Piece]:
        """Text of the template, cut where it says something of its own."""
        for start, end, said in self.said.cut(span):
            kind = SegmentKind.TEMPLATE if said is None else SegmentKind.SYSTEM
            yield self._segment(span.clipped(start, end), kind, False, message if said is None or span.owner == NOBODY else NOBODY)

    def _said(self) -> list[tuple[int, int]]:
        """Where the template says something of its own: outside all turns, or under a system header in a turn of the prompt."""
        said: list[tuple[int, int]] = []
        loose: list[Span] = []
        for span in self.spans:
            if span[5] == NOBODY or span[5] in self.loose:
                loose.append(span)
                continue
            if loose:
                said += self._inserted(loose[0].start, loose[-1].end, in_a_turn=False)
                loose.clear()
            if span[2] is TEMPLATE:
                said += self._inserted(span[0], span[1], in_a_turn=True)
        if loose:
            said += self._inserted(loose[0].start, loose[-1].end, in_a_turn=False)
        return said

    def _inserted(self, start: int, end: int, *, in_a_turn: bool) -> list[tuple[int, int]]:
        """Scaffolding repeats from turn to turn and from row to row: what a short piece of it says is found once."""
        text = self.text[start:end]
        known = self.markup.inserted
        found = known.get((text, in_a_turn))
        if found is None:
            found = inserted_system(text, self.markup, in_a_turn)
            if len(text) <= 200 and len(known) < 10_000:
                known[text, in_a_turn] = found
        return [(start + a, start + b) for a, b in found] if found else []

    def _touching(self, index: int) -> int:
        """Message whose data, printed outside any loop, stands directly before or after template text."""
        if self.spans[index].is_data:
            return NOBODY
        beside = [self.spans[i] for i in (index - 1, index + 1) if 0 <= i < len(self.spans)]
        return next((span.message for span in beside if span.owner in self.loose), NOBODY)

    def _segment(self, span: Span, kind: SegmentKind, generated: bool, message: int) -> Piece:
        start, end, origin, offset, _, _ = span
        if origin is TEMPLATE or origin is UNKNOWN or not _has_field(kind):
            return start, end, kind, generated, message, "", -1
        of = span.message
        field = _field_of(origin) if of in (message, NOBODY) else ""
        return start, end, kind, generated, message, field, offset if field and of != NOBODY else -1


def _has_field(kind: SegmentKind) -> bool:
    return kind is not SegmentKind.TEMPLATE and kind is not SegmentKind.UNKNOWN


@lru_cache(maxsize=1 << 14)
def _field_of(origin: Origin) -> str:
    return Span(0, 0, origin, -1, DERIVED, NOBODY).field


@lru_cache(maxsize=1 << 14)
def _kind_supplied(origin: Origin, role: str, own: bool) -> SegmentKind:
    """`supplied_kind` of data with this origin, ``own`` if it stands in the turn of its message, which has the role."""
    span = Span(0, 0, origin, -1, DERIVED, NOBODY)
    return supplied_kind(span._replace(owner=span.message if own else NOBODY - 1), role)


Range = TypeVar("Range", bound=tuple[Any, ...])


class Overlay(Generic[Range]):
    """Sorted, disjoint ranges ``(start, end, ...)`` of the text."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        self.ranges = ranges
        self.ends = [found[1] for found in ranges]

    def cut(self, span: Span) -> list[tuple[int, int, Range | None]]:
        """The span cut at the ranges: each piece with the range it lies in, or None."""
        pieces: list[tuple[int, int, Range | None]] = []
        at = span.start
        for number in range(bisect_right(self.ends, at), len(self.ranges)):
            start, end = self.ranges[number][:2]
            if start >= span.end:
                break
            if at < start:
                pieces.append((at, start, None))
            pieces.append((max(at, start), min(end, span.end), self.ranges[number]))
            at = min(end, span.end)
        if at < span.end:
            pieces.append((at, span.end, None))
        return pieces


class Sweep:
    """Goes along sorted, disjoint ranges."""

    def __init__(self, ranges: Sequence[tuple[Any, ...]]) -> None:
        self.ranges = ranges
        self.at = -1
        """The first range that ends behind the position."""
        self.begin = self.end = 0
        """Where that one stands; behind all text if there is none."""
        self.move_to(0)

    def move_to(self, position: int) -> None:
        """Goes on to a position, which is not before the last one."""
        while self.end <= position:
            self.at += 1
            self.begin, self.end = self.ranges[self.at][:2] if self.at < len(self.ranges) else (sys.maxsize, sys.maxsize)
