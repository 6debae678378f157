"""The plugin through the door that everybody uses: its name in a selection."""

import os

import numpy as np
import pytest

import maskkit
from maskkit import plugins
from maskkit.testing import StrategyConformance

if not any(row.origin == "maskkit-final-answer" for row in plugins.plugin_rows()) and not os.environ.get("MASKKIT_REQUIRE_REAL"):
    pytest.skip("not installed: pip install ./plugins/maskkit-final-answer", allow_module_level=True)


class TestConformance(StrategyConformance):
    strategy = "final-answer"


class TestConformanceWithoutStop(StrategyConformance):
    strategy = {"name": "final-answer", "stop": 0.0}  # noqa: RUF012 (a selection, as a config writes it)


ROW = {
    "messages": [
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Hi. What is it?"},
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "reasoning_content": "2 and 3 make 5.", "content": "5"},
    ]
}


def test_only_the_last_answer_and_its_stop_token_are_trained(tiny_tokenizer):
    example = maskkit.Masker(tiny_tokenizer, strategy={"name": "final-answer", "stop": 0.5})(ROW)
    trained = example.loss_weights > 0
    assert set(example.tokens.message[trained]) == {3}
    assert set(example.tokens.kind[trained]) == {"answer", "stop"}
    assert "".join(example.tokens.piece(t) for t in np.flatnonzero(trained & (example.tokens.kind == "answer"))) == "5"
    assert set(example.loss_weights[example.tokens.where(kind="stop", message=-1)]) == {0.5}


def test_it_is_listed_with_where_it_comes_from():
    info = next(info for info in maskkit.strategies() if info.name == "final-answer")
    assert info.origin == "maskkit-final-answer"
    assert info.doc == "Train the final answer and its stop token, not the reasoning that led to it."
