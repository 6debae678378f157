"""Lightning: by hand and automatic, evaluation, kinds, and the rows that it would repeat. Two ranks: test_ranks."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

import maskkit
from maskkit.errors import ConfigError, DataError, TrainingError
from maskkit.integrations.rows import check_no_repeats
from tests.integrations.small import TOKENIZER, apart, mapped, reference
from tests.reference import NORMALIZATIONS, sequence_log_probs, tiny_llama

lightning = pytest.importorskip("lightning")

from maskkit.integrations.lightning import WeightedDataModule, WeightedModule  # noqa: E402

COLLATOR = maskkit.DataCollator(TOKENIZER)
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Still(WeightedModule):
    """Keeps the gradients that the optimizer would step with, and stays where it is."""

    def configure_optimizers(self) -> Any:
        module = self

        class Stop(torch.optim.SGD):
            def step(self, closure: Any = None) -> Any:
                loss = closure and closure()
                module.gradients = {name.removeprefix("model."): p.grad.clone() for name, p in module.named_parameters()}
                return loss

        return Stop(self.parameters(), lr=0.0)


def trainer(**options: Any) -> Any:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(**{"accelerator": "cpu", "devices": 1, "max_steps": 1, **quiet, **options})


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_by_hand_gradients_are_those_of_the_reference(normalization: str):
    rows, loss, gradients = reference(normalization)
    module, data = (
        Still(tiny_llama(), normalization),
        WeightedDataModule(mapped(rows), COLLATOR, batch_size=3, accumulation=3, shuffle=False),
    )
    run = trainer()
    run.fit(module, data)
    assert apart(module.gradients, gradients) < 1e-10
    assert float(run.logged_metrics["train_loss"]) == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_automatic_gradients_are_those_of_the_reference(normalization: str):
    rows, loss, gradients = reference(normalization)
    module = Still(tiny_llama(), normalization, automatic=True)
    run = trainer(accumulate_grad_batches=3)
    run.fit(module, WeightedDataModule(mapped(rows), COLLATOR, batch_size=3, accumulation=None, shuffle=False))
    assert apart(module.gradients, gradients) < 1e-10
    assert float(run.logged_metrics["train_loss"]) == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("automatic", [False, True])
def test_gradients_are_clipped_after_they_were_divided(automatic: bool):
    rows, _, gradients = reference()
    norm = float(torch.stack([value.norm() for value in gradients.values()]).norm())
    module = Still(tiny_llama(), automatic=automatic, max_grad_norm=None if automatic else norm / 2)
    data = WeightedDataModule(mapped(rows), COLLATOR, batch_size=8, accumulation=None if automatic else 1, shuffle=False)
    trainer(gradient_clip_val=norm / 2 if automatic else None).fit(module, data)
    assert apart(module.gradients, {name: value / 2 for name, value in gradients.items()}) < 1e-6


def test_packed_rows_give_the_same():
    rows, _, gradients = reference("sequences")
    module = Still(tiny_llama(), "sequences")
    data = WeightedDataModule(mapped(rows), maskkit.DataCollator(TOKENIZER, packing=True), batch_size=4, accumulation=2, shuffle=False)
    trainer().fit(module, data)
    assert apart(module.gradients, gradients) < 1e-10


def test_schedules_go_on_by_a_step_each_time():
    class Scheduled(WeightedModule):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]

    module = Scheduled(tiny_llama())
    trainer(max_steps=2).fit(module, WeightedDataModule(mapped(reference()[0]), COLLATOR, batch_size=2))
    assert module.optimizers().param_groups[0]["lr"] == 0.25
    assert module.weighted.step == 2, "what loss modifiers are told"


def test_the_validation_loss_is_the_mean_over_all_rows_with_every_kind():
    rows, loss, _ = reference()
    data = [{**row, "kinds": [3] * len(row["input_ids"])} for row in mapped(rows)]
    run = trainer()
    run.validate(WeightedModule(tiny_llama()), WeightedDataModule(data, COLLATOR, batch_size=3, validation=data), verbose=False)
    assert float(run.logged_metrics["val_loss"]) == pytest.approx(loss, abs=1e-6)
    every = torch.cat([-sequence_log_probs(tiny_llama(), row.ids)[1:] for row in rows]).detach()
    assert float(run.logged_metrics["val_loss_answer"]) == pytest.approx(float(every.mean()), abs=1e-6)


def test_a_step_that_trains_nothing():
    rows = [{"input_ids": [1, 2], "loss_weights": [0.0, 0.0]}]
    with pytest.raises(TrainingError, match="normalization 'weights' is zero"):
        trainer().fit(WeightedModule(tiny_llama()), WeightedDataModule(rows, COLLATOR, batch_size=1))
    automatic = WeightedModule(tiny_llama(), automatic=True)
    with pytest.raises(TrainingError, match="normalization 'weights' is zero"):
        trainer().fit(automatic, WeightedDataModule(rows, COLLATOR, batch_size=1, accumulation=None))


def test_options_that_do_not_go_together():
    with pytest.raises(ConfigError, match="give the Trainer gradient_clip_val"):
        WeightedModule(tiny_llama(), automatic=True, max_grad_norm=1.0)
    data = WeightedDataModule(mapped(reference()[0]), COLLATOR, batch_size=2)
    with pytest.raises(ConfigError, match=r"WeightedDataModule\(accumulation=None\)"):
        trainer().fit(WeightedModule(tiny_llama(), automatic=True), data)


def test_rows_that_lost_their_weights():
    with pytest.raises(DataError, match="row 0 of the batch has no column 'loss_weights'"):
        trainer().fit(WeightedModule(tiny_llama()), WeightedDataModule([{"input_ids": [1, 2]}], COLLATOR, batch_size=1))


def test_the_sampler_that_lightning_would_put_in_repeats_rows():
    rows = mapped(reference()[0])[:5]
    loader = DataLoader(rows, sampler=DistributedSampler(rows, num_replicas=2, rank=0), collate_fn=COLLATOR)
    with pytest.raises(ConfigError, match=r"would repeat 1 of its 5 rows, .* maskkit\.integrations\.rows\.filled\(rows, 2\)"):
        check_no_repeats(loader)
    check_no_repeats(DataLoader(rows, sampler=DistributedSampler(rows, num_replicas=2, rank=0, drop_last=True)))
