"""What pytest finds once maskkit is installed: fixtures that cost nothing until they are used, and the class of checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import maskkit
from maskkit.testing import CONVERSATIONS, TEMPLATES


def test_fixtures(tiny_tokenizer, conversations, templates):
    assert tiny_tokenizer("12 + 9")["input_ids"]
    assert conversations == CONVERSATIONS
    conversations["one turn"]["messages"].clear()
    assert CONVERSATIONS["one turn"]["messages"], "a test's changes are its own"
    assert set(templates) == set(TEMPLATES)


def test_the_model_is_the_same_each_time(tiny_model, tiny_tokenizer):
    assert tiny_model.config.vocab_size == len(tiny_tokenizer)


def test_every_conversation_goes_through_every_template(tiny_tokenizer, conversations, templates):
    """What authors are given to try a strategy on has to work itself."""
    for name, template in templates.items():
        tiny_tokenizer.chat_template = template
        examples = maskkit.Masker(tiny_tokenizer).batch(conversations.values())
        assert len(examples) == len(conversations)
        assert any(example.loss_weights.any() for example in examples), name


STRANGER = """
import sys

import maskkit
from maskkit.testing import StrategyConformance

HEAVY = {"torch", "transformers", "datasets", "pyarrow"}


class Mine(maskkit.Strategy):
    "Train answers."
    name = "mine"

    def weights(self, tokens):
        return tokens.where(kind=KIND)


class TestMine(StrategyConformance):
    strategy = Mine


def test_nothing_heavy_was_imported():
    assert not HEAVY & set(sys.modules)
"""


def stranger(folder: Path, kind: str) -> str:
    (folder / "test_mine.py").write_text(STRANGER.replace("KIND", repr(kind)))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTEST_ADDOPTS": ""}, check=False)
    return done.stdout


def test_a_stranger_s_strategy_passes_and_imports_nothing_heavy(tmp_path: Path):
    assert "11 passed" in stranger(tmp_path, "answer")


def test_a_stranger_s_mistake_is_told(tmp_path: Path):
    told = stranger(tmp_path, "template")
    assert "1 failed, 10 passed" in told
    assert "strategy 'mine' gives the scaffolding '<start>' (token 0 of table 'one turn') the weight 1.0" in told
