"""From ids back to text, with the characters of every token, and with control tokens told from text that only looks like them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskkit.checks.text import LOST
from maskkit.masker.control import ControlTokens
from maskkit.masker.encoder import Encoder
from maskkit.records import Record, to_record

FIRST_MARK = 0xF0000
"""Control tokens are written as private-use characters from here on."""

_LONGEST = 4
"""Tokens of one character, at most: a byte each."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Marked:
    """A text in which every control token is one private-use character.

    place: int64 [len(text) + 1], where each of its characters, and its end, is in the original text.
    """

    text: str
    place: Ints

    def at(self, position: int) -> int:
        """Where a position of the original text is in this one."""
        return int(np.searchsorted(self.place, position))


@dataclass(frozen=True, eq=False, slots=True)
class Detokenized:
    """Ids, what they say, and which characters each token stands for (tokens of a split character share it)."""

    ids: Ints
    text: str
    start: Ints
    end: Ints
    marked: Marked


class Detokenizer:
    """Reads ids of one tokenizer. stop_ids: control tokens whatever they look like. Raises TokenizerError for one without offsets."""

    def __init__(self, tokenizer: Any, stop_ids: Iterable[int] = ()) -> None:
        self.tokenizer = tokenizer
        self._encoder = Encoder(tokenizer, "allow", stop_ids)
        self._control = ControlTokens(tokenizer, stop_ids)
        self._mark = {token_id: chr(FIRST_MARK + number) for number, token_id in enumerate(sorted(self._control.contents))}
        self._nothing: Record = to_record({"text": ""})

    def __call__(self, ids: Sequence[int] | Ints) -> Detokenized:
        """The text of ids."""
        given = np.asarray(ids, np.int64)
        text = self._decode(given.tolist())
        encoded = self._encoder(text, (), self._nothing)
        if np.array_equal(encoded.ids, given):
            return self._marked(given, text, encoded.start, encoded.end)
        return self._marked(given, *self._one_by_one(given.tolist()))

    def of_text(self, text: str) -> Marked:
        """What the ids of a rendered text say, with the places that their characters have in it.

        Some tokenizers write blanks around control tokens when they decode: so they will in the ids to be read.
        """
        encoded = self._encoder(text, (), self._nothing)
        read = self(encoded.ids)
        if read.text == text:
            return read.marked
        place = np.full(len(read.text) + 1, len(text), np.int64)
        for start, end, first, last in zip(*(c.tolist() for c in (read.start, read.end, encoded.start, encoded.end)), strict=True):
            place[start:end] = np.maximum(np.arange(last - (end - start), last), first)
        return Marked(read.marked.text, np.maximum.accumulate(place[read.marked.place]))

    def marks_of(self, ids: Iterable[int]) -> str:
        """The private-use characters of control tokens."""
        return "".join(self._mark.get(token_id, "") for token_id in ids)

    def is_mark(self, character: str) -> bool:
        """Does the character of a marked text stand for a control token?"""
        return FIRST_MARK <= ord(character) < FIRST_MARK + len(self._mark)

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _one_by_one(self, ids: list[int]) -> tuple[str, Ints, Ints]:
        """Token by token, each behind the one before it; bytes of a character wait for its last."""
        text = ""
        start, end = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.int64)
        context = read = 0
        for index in range(len(ids)):
            said = self._decode(ids[context : index + 1])
            if said.endswith(LOST) and index - read + 1 < _LONGEST and index + 1 < len(ids):
                continue
            new = said[len(self._decode(ids[context:read])) :]
            start[read : index + 1], end[read : index + 1] = len(text), len(text) + len(new)
            text += new
            context, read = read, index + 1
        return text, start, end

    def _marked(self, ids: Ints, text: str, start: Ints, end: Ints) -> Detokenized:
        parts: list[str] = []
        places: list[Ints] = []
        at = 0
        for occurrence in np.flatnonzero(np.isin(ids, list(self._mark))).tolist():
            first, last = int(start[occurrence]), int(end[occurrence])
            if first < at or first == last:
                continue
            parts += [text[at:first], self._mark[int(ids[occurrence])]]
            places.append(np.arange(at, first + 1))
            at = last
        parts.append(text[at:])
        places.append(np.arange(at, len(text) + 1))
        return Detokenized(ids, text, start, end, Marked("".join(parts), np.concatenate(places)))
