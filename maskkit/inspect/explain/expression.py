"""A weight as the expression it is the value of.

    weight = 0.15
    └ product
      ├ assistant-only        1
      └ weighted, last match  0.15
        ├ reasoning           0.3   (overruled)
        └ rules[0]            0.15

Compositions are walked from outside. What is not a composition is a leaf, with the weight that the strategy itself gave.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maskkit.builtin.from_data import FromData
from maskkit.builtin.row_weight import RowWeight
from maskkit.builtin.schedule import Schedule
from maskkit.builtin.sequence_normalised import SequenceNormalised
from maskkit.builtin.weighted import Weighted
from maskkit.inspect.selections import in_one_line
from maskkit.masker.never_trained import REASONS, never_trained
from maskkit.plugins import origins_of
from maskkit.strategy import FromFile, Max, Product, Scaled, Strategy, weights_of

if TYPE_CHECKING:
    from maskkit.tokens import Tokens

OPERATIONS: dict[str, Callable[[list[float]], float]] = {
    "product": math.prod,
    "max": max,
    "largest size": lambda values: max(map(abs, values)),
    "quotient": lambda values: values[0] / values[1],
    "last match": lambda values: values[-1] if values else 0.0,
    "same": lambda values: values[0],
    "zero": lambda values: 0.0,
}
"""What a term is of the terms below it. ``given`` stands for a value of its own."""


@dataclass(frozen=True, slots=True)
class Term:
    """A node of an expression: a name, what it is of its terms, and its value."""

    name: str
    operation: str
    """A key of `OPERATIONS`, or ``given``."""
    value: float
    note: str = ""
    terms: tuple[Term, ...] = ()

    def evaluate(self) -> float:
        """The value, computed from the leaves up."""
        return self.value if self.operation == "given" else OPERATIONS[self.operation]([term.evaluate() for term in self.terms])


Expression = Callable[[int], Term]
"""The term of token t."""


def weight_expression(strategy: Strategy, tokens: Tokens) -> Expression:
    """For each token the expression of its weight, zeroing included: its value is the float32 that the loss gets, before rounding.

    Raises StrategyError or DataError as asking the strategy for its weights does.
    """
    own = strategy_expression(strategy, tokens)
    zeroed = never_trained(tokens, strategy)

    def term(t: int) -> Term:
        reasons = [reason for reason, chosen in zeroed.items() if chosen[t]]
        return Term(reasons[0], "zero", 0.0, REASONS[reasons[0]], (own(t),)) if reasons else own(t)

    return term


def strategy_expression(strategy: Strategy, tokens: Tokens) -> Expression:
    """For each token the expression of the weight that a strategy gives, before zeroing."""
    return _WALKS.get(type(strategy), _leaf)(strategy, tokens)


def _leaf(strategy: Strategy, tokens: Tokens) -> Expression:
    values, name = weights_of(strategy, tokens), in_one_line(strategy.spec())
    origin = origins_of(strategy).get(strategy.label, "")
    note = "" if origin.startswith("maskkit ") else origin
    return lambda t: Term(name, "given", float(values[t]), note)


def _several(operation: str, name: str = "") -> Callable[[Any, Tokens], Expression]:
    def walk(strategy: Strategy, tokens: Tokens) -> Expression:
        parts = [strategy_expression(part, tokens) for part in strategy.inner]
        return lambda t: _of(name or operation, operation, [part(t) for part in parts])

    return walk


def _scaled(strategy: Scaled, tokens: Tokens) -> Expression:
    inner = strategy_expression(strategy.strategy, tokens)
    return lambda t: _of("scale", "product", [Term("factor", "given", strategy.factor), inner(t)])


def _from_file(strategy: FromFile, tokens: Tokens) -> Expression:
    inner = strategy_expression(strategy.strategy, tokens)
    return lambda t: _of(in_one_line(strategy.spec()), "same", [inner(t)])


def _weighted(strategy: Weighted, tokens: Tokens) -> Expression:
    steps = list(strategy.steps(tokens))
    wheres = [rule.where.model_dump(mode="json", exclude_unset=True) for rule in strategy.options.rules]
    conditions = {f"rules[{number}]": in_one_line(where) for number, where in enumerate(wheres)}

    def term(t: int) -> Term:
        matches = [step for step in steps if step.selected[t]]
        terms = [Term(step.name, "given", float(step.weight), conditions.get(step.name, "")) for step in matches]
        return _of("weighted", "last match", terms, "" if terms else "neither a kind nor a rule of it selects the token")

    return term


def _from_data(strategy: FromData, tokens: Tokens) -> Expression:
    own, marks = _leaf(strategy, tokens), tokens.data_weights

    def term(t: int) -> Term:
        given = own(t)
        said = "no mark of the row covers the token" if math.isnan(marks[t]) else f"the row marks it {marks[t]:g}"
        return Term(given.name, "given", given.value, said)

    return term


def _row_weight(strategy: RowWeight, tokens: Tokens) -> Expression:
    factor = Term(f"column {strategy.options.column}", "given", strategy.factor(tokens.record))
    inner = strategy_expression(strategy.inner[0], tokens)
    return lambda t: _of("row-weight", "product", [factor, inner(t)])


def _sequence_normalised(strategy: SequenceNormalised, tokens: Tokens) -> Expression:
    inner = strategy_expression(strategy.inner[0], tokens)
    divisor = strategy.divisor(tokens, weights_of(strategy.inner[0], tokens))
    what = f"trained tokens of the {strategy.options.per}, to the power {strategy.options.exponent:g}"
    return lambda t: _of("sequence-normalised", "quotient", [inner(t), Term("divisor", "given", float(divisor[t]), what)])


def _of(name: str, operation: str, terms: list[Term], note: str = "") -> Term:
    return Term(name, operation, OPERATIONS[operation]([term.value for term in terms]), note, tuple(terms))


_WALKS: dict[type[Strategy], Callable[[Any, Tokens], Expression]] = {
    Product: _several("product"),
    Max: _several("max"),
    Schedule: _several("largest size", "schedule"),
    Scaled: _scaled,
    FromFile: _from_file,
    Weighted: _weighted,
    FromData: _from_data,
    RowWeight: _row_weight,
    SequenceNormalised: _sequence_normalised,
}
"""By exact type: a subclass may weigh otherwise than its parent, so it is a leaf."""
