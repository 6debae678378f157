"""Loss modifiers in other trainers: new weights above the line, the strategy's below it, as the engine has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

import maskkit
from maskkit import embedded
from maskkit.errors import ConfigError
from maskkit.integrations.global_batch import GlobalBatchLoss
from maskkit.integrations.modifiers import Modifiers
from maskkit.integrations.transformers import WeightedTrainer
from tests.integrations.small import TOKENIZER, apart, mapped, reference, trainer_step
from tests.integrations.test_lightning import COLLATOR, Still, trainer
from tests.reference import sequence_log_probs, tiny_llama


def modifiers_of(name: str) -> Any:
    return maskkit.load_strategy({"product": ["assistant-only", name]}).modifiers


def with_kinds(rows: list[Any]) -> list[dict[str, Any]]:
    return [{**row, "kinds": [3] * len(row["input_ids"])} for row in mapped(rows)]


def expected(rows: list[Any]) -> tuple[float, dict[str, torch.Tensor]]:
    """DFT from its definition: each token's loss times its own probability, which has no gradient."""
    model = tiny_llama()
    found = [sequence_log_probs(model, row.ids) for row in rows]
    numerator = sum(
        -(row.weights[1:] * log_prob[1:].detach().exp() * log_prob[1:]).sum() for row, log_prob in zip(rows, found, strict=True)
    )
    loss = numerator / sum(float(row.weights[1:].double().sum()) for row in rows)
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters()}


def test_dft_in_the_trainer(tmp_path: Path):
    rows = reference()[0]
    loss, gradients = expected(rows)
    logged, found = trainer_step(tmp_path, with_kinds(rows), 3, 3, modifiers=modifiers_of("dft"))
    assert apart(found, gradients) < 1e-10
    assert logged == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("automatic", [False, True])
def test_dft_in_lightning(automatic: bool):
    from maskkit.integrations.lightning import WeightedDataModule

    rows = reference()[0]
    module = Still(tiny_llama(), automatic=automatic, modifiers=modifiers_of("dft"))
    data = WeightedDataModule(with_kinds(rows), COLLATOR, batch_size=3, accumulation=None if automatic else 3, shuffle=False)
    trainer(accumulate_grad_batches=3 if automatic else 1).fit(module, data)
    assert apart(module.gradients, expected(rows)[1]) < 1e-10


class Unsure(maskkit.LossModifier):
    """Weighs by the entropy of the model, in nats."""

    name = "unsure"
    needs = frozenset({"entropy"})

    def reweight(self, scores: Any, base: torch.Tensor) -> torch.Tensor:
        return base * scores.entropy


def test_one_that_needs_the_entropy_gets_it():
    rows, model = reference()[0], tiny_llama()
    weighted, batch = GlobalBatchLoss(model, modifiers=[Unsure()]), COLLATOR(with_kinds(rows))
    numerator = 0.0
    with torch.no_grad():
        share = weighted(model, batch, weighted.denominator([batch]))
        for row in rows:
            predicted = torch.log_softmax(model(input_ids=row.ids[None]).logits[0, :-1], -1)
            entropy, log_prob = -(predicted.exp() * predicted).sum(-1), predicted.gather(-1, row.ids[1:, None])[:, 0]
            numerator -= float((row.weights[1:] * entropy * log_prob).sum())
    assert float(share) == pytest.approx(numerator / sum(float(row.weights[1:].double().sum()) for row in rows), abs=1e-10)
    assert weighted.step == 1


class OneKind(maskkit.LossModifier):
    """Lets one kind of token count alone."""

    name = "one-kind"

    def reweight(self, scores: Any, base: torch.Tensor) -> torch.Tensor:
        assert not scores.log_prob.requires_grad
        return base * scores.where("answer")


def test_kinds_are_those_of_the_predicted_tokens():
    rows, model = reference()[0], tiny_llama()
    data = [{**row, "kinds": [2 + number % 2 for number in range(len(row["input_ids"]))]} for row in mapped(rows)]
    weighted, batch = GlobalBatchLoss(model, modifiers=[OneKind()]), COLLATOR(data)
    numerator = -sum((row.weights * sequence_log_probs(model, row.ids).detach())[1::2].sum() for row in rows)
    share = weighted(model, batch, weighted.denominator([batch])).detach()
    assert float(share) == pytest.approx(float(numerator / sum(row.weights[1:].double().sum() for row in rows)), abs=1e-10)


def test_kinds_must_be_known():
    model = tiny_llama()
    weighted, batch = GlobalBatchLoss(model, modifiers=modifiers_of("dft")), maskkit.DataCollator(TOKENIZER)(mapped(reference()[0]))
    with pytest.raises(ConfigError, match="the batch has no column 'kinds': collate Examples, or map the rows with fn_kwargs="):
        weighted(model, batch, weighted.denominator([batch]))


MESSAGES = {"messages": [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": "It is 2."}]}


def examples(strategy: Any) -> Any:
    return maskkit.Masker(embedded.tiny_tokenizer(), strategy).batch([MESSAGES] * 3)


def share(modifiers: Any, rows: Any, packing: bool = False) -> float:
    model: Any = embedded.tiny_model().double()
    weighted, batch = GlobalBatchLoss(model, modifiers=modifiers), maskkit.DataCollator(embedded.tiny_tokenizer(), packing)(rows)
    return float(weighted(model, batch, weighted.denominator([batch])).detach())


@pytest.mark.parametrize("packing", [False, True])
def test_examples_bring_their_kinds(packing: bool):
    rows = examples({"product": ["assistant-only", "dft"]})
    kinds = [{"input_ids": row.input_ids, "loss_weights": row.loss_weights, "kinds": row.tokens.kind_codes} for row in rows]
    assert share([OneKind()], rows, packing) == share([OneKind()], kinds, packing)
    assert share(modifiers_of("dft"), rows, packing) < 0.5 * share([], examples("assistant-only"), packing)


def test_examples_whose_modifiers_nobody_was_given_are_refused(tmp_path: Path):
    from maskkit.integrations.lightning import WeightedDataModule, WeightedModule

    rows, collate, refused = (
        examples({"product": ["assistant-only", "dft"]}),
        maskkit.DataCollator(embedded.tiny_tokenizer()),
        "none were given",
    )
    for packing in (False, True):
        with pytest.raises(ConfigError, match=refused):
            share([], rows, packing)
    with pytest.raises(ConfigError, match=refused):
        trainer().fit(WeightedModule(embedded.tiny_model()), WeightedDataModule(rows, collate, batch_size=3))
    how: Any = {"use_cpu": True, "report_to": [], "max_steps": 1, "disable_tqdm": True}
    with pytest.raises(ConfigError, match=refused):
        WeightedTrainer(embedded.tiny_model(), TrainingArguments(str(tmp_path), **how), data_collator=collate, train_dataset=rows).train()


def test_what_only_the_engine_can_do():
    with pytest.raises(ConfigError, match="ranks the whole global batch, which only  maskkit train  can"):
        Modifiers(modifiers_of("selective"))
    with pytest.raises(ConfigError, match="reads columns of the rows"):
        Modifiers(modifiers_of("importance"))
