"""Small rows, masks and templates to lint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

import maskkit
from maskkit import embedded
from maskkit.checks import LintReport
from maskkit.findings import unlogged

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.reasoning_content %}{{ '<think>' + m.reasoning_content + '</think>' }}{% endif %}"
    "{{ m.content }}{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Prints everything as it is."""

PREFILLED = CHATML.replace("<|im_start|>assistant\n' }}{% endif %}", "<|im_start|>assistant\n<think>' }}{% endif %}")
"""Its prompt opens the thinking."""


def user(content: Any = "What is 12 + 9?", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def assistant(content: Any = "It is 21.", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def row(*messages: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return {"messages": list(messages) or [user(), assistant()], **columns}


@cache
def tiny(template: str = CHATML) -> Any:
    """The embedded tokenizer with a template; one for all tests, so leave it as it is."""
    tokenizer = embedded.tiny_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def linted(rows: Any, tokenizer: Any = None, **options: Any) -> LintReport:
    return maskkit.lint(rows if isinstance(rows, (list, tuple)) else [rows], tokenizer or tiny(), **options)


class Masked:
    """What a trainer has of a conversation: ids and labels, right at first; then something is changed."""

    def __init__(self, *messages: dict[str, Any], tokenizer: Any = None, strategy: Any = "assistant-only", **options: Any) -> None:
        self.tokenizer = tokenizer or tiny()
        self.row = row(*messages)
        with unlogged():
            example = maskkit.Masker(self.tokenizer, strategy, **options)(self.row)
        self.tokens = example.tokens
        self.ids, self.labels = example.input_ids.copy(), example.labels.copy()
        self.weights = example.loss_weights.astype(np.float64)

    @property
    def pair(self) -> tuple[Any, Any]:
        return self.ids, self.labels

    def place(self, text: str, last: bool = False) -> int:
        """The first token of the text, or its last."""
        at = self.tokens.text.rindex(text)
        touched = (self.tokens.char_end > at) & (self.tokens.char_start < at + len(text))
        return int(np.flatnonzero(touched)[-1 if last else 0])

    def train(self, places: Any) -> tuple[Any, Any]:
        """With these tokens trained as well."""
        labels = self.labels.copy()
        labels[places] = self.ids[places]
        return self.ids, labels

    def forget(self, places: Any) -> tuple[Any, Any]:
        """Without these tokens trained."""
        labels = self.labels.copy()
        labels[places] = -100
        return self.ids, labels

    def weigh(self, place: int, weight: float) -> tuple[Any, Any]:
        """With another weight of one token."""
        weights = self.weights.copy()
        weights[place] = weight
        return self.ids, weights

    def cut(self, length: int) -> tuple[Any, Any]:
        return self.ids[:length], self.labels[:length]

    def followed(self, ids: Sequence[int], trained: bool) -> tuple[Any, Any]:
        """With tokens appended."""
        return np.append(self.ids, ids), np.append(self.labels, ids if trained else [-100] * len(ids))
