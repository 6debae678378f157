"""A weight per kind, and rules for the rest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, field_validator

from maskkit.kinds import SegmentKind
from maskkit.strategy import Strategy, StrategyOptions
from maskkit.strategy.slow import told_if_slow

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from maskkit.tokens import Tokens


Number = int | Literal["first", "last"]
"""A turn or a message: its number, or the first or the last."""


class Where(StrategyOptions):
    """Which tokens a rule is for: all given conditions together. Each takes one value or a list."""

    kind: SegmentKind | list[SegmentKind] | None = None
    """Kind of token; for answer, reasoning, tool_call and stop only generated tokens."""
    role: str | list[str] | None = None
    """Role of the message, as the data names it."""
    turn: Number | list[Number] | None = None
    """Turn, counted from 0; negative from the end; ``first`` or ``last``."""
    message: Number | list[Number] | None = None
    """Index of the message, counted from 0; negative, and ``last``, count assistant messages from the end."""
    field: str | list[str] | None = None
    """Field of the message that the text comes from: content, reasoning_content, arguments, tool_calls[0], ..."""
    tool: str | list[str] | None = None
    """Name of the tool that is called, or that gave the result."""
    generated: bool | Literal["any"] | None = None
    """Whether the model itself emits it; ``any`` for both. If not given: only what it emits of answer, reasoning, tool_call and stop."""
    regex: str | None = None
    """Regular expression; it runs on the whole text, so look-behind sees what is there, and selects the tokens that a match touches; where
    it has named groups, those that the groups touch. Together with other conditions, these characters must lie inside one contiguous run
    of tokens that meet them."""

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
        turn, message = _numbers(self.turn), _numbers(self.message)
        emitted: dict[str, Any] = {} if self.generated is None else {"generated": None if self.generated == "any" else self.generated}
        within = tokens.where(kind=self.kind, role=self.role, turn=turn, message=message, field=self.field, tool=self.tool, **emitted)
        if self.regex is None:
            return within
        with told_if_slow(
            f"the regular expression {self.regex!r}", "; repeats within repeats, such as (a+)+, may never end: write them as one"
        ):
            return tokens.matching(self.regex, within=within)


def _numbers(given: Number | Iterable[Number] | None) -> list[int] | None:
    if given is None:
        return None
    words = {"first": 0, "last": -1}
    several = (given,) if isinstance(given, (int, str)) else given
    return [words[number] if isinstance(number, str) else number for number in several]


class Rule(StrategyOptions):
    """Tokens and their weight."""

    where: Where
    """Which tokens."""
    weight: float = Field(ge=0)
    """Their weight, in place of that of their kind or of an earlier rule."""


class Step(NamedTuple):
    """One option or rule: the tokens it selects, bool [T], and the weight it gives them."""

    name: str
    selected: npt.NDArray[np.bool_]
    weight: float


_KINDS = ("answer", "reasoning", "tool_call", "stop", "system", "user", "tool_result", "template", "text")


class Weighted(Strategy):
    """A weight per kind of token, and rules (where role, kind, turn, message, regex -> weight) of which the last match wins.

    A rule can ask for a field, a tool and ``generated`` too, and all its conditions must hold.
    """

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
        weights = 0.0 * tokens.where()
        for step in self.steps(tokens):
            weights[step.selected] = step.weight
        return weights

    def steps(self, tokens: Tokens) -> Iterator[Step]:
        """What gives weights, in order: kinds, ``last_turn``, rules. The last one that selects a token gives its weight; else it is 0."""
        options: Weighted.Options = self.options
        for kind in _KINDS:
            yield Step(kind, tokens.where(kind=kind), getattr(options, kind))
        if options.last_turn:
            yield Step("last_turn", ~tokens.where(turn=-1), 0.0)
        for number, rule in enumerate(options.rules):
            yield Step(f"rules[{number}]", rule.where.select(tokens), rule.weight)
