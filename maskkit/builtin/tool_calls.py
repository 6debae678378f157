"""Calls count, their results never."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from maskkit.records.tools import tool_names
from maskkit.strategy import Strategy, StrategyOptions

if TYPE_CHECKING:
    import numpy.typing as npt

    from maskkit.tokens import Tokens


class ToolCalls(Strategy):
    """The tool calls that the model generates count, with the stop token behind them; answers, and what tools return, do not.

    ``w_t = call`` on tokens of a call, ``stop`` and ``reasoning`` on those tokens of messages that call a tool, else 0.
    """

    name = "tool-calls"

    class Options(StrategyOptions):
        call: float = Field(1.0, ge=0)
        """Weight of tool calls, with their wrapper."""
        stop: float = Field(1.0, ge=0)
        """Weight of the stop token of a message that calls a tool."""
        reasoning: float = Field(0.0, ge=0)
        """Weight of the reasoning of a message that calls a tool."""
        tools: tuple[str, ...] = ()
        """Only calls of these tools; of all if none is given."""
        last_turn: bool = False
        """Train only the last turn: what follows the last user message, tool loops included."""

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        options: ToolCalls.Options = self.options
        tools = options.tools or None
        # messages of tools are among them, which have neither a stop token of the model's nor reasoning
        calling = [
            message for message, names in enumerate(tool_names(tokens.record)) if any(tools is None or name in tools for name in names)
        ]
        weights = options.call * tokens.where(kind="tool_call", tool=tools)
        weights = weights + options.stop * tokens.where(kind="stop", message=calling)
        weights = weights + options.reasoning * tokens.where(kind="reasoning", message=calling)
        return weights * tokens.where(turn=-1) if options.last_turn else weights
