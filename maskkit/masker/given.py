"""Rows that are tokens already: their text is what the tokenizer says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskkit.chat.segments import RenderedText, Segment
from maskkit.errors import DataError
from maskkit.kinds import SegmentKind
from maskkit.masker.encoded import Encoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import PreTrainedTokenizerBase

    from maskkit.masker.encoder import Encoder
    from maskkit.records import Record
    from maskkit.records.attribution import Attribution

Ints = npt.NDArray[np.int64]

_PART = "\N{REPLACEMENT CHARACTER}"
_KIND = tuple(SegmentKind)
_LONGEST = 4
"""Tokens of one character, at most: a byte each."""


def given_ids(encoder: Encoder, record: Record) -> tuple[RenderedText, Encoded]:
    """The text of a row of tokens, and its ids with their characters; the text is what the row says of its tokens, or all of it of kind
    ``text`` and nobody's.

    Raises DataError for an id that the tokenizer does not have.
    """
    assert record.tokens is not None
    ids, tokenizer = record.tokens.ids, encoder.tokenizer
    beyond = next((token_id for token_id in ids if token_id >= len(tokenizer)), None)
    if beyond is not None:
        raise DataError(f"{record.source}: input_ids has {beyond}, and the tokenizer has {len(tokenizer)} tokens: is it theirs?")
    text, encoded = _encoded_again(encoder, record) or _decoded_in_pieces(tokenizer, ids)
    return RenderedText(text, _segments(len(text), encoded.start, encoded.end, record.tokens.attribution)), encoded


def _encoded_again(encoder: Encoder, record: Record) -> tuple[str, Encoded] | None:
    """Text and characters, if the text of the tokens is encoded as these tokens, as it is in most rows: much faster than reading each of
    them behind the one before it."""
    assert record.tokens is not None
    text = _decoded(encoder.tokenizer, record.tokens.ids)
    found = encoder(text, (), record)
    if not np.array_equal(found.ids, record.tokens.ids):
        return None
    behind = np.append(0, np.maximum.accumulate(found.end))
    gapless = behind[-1] == len(text) and (found.start <= behind[:-1]).all()
    return (text, found) if gapless else None


def _decoded_in_pieces(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> tuple[str, Encoded]:
    text, start, end = "", np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
    for first, last, piece in _pieces(tokenizer, ids):
        start[first:last], end[first:last] = len(text), len(text) + len(piece)
        text += piece
    return text, Encoded(np.array(ids), start, end)


def _segments(length: int, start: Ints, end: Ints, attribution: Attribution | None) -> tuple[Segment, ...]:
    """Runs of characters with one origin. What touches prompt and generated text begins as the prompt's, and goes on as the model's."""
    if attribution is None:
        return (Segment(0, length, SegmentKind.TEXT, False),)
    runs: list[Segment] = []

    def add(first: int, last: int, kind: SegmentKind, generated: bool, message: int) -> None:
        if runs and (runs[-1].kind, runs[-1].generated, runs[-1].message) == (kind, generated, message):
            first = runs.pop().start
        runs.append(Segment(first, last, kind, generated, message))

    several = attribution.generated is not None
    for token, (first, last) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        if runs and first < runs[-1].end:  # a character of several tokens, which are all alike
            continue
        kind, message = _KIND[attribution.kinds[token]], attribution.messages[token] if several else -1
        generated, straddle = (bool(column and column[token]) for column in (attribution.generated, attribution.straddle))
        if straddle and last - first > 1:
            add(first, first + 1, SegmentKind.TEMPLATE, False, message)
            add(first + 1, last, kind, True, message)
        else:
            add(first, last, kind, generated and not straddle, message)
    return tuple(runs)


def _pieces(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """(first token, token behind the last, characters): tokens of a split character come together.

    Each is read behind the one before it, since some tokenizers write a space only between words.
    """
    before, first = 0, 0
    for last in range(1, len(ids) + 1):
        known = _decoded(tokenizer, ids[before:first])
        piece = _decoded(tokenizer, ids[before:last])[len(known) :]
        if piece.endswith(_PART) and last - first < _LONGEST and last < len(ids):
            continue
        yield first, last, piece or str(tokenizer.convert_ids_to_tokens(ids[last - 1]))
        before, first = first, last


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)) if ids else ""
