"""From spans and turns to segments: each character gets its message, field, kind, and whether the model emits it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Generic, TypeVar

from maskkit.chat.generated import Turn
from maskkit.chat.kinds import inserted_system, supplied_kind
from maskkit.chat.markup import Markup
from maskkit.chat.owners import NOBODY
from maskkit.chat.segments import Segment
from maskkit.chat.spans import Span
from maskkit.chat.traced import ESCAPED, TEMPLATE
from maskkit.kinds import SegmentKind

_NOT_FIELDS = frozenset({SegmentKind.TEMPLATE, SegmentKind.UNKNOWN})


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
        self.loose = {span.message for span in spans if span.message != NOBODY} - {span.owner for span in spans if not span.is_data}
        """Messages whose data is printed outside of any iteration."""
        self.said = Overlay(self._said())
        self.escapes = {span.start for span in spans if span.mapping == ESCAPED}
        """Where several characters stand for one of the field, as in JSON: such a segment is not joined to its neighbours."""

    def segments(self) -> tuple[Segment, ...]:
        """Maximal segments, in order, covering the text."""
        pieces = iter(self._pieces())
        merged: list[Segment] = []
        last = next(pieces, None)
        for piece in pieces:
            assert last is not None
            if piece[2:6] == last[2:6] and self._continues(last, piece):
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
        for index, span in enumerate(self.spans):
            for start, end, part in self.parts.cut(span):
                piece = span.clipped(start, end)
                if part is None:
                    yield from self._supplied(piece, index)
                else:
                    _, _, kind, message = part
                    yield self._segment(piece, kind, kind not in _NOT_FIELDS and message not in self.supplied, message)

    def _supplied(self, span: Span, index: int) -> Iterator[Piece]:
        """Text that the model does not emit."""
        message = span.owner if span.owner != NOBODY else self._touching(index)
        if span.owner in self.unknown or not (span.is_data or span.origin is TEMPLATE):
            yield self._segment(span, SegmentKind.UNKNOWN, False, message)
        elif span.is_data:
            kind = supplied_kind(span, self.roles)
            if span.start >= self.ended.get(span.message, span.end):
                # Printed again after the model has stopped: a call's name above its result. Anything it said has no place there.
                if kind in (SegmentKind.TOOL_CALL, SegmentKind.TEMPLATE):
                    kind = SegmentKind.TEMPLATE
                elif span.message not in self.interrupted:
                    kind = SegmentKind.UNKNOWN
            own = kind not in _NOT_FIELDS and span.message != NOBODY
            yield self._segment(span, kind, False, span.message if own else message)
        else:
            yield from self._written(span, message)

    def _written(self, span: Span, message: int) -> Iterator[Piece]:
        """Text of the template, cut where it says something of its own."""
        for start, end, said in self.said.cut(span):
            kind = SegmentKind.TEMPLATE if said is None else SegmentKind.SYSTEM
            yield self._segment(span.clipped(start, end), kind, False, message if said is None or span.owner == NOBODY else NOBODY)

    def _said(self) -> list[tuple[int, int]]:
        """Where the template says something of its own: outside all turns, or under a system header in a turn of the prompt."""
        said: list[tuple[int, int]] = []
        for loose, group in groupby(self.spans, self._is_loose):
            for start, end in _stretches(group) if loose else ((s.start, s.end) for s in group if s.origin is TEMPLATE):
                said += [(start + a, start + b) for a, b in self._inserted(self.text[start:end], not loose)]
        return said

    def _inserted(self, text: str, in_a_turn: bool) -> list[tuple[int, int]]:
        """Scaffolding repeats from turn to turn and from row to row: what a short piece of it says is found once."""
        known = self.markup.inserted
        if (text, in_a_turn) in known:
            return known[text, in_a_turn]
        found = inserted_system(text, self.markup, in_a_turn)
        if len(text) <= 200 and len(known) < 10_000:
            known[text, in_a_turn] = found
        return found

    def _is_loose(self, span: Span) -> bool:
        return span.owner == NOBODY or span.owner in self.loose

    def _touching(self, index: int) -> int:
        """Message whose data, printed outside any loop, stands directly before or after template text."""
        if self.spans[index].is_data:
            return NOBODY
        beside = [self.spans[i] for i in (index - 1, index + 1) if 0 <= i < len(self.spans)]
        return next((span.message for span in beside if span.owner in self.loose), NOBODY)

    def _segment(self, span: Span, kind: SegmentKind, generated: bool, message: int) -> Piece:
        field = span.field if span.is_data and kind not in _NOT_FIELDS and span.message in (message, NOBODY) else ""
        return span.start, span.end, kind, generated, message, field, span.offset if field and span.message != NOBODY else -1


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


def _stretches(spans: Iterable[Span]) -> list[tuple[int, int]]:
    laid = list(spans)
    return [(laid[0].start, laid[-1].end)]
