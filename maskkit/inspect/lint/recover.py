"""From a given mask to a row that checks can read: who says what is found in the messages beside the ids, or in the ids themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from maskkit.chat.kinds import ASSISTANT_ROLES
from maskkit.chat.segments import Segment
from maskkit.checks.row import MaskedRow
from maskkit.errors import MaskkitError, TemplateError
from maskkit.findings import Finding
from maskkit.inspect.lint.detokenize import Detokenized, Detokenizer
from maskkit.inspect.lint.given import GivenRow
from maskkit.inspect.lint.parsing import Conversation, Parser
from maskkit.inspect.lint.structure import learn, renderer_of
from maskkit.kinds import SegmentKind
from maskkit.masker import Masker, Table
from maskkit.records import Record, to_record
from maskkit.tokens import Tokens, tokens_of_segments

_MARKERS = re.compile(
    r"<[|｜][^<>|｜\n]{1,40}[|｜]>|\[/?(?:INST|SYSTEM_PROMPT)\]|<(?:start|end)_of_turn>|<\|?turn\|?>"
    r"|^### (?:Instruction|Response|Human|Assistant):",
    re.MULTILINE,
)
"""What chat templates write around messages, whichever family's they are."""

_OF_THE_MASK = frozenset({"straddle", "trains-nothing"})
"""Findings about our own weights, not the given ones."""


class Recoverer:
    """Reads given rows of one tokenizer. Raises TokenizerError for one without character offsets."""

    def __init__(self, tokenizer: Any, template_kwargs: Mapping[str, Any] | None = None, stop_token_ids: Iterable[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._kwargs = dict(template_kwargs or {})
        self._stops = frozenset(stop_token_ids)
        self._read = Detokenizer(tokenizer, self._stops)

    def __call__(self, given: GivenRow) -> MaskedRow:
        """The row with its token table; all tokens are ``unknown`` where nobody can say what they are."""
        text = self._read(given.ids)
        table = self._of_messages(given) if given.has_messages else None
        if table is not None:
            findings = tuple(finding for finding in table.findings if finding.code not in _OF_THE_MASK)
            return MaskedRow(table.tokens, given.weights, given.labels, findings)
        found = self._parser(text, given.source) if self._parser else None
        findings = self._noticed(given, text, found)
        if found is None:
            return MaskedRow(_unknown(text, given.source), given.weights, given.labels, findings, attributed=False, has_messages=False)
        return MaskedRow(
            found.tokens,
            given.weights,
            given.labels,
            findings,
            has_messages=False,
            optional_prefill=found.optional_prefill,
            appended=found.appended,
            ends_with_stop=self._parser is not None and self._parser.structure.ends_with_stop,
        )

    @property
    def pad_id(self) -> int | None:
        """Id of the padding token."""
        pad: int | None = self._tokenizer.pad_token_id
        return pad

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end turns."""
        eos = self._tokenizer.eos_token_id
        return self._stops | (frozenset() if eos is None else {eos})

    @cached_property
    def _parser(self) -> Parser | None:
        """None where there is no chat template, or nothing can be learnt of it."""
        try:
            renderer = renderer_of(self._tokenizer, self._kwargs, self._stops)
            template = str(self._tokenizer.get_chat_template())
        except (TemplateError, ValueError):
            return None
        structure = learn(renderer, self._read)
        ends = {*self.stop_ids, self._tokenizer.pad_token_id} - {None}
        return Parser(structure, self._read, renderer.markup.tags_inside(template), ends) if structure.boundaries else None

    def _of_messages(self, given: GivenRow) -> Table | None:
        """The table of the row's messages, if the ids are what the template makes of them, or the beginning of it."""
        for control_tokens in ("escape", "allow"):
            try:
                masker = self._masker(control_tokens)
                table = masker.tokens(to_record(given.row, given.source))
            except (MaskkitError, ValueError):
                return None
            ours, length = table.tokens, len(given.ids)
            if np.array_equal(ours.ids, given.ids):
                return table
            if length < len(ours) and np.array_equal(ours.ids[:length], given.ids):
                lost = Finding("truncated", f"the row ends {len(ours) - length} tokens before its messages do", len(ours) - length)
                return Table(ours.truncated(length), (*table.findings, lost))
        return None

    def _masker(self, control_tokens: str) -> Masker:
        return Masker(self._tokenizer, "causal", control_tokens=control_tokens, template_kwargs=self._kwargs, stop_token_ids=self._stops)

    # -- what was noticed -------------------------------------------------------------------------------------

    def _noticed(self, given: GivenRow, text: Detokenized, found: Conversation | None) -> tuple[Finding, ...]:
        if given.has_messages and not self._says_the_same(given, text, found):
            return (Finding("wrong-template", "the ids are not what this tokenizer's template makes of the row's messages"),)
        if found is not None and found.replies:
            return ()
        foreign = self._foreign_markers(text.text)
        if foreign:
            return (Finding("wrong-template", f"the ids say {', '.join(foreign[:3])}, which this tokenizer's template does not write"),)
        if found is not None:
            return ()
        return (Finding("structure-not-recovered", self._why()),)

    def _says_the_same(self, given: GivenRow, text: Detokenized, found: Conversation | None) -> bool:
        """Another date or default text in front is no other template: the replies are all there."""
        try:
            record = to_record(given.row, given.source)
        except MaskkitError:
            return True  # what is wrong with the messages is no matter of the template
        contents = [m.get("content") for m in record.messages if m["role"] in ASSISTANT_ROLES]
        return found is not None and bool(found.replies) and all(c.strip() in text.text for c in contents if isinstance(c, str))

    def _foreign_markers(self, text: str) -> list[str]:
        """Markers of other families in the text."""
        tokenizer = self._tokenizer
        own = [tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token, tokenizer.unk_token]
        template = str(tokenizer.chat_template or "")
        return [marker for marker in dict.fromkeys(_MARKERS.findall(text)) if marker not in own and marker not in template]

    def _why(self) -> str:
        if not self._tokenizer.chat_template:
            return "the tokenizer has no chat template"
        if self._parser is None:
            return "nothing could be learnt of the chat template"
        return "what the chat template writes between messages is not in the ids"


def _unknown(text: Detokenized, source: str) -> Tokens:
    segments = [Segment(0, len(text.text), SegmentKind.UNKNOWN, False)]
    return tokens_of_segments(text.ids, text.start, text.end, segments, text=text.text, record=Record("messages", source, "", {}))
