"""The expression that explain shows is the weight: for every token of any row, under any composition of strategies."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskkit
from maskkit import embedded
from maskkit.inspect.explain.expression import Term, weight_expression
from maskkit.kinds import KINDS
from maskkit.strategy import Max, Product, Scaled, Strategy
from maskkit.tokens import Tokens
from tests.builtin.weighing import agent
from tests.test_strategy_laws import factor
from tests.test_strategy_laws import leaves as built_ins

AGENT = agent(quality=0.75)
FILE = Path(__file__).parents[2] / "plugins" / "maskkit-final-answer" / "maskkit_final_answer.py"


def letters(tokens: maskkit.Tokens) -> Any:
    """A bare function as a strategy."""
    return tokens.matching("[a-m]+")


class Signed(maskkit.Strategy):
    """A stranger's strategy that pushes away."""

    name = "signed"
    signed = True

    def weights(self, tokens: maskkit.Tokens) -> Any:
        return 0.7 - tokens.where(role="assistant")


unsigned = st.one_of(built_ins, st.sampled_from([letters, f"{FILE}:FinalAnswer"]).map(maskkit.load_strategy))
trees = st.recursive(
    unsigned,
    lambda part: st.one_of(st.builds(Product, part, part), st.builds(Max, part, part, part), st.builds(Scaled, factor, part)),
    max_leaves=5,
)
compositions = st.one_of(trees, st.builds(lambda tree, x: Scaled(x, Product(tree, Signed())), trees, st.sampled_from([-0.3, 2.0])))


@st.composite
def tables(draw: st.DrawFn) -> Tokens:
    """Any table of the agent's row: all kinds, straddling tokens, whole rows and replies as they were served."""
    count = draw(st.integers(1, 12))
    column = lambda values: draw(st.lists(values, min_size=count, max_size=count))  # noqa: E731
    sizes = column(st.integers(0, 3))
    ends = np.cumsum(sizes)
    return Tokens(
        np.arange(count),
        ends - sizes,
        ends,
        column(st.integers(0, len(KINDS) - 1)),
        column(st.integers(-1, 6)),
        column(st.booleans()),
        column(st.sampled_from([False, False, True])),
        text="".join(draw(st.lists(st.sampled_from("az 3"), min_size=int(ends[-1]), max_size=int(ends[-1])))),
        record=AGENT.record,
        data_weights=column(st.sampled_from([math.nan, 0.0, 0.3, 2.0])),
        reply=draw(st.sampled_from([-1, 6])),
    )


@settings(max_examples=200, deadline=None)
@given(compositions, tables())
def test_it_evaluates_to_the_weight_of_every_token(strategy: Strategy, tokens: Tokens):
    weights = maskkit.Masker(embedded.tiny_tokenizer(), strategy).weigh(tokens)
    expression = weight_expression(strategy, tokens)
    for t, weight in enumerate(weights):
        term = expression(t)
        assert np.float32(term.evaluate()) == weight
        for part in all_terms(term):
            assert part.value == part.evaluate()


def all_terms(term: Term) -> list[Term]:
    return [term, *(part for below in term.terms for part in all_terms(below))]


def told(spec: Any, token: int, tokens: Tokens = AGENT) -> Term:
    return weight_expression(maskkit.load_strategy(spec), tokens)(token)


def outline(term: Term) -> Any:
    return (term.name, term.value, [outline(part) for part in term.terms]) if term.terms else (term.name, term.value)


def test_a_composition_is_walked_to_its_leaves():
    spec = {"scale": 0.5, "strategy": {"product": ["assistant-only", {"max": ["reasoning-only", {"name": "weighted", "answer": 0.2}]}]}}
    answer = AGENT.kind.tolist().index("answer")
    parts = ("product", 0.2, [("assistant-only", 1.0), ("max", 0.2, [("reasoning-only", 0.0), ("weighted", 0.2, [("answer", 0.2)])])])
    assert outline(told(spec, answer)) == ("scale", 0.1, [("factor", 0.5), parts])


def test_of_weighted_every_match_is_shown_and_the_last_counts():
    spec = {"name": "weighted", "rules": [{"where": {"regex": "half"}, "weight": 2}, {"where": {"role": "assistant"}, "weight": 3}]}
    answer = AGENT.kind.tolist().index("answer")
    term = told(spec, answer)
    assert outline(term) == ("weighted", 3.0, [("answer", 1.0), ("rules[0]", 2.0), ("rules[1]", 3.0)])
    assert [part.note for part in term.terms] == ["", "{regex: half}", "{role: assistant}"]
    user = AGENT.kind.tolist().index("user")
    assert outline(told(spec, user)) == ("weighted", 0.0, [("user", 0.0)])


def test_columns_and_lengths_are_factors():
    answer = AGENT.kind.tolist().index("answer")
    assert outline(told({"name": "row-weight", "column": "quality"}, answer)) == (
        "row-weight", 0.75, [("column quality", 0.75), ("assistant-only", 1.0)],
    )  # fmt: skip
    trained = int(AGENT.generated.sum())
    assert outline(told("sequence-normalised", answer)) == (
        "sequence-normalised", 1 / trained, [("assistant-only", 1.0), ("divisor", float(trained))],
    )  # fmt: skip


def test_a_strangers_strategy_is_a_leaf_that_names_its_origin():
    term = told(Signed(), 0)
    assert (term.name, term.operation, term.note) == ("first-token", "zero", "it is the first token, which nothing predicts")
    leaf = term.terms[0]
    assert (leaf.operation, leaf.value, leaf.note) == ("given", 0.7, f"class of {__name__}")


def test_a_subclass_of_a_built_in_is_a_leaf():
    class Doubled(type(maskkit.load_strategy("weighted"))):  # type: ignore[misc]
        def weights(self, tokens: maskkit.Tokens) -> Any:
            return 2 * super().weights(tokens)

    answer = AGENT.kind.tolist().index("answer")
    assert (told(Doubled(), answer).operation, told(Doubled(), answer).value) == ("given", 2.0)


@pytest.mark.parametrize(("changed", "reason"), [({"kind_codes": KINDS.index("unknown")}, "unknown"), ({"straddle": True}, "straddle")])
def test_what_is_set_to_zero_says_why(changed: dict[str, Any], reason: str):
    columns = {"kind_codes": KINDS.index("answer"), "straddle": False} | changed
    tokens = Tokens(
        [1, 2], [0, 1], [1, 2], [columns["kind_codes"]] * 2, [6, 6], [True] * 2, [columns["straddle"]] * 2, text="ab", record=AGENT.record
    )
    term = told({"name": "weighted", "answer": 0.5}, 1, tokens)
    assert (term.operation, term.name, term.evaluate()) == ("zero", reason, 0.0)
    assert weight_expression(maskkit.load_strategy("causal"), tokens)(1).evaluate() == 1.0
