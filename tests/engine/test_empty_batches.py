"""Batches that train nothing, and losses that jump."""

from __future__ import annotations

import shutil

import pytest

from maskkit.engine import train
from maskkit.engine.loop import training_loop
from maskkit.engine.metrics import read_metrics
from maskkit.engine.spikes import usual_loss
from maskkit.errors import TrainingError
from tests.engine.runs import chat, config, measured, weights_of, write_rows
from tests.engine.small import small_run
from tests.reference import ragged_rows


def partly_empty(count=8, empty=(0, 1, 2, 3, 4, 5)):
    rows = ragged_rows(count)
    for number in empty:
        rows[number].weights.zero_()
    return rows


def test_an_empty_batch_is_passed_over_and_counted_and_every_step_still_trains(tmp_path):
    run = small_run(tmp_path, partly_empty(), rows_per_step=2, micro=2, steps=20, learning_rate=0.1)
    run.skip_empty_batches = True
    training_loop(run)
    skipped = read_metrics(run.folder.metrics, "skipped")
    assert len(run.losses) == 20
    assert run.batches_skipped == len(skipped) > 8  # more than in an epoch, but not in a row
    empty = {f"data.jsonl:{number}" for number in range(1, 7)}
    assert all(set(line["rows"].split(", ")) <= empty for line in skipped)


def test_rows_are_taken_in_the_same_order_whether_batches_are_skipped_or_not(tmp_path):
    run = small_run(tmp_path, partly_empty(), rows_per_step=2, micro=2, steps=5, learning_rate=0.1)
    run.skip_empty_batches = True
    training_loop(run)
    assert run.order.epoch * 8 + run.order.cursor == 2 * (5 + run.batches_skipped)


def test_nothing_in_a_whole_epoch_is_an_error_even_then(tmp_path):
    run = small_run(tmp_path, partly_empty(empty=range(8)), rows_per_step=3)
    run.skip_empty_batches = True
    with pytest.raises(TrainingError, match=r"step 1: nothing was trained in \d batches, a whole epoch\. .*data\.jsonl:"):
        training_loop(run)


def test_weights_that_cancel_are_an_error_even_then(tmp_path):
    rows = ragged_rows(1)
    rows[0].weights.zero_()
    rows[0].weights[1], rows[0].weights[2] = 1.0, -1.0
    run = small_run(tmp_path, rows, rows_per_step=1)
    run.skip_empty_batches = True
    run.masker.strategy.signed = True
    with pytest.raises(TrainingError, match="step 1: normalization 'weights' is zero") as caught:
        training_loop(run)
    assert "on_empty_batch" not in str(caught.value)  # which would not help


def test_by_config_and_over_a_resume(tmp_path):
    def row(n):
        return chat(f"{n}?", "x", str(n)) if n % 3 == 0 else {"messages": [{"role": "user", "content": str(n)}]}

    rows = write_rows(tmp_path / "rows.jsonl", 12, row)
    how = {"max_steps": 6, "save_steps": 3, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
    data = {"train": rows, "eval": None}
    with pytest.raises(TrainingError, match=r"step [123]: normalization .* is zero.*; training\.on_empty_batch: skip  passes"):
        train(config(tmp_path, "error", data=data, training=how, answers={"count": 0}), progress=False)
    chosen = config(tmp_path, "skip", data=data, training=how | {"on_empty_batch": "skip"}, answers={"count": 0})
    whole = train(chosen, progress=False)
    assert whole.batches_skipped > 0
    before, weights = measured(whole.metrics_path), weights_of(whole.model_dir)
    for path in (whole.output_dir / "checkpoints" / "step-6").iterdir():
        path.unlink()
    shutil.rmtree(whole.model_dir)
    again = train(chosen, progress=False, resume=True)
    assert (again.batches_skipped, measured(again.metrics_path), weights_of(again.model_dir)) == (whole.batches_skipped, before, weights)


# -- spikes


STEADY = [2.0 + 0.01 * (number % 5) for number in range(40)]


def test_a_jump_is_a_spike_and_what_came_before_is_its_measure():
    assert usual_loss([*STEADY, 9.0]) == pytest.approx(2.02)
    assert usual_loss([*STEADY, 2.05]) is None
    assert usual_loss([*STEADY, 0.1]) is None


def test_noise_is_no_spike_and_a_falling_loss_has_none():
    noisy = [2.0 + (number * 7919 % 13 - 6) / 6 for number in range(60)]
    assert not any(usual_loss(noisy[: n + 1]) for n in range(60))
    assert not any(usual_loss([5 * 0.97**k for k in range(n)]) for n in range(1, 80))


def test_there_is_no_usual_loss_at_the_start():
    assert usual_loss([2.0] * 19 + [99.0]) is None
    assert usual_loss([2.0] * 20 + [99.0]) == 2.0
    assert usual_loss([]) is None


def test_a_spike_is_written_down_with_its_rows(tmp_path):
    run = small_run(tmp_path, ragged_rows(4), steps=31, learning_rate=1e-9)
    run.losses[:] = [0.01] * 30
    training_loop(run)
    (spike,) = read_metrics(run.folder.metrics, "spike")
    assert spike["step"] == 31
    assert spike["usual"] == 0.01
    assert sorted(spike["rows"].split(", ")) == [f"data.jsonl:{number}" for number in range(1, 5)]
