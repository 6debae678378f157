"""Both loss functions give the reference's value and gradients, whole or split, under every normalization."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskkit.batching import DataCollator
from maskkit.errors import ConfigError, MaskkitError, StrategyError, TrainingError, UnknownNameError
from maskkit.loss import Normalizer, entries_of, linear_weighted_cross_entropy, weighted_cross_entropy
from tests.reference import (
    NORMALIZATIONS,
    Row,
    as_example,
    global_batch_loss,
    largest_difference,
    ragged_rows,
    reference_step,
    tiny_llama,
)

EXACT = 1e-13


class Padding:
    pad_token_id = 0


def batch_of(rows: list[Row]) -> dict[str, torch.Tensor]:
    return DataCollator(Padding())([as_example(row) for row in rows])


def full_loss(model, batch, **how):
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    return weighted_cross_entropy(logits, batch["labels"], batch["loss_weights"], document_ids=batch["document_ids"], **how)


def linear_loss(model, batch, **how):
    hidden = model.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).last_hidden_state
    head = model.lm_head.weight
    how |= {"document_ids": batch["document_ids"], "chunk": 7}
    return linear_weighted_cross_entropy(hidden, head, batch["labels"], batch["loss_weights"], **how)


PATHS = pytest.mark.parametrize("path", [full_loss, linear_loss], ids=["full", "linear"])
EVERY_NORMALIZATION = pytest.mark.parametrize("normalization", NORMALIZATIONS)


@PATHS
@EVERY_NORMALIZATION
def test_a_padded_batch_has_the_loss_and_gradients_of_its_rows_run_alone(path, normalization):
    model, rows = tiny_llama(), ragged_rows()
    expected, gradients = reference_step(model, rows, normalization)
    loss = path(model, batch_of(rows), normalization=normalization)
    loss.backward()
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(expected, abs=EXACT)
    assert largest_difference(model, gradients) < EXACT


@PATHS
@EVERY_NORMALIZATION
@pytest.mark.parametrize("split", [[8], [1] * 8, [3, 3, 2], [1, 7], [5, 1, 2]], ids=str)
def test_any_split_into_micro_batches_gives_the_same_mean(path, normalization, split):
    model, rows = tiny_llama(), ragged_rows()
    expected, gradients = reference_step(model, rows, normalization)
    batches = [batch_of(part) for part in parts(rows, split)]
    total = Normalizer(normalization).total([entries_of(b["labels"], b["loss_weights"], b["document_ids"]) for b in batches])
    losses = [path(model, batch, normalization=normalization, denominator=total) for batch in batches]
    for loss in losses:
        loss.backward()
    assert sum(loss.item() for loss in losses) == pytest.approx(expected, abs=EXACT)
    assert largest_difference(model, gradients) < EXACT


@PATHS
@pytest.mark.parametrize("normalization", ["absolute", "tokens"])
def test_negative_weights_push_the_other_way(path, normalization):
    model, rows = tiny_llama(), ragged_rows(signed=True)
    expected, gradients = reference_step(model, rows, normalization)
    loss = path(model, batch_of(rows), normalization=normalization)
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=EXACT)
    assert largest_difference(model, gradients) < EXACT


def test_a_tied_head_gathers_gradients_from_both_its_uses():
    model, rows = tiny_llama(tie_word_embeddings=True), ragged_rows()
    _, gradients = reference_step(model, rows, "weights")
    linear_loss(model, batch_of(rows)).backward()
    assert largest_difference(model, gradients) < EXACT


def test_documents_packed_in_one_row_are_separate_sequences():
    """Three sequences in one row: nothing predicts the first token of each, and the mean over sequences knows them apart."""
    torch.manual_seed(0)
    lengths = [4, 3, 5]
    logits = torch.randn(1, sum(lengths) + 2, 11, dtype=torch.float64)
    ids = torch.randint(0, 11, (1, sum(lengths) + 2))
    weights = torch.rand(1, sum(lengths) + 2)
    documents = torch.tensor([[0] * 4 + [1] * 3 + [2] * 5 + [-1] * 2])
    log_probs = torch.log_softmax(logits[0, :-1], -1).gather(-1, ids[0, 1:, None])[:, 0]
    aligned = torch.cat([log_probs.new_zeros(1), log_probs])
    for normalization in NORMALIZATIONS:
        expected = global_batch_loss(list(aligned[:12].split(lengths)), list(weights[0, :12].split(lengths)), normalization)
        loss = weighted_cross_entropy(logits, ids, weights, normalization=normalization, document_ids=documents)
        assert loss.item() == pytest.approx(float(expected), abs=EXACT)


def test_document_ids_may_start_anew_in_each_row():
    documents = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]])
    entries = entries_of(torch.ones(2, 4, dtype=torch.long), torch.ones(2, 4), documents)
    assert len(set(entries.sequence.tolist())) == 4


def test_the_shift_pairs_each_token_with_the_position_before_it():
    entries = entries_of(torch.tensor([[-100, 7, -100, 9], [5, 6, -100, -100]]), torch.tensor([[1.0, 0.5, 1, 2], [3, 4, 0, 0]]))
    assert entries.target.tolist() == [7, 9, 6]
    assert entries.source.tolist() == [0, 2, 4]
    assert entries.predicted.tolist() == [1, 3, 5]
    assert entries.weight.tolist() == [0.5, 2, 4]
    assert entries.sequence.tolist() == [0, 0, 1]


def test_a_micro_batch_that_trains_nothing_gives_zero_gradients_to_all_parameters():
    """Under a given denominator it is no error: another micro-batch trains, and every rank must run its backward pass."""
    model, rows = tiny_llama(), ragged_rows(2)
    for row in rows:
        row.weights.zero_()
    loss = linear_loss(model, batch_of(rows), denominator=3.0)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


@PATHS
@EVERY_NORMALIZATION
def test_a_global_batch_that_trains_nothing_is_an_error_not_a_loss_of_zero(path, normalization):
    rows = ragged_rows(2)
    for row in rows:
        row.weights.zero_()
    with pytest.raises(TrainingError, match=normalization):
        path(tiny_llama(), batch_of(rows), normalization=normalization)


def test_weights_that_cancel_are_an_error_that_names_the_normalization():
    logits, labels = torch.zeros(1, 3, 5), torch.tensor([[0, 1, 2]])
    weights = torch.tensor([[0.0, 1, -1]])
    with pytest.raises(TrainingError, match="'weights' is zero"):
        weighted_cross_entropy(logits, labels, weights)
    with pytest.raises(TrainingError, match="sequence 0"):
        weighted_cross_entropy(logits, labels, weights, normalization="sequences")
    assert float(weighted_cross_entropy(logits, labels, weights, normalization="absolute")) == 0


@pytest.mark.parametrize("bad", [0, 0.0, float("nan"), float("inf")])
def test_a_denominator_must_be_a_finite_number_other_than_zero(bad):
    with pytest.raises(TrainingError, match="denominator"):
        weighted_cross_entropy(torch.zeros(1, 3, 5), torch.tensor([[0, 1, 2]]), torch.ones(1, 3), denominator=bad)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_finite_is_named_by_its_place(bad):
    weights = torch.ones(2, 3)
    weights[1, 2] = bad
    with pytest.raises(StrategyError, match=r"loss_weights\[1, 2\]"):
        weighted_cross_entropy(torch.zeros(2, 3, 5), torch.zeros(2, 3, dtype=torch.long), weights)


def test_labels_may_be_of_any_integer_type():
    logits, labels, weights = torch.randn(1, 3, 5), torch.tensor([[0, 1, 2]]), torch.ones(1, 3)
    assert weighted_cross_entropy(logits, labels.int(), weights) == weighted_cross_entropy(logits, labels, weights)


def test_wrong_shapes_names_and_labels_are_one_line_errors():
    logits, labels, weights = torch.zeros(1, 3, 5), torch.tensor([[0, 1, 2]]), torch.ones(1, 3)
    wrong = [
        (ConfigError, lambda: weighted_cross_entropy(logits[:, :2], labels, weights)),
        (ConfigError, lambda: weighted_cross_entropy(logits, labels, weights[:, :2])),
        (ConfigError, lambda: weighted_cross_entropy(logits, labels, weights, document_ids=labels[:, :2])),
        (ConfigError, lambda: weighted_cross_entropy(logits, labels + 5, weights)),
        (ConfigError, lambda: weighted_cross_entropy(logits, labels.float(), weights)),
        (ConfigError, lambda: linear_weighted_cross_entropy(torch.zeros(1, 3, 4), torch.zeros(5, 4), labels + 5, weights)),
        (UnknownNameError, lambda: weighted_cross_entropy(logits, labels, weights, normalization="mean")),
    ]
    for error, call in wrong:
        with pytest.raises(error) as raised:
            call()
        assert isinstance(raised.value, MaskkitError)
        assert "\n" not in str(raised.value)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_weights_in_any_split_equal_the_definition(data):
    """The algebra alone, without a model: coefficients and denominators of micro-batches against the definition."""
    lengths = data.draw(st.lists(st.integers(2, 6), min_size=1, max_size=6))
    weight = st.sampled_from([0.0, 0.0, 0.25, 0.3, 1.0, 7.0])
    weights = [torch.tensor(data.draw(st.lists(weight, min_size=n, max_size=n)), dtype=torch.float32) for n in lengths]
    if not any((w[1:] != 0).any() for w in weights):
        weights[0][1] = 1.0
    torch.manual_seed(len(lengths))
    ids = [torch.randint(0, 5, (n,)) for n in lengths]
    logits = [torch.randn(n, 5, dtype=torch.float64) for n in lengths]
    log_probs = [
        torch.cat([z.new_zeros(1), torch.log_softmax(z[:-1], -1).gather(-1, i[1:, None])[:, 0]]) for z, i in zip(logits, ids, strict=True)
    ]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(lengths)), max_size=3)) | {0, len(lengths)})
    for normalization in NORMALIZATIONS:
        expected = float(global_batch_loss(log_probs, weights, normalization))
        groups = [range(a, b) for a, b in pairwise(cuts)]
        batches = [(padded(logits, g), padded(ids, g), padded(weights, g)) for g in groups]
        total = Normalizer(normalization).total([entries_of(i, w) for _, i, w in batches])
        loss = sum(float(weighted_cross_entropy(z, i, w, normalization=normalization, denominator=total)) for z, i, w in batches)
        assert loss == pytest.approx(expected, rel=1e-6)


def padded(columns: list[torch.Tensor], group: range) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([columns[i] for i in group], batch_first=True)


def parts(rows: list[Row], sizes: list[int]) -> list[list[Row]]:
    edges = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    return [rows[a:b] for a, b in pairwise(edges)]
