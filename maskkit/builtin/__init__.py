"""The built-in strategies. They come in through the same hook as a stranger's."""

from __future__ import annotations

from maskkit.builtin.assistant_only import AssistantOnly
from maskkit.builtin.causal import Causal
from maskkit.builtin.reasoning_only import ReasoningOnly
from maskkit.builtin.weighted import Weighted
from maskkit.hookspecs import hookimpl
from maskkit.strategy import Strategy


@hookimpl
def maskkit_strategies() -> list[type[Strategy]]:
    """The four built-ins."""
    return [Causal, AssistantOnly, ReasoningOnly, Weighted]
