"""Records without a chat template: plain text, or a prompt and its completion, encoded apart and joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from maskkit.chat.segments import RenderedText, Segment
from maskkit.chat.typed import TypedText
from maskkit.errors import TokenizerError
from maskkit.findings import Finding
from maskkit.kinds import SegmentKind
from maskkit.masker.encoded import Encoded
from maskkit.masker.encoder import Encoder

if TYPE_CHECKING:
    from maskkit.records import Record


class PlainEncoder:
    """Encodes them with the tokenizer's special tokens around, and an end of sequence last."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.tokenizer = encoder.tokenizer
        self._specials: tuple[list[int], list[int]] | None = None

    def __call__(self, record: Record) -> tuple[RenderedText, Encoded]:
        """A row's end of sequence, where it is written out at its end, is the one that is appended, not typed text."""
        head, tail = self._added_specials()
        eos_id, eos = self.tokenizer.eos_token_id, self.tokenizer.eos_token
        ending = [token_id for token_id in tail if token_id == eos_id] or ([eos_id] if eos_id is not None else [])
        joined = _Joined(self.encoder, record)
        joined.specials(head, SegmentKind.TEMPLATE, False, -1)
        replies = record.form == "completion"
        if replies:
            joined.text(record.prompt, SegmentKind.USER, False, 0, "prompt")
            joined.text(record.completion.removesuffix(eos or ""), SegmentKind.ANSWER, True, 1, "completion")
        else:
            joined.text(record.text.removesuffix(eos or ""), SegmentKind.TEXT, False, -1, "text")
        joined.specials(ending, SegmentKind.STOP, replies, 1 if replies else -1)
        return joined.rendered(), joined.encoded()

    def _added_specials(self) -> tuple[list[int], list[int]]:
        """The special tokens that the tokenizer puts before and after a plain text."""
        if self._specials is None:
            inner = self.tokenizer("a", add_special_tokens=False)["input_ids"]
            outer = self.tokenizer("a")["input_ids"]
            start = next((i for i in range(len(outer) - len(inner) + 1) if outer[i : i + len(inner)] == inner), None)
            if start is None:
                raise TokenizerError(
                    f"{type(self.tokenizer).__name__} changes a text when it adds special tokens: plain text cannot be attributed"
                )
            self._specials = outer[:start], outer[start + len(inner) :]
        return self._specials


class _Joined:
    """Pieces encoded apart and joined, each with its segment: ids, offsets and text grow in one place, so they cannot drift."""

    def __init__(self, encoder: Encoder, record: Record) -> None:
        self.encoder = encoder
        self.record = record
        self.pieces: list[Encoded] = []
        self.parts: list[str] = []
        self.segments: list[Segment] = []
        self.length = 0

    def text(self, text: str, kind: SegmentKind, generated: bool, message: int, field: str) -> None:
        typed = [TypedText(0, len(text), field, by_model=generated)]
        self._append(self.encoder(text, typed, self.record), text, kind, generated, message, field)

    def specials(self, ids: Sequence[int], kind: SegmentKind, generated: bool, message: int) -> None:
        for token_id in ids:
            content = str(self.encoder.tokenizer.convert_ids_to_tokens(token_id))
            encoded = Encoded(np.array([token_id]), np.array([0]), np.array([len(content)]))
            self._append(encoded, content, kind, generated, message, "")

    def rendered(self) -> RenderedText:
        return RenderedText("".join(self.parts), tuple(self.segments))

    def encoded(self) -> Encoded:
        return joined(self.pieces)

    def _append(self, encoded: Encoded, text: str, kind: SegmentKind, generated: bool, message: int, field: str) -> None:
        self.pieces.append(Encoded(encoded.ids, encoded.start + self.length, encoded.end + self.length, encoded.findings))
        self.parts.append(text)
        if text:
            self.segments.append(Segment(self.length, self.length + len(text), kind, generated, message, field, 0 if field else -1))
        self.length += len(text)


def joined(pieces: Sequence[Encoded]) -> Encoded:
    """Pieces whose offsets already count from the beginning of the whole text, as one."""
    return Encoded(
        np.concatenate([piece.ids for piece in pieces]),
        np.concatenate([piece.start for piece in pieces]),
        np.concatenate([piece.end for piece in pieces]),
        _merged([finding for piece in pieces for finding in piece.findings]),
    )


def _merged(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """One finding of each sort."""
    of_code: dict[str, Finding] = {}
    for finding in findings:
        first = of_code.get(finding.code)
        of_code[finding.code] = (
            Finding(finding.code, f"{first.message}; {finding.message}", first.count + finding.count) if first else finding
        )
    return tuple(of_code.values())
