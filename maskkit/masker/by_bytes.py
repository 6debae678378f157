"""Ids without offsets, which tokenizers make faster, and the offsets from the bytes that each token stands for.

Where the bytes of a text's tokens, one after another, are the text's own bytes, they say where each token stands. Where they are not (the
tokenizer normalised the text), or where blanks are taken away and put back, the tokenizer has to be asked for offsets.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from maskkit.masker.encoded import Encoded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_EVERY_BYTE = "".join(
    [
        *map(chr, range(0x80)),
        *(chr(0x80 + last) for last in range(0x40)),  # every byte behind the first of a character
        *(chr(first << 6) for first in range(3, 0x20)),  # every first byte of two, of three and of four
        *(chr(max(first << 12, 0x800)) for first in range(0x10) if first != 0xD),
        chr(0xD000),
        *(chr(max(first << 18, 0x10000)) for first in range(5)),
    ]
)
"""Characters in whose UTF-8 every byte occurs that UTF-8 has."""
_MOVES_BLANKS = re.compile(r"Strip\(|Prepend\(|Precompiled\(|Metaspace\(|add_prefix_space=True")
"""In what a tokenizer says of its steps: those that take blanks from a text or put some before it."""
_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


class EncoderByBytes:
    """Encodes a text, if the bytes of its tokens are the text's."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._backend: Any = tokenizer.backend_tokenizer

    def __call__(self, text: str) -> Encoded | None:
        """Ids and exact character offsets; None where the tokenizer has to be asked for the offsets."""
        if not self._is_direct or not self._takes_texts_as_they_are():
            return None
        ids = self._backend.encode_batch_fast([text], add_special_tokens=False)[0].ids
        pieces = list(map(self._bytes.__getitem__, ids))
        encoded = text.encode()
        if not ids or b"".join(pieces) != encoded or not self._taking_blanks.isdisjoint(ids):
            return None
        ends = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)))
        starts = np.concatenate(([0], ends[:-1]))
        if len(encoded) > len(text):
            first_bytes = (np.frombuffer(encoded, np.uint8) & 0xC0) != 0x80
            character = np.cumsum(first_bytes) - 1
            starts, ends = character[starts], character[ends - 1] + 1
        return Encoded(np.array(ids, np.int64), starts, ends)

    @cached_property
    def _is_direct(self) -> bool:
        """Does the tokenizer hand texts to its backend as they are, and that puts no blanks before them?"""
        from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

        kind = type(self._tokenizer)
        same = kind.__call__ is PreTrainedTokenizerBase.__call__ and kind._encode_plus is PreTrainedTokenizerFast._encode_plus
        return same and not _MOVES_BLANKS.search(f"{self._backend.normalizer} {self._backend.pre_tokenizer}")

    @cached_property
    def _taking_blanks(self) -> frozenset[int]:
        """Ids of added tokens that take the blanks around them."""
        added = self._backend.get_added_tokens_decoder()
        return frozenset(number for number, token in added.items() if token.lstrip or token.rstrip)

    def _takes_texts_as_they_are(self) -> bool:
        """Has nobody told the tokenizer to cut, to pad, or to take special tokens apart? Its backend remembers the last call's."""
        backend = self._backend
        asked = backend.truncation or backend.padding or backend.encode_special_tokens
        return not asked and not getattr(self._tokenizer, "split_special_tokens", False)

    @cached_property
    def _bytes(self) -> _BytesOfTokens:
        return _BytesOfTokens(self._backend)

    def __getstate__(self) -> dict[str, Any]:
        """What was looked up is looked up anew."""
        return {"_tokenizer": self._tokenizer, "_backend": self._backend}


class _BytesOfTokens(dict[int, bytes]):
    """Id -> the bytes that the token stands for, looked up when first asked for."""

    def __init__(self, backend: Any) -> None:
        super().__init__()
        self._backend = backend
        self._added = {number: token.content.encode() for number, token in backend.get_added_tokens_decoder().items()}
        self._alphabet = _byte_alphabet() if "ByteLevel" in f"{backend.pre_tokenizer} {backend.decoder}" else {}

    def __missing__(self, token_id: int) -> bytes:
        known = self._added.get(token_id)
        self[token_id] = found = self._of_piece(self._backend.id_to_token(token_id)) if known is None else known
        return found

    def _of_piece(self, piece: str) -> bytes:
        if self._alphabet:
            return bytes(map(self._alphabet.__getitem__, piece)) if self._alphabet.keys() >= set(piece) else piece.encode()
        byte = _BYTE_PIECE.fullmatch(piece)
        return bytes([int(byte[1], 16)]) if byte else piece.replace("▁", " ").encode()


def _byte_alphabet() -> dict[str, int]:
    """The letter for each byte in byte-level vocabularies -> the byte."""
    from tokenizers.pre_tokenizers import ByteLevel

    (letters, _), *_ = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(_EVERY_BYTE)
    return dict(zip(letters, _EVERY_BYTE.encode(), strict=True))
