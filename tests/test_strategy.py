"""Strategies: what they weigh, how they combine, what they are refused."""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

import maskkit
from maskkit.strategy import Max, Product, Scaled, weights_of
from tests.tables import conversation_table, make_tokens

TWO_TURNS = conversation_table()


def weigh(spec: object, tokens: maskkit.Tokens = TWO_TURNS) -> list[float]:
    return weights_of(maskkit.load_strategy(spec), tokens).tolist()


def by_kind(spec: object, tokens: maskkit.Tokens = TWO_TURNS) -> dict[str, set[float]]:
    weights = weigh(spec, tokens)
    return {kind: {w for w, k in zip(weights, tokens.kind, strict=True) if k == kind} for kind in set(tokens.kind.tolist())}


def test_causal_counts_everything():
    assert weigh("causal") == [1.0] * len(TWO_TURNS)


def test_assistant_only_counts_what_the_model_generates():
    assert by_kind("assistant-only") == {
        "system": {0}, "template": {0}, "user": {0}, "tool_result": {0}, "reasoning": {1}, "answer": {1}, "tool_call": {1}, "stop": {1},
    }  # fmt: skip


def test_a_supplied_prefix_of_an_answer_is_not_trained():
    tokens = make_tokens([("user", False, 0), ("answer", False, 1), ("answer", True, 1), ("stop", True, 1)], roles=("user", "assistant"))
    assert weigh("assistant-only", tokens) == [0, 0, 1, 1]
    assert weigh("weighted", tokens) == [0, 0, 1, 1]


def test_reasoning_only_leaves_answer_and_stop():
    trained = {kind for kind, weights in by_kind("reasoning-only").items() if weights != {0}}
    assert trained == {"reasoning"}


@pytest.mark.parametrize("name", ["assistant-only", "reasoning-only"])
def test_options_for_stop_last_turn_and_prompt(name: str):
    assert by_kind({"name": name, "stop": 0.25})["stop"] == {0.25}
    last = np.array(weigh({"name": name, "last_turn": True}))
    assert not last[TWO_TURNS.turn != 1].any()
    assert last[TWO_TURNS.turn == 1].any()
    assert by_kind({"name": name, "prompt": 0.1})["user"] == {0.1}


def test_weighted_gives_each_kind_its_weight():
    spec = {
        "name": "weighted",
        "reasoning": 0.3,
        "answer": 1,
        "tool_call": 2,
        "stop": 0.5,
        "system": 0.01,
        "user": 0.02,
        "tool_result": 0.03,
        "template": 0.04,
    }
    assert by_kind(spec) == {
        "reasoning": {0.3}, "answer": {1}, "tool_call": {2}, "stop": {0.5}, "system": {0.01}, "user": {0.02}, "tool_result": {0.03},
        "template": {0.04},
    }  # fmt: skip


def test_weighted_rules_last_match_wins():
    rules = [
        {"where": {"kind": "answer"}, "weight": 2},
        {"where": {"kind": ["answer", "reasoning"], "turn": -1}, "weight": 3},
        {"where": {"role": "user"}, "weight": 0.5},
    ]
    weights = np.array(weigh({"name": "weighted", "rules": rules}))
    answer, last = TWO_TURNS.kind == "answer", TWO_TURNS.turn == 1
    assert set(weights[answer & ~last]) == {2}
    assert set(weights[answer & last]) == {3}
    assert set(weights[TWO_TURNS.kind == "user"]) == {0.5}


def test_weighted_rule_by_regex_stays_inside_its_kind():
    tokens = make_tokens(
        [("user", False, 0, "42 "), ("answer", True, 1, "it is "), ("answer", True, 1, "42"), ("stop", True, 1, "!")],
        roles=("user", "assistant"),
    )
    rules = [{"where": {"kind": "answer", "regex": r"\d+"}, "weight": 5}]
    assert weigh({"name": "weighted", "rules": rules}, tokens) == [0, 1, 5, 1]


def test_combinators_multiply_take_the_larger_and_scale():
    assistant, reasoning = maskkit.load_strategy("assistant-only"), maskkit.load_strategy({"name": "weighted", "reasoning": 0.5})
    both = weights_of(assistant & reasoning, TWO_TURNS)
    assert set(both[TWO_TURNS.kind == "reasoning"]) == {0.5}
    either = weights_of((0.25 * maskkit.load_strategy("causal")) | reasoning, TWO_TURNS)
    assert set(either[TWO_TURNS.kind == "user"]) == {0.25}
    assert set(either[TWO_TURNS.kind == "reasoning"]) == {0.5}


def test_a_bare_function_is_a_strategy():
    combined = maskkit.load_strategy("assistant-only") & (lambda tokens: tokens.kind == "answer")
    assert set(np.array(TWO_TURNS.kind)[weights_of(combined, TWO_TURNS) > 0]) == {"answer"}


SPECS = [
    "causal",
    {"name": "weighted", "reasoning": 0.3, "rules": [{"where": {"kind": "answer", "turn": -1}, "weight": 2.0}]},
    {"product": ["assistant-only", {"name": "weighted", "answer": 2.0}]},
    {"max": ["reasoning-only", {"scale": 0.5, "strategy": {"product": ["assistant-only", "causal"]}}]},
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_spec_gives_the_strategy_and_the_strategy_gives_the_spec(spec: object):
    strategy = maskkit.load_strategy(spec)
    assert strategy.spec() == spec
    assert maskkit.load_strategy(strategy.spec()) == strategy


leaves = st.sampled_from(
    [maskkit.load_strategy(s) for s in ("causal", "assistant-only", "reasoning-only", {"name": "weighted", "user": 0.5, "answer": 2.0})]
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Product, inner, inner), st.builds(Max, inner, inner), st.builds(Scaled, st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.0]), inner)
    ),
    max_leaves=6,
)


@given(trees, trees, trees)
def test_products_and_maxima_obey_their_laws(a, b, c):
    def w(strategy):
        return weights_of(strategy, TWO_TURNS)

    np.testing.assert_allclose(w(a & b), w(b & a))
    np.testing.assert_allclose(w((a & b) & c), w(a & (b & c)))
    np.testing.assert_array_equal(w(a | b), w(b | a))
    np.testing.assert_array_equal(w(a | a), w(a))
    np.testing.assert_allclose(w(a & (b | c)), w((a & b) | (a & c)))
    assert (w(a) >= 0).all()
    assert maskkit.load_strategy((a & (b | c)).spec()) == (a & (b | c))


BAD_SPECS = {
    "unknown name, near miss": ("asistant-only", "Did you mean 'assistant-only'?"),
    "unknown option": ({"name": "weighted", "reasonning": 1}, "Did you mean 'reasoning'?"),
    "unknown key of a rule": ({"name": "weighted", "rules": [{"where": {"kin": "answer"}, "weight": 1}]}, "rules[0].where.kin"),
    "negative option": ({"name": "weighted", "answer": -1}, "answer is -1, expected 0 or more"),
    "truth for a number": ({"name": "weighted", "reasoning": True}, "reasoning is True, expected a number"),
    "bad regex": ({"name": "weighted", "rules": [{"where": {"regex": "("}, "weight": 1}]}, "not a regular expression"),
    "no name": ({"reasoning": 1}, "has no name"),
    "a key beside product": ({"product": ["causal"], "stop": 1}, "'stop'"),
    "empty product": ({"product": []}, "expected a list"),
    "scale without strategy": ({"scale": 2}, "no strategy to scale"),
    "scale that is no number": ({"scale": "x", "strategy": "causal"}, "expected a finite number"),
    "negative scale": ({"scale": -1, "strategy": "causal"}, "signed = True"),
    "number": (3, "expected a name"),
}


@pytest.mark.parametrize(("spec", "says"), BAD_SPECS.values(), ids=BAD_SPECS)
def test_a_wrong_selection_is_one_clear_line(spec: object, says: str):
    with pytest.raises(maskkit.ConfigError) as error:
        maskkit.load_strategy(spec)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


class Short(maskkit.Strategy):
    name = "short"

    def weights(self, tokens):
        return [1.0]


class Negative(maskkit.Strategy):
    name = "negative"

    def weights(self, tokens):
        return -1.0 * tokens.where(kind="answer")


class NotANumber(maskkit.Strategy):
    name = "nan"

    def weights(self, tokens):
        return [float("nan")] * len(tokens)


class Huge(maskkit.Strategy):
    name = "huge"

    def weights(self, tokens):
        return [1e300] * len(tokens)


class Words(maskkit.Strategy):
    name = "words"

    def weights(self, tokens):
        return ["a"] * len(tokens)


class Broken(maskkit.Strategy):
    name = "broken"

    def weights(self, tokens):
        return 1 / 0


class Dates(maskkit.Strategy):
    name = "dates"

    def weights(self, tokens):
        return np.full(len(tokens), "2024", "datetime64[Y]")


class Numerals(maskkit.Strategy):
    name = "numerals"

    def weights(self, tokens):
        return ["1"] * len(tokens)


class WithGradient(maskkit.Strategy):
    name = "with-gradient"

    def weights(self, tokens):
        return torch.ones(len(tokens), requires_grad=True)


class Quits(maskkit.Strategy):
    name = "quits"

    def weights(self, tokens):
        sys.exit(3)


class Misspelt(maskkit.Strategy):
    name = "misspelt"

    def weights(self, tokens):
        return tokens.where(kind="anser")


@pytest.mark.parametrize("cls", [Short, Negative, NotANumber, Huge, Words, Broken, Dates, Numerals, WithGradient, Quits, Misspelt])
def test_what_is_not_a_weight_per_token_is_refused_with_names(cls: type[maskkit.Strategy]):
    with pytest.raises(maskkit.StrategyError, match=f"'{cls.name}'.*row 7"):
        weights_of(cls(), conversation_table(source="row 7"))


def test_signed_strategies_may_be_negative_and_stay_signed_in_a_product():
    class Signed(Negative):
        signed = True

    product = Signed() & maskkit.load_strategy("causal")
    assert product.signed
    assert weights_of(product, TWO_TURNS).min() == -1
    with pytest.raises(maskkit.ConfigError, match="larger of two signed"):
        Signed() | Signed()


def test_a_factor_may_be_any_real_number():
    causal = maskkit.load_strategy("causal")
    for third in (np.float32(1 / 3), Fraction(1, 3)):
        assert (causal * third).spec() == {"scale": float(third), "strategy": "causal"}


def test_an_option_with_an_alias_is_known_by_it():
    class Aliased(maskkit.Strategy):
        name = "aliased"

        class Options(maskkit.StrategyOptions):
            factor: float = Field(1.0, alias="by")

    assert Aliased(by=2.0).spec() == {"name": "aliased", "by": 2.0}
    assert Aliased(Aliased(by=2.0).options).options.factor == 2.0
    with pytest.raises(maskkit.ConfigError, match=r"unknown option 'factor'\. Available: by\."):
        Aliased(factor=2.0)
