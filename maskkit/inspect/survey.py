"""What is in a data set, as far as a config depends on it: forms, roles, reasoning, tools, lengths in tokens."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from maskkit.kinds import CODE
from maskkit.masker import Masker
from maskkit.records import Record, reasoning_of, with_inline_reasoning

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLE = 2000
"""Rows that are tokenized; all rows are counted."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Counts over all rows, and lengths of the first `SAMPLE`."""

    rows: int
    forms: Mapping[str, int]
    roles: Mapping[str, int]
    """Messages of each role."""
    reasoning: int
    """Rows with reasoning in a field of its own."""
    tools: int
    """Rows with tools or tool calls."""
    lengths: tuple[int, ...]
    """Tokens of each sampled row, shortest first."""
    reasoning_is_printed: bool
    """Does the chat template have a place for reasoning? True where no row has any."""
    findings: Mapping[str, int]
    """Code -> sampled rows with such a finding."""

    def quantile(self, share: float) -> int:
        """Length in tokens that this share of the sampled rows do not exceed."""
        return self.lengths[max(math.ceil(share * len(self.lengths)) - 1, 0)]


def survey(records: Iterable[Record], tokenizer: PreTrainedTokenizerBase, template_kwargs: Mapping[str, Any] | None = None) -> Survey:
    """Look at all records; tokenize the first `SAMPLE` of them. Raises DataError or TemplateError for a row that cannot be rendered."""
    forms: Counter[str] = Counter()
    roles: Counter[str] = Counter()
    reasoning = tools = 0
    head: list[Record] = []
    for record in records:
        forms[record.form] += 1
        roles.update(str(message["role"]) for message in record.messages)
        reasoning += any(reasoning_of(message) for message in record.messages)
        tools += bool(record.tools or any(message.get("tool_calls") for message in record.messages))
        if len(head) < SAMPLE:
            head.append(record)
    masker = Masker(tokenizer, "causal", template_kwargs=template_kwargs)
    printed = _prints_reasoning(masker, head)
    lengths = []
    for record in head:
        tokens, findings = masker.tokens(record if printed else with_inline_reasoning(record))
        masker.counts.update(finding.code for finding in findings)
        lengths.append(len(tokens))
    return Survey(sum(forms.values()), forms, roles, reasoning, tools, tuple(sorted(lengths)), printed, dict(masker.counts))


def _prints_reasoning(masker: Masker, records: list[Record]) -> bool:
    """Does any of the first rows with reasoning in the last message show it once rendered? (Templates often cut that of earlier turns.)"""
    with_reasoning = [record for record in records if record.messages and reasoning_of(record.messages[-1])]
    return not with_reasoning or any(
        np.any(masker.tokens(record)[0].kind_codes == CODE["reasoning"]) for record in islice(with_reasoning, 20)
    )
