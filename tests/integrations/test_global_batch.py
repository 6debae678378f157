"""Loops of one's own: plain PyTorch, accelerate, Fabric. Several ranks: test_ranks."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

import maskkit
from maskkit.errors import ConfigError, TrainingError
from maskkit.integrations.global_batch import GlobalBatchLoss, documents_of, every_prediction
from maskkit.integrations.rows import FilledStream, check_no_repeats, filled, filler_like
from tests.integrations.small import TOKENIZER, apart, mapped, reference
from tests.reference import NORMALIZATIONS, tiny_llama

COLLATOR = maskkit.DataCollator(TOKENIZER)


def split(rows: list[dict[str, Any]], sizes: tuple[int, ...]) -> list[dict[str, torch.Tensor]]:
    """Micro-batches of the given sizes."""
    coming = iter(rows)
    return [COLLATOR([next(coming) for _ in range(size)]) for size in sizes]


def gradients_of(model: Any) -> dict[str, torch.Tensor]:
    return {name.removeprefix("module."): p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_shares_of_a_plain_loop_add_up_to_the_reference(normalization: str):
    rows, loss, gradients = reference(normalization, signed=normalization in ("absolute", "tokens"))
    model = tiny_llama()
    weighted, total = GlobalBatchLoss(model, normalization), 0.0
    micro_batches = split(mapped(rows), (1, 4, 3))
    denominator = weighted.denominator(micro_batches)
    for batch in micro_batches:
        share = weighted(model, batch, denominator)
        share.backward()
        total += share.item()
    assert apart(gradients_of(model), gradients) < 1e-10
    assert total == pytest.approx(loss, abs=1e-12)


def test_a_micro_batch_without_weights_gives_gradients_of_zero_to_every_parameter():
    """On several ranks each must take part in the sum of gradients."""
    model = tiny_llama()
    share = GlobalBatchLoss(model)(model, COLLATOR([filler_like(mapped(reference()[0])[0])]), torch.tensor(1.0))
    share.backward()
    assert share.item() == 0
    assert all(float(value.abs().max()) == 0 for value in gradients_of(model).values())


def test_accelerate_with_accumulation_of_ones_own():
    accelerate = pytest.importorskip("accelerate")
    rows, loss, gradients = reference()
    accelerator = accelerate.Accelerator(cpu=True)
    model = tiny_llama()
    weighted, total = GlobalBatchLoss(model), 0.0
    model = accelerator.prepare(model)
    micro_batches = split(mapped(rows), (3, 5))
    denominator = weighted.denominator(micro_batches, lambda value: accelerator.reduce(value, "sum"))
    for number, batch in enumerate(micro_batches):
        with accelerator.no_sync(model) if number < len(micro_batches) - 1 else nullcontext():
            share = weighted(model, batch, denominator)
            accelerator.backward(share * accelerator.num_processes)
        total += share.item()
    assert apart(gradients_of(model), gradients) < 1e-10
    assert total == pytest.approx(loss, abs=1e-12)


def test_fabric():
    lightning = pytest.importorskip("lightning")
    rows, _, gradients = reference()
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    model = tiny_llama()
    weighted = GlobalBatchLoss(model)
    wrapped, _ = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.0))
    micro_batches = split(mapped(rows), (3, 5))
    denominator = weighted.denominator(micro_batches, lambda value: fabric.all_reduce(value, reduce_op="sum"))
    for number, batch in enumerate(micro_batches):
        with fabric.no_backward_sync(wrapped, enabled=number < len(micro_batches) - 1):
            fabric.backward(weighted(wrapped, batch, denominator) * fabric.world_size)
    assert apart(gradients_of(model), gradients) < 1e-10


def test_nothing_trained_is_an_error():
    with pytest.raises(TrainingError, match="normalization 'weights' is zero"):
        GlobalBatchLoss(tiny_llama()).denominator(split([{"input_ids": [1, 2], "loss_weights": [0, 0]}], (1,)))
    with pytest.raises(TrainingError, match="normalization 'weights' is zero"):
        GlobalBatchLoss(tiny_llama()).denominator([])


def test_documents_are_found_in_positions_that_start_anew():
    packed = maskkit.DataCollator(TOKENIZER, packing=True)(mapped(reference()[0])[:2])
    given = documents_of(packed)
    found = documents_of({name: column for name, column in packed.items() if name != "document_ids"})
    assert torch.equal(given, found)
    assert len(every_prediction(packed)) == packed["input_ids"].numel() - 2, "all but the first token of each document"


def test_rows_are_filled_up_with_rows_of_weight_zero():
    rows = mapped(reference()[0])[:5]
    even = filled(rows, 4)
    assert len(even) == 8
    assert [even[number] for number in range(5)] == rows
    assert even[7] == {"input_ids": rows[0]["input_ids"][:2], "labels": [-100, -100], "loss_weights": [0.0, 0.0]}
    assert filled(rows, 5) is rows


def test_rows_that_come_one_by_one_are_filled_up_at_their_end():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(mapped(reference()[0])[:5])

    stream = list(FilledStream(Stream(), 4))
    assert len(stream) == 8
    assert stream[-1]["loss_weights"] == [0.0, 0.0]
    assert list(FilledStream([], 4)) == []


def test_what_accelerate_would_repeat_is_noticed():
    from accelerate.data_loader import prepare_data_loader

    rows = mapped(reference()[0])[:5]

    def loader(rows: Any, **options: Any) -> Any:
        return prepare_data_loader(DataLoader(rows, batch_size=2, collate_fn=COLLATOR), num_processes=2, process_index=0, **options)

    with pytest.raises(ConfigError, match=r"would repeat 3 of its 5 rows, .* maskkit\.integrations\.rows\.filled\(rows, 4\)"):
        check_no_repeats(loader(rows))
    check_no_repeats(loader(rows, even_batches=False))
    even = loader(filled(rows, 4))
    check_no_repeats(even)
    assert len(even) == 2
