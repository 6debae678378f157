"""The loop makes exactly the update that the definition of the loss asks for, and stops where it cannot."""

from __future__ import annotations

import math

import pytest
import torch

from maskkit.engine.loop import training_loop
from maskkit.engine.metrics import read_metrics
from maskkit.engine.run import Every
from maskkit.errors import TrainingError
from tests.engine.small import small_run
from tests.reference import NORMALIZATIONS, given_weights, ragged_rows, reference_step, tiny_llama

EXACT = 1e-13


def parameters(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("micro", [1, 3, 8])
def test_a_step_is_the_gradient_of_the_global_batch_in_any_split(tmp_path, micro, normalization):
    """8 rows as 8 micro-batches of 1, as 3 + 3 + 2, and whole."""
    rows = ragged_rows(8)
    model = tiny_llama()
    expected, gradients = reference_step(model, rows, normalization)
    before = parameters(model)
    run = small_run(tmp_path, rows, model=model, micro=micro, rows_per_step=8, normalization=normalization)
    training_loop(run)
    assert run.losses == [pytest.approx(expected, abs=EXACT)]
    moved = max(float((before[name] - p - gradients[name]).abs().max()) for name, p in parameters(model).items())
    assert moved < EXACT


@pytest.mark.parametrize("softcap", [None, 5.0])
def test_a_head_that_is_not_plain_trains_the_same_way_from_full_logits(tmp_path, softcap):
    class Capped(type(tiny_llama())):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = output.logits if softcap is None else softcap * torch.tanh(output.logits * 3 / softcap)
            return output

    model = tiny_llama()
    model.__class__ = Capped
    rows = ragged_rows(4)
    _, gradients = reference_step(model, rows, "weights")
    before = parameters(model)
    run = small_run(tmp_path, rows, model=model, micro=2)
    assert run.predict.head.plain == (softcap is None)
    training_loop(run)
    assert max(float((before[name] - p - gradients[name]).abs().max()) for name, p in parameters(model).items()) < EXACT


def test_the_strategy_is_asked_for_every_row_of_every_batch(tmp_path):
    asked = []

    def recording(tokens):
        asked.append(tokens.record.source)
        return given_weights(tokens)

    run = small_run(tmp_path, ragged_rows(6), strategy=recording, rows_per_step=3, micro=2, steps=4, learning_rate=0.01)
    training_loop(run)
    assert len(asked) == 12
    assert sorted(asked) == sorted([f"data.jsonl:{n}" for n in range(1, 7)] * 2)


def test_a_strategy_that_changes_its_mind_changes_the_next_update(tmp_path):
    """The weights used are those of the answer to this batch's question, not of an earlier one."""
    calls = []

    def fading(tokens):
        calls.append(1)
        return given_weights(tokens) * (1.0 if len(calls) <= 4 else 0.0)

    run = small_run(tmp_path, ragged_rows(4), strategy=fading, steps=2)
    with pytest.raises(TrainingError, match="step 2"):
        training_loop(run)
    assert len(run.losses) == 1


def test_teacher_forcing_the_model_only_ever_sees_the_text(tmp_path):
    """Whatever it would say itself, what it is given to read is the data."""
    rows = ragged_rows(4)
    model, seen = tiny_llama(), []
    run = small_run(tmp_path, rows, model=model, micro=2, steps=3)
    model.model.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs["input_ids"]), with_kwargs=True)
    training_loop(run)
    texts = {tuple(row.ids.tolist()) for row in rows}
    read = {
        tuple(ids[: len(text)].tolist()) for batch in seen for ids in batch for text in texts if tuple(ids[: len(text)].tolist()) == text
    }
    assert sum(len(batch) for batch in seen) == 12
    assert read == texts


def test_clipping_limits_the_whole_update(tmp_path):
    model = tiny_llama()
    before = parameters(model)
    run = small_run(tmp_path, ragged_rows(4), model=model, max_grad_norm=0.01)
    training_loop(run)
    moved = math.sqrt(sum(float((before[name] - p).pow(2).sum()) for name, p in parameters(model).items()))
    assert moved == pytest.approx(0.01, rel=1e-3)
    assert read_metrics(run.folder.metrics, "train")[0]["grad_norm"] > 0.01


def test_a_batch_that_trains_nothing_stops_the_run_and_names_step_and_rows(tmp_path):
    rows = ragged_rows(4)
    for row in rows:
        row.weights.zero_()
    with pytest.raises(TrainingError, match=r"step 1: normalization 'weights' is zero.*data\.jsonl:"):
        training_loop(small_run(tmp_path, rows))


@pytest.mark.parametrize("broken", ["lm_head.weight", "model.norm.weight"])
def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_parameters(tmp_path, broken):
    model = tiny_llama()
    run = small_run(tmp_path, ragged_rows(4), model=model)
    model.get_parameter(broken).data.fill_(float("nan"))
    other = model.model.embed_tokens.weight.detach().clone()
    with pytest.raises(TrainingError, match=r"step 1: the loss is nan.*data\.jsonl:"):
        training_loop(run)
    assert torch.equal(other, model.model.embed_tokens.weight)


def test_every_step_and_every_due_measurement_is_written_down(tmp_path):
    every = Every(kinds=2, evaluation=3)
    run = small_run(tmp_path, ragged_rows(6), steps=4, learning_rate=0.1, every=every, held_out=ragged_rows(2, seed=5))
    training_loop(run)
    lines = read_metrics(run.folder.metrics)
    assert [(line["event"], line["step"]) for line in lines] == [
        ("train", 1),
        ("kinds", 2),
        ("train", 2),
        ("train", 3),
        ("eval", 3),
        ("kinds", 4),
        ("train", 4),
        ("eval", 4),
    ]
    first = lines[0]
    assert first["trained_tokens"] < first["tokens"]
    assert set(lines[1]["kinds"]) == {"answer"}


def test_measuring_changes_no_update(tmp_path):
    """Neither dropout nor random numbers leak from a measurement into training."""
    ends = []
    for number, every in enumerate([Every(), Every(kinds=1, evaluation=1)]):
        model = tiny_llama(attention_dropout=0.5)
        run = small_run(tmp_path / str(number), ragged_rows(6), model=model, steps=3, every=every, held_out=ragged_rows(2, seed=5))
        torch.manual_seed(0)
        training_loop(run)
        ends.append(parameters(model))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_tiny_model_learns_a_row_by_heart(tmp_path):
    run = small_run(tmp_path, ragged_rows(1, seed=3), rows_per_step=1, steps=60, learning_rate=0.5, max_grad_norm=1.0)
    training_loop(run)
    assert run.losses[0] == pytest.approx(math.log(97), abs=0.3)
    assert run.losses[-1] < 0.1
