"""The built-in strategies and loss modifiers. They come in through the same hook as a stranger's."""

from __future__ import annotations

from maskkit.builtin.assistant_only import AssistantOnly
from maskkit.builtin.causal import Causal
from maskkit.builtin.dft import Dft
from maskkit.builtin.eaft import Eaft
from maskkit.builtin.entropy import Entropy
from maskkit.builtin.focal import Focal
from maskkit.builtin.from_data import FromData
from maskkit.builtin.importance import Importance
from maskkit.builtin.long_context import LongContext
from maskkit.builtin.prompt_weighted import PromptWeighted
from maskkit.builtin.reasoning_only import ReasoningOnly
from maskkit.builtin.row_weight import RowWeight
from maskkit.builtin.schedule import Schedule
from maskkit.builtin.selective import Selective
from maskkit.builtin.sequence_normalised import SequenceNormalised
from maskkit.builtin.tool_calls import ToolCalls
from maskkit.builtin.weighted import Weighted
from maskkit.hookspecs import hookimpl
from maskkit.strategy import LossModifier, Strategy

STRATEGIES: tuple[type[Strategy], ...] = (
    Causal,
    AssistantOnly,
    ReasoningOnly,
    Weighted,
    ToolCalls,
    PromptWeighted,
    FromData,
    RowWeight,
    SequenceNormalised,
    Schedule,
)
MODIFIERS: tuple[type[LossModifier], ...] = (Dft, Focal, Entropy, Eaft, Selective, Importance, LongContext)


@hookimpl
def maskkit_strategies() -> list[type[Strategy | LossModifier]]:
    """The built-ins, the usual ones first."""
    return [*STRATEGIES, *MODIFIERS]
