"""Learning rates, decay and clipping."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskkit.engine.optimizer import SCHEDULES, adamw, clip_gradients, learning_rate_factor, scheduler
from maskkit.errors import TrainingError, UnknownNameError


def rates(name: str, warmup: int = 4, steps: int = 20) -> list[float]:
    model = nn.Linear(2, 2)
    optimizer = adamw(model, learning_rate=0.5)
    schedule = scheduler(optimizer, name, warmup, steps)
    seen = []
    for _ in range(steps):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return seen


@pytest.mark.parametrize("name", SCHEDULES)
def test_warm_up_rises_to_the_full_rate_and_never_stands_at_zero(name):
    seen = rates(name)
    assert seen[:5] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])


def test_each_schedule_ends_as_its_name_says():
    assert rates("constant")[-1] == 0.5
    assert rates("linear")[12] == pytest.approx(0.25)
    assert rates("cosine")[12] == pytest.approx(0.25)
    assert rates("cosine")[8] > rates("linear")[8]
    assert learning_rate_factor("linear", 20, 4, 20) == 0
    assert learning_rate_factor("cosine", 20, 4, 20) == pytest.approx(0)


def test_an_unknown_schedule_is_named():
    with pytest.raises(UnknownNameError, match="cosine"):
        rates("cosin")


def test_matrices_decay_and_biases_do_not():
    model = nn.Linear(3, 2)
    groups = adamw(model, 0.1, weight_decay=0.2).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decay == {id(model.weight): 0.2, id(model.bias): 0.0}


def test_a_model_without_trainable_parameters_is_an_error():
    with pytest.raises(TrainingError, match="requires_grad"):
        adamw(nn.Linear(3, 2).requires_grad_(False), 0.1)


@pytest.mark.parametrize(("limit", "after"), [(1.0, 1.0), (100.0, 5.0), (None, 5.0), (0.0, 5.0)])
def test_gradients_are_clipped_by_their_common_norm(limit, after):
    model = nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    assert clip_gradients(model, limit) == pytest.approx(5.0)
    assert float(model.weight.grad.norm()) == pytest.approx(after, rel=1e-5)
