"""Evaluation is the exact weighted mean over all held-out rows, and the mean of every kind, trained or not."""

from __future__ import annotations

import math

import pytest
import torch

from maskkit import Masker, embedded
from maskkit.batching import DataCollator
from maskkit.engine.batches import Batcher
from maskkit.engine.evaluate import evaluate, kind_losses
from maskkit.engine.predict import Predictor
from maskkit.errors import TrainingError
from maskkit.loss import Normalizer
from tests.reference import NORMALIZATIONS, global_batch_loss, sequence_log_probs, tiny_llama

TOKENIZER = embedded.tiny_tokenizer()
ROWS = [
    {"messages": [{"role": "user", "content": "2+3?"}, {"role": "assistant", "reasoning_content": "2 and 3 make 5.", "content": "5"}]},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "hello"},
        ]
    },
    {"messages": [{"role": "user", "content": "今は何時ですか。"}, {"role": "assistant", "content": "8時50分"}]},
]
STRATEGY = {"name": "weighted", "reasoning": 0.3, "answer": 1.0}


def parts(normalization: str = "weights", strategy=STRATEGY, size: int = 2):
    predict = Predictor(tiny_llama(vocab_size=len(TOKENIZER)))
    masker = Masker(TOKENIZER, strategy)
    batcher = Batcher(DataCollator(TOKENIZER), Normalizer(normalization), size, predict.device)
    return predict, masker, batcher, [masker(row) for row in ROWS]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_loss_is_exact_over_all_rows_whatever_the_batch_size(normalization, size):
    predict, masker, batcher, rows = parts(normalization, size=size)
    with torch.no_grad():
        log_probs = [sequence_log_probs(predict.model, torch.tensor(row.input_ids)) for row in rows]
    expected = global_batch_loss(log_probs, [torch.tensor(row.loss_weights) for row in rows], normalization)
    assert evaluate(predict, masker, batcher, rows).loss == pytest.approx(float(expected), abs=1e-12)


def test_every_kind_has_its_mean_over_all_its_tokens():
    predict, masker, batcher, rows = parts()
    expected: dict[str, list[float]] = {}
    with torch.no_grad():
        for row in rows:
            losses = -sequence_log_probs(predict.model, torch.tensor(row.input_ids))
            for kind, loss in list(zip(row.tokens.kind.tolist(), losses.tolist(), strict=True))[1:]:
                expected.setdefault(kind, []).append(loss)
    found = evaluate(predict, masker, batcher, rows)
    assert found.kinds == {kind: pytest.approx(sum(losses) / len(losses), abs=1e-12) for kind, losses in expected.items()}
    assert found.tokens == {kind: len(losses) for kind, losses in expected.items()}
    assert {"system", "user", "template", "reasoning", "answer", "stop"} == set(found.kinds)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("size", [1, 2])
def test_perplexity_and_accuracies_are_exact_whatever_the_normalization_and_batch_size(normalization, size):
    predict, masker, batcher, rows = parts(normalization, size=size)
    with torch.no_grad():  # a model that is right now and then: it has learned a trained token of each row by heart
        for row in rows:
            ids, token = torch.tensor(row.input_ids), int(row.loss_weights.nonzero()[0][-1])
            hidden = predict.model.model(input_ids=ids[None], use_cache=False).last_hidden_state[0]
            predict.model.lm_head.weight[ids[token]] = 9 * hidden[token - 1]
    losses, weights, kinds, hits = [], [], [], []
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor(row.input_ids)
            logits = predict.model(input_ids=ids[None], use_cache=False).logits[0, :-1]
            losses += (-torch.log_softmax(logits, -1).gather(-1, ids[1:, None])[:, 0]).tolist()
            hits += (logits.argmax(-1) == ids[1:]).tolist()
            weights += row.loss_weights[1:].tolist()
            kinds += row.tokens.kind[1:].tolist()
    found = evaluate(predict, masker, batcher, rows)
    trained = [number for number, weight in enumerate(weights) if weight]
    mean = sum(weights[n] * losses[n] for n in trained) / sum(weights[n] for n in trained)
    assert found.perplexity == pytest.approx(math.exp(mean), rel=1e-9)
    assert found.accuracy == sum(hits[n] for n in trained) / len(trained)
    for kind in set(kinds):
        of_kind = [hit for hit, other in zip(hits, kinds, strict=True) if other == kind]
        assert found.accuracies[kind] == sum(of_kind) / len(of_kind)
    assert found.stop_accuracy == found.accuracies["stop"]
    assert 0 < sum(hits[n] for n in trained) < len(trained)


def test_kinds_of_one_training_batch_are_measured_the_same_way_and_leave_no_gradient():
    predict, masker, batcher, rows = parts(size=3)
    batch = batcher([[[row] for row in rows]])[0]
    assert kind_losses(predict, batch) == evaluate(predict, masker, batcher, rows).kinds
    assert all(p.grad is None for p in predict.model.parameters())


def test_dropout_rests_while_measuring_and_is_back_afterwards():
    predict, masker, batcher, rows = parts()
    predict.model.train()
    predict.model.model.layers[0].mlp.register_forward_hook(lambda module, args, output: modes.append(module.training))
    modes: list[bool] = []
    evaluate(predict, masker, batcher, rows)
    assert modes == [False, False]
    assert predict.model.training


def test_rows_that_train_nothing_have_no_loss():
    predict, masker, batcher, rows = parts(strategy=lambda tokens: tokens.ids * 0.0)
    with pytest.raises(TrainingError, match="3 held-out rows"):
        evaluate(predict, masker, batcher, rows)
