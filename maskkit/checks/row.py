"""A row as checks see it, whoever made its mask, and what a check says about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskkit.findings import Finding, Severity
from maskkit.kinds import CODE

if TYPE_CHECKING:
    from maskkit.masker import Example
    from maskkit.strategy import Strategy
    from maskkit.tokens import Tokens

Bools = npt.NDArray[np.bool_]

PROMPT_KINDS = ("system", "user", "tool_result")
REPLY_KINDS = ("answer", "reasoning", "tool_call")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a check noticed about a row."""

    code: str
    message: str
    count: int = 1
    token: int | None = None
    """The first token that it concerns."""
    severity: Severity | None = None
    """Where it is not the code's own."""


@dataclass(frozen=True, eq=False)
class MaskedRow:
    """One row with the weight of each token.

    tokens: the table; all of kind ``unknown`` where nobody could say what the tokens are. weights: float64 [T], label-aligned. labels:
    int64 [T] as a trainer was given them, or None. findings: what was noticed when the row was made.
    """

    tokens: Tokens
    weights: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64] | None = None
    findings: tuple[Finding, ...] = ()
    attributed: bool = True
    """Is it known what the tokens are?"""
    chosen: bool = False
    """A strategy made the mask, so that somebody asked for it."""
    everything: bool = False
    """All tokens are to be trained, whoever wrote them: base-model training."""
    has_messages: bool = True
    """The record holds the messages of the data, not ones that were read from the ids."""
    optional_prefill: Bools | None = None
    """bool [T]: generated text that the prompt supplies under some template arguments."""
    appended: Bools | None = None
    """bool [T]: what stands behind the end of the conversation."""
    ends_with_stop: bool = True
    """Does the template end its last reply with a stop token?"""

    @property
    def source(self) -> str:
        """Where the row comes from."""
        return self.tokens.record.source

    @cached_property
    def trained(self) -> Bools:
        """Tokens whose weight is not 0: bool [T]. Nothing predicts the first, so it never is."""
        trained: Bools = self.weights != 0
        trained[:1] = False
        return trained

    @cached_property
    def codes(self) -> frozenset[str]:
        """What was noticed when the row was made."""
        return frozenset(finding.code for finding in self.findings)

    def of_kinds(self, kinds: Sequence[str]) -> Bools:
        """Tokens of these kinds, generated or not."""
        return np.isin(self.tokens.kind_codes, [CODE[kind] for kind in kinds])

    @cached_property
    def reply_starts(self) -> list[int]:
        """Where what the model writes begins, once for each message."""
        generated, message = self.tokens.generated, self.tokens.message
        begins = np.flatnonzero(generated & np.append(True, ~generated[:-1] | (message[1:] != message[:-1])))
        first: dict[int, int] = {}
        for place in begins.tolist():
            first.setdefault(int(message[place]), place)
        return list(first.values())


def row_of_example(example: Example, strategy: Strategy) -> MaskedRow:
    """An example of maskkit's own, weighed by a strategy."""
    return MaskedRow(
        example.tokens,
        example.loss_weights.astype(np.float64),
        findings=example.warnings,
        chosen=True,
        everything=not strategy.needs_attribution or example.tokens.record.form == "text",
    )


def runs(flags: Bools) -> list[tuple[int, int]]:
    """Maximal runs of True: ``(first, one past the last)`` each."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
