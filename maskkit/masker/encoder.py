"""Text to token ids and character offsets, exactly as transformers makes them; what a row only typed never becomes a control token."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from maskkit.errors import ConfigError, DataError, TokenizerError
from maskkit.findings import Finding
from maskkit.masker.by_bytes import EncoderByBytes
from maskkit.masker.control import ControlTokens, Occurrence, typed_among
from maskkit.masker.encoded import Encoded, Ints, encoded_of, with_composed
from maskkit.masker.stand_ins import StandIns, copied
from maskkit.records.messages import short

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from maskkit.chat.typed import TypedText
    from maskkit.records import Record

CONTROL_TOKENS = ("escape", "error", "allow")
"""What to do with control tokens that a row typed: encode them as ordinary text, refuse the row, take them for control tokens."""

_BEFORE = "\n"
"""Stands before a text that goes on from another, so that no tokenizer takes it for the beginning of a text."""


class Encoder:
    """Encodes text under one tokenizer.

    control_tokens: ``escape``, ``error`` or ``allow``. stop_token_ids: control tokens beside those that the tokenizer says are special.
    reasoning_tags: tags that stay tokens where the model writes, beside the ones that are known.
    Raises TokenizerError for a tokenizer without character offsets.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        control_tokens: str = "escape",
        stop_token_ids: Iterable[int] = (),
        reasoning_tags: Iterable[tuple[str, str]] = (),
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise TokenizerError(_unfit(tokenizer))
        if control_tokens not in CONTROL_TOKENS:
            raise ConfigError(f"control_tokens is {control_tokens!r}, expected {', '.join(map(repr, CONTROL_TOKENS))}")
        self.tokenizer = tokenizer
        self.control_tokens = control_tokens
        self._control = ControlTokens(tokenizer, stop_token_ids, reasoning_tags)
        self._stand_ins = StandIns(tokenizer.backend_tokenizer, self._control.contents)
        self._by_bytes = EncoderByBytes(tokenizer)

    def __getstate__(self) -> dict[str, Any]:
        """What was found out about the tokenizer is found out anew."""
        return {name: value for name, value in vars(self).items() if not isinstance(getattr(Encoder, name, None), cached_property)}

    def __call__(self, text: str, typed: Sequence[TypedText], record: Record, *, continues: bool = False) -> Encoded:
        """Encode a text of a record, without adding special tokens.

        typed: the ranges that the row brought, in order. continues: the text goes on from another, so nothing that the tokenizer writes
        before the beginning of a text stands before it. Raises DataError for typed control tokens under ``error``.
        """
        if continues and self._marks_beginnings:
            return self._continued(text, typed, record)
        encoded = self._plain(text)
        occurrences = self._control.occurrences(text, encoded.ids, encoded.start, encoded.end)
        found = self._typed(occurrences, typed, encoded.ids, record)
        if not found:
            return encoded
        names = [text[occurrence.start : occurrence.end] for occurrence, _ in found]
        if self.control_tokens == "error":
            raise DataError(
                f"{record.source}: {found[0][1].field} holds the control token {names[0]!r}, expected ordinary text: remove it, "
                "or set control_tokens to 'escape' or 'allow'"
            )
        if self.control_tokens == "escape":
            encoded = self.with_control(text, [(int(encoded.ids[o.token]), o) for o in _others(occurrences, found)])
        return replace(encoded, findings=(_typed_finding(names, found[0][1].field, self.control_tokens),))

    def with_control(self, text: str, control: Iterable[tuple[int, Occurrence]]) -> Encoded:
        """Encode a text in which only the given occurrences, each with its id, are control tokens."""
        ids, start, end = self._stand_ins.encode(text, [(token_id, at.start, at.end) for token_id, at in control])
        return Encoded(ids, start, with_composed(text, start, end))

    def _typed(
        self, occurrences: Sequence[Occurrence], typed: Sequence[TypedText], ids: Ints, record: Record
    ) -> list[tuple[Occurrence, TypedText]]:
        if not occurrences or not typed:
            return []
        brought = "" if all(each.certain for each in typed) else _all_text(record)
        return typed_among(occurrences, typed, ids, self._control, brought)

    def _plain(self, text: str) -> Encoded:
        """The same ids that apply_chat_template(tokenize=True) makes of the text it rendered."""
        encoded = self._by_bytes(text)
        if encoded is not None:
            return encoded
        if self._untrimmed is None:
            encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
            return encoded_of(text, encoding["input_ids"], encoding["offset_mapping"])
        backend, real = self._untrimmed
        found = backend.encode(text, add_special_tokens=False)
        return encoded_of(text, [real.get(token_id, token_id) for token_id in found.ids] if real else found.ids, found.offsets)

    @cached_property
    def _untrimmed(self) -> tuple[Any, dict[int, int]] | None:
        """A copy of the backend with exact offsets, where the original leaves out the blank in front of a word, which its token stands for.

        Without that blank, a token that joins the prompt's last blank to a reply would pass for the reply's alone.
        """
        backend = self.tokenizer.backend_tokenizer
        processor = backend.post_processor
        if processor is None or not _asks_to_trim(json.loads(processor.__getstate__())):
            return None
        return copied(backend, {})

    @cached_property
    def _marks_beginnings(self) -> bool:
        """Does the tokenizer write something before a text, as SentencePiece does with its blank?"""
        alone, later = self._plain("a").ids.tolist(), self._plain(_BEFORE + "a").ids.tolist()
        return bool(later[-len(alone) :] != alone)

    def _continued(self, text: str, typed: Sequence[TypedText], record: Record) -> Encoded:
        moved = [replace(each, start=each.start + len(_BEFORE), end=each.end + len(_BEFORE)) for each in typed]
        encoded = self(_BEFORE + text, moved, record)
        first = int(np.searchsorted(encoded.end, len(_BEFORE), side="right"))
        if first < len(encoded.ids) and encoded.start[first] < len(_BEFORE):
            raise TokenizerError(
                f"{record.source}: {type(self.tokenizer).__name__} joins a line break with the text {text[:20]!r} behind it, so a reply "
                "cannot be encoded apart from its prompt: use history: as-rendered"
            )
        return Encoded(encoded.ids[first:], encoded.start[first:] - len(_BEFORE), encoded.end[first:] - len(_BEFORE), encoded.findings)


def _unfit(tokenizer: Any) -> str:
    """What to say of something that is no fast tokenizer: mostly a name, or an object that holds one."""
    if isinstance(tokenizer, (str, PurePath)):
        name, bundled = str(tokenizer), str(tokenizer) in ("tiny", "smollm2")
        load = f"load_tokenizer({name!r}) of maskkit.models" if bundled else f"transformers.AutoTokenizer.from_pretrained({name!r})"
        return f"tokenizer is the name {name!r}, expected a tokenizer itself: pass {load}"
    if getattr(getattr(tokenizer, "tokenizer", None), "is_fast", False):
        return f"tokenizer is a {type(tokenizer).__name__}, expected a tokenizer: pass the one it holds, its .tokenizer"
    if not hasattr(tokenizer, "convert_ids_to_tokens"):
        return (
            f"tokenizer is {short(tokenizer)}, expected a fast one of transformers: pass transformers.AutoTokenizer.from_pretrained(NAME)"
        )
    return (
        f"{type(tokenizer).__name__} gives no character offsets, so no weight can be placed exactly: use a fast tokenizer, as "
        "transformers.AutoTokenizer.from_pretrained(NAME) gives where there is one"
    )


def _others(occurrences: Sequence[Occurrence], found: Sequence[tuple[Occurrence, TypedText]]) -> list[Occurrence]:
    typed = {occurrence.token for occurrence, _ in found}
    return [occurrence for occurrence in occurrences if occurrence.token not in typed]


def _typed_finding(names: Sequence[str], field: str, control_tokens: str) -> Finding:
    counted = ", ".join(f"{name!r}" + (f" ({count} times)" if count > 1 else "") for name, count in Counter(names).most_common(3))
    done = "encoded as ordinary text" if control_tokens == "escape" else "left as control tokens"
    return Finding("control-tokens", f"{counted} typed, first in {field}: {done}", len(names))


def _asks_to_trim(processor: dict[str, Any]) -> bool:
    return bool(processor.get("trim_offsets")) or any(map(_asks_to_trim, processor.get("processors", ())))


def _all_text(record: Record) -> str:
    brought = [record.messages, record.tools, record.documents, dict(record.template_kwargs)]
    return json.dumps(brought, ensure_ascii=False, default=str)
