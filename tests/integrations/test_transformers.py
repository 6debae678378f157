"""The Trainer of transformers: exact gradients, evaluation, logs, resuming, and what it works together with."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    GraniteConfig,
    GraniteForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainingArguments,
)

import maskkit
from maskkit import embedded
from maskkit.integrations.global_batch import GlobalBatchLoss
from maskkit.integrations.transformers import WeightedLossMixin, WeightedTrainer
from maskkit.kinds import CODE
from tests.integrations.small import (
    CHECKPOINTING,
    TOKENIZER,
    GradientsBeforeStep,
    apart,
    arguments,
    in_order,
    mapped,
    reference,
    trainer_step,
)
from tests.reference import NORMALIZATIONS, reference_step, sequence_log_probs, tiny_llama

COLLATOR = maskkit.DataCollator(TOKENIZER)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_gradients_are_those_of_the_reference_however_the_rows_are_split(normalization: str, tmp_path: Path):
    rows, loss, gradients = reference(normalization, signed=normalization in ("absolute", "tokens"))
    for batch, accumulation in ((8, 1), (3, 3)):
        logged, found = trainer_step(tmp_path, mapped(rows), batch, accumulation, normalization=normalization)
        assert apart(found, gradients) < 1e-10
        assert logged == pytest.approx(loss, abs=1e-6), "the Trainer adds logged losses up in float32"


def test_packed_rows_give_the_same(tmp_path: Path):
    rows, _, gradients = reference("sequences")
    _, found = trainer_step(tmp_path, mapped(rows), 4, 2, normalization="sequences", packing=True)
    assert apart(found, gradients) < 1e-10


def test_tokens_without_weight_never_reach_the_head(tmp_path: Path):
    rows, _, gradients = reference()
    model, seen = tiny_llama(), []
    model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    _, found = trainer_step(tmp_path, mapped(rows), 8, 1, model=model)
    assert apart(found, gradients) < 1e-10
    assert all(shape[:2] == (1, 6) for shape in seen), "only the few tokens on which the head was tried out"


def test_a_head_that_is_not_plain_gets_full_logits(tmp_path: Path):
    rows, _, gradients = reference()
    model = tiny_llama()
    model.lm_head = nn.Sequential(model.lm_head)
    _, found = trainer_step(tmp_path, mapped(rows), 3, 3, model=model)
    assert apart({name.replace("lm_head.0", "lm_head"): value for name, value in found.items()}, gradients) < 1e-10


def test_a_head_that_scales_its_logits_scores_as_the_model_does():
    """Granite divides them; only tokens with a weight are scored all the same."""
    shape = {"vocab_size": 97, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    model, batch = GraniteForCausalLM(GraniteConfig(**shape, num_key_value_heads=1, logits_scaling=8.0)), COLLATOR(mapped(reference()[0]))
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        weighted = GlobalBatchLoss(model)
        expected = maskkit.weighted_cross_entropy(logits, batch["labels"], batch["loss_weights"])
        share = weighted(model, batch, weighted.denominator([batch]))
    assert weighted.head.plain
    assert float(share) == pytest.approx(float(expected), abs=1e-6)


def test_a_batch_that_is_longer_than_its_epoch_is_exact(tmp_path: Path):
    """Five rows, two a micro-batch, four micro-batches a step: the epoch ends inside the step."""
    rows, _, gradients = reference(count=5)
    _, found = trainer_step(tmp_path, mapped(rows), 2, 4)
    assert apart(found, gradients) < 1e-10


def test_the_three_lines(tmp_path: Path):
    """As README and docs show them, on a data set with columns of its own."""
    datasets = pytest.importorskip("datasets")
    tokenizer, model = embedded.tiny_tokenizer(), embedded.tiny_model()
    dataset = datasets.Dataset.from_list([{**row, "note": "x"} for row in embedded.quickstart_rows()[:8]])
    args = arguments(tmp_path, per_device_train_batch_size=4)

    masker = maskkit.Masker(tokenizer, strategy="assistant-only")
    dataset = dataset.map(masker.encode_batch, batched=True, remove_columns=dataset.column_names)
    trainer = WeightedTrainer(model, args, train_dataset=dataset, data_collator=maskkit.DataCollator(tokenizer))

    assert args.remove_unused_columns, "the default, under which the Trainer drops columns that the model does not name"
    batch = next(iter(trainer.get_train_dataloader()))
    assert float(batch["loss_weights"].sum()) > 0
    assert math.isfinite(trainer.train().training_loss)


def test_the_evaluation_loss_is_the_mean_over_all_rows_and_no_mean_of_means(tmp_path: Path):
    rows, loss, _ = reference()
    args = arguments(tmp_path, per_device_eval_batch_size=3)
    trainer = WeightedTrainer(tiny_llama(), args, eval_dataset=mapped(rows), data_collator=COLLATOR)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(loss, abs=1e-12)
    assert trainer.predict(mapped(rows)).metrics["test_loss"] == pytest.approx(loss, abs=1e-12)


def test_metrics_of_ones_own_get_logits_and_labels(tmp_path: Path):
    rows, loss, _ = reference()

    def accuracy(prediction):
        labels = prediction.label_ids[:, 1:]
        hits = prediction.predictions[:, :-1].argmax(-1) == labels
        return {"accuracy": hits[labels != -100].mean()}

    args = arguments(tmp_path, per_device_eval_batch_size=3)
    trainer = WeightedTrainer(tiny_llama(), args, eval_dataset=mapped(rows), data_collator=COLLATOR, compute_metrics=accuracy)
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] == pytest.approx(loss, abs=1e-12)
    assert 0 <= metrics["eval_accuracy"] <= 1


def test_several_evaluation_sets_by_name(tmp_path: Path):
    rows, loss, _ = reference()
    sets = {"all": mapped(rows), "first": mapped(rows[:2])}
    trainer = WeightedTrainer(tiny_llama(), arguments(tmp_path), eval_dataset=sets, data_collator=COLLATOR)
    metrics = trainer.evaluate()
    assert metrics["eval_all_loss"] == pytest.approx(loss, abs=1e-12)
    assert metrics["eval_first_loss"] == pytest.approx(reference_step(tiny_llama(), rows[:2], "weights")[0], abs=1e-12)


def test_losses_of_kinds_are_logged_where_rows_know_them(tmp_path: Path):
    rows, _, _ = reference()
    codes = [[CODE["answer" if number % 2 else "user"] for number in range(len(row.ids))] for row in rows]
    data = [{**row, "kinds": kinds} for row, kinds in zip(mapped(rows), codes, strict=True)]
    args = arguments(tmp_path, per_device_train_batch_size=3, gradient_accumulation_steps=3, per_device_eval_batch_size=3)
    trainer = in_order(WeightedTrainer(tiny_llama(), args, train_dataset=data, eval_dataset=data, data_collator=COLLATOR))
    trainer.train()
    logged, measured = trainer.state.log_history[0], trainer.evaluate()

    losses = [-sequence_log_probs(tiny_llama(), row.ids).detach().numpy() for row in rows]
    for kind in ("user", "answer"):
        of_kind = [np.array(code) == CODE[kind] for code in codes]
        every = [loss[1:][mask[1:]] for loss, mask in zip(losses, of_kind, strict=True)]
        trained = [loss[1:][(mask & (row.weights != 0).numpy())[1:]] for loss, mask, row in zip(losses, of_kind, rows, strict=True)]
        assert logged[f"loss_{kind}"] == pytest.approx(np.concatenate(trained).mean(), abs=1e-12)
        assert measured[f"eval_loss_{kind}"] == pytest.approx(np.concatenate(every).mean(), abs=1e-12)


def test_a_resumed_run_is_the_run_itself(tmp_path: Path):
    rows = mapped(reference(count=13)[0])

    def run(folder: Path, steps: int, resume: bool) -> dict[str, torch.Tensor]:
        args = arguments(folder, max_steps=6, optim="adamw_torch", learning_rate=1e-2, save_strategy="steps", save_steps=3)
        args.per_device_train_batch_size, args.gradient_accumulation_steps = 2, 2
        model = tiny_llama()
        trainer = WeightedTrainer(model, args, train_dataset=rows, data_collator=COLLATOR)
        trainer.train(resume_from_checkpoint=resume and str(tmp_path / "whole" / "checkpoint-3"))
        assert trainer.state.global_step == steps
        return model.state_dict()

    whole, resumed = run(tmp_path / "whole", 6, False), run(tmp_path / "resumed", 6, True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_gradient_checkpointing_changes_nothing(tmp_path: Path):
    rows, _, gradients = reference()
    grab = GradientsBeforeStep()
    args = arguments(tmp_path, per_device_train_batch_size=8, **{CHECKPOINTING: True})
    in_order(WeightedTrainer(tiny_llama(), args, train_dataset=mapped(rows), data_collator=COLLATOR, callbacks=[grab])).train()
    assert apart(grab.gradients, gradients) < 1e-10


@pytest.mark.parametrize("virtual_tokens", [0, 3])
def test_adapters_train_and_nothing_else_does(virtual_tokens: int, tmp_path: Path):
    """LoRA, and prompt tuning, whose virtual tokens stand before the row's own."""
    peft = pytest.importorskip("peft")
    rows, _, _ = reference()
    torch.manual_seed(3)
    if virtual_tokens:
        config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=virtual_tokens)
    else:
        config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], init_lora_weights=False)
    model = peft.get_peft_model(tiny_llama(), config).double()
    full = copy.deepcopy(model)
    grab = GradientsBeforeStep()
    args = arguments(tmp_path, per_device_train_batch_size=3, gradient_accumulation_steps=3)
    in_order(WeightedTrainer(model, args, train_dataset=mapped(rows), data_collator=COLLATOR, callbacks=[grab])).train()

    numerator = sum(
        (
            nn.functional.cross_entropy(
                full(input_ids=row.ids[None], attention_mask=torch.ones_like(row.ids)[None]).logits[0, virtual_tokens:-1],
                row.ids[1:],
                reduction="none",
            )
            * row.weights[1:]
        ).sum()
        for row in rows
    )
    (numerator / sum(row.weights[1:].double().sum() for row in rows)).backward()
    expected = {name: p.grad for name, p in full.named_parameters() if p.grad is not None}
    assert 0 < len(expected) < len(list(full.parameters()))
    assert apart(grab.gradients, expected) < 1e-7, "adapters and prompts have float32 spots"


def test_a_mixture_of_experts_keeps_its_balancing_loss(tmp_path: Path):
    """The model adds it only if it computes the loss itself; per step it is the mean over micro-batches."""
    torch.manual_seed(0)
    shape = {"vocab_size": 97, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MixtralConfig(**shape, num_key_value_heads=1, num_local_experts=4, output_router_logits=True, router_aux_loss_coef=0.5)
    model, rows = MixtralForCausalLM(config), reference()[0]
    args = arguments(tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    trainer = in_order(WeightedTrainer(model, args, train_dataset=mapped(rows), eval_dataset=mapped(rows), data_collator=COLLATOR))
    trainer.train()
    with torch.no_grad():
        balance = [
            model(**{k: v for k, v in COLLATOR(mapped(part)).items() if k in ("input_ids", "attention_mask")}).aux_loss
            for part in (rows[:4], rows[4:])
        ]
    expected = trainer.evaluate()["eval_loss"] + 0.5 * float(sum(balance)) / 2
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, abs=1e-5)


def test_a_search_over_hyperparameters_gets_models_that_were_taught(tmp_path: Path):
    rows, loss, _ = reference()
    args = arguments(tmp_path, per_device_train_batch_size=8)
    trainer = WeightedTrainer(args=args, model_init=lambda: tiny_llama(), train_dataset=mapped(rows), data_collator=COLLATOR)
    assert in_order(trainer).train().training_loss == pytest.approx(loss, abs=1e-6)


def test_a_copied_model_is_a_model_of_its_own():
    model = tiny_llama()
    weighted = GlobalBatchLoss(model)
    other, batch = copy.deepcopy(model), COLLATOR(mapped(reference()[0]))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    with torch.no_grad():
        shares = [float(weighted(one, batch, weighted.denominator([batch]))) for one in (model, other)]
    assert shares[1] == pytest.approx(math.log(97))
    assert shares[0] != pytest.approx(shares[1])


def test_generation_still_works():
    tokenizer, model = embedded.tiny_tokenizer(), embedded.tiny_model()
    inputs = tokenizer("What is 1 + 1?", return_tensors="pt")
    before = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    GlobalBatchLoss(model)
    assert torch.equal(model.generate(**inputs, max_new_tokens=4, do_sample=False), before)


def test_the_mixin_goes_before_other_subclasses(tmp_path: Path):
    class Mine(WeightedLossMixin, Seq2SeqTrainer):
        pass

    rows, loss, gradients = reference()
    grab, collator = GradientsBeforeStep(), maskkit.DataCollator(TOKENIZER)
    args = arguments(tmp_path, Seq2SeqTrainingArguments, per_device_train_batch_size=3, gradient_accumulation_steps=3)
    made = Mine(tiny_llama(), args, train_dataset=mapped(rows), eval_dataset=mapped(rows), data_collator=collator, callbacks=[grab])
    in_order(made).train()
    assert apart(grab.gradients, gradients) < 1e-10
    assert made.evaluate()["eval_loss"] == pytest.approx(loss, abs=1e-12)


def test_without_a_collator_the_processing_class_makes_one(tmp_path: Path):
    rows, loss, _ = reference()
    trainer = WeightedTrainer(
        tiny_llama(),
        arguments(tmp_path, per_device_train_batch_size=8),
        train_dataset=mapped(rows),
        processing_class=embedded.tiny_tokenizer(),
    )
    assert in_order(trainer).train().training_loss == pytest.approx(loss, abs=1e-6)
    with pytest.raises(maskkit.ConfigError, match=r"pass data_collator=maskkit\.DataCollator"):
        WeightedTrainer(tiny_llama(), TrainingArguments(str(tmp_path), use_cpu=True, report_to=[]), train_dataset=mapped(rows))
