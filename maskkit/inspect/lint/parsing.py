"""Ids of an unknown mask, read back as a conversation by what was learnt of the template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from maskkit.chat.kinds import ASSISTANT_ROLES, role_kind
from maskkit.chat.markup import ReasoningTags
from maskkit.chat.segments import Segment
from maskkit.checks.row import Bools
from maskkit.inspect.lint.detokenize import Detokenized, Detokenizer
from maskkit.inspect.lint.structure import END, START, Boundary, Piece, Structure
from maskkit.kinds import SegmentKind
from maskkit.records import Record
from maskkit.tokens import Tokens, tokens_of_segments


@dataclass(frozen=True, slots=True)
class _Part:
    """``marked[start:end]`` of one message."""

    start: int
    end: int
    kind: SegmentKind
    generated: bool
    message: int
    said: bool = False
    """Does the message say it, or does the template write it around?"""


@dataclass(frozen=True, eq=False, slots=True)
class Conversation:
    """What was read: a token table, which tokens the prompt may have supplied, and which stand behind the conversation's end."""

    tokens: Tokens
    optional_prefill: Bools
    appended: Bools

    @property
    def replies(self) -> int:
        """Assistant messages."""
        return sum(message["role"] in ASSISTANT_ROLES for message in self.tokens.record.messages)


class Parser:
    """Reads conversations of one template.

    tags: the reasoning tags that replies may hold. ends: ids that are appended to conversations (end of sequence, padding).
    """

    def __init__(self, structure: Structure, read: Detokenizer, tags: ReasoningTags, ends: Iterable[int]) -> None:
        self.structure = structure
        self.read = read
        self.tags = tags
        self.ends = tuple(read.marks_of(ends))
        self.following: dict[str, list[Boundary]] = {}
        for boundary in structure.boundaries:
            self.following.setdefault(boundary.before, []).append(boundary)
        self.patterns = {boundary: boundary.pattern for boundary in structure.boundaries}
        self.control = {mark for mark in structure.marks if read.is_mark(mark)}

    def __call__(self, text: Detokenized, source: str) -> Conversation | None:
        """The conversation; None where the template's structure is not found in it."""
        reading = _Reading(self, text)
        if not reading.begins():
            return None
        reading.goes_on()
        if not self._holds(reading.parts, text.marked.text):
            return None
        place = text.marked.place
        segments = [Segment(int(place[p.start]), int(place[p.end]), p.kind, p.generated, p.message) for p in reading.parts]
        segments = [segment for segment in segments if segment.start < segment.end]
        said = [
            "".join(text.text[place[p.start] : place[p.end]] for p in reading.parts if p.said and p.message == number)
            for number in range(len(reading.roles))
        ]
        messages = tuple({"role": role, "content": content} for role, content in zip(reading.roles, said, strict=True))
        record = Record("messages", source, "", {}, messages)
        tokens = tokens_of_segments(text.ids, text.start, text.end, segments, text=text.text, record=record)
        appended = np.asarray(text.start >= place[reading.end], np.bool_) & (text.end > text.start)
        return Conversation(tokens, self._optional_prefill(reading.parts, text), appended)

    def _holds(self, parts: Sequence[_Part], marked: str) -> bool:
        """Is no control token of the structure left inside what messages say? A system text before others may hold what a template adds."""
        for part in parts:
            if part.said and not (part.kind is SegmentKind.SYSTEM and part is not parts[-1]):
                allowed = self.structure.inside_replies if part.generated else set()
                if self.control.intersection(marked[part.start : part.end]) - allowed:
                    return False
        return True

    def _optional_prefill(self, parts: Sequence[_Part], text: Detokenized) -> Bools:
        """The beginnings of replies that the prompt supplies under some template arguments."""
        found = np.zeros(len(text.ids), np.bool_)
        seen: set[int] = set()
        for part in parts:
            if not part.generated or part.message in seen:
                continue
            seen.add(part.message)
            supplied = next((p for p in self.structure.optional_prefills if text.marked.text.startswith(p, part.start)), "")
            if supplied:
                start, end = text.marked.place[part.start], text.marked.place[part.start + len(supplied)]
                found |= (text.start >= start) & (text.end <= end)
        return found


class _Reading:
    """One text on its way through the parser: the parts so far, the roles of the messages, and where it is."""

    def __init__(self, parser: Parser, text: Detokenized) -> None:
        self.parser = parser
        self.text = text
        self.marked = text.marked.text
        self.parts: list[_Part] = []
        self.roles: list[str] = []
        self.at = 0
        self.end = len(self.marked)
        """Where the conversation ends; behind it stands what was appended."""

    def begins(self) -> bool:
        """Read up to the text of the first message. False if nothing of the template is found."""
        skipped = 0
        while skipped + 1 < len(self.marked) and self.marked[skipped] == self.marked[skipped + 1] and self._is_control(skipped):
            skipped += 1  # a doubled beginning of sequence
        starts = [boundary for boundary in self._following(START) if boundary.literal and self.marked.startswith(boundary.literal, skipped)]
        if not starts:
            return self._preamble()
        best = max(starts, key=lambda boundary: (len(boundary.literal), boundary.after == "user"))
        self._part(0, skipped, SegmentKind.TEMPLATE)
        self._pieces(best.pieces, skipped)
        self.roles.append(best.after)
        return True

    def _preamble(self) -> bool:
        """A beginning that was not learnt (tools, a date, a default text), up to the first message whose opening is known."""
        found = [hit for role in ("system", "user", "assistant") if (hit := self._next(role)) is not None]
        opened = [(at, text) for text in self.parser.structure.openings.get("user", ()) if (at := self.marked.find(text)) >= 0]
        if not found and not opened:
            return False
        if opened and (not found or min(opened)[0] < min(start for _, start, _ in found)):
            start, opening = min(opened)
            boundary = Boundary("system", "user", (Piece(opening, SegmentKind.TEMPLATE, False, True),))
            spans = [(start, start + len(opening))]
        else:
            boundary, start, spans = min(found, key=lambda hit: (hit[1], -len(hit[0].literal)))
        known = self.marked[:1] in {other.literal[:1] for other in self._following(START) if other.literal}
        # a row that was cut on the left begins anywhere
        self._part(0, start, SegmentKind.SYSTEM if known and boundary.before != "assistant" else SegmentKind.UNKNOWN)
        self._spans(boundary.pieces, spans)
        self.roles.append(boundary.after)
        return True

    def goes_on(self) -> None:
        """Read message after message to the end."""
        while (found := self._next(self.roles[-1])) is not None:
            boundary, start, spans = found
            self._says(start)
            self._spans(boundary.pieces, spans)
            self.roles.append(boundary.after)
        self._ends()
        self._part(self.end, len(self.marked), SegmentKind.TEMPLATE)

    def _next(self, role: str) -> tuple[Boundary, int, list[tuple[int, int]]] | None:
        """The first boundary behind a message of a role; of several at one place the longest."""
        hits = []
        for boundary in self._following(role):
            if boundary.after != END and boundary.pieces:
                match = self.parser.patterns[boundary].search(self.marked, self.at)
                if match:
                    # where a template writes tool results as it writes replies, what begins so is a reply
                    hits.append((match.start(), -match.end(), boundary.after not in ASSISTANT_ROLES, boundary, match))
        if not hits:
            return None
        start, _, _, boundary, match = min(hits, key=lambda hit: hit[:3])
        return boundary, start, [match.span(number + 1) for number in range(len(boundary.pieces))]

    def _ends(self) -> None:
        """The last message, what closes it, and where what was appended begins."""
        closings = [boundary for boundary in self._following(self.roles[-1]) if boundary.after == END and boundary.literal]
        reach = len(self.marked)
        while reach > self.at:
            fitting = [b for b in closings if self.marked.endswith(b.literal, self.at, reach)]
            if fitting:
                best = max(fitting, key=lambda boundary: len(boundary.literal))
                start = reach - len(best.literal)
                if self.marked[max(start - 1, self.at) : start] not in self.parser.ends:
                    self._says(start)
                    self._pieces(best.pieces, start)
                    self.end = reach
                    return
            if self.marked[reach - 1] not in self.parser.ends:
                break
            reach -= 1
        reach = min(reach + 1, len(self.marked))  # of end tokens in a row, the first may be the reply's own
        start, pieces = self._begun(reach)
        self._says(start)
        self._pieces(pieces, start, reach)
        self.end = reach

    def _begun(self, reach: int) -> tuple[int, tuple[Piece, ...]]:
        """Where a boundary begins of which only a part stands before ``reach``, and its pieces."""
        best = reach
        pieces: tuple[Piece, ...] = ()
        for boundary in self._following(self.roles[-1]):
            for length in range(min(len(boundary.literal), reach - self.at), reach - best, -1):
                head = boundary.literal[:length]
                if self.marked.endswith(head, 0, reach) and any(map(self.parser.read.is_mark, head)):
                    best, pieces = reach - length, boundary.pieces
                    break
        return best, pieces

    def _is_control(self, at: int) -> bool:
        return self.parser.read.is_mark(self.marked[at])

    def _following(self, role: str) -> list[Boundary]:
        return self.parser.following.get(role, [])

    # -- parts ------------------------------------------------------------------------------------------------

    def _says(self, end: int) -> None:
        """What a message says, up to ``end``: of a reply, its thinking and its tool calls apart."""
        role, start = self.roles[-1], self.at
        if role not in ASSISTANT_ROLES:
            self._part(start, end, role_kind(role), said=True)
        else:
            thought = self._marked(start, self.parser.tags.end_in(self._original(start, end)))
            tag = self.parser.structure.tool_call
            call = self._original(thought, end).find(tag) if tag else -1
            called = self._marked(thought, call) if call >= 0 else end
            self._part(start, thought, SegmentKind.REASONING, generated=True, said=True)
            self._part(thought, called, SegmentKind.ANSWER, generated=True, said=True)
            self._part(called, end, SegmentKind.TOOL_CALL, generated=True, said=True)

    def _original(self, start: int, end: int) -> str:
        place = self.text.marked.place
        return self.text.text[place[start] : place[end]]

    def _marked(self, start: int, offset: int) -> int:
        """``offset`` characters of the original text behind ``start`` of the marked one, in the marked one."""
        return self.text.marked.at(int(self.text.marked.place[start]) + offset)

    def _pieces(self, pieces: Sequence[Piece], start: int, reach: int | None = None) -> None:
        """Pieces of literal text, one behind the other, as far as the row goes."""
        spans = []
        for piece in pieces:
            end = min(start + len(piece.text), len(self.marked) if reach is None else reach)
            spans.append((start, end))
            start = end
        self._spans(pieces, spans)

    def _spans(self, pieces: Sequence[Piece], spans: Sequence[tuple[int, int]]) -> None:
        message = len(self.roles) - 1
        for piece, (start, end) in zip(pieces, spans, strict=True):
            self._part(start, end, piece.kind, generated=piece.generated, message=message + piece.next)
        self.at = max((end for _, end in spans), default=self.at)

    def _part(
        self, start: int, end: int, kind: SegmentKind, *, generated: bool = False, said: bool = False, message: int | None = None
    ) -> None:
        if start < end:
            number = len(self.roles) - 1 if message is None else message
            self.parts.append(_Part(start, end, kind, generated, number, said))
        self.at = max(self.at, end)
