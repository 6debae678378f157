"""The numbers and pictures with which next-token training is taught, each one true of this code."""

from __future__ import annotations

import math

import pytest
import torch

from maskkit.batching import DataCollator
from maskkit.loss import weighted_cross_entropy
from tests.reference import VOCABULARY, as_example, ragged_rows, tiny_llama


def logits_with(*probabilities: float, vocabulary: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [1, T + 1, V] that give the true next token these probabilities, and the ids: token t is t."""
    length = len(probabilities) + 1
    logits = torch.zeros(1, length, vocabulary, dtype=torch.float64)
    for position, p in enumerate(probabilities):
        logits[0, position] = math.log((1 - p) / (vocabulary - 1))
        logits[0, position, position + 1] = math.log(p)
    return logits, torch.arange(length)[None]


@pytest.mark.parametrize(("p", "loss"), [(0.78, 0.25), (0.99, 0.01), (0.01, 4.61)])
def test_cross_entropy_of_a_probability(p, loss):
    logits, ids = logits_with(p)
    assert round(weighted_cross_entropy(logits, ids, torch.ones(1, 2)).item(), 2) == loss


def test_the_loss_of_a_sequence_is_the_weighted_mean_over_its_positions():
    probabilities, weights = [0.78, 0.99, 0.01], [1.0, 0.5, 0.1]
    logits, ids = logits_with(*probabilities)
    mean = -sum(w * math.log(p) for w, p in zip(weights, probabilities, strict=True)) / sum(weights)
    assert weighted_cross_entropy(logits, ids, torch.tensor([[9.0, *weights]])).item() == pytest.approx(mean, abs=1e-7)


def test_with_equal_weights_it_is_the_plain_mean():
    logits, ids = logits_with(0.78, 0.99, 0.01)
    assert weighted_cross_entropy(logits, ids, torch.ones(1, 4)).item() == pytest.approx((0.2485 + 0.0101 + 4.6052) / 3, abs=1e-4)


def test_a_position_sees_itself_and_what_is_before_it_the_lower_triangle():
    model = tiny_llama(attn_implementation="eager")
    ids = torch.randint(3, VOCABULARY, (1, 9))
    for attention in model(ids, output_attentions=True, use_cache=False).attentions:
        visible = attention[0].detach() > 0
        assert torch.equal(visible, torch.ones(9, 9, dtype=torch.bool).tril().expand_as(visible))


@pytest.mark.parametrize("edited", [0, 4, 8])
def test_editing_a_token_moves_no_logit_before_it(edited):
    model = tiny_llama()
    ids = torch.randint(3, VOCABULARY, (1, 9))
    changed = ids.clone()
    changed[0, edited] = (ids[0, edited] + 1) % VOCABULARY
    with torch.no_grad():
        before, after = model(ids, use_cache=False).logits[0], model(changed, use_cache=False).logits[0]
    assert torch.equal(before[:edited], after[:edited])
    assert all(not torch.equal(before[position], after[position]) for position in range(edited, 9))


def test_an_untrained_model_is_about_as_uncertain_as_a_draw_from_the_vocabulary():
    class Padding:
        pad_token_id = 0

    model, rows = tiny_llama(), ragged_rows()
    batch = DataCollator(Padding())([as_example(row) for row in rows])
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    loss = weighted_cross_entropy(logits, batch["labels"], batch["loss_weights"])
    assert loss.item() == pytest.approx(math.log(VOCABULARY), abs=0.15)
