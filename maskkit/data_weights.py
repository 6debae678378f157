"""From the marks of a row to a weight per token.

A message's mark covers what the message says: its text, reasoning, calls and stop token; never the template's scaffolding, nor text of a
reply that the model does not itself emit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from maskkit.chat.calls import call_ranges
from maskkit.errors import DataError
from maskkit.kinds import GENERATED_KINDS, SegmentKind
from maskkit.records.marks import CHARACTERS, MESSAGE, PART, Mark, mark_paths, marks_of

if TYPE_CHECKING:
    from maskkit.chat.segments import Segment
    from maskkit.records import Record

_SCAFFOLDING = (SegmentKind.TEMPLATE, SegmentKind.UNKNOWN)


class Marked(NamedTuple):
    """``text[start:end]`` has that weight, by a mark of that level."""

    start: int
    end: int
    weight: float
    level: int


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A rendered text whose row has marks; reads them when asked for weights.

    ``segments`` count the ``messages`` of the record, where only some of them were rendered.
    """

    text: str
    segments: tuple[Segment, ...]
    record: Record
    messages: tuple[int, ...] | None = None

    def weights(self, char_start: npt.NDArray[np.int32], char_end: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """The weight of each token: float32 [T], NaN where no mark covers it.

        A token takes the most specific mark that it touches, blanks around its text aside; of several as specific, the one with most of
        its characters.
        char_start, char_end: int32 [T], offsets in ``text``. Raises DataError for a mark that is no weight, and for ranges of characters
        of a text that the template does not print as it is.
        """
        runs = _Runs(self.text, self.marked())
        return np.array([runs.of(start, end) for start, end in zip(char_start.tolist(), char_end.tolist(), strict=True)], np.float32)

    def marked(self) -> list[Marked]:
        """What the marks say of the text, message marks first, then parts and calls, then characters."""
        marks: dict[int, list[Mark]] = {}
        for mark in marks_of(self.record):
            marks.setdefault(mark.message, []).append(mark)
            if mark.level == CHARACTERS:
                self._check_placeable(mark)
        calls = call_ranges(self.segments, self.text)
        found = [
            marked
            for number, segment in enumerate(self.segments)
            if _says_something(segment)
            for mark in marks.get(self._message(segment), ())
            for marked in self._covered(mark, number, segment, calls)
        ]
        return sorted(found, key=lambda marked: marked.level)

    def _message(self, segment: Segment) -> int:
        return segment.message if segment.message < 0 or self.messages is None else self.messages[segment.message]

    def _covered(self, mark: Mark, number: int, segment: Segment, calls: Sequence[tuple[int, int, int, int]]) -> Iterator[Marked]:
        """What of a segment of the mark's message the mark covers."""
        if mark.level == MESSAGE:
            yield Marked(segment.start, segment.end, mark.weight, MESSAGE)
        elif mark.field.startswith("tool_calls"):
            for start, end, _, call in calls:  # within the segment they are its message's
                start, end = max(start, segment.start), min(end, segment.end)
                if start < end and mark.field == f"tool_calls[{call}]":
                    yield Marked(start, end, mark.weight, PART)
        elif mark.level == PART:
            if segment.field == mark.field or segment.field.startswith((f"{mark.field}.", f"{mark.field}[")):
                yield Marked(segment.start, segment.end, mark.weight, PART)
        elif segment.field == mark.field:
            yield from self._characters(mark, number, segment)

    def _characters(self, mark: Mark, number: int, segment: Segment) -> Iterator[Marked]:
        if segment.offset < 0:  # what a filter adds, such as the quotes of JSON
            return
        stands_for = min(segment.end - segment.start, self._offset_after(number, segment) - segment.offset)
        if stands_for < segment.end - segment.start:  # several characters for one of the field, as JSON writes a quote
            if mark.start <= segment.offset < mark.end:
                yield Marked(segment.start, segment.end, mark.weight, CHARACTERS)
            return
        moved = segment.start - segment.offset
        start, end = max(mark.start + moved, segment.start), min(mark.end + moved, segment.end)
        if start < end:
            yield Marked(start, end, mark.weight, CHARACTERS)

    def _check_placeable(self, mark: Mark) -> None:
        of_field = [s.offset for s in self.segments if s.field == mark.field and self._message(s) == mark.message and _says_something(s)]
        if of_field and max(of_field) < 0:
            raise DataError(
                f"{self.record.source}: {mark.path} gives a range of characters, but the chat template does not print {mark.field} as it "
                "is, so the range cannot be placed: mark the whole message or a part of its content"
            )

    def _offset_after(self, number: int, segment: Segment) -> int:
        """Where in the field the text behind a segment goes on."""
        following = self.segments[number + 1] if number + 1 < len(self.segments) else None
        if following is not None and (following.message, following.field) == (segment.message, segment.field) and following.offset >= 0:
            return following.offset
        return len(str(self.record.messages[self._message(segment)].get(segment.field, "")))


class _Runs:
    """The weight of each character, in runs of one weight and level."""

    def __init__(self, text: str, marked: Sequence[Marked]) -> None:
        self.text = text
        self.level = np.full(len(text), -1, np.int8)
        self.weight = np.full(len(text), np.nan)
        for start, end, weight, level in marked:
            self.level[start:end] = level
            self.weight[start:end] = weight
        changes = (np.diff(self.level) != 0) | (np.diff(np.nan_to_num(self.weight)) != 0)
        self.run = np.concatenate(([0], np.cumsum(changes)))

    def of(self, start: int, end: int) -> float:
        """The weight of a token of these characters."""
        if not len(self.level):
            return float("nan")
        start = min(start, len(self.level) - 1)
        end = max(end, start + 1)
        if self.run[start] == self.run[end - 1]:
            return float(self.weight[start])
        piece = self.text[start:end]
        if piece.strip():
            start, end = end - len(piece.lstrip()), start + len(piece.rstrip())
        most_specific = np.flatnonzero(self.level[start:end] == self.level[start:end].max()) + start
        runs = self.run[most_specific].tolist()
        commonest = max(runs, key=runs.count)  # of several, max takes the first
        return float(self.weight[most_specific[runs.index(commonest)]])


def marked_text(text: str, segments: Sequence[Segment], record: Record, messages: Sequence[int] | None = None) -> MarkedText | None:
    """The text with its marks; None where the row has no mark, as almost always."""
    if not mark_paths(record):
        return None
    return MarkedText(text, tuple(segments), record, None if messages is None else tuple(messages))


def _says_something(segment: Segment) -> bool:
    return segment.message >= 0 and segment.kind not in _SCAFFOLDING and (segment.generated or segment.kind not in GENERATED_KINDS)
