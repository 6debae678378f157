"""A weight per kind, and rules for the rest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from maskkit.kinds import SegmentKind
from maskkit.strategy import Strategy, StrategyOptions

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from maskkit.tokens import Tokens


class Where(StrategyOptions):
    """Which tokens a rule is for: all given conditions together. Each takes one value or a list."""

    kind: SegmentKind | list[SegmentKind] | None = None
    """Kind of token; for answer, reasoning, tool_call and stop only generated tokens."""
    role: str | list[str] | None = None
    """Role of the message."""
    turn: int | list[int] | None = None
    """Turn, counted from 0; negative from the end."""
    message: int | list[int] | None = None
    """Index of the message; negative counts assistant messages from the end."""
    regex: str | None = None
    """Regular expression; it runs on the whole text and selects the tokens that a match touches. Together with other conditions, a match
    must lie inside one contiguous run of tokens that meet them."""

    @field_validator("regex")
    @classmethod
    def _compiles(cls, regex: str | None) -> str | None:
        if regex is not None:
            try:
                re.compile(regex)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
        return regex

    def select(self, tokens: Tokens) -> npt.NDArray[np.bool_]:
        """The tokens that meet all conditions: bool [T]."""
        within = tokens.where(kind=self.kind, role=self.role, turn=self.turn, message=self.message)
        return within if self.regex is None else tokens.matching(self.regex, within=within)


class Rule(StrategyOptions):
    """Tokens and their weight."""

    where: Where
    """Which tokens."""
    weight: float = Field(ge=0)
    """Their weight, in place of that of their kind or of an earlier rule."""


class Weighted(Strategy):
    """A weight per kind of token, and rules (where role, kind, turn, message, regex -> weight) of which the last match wins."""

    name = "weighted"

    class Options(StrategyOptions):
        answer: float = Field(1.0, ge=0)
        """Weight of generated answers."""
        reasoning: float = Field(1.0, ge=0)
        """Weight of generated reasoning, with the tags around it."""
        tool_call: float = Field(1.0, ge=0)
        """Weight of generated tool calls, with their wrapper."""
        stop: float = Field(1.0, ge=0)
        """Weight of the stop token that ends an assistant turn."""
        system: float = Field(0.0, ge=0)
        """Weight of system text and tool schemas."""
        user: float = Field(0.0, ge=0)
        """Weight of user text."""
        tool_result: float = Field(0.0, ge=0)
        """Weight of tool results."""
        template: float = Field(0.0, ge=0)
        """Weight of scaffolding that the model does not emit."""
        text: float = Field(0.0, ge=0)
        """Weight of plain text."""
        last_turn: bool = False
        """Train only the last turn; rules are applied after this and may add others."""
        rules: tuple[Rule, ...] = ()
        """Rules in order; where several match a token, the last one gives its weight."""

    def weights(self, tokens: Tokens) -> npt.ArrayLike:
        options: Weighted.Options = self.options
        weights = 0.0 * tokens.where()
        for kind in ("answer", "reasoning", "tool_call", "stop", "system", "user", "tool_result", "template", "text"):
            weights[tokens.where(kind=kind)] = getattr(options, kind)
        if options.last_turn:
            weights = weights * tokens.where(turn=-1)
        for rule in options.rules:
            weights[rule.where.select(tokens)] = rule.weight
        return weights
