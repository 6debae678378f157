"""A conversation as maskkit, a renderer and transformers each have it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from maskkit.chat.kinds import ASSISTANT_ROLES, SCAFFOLD_FIELDS
from maskkit.chat.segments import Segment
from maskkit.errors import TemplateError
from maskkit.findings import Finding
from maskkit.integrations.renderers.alignment import Alignment, Change, align, joined
from maskkit.integrations.renderers.package import Opinion
from maskkit.masker import Masker
from maskkit.tokens import Tokens

NO_MESSAGE = ("tools", "documents", "kwargs")
"""Where data comes from that is no message's."""
_HEADER = SCAFFOLD_FIELDS | {"tool_call_id"}
"""Fields of a message that stand in headers."""
_TOGETHER = 4
"""How many neighbouring changes may be one text in other pieces."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """One conversation, rendered by all three.

    tokens, segments, findings: maskkit's. opinion: the renderer's. reference: ids of transformers' ``apply_chat_template(tokenize=True)``.
    """

    masker: Masker
    tokens: Tokens
    segments: tuple[Segment, ...]
    findings: tuple[Finding, ...]
    opinion: Opinion
    reference: list[int]

    @cached_property
    def alignment(self) -> Alignment:
        """maskkit's tokens beside the renderer's; one text in other pieces is one change, even where a piece is the same."""
        found = align(self.tokens.ids, self.opinion.ids)
        return joined(found, len(self.tokens), lambda change: self.text_of(change) == self.decoded_of(change), _TOGETHER)

    @cached_property
    def ours_is_reference(self) -> bool:
        """Are maskkit's tokens transformers', or would be if the conversation did not type control tokens, which maskkit escapes?"""
        if not self.has_typed_control:
            return bool(self.tokens.ids.tolist() == self.reference)
        return list(self.masker.tokenizer(self.tokens.text, add_special_tokens=False)["input_ids"]) == self.reference

    @cached_property
    def has_typed_control(self) -> bool:
        """Does the conversation hold the text of control tokens?"""
        return any(finding.code == "control-tokens" for finding in self.findings)

    @cached_property
    def added_ids(self) -> frozenset[int]:
        """Control tokens, tags among them."""
        return frozenset(self.masker.tokenizer.get_added_vocab().values())

    @cached_property
    def theirs_is_reference(self) -> bool:
        """Are the renderer's tokens transformers'?"""
        return bool(self.opinion.ids.tolist() == self.reference)

    @cached_property
    def roots(self) -> list[str]:
        """For each token the first step of its field: ``content``, ``tools``; empty for text of the template, headers' names included."""
        roots = [name.partition(".")[0].partition("[")[0] for name in self.tokens.field.tolist()]
        return ["" if root in _HEADER else root for root in roots]

    @cached_property
    def said(self) -> list[str]:
        """Every text in the messages, without blanks around it; names of roles and types of parts are none."""
        found = _texts(list(self.tokens.record.messages))
        return [bare for text in found if (bare := text.strip())]

    @property
    def stop_ids(self) -> frozenset[int]:
        """Stop tokens of the tokenizer and the generation config; what only maskkit takes for one is no evidence."""
        return self.masker.renderer.stop_token_ids

    @cached_property
    def _starts(self) -> Any:
        return np.array([segment.start for segment in self.segments])

    def touched(self, token: int) -> tuple[Segment, ...]:
        """The segments that a token covers characters of."""
        start, end = int(self.tokens.char_start[token]), int(self.tokens.char_end[token])
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, max(end - 1, start), side="right")) - 1
        return self.segments[first : last + 1]

    def text(self, start: int, end: int) -> str:
        """What maskkit's tokens ``start`` up to ``end`` cover."""
        return self.tokens.text[self.tokens.char_start[start] : self.tokens.char_end[end - 1]] if start < end else ""

    def text_of(self, change: Change) -> str:
        """What maskkit's tokens of a change cover."""
        return self.text(change.start, change.end)

    def decoded_of(self, change: Change) -> str:
        """The renderer's tokens of a change as text."""
        ids = self.opinion.ids[change.other_start : change.other_end].tolist()
        return str(self.masker.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def is_reply(self, message: int) -> bool:
        """Is it an assistant's message?"""
        return message >= 0 and self.tokens.record.messages[message].get("role") in ASSISTANT_ROLES

    def prompt_end(self, message: int) -> int | None:
        """Where the prompt of an assistant message ends in the text, as transformers makes it; None where the text does not begin so."""
        if message not in self._prompts:
            try:
                prompt = self.masker.renderer.prompt(self.tokens.record, message)
            except TemplateError:
                prompt = "\0"  # no text begins with it
            self._prompts[message] = len(prompt) if self.tokens.text.startswith(prompt) else None
        return self._prompts[message]

    @cached_property
    def _prompts(self) -> dict[int, int | None]:
        return {}


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, item in value.items() if key not in ("role", "type") for text in _texts(item)]
    return [text for item in value for text in _texts(item)] if isinstance(value, (list, tuple)) else []
