"""The algebra of strategies, and the way of a selection from Python through YAML and back: for every built-in, nested at will."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import maskkit
from maskkit.config.loading import parsed_yaml
from maskkit.kinds import KINDS
from maskkit.strategy import Max, Product, Scaled, weights_of
from tests.builtin.weighing import agent

TABLE = agent(quality=0.75)

weight = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])
several_kinds = st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True)
turns = st.one_of(st.sampled_from(["first", "last"]), st.integers(-2, 2))
where = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.one_of(st.sampled_from(KINDS), several_kinds),
        "role": st.sampled_from(["user", "assistant", ["tool", "user"]]),
        "turn": turns,
        "message": st.one_of(turns, st.lists(turns, min_size=1, max_size=2)),
        "field": st.sampled_from(["content", "name", ["reasoning_content", "tool_calls[1]"]]),
        "tool": st.sampled_from(["clock", ["add"]]),
        "generated": st.sampled_from([True, False, "any"]),
        "regex": st.sampled_from(["[a-z]+", "(?<=e)n", "(?P<word>half) past", r"\d"]),
    },
)
rules = st.lists(st.fixed_dictionaries({"where": where, "weight": weight}), max_size=3)
kinds = ("answer", "reasoning", "tool_call", "stop", "system", "user", "tool_result", "template", "text")
flag = st.booleans()
inner = st.sampled_from(["assistant-only", {"name": "weighted", "answer": 2.0}, {"product": ["causal", "tool-calls"]}])

OPTIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "causal": {},
    "assistant-only": {"stop": weight, "last_turn": flag, "prompt": weight},
    "reasoning-only": {"stop": weight, "last_turn": flag, "prompt": weight},
    "weighted": {**dict.fromkeys(kinds, weight), "last_turn": flag, "rules": rules},
    "tool-calls": {"call": weight, "stop": weight, "reasoning": weight, "tools": st.sampled_from([[], ["clock"]]), "last_turn": flag},
    "prompt-weighted": {"prompt": weight, "response": weight, "stop": weight, "template": st.one_of(st.none(), weight), "last_turn": flag},
    "from-data": {"unmarked": weight, "stop": weight, "last_turn": flag, "signed": st.just(False)},
    "row-weight": {"column": st.sampled_from(["quality", "absent"]), "strategy": inner, "default": weight, "max": weight},
    "sequence-normalised": {"strategy": inner, "exponent": weight, "per": st.sampled_from(["row", "turn", "message"])},
}
REQUIRED = {"row-weight": {"default"}}


def spec_of(name: str) -> st.SearchStrategy[Any]:
    """Selections of one built-in, with some of its options."""
    fields = OPTIONS[name]
    required = {field: values for field, values in fields.items() if field in REQUIRED.get(name, ())}
    optional = {field: values for field, values in fields.items() if field not in required}
    options = st.fixed_dictionaries(required, optional=optional)
    return options.map(lambda chosen: {"name": name, **chosen} if chosen else name)


leaves = st.sampled_from(sorted(OPTIONS)).flatmap(spec_of).map(maskkit.load_strategy)
factor = st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.0])
trees = st.recursive(
    leaves,
    lambda part: st.one_of(
        st.builds(Product, part, part), st.builds(Product, part), st.builds(Max, part, part, part), st.builds(Scaled, factor, part)
    ),
    max_leaves=6,
)


def w(strategy: maskkit.Strategy) -> np.ndarray:
    return weights_of(strategy, TABLE)


def through_yaml(spec: Any) -> Any:
    """As a config file would hold it."""
    return parsed_yaml(yaml.safe_dump(spec, sort_keys=False), "config.yaml")


def test_every_option_of_every_built_in_is_tried_here():
    built_in = {info.name: info for info in maskkit.strategies() if info.origin == "maskkit" and info.sort == "strategy"}
    del built_in["schedule"]  # it brings a loss modifier, which can be neither scaled nor compared: its laws stand in test_schedule.py
    assert set(OPTIONS) == set(built_in)
    for name, info in built_in.items():
        left_out = set(info.schema.get("properties", {})) - set(OPTIONS[name])
        assert left_out <= {"values", "min", "signed"}, f"{name}: {left_out}"


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_a_built_in_survives_yaml(name: str):
    @settings(max_examples=40, deadline=None)
    @given(spec_of(name))
    def survives(spec: Any) -> None:
        strategy = maskkit.load_strategy(spec)
        again = maskkit.load_strategy(through_yaml(strategy.spec()))
        assert again == strategy
        assert hash(again) == hash(strategy)
        assert again.spec() == strategy.spec()
        np.testing.assert_array_equal(w(again), w(strategy))

    survives()


@settings(max_examples=100, deadline=None)
@given(trees)
def test_combinations_survive_yaml(tree: maskkit.Strategy):
    again = maskkit.load_strategy(through_yaml(tree.spec()))
    assert again == tree
    np.testing.assert_array_equal(w(again), w(tree))
    assert (again.signed, again.needs_attribution, again.reads_data_weights) == (
        tree.signed,
        tree.needs_attribution,
        tree.reads_data_weights,
    )


@settings(max_examples=100, deadline=None)
@given(trees, trees, trees)
def test_products_and_maxima(a: maskkit.Strategy, b: maskkit.Strategy, c: maskkit.Strategy):
    np.testing.assert_allclose(w(a & b), w(a) * w(b))
    np.testing.assert_array_equal(w(a | b), np.maximum(w(a), w(b)))
    np.testing.assert_allclose(w((a & b) & c), w(a & (b & c)))
    np.testing.assert_array_equal(w((a | b) | c), w(a | (b | c)))
    np.testing.assert_allclose(w(a & (b | c)), w((a & b) | (a & c)))
    np.testing.assert_array_equal(w(a | a), w(a))
    np.testing.assert_array_equal(w(a | (a & maskkit.load_strategy("causal"))), w(a))
    np.testing.assert_allclose(w(Product(a, b, c)), w(a & b & c))


@settings(max_examples=100, deadline=None)
@given(trees, trees, factor, factor)
def test_scaling(a: maskkit.Strategy, b: maskkit.Strategy, x: float, y: float):
    causal = maskkit.load_strategy("causal")
    np.testing.assert_array_equal(w(causal & a), w(a))
    np.testing.assert_array_equal(w(0 * causal & a), np.zeros(len(TABLE)))
    np.testing.assert_array_equal(w(0 * causal | a), w(a))
    np.testing.assert_array_equal(w(1 * a), w(a))
    np.testing.assert_allclose(w(x * (y * a)), w((x * y) * a))
    np.testing.assert_allclose(w(x * (a & b)), w((x * a) & b))
    np.testing.assert_allclose(w(x * (a | b)), w((x * a) | (x * b)))
    np.testing.assert_array_equal(w(a * x), w(x * a))


@settings(max_examples=50, deadline=None)
@given(trees, st.integers(1, len(TABLE)))
def test_what_is_asked_twice_or_of_another_row_between_is_the_same(tree: maskkit.Strategy, length: int):
    first = w(tree)
    weights_of(tree, TABLE.truncated(length))
    np.testing.assert_array_equal(w(tree), first)
    assert (first >= 0).all()
