"""Two processes over gloo: every integration, one optimizer step each, compared with the reference. `test_ranks` starts it.

    python -m tests.integrations.ranks FOLDER

All is imported once, and the two ranks are forked from there. Each writes FOLDER/rankN.json: the largest difference of each case, or what
went wrong.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import os
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import accelerate
import datasets
import lightning
import torch
import torch.distributed as dist
import trl
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

import maskkit
from maskkit import embedded
from maskkit.integrations.global_batch import GlobalBatchLoss
from maskkit.integrations.lightning import WeightedDataModule
from maskkit.integrations.rows import filled
from maskkit.integrations.transformers import WeightedTrainer
from maskkit.integrations.trl import WeightedSFTTrainer, pack
from tests.integrations.sharded import SHARDED
from tests.integrations.small import TOKENIZER, GradientsBeforeStep, apart, arguments, in_order, mapped, reference
from tests.integrations.test_lightning import Still
from tests.integrations.test_lightning import trainer as lightning_trainer
from tests.reference import NORMALIZATIONS, sequence_log_probs, tiny_llama

RANKS = 2
COLLATOR = maskkit.DataCollator(TOKENIZER)
Case = Callable[[Path], float]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    return lambda function: CASES.setdefault(name, function)


def rank() -> int:
    return dist.get_rank()


def hf_step(folder: Path, normalization: str, count: int, batch: int, accumulation: int, stream: bool = False) -> float:
    rows, _, gradients = reference(normalization, count=count)
    grab, data = GradientsBeforeStep(), Stream(mapped(rows)) if stream else mapped(rows)
    args = arguments(folder, per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation, ddp_backend="gloo")
    made = WeightedTrainer(tiny_llama(), args, train_dataset=data, data_collator=COLLATOR, callbacks=[grab], normalization=normalization)
    (made if stream else in_order(made)).train()
    return apart(grab.gradients, gradients)


class Stream(IterableDataset[Any]):
    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __iter__(self) -> Any:
        return iter(self.rows)


for _name in NORMALIZATIONS:
    case(f"transformers {_name}")(lambda folder, name=_name: hf_step(folder, name, 8, 2, 2))
case("transformers, rows that do not divide")(lambda folder: hf_step(folder, "weights", 5, 2, 2))
case("transformers, a stream that does not divide")(lambda folder: hf_step(folder, "weights", 5, 2, 2, stream=True))
case("transformers, a rank that has fillers alone")(lambda folder: hf_step(folder, "sequences", 1, 1, 1))


@case("transformers, evaluation")
def _(folder: Path) -> float:
    rows, loss, _ = reference(count=5)
    args = arguments(folder, per_device_eval_batch_size=2, ddp_backend="gloo")
    trained, seen = sorted(int((row.weights[1:] != 0).sum()) for row in rows), []

    def metrics(prediction: Any) -> dict[str, float]:
        seen.append(sorted((prediction.label_ids[:, 1:] != -100).sum(1).tolist()))
        return {}

    made = WeightedTrainer(tiny_llama(), args, eval_dataset=mapped(rows), data_collator=COLLATOR, compute_metrics=metrics)
    predicted = made.predict(mapped(rows))
    assert len(predicted.predictions) == len(predicted.label_ids) == 5, "rows that filled up are not among them"
    made.evaluate(Stream(mapped(rows)))
    assert seen == [trained, trained], "nor in what metrics are computed of"
    return max(abs(made.evaluate()["eval_loss"] - loss), abs(predicted.metrics["test_loss"] - loss))


@case("transformers, kinds")
def _(folder: Path) -> float:
    rows = reference()[0]
    data = [{**row, "kinds": [3] * len(row["input_ids"])} for row in mapped(rows)]
    args = arguments(folder, per_device_train_batch_size=2, gradient_accumulation_steps=2, ddp_backend="gloo")
    made = in_order(WeightedTrainer(tiny_llama(), args, train_dataset=data, data_collator=COLLATOR))
    made.train()
    trained = torch.cat([-sequence_log_probs(tiny_llama(), row.ids)[1:][row.weights[1:] != 0] for row in rows])
    return abs(made.state.log_history[0]["loss_answer"] - float(trained.detach().mean()))


def trl_step(folder: Path, data: Any, gradients: Any, batch: int, accumulation: int) -> float:
    grab = GradientsBeforeStep()
    args = arguments(
        folder, trl.SFTConfig, bf16=False, ddp_backend="gloo", per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation
    )
    tokenizer = embedded.tiny_tokenizer()
    in_order(WeightedSFTTrainer(tiny_llama(), args, train_dataset=data, processing_class=tokenizer, callbacks=[grab])).train()
    return apart(grab.gradients, gradients)


@case("trl")
def _(folder: Path) -> float:
    rows, _, gradients = reference()
    return trl_step(folder, datasets.Dataset.from_list(mapped(rows)), gradients, 2, 2)


@case("trl, packs that do not divide")
def _(folder: Path) -> float:
    rows, _, gradients = reference()
    packs = pack(datasets.Dataset.from_list(mapped(rows)), 64)
    assert len(packs) % RANKS, "else nothing would be repeated"
    return trl_step(folder, packs, gradients, 1, 2)


def lightning_step(count: int, automatic: bool) -> float:
    rows, _, gradients = reference(count=count)
    module = Still(tiny_llama(), automatic=automatic)
    data = WeightedDataModule(mapped(rows), COLLATOR, batch_size=2, accumulation=None if automatic else 2, shuffle=False)
    lightning_trainer(devices=RANKS, strategy="ddp", accumulate_grad_batches=2 if automatic else 1).fit(module, data)
    return apart(module.gradients, gradients)


case("lightning by hand")(lambda folder: lightning_step(8, False))
case("lightning by hand, rows that do not divide")(lambda folder: lightning_step(5, False))
case("lightning automatic")(lambda folder: lightning_step(8, True))
case("lightning automatic, rows that do not divide")(lambda folder: lightning_step(5, True))


@case("lightning, the sampler of its own repeats rows")
def _(folder: Path) -> float:
    loader = DataLoader(mapped(reference(count=5)[0]), batch_size=2, collate_fn=COLLATOR)
    try:
        lightning_trainer(devices=RANKS, strategy="ddp").fit(Still(tiny_llama(), automatic=True), loader)
    except maskkit.ConfigError as error:
        return 0.0 if "would repeat 1 of its 5 rows" in str(error) else 1.0
    return 1.0


@case("accelerate")
def _(folder: Path) -> float:
    rows, _, gradients = reference(count=5)
    accelerator = accelerate.Accelerator(cpu=True)
    model = tiny_llama()
    weighted = GlobalBatchLoss(model)
    loader = DataLoader(filled(mapped(rows), RANKS * 2), batch_size=2, collate_fn=COLLATOR)
    model, loader = accelerator.prepare(model, loader)
    micro_batches = list(loader)
    denominator = weighted.denominator(micro_batches, lambda value: accelerator.reduce(value, "sum"))
    for number, batch in enumerate(micro_batches):
        with accelerator.no_sync(model) if number < len(micro_batches) - 1 else nullcontext():
            accelerator.backward(weighted(model, batch, denominator) * accelerator.num_processes)
    return apart({name.removeprefix("module."): p.grad for name, p in model.named_parameters()}, gradients)


@case("fabric")
def _(folder: Path) -> float:
    rows, _, gradients = reference()
    fabric = lightning.Fabric(accelerator="cpu", devices=RANKS, strategy="ddp")
    fabric.launch()
    inner = tiny_llama()
    weighted = GlobalBatchLoss(inner)
    model, _ = fabric.setup(inner, torch.optim.SGD(inner.parameters(), lr=0.0))
    micro_batches = [COLLATOR(mapped(rows)[start : start + 2]) for start in (rank() * 4, rank() * 4 + 2)]
    denominator = weighted.denominator(micro_batches, lambda value: fabric.all_reduce(value, reduce_op="sum"))
    for number, batch in enumerate(micro_batches):
        with fabric.no_backward_sync(model, enabled=number < len(micro_batches) - 1):
            fabric.backward(weighted(model, batch, denominator) * fabric.world_size)
    return apart({name: p.grad for name, p in inner.named_parameters()}, gradients)


@case("plain DDP")
def _(folder: Path) -> float:
    rows, _, gradients = reference("sequences", count=5)
    inner = tiny_llama()
    weighted, model = GlobalBatchLoss(inner, "sequences"), torch.nn.parallel.DistributedDataParallel(inner)
    even = filled(mapped(rows), RANKS * 2)
    micro_batches = list(DataLoader(even, 2, sampler=DistributedSampler(even, shuffle=False), collate_fn=COLLATOR))
    denominator = weighted.denominator(micro_batches)
    for number, batch in enumerate(micro_batches):
        with model.no_sync() if number < len(micro_batches) - 1 else nullcontext():
            (weighted(model, batch, denominator) * RANKS).backward()
    return apart({name.removeprefix("module."): p.grad for name, p in model.named_parameters()}, gradients)


@case("FSDP2, gradients summed and not averaged")
def _(folder: Path) -> float:
    rows, _, gradients = reference()
    model = tiny_llama()
    weighted, mesh = GlobalBatchLoss(model), init_device_mesh("cpu", (RANKS,))
    units = [*model.model.layers, model.lm_head, model]
    for unit in units:
        fully_shard(unit, mesh=mesh)
    for unit in units:
        unit.set_gradient_divide_factor(1.0)
    micro_batches = [COLLATOR(mapped(rows)[start : start + 2]) for start in (rank() * 4, rank() * 4 + 2)]
    denominator = weighted.denominator(micro_batches)
    for number, batch in enumerate(micro_batches):
        model.set_requires_gradient_sync(number == len(micro_batches) - 1)
        weighted(model, batch, denominator).backward()
    return apart({name: p.grad.full_tensor() for name, p in model.named_parameters()}, gradients)


CASES |= SHARDED  # last, since accelerate is told there that it shards


def work(number: int, port: int, folder: Path) -> None:
    """One rank: all cases, in order."""
    elastic = {"TORCHELASTIC_RUN_ID": "tests", "GROUP_RANK": 0, "LOCAL_WORLD_SIZE": RANKS}
    where = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": RANKS, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in {**elastic, **where}.items()})
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    found: dict[str, Any] = {}
    for name, measure in CASES.items():
        try:
            found[name] = measure(folder)
        except Exception:
            found[name] = traceback.format_exc()
            break  # the other rank may wait for this one
    (folder / f"rank{number}.json").write_text(json.dumps(found))


def main() -> None:
    logging.disable(logging.WARNING)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gc.freeze()  # accelerate collects garbage before each run
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(number, port, Path(sys.argv[1]))) for number in range(RANKS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
