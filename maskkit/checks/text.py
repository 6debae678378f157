"""Ids against text: doubled beginnings, lost characters, replies that do not decode to what they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from maskkit.checks.row import MaskedRow, Seen, runs
from maskkit.checks.words import counted
from maskkit.kinds import CODE

LOST = "\ufffd"
"""What bytes that are no character decode to."""


def doubled_bos(row: MaskedRow, tokenizer: Any) -> Iterator[Seen]:
    """Two beginnings of a sequence."""
    ids, bos = row.tokens.ids, tokenizer.bos_token_id
    if bos is not None and len(ids) > 1 and ids[0] == ids[1] == bos:
        yield Seen("doubled-bos", f"the row begins with {tokenizer.bos_token!r} twice", 2, 0)


def unknown_tokens(row: MaskedRow, tokenizer: Any) -> Iterator[Seen]:
    """Text that the vocabulary has no token for. Some families use the same id for something that is meant."""
    unknown = tokenizer.unk_token_id
    if unknown is None or unknown in (tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id):
        return
    found = row.tokens.ids == unknown
    if found.any():
        first = int(found.argmax())
        yield Seen("unknown-token", f"{counted(int(found.sum()), 'token')} {tokenizer.unk_token!r}", int(found.sum()), first)


def cut_character(row: MaskedRow, tokenizer: Any) -> Iterator[Seen]:
    """The row ends with some of the bytes of a character."""
    if not len(row.tokens) or not row.trained[-1] or row.tokens.piece(len(row.tokens) - 1).isascii():
        return
    if str(tokenizer.decode(row.tokens.ids[-8:].tolist())).endswith(LOST):
        yield Seen("split-character", "the row ends within a character", 1, len(row.tokens) - 1, "warning")


def reply_texts(row: MaskedRow, tokenizer: Any) -> Iterator[Seen]:
    """Trained replies whose tokens say something else than the text that they stand for."""
    if not row.chosen:  # of other masks the text is known from the tokens alone
        return
    tokens = row.tokens
    answers = (tokens.kind_codes == CODE["answer"]) & row.trained & ~tokens.straddle
    for first, end in runs(answers):
        text = tokens.text[tokens.char_start[first] : np.max(tokens.char_end[first:end])].strip()
        decoded = str(tokenizer.decode(tokens.ids[first:end].tolist(), clean_up_tokenization_spaces=False)).strip()
        if decoded != text and LOST not in decoded:
            yield Seen("text-differs", f"{_around(text, decoded)} decodes to {_around(decoded, text)}", end - first, first)
            return


def _around(text: str, other: str) -> str:
    """A few characters from where two texts part."""
    at = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), min(len(text), len(other)))
    return repr(text[max(at - 5, 0) : at + 15])
