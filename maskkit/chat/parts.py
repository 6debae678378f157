"""The parts of what a model emits in one turn: reasoning, answer, tool calls, with the template's text between them divided.

Data says itself which part it is. Template text between part A and part B is divided by one rule: closing tags and the blanks
after them belong to A, and B begins at the first character after that (so at its opening tag, if it has one). Reasoning tags
written by the template overrule the field: gpt-oss prints ``content`` in the analysis channel before a tool call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from maskkit.chat.kinds import assistant_part
from maskkit.chat.markup import Markup, ReasoningTags
from maskkit.chat.spans import Span
from maskkit.chat.traced import DERIVED, TEMPLATE
from maskkit.kinds import SegmentKind

Part = tuple[int, int, SegmentKind]
"""``text[start:end]`` is of this kind."""
Piece = tuple[int, int, "SegmentKind | None"]
"""A part before the template's text between the parts is divided: that is None."""


@dataclass(frozen=True)
class ReplyText:
    """The strings of one assistant message, to find thinking written inside them."""

    fields: dict[tuple[object, ...], str]
    tags: ReasoningTags
    has_media: bool = False
    """Does the content hold images, audio or video?"""
    supplied: bool = False
    """Is the message the beginning of a reply that the model is to continue? Then none of it is the model's."""

    def parts(self, span: Span) -> list[Part]:
        """The span cut where thinking inside its field ends."""
        kind = assistant_part(span.origin[2:])
        text = self.fields.get(span.origin)
        if kind is not SegmentKind.ANSWER or text is None or span.mapping == DERIVED:
            return [(span.start, span.end, kind)]
        cut = min(max(span.start + self.tags.end_in(text) - span.offset, span.start), span.end)
        parts = [(span.start, cut, SegmentKind.REASONING), (cut, span.end, kind)]
        return [part for part in parts if part[0] < part[1]]


class PartWriter:
    """Divides one generated region. Call `data` and `scaffold` in order of the text, then `finish`."""

    def __init__(self, text: str, markup: Markup, awaited: str) -> None:
        self.text = text
        self.markup = markup
        self.awaited = awaited
        """Closing tag of the reasoning that is open; empty outside of reasoning."""
        self.current: SegmentKind | None = SegmentKind.REASONING if awaited else None
        self.done: list[Part] = []

    def data(self, start: int, end: int, kind: SegmentKind) -> None:
        """Text of the message itself."""
        if self.awaited:
            start = self._until_closed(start, end, kind)
        if start < end:
            self._said(start, end, kind)

    def _until_closed(self, start: int, end: int, kind: SegmentKind) -> int:
        """Consumes what stands in open reasoning, and returns where the rest begins."""
        closing = self.text.find(self.awaited, start, end)
        if closing < 0:
            if kind is not SegmentKind.ANSWER:
                return start
            self._said(start, end, SegmentKind.REASONING)
            return end
        after = self._after_blank(closing + len(self.awaited), end)
        self.awaited = ""
        self._said(start, after, SegmentKind.REASONING)
        return after

    def _after_blank(self, at: int, end: int) -> int:
        blank = self.text[at:end]
        return at + len(blank) - len(blank.lstrip())

    def _said(self, start: int, end: int, kind: SegmentKind) -> None:
        blank = not self.text[start:end].strip()
        if kind is SegmentKind.REASONING and blank and self.current is not SegmentKind.REASONING:
            # The blank between thinking and answer, of a template that prints the answer only.
            kind = SegmentKind.ANSWER
        self.current = kind
        self.done.append((start, end, kind))

    def scaffold(self, start: int, end: int, following: SegmentKind | None) -> None:
        """Text of the template, before a part of kind ``following`` (None before the end of the turn)."""
        if SegmentKind.UNKNOWN in (self.current, following):
            self.done.append((start, end, SegmentKind.UNKNOWN))
            return
        at = self._through_reasoning_tags(start, end)
        if self.awaited:
            self._put(at, end, SegmentKind.REASONING)
            return
        boundary = at if self.current is None else self._boundary(at, end)
        self._put(at, boundary, self.current or SegmentKind.ANSWER)
        self._put(boundary, end, following or self.current or SegmentKind.ANSWER)

    def _through_reasoning_tags(self, start: int, end: int) -> int:
        """Consumes what reasoning tags decide, and returns where the rest begins."""
        at = start
        for tag in self.markup.tags(self.text[start:end]):
            alone = self.current in (None, SegmentKind.REASONING) and self.markup.closes_reasoning(tag)
            if tag.text == self.awaited or (not self.awaited and alone):
                after = self._after_blank(start + tag.end, end)
                self._put(at, after, SegmentKind.REASONING)
                at, self.awaited, self.current = after, "", SegmentKind.REASONING
            elif tag.closes and not self.awaited:
                self._put(at, start + tag.start, self.current or SegmentKind.REASONING)
                self._put(start + tag.start, start + tag.end, SegmentKind.REASONING)
                at, self.awaited, self.current = start + tag.end, tag.closes, SegmentKind.REASONING
        return at

    def _boundary(self, start: int, end: int) -> int:
        piece = self.text[start:end]
        closed = 0
        for tag in self.markup.tags(piece):
            if not tag.is_closing:
                break
            closed = tag.end
        return self._after_blank(start + closed, end)

    def _put(self, start: int, end: int, kind: SegmentKind) -> None:
        if start < end:
            self.done.append((start, end, kind))


def divide(text: str, spans: Sequence[Span], message: int, reply: ReplyText, markup: Markup, awaited: str) -> list[Part]:
    """Parts of a generated region whose spans are given; ``awaited`` closes the reasoning that the prompt left open.

    Text of unknown origin, or data of others, is unknown, and so is the template's text beside it.
    """
    pieces = list(_pieces(spans, message, reply))
    if reply.has_media:
        pieces = list(_without_media(text, pieces, markup))
    writer = PartWriter(text, markup, awaited)
    for number, (start, end, kind) in enumerate(pieces):
        if kind is None:
            following = (later for _, _, later in pieces[number + 1 :] if later not in (None, SegmentKind.TEMPLATE))
            writer.scaffold(start, end, next(following, None))
        elif kind is SegmentKind.TEMPLATE:
            writer.done.append((start, end, kind))
        else:
            writer.data(start, end, kind)
    return writer.done


def _without_media(text: str, pieces: Sequence[Piece], markup: Markup) -> Iterator[Piece]:
    """The pieces, with placeholders of images, audio and video set apart: a model of text does not emit them."""
    for start, end, kind in pieces:
        at = start
        for begin, stop in markup.media(text[start:end]) if kind is None else ():
            yield at, start + begin, kind
            yield start + begin, start + stop, SegmentKind.TEMPLATE
            at = start + stop
        yield at, end, kind


def _pieces(spans: Sequence[Span], message: int, reply: ReplyText) -> list[Piece]:
    """The region as data of some kind and, with None, the template's text between it."""
    pieces: list[Piece] = []
    for span in spans:
        if span.message == message:
            # A role or name inside the region is the model's own header: gpt-oss names itself before every channel.
            found = [(start, end, None if kind is SegmentKind.TEMPLATE else kind) for start, end, kind in reply.parts(span)]
        elif span.origin is TEMPLATE or span.origin[0] == "kwargs":
            found = [(span.start, span.end, None)]
        else:
            found = [(span.start, span.end, SegmentKind.UNKNOWN)]
        for start, end, kind in found:
            if kind is None and pieces and pieces[-1][2] is None:
                start = pieces.pop()[0]
            pieces.append((start, end, kind))
    return pieces
