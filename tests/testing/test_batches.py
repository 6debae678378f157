"""What a strategy gives a row is what the model is trained with, however rows are batched, padded or packed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import maskkit
from maskkit import embedded
from maskkit.testing import CONVERSATIONS

ROWS = [{**row, "weight": 0.5} for row in CONVERSATIONS.values()]
STRATEGIES: list[Any] = [
    info.name for info in maskkit.strategies() if info.origin == "maskkit" and info.sort == "strategy" and info.name != "schedule"
]
STRATEGIES.append({"name": "schedule", "to": "causal", "end": 9})


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return embedded.tiny_tokenizer()


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_batches_hold_the_weights_of_each_row(tokenizer: Any, strategy: Any):
    masker = maskkit.Masker(tokenizer, strategy)
    alone = [masker(row) for row in ROWS]
    expected = Counter(tuple(example.loss_weights.tolist()) for example in alone)
    assert Counter(tuple(example.loss_weights.tolist()) for example in masker.batch(reversed(ROWS))) == expected
    for packing in (False, True):
        batch = maskkit.DataCollator(tokenizer, packing=packing)(alone)
        found: Counter[tuple[float, ...]] = Counter()
        for weights, documents in zip(batch["loss_weights"], batch["document_ids"], strict=True):
            found.update(tuple(weights[documents == number].tolist()) for number in documents[documents >= 0].unique())
            assert not weights[documents < 0].any(), "padding weighs nothing"
        assert found == expected
