"""An option that is wrong is named with its place, what was found and what was expected."""

from __future__ import annotations

from typing import Any

import pytest

from maskkit import ConfigError, load_strategy


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"anwser": 1}, "unknown option 'anwser'. Did you mean 'answer'?"),
        ({"answer": -1}, "answer is -1, expected 0 or more"),
        ({"answer": float("nan")}, "answer is nan, expected a finite number"),
        ({"answer": "high"}, "answer is 'high', expected a number"),
        ({"answer": True}, "answer is True, expected a number"),
        ({"rules": {"where": {}, "weight": 1}}, "rules is {'where': {}, 'weight': 1}, expected a list"),
        ({"rules": ["answer"]}, "rules[0] is 'answer', expected a mapping of keys to values"),
        ({"rules": [{"where": {"kind": "anwser"}, "weight": 1}]}, "'text' or 'unknown' or a list. Did you mean 'answer'?"),
        ({"rules": [{"where": {"turn": "firts"}, "weight": 1}]}, "rules[0].where.turn is 'firts', expected a whole number or 'first' or"),
        ({"rules": [{"where": {"knd": "answer"}, "weight": 1}]}, "unknown option 'rules[0].where.knd'. Did you mean 'kind'?"),
        ({"rules": [{"were": {}, "weight": 1}]}, "the option 'rules[0].where' is missing; unknown option 'rules[0].were'."),
        ({"rules": [{"where": {"regex": "("}, "weight": 1}]}, "rules[0].where.regex is '(': not a regular expression: missing ),"),
    ],
)
def test_of_weighted(options: dict[str, Any], says: str):
    with pytest.raises(ConfigError) as error:
        load_strategy({"name": "weighted", **options})
    message = str(error.value)
    assert message.startswith("strategy 'weighted': ")
    assert says in message
    assert "\n" not in message
    assert not any(word in message for word in ("enum[", "literal[", "list[", "Input should")), "pydantic's own words mean nothing to users"


def test_options_are_called_as_configs_call_them():
    with pytest.raises(ConfigError, match=r"the option 'end' is missing; unknown option 'form'\. Did you mean 'from'\?"):
        load_strategy({"name": "schedule", "form": "causal", "to": "causal"})
