"""The built-in strategies. They come in through the same hook as a stranger's."""

from __future__ import annotations

from maskkit.builtin.assistant_only import AssistantOnly
from maskkit.builtin.causal import Causal
from maskkit.builtin.from_data import FromData
from maskkit.builtin.prompt_weighted import PromptWeighted
from maskkit.builtin.reasoning_only import ReasoningOnly
from maskkit.builtin.row_weight import RowWeight
from maskkit.builtin.sequence_normalised import SequenceNormalised
from maskkit.builtin.tool_calls import ToolCalls
from maskkit.builtin.weighted import Weighted
from maskkit.hookspecs import hookimpl
from maskkit.strategy import Strategy


@hookimpl
def maskkit_strategies() -> list[type[Strategy]]:
    """The built-ins, the usual ones first."""
    return [Causal, AssistantOnly, ReasoningOnly, Weighted, ToolCalls, PromptWeighted, FromData, RowWeight, SequenceNormalised]
