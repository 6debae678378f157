"""Asking a model for log-probabilities: short way, long way, bfloat16."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from maskkit.batching import DataCollator
from maskkit.engine.batches import Batcher
from maskkit.engine.predict import Predictor
from maskkit.loss import Normalizer
from tests.reference import as_example, ragged_rows, sequence_log_probs, tiny_llama


class Padding:
    pad_token_id = 0


def batch_of(rows):
    return Batcher(DataCollator(Padding()), Normalizer(), 8, torch.device("cpu"))([[[as_example(row)] for row in rows]])[0]


def test_only_chosen_tokens_reach_the_head():
    model, rows = tiny_llama(), ragged_rows(4)
    batch, sizes = batch_of(rows), []
    predict = Predictor(model)
    model.lm_head.register_forward_hook(lambda *_: sizes.append("called"))
    log_probs = predict(batch.tensors, batch.entries)
    expected = [sequence_log_probs(model, row.ids)[1:][row.weights[1:] != 0] for row in rows]
    sizes_after_reference = len(sizes)
    assert torch.allclose(log_probs, torch.cat(expected), atol=1e-13)
    assert sizes_after_reference == len(rows)  # the reference's own calls; the predictor made none


def test_a_head_that_is_not_plain_is_said_in_the_log(caplog):
    model = tiny_llama()
    model.lm_head = nn.Sequential(model.lm_head)
    with caplog.at_level(logging.INFO):
        predict = Predictor(model)
    assert "no-linear-head" in caplog.text
    batch = batch_of(ragged_rows(4))
    assert torch.allclose(predict(batch.tensors, batch.entries), Predictor(tiny_llama())(batch.tensors, batch.entries), atol=1e-13)


@pytest.mark.parametrize("plain", [True, False])
def test_bfloat16_is_for_the_products_and_not_for_the_parameters(plain):
    model = tiny_llama().float()
    if not plain:
        model.lm_head = nn.Sequential(model.lm_head)
    batch = batch_of(ragged_rows(4))
    exact = Predictor(model)(batch.tensors, batch.entries)
    rough = Predictor(model, bf16=True)(batch.tensors, batch.entries)
    rough.sum().backward()
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max().item() < 0.05
    assert {p.dtype for p in model.parameters()} | {p.grad.dtype for p in model.parameters()} == {torch.float32}
