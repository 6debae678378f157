"""Packed rows give the loss and gradients of rows that are run alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskkit.batching import DataCollator
from maskkit.engine.batches import Batcher, every_prediction, global_denominator
from maskkit.engine.order import EpochOrder
from maskkit.engine.plan import PACKING_WINDOW, Batching, best_fit_decreasing, epoch_packs
from maskkit.engine.predict import Predictor
from maskkit.loss import Normalizer, weighted_sum
from tests.reference import NORMALIZATIONS, as_example, largest_difference, ragged_rows, reference_step, tiny_llama


class Padding:
    pad_token_id = 0


SPLITS = {
    "padded": (False, [[[0], [1], [2], [3]], [[4], [5], [6], [7]]]),
    "one pack": (True, [[[0, 1, 2, 3, 4, 5, 6, 7]]]),
    "packs of unequal length in two batches": (True, [[[5, 0, 2], [7]], [[1], [3, 4], [6]]]),
    "a pack at a time": (True, [[[0, 3]], [[1, 2, 7]], [[4, 5, 6]]]),
}


def backward(model, rows, splits, normalization, *, packing, one_row=False):
    """Loss of the global batch in these micro-batches; leaves its gradients on the model."""
    predict = Predictor(model)
    batcher = Batcher(DataCollator(Padding(), packing), Normalizer(normalization), 8, predict.device, one_row=one_row)
    batches = batcher([[[as_example(rows[number]) for number in pack] for pack in plan] for plan in splits])
    denominator = global_denominator(batches, normalization, 1)
    total = 0.0
    for batch in batches:
        part = weighted_sum(predict(batch.tensors, batch.entries), batch.coefficients) / denominator
        part.backward()
        total += float(part.detach())
    return total


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize(("split", "one_row"), [*((split, False) for split in SPLITS), *((split, True) for split in list(SPLITS)[1:])])
def test_packed_padded_and_split_batches_are_exact(normalization, split, one_row):
    packing, splits = SPLITS[split]
    model, rows = tiny_llama(), ragged_rows(8)
    expected, gradients = reference_step(model, rows, normalization)
    assert backward(model, rows, splits, normalization, packing=packing, one_row=one_row) == pytest.approx(expected, abs=1e-12)
    assert largest_difference(model, gradients) <= 1e-12


@pytest.mark.parametrize("split", SPLITS)
def test_in_single_precision_too(split):
    packing, splits = SPLITS[split]
    model, rows = tiny_llama().float(), ragged_rows(8)
    _, gradients = reference_step(tiny_llama(), rows, "weights")
    backward(model, rows, splits, "weights", packing=packing)
    assert largest_difference(model, gradients) <= 1e-6


@pytest.mark.parametrize("normalization", ["absolute", "tokens"])
def test_negative_weights_are_exact_in_packs(normalization):
    model, rows = tiny_llama(), ragged_rows(8, signed=True)
    expected, gradients = reference_step(model, rows, normalization)
    found = backward(model, rows, SPLITS["packs of unequal length in two batches"][1], normalization, packing=True)
    assert found == pytest.approx(expected, abs=1e-12)
    assert largest_difference(model, gradients) <= 1e-12


def test_the_first_token_of_no_document_is_predicted_even_if_it_has_a_weight():
    rows = ragged_rows(3)
    for row in rows:
        row.weights[0] = 100.0
    batch = Batcher(DataCollator(Padding(), True), Normalizer(), 1, torch.device("cpu"))([[[as_example(row) for row in rows]]])[0]
    starts = np.cumsum([0] + [len(row.ids) for row in rows[:-1]])
    for entries in (batch.entries, every_prediction(batch)):
        assert not set(entries.predicted.tolist()) & set(starts.tolist())
    assert len(every_prediction(batch)) == sum(len(row.ids) - 1 for row in rows)
    assert batch.kinds.shape == batch.tensors["input_ids"].shape


# -- which rows are packed together


@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), st.integers(30, 60))
def test_packs_hold_every_row_once_and_are_never_too_long(lengths, capacity):
    packs = best_fit_decreasing(lengths, capacity)
    assert sorted(index for pack in packs for index in pack) == list(range(len(lengths)))
    assert max(sum(lengths[index] for index in pack) for pack in packs) <= capacity
    fewest = -(-sum(lengths) // capacity)
    assert len(packs) <= 11 / 9 * fewest + 4
    totals = [sum(lengths[index] for index in pack) for pack in packs]
    assert all(a + b > capacity for i, a in enumerate(totals) for b in totals[:i])  # no two could have been one


def test_each_row_goes_where_the_least_room_is_left():
    assert best_fit_decreasing([6, 5, 4, 3, 2], 10) == [[0, 2], [1, 3, 4]]
    assert best_fit_decreasing([7, 6, 3], 10) == [[0, 2], [1]]
    assert best_fit_decreasing([9, 1], 10) == [[0, 1]]
    assert best_fit_decreasing([99, 5, 5], 10) == [[0], [1, 2]]


LENGTHS = [int(length) for length in np.random.default_rng(0).integers(3, 100, 3000)]


def test_an_epoch_of_packs_holds_every_row_once_in_full_packs_and_other_ones_each_time():
    order = EpochOrder([1] * len(LENGTHS), 0, Batching(pack_length=200), LENGTHS)
    epochs = []
    for epoch in range(2):
        packs = []
        while order.epoch == epoch:
            packs += order.take(1)[0]
        epochs.append(packs)
        assert sorted(number for pack in packs for number in pack) == list(range(len(LENGTHS)))
        assert sum(LENGTHS) / (200 * len(packs)) > 0.97
    assert not {tuple(sorted(pack)) for pack in epochs[0] if len(pack) > 1} & {tuple(sorted(pack)) for pack in epochs[1] if len(pack) > 1}


def test_packs_of_a_window_come_among_those_of_the_others():
    """Else the nearly empty ones would come at certain times."""
    packs = epoch_packs(np.arange(3000), np.array(LENGTHS), Batching(pack_length=200), np.random.default_rng(0))
    windows = [{row // PACKING_WINDOW for row in packs[number]} for number in range(len(packs))]
    assert {len(window) for window in windows} == {1}
    assert {min(window) for window in windows[:50]} == {0, 1, 2}


@given(st.integers(0, 80), st.integers(1, 4), st.sampled_from(["packs", "budget of packs", "groups", "budget of groups"]))
def test_packed_and_grouped_orders_are_restored_and_do_not_depend_on_how_many_are_taken(taken, at_once, how):
    batching = {
        "packs": Batching(3, pack_length=200),
        "budget of packs": Batching(tokens=700, pack_length=200),
        "groups": Batching(4, by_length=True),
        "budget of groups": Batching(tokens=700, by_length=True),
    }[how]
    lengths = LENGTHS[:60]
    order, other = (EpochOrder([1] * 60, seed, batching, lengths) for seed in (5, 6))
    expected = [plan for _ in range(taken + 8) for plan in order.take(1)]
    again = EpochOrder([1] * 60, 5, batching, lengths)
    parts = [plan for _ in range(-(-taken // at_once)) for plan in again.take(at_once)]
    other.load_state_dict(again.state_dict())
    assert [*parts, *other.take(4)] == expected[: len(parts) + 4]


def test_grouped_rows_have_similar_lengths_and_every_row_still_comes_once():
    for batching in (Batching(8, by_length=True), Batching(tokens=600, by_length=True)):
        order = EpochOrder([1] * len(LENGTHS), 0, batching, LENGTHS)
        plans = []
        while not order.epoch:
            plans += order.take(1)
        rows = [pack[0] for plan in plans for pack in plan]
        assert sorted(rows) == list(range(len(LENGTHS)))
        padded = sum(len(plan) * max(LENGTHS[pack[0]] for pack in plan) for plan in plans)
        assert sum(LENGTHS) / padded > 0.95
        longest = [max(LENGTHS[pack[0]] for pack in plan) for plan in plans]
        assert longest != sorted(longest, reverse=True)


@pytest.mark.parametrize("batching", [Batching(8, by_length=True), Batching(tokens=600, by_length=True)])
def test_no_micro_batch_is_made_of_two_groups(batching):
    """Where a group is smaller than the others, at the end of a window or of the epoch, it stays alone."""
    lengths = LENGTHS[:2990]
    order = EpochOrder([1] * len(lengths), 0, batching, lengths)
    plans = order.take(900)
    assert order.epoch >= 1
    spreads = [max(lengths[pack[0]] for pack in plan) - min(lengths[pack[0]] for pack in plan) for plan in plans]
    assert max(spreads) < 35


def test_the_last_group_of_an_epoch_stays_alone_too():
    lengths = [50, 50, 30, 30, 10]
    order = EpochOrder([1] * 5, 0, Batching(2, by_length=True), lengths)
    for plan in order.take(60):
        assert len({lengths[pack[0]] for pack in plan}) == 1
    assert order.epoch == 20
