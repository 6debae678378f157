"""The order of rows is a function of seed and epoch."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskkit.engine.order import EpochOrder
from maskkit.engine.plan import Batching
from maskkit.errors import DataError


def rows(plans):
    return [number for plan in plans for pack in plan for number in pack]


def test_every_epoch_holds_every_row_once_in_an_order_of_its_own():
    order = EpochOrder([1] * 20, seed=3)
    epochs = [rows(order.take(20)) for _ in range(3)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert order.epoch == 3


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 5))
def test_how_many_are_taken_at_a_time_does_not_matter(counts, seed):
    by_parts, at_once = EpochOrder([1] * 7, seed), EpochOrder([1] * 7, seed)
    assert [plan for count in counts for plan in by_parts.take(count)] == at_once.take(sum(counts))


@given(st.integers(0, 40), st.integers(0, 5))
def test_a_restored_order_goes_on_as_the_first_would_have(taken, seed):
    order = EpochOrder([1, 0.5, 2.25], seed)
    order.take(taken)
    resumed = EpochOrder([1, 0.5, 2.25], seed=99)
    resumed.load_state_dict(order.state_dict())
    assert resumed.take(20) == order.take(20)


def test_another_seed_is_another_order():
    assert EpochOrder([1] * 20, seed=0).take(20) != EpochOrder([1] * 20, seed=1).take(20)


def test_shares_say_how_often_a_row_is_seen_in_an_epoch():
    order = EpochOrder([1, 2, 0, 0.25], seed=0)
    seen = []
    while order.epoch < 400:
        seen += rows(order.take(1))
    assert (seen.count(0), seen.count(1), seen.count(2)) == (400, 800, 0)
    assert 70 < seen.count(3) < 130


@given(st.integers(1, 9), st.integers(0, 5))
def test_the_size_of_micro_batches_changes_no_order(size, seed):
    """Plans go on over the end of an epoch, so that all have the same size."""
    plans = EpochOrder([1] * 7, seed, Batching(size)).take(5)
    assert [len(plan) for plan in plans] == [size] * 5
    assert rows(plans) == rows(EpochOrder([1] * 7, seed).take(5 * size))


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(12, 40))
def test_a_budget_of_tokens_is_filled_and_never_exceeded(lengths, budget):
    order = EpochOrder([1] * len(lengths), 0, Batching(tokens=budget), lengths)
    plans = order.take(12)
    padded = [len(plan) * max(lengths[pack[0]] for pack in plan) for plan in plans]
    assert max(padded) <= budget
    for plan, following in pairwise(plans):
        more = [*plan, following[0]]
        assert len(more) * max(lengths[pack[0]] for pack in more) > budget


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(12, 200))
def test_a_budget_changes_no_order_and_every_epoch_holds_every_row_once(lengths, budget):
    """Also where several epochs fit into one batch, in which a row then stands as often."""
    order = EpochOrder([1] * len(lengths), 3, Batching(tokens=budget), lengths)
    taken = rows(order.take(7))
    assert taken == rows(EpochOrder([1] * len(lengths), 3).take(len(taken)))
    for epoch in range(len(taken) // len(lengths)):
        assert sorted(taken[epoch * len(lengths) : (epoch + 1) * len(lengths)]) == list(range(len(lengths)))


def test_a_row_that_is_longer_than_the_budget_is_alone():
    plans = EpochOrder([1] * 3, 0, Batching(tokens=5), [9, 9, 9]).take(3)
    assert [len(plan) for plan in plans] == [1, 1, 1]


def test_an_epoch_in_which_no_row_is_due_is_passed_over():
    order = EpochOrder([0.05], seed=0)
    epochs = []
    for _ in range(5):
        epochs.append(order.epoch)
        order.take(1)
    assert epochs == sorted(set(epochs))
    assert epochs[-1] > 20


@pytest.mark.parametrize("shares", [[], [0, 0], [-1, 1], [float("nan")]])
def test_nothing_to_take_is_an_error(shares):
    with pytest.raises(DataError):
        EpochOrder(shares)
